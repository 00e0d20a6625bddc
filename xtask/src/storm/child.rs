//! A short process: it writes known bytes by known calls, half of them at its
//! end.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use crate::{Result, sys};

/// Calls of each.
pub(crate) const CALLS: u64 = 4;

/// Bytes of each call of the `serial`th process: not the same for all, so that
/// two errors do not make up for each other.
pub(crate) fn bytes(serial: u64) -> u64 {
    1000 + serial % 97
}

/// The life of a process that was started for this: `[life in ms, bytes of a
/// call, orphan]`. One that is to be an orphan is left by its parent at once.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[life, bytes, orphan] = fields else { return Err("wrong number of fields".into()) };
    if orphan != 0 && sys::fork()?.is_some() {
        return Ok(());
    }
    live(Duration::from_millis(life), bytes)
}

/// The same in a copy of its parent.
pub(crate) fn live(life: Duration, bytes: u64) -> Result<()> {
    let mut null = File::options().write(true).open("/dev/null")?;
    let piece = vec![0; usize::try_from(bytes)?];
    for half in 0..2 {
        if half == 1 {
            std::thread::sleep(life);
        }
        for _ in 0..CALLS / 2 {
            if null.write(&piece)? != piece.len() {
                return Err("/dev/null took a part".into());
            }
        }
    }
    Ok(())
}
