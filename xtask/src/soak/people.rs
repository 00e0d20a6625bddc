//! The processes of a soak, and what independent readers find of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Child;

use psstat_testproc::oracle;

use super::restless::CALM;
use super::role::{CAST, Role};
use crate::Result;

/// The processes that the soak started; ended when dropped, and with them all
/// that they started.
#[derive(Debug)]
pub(crate) struct People {
    soak: u64,
    children: Vec<Child>,
}

/// What the processes of an image hold together: `procs`, `fd`, `threads`,
/// `tcp`, `udp`, `unix`.
pub(crate) type Counts = [u64; 6];

/// The series of [`Counts`], in their order.
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

impl People {
    /// Starts the cast, in this folder.
    pub(crate) fn start(soak: u64, folder: &Path) -> Result<People> {
        let mut people = People { soak, children: Vec::new() };
        for (role, count) in CAST {
            for number in 0..count {
                let mut command = role.command(soak, number);
                people.children.push(command.current_dir(folder).spawn()?);
            }
        }
        Ok(people)
    }

    /// An error if one of them has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait()? {
                return Err(format!("a process of the soak has ended: {status}").into());
            }
        }
        Ok(())
    }

    /// What independent readers find, by the role's name; of a process that
    /// goes meanwhile, nothing.
    pub(crate) fn truth(&self) -> Result<BTreeMap<&'static str, Counts>> {
        let mut found: BTreeMap<_, _> =
            Role::IMAGES.iter().map(|role| (role.name(), Counts::default())).collect();
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
        Role::IMAGES.into_iter().find(|role| role.word(self.soak).as_bytes() == first)
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

impl Drop for People {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

/// Makes a calm, or ends it.
pub(crate) fn set_calm(folder: &Path, calm: bool) -> Result<()> {
    let path = folder.join(CALM);
    if calm {
        std::fs::write(path, "")?;
    } else if path.exists() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
