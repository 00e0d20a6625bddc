//! What the rules of a conf make of the processes of a machine.

use crate::diagnostic::{Diagnostic, Severity};
use crate::match_run::MatchRun;
use crate::python::{Budget, MAX_WORK};
use crate::rules::{Rule, Rules, step_limit};

/// Below this number "everything" says little.
const MIN_PROCESSES: usize = 5;
/// How many steps the backtracking engine may take for all rules and all texts
/// together; some seconds.
const MAX_STEPS: u64 = 200_000_000;

/// Collects what each rule matches, for what can be said of a rule only on a
/// machine.
///
/// ```
/// use psstat_matcher::{Conf, Survey};
///
/// let conf = Conf::parse(b"java java\nall .\n");
/// let mut survey = Survey::new(&conf.rules);
/// for text in ["init", "bash", "sshd -D", "cron -f", "top"] {
///     survey.see(text.as_bytes());
/// }
/// let findings = survey.findings();
/// assert!(findings[0].message.contains("nothing"));
/// assert!(findings[1].message.contains("all 5"));
/// ```
#[derive(Debug)]
pub struct CoverageCheck<'a> {
    rules: &'a Rules,
    processes: usize,
    of_rules: Vec<RuleCoverage>,
    budget: Budget,
    attempts: MatchRun,
}

/// What was seen of a rule.
#[derive(Clone, Debug, Default)]
struct RuleCoverage {
    matched: usize,
    /// It matches the collector.
    collector: bool,
    /// It gave up on a command line, and was not asked again.
    gave_up: bool,
}

impl<'a> CoverageCheck<'a> {
    /// Nothing is seen yet.
    pub fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            processes: 0,
            of_rules: vec![RuleCoverage::default(); rules.rules().len()],
            budget: Budget { steps: MAX_STEPS, work_left: 32 * MAX_WORK },
            attempts: MatchRun::default(),
        }
    }

    /// Takes note of a process by its command line, as
    /// [`Rules::classify`](crate::Rules::classify) wants it. Kernel threads
    /// (empty command lines) do not count.
    pub fn record(&mut self, text: &[u8]) {
        self.record_matches(text, |_| ());
    }

    /// The same of a collector, which few rules mean to match.
    pub fn record_self(&mut self, text: &[u8]) {
        self.record_matches(text, |of_rule| of_rule.collector = true);
    }

    fn record_matches(&mut self, text: &[u8], note: impl Fn(&mut RuleCoverage)) {
        if text.is_empty() {
            return;
        }
        self.processes += 1;
        let Self { rules, of_rules, budget, attempts, .. } = self;
        attempts.for_each_match(rules, text, budget, &mut |number, _, ask| {
            // One that gives up on many costs much, and has said what it is.
            let Some(of_rule) = of_rules.get_mut(number).filter(|r| !r.gave_up) else { return };
            match ask(step_limit(text)) {
                Ok(true) => {
                    of_rule.matched += 1;
                    note(of_rule);
                }
                Ok(false) => {}
                Err(_) => of_rule.gave_up = true,
            }
        });
    }

    /// How many processes were seen.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// How many processes each rule matches, in the order of the rules; of one
    /// that gave up, those that it was asked about before.
    pub fn matched(&self) -> impl Iterator<Item = usize> + '_ {
        self.of_rules.iter().map(|r| r.matched)
    }

    /// Rules that match nothing here, everything, or the collector itself, and
    /// those that hit their step limit, in the order of the rules.
    ///
    /// That a rule matches nothing is no fault, but a
    /// [note](Severity::Note): what it is for may be down, and it is there to
    /// tell that.
    pub fn findings(&self) -> Vec<Diagnostic> {
        let all = self.rules.rules().iter().zip(&self.of_rules);
        all.filter_map(|(rule, of_rule)| self.finding(rule, of_rule)).collect()
    }

    fn finding(&self, rule: &Rule, of_rule: &RuleCoverage) -> Option<Diagnostic> {
        let processes = self.processes;
        if rule.matches_empty() {
            // The conf's own warning says it better.
            return None;
        }
        if of_rule.gave_up {
            return Some(rule.warning(
                "this hit its step limit on a command line here, and counts as not matching there"
                    .into(),
                "make it simpler: nested repeats and back-references cost most".into(),
            ));
        }
        if of_rule.matched == 0 {
            let finding = rule.warning(
                format!("this matches nothing among the {processes} processes here"),
                "if it should, compare it with a command line: `psstat-dump explain PID`".into(),
            );
            return Some(Diagnostic { severity: Severity::Note, ..finding });
        }
        if of_rule.matched == processes && processes >= MIN_PROCESSES {
            return Some(rule.warning(
                format!("this matches all {processes} processes here"),
                "name what sets the processes of this image apart".into(),
            ));
        }
        of_rule.collector.then(|| {
            rule.warning(
                "this matches the collector itself".into(),
                "anchor it (`^`), or name more of the command line".into(),
            )
        })
    }
}
