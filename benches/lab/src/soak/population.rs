//! The processes of a soak, and their resources by independent readers.

use std::collections::BTreeMap;
use std::path::Path;

use psstat_testproc::oracle;

use crate::Result;
use crate::child_modes::ChildGuard;
use crate::child_modes::role::{Role, STARTED};
use crate::child_modes::workload::QUIESCENT;

/// The processes that the soak started; they are killed when dropped, and with them all their
/// children.
#[derive(Debug)]
pub(crate) struct Population {
    soak: u64,
    children: Vec<ChildGuard>,
}

/// The resources of the processes of an image, in the order of [`series`].
pub(crate) type Counts = [u64; 6];

/// The series of [`Counts`].
pub(crate) fn series(image: &str) -> [String; 6] {
    [
        format!("procs image={image}"),
        format!("fd image={image} type=open"),
        format!("threads image={image}"),
        format!("net image={image} type=tcp"),
        format!("net image={image} type=udp"),
        format!("net image={image} type=unix"),
    ]
}

impl Population {
    /// Starts the processes in this directory.
    pub(crate) fn start(soak: u64, dir: &Path) -> Result<Population> {
        let mut population = Population { soak, children: Vec::new() };
        for (role, count) in STARTED {
            for number in 0..count {
                let child = role.command(soak, number).current_dir(dir).spawn()?;
                population.children.push(ChildGuard(child));
            }
        }
        Ok(population)
    }

    /// An error if one of the processes has exited.
    pub(crate) fn check(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.0.try_wait()? {
                return Err(format!("a process of the soak has exited: {status}").into());
            }
        }
        Ok(())
    }

    /// The resources by the names of the roles. A process that exits meanwhile is not counted.
    pub(crate) fn expected(&self) -> Result<BTreeMap<&'static str, Counts>> {
        let mut found: BTreeMap<_, _> =
            Role::images().map(|role| (role.name(), Counts::default())).collect();
        for entry in std::fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(text) = oracle::cmdline(pid) else { continue };
            let Some(role) = self.role_of(&text) else { continue };
            let Ok(counts) = counts(pid) else { continue };
            if let Some(sum) = found.get_mut(role.name()) {
                for (sum, count) in sum.iter_mut().zip(counts) {
                    *sum += count;
                }
            }
        }
        Ok(found)
    }

    fn role_of(&self, text: &[u8]) -> Option<Role> {
        let first = text.split(|&byte| byte == 0).next()?;
        Role::images().find(|role| role.argv0(self.soak).as_bytes() == first)
    }
}

fn counts(pid: u32) -> Result<Counts> {
    let sockets = oracle::established(pid)?;
    Ok([
        1,
        oracle::fds(pid)?,
        oracle::threads(pid)?,
        sockets.all_tcp(),
        sockets.all_udp(),
        sockets.unix.len() as u64,
    ])
}

/// Starts or ends a quiescent phase.
pub(crate) fn set_quiescent(dir: &Path, quiescent: bool) -> Result<()> {
    let path = dir.join(QUIESCENT);
    if quiescent {
        std::fs::write(path, "")?;
    } else if path.exists() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
