//! Keeping: which processes there are, which of them are tracked, and what is
//! remembered of each from cycle to cycle. No system call is made here.

pub(crate) mod forest;
pub(crate) mod schedule;
pub(crate) mod seen;
pub(crate) mod sockets;
pub(crate) mod tracked;
