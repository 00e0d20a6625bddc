//! The real program beside processes that every collector of the machine would
//! notice: a test program of its own, since those run one after the other.
// Not all of them are needed here.
#![allow(dead_code, unused_imports)]

#[path = "../service/common/mod.rs"]
mod common;
mod crowds;
mod hangs;
mod stuck_process;

/// One test at a time: each would notice the other's processes.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
