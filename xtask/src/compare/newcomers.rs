//! What a process that came costs at least: the reads by which psstat gets to know
//! it, bare, with nothing parsed or kept.

use std::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Who is there, and who came.
#[derive(Debug, Default)]
pub(crate) struct Newcomers {
    /// The pids of the last listing, ascending; none before the first.
    known: Option<Vec<u32>>,
    listed: Vec<u32>,
}

impl Newcomers {
    /// Takes note of an entry of `/proc`.
    pub(crate) fn list(&mut self, name: &CStr) {
        self.listed.extend(name.to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }

    /// Reads what is to be read of each that came since the last listing, and gives how
    /// many these are.
    pub(crate) fn read(&mut self, proc: &OwnedFd) -> usize {
        let mut listed = std::mem::take(&mut self.listed);
        listed.sort_unstable();
        let mut came = 0;
        if let Some(known) = &self.known {
            for &pid in listed.iter().filter(|pid| known.binary_search(pid).is_err()) {
                came += 1;
                // One that has ended meanwhile costs less.
                let _ = read_one(proc, pid);
            }
        }
        self.listed = self.known.replace(listed).unwrap_or_default();
        self.listed.clear();
        came
    }
}

/// Its parent and start, whose pid that was, its command line, and its io in the
/// folder that is its.
fn read_one(proc: &OwnedFd, pid: u32) -> Result<(), Errno> {
    read(proc, &format!("{pid}/stat"))?;
    rustix::fs::statat(proc, pid.to_string(), AtFlags::empty())?;
    read(proc, &format!("{pid}/cmdline"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(proc, pid.to_string(), flags, Mode::empty())?;
    rustix::fs::fstat(&folder)?;
    read(&folder, "io")
}

fn read(folder: impl AsFd, name: &str) -> Result<(), Errno> {
    let mut buffer = [0; 4096];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    rustix::io::pread(&file, &mut buffer, 0).map(drop)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_came_since_the_last_listing_is_read() {
        let proc = rustix::fs::open("/proc", OFlags::RDONLY, Mode::empty()).unwrap();
        let mut newcomers = Newcomers::default();
        for name in [c"7", c"self", c"300"] {
            newcomers.list(name);
        }
        assert_eq!(newcomers.read(&proc), 0, "nobody is known yet");
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        newcomers.list(c"300");
        newcomers.list(&std::ffi::CString::new(child.id().to_string()).unwrap());
        assert_eq!(newcomers.read(&proc), 1);
        assert_eq!(read_one(&proc, child.id()), Ok(()));
        child.kill().unwrap();
        child.wait().unwrap();
        newcomers.list(c"7");
        assert_eq!(newcomers.read(&proc), 1, "who went came again");
    }
}
