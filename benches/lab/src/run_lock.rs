//! One experiment at a time: two would count each other's processes.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use crate::Result;

/// Held while an experiment runs, and released however it ends: an abstract socket address is in no
/// file system.
#[derive(Debug)]
pub(crate) struct RunLock {
    _socket: UnixListener,
}

impl RunLock {
    /// # Errors
    /// If another experiment runs on this machine (in this network namespace).
    pub(crate) fn acquire() -> Result<RunLock> {
        RunLock::acquire_name("psstat-lab")
    }

    fn acquire_name(name: &str) -> Result<RunLock> {
        match UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?) {
            Ok(socket) => Ok(RunLock { _socket: socket }),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Err("another experiment runs on this machine; wait until it ends".into())
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
    fn lock_is_exclusive_and_released() {
        let name = format!("psstat-lab-test-{}", std::process::id());
        let lock = RunLock::acquire_name(&name).unwrap();
        assert!(RunLock::acquire_name(&name).is_err());
        drop(lock);
        // A process that another test forks holds the socket until its exec.
        let deadline = Instant::now() + Duration::from_secs(60);
        while let Err(error) = RunLock::acquire_name(&name) {
            assert!(Instant::now() < deadline, "{error}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
