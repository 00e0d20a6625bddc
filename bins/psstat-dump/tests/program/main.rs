//! The program itself, on processes whose behaviour is known.
// The permission for tests does not reach the functions beside them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod capture;
mod captured_proc;
mod check;
mod doctor;
mod documented;
mod explain;
mod fixture;
mod formats;
mod numbers;
mod pid;
mod run;
mod screen;
mod session;
mod sockets;
mod top;
mod untrusted_text;
mod wrong_use;
