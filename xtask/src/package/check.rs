//! The package installed, used, upgraded, removed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use psstat_testproc::{Config, TempDir, TestProcess};

use super::chroot::{Room, Said};
use super::page;
use crate::Result;

/// What tcollector runs.
const COLLECTOR: &str = "/usr/lib/tcollector/collectors/0/psstat";
/// The options' file.
const OPTIONS: &str = "/etc/default/psstat";

/// Goes on in a mount namespace, which takes all mounts along when it ends.
pub(crate) fn outside(out: &Path) -> Result<()> {
    let scratch = TempDir::new()?;
    let done = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(["package", "--out"])
        .arg(out)
        .arg("--inside")
        .arg(scratch.path())
        .status()?;
    if done.success() { Ok(()) } else { Err("the package's check failed".into()) }
}

/// Does what docs/install.md says, section by section, and looks at what has
/// come of it.
pub(crate) fn inside(scratch: &Path, package: &Path) -> Result<()> {
    let room = Room::new(scratch)?;
    let name = package.file_name().ok_or("a package without a name")?;
    std::fs::copy(package, room.path("/root").join(name))?;
    // What the page takes for given: tcollector's user, and a TSD's tool, which
    // notes down the names that it is to create.
    room.sh("adduser --system --quiet --no-create-home tcollector
         printf '#!/bin/sh\\necho \"$@\" >> /root/tsdb.names\\n' > /usr/local/bin/tsdb
         chmod 755 /usr/local/bin/tsdb")?;
    let known = Known::new()?;
    for section in page::sections()? {
        let mut shown = String::new();
        for block in &section.blocks {
            let said = room.sh(block).map_err(|error| format!("{}: {error}", section.heading))?;
            shown.push_str(&said.stdout);
        }
        match section.heading.as_str() {
            "The package" => installed(&room)?,
            "The names in the TSD" => must(
                std::fs::read_to_string(room.path("/root/tsdb.names"))?
                    .starts_with("mkmetric proc.stat.ps.io "),
                "no metric was created",
            )?,
            "The config file" => {
                known.write_rule(&room)?;
                without_the_group(&room, &known)?;
            }
            "tcollector's directory" => must(
                room.path("/usr/local/tcollector/collectors/0/psstat").is_symlink(),
                "no link in tcollector's directory",
            )?,
            "Which user to run as" => with_the_group(&room, &known)?,
            "The first point" => must(
                shown.lines().any(|line| line.starts_with("proc.stat.ps.procs ")),
                "no first point",
            )?,
            "Options" => options(&room)?,
            "When something is missing" => {
                must(shown.contains("cap_sys_ptrace"), "no capabilities")?;
                must(shown.contains("cpu_clock"), "doctor says nothing")?;
            }
            "Upgrading" => upgraded(&room)?,
            "Removal" => purged(&room)?,
            _ => {}
        }
        println!("{}: as docs/install.md says", section.heading);
    }
    Ok(())
}

fn must(so: bool, otherwise: &str) -> Result<()> {
    if so { Ok(()) } else { Err(otherwise.into()) }
}

/// Every file is there, of the right kind and with the right rights.
fn installed(room: &Room) -> Result<()> {
    let files = room.sh("dpkg-deb --contents ./psstat_*.deb | awk '{print $6}'")?.stdout;
    for file in [
        "usr/bin/psstat-tcollector",
        "usr/bin/psstat-dump",
        "usr/lib/psstat/collector",
        "etc/default/psstat",
        "usr/share/psstat/example.conf",
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
        must(
            files.lines().any(|line| line == format!("./{file}")),
            &format!("no {file} in\n{files}"),
        )?;
    }
    let capable = "/usr/lib/psstat/psstat-tcollector";
    let rights = room.sh(&format!("getcap {capable}; stat -c '%U:%G %a' {capable}"))?.stdout;
    let expected = format!("{capable} cap_dac_read_search,cap_sys_ptrace=ep\nroot:psstat 750\n");
    must(rights == expected, &format!("{rights}, not {expected}"))?;
    let target =
        room.sh(&format!("readlink -f {COLLECTOR}; dpkg --verify psstat; dpkg --audit"))?.stdout;
    must(target == "/usr/lib/psstat/collector\n", &target)?;
    room.sh("psstat-tcollector --version; psstat-dump --version; command -v man >/dev/null || exit 0; man -l /usr/share/man/man1/psstat-dump.1.gz >/dev/null")?;
    // Under the names that bash looks for, and they load.
    room.sh(
        "bash -c '. /usr/share/bash-completion/completions/psstat-dump; complete -p psstat-dump'",
    )?;
    Ok(())
}

/// A process of root's whose numbers are known.
struct Known {
    word: String,
    actor: TestProcess,
}

impl Known {
    fn new() -> Result<Known> {
        let word = format!("known-{}x", std::process::id());
        let mut actor = TestProcess::spawn(&Config::new(&word))?;
        actor.write_bytes(123_456, 12)?;
        actor.tcp_pairs(3)?;
        actor.open_files(7)?;
        actor.quiesce()?;
        Ok(Known { word, actor })
    }

    fn write_rule(&self, room: &Room) -> Result<()> {
        room.sh(&format!("echo 'known {}' >> /etc/psstat.conf", self.word)).map(drop)
    }

    /// The values that take rights, as they must be with them.
    fn guarded(&self) -> Result<BTreeMap<&'static str, u64>> {
        let io = self.actor.expected_io()?;
        Ok(BTreeMap::from([
            ("io type=rchar", io.rchar),
            ("io type=wchar", io.wchar),
            ("io type=syscr", io.syscr),
            ("io type=syscw", io.syscw),
            ("net type=tcp", 6),
        ]))
    }

    /// Holds a cycle against the process: what is free must be right in any
    /// case, what takes rights must be right or absent.
    fn compare(&self, who: &str, said: &Said, whole: bool) -> Result<()> {
        let mut values = BTreeMap::new();
        for line in said.stdout.lines().filter(|line| line.contains(" image=known")) {
            let words: Vec<&str> = line.split(' ').collect();
            let [metric, _, value, _, rest @ ..] = &words[..] else { return Err(line.into()) };
            let metric = metric.trim_start_matches("proc.stat.ps.");
            let series = [&[metric], rest].concat().join(" ");
            values.insert(series, value.parse::<f64>()?);
        }
        let mut wrong = Vec::new();
        for (series, value) in [("procs", 1), ("threads", 1)] {
            if values.get(series) != Some(&f64::from(value)) {
                wrong.push(format!("{series} is not {value}"));
            }
        }
        for (series, value) in self.guarded()? {
            let expected = whole.then_some(value as f64);
            if values.get(series) != expected.as_ref() {
                wrong.push(format!("{series} is not {expected:?}"));
            }
        }
        let Said { stderr, .. } = said;
        must(wrong.is_empty(), &format!("{who}: {wrong:?}: {values:#?}\n{stderr}"))
    }
}

