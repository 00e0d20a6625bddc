//! The config of a fork storm and its changes.

use std::path::{Path, PathBuf};

use psstat_testproc::TempDir;

use crate::Result;
use crate::child_modes::kind::Kind;

/// The image that is added and removed. It has the processes of [`Kind::Inside`].
const EXTRA_IMAGE: &str = "extra";

/// A config that changes; its directory is removed when dropped.
#[derive(Debug)]
pub(crate) struct Config {
    dir: TempDir,
    storm: u64,
    changes: usize,
    has_extra: bool,
}

impl Config {
    pub(crate) fn new(storm: u64) -> Result<Config> {
        let config = Config { dir: TempDir::new()?, storm, changes: 0, has_extra: true };
        std::fs::write(config.path(), config.text())?;
        Ok(config)
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("psstat.conf")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// Removes or adds the extra image, rotates the order of the images, and writes the config in
    /// place or renames a new one.
    pub(crate) fn change(&mut self) -> Result<()> {
        self.changes += 1;
        self.has_extra = !self.has_extra;
        if self.changes % 4 < 2 {
            std::fs::write(self.path(), self.text())?;
        } else {
            let new = self.dir.join("new");
            std::fs::write(&new, self.text())?;
            std::fs::rename(new, self.path())?;
        }
        Ok(())
    }

    /// Adds the extra image if it is absent.
    pub(crate) fn complete(&mut self) -> Result<()> {
        if self.has_extra { Ok(()) } else { self.change() }
    }

    /// The images in the order of their names.
    pub(crate) fn images(&self) -> Vec<String> {
        let mut images: Vec<_> = Kind::ALL.iter().map(|kind| kind.name().to_owned()).collect();
        images.extend(self.has_extra.then(|| EXTRA_IMAGE.to_owned()));
        images.sort_unstable();
        images
    }

    fn text(&self) -> String {
        let mut lines = Kind::ALL.map(|kind| (kind.name(), kind)).to_vec();
        lines.extend(self.has_extra.then_some((EXTRA_IMAGE, Kind::Inside)));
        let start = self.changes % lines.len();
        lines.rotate_left(start);
        let line = |(name, kind): (&str, Kind)| format!("{name} {}\n", kind.regex(self.storm));
        lines.into_iter().map(line).collect()
    }
}
