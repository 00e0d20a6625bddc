//! The observed processes.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::Resource;

use crate::Result;
use crate::child_modes::member::Resources;
use crate::stop::Stop;

/// The properties of a population.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// Processes.
    pub(crate) processes: u64,
    /// How many of them belong to an image.
    pub(crate) matched: u64,
    /// Images, over which the matched processes are distributed.
    pub(crate) images: u64,
    /// File descriptors per process.
    pub(crate) fds: u64,
    /// Established tcp sockets in total, both ends of each connection.
    pub(crate) tcp: u64,
    /// Connected udp sockets in total.
    pub(crate) udp: u64,
    /// Connected unix sockets in total, both ends.
    pub(crate) unix: u64,
    /// How many processes are active.
    pub(crate) active: u64,
    /// Replaced tcp connections per second.
    pub(crate) replaced: u64,
}

/// The resources of all matched processes: the numbers that an observer must find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) processes: u64,
    pub(crate) fds: u64,
    pub(crate) tcp: u64,
    pub(crate) udp: u64,
    pub(crate) unix: u64,
}

/// Running processes; killed when dropped, and when this program exits.
#[derive(Debug)]
pub(crate) struct Population {
    members: Vec<Child>,
    /// The pids of those that belong to an image.
    pub(crate) matched: Vec<u32>,
    pub(crate) totals: Totals,
}

/// The prefix of the `argv[0]` of matched processes; the number of the image follows.
const MATCHED: &str = "member-";

/// The `argv[0]` of the processes of the first image.
pub(crate) fn name_of_first() -> String {
    format!("{MATCHED}0")
}

/// The image of a command line.
pub(crate) fn image_of(text: &[u8]) -> Option<&str> {
    let name = text.split(|&byte| byte == b' ').next()?;
    let number = std::str::from_utf8(name).ok()?.strip_prefix(MATCHED)?;
    number.parse::<u32>().is_ok().then_some(number)
}

/// The config with the same images.
pub(crate) fn config(images: u64) -> String {
    (0..images).map(|image| format!("image-{image:03} ^{MATCHED}{image}\\s\n")).collect()
}

impl Spec {
    /// The resources of the process with this number: everything is distributed evenly, the
    /// remainder over the first processes.
    fn resources(&self, number: u64) -> Resources {
        let share = |all: u64| all / self.processes + u64::from(number < all % self.processes);
        Resources {
            fds: self.fds,
            tcp_pairs: share(self.tcp / 2),
            udp: share(self.udp),
            unix_pairs: share(self.unix / 2),
            is_active: self.is_selected(number, self.active),
            replacing: self.replacing(number),
        }
    }

    /// Milliseconds until a process replaces its first connection, and per replacement after that,
    /// if it does: one process after the other.
    fn replacing(&self, number: u64) -> Option<(u64, u64)> {
        let after = |processes: u64| (1000 * processes).checked_div(self.replaced);
        Some((after(number)?, after(self.processes)?))
    }

    /// Whether a process is one of `count` that are spread evenly over all.
    fn is_selected(&self, number: u64, count: u64) -> bool {
        (number + 1) * count / self.processes > number * count / self.processes
    }

    /// The matched processes are spread evenly over the pids.
    fn is_matched(&self, number: u64) -> bool {
        self.is_selected(number, self.matched)
    }

    fn validate(&self) -> Result<()> {
        if self.processes == 0 || self.images == 0 || self.matched > self.processes {
            return Err("there must be processes and images, and no more matched than all".into());
        }
        if self.active > self.processes {
            return Err("more active processes than processes".into());
        }
        if self.replaced > 0 && self.tcp < 2 * self.processes {
            return Err("each process needs its own connection to replace".into());
        }
        let sockets = self.resources(0).sockets();
        if sockets > 0 && self.fds < sockets + 4 {
            let needed = sockets + 4;
            return Err(format!("{sockets} sockets per process need {needed} fds").into());
        }
        if (1..4).contains(&self.fds) {
            return Err("a process has no file descriptor or at least 4".into());
        }
        Ok(())
    }
}

impl Population {
    /// Starts the processes and waits until each holds its resources.
    pub(crate) fn start(spec: &Spec, stop: &Stop) -> Result<Population> {
        spec.validate()?;
        let (mut ready, child_end) = std::io::pipe()?;
        let mut population =
            Population { members: Vec::new(), matched: Vec::new(), totals: Totals::default() };
        let mut matched = 0;
        for number in 0..spec.processes {
            stop.check()?;
            let resources = spec.resources(number);
            let is_matched = spec.is_matched(number);
            let image = matched % spec.images;
            let mut command = resources.command(number);
            command.stdin(Stdio::null()).stdout(child_end.try_clone()?).stderr(Stdio::null());
            if is_matched {
                command.arg0(format!("{MATCHED}{image}"));
                matched += 1;
                population.totals.add(resources);
            } else {
                command.arg0("unmatched");
            }
            let child = command.spawn().map_err(|error| {
                format!("cannot start process {number} ({error}); see kernel.pid_max, ulimit -u")
            })?;
            if is_matched {
                population.matched.push(child.id());
            }
            population.members.push(child);
        }
        drop(child_end);
        wait_until_ready(&mut ready, spec.processes, stop)?;
        Ok(population)
    }
}

fn wait_until_ready(ready: &mut std::io::PipeReader, processes: u64, stop: &Stop) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut count = 0;
    let mut buffer = [0; 4096];
    while count < processes {
        stop.check()?;
        if Instant::now() > deadline {
            return Err(format!("{} processes did not start in time", processes - count).into());
        }
        let mut poll = [PollFd::new(ready, PollFlags::IN)];
        let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        match rustix::event::poll(&mut poll, Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let read = ready.read(&mut buffer)?;
        if read == 0 {
            return Err("a process could not open its files or sockets".into());
        }
        count += read as u64;
    }
    Ok(())
}

