//! No series twice, no time backwards, families together.

use proptest::prelude::*;
use psstat_emit::{
    CollectorSeries, Encoder, Format, ImageName, PointError, Series, Tag, TimeNotAdvanced,
    Timestamp, Value,
};

use psstat_testproc::formats::{json, openmetrics, tsd};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

fn encoder(format: Format) -> Encoder {
    Encoder::new(format, &[Tag::new("host", "h").unwrap()]).unwrap()
}

/// Where a point stands in a cycle, worked out by looking for it.
fn place(step: (usize, usize)) -> (usize, usize) {
    let (series, image) = step;
    if series < Series::ALL.len() { (series, image) } else { (series, 0) }
}

proptest! {
    /// Points in any order: those that come after all before them are
    /// written, the others refused, and the output stays good.
    #[test]
    fn any_order(
        steps in prop::collection::vec((0..Series::ALL.len() + CollectorSeries::ALL.len(), 0..3_usize), 0..60)
    ) {
        let images = ["B", "a", "a.b"].map(|name| ImageName::new(name).unwrap());
        for format in [Format::Tcollector, Format::Json, Format::OpenMetrics] {
            let mut encoder = encoder(format);
            let mut out = Vec::new();
            let mut cycle = encoder.begin(&mut out, at(1_700_000_000)).unwrap();
            let mut highest = None;
            let mut written = 0;
            for &step in &steps {
                let (series, image) = step;
                let result = match Series::ALL.get(series) {
                    Some(&series) => cycle.point(series, &images[image], Value::from_i64(7)),
                    None => {
                        let health = CollectorSeries::ALL[series - Series::ALL.len()];
                        cycle.collector_point(health, Value::from_i64(7))
                    }
                };
                let later = highest.is_none_or(|highest| place(step) > highest);
                prop_assert_eq!(result.is_ok(), later);
                if later {
                    highest = Some(place(step));
                    written += 1;
                }
            }
            cycle.finish();
            let points = match format {
                Format::Tcollector => tsd::parse(&out),
                Format::Json => json::parse(&out),
                Format::OpenMetrics => openmetrics::parse(&out),
            };
            prop_assert_eq!(points.unwrap().len(), written);
        }
    }
}

#[test]
fn the_same_point_twice() {
    let image = ImageName::new("httpd").unwrap();
    let mut encoder = encoder(Format::Tcollector);
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, at(100)).unwrap();
    cycle.point(Series::FdOpen, &image, Value::from_i64(1)).unwrap();
    let again = cycle.point(Series::FdOpen, &image, Value::from_i64(2));
    assert_eq!(again, Err(PointError::OutOfOrder("proc.stat.ps.fd")));
    cycle.finish();
    assert_eq!(out, b"proc.stat.ps.fd 100 1 image=httpd type=open host=h\n");
}

#[test]
fn a_second_is_sent_once() {
    for format in [Format::Tcollector, Format::Json] {
        let mut encoder = encoder(format);
        let mut out = Vec::new();
        encoder.begin(&mut out, at(100)).unwrap().finish();
        for now in [100, 99] {
            let refused = encoder.begin(&mut out, at(now)).unwrap_err();
            assert_eq!(refused, TimeNotAdvanced { last: 100, now: u32::try_from(now).unwrap() });
        }
        encoder.begin(&mut out, at(101)).unwrap().finish();
    }
}

#[test]
fn openmetrics_can_be_asked_twice_a_second() {
    let mut encoder = encoder(Format::OpenMetrics);
    let mut out = Vec::new();
    for now in [100, 100, 99] {
        let mut cycle = encoder.begin(&mut out, at(now)).unwrap();
        cycle.collector_point(CollectorSeries::Processes, Value::from_i64(now)).unwrap();
        cycle.finish();
        let points = openmetrics::parse(&out).unwrap();
        assert_eq!(points[0].value, i128::from(now) * 1000);
    }
}

#[test]
fn a_cycle_that_was_not_ended_leaves_nothing_behind() {
    for format in [Format::Tcollector, Format::Json, Format::OpenMetrics] {
        let mut encoder = encoder(format);
        let mut out = Vec::new();
        let mut write = |time, end: bool| {
            let mut cycle = encoder.begin(&mut out, at(time)).unwrap();
            cycle.collector_point(CollectorSeries::SkippedCycles, Value::from_i64(3)).unwrap();
            if end {
                cycle.finish();
            }
        };
        write(100, false);
        write(101, true);
        let points = match format {
            Format::Tcollector => tsd::parse(&out),
            Format::Json => json::parse(&out),
            Format::OpenMetrics => openmetrics::parse(&out),
        };
        assert_eq!(points.unwrap().len(), 1);
    }
}

#[test]
fn nothing_to_say() {
    let empty = |format| {
        let mut out = vec![1];
        encoder(format).begin(&mut out, at(100)).unwrap().finish();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(empty(Format::Tcollector), "");
    assert_eq!(empty(Format::Json), "");
    assert_eq!(empty(Format::OpenMetrics), "# EOF\n");
}
