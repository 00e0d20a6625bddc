//! `--check`: prints the diagnostics of the config files to stderr, as compilers do.

use std::io::Write as _;
use std::path::Path;

use psstat_matcher::file::LoadError;
use psstat_matcher::ownership::OwnerPolicy;
use psstat_matcher::sources::load;
use psstat_matcher::{CoverageCheck, Diagnostic, Rules, Severity};
use psstat_sampler::{ProcessFields, Sampler};
use psstat_support::cmdline::is_collector;
use psstat_support::process_texts::ProcessTexts;
use psstat_support::{count, escape};

use crate::conf::path_help;
use crate::options::Settings;
use crate::{EXIT_BAD_CONF, EXIT_OK};

/// Checks the config files, and their rules with the processes of the procfs. Returns the exit
/// status.
pub(crate) fn check(settings: &Settings, owner: &OwnerPolicy) -> u8 {
    let sources = load(&settings.conf, Some(owner));
    let (conf, rules) = (&sources.conf, &sources.conf.rules);
    print(&conf.diagnostics);
    print(&check_coverage(rules, &settings.proc));
    let mut is_ok = sources.is_current() && !conf.has_errors();
    for file in &sources.files {
        let name = escape::bytes(file.path.as_os_str().as_encoded_bytes());
        for issue in &file.ownership {
            eprint(&format!("{name}: {issue}"));
            is_ok &= !owner.is_strict();
        }
        match file.error.as_deref() {
            None | Some(LoadError::Ownership(_)) => {}
            Some(error) => {
                let is_given = !file.is_entry;
                let help = if is_given { path_help(error, settings.conf_is_explicit) } else { "" };
                eprint(&format!("{name}: {error}{help}"));
            }
        }
    }
    if !rules.is_empty() {
        let bad = conf.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        let (name, from) = match sources.files.as_slice() {
            [file] => (escape::bytes(file.path.as_os_str().as_encoded_bytes()), String::new()),
            files => {
                let count = files.iter().filter(|file| file.rules > 0).count();
                ("in all".to_owned(), format!(" from {}", count::of(count, "file", "files")))
            }
        };
        eprint(&format!(
            "{name}: {} for {}{from}, {}",
            count::of(rules.rules().len(), "rule", "rules"),
            count::of(rules.images().len(), "image", "images"),
            count::of(bad, "bad line", "bad lines")
        ));
    }
    if is_ok { EXIT_OK } else { EXIT_BAD_CONF }
}

fn print(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        eprint(&format!("{}\n", diagnostic.display("")));
    }
}

/// Diagnostics of the rules from the processes on this host: rules that match none of them, all
/// of them, or a collector, or exceed their step limit.
fn check_coverage(rules: &Rules, proc: &Path) -> Vec<Diagnostic> {
    let builder = Sampler::builder().proc_root(proc).fields(ProcessFields::NONE);
    let Ok(mut sampler) = builder.build() else { return Vec::new() };
    let mut coverage = CoverageCheck::new(rules);
    let self_pid = std::process::id();
    let mut texts = ProcessTexts::new(proc);
    if let Err(error) = texts.set_rules(rules) {
        eprint(&format!("cannot read the names of users: {error}"));
    }
    sampler.set_fields(texts.fields());
    // Only to see each process once.
    let _ = sampler.open_with(|process, _| {
        if process.pid == self_pid || is_collector(process.args_joined) {
            coverage.record_self(texts.of(process));
        } else {
            coverage.record(texts.of(process));
        }
    });
    coverage.diagnostics()
}

/// Prints a line to stderr. Errors are ignored: the exit status contains the result.
fn eprint(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
