//! A cycle of the same size as the previous one does not allocate.

use psstat_emit::metrics::{CollectorSeries, Series, TABLE};
use psstat_emit::{Encoder, Format, Tag, TagValue, Timestamp, Value};
use psstat_testproc::alloc::{CountingAllocator, measure};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Writes every series of every image and of the collector, with values of the same width.
fn write(encoder: &mut Encoder, out: &mut Vec<u8>, images: &[TagValue], time: i64) {
    let mut cycle = encoder.begin(out, Timestamp::from_unix(time).unwrap()).unwrap();
    for &series in Series::ALL {
        for image in images {
            cycle.point(series.metric(), &[image], Value::from_thousandths(time)).unwrap();
        }
    }
    for &series in CollectorSeries::ALL {
        cycle.point(series.metric(), &[], time).unwrap();
    }
    cycle.finish().unwrap();
}

#[test]
fn second_cycle_does_not_allocate() {
    let images: Vec<TagValue> =
        (0..500).map(|n| TagValue::new(format!("image/{n:03}")).unwrap()).collect();
    for format in [Format::Tcollector, Format::Json, Format::OpenMetrics] {
        let mut encoder = Encoder::new(format, TABLE, &[Tag::new("host", "h").unwrap()]).unwrap();
        let mut out = Vec::new();
        let mut allocations =
            |time| measure(|| write(&mut encoder, &mut out, &images, time)).1.allocations;
        assert!(allocations(1_700_000_001) > 0, "the first cycle must have grown the buffer");
        assert_eq!(allocations(1_700_000_016), 0, "{format}");
    }
}
