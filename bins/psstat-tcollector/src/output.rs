//! Writes cycles to stdout or to a file.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::controlling_terminal::is_hung_up;

/// The target of the cycles.
#[derive(Debug)]
pub(crate) enum Output {
    /// Stdout.
    Stdout(Stdout),
    /// A file that contains the last cycle.
    File(Arc<OutputFile>),
}

impl Output {
    /// A file, or stdout.
    pub(crate) fn new(file: Option<Arc<OutputFile>>) -> Output {
        file.map_or_else(|| Output::Stdout(Stdout::default()), Output::File)
    }

    /// Writes a cycle.
    pub(crate) fn write(&mut self, cycle: &[u8]) -> Written {
        match self {
            Output::Stdout(stdout) => stdout.write(cycle),
            Output::File(file) => match file.replace(cycle) {
                Ok(()) => Written::Complete,
                Err(error) => Written::Failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            },
        }
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Output::Stdout(_) => "stdout".to_owned(),
            Output::File(file) => file.path.display().to_string(),
        }
    }
}

/// A file that is replaced as a whole in each cycle.
#[derive(Debug)]
pub(crate) struct OutputFile {
    path: PathBuf,
    /// In the same directory. Its name starts with a dot and ends in `.tmp`, so that readers of
    /// the directory ignore it.
    temporary: PathBuf,
    /// Held while a file gets its name or loses it. `true` after [`OutputFile::remove`].
    is_removed: Mutex<bool>,
}

impl OutputFile {
    /// Creates nothing yet.
    pub(crate) fn new(path: &Path) -> OutputFile {
        let mut name = OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        OutputFile {
            temporary: path.with_file_name(name),
            path: path.to_owned(),
            is_removed: Mutex::new(false),
        }
    }

    /// Replaces the contents.
    fn replace(&self, contents: &[u8]) -> io::Result<()> {
        let written = File::create(&self.temporary).and_then(|mut file| file.write_all(contents));
        let is_removed = self.is_removed.lock().unwrap_or_else(PoisonError::into_inner);
        let renamed = match written {
            Ok(()) if *is_removed => Ok(()),
            Ok(()) => return fs::rename(&self.temporary, &self.path),
            Err(error) => Err(error),
        };
        let _ = fs::remove_file(&self.temporary);
        renamed
    }

    /// Removes the file for good: a reader would take an old cycle for a current one.
    pub(crate) fn remove(&self) {
        let mut is_removed = self.is_removed.lock().unwrap_or_else(PoisonError::into_inner);
        *is_removed = true;
        for path in [&self.path, &self.temporary] {
            let _ = fs::remove_file(path);
        }
    }
}

/// Stdout, written in whole cycles.
#[derive(Debug, Default)]
pub(crate) struct Stdout {
    /// The last write ended within a line.
    partial: bool,
}

/// Written after a partial line. Without it, a line that ends within a number would be a point
/// with a wrong value.
const PARTIAL_LINE_END: &[u8] = b" torn\n";

/// The result of writing a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The whole cycle was written.
    Complete,
    /// The reader has closed the pipe, or the terminal is lost.
    Closed,
    /// The cycle could not be written and is lost, for example because a disk is full.
    Failed(Errno),
}

impl Stdout {
    /// Writes the lines of a cycle, in one write if the reader keeps up. Otherwise it blocks,
    /// which delays the next cycle; SIGTERM ends the program in any case.
    fn write(&mut self, cycle: &[u8]) -> Written {
        if self.partial {
            match write_all(PARTIAL_LINE_END) {
                Written::Complete => self.partial = false,
                other => return other,
            }
        }
        let mut rest = cycle;
        while !rest.is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(errno) => match result_of(errno) {
                    Some(result) => {
                        let written = cycle.get(..cycle.len() - rest.len()).unwrap_or_default();
                        self.partial = written.last().is_some_and(|&byte| byte != b'\n');
                        return result;
                    }
                    None => continue,
                },
            }
        }
        Written::Complete
    }
}

fn write_all(mut bytes: &[u8]) -> Written {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(errno) => {
                if let Some(result) = result_of(errno) {
                    return result;
                }
            }
        }
    }
    Written::Complete
}

/// The result that an error of write(2) causes; `None` to retry.
fn result_of(errno: Errno) -> Option<Written> {
    match errno {
        Errno::INTR => None,
        Errno::AGAIN => {
            // Another process has made the pipe non-blocking.
            let stdout = rustix::stdio::stdout();
            let _ = rustix::event::poll(&mut [PollFd::new(&stdout, PollFlags::OUT)], None);
            None
        }
        Errno::PIPE => Some(Written::Closed),
        // A disk that fails gives the same errno.
        Errno::IO if is_hung_up(rustix::stdio::stdout()) => Some(Written::Closed),
        errno => Some(Written::Failed(errno)),
    }
}