impl Drop for Population {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.kill();
        }
        for member in &mut self.members {
            let _ = member.wait();
        }
    }
}

impl Totals {
    /// Whether an observer found these totals while connections were replaced: those of one second
    /// may be missing or counted twice, with two file descriptors each.
    pub(crate) fn matches(&self, found: Totals, replaced: u64) -> bool {
        let near = |one: u64, other: u64| one.abs_diff(other) <= 4 * replaced;
        let Totals { processes, fds, tcp, udp, unix } = found;
        (processes, udp, unix) == (self.processes, self.udp, self.unix)
            && near(fds, self.fds)
            && near(tcp, self.tcp)
    }

    /// The sums over the lines of a cycle.
    pub(crate) fn of(lines: &[String]) -> Totals {
        let mut totals = Totals::default();
        for line in lines {
            let Some((metric, rest)) = line.split_once(' ') else { continue };
            let value = rest.split(' ').nth(1).and_then(|value| value.parse::<u64>().ok());
            let sum = match metric {
                "proc.stat.ps.procs" => &mut totals.processes,
                "proc.stat.ps.fd" => &mut totals.fds,
                "proc.stat.ps.net" if rest.contains("type=tcp") => &mut totals.tcp,
                "proc.stat.ps.net" if rest.contains("type=udp") => &mut totals.udp,
                "proc.stat.ps.net" if rest.contains("type=unix") => &mut totals.unix,
                _ => continue,
            };
            *sum += value.unwrap_or(0);
        }
        totals
    }

    fn add(&mut self, resources: Resources) {
        self.processes += 1;
        self.fds += resources.fds;
        self.tcp += 2 * resources.tcp_pairs;
        self.udp += resources.udp;
        self.unix += 2 * resources.unix_pairs;
    }
}

/// Raises the soft limit of file descriptors to `needed`, and the hard limit too where that is
/// allowed; returns the soft limit. Processes started later inherit it.
pub(crate) fn raise_fd_limit(needed: u64) -> Result<u64> {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let current = before.current.unwrap_or(u64::MAX);
    if current >= needed {
        return Ok(current);
    }
    let hard = before.maximum.unwrap_or(u64::MAX);
    for (soft, hard) in [(needed, hard.max(needed)), (hard, hard)] {
        let limit = rustix::process::Rlimit { current: Some(soft), maximum: Some(hard) };
        if rustix::process::setrlimit(Resource::Nofile, limit).is_ok() {
            return Ok(soft);
        }
    }
    Ok(current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            processes: 7,
            matched: 3,
            images: 2,
            fds: 20,
            tcp: 30,
            udp: 8,
            unix: 4,
            active: 2,
            replaced: 0,
        }
    }

    #[test]
    fn resources_are_distributed_completely() {
        let spec = spec();
        let all: Vec<_> = (0..7).map(|number| spec.resources(number)).collect();
        assert_eq!(all.iter().map(|resources| 2 * resources.tcp_pairs).sum::<u64>(), 30);
        assert_eq!(all.iter().map(|resources| resources.udp).sum::<u64>(), 8);
        assert_eq!(all.iter().map(|resources| 2 * resources.unix_pairs).sum::<u64>(), 4);
        assert_eq!((0..7).filter(|&number| spec.is_matched(number)).count(), 3);
        assert!(spec.validate().is_ok());
        assert_eq!(all.iter().filter(|resources| resources.is_active).count(), 2);
        assert!(Spec { active: 8, ..spec }.validate().is_err());
        assert!(Spec { fds: 9, ..spec }.validate().is_err());
    }

    #[test]
    fn connections_are_replaced_one_after_the_other() {
        let spec = Spec { replaced: 2, ..spec() };
        assert_eq!(spec.replacing(0), Some((0, 3500)));
        assert_eq!(spec.replacing(6), Some((3000, 3500)));
        assert!(spec.validate().is_ok());
        assert!(Spec { tcp: 12, ..spec }.validate().is_err());
        assert_eq!(Spec { replaced: 0, ..spec }.replacing(1), None);
    }

    #[test]
    fn connection_under_replacement_is_optional() {
        let totals = Totals { processes: 7, fds: 140, tcp: 30, udp: 8, unix: 4 };
        assert!(totals.matches(totals, 0));
        assert!(!totals.matches(Totals { tcp: 28, ..totals }, 0));
        assert!(totals.matches(Totals { tcp: 28, fds: 143, ..totals }, 1));
        assert!(!totals.matches(Totals { tcp: 24, ..totals }, 1));
        assert!(!totals.matches(Totals { udp: 7, ..totals }, 1));
    }

    #[test]
    fn image_of_command_line() {
        assert_eq!(image_of(b"member-12 member 1"), Some("12"));
        assert_eq!(image_of(b"unmatched member member-1"), None);
        assert_eq!(config(2), "image-000 ^member-0\\s\nimage-001 ^member-1\\s\n");
    }

    #[test]
    fn totals_of_a_cycle() {
        let lines = [
            "proc.stat.ps.procs 1700000000 3 image=a",
            "proc.stat.ps.procs 1700000000 4 image=b",
            "proc.stat.ps.net 1700000000 5 image=b type=udp",
            "proc.stat.ps.pcpu 1700000000 12.5 image=b",
            "",
        ];
        let totals = Totals::of(&lines.map(str::to_owned));
        assert_eq!(totals, Totals { processes: 7, udp: 5, ..Totals::default() });
    }
}
