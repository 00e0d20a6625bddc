//! Keeping: which processes there are, which of them are tracked, and what is
//! remembered of each from cycle to cycle. No system call is made here.

pub(crate) mod process_table;
pub(crate) mod process_tree;
pub(crate) mod schedule;
pub(crate) mod sockets;
pub(crate) mod tracked;
