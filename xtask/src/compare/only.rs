//! One comparison at a time: two would count each other's processes.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::Result;

/// Held as long as a comparison runs, and given back however it ends: an
/// abstract name is in no file system.
#[derive(Debug)]
pub(crate) struct Only {
    _name: UnixListener,
}

impl Only {
    /// # Errors
    /// When another one runs on this machine (in this network namespace).
    pub(crate) fn here() -> Result<Only> {
        let address = SocketAddr::from_abstract_name("psstat-xtask-compare")?;
        match UnixListener::bind_addr(&address) {
            Ok(name) => Ok(Only { _name: name }),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err("another comparison runs on this machine; wait for its end".into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn there_is_one_at_a_time() {
        let Ok(only) = Only::here() else {
            return println!("skipped: a comparison runs");
        };
        assert!(Only::here().is_err());
        drop(only);
        // What another test forks has the name, too, until it has become what it
        // was forked for.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = Only::here() {
            assert!(Instant::now() < deadline, "{error}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
