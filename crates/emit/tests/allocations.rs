//! A cycle like the last one allocates nothing.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used)]
// A counting allocator can't be written without `unsafe`.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use psstat_emit::{Encoder, Format, HealthSeries, Image, Series, Tag, Timestamp, Value};

thread_local! {
    /// Allocations of this thread: the test harness has others.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed to the system's allocator as it is. The counter
// is a thread-local without a destructor, so counting doesn't allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Every series of every image, and all health, with values as wide.
fn write(encoder: &mut Encoder, out: &mut Vec<u8>, images: &[Image], time: i64) {
    let mut cycle = encoder.begin(out, Timestamp::from_unix(time).unwrap()).unwrap();
    for &series in Series::ALL {
        for image in images {
            cycle.point(series, image, Value::from_thousandths(time)).unwrap();
        }
    }
    for &health in HealthSeries::ALL {
        cycle.health(health, Value::from_i64(time)).unwrap();
    }
    cycle.end();
}

#[test]
fn a_second_cycle_allocates_nothing() {
    let images: Vec<Image> =
        (0..500).map(|n| Image::new(&format!("image/{n:03}")).unwrap()).collect();
    for format in [Format::Tcollector, Format::Json, Format::OpenMetrics] {
        let mut encoder = Encoder::new(format, &[Tag::new("host", "h").unwrap()]).unwrap();
        let mut out = Vec::new();
        let before = ALLOCATIONS.get();
        write(&mut encoder, &mut out, &images, 1_700_000_001);
        assert!(ALLOCATIONS.get() > before, "the first cycle must have grown the buffer");

        let before = ALLOCATIONS.get();
        write(&mut encoder, &mut out, &images, 1_700_000_016);
        assert_eq!(ALLOCATIONS.get() - before, 0, "{format}");
    }
}
