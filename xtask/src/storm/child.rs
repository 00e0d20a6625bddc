//! A short process: it writes known bytes by known calls.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::time::Duration;

use super::kind::{Kind, LASTING, When};
use crate::{Result, helpers, sys};

/// Calls of each.
pub(crate) const CALLS: u64 = 4;
/// How long one that has become another program stands still before it writes:
/// within eight cycles of a second its new image is noticed.
const NOTICED: Duration = Duration::from_secs(11);

/// Bytes of each call of the `serial`th process: not the same for all, so that
/// two errors do not make up for each other.
pub(crate) fn bytes(serial: u64) -> u64 {
    1000 + serial % 97
}

/// The arguments of a process that is started for this.
pub(crate) fn arguments(kind: Kind, storm: u64, life: Duration, bytes: u64) -> Result<[String; 4]> {
    let millis = u64::try_from(life.as_millis())?;
    Ok([kind.number(), storm, millis, bytes].map(|field| field.to_string()))
}

/// The life of such a process. One that is to be an orphan is left by its
/// parent at once; one that leaves its image becomes another program.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[number, storm, millis, bytes] = fields else {
        return Err("wrong number of fields".into());
    };
    let (kind, life) = (Kind::of(number)?, Duration::from_millis(millis));
    if kind == Kind::Orphan && sys::fork()?.is_some() {
        return Ok(());
    }
    if kind == Kind::Arriving {
        std::thread::sleep(NOTICED);
    }
    live(kind.when(), life, bytes)?;
    if kind == Kind::Leaving {
        let kind = Kind::Arriving;
        let mut command = helpers::command(helpers::CHILD);
        command.arg0(kind.word(storm)).args(arguments(kind, storm, LASTING, bytes)?);
        return Err(command.exec().into());
    }
    Ok(())
}

/// The same in a copy of its parent.
pub(crate) fn live(when: When, life: Duration, bytes: u64) -> Result<()> {
    let mut null = File::options().write(true).open("/dev/null")?;
    let piece = vec![0; usize::try_from(bytes)?];
    for call in 0..CALLS {
        if when == When::Halves && call == CALLS / 2 {
            std::thread::sleep(life);
        }
        if null.write(&piece)? != piece.len() {
            return Err("/dev/null took a part".into());
        }
    }
    if when == When::Early {
        std::thread::sleep(life);
    }
    Ok(())
}
