//! The machine on which a capture was made.

use std::fmt;
use std::fs::File;
use std::io::Read as _;

use psstat_proc_parse::{Stat, Statm, Status};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use super::open;

/// The units and the byte order of the files of a procfs, from the file
/// [`FILE`](Self::FILE) of a capture. A field is `None` if it is unknown, as in a capture
/// without this file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// As in `uname -m`.
    pub architecture: Option<String>,
    /// The release of the kernel, as in `uname -r`.
    pub kernel: Option<String>,
    /// Bytes per page, the unit of `statm`.
    pub page_size: Option<u64>,
    /// Clock ticks per second, the unit of times in `stat`.
    pub ticks_per_second: Option<u64>,
    /// Whether addresses in the tables of `net` are those of a big-endian machine: the kernel
    /// prints them as numbers of the machine's byte order.
    pub is_big_endian: Option<bool>,
    /// The time of boot, in nanoseconds since 1970: `btime` in `/proc/stat` has whole seconds.
    pub boot_time_unix_nanoseconds: Option<u64>,
}

impl Machine {
    /// The name of the file in a capture.
    pub const FILE: &'static str = "psstat-capture";

    /// Reads the file of a capture. Without a page size there, it follows from the first
    /// process whose memory is known in bytes (`stat` or `status`) and in pages (`statm`).
    pub fn of_capture(capture: impl AsFd) -> Machine {
        let capture = capture.as_fd();
        let text = read(capture, Self::FILE);
        let mut machine = text.map_or_else(Machine::default, |text| Machine::parse(&text));
        if machine.page_size.is_none() {
            machine.page_size = page_size(capture).ok().flatten();
        }
        machine
    }

    /// Parses the file: lines of a name and a value. Unknown names and invalid values are
    /// ignored.
    pub fn parse(text: &[u8]) -> Machine {
        let mut machine = Machine::default();
        for line in String::from_utf8_lossy(text).lines() {
            let Some((name, value)) = line.split_once(' ') else { continue };
            let number = || value.parse::<u64>().ok();
            let words = || Some(value.to_owned()).filter(|value| value.len() <= 256);
            match name {
                "architecture" => machine.architecture = words(),
                "kernel" => machine.kernel = words(),
                "page_size" => machine.page_size = number().filter(|size| is_page_size(*size)),
                "clock_ticks_per_second" => {
                    machine.ticks_per_second =
                        number().filter(|ticks| (1..=1_000_000).contains(ticks));
                }
                "byte_order" => {
                    machine.is_big_endian = match value {
                        "big" => Some(true),
                        "little" => Some(false),
                        _ => None,
                    };
                }
                "boot_time_unix_nanoseconds" => machine.boot_time_unix_nanoseconds = number(),
                _ => {}
            }
        }
        machine
    }
}

/// The contents of the file.
impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = self.is_big_endian.map(|is_big| if is_big { "big" } else { "little" });
        let lines = [
            ("architecture", self.architecture.clone()),
            ("kernel", self.kernel.clone()),
            ("page_size", self.page_size.map(|size| size.to_string())),
            ("clock_ticks_per_second", self.ticks_per_second.map(|ticks| ticks.to_string())),
            ("byte_order", order.map(str::to_owned)),
            (
                "boot_time_unix_nanoseconds",
                self.boot_time_unix_nanoseconds.map(|time| time.to_string()),
            ),
        ];
        for (name, value) in lines {
            if let Some(value) = value {
                writeln!(f, "{name} {value}")?;
            }
        }
        Ok(())
    }
}

/// Sizes of pages of all architectures.
fn is_page_size(size: u64) -> bool {
    size.is_power_of_two() && (4096..=1 << 20).contains(&size)
}

/// From the first process that shows it.
fn page_size(capture: impl AsFd) -> Result<Option<u64>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir: OwnedFd = rustix::fs::openat(&capture, c".", flags, Mode::empty())?;
    for entry in Dir::new(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name.bytes().all(|byte| byte.is_ascii_digit())
            && let Some(size) = page_size_of(&capture, name)
        {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// The size of the address space in bytes, divided by that in pages. The process can change
/// between the reads of the two files; then the result is not a size of pages.
fn page_size_of(capture: impl AsFd, process: &str) -> Option<u64> {
    let file = |name: &str| read(&capture, &format!("{process}/{name}"));
    let pages = Statm::parse(&file("statm")?).ok()?.size.0;
    let of_stat = || Some(Stat::parse(&file("stat")?).ok()?.vsize);
    let of_status = || Status::parse(&file("status")?).ok()?.vm_size?.0.checked_mul(1024);
    let sizes = [of_stat(), of_status()].into_iter().flatten();
    let mut quotients = sizes.filter(|bytes| pages > 0 && bytes.is_multiple_of(pages));
    quotients.find_map(|bytes| Some(bytes / pages).filter(|size| is_page_size(*size)))
}

fn read(capture: impl AsFd, path: &str) -> Option<Vec<u8>> {
    // Larger ones are invalid.
    const MAX: u64 = 1 << 16;
    let path = std::ffi::CString::new(path).ok()?;
    let file = File::from(open(capture, &path, OFlags::RDONLY).ok()?);
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_contains_all_fields() {
        let machine = Machine {
            architecture: Some("s390x".to_owned()),
            kernel: Some("6.1.0 x".to_owned()),
            page_size: Some(65536),
            ticks_per_second: Some(1024),
            is_big_endian: Some(true),
            boot_time_unix_nanoseconds: Some(1_700_000_000_123_456_789),
        };
        assert_eq!(Machine::parse(machine.to_string().as_bytes()), machine);
        assert_eq!(Machine::parse(Machine::default().to_string().as_bytes()), Machine::default());
    }

    #[test]
    fn invalid_values_are_ignored() {
        let text = b"page_size 0\nclock_ticks_per_second 0\nbyte_order middle\nx\n\xff \xff\n\
            page_size 12288\npage_size 99999999999999999999\nboot_time_unix_nanoseconds -1\n";
        assert_eq!(Machine::parse(text), Machine::default());
    }
}
