//! Processes that are stuck in an exec while an experiment runs: each reader of some of their files
//! in `/proc` blocks.

use std::io::PipeWriter;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use psstat_testproc::TempDir;
use psstat_testproc::fuse::{FuseServer, Mode, mount_options};

use crate::checks::Checks;
use crate::child_modes::ChildGuard;
use crate::{Result, observer};

/// How long the processes may take to start, to get stuck, and to exit.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Mounts the file system of the device that is standard input, and starts the processes. Each opens
/// the file, prints its pid, and executes a program at the end of the pipe that is standard error
/// here. Standard input and error are replaced, so that the lab has the only descriptor of the
/// device.
const SCRIPT: &str = r#"
mount -i -t fuse -o "$2" stuck "$0" || exit 9
exec 3<&2 </dev/null 2>/dev/null
for i in $(seq "$1"); do
    perl -e 'open(F, "<", shift) or die; $| = 1; print "$$\n"; <STDIN>; exec "true"' "$0/file" <&3 &
done
wait
"#;

/// The options of an experiment about them.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Options {
    /// Processes stuck in an exec during the whole experiment, because a file server does not
    /// respond. All other programs that read `/proc`, such as ps, hang meanwhile. Needs root and
    /// perl
    #[arg(long = "stuck", value_name = "N", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=32))]
    number: u64,
}

/// The stuck processes. They exit when this is dropped, and when this program exits.
#[derive(Debug)]
pub(crate) struct Stuck {
    server: FuseServer,
    shell: ChildGuard,
    pids: Vec<u32>,
    // Dropped after the server.
    _dir: TempDir,
}

impl Options {
    /// Starts the processes, and returns when all are stuck. `None` if there are to be none.
    pub(crate) fn start(self) -> Result<Option<Stuck>> {
        if self.number == 0 { Ok(None) } else { Stuck::start(self.number).map(Some) }
    }
}

impl Stuck {
    fn start(number: u64) -> Result<Stuck> {
        let dir = TempDir::new()?;
        let (server, device) = FuseServer::start("file", "content")?;
        let (reader, writer) = std::io::pipe()?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT]);
        command.arg(dir.path()).arg(number.to_string()).arg(mount_options(0));
        command.stdin(Stdio::from(device)).stdout(Stdio::piped()).stderr(reader);
        let mut shell = ChildGuard(command.spawn()?);
        // The command has a copy of the device.
        drop(command);
        let lines = observer::lines(shell.0.stdout.take().ok_or("no stdout")?);
        let mut stuck = Stuck { server, shell, pids: Vec::new(), _dir: dir };
        for _ in 0..number {
            let line = lines.recv_timeout(TIMEOUT);
            let line = line.map_err(|_| "a process that gets stuck does not start")?;
            stuck.pids.push(line.parse()?);
        }
        stuck.hang(writer)?;
        Ok(stuck)
    }

    /// Makes the processes execute a program.
    fn hang(&mut self, writer: PipeWriter) -> Result<()> {
        self.server.set_mode(Mode::HoldFlush);
        drop(writer);
        let start = Instant::now();
        while self.released() > 0 {
            if start.elapsed() > TIMEOUT {
                return Err("the processes do not get stuck".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The number of the processes.
    pub(crate) fn number(&self) -> u64 {
        self.pids.len() as u64
    }

    /// The number of processes that are not stuck.
    fn released(&self) -> usize {
        self.pids.iter().filter(|&&pid| !is_stuck(pid)).count()
    }

    /// Checks that all are still stuck.
    pub(crate) fn check(&self, checks: &mut Checks) {
        let released = self.released();
        if released > 0 {
            checks.violated(format!("{released} stuck processes were released by another program"));
        }
        println!("stuck processes    {}", self.pids.len());
    }
}

/// Whether a process waits in an exec. Neither of these files blocks.
fn is_stuck(pid: u32) -> bool {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
    // A process that has exited has no command line either, and no memory.
    read("cmdline").is_ok_and(|line| line.is_empty())
        && read("status").is_ok_and(|status| status.contains("\nVmSize:"))
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // The kernel fails the requests, and the processes execute the program and exit.
        self.server.set_mode(Mode::End);
        let start = Instant::now();
        while matches!(self.shell.0.try_wait(), Ok(None)) && start.elapsed() < TIMEOUT {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_stuck_until_dropped() {
        if !rustix::process::geteuid().is_root() || !std::path::Path::new("/dev/fuse").exists() {
            println!("skipped: not root, or no /dev/fuse");
            return;
        }
        // Other programs hang meanwhile.
        let stuck = Stuck::start(3).unwrap();
        let pids = stuck.pids.clone();
        let mut checks = Checks::default();
        stuck.check(&mut checks);
        let number = stuck.number();
        drop(stuck);
        assert_eq!((number, checks.count()), (3, 0));
        for pid in pids {
            assert!(!std::fs::exists(format!("/proc/{pid}")).unwrap(), "{pid}");
        }
    }
}
