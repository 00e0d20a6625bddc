//! The targets of libFuzzer. The checks are in `psstat-corpus`, where a test replays the recorded
//! inputs without libFuzzer.

pub use libfuzzer_sys;
pub use psstat_corpus::Target;

/// The entry point of libFuzzer for the target of `psstat-corpus` with this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        static TARGET: std::sync::LazyLock<$crate::Target> = std::sync::LazyLock::new(|| {
            $crate::Target::named($name).unwrap_or_else(|| panic!("no target is called {}", $name))
        });

        $crate::libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.check)(input));
    };
}
