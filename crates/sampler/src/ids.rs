//! Identities that reading, state and accounting share.

/// The index of a tracked process in every table that is kept by slot. A slot is
/// reused after the account of its process was resolved.
pub(crate) type Slot = u32;

/// A process, told apart from every other one that had or will have its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessKey {
    pub(crate) pid: u32,
    /// The inode of its entry in `/proc` (`d_ino`): the same for the life of the
    /// process as long as the kernel caches the entry, and another one for the next
    /// process with this pid, even if both started within one clock tick.
    pub(crate) inode: u64,
    /// Its start time in ticks since boot (`stat`, field 22), which identifies it
    /// after the kernel has dropped the entry from its cache. 0 before it was read,
    /// and for a process that was not seen after its first tick.
    pub(crate) starttime: u64,
}

/// A kind of socket, both address families together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// tcp and tcp6; an IPv4 client of a dual-stack server is in tcp6.
    Tcp,
    /// udp and udp6.
    Udp,
    /// unix domain sockets of every type.
    Unix,
}

impl Protocol {
    /// All protocols; the position here is the index elsewhere.
    pub(crate) const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Unix];
}

/// A network namespace by its inode, which the kernel assigns from 32 bits; it is
/// stored with every socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetnsId(pub(crate) u32);

/// The inode of a socket. The kernel assigns them from 32 bits (`get_next_ino`),
/// and there are many to store.
pub(crate) type SocketInode = u32;

/// The numbers of ESTABLISHED sockets, by [`Protocol`].
pub(crate) type SocketCounts = [u64; Protocol::ALL.len()];
