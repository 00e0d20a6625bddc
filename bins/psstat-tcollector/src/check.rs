//! `--check`: prints the diagnostics of a config file to stderr, as compilers do.

use std::io::Write as _;
use std::path::Path;

use psstat_matcher::file::{LoadError, load};
use psstat_matcher::ownership::check_ownership;
use psstat_matcher::{CoverageCheck, Diagnostic, Rules, Severity};
use psstat_sampler::{Options, Sampler};
use psstat_support::cmdline::is_collector;
use psstat_support::escape;

use crate::conf::{OwnerPolicy, path_help};
use crate::options::Settings;
use crate::{EXIT_BAD_CONF, EXIT_OK};

/// Checks the config file, and its rules with the processes of the procfs. Returns the exit
/// status.
pub(crate) fn check(settings: &Settings, owner: &OwnerPolicy) -> u8 {
    let (path, proc) = (&settings.conf, &settings.proc);
    let name = escape::bytes(path.as_os_str().as_encoded_bytes());
    let mut status = EXIT_OK;
    let print = |diagnostics: &[Diagnostic]| {
        for diagnostic in diagnostics {
            eprint(&format!("{}\n", diagnostic.display(&name)));
        }
    };
    match load(path) {
        Ok(loaded) => {
            print(&loaded.conf.diagnostics);
            print(&check_coverage(&loaded.conf.rules, proc));
            for issue in check_ownership(&loaded.stamp, &owner.user) {
                eprint(&format!("{name}: {issue}"));
                if owner.strict {
                    status = EXIT_BAD_CONF;
                }
            }
            let (conf, rules) = (&loaded.conf, &loaded.conf.rules);
            let bad = conf.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
            eprint(&format!(
                "{name}: {} rules for {} images, {bad} bad lines",
                rules.rules().len(),
                rules.images().len()
            ));
            if conf.has_errors() {
                status = EXIT_BAD_CONF;
            }
        }
        Err(error) => {
            if let LoadError::NoRule(diagnostics) = &error {
                print(diagnostics);
            }
            eprint(&format!("{name}: {error}{}", path_help(&error, settings.conf_is_explicit)));
            status = EXIT_BAD_CONF;
        }
    }
    status
}

/// Diagnostics of the rules from the processes on this host: rules that match none of them, all
/// of them, or a collector, or exceed their step limit.
fn check_coverage(rules: &Rules, proc: &Path) -> Vec<Diagnostic> {
    let options = Options { proc_root: proc.to_owned(), ..Options::default() };
    let Ok(mut sampler) = Sampler::new(options) else { return Vec::new() };
    let mut coverage = CoverageCheck::new(rules);
    let self_pid = std::process::id();
    sampler.open(&mut |process, _| {
        if process.pid == self_pid || is_collector(process.args_joined) {
            coverage.record_self(process.args_joined);
        } else {
            coverage.record(process.args_joined);
        }
    });
    coverage.diagnostics()
}

/// Prints a line to stderr. Errors are ignored: the exit status contains the result.
fn eprint(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
