//! Resources that a program must have before it can do anything else: a stack and random numbers.

use std::hash::RandomState;
use std::panic;
use std::thread;

use rustix::process::{Resource, Rlimit};

/// The size of stack that the programs need: the usual limit of the main thread.
const STACK_SIZE: u64 = 8 << 20;

/// The stack of the main thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// It can grow to the size that the program needs.
    Sufficient,
    /// Its limit (`RLIMIT_STACK`, this number of bytes) was too low and has been raised.
    Raised(u64),
    /// Its limit (this number of bytes) is too low and cannot be raised.
    TooSmall(u64),
}

/// Raises the limit of the stack of the main thread, which applies at once, if it is too low.
/// `ulimit -s 16` would otherwise end the program at its first larger call.
#[must_use]
pub fn raise_stack_limit() -> Stack {
    let limit = rustix::process::getrlimit(Resource::Stack);
    let Some(soft) = limit.current.filter(|soft| *soft < STACK_SIZE) else {
        return Stack::Sufficient;
    };
    let needed = Some(STACK_SIZE);
    // Only a privileged process can raise the hard limit.
    let maximum = limit.maximum.map(|hard| hard.max(STACK_SIZE));
    for raised in
        [Rlimit { current: needed, maximum: limit.maximum }, Rlimit { current: needed, maximum }]
    {
        if rustix::process::setrlimit(Resource::Stack, raised).is_ok() {
            return Stack::Raised(soft);
        }
    }
    Stack::TooSmall(soft)
}

/// Runs `work` in a thread with a sufficient stack. If no thread can be started, runs it on this
/// one.
pub fn with_own_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = std::sync::Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    thread::scope(|scope| {
        let size = usize::try_from(STACK_SIZE).unwrap_or(usize::MAX);
        let builder = thread::Builder::new().name("main".into()).stack_size(size);
        let thread = builder.spawn_scoped(scope, || take().map(|work| work()));
        match thread.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(payload)) => panic::resume_unwind(payload),
            Err(_) => take().map(|work| work()),
        }
    })
    .unwrap_or_else(|| unreachable!("the work is taken once"))
}

/// Whether hash maps can be made, which needs random numbers from `getrandom(2)` or
/// `/dev/urandom`. Without both, each hash map of this program and its libraries panics.
///
/// Replaces the panic hook while it tries: has to be called before other threads start.
#[must_use]
pub fn has_random_numbers() -> bool {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let available = panic::catch_unwind(RandomState::new).is_ok();
    panic::set_hook(hook);
    available
}

/// The message if [`has_random_numbers`] is false.
pub const NO_RANDOM_NUMBERS: &str = "no random numbers: getrandom(2) is refused (by a seccomp \
     filter?) and /dev/urandom cannot be read; allow one of them";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_stack_is_large_enough() {
        #[inline(never)]
        fn depth(rest: u32) -> u64 {
            let frame = [u64::from(rest); 512];
            let frame = std::hint::black_box(frame);
            if rest == 0 { 1 } else { depth(rest - 1) + frame[0] / u64::from(rest) }
        }
        // At least 2.4 MiB of frames, more than the default of threads.
        assert_eq!(with_own_stack(|| depth(600)), 601);
    }

    #[test]
    fn random_numbers_are_available() {
        assert!(has_random_numbers());
    }
}
