//! Asking the kernel for sockets by netlink, or not: the feature `netlink`.

#[cfg(not(feature = "netlink"))]
pub(crate) use disabled::Netlink;
#[cfg(feature = "netlink")]
pub(crate) use enabled::Netlink;

#[cfg(feature = "netlink")]
mod enabled {
    use rustix::io::Errno;

    use crate::ids::Protocol;
    use crate::read::sock_diag::SockDiag;

    /// The own network namespace's sockets by sock_diag, where it is to be had.
    #[derive(Debug)]
    pub(crate) struct Netlink {
        sock_diag: Option<SockDiag>,
        /// The protocols for which this kernel has no sock_diag (indexed as
        /// [`Protocol::ALL`]); asked once.
        unsupported: [bool; 3],
    }

    impl Netlink {
        pub(crate) fn open(wanted: bool) -> Netlink {
            let sock_diag = if wanted { SockDiag::open().ok() } else { None };
            Netlink { sock_diag, unsupported: [false; 3] }
        }

        /// Whether it is in use for a protocol.
        pub(crate) fn supports(&self, protocol: Protocol) -> bool {
            self.sock_diag.is_some() && !self.unsupported[protocol as usize]
        }

        /// Calls `found` with the inode of each ESTABLISHED socket of a
        /// protocol; tells whether these are all.
        pub(crate) fn established(
            &mut self,
            protocol: Protocol,
            found: &mut dyn FnMut(u64),
        ) -> bool {
            let unsupported = &mut self.unsupported[protocol as usize];
            let Some(sock_diag) = self.sock_diag.as_mut().filter(|_| !*unsupported) else {
                return false;
            };
            let result = sock_diag.established(protocol, found);
            if let Err(errno) = result {
                // The kernel has no such thing: not asked again.
                *unsupported = is_unsupported(errno);
            }
            result.is_ok()
        }
    }

    /// Whether an error of sock_diag means that this kernel has none.
    fn is_unsupported(errno: Errno) -> bool {
        matches!(
            errno,
            Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::ACCESS
        )
    }
}

#[cfg(not(feature = "netlink"))]
mod disabled {
    use crate::ids::Protocol;

    /// Serves no protocol.
    #[derive(Debug)]
    pub(crate) struct Netlink;

    impl Netlink {
        pub(crate) fn open(_wanted: bool) -> Netlink {
            Netlink
        }

        pub(crate) fn supports(&self, _protocol: Protocol) -> bool {
            false
        }

        pub(crate) fn established(
            &mut self,
            _protocol: Protocol,
            _found: &mut dyn FnMut(u64),
        ) -> bool {
            false
        }
    }
}
