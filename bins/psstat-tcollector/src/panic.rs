//! Panics: caught, and logged in one line each.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::log;

/// The message of the last panic that was logged.
static LAST_MESSAGE: Mutex<String> = Mutex::new(String::new());

fn last_message() -> MutexGuard<'static, String> {
    LAST_MESSAGE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forgets the last panic, so that the same panic is logged if it occurs again.
pub(crate) fn clear_last() {
    last_message().clear();
}

/// Installs a panic hook that logs a panic in one line, and repetitions of it not at all.
pub(crate) fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let payload = info.payload();
        let reason = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no reason given");
        let message = format!("panic at {place}: {reason}; please report this bug");
        let mut last = last_message();
        if *last != message {
            log::line(&message);
            *last = message;
        }
    }));
}

/// Runs a step that may panic; `None` if it did. The hook has logged the panic.
pub(crate) fn catch<T>(step: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(step)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_is_caught() {
        assert_eq!(catch(|| 1), Some(1));
        assert_eq!(catch(|| -> i32 { panic!("expected by the test") }), None);
    }
}
