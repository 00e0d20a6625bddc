//! Order of points: any order gives the same output, without duplicate series, with the families
//! together; times increase.

use proptest::prelude::*;
use psstat_emit::metrics::{CollectorSeries, Series, TABLE};
use psstat_emit::{EncodeError, Encoder, Format, Metric, Tag, TagValue, Timestamp};

use psstat_testproc::formats::{Point, influx, json, openmetrics, tsd};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix(seconds).unwrap()
}

fn encoder(format: Format) -> Encoder {
    Encoder::new(format, TABLE, &[Tag::new("host", "h").unwrap()]).unwrap()
}

pub(crate) fn parse(format: Format, out: &[u8]) -> Vec<Point> {
    let points = match format {
        Format::Tcollector => tsd::parse(out),
        Format::Json => json::parse(out),
        Format::Influx => influx::parse(out),
        Format::OpenMetrics => openmetrics::parse(out),
        Format::Prometheus => openmetrics::parse_prometheus(out),
        other => panic!("{other}"),
    };
    points.unwrap()
}

/// A cycle of these points, each a row of the table, an image and a value.
fn cycle(format: Format, points: &[(usize, usize, u32)], images: &[TagValue]) -> Vec<u8> {
    let mut encoder = encoder(format);
    let mut out = Vec::new();
    // The second cycle uses the buffers of the first one.
    for time in [at(100), at(101)] {
        let mut cycle = encoder.begin(&mut out, time).unwrap();
        for &(row, image, value) in points {
            let labels: Vec<&TagValue> = TABLE[row].labels.iter().map(|_| &images[image]).collect();
            cycle.point(TABLE[row], &labels, value).unwrap();
        }
        cycle.finish().unwrap();
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn output_does_not_depend_on_the_order_of_the_calls(
        (points, shuffled) in prop::collection::btree_map((0..TABLE.len(), 0..4_usize), any::<u32>(), 0..200)
            .prop_map(|points| {
                let mut points: Vec<_> = points
                    .into_iter()
                    .filter(|&((row, image), _)| image == 0 || !TABLE[row].labels.is_empty())
                    .map(|((row, image), value)| (row, image, value))
                    .collect();
                points.sort_unstable();
                points
            })
            .prop_flat_map(|points| (Just(points.clone()), Just(points).prop_shuffle())),
    ) {
        let images = ["a", "ab", "a.b", "b"].map(|name| TagValue::new(name).unwrap());
        let mut images = images.to_vec();
        images.sort_unstable();
        for &format in Format::ALL {
            let out = cycle(format, &points, &images);
            prop_assert_eq!(&cycle(format, &shuffled, &images), &out);
            prop_assert_eq!(parse(format, &out).len(), points.len());
        }
    }
}

/// For each image, its metrics: the families of an exposition are together nevertheless.
#[test]
fn metrics_of_one_image_after_the_other() {
    let images = ["java", "httpd"].map(|name| TagValue::new(name).unwrap());
    let mut encoder = encoder(Format::Prometheus);
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, at(100)).unwrap();
    for image in &images {
        cycle.point(Series::Threads.metric(), &[image], 3).unwrap();
        cycle.point(Series::Procs.metric(), &[image], 1).unwrap();
    }
    cycle.finish().unwrap();
    let text = String::from_utf8(out).unwrap();
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
    assert_eq!(
        samples.join("\n"),
        r#"# TYPE proc_stat_ps_threads gauge
proc_stat_ps_threads{image="httpd",host="h"} 3
proc_stat_ps_threads{image="java",host="h"} 3
# TYPE proc_stat_ps_procs gauge
proc_stat_ps_procs{image="httpd",host="h"} 1
proc_stat_ps_procs{image="java",host="h"} 1"#
    );
}

