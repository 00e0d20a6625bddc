//! The conf of a soak, and the ways in which it is changed.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use psstat_testproc::TempDir;

use super::chance::Chance;
use super::role::Role;
use crate::Result;

/// Images that come and go; each has the processes of one of [`Role::IMAGES`].
const GUESTS: usize = 12;
/// Time between the pieces of a conf that is written in pieces.
const PIECE: Duration = Duration::from_millis(150);

/// A way to change a conf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    InPlace,
    InPieces,
    Renamed,
    OlderMovedIn,
    FolderSwapped,
    DeletedAndMade,
    /// With SIGHUP to the collector.
    Hup,
    /// Not usable: nothing changes.
    Broken,
}

impl Way {
    const ALL: [Way; 8] = [
        Way::InPlace,
        Way::Renamed,
        Way::FolderSwapped,
        Way::Broken,
        Way::OlderMovedIn,
        Way::InPieces,
        Way::DeletedAndMade,
        Way::Hup,
    ];
}

/// A conf that changes; its folder is removed when dropped. The processes of
/// the soak have it as their working folder.
#[derive(Debug)]
pub(crate) struct Conf {
    folder: TempDir,
    soak: u64,
    chance: Chance,
    pub(crate) changes: usize,
    guests: [bool; GUESTS],
}

impl Conf {
    pub(crate) fn new(soak: u64) -> Result<Conf> {
        let folder = TempDir::new()?;
        let conf =
            Conf { folder, soak, chance: Chance::new(soak), changes: 0, guests: [true; GUESTS] };
        std::fs::create_dir(conf.folder.join("v0"))?;
        symlink("v0", conf.folder.join("current"))?;
        std::fs::write(conf.path(), conf.text())?;
        Ok(conf)
    }

    /// By way of a link.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("current/psstat.conf")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Other guests, another order, the next way to change.
    pub(crate) fn change(&mut self) -> Result<Way> {
        let way = Way::ALL[self.changes % Way::ALL.len()];
        self.changes += 1;
        let path = self.path();
        if way == Way::Broken {
            std::fs::write(path, "server ((\nlonely\n")?;
            return Ok(way);
        }
        for guest in &mut self.guests {
            *guest = self.chance.below(2) == 0;
        }
        let text = self.text();
        let new = self.folder.join("new");
        match way {
            Way::InPlace | Way::Hup | Way::Broken => std::fs::write(path, text)?,
            Way::InPieces => {
                for part in 1..=3 {
                    std::fs::write(&path, &text.as_bytes()[..text.len() * part / 3])?;
                    std::thread::sleep(PIECE);
                }
            }
            Way::Renamed | Way::OlderMovedIn => {
                std::fs::write(&new, text)?;
                if way == Way::OlderMovedIn {
                    let day = Duration::from_secs(86_400);
                    let file = std::fs::File::options().write(true).open(&new)?;
                    file.set_modified(SystemTime::now() - day)?;
                }
                std::fs::rename(new, path)?;
            }
            Way::FolderSwapped => {
                let old = std::fs::read_link(self.folder.join("current"))?;
                let name = format!("v{}", self.changes);
                std::fs::create_dir(self.folder.join(&name))?;
                std::fs::write(self.folder.join(&name).join("psstat.conf"), text)?;
                symlink(&name, &new)?;
                std::fs::rename(new, self.folder.join("current"))?;
                std::fs::remove_dir_all(self.folder.join(old))?;
            }
            Way::DeletedAndMade => {
                std::fs::remove_file(&path)?;
                std::thread::sleep(PIECE);
                std::fs::write(path, text)?;
            }
        }
        Ok(way)
    }

    /// The images that it names, with whose processes they have, in order of
    /// their names.
    pub(crate) fn images(&self) -> Vec<(String, Role)> {
        let mut images: Vec<_> =
            Role::IMAGES.iter().map(|&role| (role.name().to_owned(), role)).collect();
        let guests = (0..GUESTS).filter(|&guest| self.guests[guest]);
        images.extend(guests.map(|guest| (format!("guest-{guest}"), Self::host(guest))));
        images.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        images
    }

    fn host(guest: usize) -> Role {
        Role::IMAGES[guest % Role::IMAGES.len()]
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self
            .images()
            .into_iter()
            // Some are for the engine that backtracks, some have two rules.
            .map(|(name, role)| match name.len() % 3 {
                0 => format!("{name} {}(?=live)\n", role.regex(self.soak)),
                1 => format!("{name} {0}live-r\n{name} {0}live-and\n", role.regex(self.soak)),
                _ => format!("{name} {}\n", role.regex(self.soak)),
            })
            .collect();
        let turn = self.changes % lines.len().max(1);
        lines.rotate_left(turn);
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_leaves_the_whole_conf_at_its_path() {
        let mut conf = Conf::new(3).unwrap();
        for _ in 0..2 * Way::ALL.len() {
            let way = conf.change().unwrap();
            let text = std::fs::read_to_string(conf.path()).unwrap();
            assert_eq!(text == conf.text(), way != Way::Broken, "{way:?}");
            for (image, _) in conf.images() {
                let named = text.lines().any(|line| line.starts_with(&format!("{image} ")));
                assert!(named || way == Way::Broken, "{way:?}: {image}");
            }
        }
        // Nothing is left of the ways.
        assert_eq!(std::fs::read_dir(conf.folder()).unwrap().count(), 2);
    }
}
