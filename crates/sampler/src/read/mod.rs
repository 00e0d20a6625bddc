//! Reading: all system calls of this crate that read processes.
//!
//! The state of this module is open descriptors and buffers; it aggregates
//! nothing.

pub(crate) mod blocking;
pub(crate) mod boot_clock;
pub(crate) mod fd_sockets;
pub(crate) mod outcome;
pub(crate) mod proc_dir;
pub(crate) mod process;
pub(crate) mod process_list;
pub(crate) mod procfs;
pub(crate) mod reader;
pub(crate) mod reads;
#[cfg(feature = "netlink")]
pub(crate) mod sock_diag;
pub(crate) mod socket_tables;
pub(crate) mod status;
pub(crate) mod stuck_readers;
pub(crate) mod sys;
pub(crate) mod text_file;
pub(crate) mod thread;
