//! How a collector reads processes: the options for it, and what it uses.

use std::path::Path;

use clap::Args;

use crate::Result;

/// The `map_type` of a ring in `fdinfo` (`BPF_MAP_TYPE_RINGBUF`).
const RING_BUFFER: &str = "27";

/// The options of the collector.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reads {
    /// How the collector reads processes: auto, bpf or proc
    #[arg(long, value_name = "SOURCE", default_value = "auto")]
    #[arg(value_parser = ["auto", "bpf", "proc"])]
    pub(crate) source: String,

    /// The collector's ring for starts and ends of processes, in KiB; 0 for none [default: the
    /// collector's]
    #[arg(long, value_name = "KIB")]
    pub(crate) bpf_ring: Option<u32>,
}

impl Reads {
    /// From /proc.
    pub(crate) fn from_proc() -> Reads {
        Reads { source: "proc".to_owned(), bpf_ring: None }
    }
}

/// The way in which a running collector reads processes, by its descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    /// It has BPF programs.
    pub(crate) bpf: bool,
    /// The size of its ring in bytes.
    pub(crate) ring: Option<u64>,
}

impl Used {
    /// That of a process.
    pub(crate) fn by(pid: u32) -> Result<Used> {
        let process = format!("/proc/{pid}");
        let mut used = Used::default();
        for entry in std::fs::read_dir(Path::new(&process).join("fd"))? {
            let entry = entry?;
            // A descriptor can be closed in the meantime.
            let Ok(link) = std::fs::read_link(entry.path()) else { continue };
            let Some(name) = link.to_str().and_then(|link| link.strip_prefix("anon_inode:")) else {
                continue;
            };
            used.bpf |= name.starts_with("bpf");
            if name == "bpf-map" {
                let info = Path::new(&process).join("fdinfo").join(entry.file_name());
                used.ring = used.ring.or(ring_size(&std::fs::read_to_string(info)?));
            }
        }
        Ok(used)
    }

    /// As text for a report.
    pub(crate) fn describe(self) -> String {
        match (self.bpf, self.ring) {
            (false, _) => "/proc".to_owned(),
            (true, None) => "BPF without a ring".to_owned(),
            (true, Some(bytes)) => format!("BPF with a ring of {} KiB", bytes >> 10),
        }
    }
}

/// The size in bytes that the `fdinfo` of a map has, if it is a ring.
fn ring_size(info: &str) -> Option<u64> {
    let field = |name: &str| {
        let lines = info.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(key, _)| *key == name);
        values.next().map(|(_, value)| value.trim())
    };
    (field("map_type") == Some(RING_BUFFER)).then(|| field("max_entries")?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_of_a_ring() {
        let info = |kind: u32| {
            format!(
                "pos:\t0\nflags:\t02000002\nmap_type:\t{kind}\nkey_size:\t0\nmax_entries:\t65536\n"
            )
        };
        assert_eq!(ring_size(&info(27)), Some(65536));
        assert_eq!(ring_size(&info(2)), None);
    }

    #[test]
    fn this_process_has_no_program() {
        assert_eq!(Used::by(std::process::id()).unwrap(), Used::default());
    }
}
