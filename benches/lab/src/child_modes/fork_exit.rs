//! A process that forks copies of itself which exit at once.

use rustix::process::WaitOptions;

use super::reap;
use crate::{Result, sys};

/// How many children may be unreaped at a time.
const UNREAPED: usize = 16;

/// Runs the mode: `[number of forks]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[forks] = fields else { return Err("wrong number of fields".into()) };
    let mut unreaped = 0;
    for _ in 0..forks {
        if sys::fork()?.is_none() {
            std::process::exit(0);
        }
        unreaped += 1;
        if unreaped == UNREAPED {
            for _ in 0..UNREAPED {
                reap(WaitOptions::empty())?;
            }
            unreaped = 0;
        }
    }
    while reap(WaitOptions::empty())? {}
    Ok(())
}
