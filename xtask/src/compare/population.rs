//! The processes that are observed.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::Resource;

use super::member::{Activity, Holdings};
use crate::Result;
use crate::stop::Stop;

/// What a population is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    /// Processes.
    pub(crate) processes: u64,
    /// Of these, how many belong to an image.
    pub(crate) matched: u64,
    /// Images among which the matched ones are spread.
    pub(crate) images: u64,
    /// Descriptors a process.
    pub(crate) descriptors: u64,
    /// Established tcp sockets of all together, both ends of each connection.
    pub(crate) tcp: u64,
    /// Connected udp sockets of all together.
    pub(crate) udp: u64,
    /// Connected unix sockets of all together, both ends.
    pub(crate) unix: u64,
    /// Who does something.
    pub(crate) busy: Busy,
    /// Tcp connections that are replaced a second.
    pub(crate) replaced: u64,
}

/// Which processes do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// So many of all run a little.
    Some(u64),
    /// Those of every other image do everything, all the time.
    EveryOtherImage,
}

/// What the matched processes hold together: the numbers that an observer has
/// to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) procs: u64,
    pub(crate) descriptors: u64,
    pub(crate) tcp: u64,
    pub(crate) udp: u64,
    pub(crate) unix: u64,
}

/// Living processes; ended when dropped, and by the kernel should xtask end
/// without that.
#[derive(Debug)]
pub(crate) struct Population {
    members: Vec<Child>,
    /// Pids of those that belong to an image.
    pub(crate) matched: Vec<u32>,
    pub(crate) truth: Truth,
}

/// The name in front of a matched process's arguments; its image's number
/// follows.
const MATCHED: &str = "member-";

/// What a process of the first image is called.
pub(crate) fn name_of_first() -> String {
    format!("{MATCHED}0")
}

/// The image of a command line.
pub(crate) fn image_of(text: &[u8]) -> Option<u32> {
    let name = text.split(|&byte| byte == b' ').next()?;
    std::str::from_utf8(name).ok()?.strip_prefix(MATCHED)?.parse().ok()
}

/// The conf by which the collector finds the same images.
pub(crate) fn conf(images: u64) -> String {
    (0..images).map(|image| format!("image-{image:03} ^{MATCHED}{image}\\s\n")).collect()
}

impl Spec {
    /// What the process with this number holds: everything is dealt out
    /// evenly, what is left over to the first ones.
    fn holdings(&self, number: u64) -> Holdings {
        let share = |all: u64| all / self.processes + u64::from(number < all % self.processes);
        Holdings {
            descriptors: self.descriptors,
            tcp_pairs: share(self.tcp / 2),
            udp: share(self.udp),
            unix_pairs: share(self.unix / 2),
            activity: match self.busy {
                Busy::Some(busy) if self.is_among(number, busy) => Activity::Little,
                _ => Activity::Nothing,
            },
            replacing: self.replacing(number),
        }
    }

    /// In how many milliseconds a process replaces its first connection, and
    /// in how many again, if it does: one after the other, round and round.
    fn replacing(&self, number: u64) -> Option<(u64, u64)> {
        let after = |processes: u64| (1000 * processes).checked_div(self.replaced);
        Some((after(number)?, after(self.processes)?))
    }

    /// Whether a process is one of so many that are spread evenly over all.
    fn is_among(&self, number: u64, some: u64) -> bool {
        (number + 1) * some / self.processes > number * some / self.processes
    }

    /// The matched are spread evenly over the pids.
    fn is_matched(&self, number: u64) -> bool {
        self.is_among(number, self.matched)
    }

    fn check(&self) -> Result<()> {
        if self.processes == 0 || self.images == 0 || self.matched > self.processes {
            return Err("there must be processes and images, and no more matched than all".into());
        }
        if matches!(self.busy, Busy::Some(busy) if busy > self.processes) {
            return Err("no more can be busy than there are".into());
        }
        if self.replaced > 0 && self.tcp < 2 * self.processes {
            return Err("each process needs a connection of its own to replace".into());
        }
        let most = self.holdings(0).sockets();
        if most > 0 && self.descriptors < most + 4 {
            let least = most + 4;
            return Err(format!("{most} sockets a process need {least} descriptors").into());
        }
        if (1..4).contains(&self.descriptors) {
            return Err("a process has no descriptor or at least 4".into());
        }
        Ok(())
    }
}

impl Population {
    /// Starts them and waits until each holds what it is to hold.
    pub(crate) fn start(spec: &Spec, stop: &Stop) -> Result<Population> {
        spec.check()?;
        let (mut ready, theirs) = std::io::pipe()?;
        let mut population =
            Population { members: Vec::new(), matched: Vec::new(), truth: Truth::default() };
        let mut matched = 0;
        for number in 0..spec.processes {
            stop.check()?;
            let mut holdings = spec.holdings(number);
            let is_matched = spec.is_matched(number);
            let image = matched % spec.images;
            if spec.busy == Busy::EveryOtherImage && is_matched && image.is_multiple_of(2) {
                holdings.activity = Activity::Everything;
            }
            let mut command = holdings.command(number);
            command.stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(Stdio::null());
            if is_matched {
                command.arg0(format!("{MATCHED}{image}"));
                matched += 1;
                population.truth.add(holdings);
            } else {
                command.arg0("stranger");
            }
            let child = command.spawn().map_err(|error| {
                format!("cannot start process {number} ({error}); see kernel.pid_max, ulimit -u")
            })?;
            if is_matched {
                population.matched.push(child.id());
            }
            population.members.push(child);
        }
        drop(theirs);
        population.wait_until_ready(&mut ready, spec.processes, stop)?;
        Ok(population)
    }

