//! A short-lived process that writes a known number of bytes with a known number of calls.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use super::kind::{Kind, LONG_LIVED, When};
use crate::{Result, sys};

/// Writes per process.
pub(crate) const CALLS: u64 = 4;
/// How long a process waits after its exec before it writes: within eight cycles of one second its
/// new image is detected.
const EXEC_NOTICE_DELAY: Duration = Duration::from_secs(11);

/// Bytes per write of the process with this serial number. They differ, so that two errors do not
/// cancel out.
pub(crate) fn bytes(serial: u64) -> u64 {
    1000 + serial % 97
}

/// The arguments of the mode.
pub(crate) fn arguments(
    kind: Kind,
    storm: u64,
    lifetime: Duration,
    bytes: u64,
) -> Result<[String; 4]> {
    let millis = u64::try_from(lifetime.as_millis())?;
    Ok([kind.number(), storm, millis, bytes].map(|field| field.to_string()))
}

/// Runs the mode: `[kind, storm, milliseconds of lifetime, bytes per write]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[number, storm, millis, bytes] = fields else {
        return Err("wrong number of fields".into());
    };
    let (kind, lifetime) = (Kind::from_number(number)?, Duration::from_millis(millis));
    if kind == Kind::Orphan && sys::fork()?.is_some() {
        return Ok(());
    }
    if kind == Kind::ExecAfter {
        std::thread::sleep(EXEC_NOTICE_DELAY);
    }
    write(kind.when(), lifetime, bytes)?;
    if kind == Kind::ExecBefore {
        let kind = Kind::ExecAfter;
        let mut command = super::command(super::WRITE_LOOP);
        command.arg0(kind.argv0(storm)).args(arguments(kind, storm, LONG_LIVED, bytes)?);
        return Err(command.exec().into());
    }
    Ok(())
}

/// Writes and waits; also in a forked copy of another mode.
pub(crate) fn write(when: When, lifetime: Duration, bytes: u64) -> Result<()> {
    let mut null = File::options().write(true).open("/dev/null")?;
    let piece = vec![0; usize::try_from(bytes)?];
    for call in 0..CALLS {
        if when == When::Halves && call == CALLS / 2 {
            std::thread::sleep(lifetime);
        }
        if null.write(&piece)? != piece.len() {
            return Err("short write to /dev/null".into());
        }
    }
    if when == When::Start {
        std::thread::sleep(lifetime);
    }
    Ok(())
}
