//! The processes of a host that each rule matches.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::match_run::MatchRun;
use crate::process_text::ProcessText;
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
/// Number of names made by a rule that are kept.
const MAX_NAMES: usize = 1_000;
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
    name: String,
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
    /// The processes by the name that it made of them, and those of further names.
    made: BTreeMap<String, usize>,
    made_further: usize,
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
            name: String::new(),
        }
    }

    /// Records a process by its command line or all its texts, in the form that
    /// [`Rules::matches`](crate::Rules::matches) takes. Kernel threads and zombies have no
    /// command line and are not recorded.
    pub fn record<'p>(&mut self, process: impl Into<ProcessText<'p>>) {
        self.record_matches(&process.into(), &|_| ());
    }

    /// Records a process that is a collector. Rules that match it are reported,
    /// because that is rarely intended.
    pub fn record_self<'p>(&mut self, process: impl Into<ProcessText<'p>>) {
        self.record_matches(&process.into(), &|rule| rule.matches_collector = true);
    }

    fn record_matches(&mut self, process: &ProcessText<'_>, on_match: &dyn Fn(&mut RuleCoverage)) {
        self.processes += 1;
        let Self { rules, coverage, budget, run, name, .. } = self;
        let (all, fields) = rules.matchers();
        for of_field in fields {
            let Some(text) = process.get(of_field.field) else { continue };
            let has_lines = text.contains(&b'\n');
            run.for_each_candidate((all, of_field), text, budget, &mut |index, tried, try_rule| {
                // A rule that exceeded its limit is expensive, and is reported
                // already.
                let Some(rule) = coverage.get_mut(index).filter(|r| !r.step_limit_exceeded) else {
                    return;
                };
                match try_rule(step_limit(text), name) {
                    Ok(true) => {
                        rule.matched += 1;
                        if tried.template().is_some() {
                            rule.count_name(name);
                        }
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
    }

    /// The image names that a rule made, with the number of processes of each, by name; of the
    /// first 1,000 names. Empty if the image name of the rule has no groups.
    pub fn made(&self, rule: usize) -> impl Iterator<Item = (&str, usize)> + '_ {
        let made = self.coverage.get(rule).map(|rule| rule.made.iter());
        made.into_iter().flatten().map(|(name, processes)| (name.as_str(), *processes))
    }

    /// Number of processes of which a rule made further names.
    pub fn made_further(&self, rule: usize) -> usize {
        self.coverage.get(rule).map_or(0, |rule| rule.made_further)
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

impl RuleCoverage {
    /// Counts a process of which this name was made.
    fn count_name(&mut self, name: &str) {
        if let Some(processes) = self.made.get_mut(name) {
            *processes += 1;
        } else if self.made.len() < MAX_NAMES {
            self.made.insert(name.to_owned(), 1);
        } else {
            self.made_further += 1;
        }
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
