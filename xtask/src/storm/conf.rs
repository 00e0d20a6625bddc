//! The conf of a storm, and the ways in which it is changed.

use std::path::{Path, PathBuf};

use psstat_testproc::TempDir;

use super::kind::Kind;
use crate::Result;

/// The image that comes and goes. It has the processes of [`Kind::Inside`].
pub(crate) const GUEST: &str = "guest";

/// A conf that changes; its folder is removed when dropped.
#[derive(Debug)]
pub(crate) struct Conf {
    folder: TempDir,
    storm: u64,
    changes: usize,
    has_guest: bool,
}

impl Conf {
    pub(crate) fn new(storm: u64) -> Result<Conf> {
        let conf = Conf { folder: TempDir::new()?, storm, changes: 0, has_guest: true };
        std::fs::write(conf.path(), conf.text())?;
        Ok(conf)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("psstat.conf")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Takes the guest out or adds it, turns the order of the images, and
    /// writes the conf in place or moves a new one there.
    pub(crate) fn change(&mut self) -> Result<()> {
        self.changes += 1;
        self.has_guest = !self.has_guest;
        if self.changes % 4 < 2 {
            std::fs::write(self.path(), self.text())?;
        } else {
            let new = self.folder.join("new");
            std::fs::write(&new, self.text())?;
            std::fs::rename(new, self.path())?;
        }
        Ok(())
    }

    /// Puts the guest back.
    pub(crate) fn complete(&mut self) -> Result<()> {
        if self.has_guest { Ok(()) } else { self.change() }
    }

    /// The images that it names, in order of their names.
    pub(crate) fn images(&self) -> Vec<&'static str> {
        let mut images: Vec<_> = Kind::ALL.map(Kind::name).to_vec();
        images.extend(self.has_guest.then_some(GUEST));
        images.sort_unstable();
        images
    }

    fn text(&self) -> String {
        let mut lines = Kind::ALL.map(|kind| (kind.name(), kind)).to_vec();
        lines.extend(self.has_guest.then_some((GUEST, Kind::Inside)));
        let turn = self.changes % lines.len();
        lines.rotate_left(turn);
        let line = |(name, kind): (&str, Kind)| format!("{name} {}\n", kind.rule(self.storm));
        lines.into_iter().map(line).collect()
    }
}
