//! Order of points: no duplicate series, increasing times, families together.

use psstat_emit::{
    CollectorSeries, Encoder, Format, ImageName, PointError, Series, Tag, TimeNotAdvanced,
    Timestamp, Value,
};

use psstat_testproc::formats::{influx, json, openmetrics, tsd};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

fn encoder(format: Format) -> Encoder {
    Encoder::new(format, &[Tag::new("host", "h").unwrap()]).unwrap()
}

#[test]
fn duplicate_point_is_rejected() {
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
fn timestamps_must_increase() {
    for format in [Format::Tcollector, Format::Json] {
        let mut encoder = encoder(format);
        let mut out = Vec::new();
        encoder.begin(&mut out, at(100)).unwrap().finish();
        for now in [100, 99] {
            let error = encoder.begin(&mut out, at(now)).unwrap_err();
            assert_eq!(error, TimeNotAdvanced { last: 100, now: u32::try_from(now).unwrap() });
        }
        encoder.begin(&mut out, at(101)).unwrap().finish();
    }
}

#[test]
fn openmetrics_accepts_equal_timestamps() {
    let mut encoder = encoder(Format::OpenMetrics);
    let mut out = Vec::new();
    for now in [100, 100, 99] {
        let mut cycle = encoder.begin(&mut out, at(now)).unwrap();
        cycle.collector_point(CollectorSeries::Processes, Value::from_i64(now)).unwrap();
        cycle.finish();
        let points = openmetrics::parse(&out).unwrap();
        assert_eq!(points[0].value, i128::from(now) * 1_000_000);
    }
}

#[test]
fn unfinished_cycle_leaves_no_output() {
    for format in Format::ALL {
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
            Format::Influx => influx::parse(&out),
            Format::OpenMetrics => openmetrics::parse(&out),
            Format::Prometheus => openmetrics::parse_prometheus(&out),
        };
        assert_eq!(points.unwrap().len(), 1);
    }
}

#[test]
fn empty_cycles() {
    let empty = |format| {
        let mut out = vec![1];
        encoder(format).begin(&mut out, at(100)).unwrap().finish();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(empty(Format::Tcollector), "");
    assert_eq!(empty(Format::Json), "");
    assert_eq!(empty(Format::OpenMetrics), "# EOF\n");
}
