//! The processes of a host that each rule matches.

use crate::diagnostic::{Diagnostic, Severity};
use crate::match_run::MatchRun;
use crate::python::{BacktrackVm, Budget, MAX_BUILD_WORK, MAX_WORK, Pattern};
use crate::rule::{Rule, step_limit};
use crate::rules::Rules;

/// With fewer processes, "matches all processes" is not worth a warning.
const MIN_PROCESSES: usize = 5;
/// Steps of the backtracking engine for all rules and all texts together;
/// several seconds.
const MAX_STEPS: u64 = 200_000_000;
/// The word in the name of the collector.
const COLLECTOR: &[u8] = b"psstat";
/// Steps to find out whether a line break prevents a match.
const MAX_LINE_BREAK_STEPS: u64 = 100_000;

/// Finds rules that match no process of a host, all of them, or the collector.
///
/// ```
/// use psstat_matcher::{Conf, CoverageCheck};
///
/// let conf = Conf::parse(b"java java\nall .\n");
/// let mut coverage = CoverageCheck::new(&conf.rules);
/// for text in ["init", "bash", "sshd -D", "cron -f", "top"] {
///     coverage.record(text.as_bytes());
/// }
/// let diagnostics = coverage.diagnostics();
/// assert!(diagnostics[0].message.contains("none of the 5"));
/// assert!(diagnostics[1].message.contains("all 5"));
/// ```
#[derive(Debug)]
pub struct CoverageCheck<'a> {
    rules: &'a Rules,
    processes: usize,
    coverage: Vec<RuleCoverage>,
    budget: Budget,
    run: MatchRun,
}

/// The matches of one rule.
#[derive(Clone, Debug, Default)]
struct RuleCoverage {
    matched: usize,
    matches_collector: bool,
    /// It exceeded its step limit on a command line and was not tried again.
    step_limit_exceeded: bool,
    /// It would match a command line if `.` matched a line break.
    stops_at_line_break: bool,
}

impl<'a> CoverageCheck<'a> {
    /// Starts without any process.
    pub fn new(rules: &'a Rules) -> Self {
        Self {
            rules,
            processes: 0,
            coverage: vec![RuleCoverage::default(); rules.rules().len()],
            budget: Budget {
                steps: MAX_STEPS,
                work_left: 32 * MAX_WORK,
                build_left: 32 * MAX_BUILD_WORK,
            },
            run: MatchRun::default(),
        }
    }

    /// Records a process by its command line, in the form that
    /// [`Rules::classify`](crate::Rules::classify) takes. Kernel threads and zombies have none
    /// and are not recorded.
    pub fn record(&mut self, text: &[u8]) {
        self.record_matches(text, |_| ());
    }

    /// Records a process that is a collector. Rules that match it are reported,
    /// because that is rarely intended.
    pub fn record_self(&mut self, text: &[u8]) {
        self.record_matches(text, |rule| rule.matches_collector = true);
    }

    fn record_matches(&mut self, text: &[u8], on_match: impl Fn(&mut RuleCoverage)) {
        self.processes += 1;
        let Self { rules, coverage, budget, run, .. } = self;
        let has_lines = text.contains(&b'\n');
        run.for_each_candidate(rules.matchers(), text, budget, &mut |index, tried, try_rule| {
            // A rule that exceeded its limit is expensive, and is reported
            // already.
            let Some(rule) = coverage.get_mut(index).filter(|r| !r.step_limit_exceeded) else {
                return;
            };
            match try_rule(step_limit(text)) {
                Ok(true) => {
                    rule.matched += 1;
                    on_match(rule);
                }
                Ok(false) if has_lines => {
                    rule.stops_at_line_break =
                        rule.stops_at_line_break || matches_across_lines(tried, text);
                }
                Ok(false) => {}
                Err(_) => rule.step_limit_exceeded = true,
            }
        });
    }

    /// Number of recorded processes.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// Number of processes that each rule matches, in the order of the rules.
    /// For a rule that exceeded its step limit, only the processes recorded
    /// before that are counted.
    pub fn matched(&self) -> impl Iterator<Item = usize> + '_ {
        self.coverage.iter().map(|r| r.matched)
    }

    /// Rules that match no process, all processes, or the collector itself, and
    /// rules that exceeded their step limit, in the order of the rules.
    ///
    /// A rule without a match is reported as a [note](Severity::Note), because
    /// its program may not be running, which is what it is meant to detect.
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let rules = self.rules.rules().iter().zip(&self.coverage);
        rules.filter_map(|(rule, coverage)| self.diagnostic(rule, coverage)).collect()
    }

    fn diagnostic(&self, rule: &Rule, coverage: &RuleCoverage) -> Option<Diagnostic> {
        let processes = self.processes;
        if rule.matches_empty() {
            // The config file's own warning is more specific.
            return None;
        }
        if coverage.step_limit_exceeded {
            return Some(rule.warning(
                "exceeded its step limit on a command line of this host and was treated as not \
                 matching"
                    .into(),
                "simplify it: nested repeats and back-references are most expensive".into(),
            ));
        }
        if coverage.stops_at_line_break {
            let note = rule.warning(
                "does not match a command line of this host only because `.` stops at a line \
                 break, as in the script of `sh -c`"
                    .into(),
                "write `(?s)` at the start to match across lines".into(),
            );
            return Some(Diagnostic { severity: Severity::Note, ..note });
        }
        if coverage.matched == 0 {
            let note = rule.warning(
                format!("matches none of the {processes} processes on this host"),
                "to compare it with a command line, run `psstat-dump explain PID`".into(),
            );
            return Some(Diagnostic { severity: Severity::Note, ..note });
        }
        if coverage.matched == processes && processes >= MIN_PROCESSES {
            return Some(rule.warning(
                format!("matches all {processes} processes on this host"),
                "make the pattern more specific".into(),
            ));
        }
        // A rule that has its name is meant for it.
        let is_meant = rule.literal().windows(COLLECTOR.len()).any(|part| part == COLLECTOR);
        (coverage.matches_collector && !is_meant).then(|| {
            rule.warning(
                "matches the collector itself".into(),
                "anchor it (`^`), or include more of the command line".into(),
            )
        })
    }
}

/// Whether a rule that does not match a text would match it if `.` matched a line
/// break.
fn matches_across_lines(rule: &Rule, text: &[u8]) -> bool {
    if !rule.pattern().contains(&b'.') {
        return false;
    }
    // Not accepted if the pattern starts with flags of its own.
    let pattern = Pattern::new(&[b"(?s)", rule.pattern()].concat());
    pattern.is_ok_and(|pattern| {
        let found = pattern.find(text, &mut BacktrackVm::default(), MAX_LINE_BREAK_STEPS);
        found.is_ok_and(|range| range.is_some())
    })
}