    fn wait_until_ready(
        &self,
        ready: &mut std::io::PipeReader,
        processes: u64,
        stop: &Stop,
    ) -> Result<()> {
        let patience = Instant::now() + Duration::from_secs(60);
        let mut told = 0;
        let mut buffer = [0; 4096];
        while told < processes {
            stop.check()?;
            if Instant::now() > patience {
                let left = processes - told;
                return Err(format!("{left} processes did not come up").into());
            }
            let mut poll = [PollFd::new(ready, PollFlags::IN)];
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            match rustix::event::poll(&mut poll, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let read = ready.read(&mut buffer)?;
            if read == 0 {
                return Err("a process could not take its descriptors or sockets".into());
            }
            told += read as u64;
        }
        Ok(())
    }
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

impl Truth {
    /// Whether an observer found this, while so many connections a second were
    /// replaced: those of a second may be told apart from it, by the old and
    /// the new one's two descriptors each.
    pub(crate) fn is_found(&self, found: Truth, replaced: u64) -> bool {
        let near = |one: u64, other: u64| one.abs_diff(other) <= 4 * replaced;
        let Truth { procs, descriptors, tcp, udp, unix } = found;
        (procs, udp, unix) == (self.procs, self.udp, self.unix)
            && near(descriptors, self.descriptors)
            && near(tcp, self.tcp)
    }

    fn add(&mut self, holdings: Holdings) {
        self.procs += 1;
        self.descriptors += holdings.descriptors;
        self.tcp += 2 * holdings.tcp_pairs;
        self.udp += holdings.udp;
        self.unix += 2 * holdings.unix_pairs;
    }
}

/// Raises the soft limit of descriptors to `wanted`, and the hard one too
/// where that is allowed; gives what it is then. What is started later
/// inherits it.
pub(crate) fn raise_descriptor_limit(wanted: u64) -> Result<u64> {
    let before = rustix::process::getrlimit(Resource::Nofile);
    let current = before.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return Ok(current);
    }
    let hard = before.maximum.unwrap_or(u64::MAX);
    for (soft, hard) in [(wanted, hard.max(wanted)), (hard, hard)] {
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
            descriptors: 20,
            tcp: 30,
            udp: 8,
            unix: 4,
            busy: Busy::Some(2),
            replaced: 0,
        }
    }

    #[test]
    fn everything_is_dealt_out() {
        let spec = spec();
        let all: Vec<_> = (0..7).map(|number| spec.holdings(number)).collect();
        assert_eq!(all.iter().map(|holdings| 2 * holdings.tcp_pairs).sum::<u64>(), 30);
        assert_eq!(all.iter().map(|holdings| holdings.udp).sum::<u64>(), 8);
        assert_eq!(all.iter().map(|holdings| 2 * holdings.unix_pairs).sum::<u64>(), 4);
        assert_eq!((0..7).filter(|&number| spec.is_matched(number)).count(), 3);
        assert!(spec.check().is_ok());
        assert_eq!(all.iter().filter(|holdings| holdings.activity == Activity::Little).count(), 2);
        assert!(Spec { busy: Busy::Some(8), ..spec }.check().is_err());
        assert!(Spec { descriptors: 9, ..spec }.check().is_err());
    }

    #[test]
    fn connections_are_replaced_in_turn() {
        let spec = Spec { replaced: 2, ..spec() };
        assert_eq!(spec.replacing(0), Some((0, 3500)));
        assert_eq!(spec.replacing(6), Some((3000, 3500)));
        assert!(spec.check().is_ok());
        assert!(Spec { tcp: 12, ..spec }.check().is_err());
        assert_eq!(Spec { replaced: 0, ..spec }.replacing(1), None);
    }

    #[test]
    fn what_is_being_replaced_may_be_missing() {
        let truth = Truth { procs: 7, descriptors: 140, tcp: 30, udp: 8, unix: 4 };
        assert!(truth.is_found(truth, 0));
        assert!(!truth.is_found(Truth { tcp: 28, ..truth }, 0));
        assert!(truth.is_found(Truth { tcp: 28, descriptors: 143, ..truth }, 1));
        assert!(!truth.is_found(Truth { tcp: 24, ..truth }, 1));
        assert!(!truth.is_found(Truth { udp: 7, ..truth }, 1));
    }

    #[test]
    fn a_command_line_tells_its_image() {
        assert_eq!(image_of(b"member-12 be-a-process 1"), Some(12));
        assert_eq!(image_of(b"stranger be-a-process member-1"), None);
        assert_eq!(conf(2), "image-000 ^member-0\\s\nimage-001 ^member-1\\s\n");
    }
}