#[test]
fn duplicate_point_is_reported_and_the_first_one_kept() {
    let image = TagValue::new("httpd").unwrap();
    let metric = Series::FdOpen.metric();
    for between in [None, Some(Series::Threads.metric())] {
        let mut encoder = encoder(Format::Tcollector);
        let mut out = Vec::new();
        let mut cycle = encoder.begin(&mut out, at(100)).unwrap();
        cycle.point(metric, &[&image], 1).unwrap();
        if let Some(other) = between {
            cycle.point(other, &[&image], 5).unwrap();
        }
        cycle.point(metric, &[&image], 2).unwrap();
        assert_eq!(cycle.finish(), Err(EncodeError::Duplicate("proc.stat.ps.fd")));
        let threads = "proc.stat.ps.threads 100 5 image=httpd host=h\n";
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "proc.stat.ps.fd 100 1 image=httpd type=open host=h\n".to_owned()
                + between.map_or("", |_| threads)
        );
    }
}

#[test]
fn rejected_points_leave_no_trace() {
    static OTHER: Metric = Metric::gauge("other", "Of no table.");
    let image = TagValue::new("httpd").unwrap();
    for &format in Format::ALL {
        let mut encoder = encoder(format);
        let mut out = Vec::new();
        let mut cycle = encoder.begin(&mut out, at(100)).unwrap();
        let procs = Series::Procs.metric();
        assert_eq!(cycle.point(&OTHER, &[], 1), Err(EncodeError::UnknownMetric("other")));
        let name = "proc.stat.ps.procs";
        for (labels, found) in [(&[][..], 0), (&[&image, &image][..], 2)] {
            let error = EncodeError::LabelCount { name, expected: 1, found };
            assert_eq!(cycle.point(procs, labels, 1), Err(error));
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(cycle.point(procs, &[&image], value), Err(EncodeError::NotFinite(name)));
        }
        let starts = Series::Starts.metric();
        let negative = Err(EncodeError::NegativeCounter("proc.stat.ps.starts"));
        assert_eq!(cycle.point(starts, &[&image], -1), negative);
        assert_eq!(cycle.point(starts, &[&image], -0.5), negative);
        cycle.point(procs, &[&image], 1).unwrap();
        cycle.finish().unwrap();
        assert_eq!(parse(format, &out).len(), 1);
    }
}

#[test]
fn timestamps_must_increase() {
    for format in [Format::Tcollector, Format::Json] {
        let mut encoder = encoder(format);
        let mut out = Vec::new();
        encoder.begin(&mut out, at(100)).unwrap().finish().unwrap();
        for now in [100, 99] {
            let error = encoder.begin(&mut out, at(now)).unwrap_err();
            let now = u32::try_from(now).unwrap();
            assert_eq!(error, EncodeError::TimeNotAdvanced { last: 100, now });
        }
        encoder.begin(&mut out, at(101)).unwrap().finish().unwrap();
    }
}

#[test]
fn openmetrics_accepts_equal_timestamps() {
    let mut encoder = encoder(Format::OpenMetrics);
    let mut out = Vec::new();
    for now in [100, 100, 99] {
        let mut cycle = encoder.begin(&mut out, at(now)).unwrap();
        cycle.point(CollectorSeries::Processes.metric(), &[], now).unwrap();
        cycle.finish().unwrap();
        let points = openmetrics::parse(&out).unwrap();
        assert_eq!(points[0].value, i128::from(now) * 1_000_000);
    }
}

#[test]
fn unfinished_cycle_leaves_no_output() {
    for &format in Format::ALL {
        let mut encoder = encoder(format);
        let mut out = Vec::new();
        let mut write = |time, end: bool| {
            let mut cycle = encoder.begin(&mut out, at(time)).unwrap();
            cycle.point(CollectorSeries::SkippedCycles.metric(), &[], 3).unwrap();
            if end {
                cycle.finish().unwrap();
            }
        };
        write(100, false);
        write(101, true);
        assert_eq!(parse(format, &out).len(), 1);
    }
}

#[test]
fn empty_cycles() {
    let empty = |format| {
        let mut out = vec![1];
        encoder(format).begin(&mut out, at(100)).unwrap().finish().unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(empty(Format::Tcollector), "");
    assert_eq!(empty(Format::Json), "");
    assert_eq!(empty(Format::OpenMetrics), "# EOF\n");
}
