//! What the rules of a conf make of the processes of a machine.

use crate::diagnostic::Diagnostic;
use crate::rules::Rules;

/// Below this number "everything" says little.
const FEW: usize = 5;

/// Collects what each rule matches, for the warnings that need a machine.
///
/// ```
/// use psstat_matcher::{Conf, Survey};
///
/// let conf = Conf::parse(b"java java\nall .\n");
/// let mut survey = Survey::new(&conf.rules);
/// for text in ["init", "bash", "sshd -D", "cron -f", "top"] {
///     survey.see(text.as_bytes(), false);
/// }
/// let warnings = survey.warnings();
/// assert!(warnings[0].message.contains("nothing"));
/// assert!(warnings[1].message.contains("all 5"));
/// ```
#[derive(Debug)]
pub struct Survey<'a> {
    rules: &'a Rules,
    processes: usize,
    /// How many processes each rule matches.
    matched: Vec<usize>,
    /// Whether it matches the one that asks.
    own: Vec<bool>,
}

impl<'a> Survey<'a> {
    /// Nothing is seen yet.
    pub fn new(rules: &'a Rules) -> Self {
        let len = rules.rules().len();
        Self { rules, processes: 0, matched: vec![0; len], own: vec![false; len] }
    }

    /// Takes note of a process by its command line, as
    /// [`Rules::classify`](crate::Rules::classify) wants it; `own` where it is
    /// the collector. Kernel threads (empty command lines) do not count.
    pub fn see(&mut self, text: &[u8], own: bool) {
        if text.is_empty() {
            return;
        }
        self.processes += 1;
        for ((rule, matched), own_match) in
            self.rules.rules().iter().zip(&mut self.matched).zip(&mut self.own)
        {
            if matches!(rule.find(text), Ok(Some(_))) {
                *matched += 1;
                *own_match |= own;
            }
        }
    }

    /// How many processes each rule matches, in the order of the rules.
    pub fn matched(&self) -> &[usize] {
        &self.matched
    }

    /// Rules that match nothing here, everything, or the collector itself, in
    /// the order of the rules.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        for ((rule, &matched), &own) in self.rules.rules().iter().zip(&self.matched).zip(&self.own)
        {
            if rule.matches_empty() {
                // The conf's own warning says it better.
                continue;
            }
            let processes = self.processes;
            if matched == 0 {
                warnings.push(rule.warning(
                    format!("this matches nothing among the {processes} processes here"),
                    "compare it with the command line: `psstat-dump explain PID`".into(),
                ));
            } else if matched == processes && processes >= FEW {
                warnings.push(rule.warning(
                    format!("this matches all {processes} processes here"),
                    "name what sets the processes of this image apart".into(),
                ));
            } else if own {
                warnings.push(rule.warning(
                    "this matches the collector itself".into(),
                    "anchor it (`^`), or name more of the command line".into(),
                ));
            }
        }
        warnings
    }
}
