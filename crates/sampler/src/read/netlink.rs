//! Asking the kernel for sockets by netlink, or not: the feature `netlink`.

#[cfg(feature = "netlink")]
pub(crate) use with::Netlink;
#[cfg(not(feature = "netlink"))]
pub(crate) use without::Netlink;

#[cfg(feature = "netlink")]
mod with {
    use rustix::io::Errno;

    use crate::read::sock_diag::SockDiag;
    use crate::read::tables::Protocol;

    /// The own network namespace's sockets by sock_diag, where it is to be had.
    #[derive(Debug)]
    pub(crate) struct Netlink {
        sock_diag: Option<SockDiag>,
        /// The protocols for which this kernel has no sock_diag (indexed as
        /// [`Protocol::ALL`]); asked once.
        without: [bool; 3],
    }

    impl Netlink {
        pub(crate) fn open(wanted: bool) -> Netlink {
            let sock_diag = if wanted { SockDiag::open().ok() } else { None };
            Netlink { sock_diag, without: [false; 3] }
        }

        /// Whether it is in use for a protocol.
        pub(crate) fn serves(&self, protocol: Protocol) -> bool {
            self.sock_diag.is_some() && !self.without[protocol as usize]
        }

        /// Calls `found` with the inode of each ESTABLISHED socket of a
        /// protocol; tells whether these are all.
        pub(crate) fn established(
            &mut self,
            protocol: Protocol,
            found: &mut dyn FnMut(u64),
        ) -> bool {
            let without = &mut self.without[protocol as usize];
            let Some(sock_diag) = self.sock_diag.as_mut().filter(|_| !*without) else {
                return false;
            };
            let result = sock_diag.established(protocol, found);
            if let Err(errno) = result {
                // The kernel has no such thing: not asked again.
                *without = never_answers(errno);
            }
            result.is_ok()
        }
    }

    /// Whether an error of sock_diag means that this kernel has none.
    fn never_answers(errno: Errno) -> bool {
        matches!(
            errno,
            Errno::NOENT | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::ACCESS
        )
    }
}

#[cfg(not(feature = "netlink"))]
mod without {
    use crate::read::tables::Protocol;

    /// Serves no protocol.
    #[derive(Debug)]
    pub(crate) struct Netlink;

    impl Netlink {
        pub(crate) fn open(_wanted: bool) -> Netlink {
            Netlink
        }

        pub(crate) fn serves(&self, _protocol: Protocol) -> bool {
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
