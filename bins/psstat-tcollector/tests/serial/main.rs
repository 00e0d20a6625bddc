//! Tests of the real program with processes that affect every collector on the machine: a separate
//! test program, because test programs run one after the other.
// Not all of `common` is used here.
#![allow(dead_code, unused_imports)]

#[path = "../service/common/mod.rs"]
mod common;
mod hangs;
mod large_population;
mod stuck_process;

/// One test at a time: each would be affected by the other's processes.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
