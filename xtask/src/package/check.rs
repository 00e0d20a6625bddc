//! Installs, uses, upgrades and removes the package.

use std::path::Path;

use super::page;
use crate::container::{Chroot, CommandOutput};
use crate::known::Known;
use crate::{Result, assert_ok};

/// The program that tcollector runs.
const COLLECTOR: &str = "/usr/lib/tcollector/collectors/0/psstat";
/// The file of the options.
const OPTIONS: &str = "/etc/default/psstat";

/// The number of sections of the page with a check.
const SECTIONS: usize = 12;

/// Runs the commands of docs/install.md and checks the result of each section.
pub(crate) fn inside(dir: &Path, package: &Path) -> Result<()> {
    let chroot = Chroot::new(dir)?;
    let name = package.file_name().ok_or("a package without a name")?;
    std::fs::copy(package, chroot.path("/root").join(name))?;
    // Requirements of the page: tcollector's user, and a tool of the TSD, here one that records the
    // names of metrics.
    chroot.sh("adduser --system --quiet --no-create-home tcollector
         printf '#!/bin/sh\\necho \"$@\" >> /root/tsdb.names\\n' > /usr/local/bin/tsdb
         chmod 755 /usr/local/bin/tsdb")?;
    let known = Known::new()?;
    let mut checked = 0;
    for section in page::sections()? {
        let mut stdout = String::new();
        for block in &section.blocks {
            let output =
                chroot.sh(block).map_err(|error| format!("{}: {error}", section.heading))?;
            stdout.push_str(&output.stdout);
        }
        match section.heading.as_str() {
            "The package" => installed(&chroot)?,
            "The names in the TSD" => assert_ok(
                std::fs::read_to_string(chroot.path("/root/tsdb.names"))?
                    .starts_with("mkmetric proc.stat.ps.io "),
                "no metric was created",
            )?,
            "The config file" => {
                chroot.sh(&format!("echo '{}' >> /etc/psstat.conf", known.rule()))?;
                without_the_group(&chroot, &known)?;
            }
            "tcollector's directory" => assert_ok(
                chroot.path("/usr/local/tcollector/collectors/0/psstat").is_symlink(),
                "no link in tcollector's directory",
            )?,
            "Which user to run as" => with_the_group(&chroot, &known)?,
            "The first point" => assert_ok(
                stdout.lines().any(|line| line.starts_with("proc.stat.ps.procs ")),
                "no first point",
            )?,
            "Options" => options(&chroot)?,
            "When something is missing" => {
                assert_ok(stdout.contains("cap_sys_ptrace"), "no capabilities")?;
                assert_ok(stdout.contains("cpu_clock"), "no output of doctor")?;
            }
            "Prometheus and VictoriaMetrics" => is_enabled(&chroot, "psstat", true)?,
            "node_exporter's textfile collector" => {
                is_enabled(&chroot, "psstat-textfile", true)?;
                is_enabled(&chroot, "psstat", false)?;
            }
            "Upgrading" => upgraded(&chroot)?,
            "Removal" => purged(&chroot)?,
            _ => continue,
        }
        checked += 1;
        println!("{}: as described in docs/install.md", section.heading);
    }
    // A heading that was changed on the page has no check.
    assert_ok(checked == SECTIONS, &format!("{checked} sections were checked, not {SECTIONS}"))
}

/// Checks that every file is installed, with its type and permissions.
fn installed(chroot: &Chroot) -> Result<()> {
    let files = chroot.sh("dpkg-deb --contents ./psstat_*.deb | awk '{print $6}'")?.stdout;
    for file in [
        "usr/bin/psstat-tcollector",
        "usr/bin/psstat-dump",
        "usr/lib/psstat/collector",
        "etc/default/psstat",
        "usr/share/psstat/example.conf",
        "usr/share/psstat/grafana/psstat-prometheus.json",
        "usr/share/psstat/grafana/psstat-opentsdb.json",
        "usr/share/psstat/vmui/psstat.json",
        "usr/share/psstat/prometheus/psstat.rules.yml",
        "usr/lib/systemd/system/psstat.service",
        "usr/lib/systemd/system/psstat-textfile.service",
        "usr/lib/systemd/system/psstat-record.service",
        "usr/share/psstat/conf.d/10-base.conf",
        "usr/share/psstat/conf.d/20-web.conf",
        "usr/share/man/man1/psstat-tcollector.1.gz",
        "usr/share/man/man1/psstat-dump.1.gz",
        "usr/share/man/man1/psstat-dump-explain.1.gz",
        "usr/share/bash-completion/completions/psstat-tcollector",
        "usr/share/bash-completion/completions/psstat-dump",
        "usr/share/zsh/vendor-completions/_psstat-tcollector",
        "usr/share/zsh/vendor-completions/_psstat-dump",
        "usr/share/fish/vendor_completions.d/psstat-tcollector.fish",
        "usr/share/fish/vendor_completions.d/psstat-dump.fish",
        "usr/share/doc/psstat/README.md",
        "usr/share/doc/psstat/docs/install.md",
        "usr/share/doc/psstat/docs/from-psstat-py.md",
        "usr/share/doc/psstat/copyright",
        "usr/lib/tcollector/collectors/0/psstat",
    ] {
        assert_ok(
            files.lines().any(|line| line == format!("./{file}")),
            &format!("no {file} in\n{files}"),
        )?;
    }
    let capable = "/usr/lib/psstat/psstat-tcollector";
    let permissions = chroot.sh(&format!("getcap {capable}; stat -c '%U:%G %a' {capable}"))?.stdout;
    let capabilities = "cap_dac_read_search,cap_sys_ptrace,cap_perfmon,cap_bpf=ep";
    let expected = format!("{capable} {capabilities}\nroot:psstat 750\n");
    assert_ok(permissions == expected, &format!("{permissions}, not {expected}"))?;
    let target =
        chroot.sh(&format!("readlink -f {COLLECTOR}; dpkg --verify psstat; dpkg --audit"))?.stdout;
    assert_ok(target == "/usr/lib/psstat/collector\n", &target)?;
    chroot.sh("psstat-tcollector --version; psstat-dump --version; command -v man >/dev/null || exit 0; man -l /usr/share/man/man1/psstat-dump.1.gz >/dev/null")?;
    // Under the names that bash expects, and loadable.
    chroot.sh(
        "bash -c '. /usr/share/bash-completion/completions/psstat-dump; complete -p psstat-dump'",
    )?;
    Ok(())
}

/// Checks whether a unit is started at boot.
fn is_enabled(chroot: &Chroot, unit: &str, expected: bool) -> Result<()> {
    let link = chroot.path(&format!("/etc/systemd/system/multi-user.target.wants/{unit}.service"));
    assert_ok(link.is_symlink() == expected, &format!("{unit}: enabled is not {expected}"))
}

/// Runs a cycle of the program that tcollector runs, through setpriv(1).
fn cycle(chroot: &Chroot, user: &str) -> Result<CommandOutput> {
    chroot.sh(&format!("setpriv {user} env PSSTAT_ONCE=true {COLLECTOR}"))
}

/// Compares a cycle with the known process.
fn compare(known: &Known, user: &str, output: &CommandOutput, is_privileged: bool) -> Result<()> {
    let compared = known.compare(&output.stdout, is_privileged);
    compared.map_err(|error| format!("{user}: {error}\n{}", output.stderr).into())
}

/// tcollector's user with its current groups.
const MEMBER: &str = "--reuid tcollector --regid nogroup --init-groups --inh-caps=-all";

/// Checks that a user outside of the group gets fewer values, and no wrong one.
fn without_the_group(chroot: &Chroot, known: &Known) -> Result<()> {
    compare(known, "root", &cycle(chroot, "--reuid root")?, true)?;
    let output = cycle(chroot, MEMBER)?;
    compare(known, "another user", &output, false)?;
    assert_ok(output.stderr.contains("setcap"), &format!("no hint at setcap: {}", output.stderr))?;
    // As AmbientCapabilities of a unit.
    let both = "+sys_ptrace,+dac_read_search";
    let ambient = format!(
        "--reuid tcollector --regid nogroup --init-groups --no-new-privs \
         --inh-caps={both} --ambient-caps={both}"
    );
    compare(known, "ambient capabilities", &cycle(chroot, &ambient)?, true)
}

/// Checks that a member of the group gets all values, unless capabilities are removed.
fn with_the_group(chroot: &Chroot, known: &Known) -> Result<()> {
    compare(known, "a member of the group", &cycle(chroot, MEMBER)?, true)?;
    for less in ["--no-new-privs", "--bounding-set=-sys_ptrace,-dac_read_search"] {
        compare(known, less, &cycle(chroot, &format!("{MEMBER} {less}"))?, false)?;
    }
    Ok(())
}

/// Checks that the options apply to every user.
fn options(chroot: &Chroot) -> Result<()> {
    chroot.sh(&format!("echo PSSTAT_TAG=dc=ams3 >> {OPTIONS}"))?;
    for user in [MEMBER, "--reuid root"] {
        let output = cycle(chroot, user)?;
        let tagged = output.stdout.lines().all(|line| line.ends_with(" dc=ams3"));
        assert_ok(tagged && !output.stdout.is_empty(), &format!("not tagged: {}", output.stdout))?;
    }
    Ok(())
}

/// Checks that the options are kept, and that the file has a new time for tcollector.
fn upgraded(chroot: &Chroot) -> Result<()> {
    let options = std::fs::read_to_string(chroot.path(OPTIONS))?;
    assert_ok(options.contains("PSSTAT_INTERVAL=30"), "the options are not kept")?;
    let collector = "/usr/lib/psstat/collector";
    chroot.sh(&format!(
        "touch -d 2001-01-01 {collector}; apt-get install --yes --reinstall ./psstat_*.deb"
    ))?;
    let newer = chroot.sh(&format!("find {collector} -newermt 2002-01-01"))?.stdout;
    assert_ok(!newer.is_empty(), "tcollector would not notice the upgrade")?;
    chroot.sh("getcap /usr/lib/psstat/psstat-tcollector | grep -q sys_ptrace").map(drop)
}

/// Checks that only the files named on the page are left.
fn purged(chroot: &Chroot) -> Result<()> {
    let mut left = chroot.written("psstat")?;
    // The package as a file, and the user's config files.
    let kept = ["/root/psstat_", "/etc/psstat.conf", "/etc/psstat.d"];
    left.retain(|path| !kept.iter().any(|kept| path.starts_with(kept)));
    assert_ok(left.is_empty(), &format!("files are left: {left:?}"))?;
    assert_ok(!chroot.has("/usr/lib/tcollector"), "the directory of tcollector is left")
}
