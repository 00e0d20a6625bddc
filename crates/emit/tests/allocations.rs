//! A cycle like the last one allocates nothing.

use psstat_emit::{CollectorSeries, Encoder, Format, ImageName, Series, Tag, Timestamp, Value};
use psstat_testproc::alloc::{CountingAllocator, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Every series of every image, and all health, with values as wide.
fn write(encoder: &mut Encoder, out: &mut Vec<u8>, images: &[ImageName], time: i64) {
    let mut cycle = encoder.begin(out, Timestamp::from_unix(time).unwrap()).unwrap();
    for &series in Series::ALL {
        for image in images {
            cycle.point(series, image, Value::from_thousandths(time)).unwrap();
        }
    }
    for &health in CollectorSeries::ALL {
        cycle.collector_point(health, Value::from_i64(time)).unwrap();
    }
    cycle.finish();
}

#[test]
fn a_second_cycle_allocates_nothing() {
    let images: Vec<ImageName> =
        (0..500).map(|n| ImageName::new(&format!("image/{n:03}")).unwrap()).collect();
    for format in [Format::Tcollector, Format::Json, Format::OpenMetrics] {
        let mut encoder = Encoder::new(format, &[Tag::new("host", "h").unwrap()]).unwrap();
        let mut out = Vec::new();
        let mut allocations =
            |time| measure(|| write(&mut encoder, &mut out, &images, time)).1.allocations;
        assert!(allocations(1_700_000_001) > 0, "the first cycle must have grown the buffer");
        assert_eq!(allocations(1_700_000_016), 0, "{format}");
    }
}
