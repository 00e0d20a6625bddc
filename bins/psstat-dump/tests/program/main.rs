//! The program itself, on processes whose behaviour is known.
// The permission for tests does not reach the functions beside them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod capture;
mod check;
mod copies;
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
mod strangers;
mod top;
mod wrong_use;
