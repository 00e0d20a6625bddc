//! Reading: every system call that this crate makes to learn of processes.
//!
//! Nothing here remembers anything but open descriptors and buffers, and
//! nothing here reckons.

pub(crate) mod apart;
pub(crate) mod command_line;
pub(crate) mod descriptors;
pub(crate) mod hanging;
pub(crate) mod listing;
pub(crate) mod netlink;
pub(crate) mod outcome;
pub(crate) mod process;
pub(crate) mod procfs;
pub(crate) mod reader;
pub(crate) mod roster;
#[cfg(feature = "netlink")]
pub(crate) mod sock_diag;
pub(crate) mod sys;
pub(crate) mod tables;