/// A cycle by what tcollector runs, by way of setpriv(1).
fn cycle(room: &Room, who: &str) -> Result<Said> {
    room.sh(&format!("setpriv {who} env PSSTAT_ONCE=true {COLLECTOR}"))
}

/// tcollector's user, with the groups that it is in by then.
const MEMBER: &str = "--reuid tcollector --regid nogroup --init-groups --inh-caps=-all";

/// Whoever is not in the group gets less, and it is not wrong.
fn without_the_group(room: &Room, known: &Known) -> Result<()> {
    known.compare("root", &cycle(room, "--reuid root")?, true)?;
    let said = cycle(room, MEMBER)?;
    known.compare("another user", &said, false)?;
    must(said.stderr.contains("setcap"), &format!("no word of what is missing: {}", said.stderr))?;
    // A unit's AmbientCapabilities.
    let both = "+sys_ptrace,+dac_read_search";
    let ambient = format!(
        "--reuid tcollector --regid nogroup --init-groups --no-new-privs \
         --inh-caps={both} --ambient-caps={both}"
    );
    known.compare("ambient capabilities", &cycle(room, &ambient)?, true)
}

/// Whoever is in it gets all, unless capabilities are taken away.
fn with_the_group(room: &Room, known: &Known) -> Result<()> {
    known.compare("a member of the group", &cycle(room, MEMBER)?, true)?;
    for less in ["--no-new-privs", "--bounding-set=-sys_ptrace,-dac_read_search"] {
        known.compare(less, &cycle(room, &format!("{MEMBER} {less}"))?, false)?;
    }
    Ok(())
}

/// What is set for tcollector's collector is in force, for everybody.
fn options(room: &Room) -> Result<()> {
    room.sh(&format!("echo PSSTAT_TAG=dc=ams3 >> {OPTIONS}"))?;
    for who in [MEMBER, "--reuid root"] {
        let said = cycle(room, who)?;
        let tagged = said.stdout.lines().all(|line| line.ends_with(" dc=ams3"));
        must(tagged && !said.stdout.is_empty(), &format!("not tagged: {}", said.stdout))?;
    }
    Ok(())
}

/// Options stay, and tcollector finds a newer file.
fn upgraded(room: &Room) -> Result<()> {
    let options = std::fs::read_to_string(room.path(OPTIONS))?;
    must(options.contains("PSSTAT_INTERVAL=30"), "the options are lost")?;
    let collector = "/usr/lib/psstat/collector";
    room.sh(&format!(
        "touch -d 2001-01-01 {collector}; apt-get install --yes --reinstall ./psstat_*.deb"
    ))?;
    let newer = room.sh(&format!("find {collector} -newermt 2002-01-01"))?.stdout;
    must(!newer.is_empty(), "tcollector would not notice the upgrade")?;
    room.sh("getcap /usr/lib/psstat/psstat-tcollector | grep -q sys_ptrace").map(drop)
}

/// Nothing of it is left but what the page says.
fn purged(room: &Room) -> Result<()> {
    let left = room.written("psstat")?;
    let ours = |path: &&String| {
        let theirs = ["/root/psstat_", "/etc/psstat.conf"];
        !theirs.iter().any(|theirs| path.starts_with(theirs))
    };
    let left: Vec<&String> = left.iter().filter(ours).collect();
    must(left.is_empty(), &format!("left behind: {left:?}"))?;
    must(!room.has("/usr/lib/tcollector"), "its folder in tcollector's stays")
}
