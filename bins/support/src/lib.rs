//! Code that both programs of psstat use and that no library crate offers.
//!
//! This crate is internal: it is not published, and its interface may change at any time.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod bpf_ring;
pub mod clock;
pub mod cmdline;
pub mod conf_paths;
pub mod count;
pub mod escape;
pub mod failpoint;
pub mod process_texts;
pub mod procfs;
pub mod sleep;
pub mod startup;
pub mod user_namespace;
pub mod users;
