//! `cargo xtask ansible`: the role for Ansible, run by a real one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use serde_json::{Value, json};

use crate::container::{Chroot, Machine, in_mount_namespace};
use crate::release::done;
use crate::{Result, cargo, package};

/// Run the Ansible role of packaging/ansible in a container that systemd has booted.
///
/// The container is a temporary copy of this machine's root. The role installs the Debian package,
/// rules, options and a service; the same again changes nothing; an invalid rule or option is
/// refused; another service and fewer rules replace the first. Needs root, systemd, ansible-core and
/// python3-apt; `cargo xtask package` builds the package.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The Debian package [the one in target/debian]
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,

    /// Run the check in the current mount namespace, with this directory for the copy
    #[arg(long, value_name = "DIR", hide = true)]
    inside: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let package = package::given_or_built(options.package.as_deref())?;
    let Some(dir) = &options.inside else {
        let args = ["ansible".as_ref(), "--package".as_ref(), package.as_os_str()];
        return in_mount_namespace(&args);
    };
    let chroot = Chroot::new(dir)?;
    fs::copy(package, chroot.path("/root/psstat.deb"))?;
    let role = cargo::root().join("packaging/ansible");
    done(Command::new("cp").arg("--recursive").arg(role).arg(chroot.path("/root/ansible")))?;
    check(&Machine::boot(&chroot)?)
}

/// How a run of the role ended, by tasks.
struct Outcome {
    changed: u64,
    /// The message of the task that failed.
    failure: Option<String>,
}

fn check(machine: &Machine) -> Result<()> {
    // Debian's node_exporter makes it.
    machine.sh("mkdir -p /var/lib/prometheus/node-exporter")?;
    let base = json!({
        "psstat_package": "/root/psstat.deb",
        "psstat_record": true,
        "psstat_options": {"INTERVAL": 1, "TAG": "dc=ams3"},
        "psstat_rules": {"10-base": "journal /systemd-journald$\n", "20-init": "init ^/\\S*systemd\\s\n"},
    });
    let first = play(machine, &base)?;
    check_that(first.failure.is_none() && first.changed > 5, &first, "the first run")?;
    machine.sh("systemctl is-enabled psstat psstat-record >/dev/null
        systemctl is-active psstat psstat-record >/dev/null
        ! systemctl is-enabled --quiet psstat-textfile")?;
    let served = |image: &str| {
        let get = "python3 -c 'import urllib.request as r
print(r.urlopen(\"http://127.0.0.1:9256/metrics\").read().decode())'";
        machine.until(get, |text| {
            text.contains(&format!("proc_stat_ps_procs{{image=\"{image}\",dc=\"ams3\"}} 1"))
        })
    };
    served("journal")?;
    served("init")?;
    machine.until("psstat-dump --replay /var/lib/psstat/recording --json", |table| {
        table.contains("\"image\":\"journal\"")
    })?;

    let second = play(machine, &base)?;
    check_that(second.failure.is_none() && second.changed == 0, &second, "the second run")?;

    for (variable, value, expected) in [
        ("psstat_rules", json!({"10-base": "journal (systemd\n"}), "validate"),
        ("psstat_options", json!({"INTERVAL": "often"}), "validate"),
        ("psstat_package", json!("/root/psstat.tar.gz"), "psstat_package"),
    ] {
        let mut changed = base.clone();
        changed[variable] = value;
        let failed = play(machine, &changed)?;
        let is_expected = failed.failure.as_ref().is_some_and(|text| text.contains(expected));
        check_that(is_expected, &failed, variable)?;
        // The last good files are in use.
        served("journal")?;
    }

    let mut other = base;
    other["psstat_service"] = json!("psstat-textfile");
    other["psstat_record"] = json!(false);
    other["psstat_rules"] = json!({"20-init": "init ^/\\S*systemd\\s\n"});
    let third = play(machine, &other)?;
    check_that(third.failure.is_none(), &third, "another service")?;
    machine.sh("systemctl is-enabled psstat-textfile >/dev/null
        systemctl is-active psstat-textfile >/dev/null
        ! systemctl is-active --quiet psstat
        ! systemctl is-active --quiet psstat-record
        test ! -e /etc/psstat.d/10-base.conf
        grep -q 'image=\"init\"' /var/lib/prometheus/node-exporter/psstat.prom")?;
    let again = play(machine, &other)?;
    check_that(again.failure.is_none() && again.changed == 0, &again, "the same service")?;
    println!(
        "{}: {} tasks changed, then none; invalid rules and options were refused; the other service \
         replaced the first",
        machine.sh("ansible-playbook --version | head -n 1")?.stdout.trim(),
        first.changed,
    );
    Ok(())
}

fn check_that(is_true: bool, outcome: &Outcome, what: &str) -> Result<()> {
    if is_true {
        return Ok(());
    }
    // The message of a task can contain a whole file.
    let failure: Option<String> =
        outcome.failure.as_ref().map(|text| text.chars().take(2_000).collect());
    Err(format!("{what}: {} tasks changed, {failure:?}", outcome.changed).into())
}

/// Runs the role with these variables on the container itself.
fn play(machine: &Machine, variables: &Value) -> Result<Outcome> {
    let variables = variables.to_string().replace('\'', "'\\''");
    // 2 is the status after a failed task.
    let output = machine.sh(&format!(
        "ansible-playbook --inventory localhost, --connection local --extra-vars '{variables}' \
         /root/ansible/site.yml || test $? = 2"
    ))?;
    let text = output.stdout;
    // localhost : ok=17 changed=9 unreachable=0 failed=0 …
    let recap = text.lines().rfind(|line| line.starts_with("localhost "));
    let count = recap.and_then(|line| line.split("changed=").nth(1)?.split(' ').next());
    let Some(Ok(changed)) = count.map(str::parse) else {
        return Err(format!("no result: {text}{}", output.stderr).into());
    };
    let fatal =
        text.lines().find(|line| line.starts_with("fatal: ") || line.starts_with("failed: "));
    Ok(Outcome { changed, failure: fatal.map(ToOwned::to_owned) })
}
