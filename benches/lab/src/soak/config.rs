//! The config of a soak and its changes.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use psstat_testproc::TempDir;

use crate::Result;
use crate::child_modes::rng::Rng;
use crate::child_modes::role::Role;

/// Images that are added and removed; each has the processes of a role.
const EXTRA_IMAGES: usize = 12;
/// Time between the pieces of a config that is written in pieces.
const PIECE_INTERVAL: Duration = Duration::from_millis(150);

/// A way to update the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpdateMethod {
    InPlace,
    InPieces,
    Rename,
    /// A file with an older modification time.
    RenameOlder,
    /// By replacing the symlink to the directory.
    SymlinkSwap,
    DeleteAndCreate,
    /// With SIGHUP to the collector.
    Sighup,
    /// An unusable config: the rules stay the same.
    Invalid,
}

impl UpdateMethod {
    const ALL: [UpdateMethod; 8] = [
        UpdateMethod::InPlace,
        UpdateMethod::Rename,
        UpdateMethod::SymlinkSwap,
        UpdateMethod::Invalid,
        UpdateMethod::RenameOlder,
        UpdateMethod::InPieces,
        UpdateMethod::DeleteAndCreate,
        UpdateMethod::Sighup,
    ];
}

/// A config that changes; its directory is removed when dropped. It is the working directory of the
/// processes of the soak.
#[derive(Debug)]
pub(crate) struct Config {
    dir: TempDir,
    soak: u64,
    rng: Rng,
    pub(crate) changes: usize,
    has_extra: [bool; EXTRA_IMAGES],
}

impl Config {
    pub(crate) fn new(soak: u64) -> Result<Config> {
        let (dir, rng) = (TempDir::new()?, Rng::new(soak));
        let config = Config { dir, soak, rng, changes: 0, has_extra: [true; EXTRA_IMAGES] };
        std::fs::create_dir(config.dir.join("v0"))?;
        symlink("v0", config.dir.join("current"))?;
        std::fs::write(config.path(), config.text())?;
        Ok(config)
    }

    /// A path through a symlink.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("current/psstat.conf")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Selects extra images at random, rotates the order of the images, and updates the config with
    /// the next method.
    pub(crate) fn change(&mut self) -> Result<UpdateMethod> {
        let method = UpdateMethod::ALL[self.changes % UpdateMethod::ALL.len()];
        self.changes += 1;
        let path = self.path();
        if method == UpdateMethod::Invalid {
            std::fs::write(path, "server ((\nno-regex\n")?;
            return Ok(method);
        }
        for has_extra in &mut self.has_extra {
            *has_extra = self.rng.below(2) == 0;
        }
        let text = self.text();
        let new = self.dir.join("new");
        match method {
            UpdateMethod::InPlace | UpdateMethod::Sighup | UpdateMethod::Invalid => {
                std::fs::write(path, text)?;
            }
            UpdateMethod::InPieces => {
                for part in 1..=3 {
                    std::fs::write(&path, &text.as_bytes()[..text.len() * part / 3])?;
                    std::thread::sleep(PIECE_INTERVAL);
                }
            }
            UpdateMethod::Rename | UpdateMethod::RenameOlder => {
                std::fs::write(&new, text)?;
                if method == UpdateMethod::RenameOlder {
                    let day = Duration::from_secs(86_400);
                    let file = std::fs::File::options().write(true).open(&new)?;
                    file.set_modified(SystemTime::now() - day)?;
                }
                std::fs::rename(new, path)?;
            }
            UpdateMethod::SymlinkSwap => {
                let old = std::fs::read_link(self.dir.join("current"))?;
                let name = format!("v{}", self.changes);
                std::fs::create_dir(self.dir.join(&name))?;
                std::fs::write(self.dir.join(&name).join("psstat.conf"), text)?;
                symlink(&name, &new)?;
                std::fs::rename(new, self.dir.join("current"))?;
                std::fs::remove_dir_all(self.dir.join(old))?;
            }
            UpdateMethod::DeleteAndCreate => {
                std::fs::remove_file(&path)?;
                std::thread::sleep(PIECE_INTERVAL);
                std::fs::write(path, text)?;
            }
        }
        Ok(method)
    }

    /// The names of the images, sorted, and the roles of their processes.
    pub(crate) fn images(&self) -> Vec<(String, Role)> {
        let roles: Vec<Role> = Role::images().collect();
        let mut images: Vec<_> = roles.iter().map(|&role| (role.name().to_owned(), role)).collect();
        let extra = (0..EXTRA_IMAGES).filter(|&extra| self.has_extra[extra]);
        images.extend(extra.map(|extra| (format!("extra-{extra}"), roles[extra % roles.len()])));
        images.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        images
    }

    /// The names of the images, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.images().into_iter().map(|(name, _)| name).collect()
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .images()
            .into_iter()
            // Some need the backtracking engine, some have two rules.
            .map(|(name, role)| match name.len() % 3 {
                0 => format!("{name} {}(?=w)\n", role.regex(self.soak)),
                1 => format!("{name} {0}workload\n{name} {0}write-loop\n", role.regex(self.soak)),
                _ => format!("{name} {}\n", role.regex(self.soak)),
            })
            .collect();
        let start = self.changes % lines.len().max(1);
        lines.rotate_left(start);
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_writes_the_complete_config() {
        let mut config = Config::new(3).unwrap();
        for _ in 0..2 * UpdateMethod::ALL.len() {
            let method = config.change().unwrap();
            let text = std::fs::read_to_string(config.path()).unwrap();
            let is_valid = method != UpdateMethod::Invalid;
            assert_eq!(text == config.text(), is_valid, "{method:?}");
            for image in config.names() {
                let is_named = text.lines().any(|line| line.starts_with(&format!("{image} ")));
                assert!(is_named || !is_valid, "{method:?}: {image}");
            }
        }
        // No method leaves a file behind.
        assert_eq!(std::fs::read_dir(config.dir()).unwrap().count(), 2);
    }
}
