//! The minimal cost of a new process: the reads by which psstat classifies it, without parsing.

use std::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// The listed processes.
#[derive(Debug, Default)]
pub(crate) struct NewProcesses {
    /// The pids of the previous listing, ascending; `None` before the first.
    previous: Option<Vec<u32>>,
    listed: Vec<u32>,
}

impl NewProcesses {
    /// Adds an entry of `/proc` to the current listing.
    pub(crate) fn list(&mut self, name: &CStr) {
        self.listed.extend(name.to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }

    /// Reads the files of each process that the previous listing did not have; returns their
    /// number.
    pub(crate) fn read(&mut self, proc: &OwnedFd) -> usize {
        let mut listed = std::mem::take(&mut self.listed);
        listed.sort_unstable();
        let mut new = 0;
        if let Some(previous) = &self.previous {
            for &pid in listed.iter().filter(|pid| previous.binary_search(pid).is_err()) {
                new += 1;
                // A process that has exited since costs less.
                let _ = read_one(proc, pid);
            }
        }
        self.listed = self.previous.replace(listed).unwrap_or_default();
        self.listed.clear();
        new
    }
}

/// Parent and start time, owner, command line, and io through the directory of the process.
fn read_one(proc: &OwnedFd, pid: u32) -> Result<(), Errno> {
    read(proc, &format!("{pid}/stat"))?;
    rustix::fs::statat(proc, pid.to_string(), AtFlags::empty())?;
    read(proc, &format!("{pid}/cmdline"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(proc, pid.to_string(), flags, Mode::empty())?;
    rustix::fs::fstat(&dir)?;
    read(&dir, "io")
}

fn read(dir: impl AsFd, name: &str) -> Result<(), Errno> {
    let mut buffer = [0; 4096];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    rustix::io::pread(&file, &mut buffer, 0).map(drop)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn reads_new_processes() {
        let proc = rustix::fs::open("/proc", OFlags::RDONLY, Mode::empty()).unwrap();
        let mut processes = NewProcesses::default();
        for name in [c"7", c"self", c"300"] {
            processes.list(name);
        }
        assert_eq!(processes.read(&proc), 0, "the first listing");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        processes.list(c"300");
        processes.list(&std::ffi::CString::new(child.id().to_string()).unwrap());
        assert_eq!(processes.read(&proc), 1);
        assert_eq!(read_one(&proc, child.id()), Ok(()));
        child.kill().unwrap();
        child.wait().unwrap();
        processes.list(c"7");
        assert_eq!(processes.read(&proc), 1, "a reused pid");
    }
}
