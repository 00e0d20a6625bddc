//! A table of a program's own, with any number of labels.

use proptest::prelude::*;
use psstat_emit::{
    ConfigError, EncodeError, Encoder, Format, Metric, Tag, TagValue, Timestamp, Unit,
};

use crate::order::parse;

static REQUESTS: Metric =
    Metric::counter("shop.requests", "Requests by \"route\" and status.\nSee C:\\doc.")
        .labels(&["route", "status"]);
const TRAFFIC: Metric =
    Metric::counter("shop.traffic", "Traffic by direction.").unit(Unit::BYTES).labels(&["route"]);
static READ: Metric = TRAFFIC.tags(&[("type", "read")]);
static WRITTEN: Metric = TRAFFIC.tags(&[("type", "written")]);
static LATENCY: Metric = Metric::gauge("shop.latency", "Time of the last request.")
    .unit(Unit::new("microseconds").base_unit("seconds", 6))
    .labels(&["route"]);
static QUEUE: Metric = Metric::gauge("shop.queue", "Requests that wait.");

/// The rows of the family `shop_traffic_bytes` are not adjacent.
static TABLE: &[&Metric] = &[&READ, &REQUESTS, &LATENCY, &WRITTEN, &QUEUE];

fn value(text: &str) -> TagValue {
    TagValue::new(text).unwrap()
}

fn encode(format: Format, tags: &[Tag]) -> String {
    let mut encoder = Encoder::new(format, TABLE, tags).unwrap();
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, Timestamp::from_unix(1_700_000_000).unwrap()).unwrap();
    for route in [value("pay"), value("cart")] {
        for status in ["500", "200"] {
            cycle.point(&REQUESTS, &[&route, &value(status)], 17).unwrap();
        }
        cycle.point(&WRITTEN, &[&route], u64::MAX).unwrap();
        cycle.point(&READ, &[&route], 4096_u64).unwrap();
        cycle.point(&LATENCY, &[&route], 1250.5).unwrap();
    }
    cycle.point(&QUEUE, &[], true).unwrap();
    cycle.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn tcollector_lines() {
    let lines = "\
shop.traffic 1700000000 4096 route=cart type=read
shop.traffic 1700000000 4096 route=pay type=read
shop.traffic 1700000000 9223372036854775807 route=cart type=written
shop.traffic 1700000000 9223372036854775807 route=pay type=written
shop.requests 1700000000 17 route=cart status=200
shop.requests 1700000000 17 route=cart status=500
shop.requests 1700000000 17 route=pay status=200
shop.requests 1700000000 17 route=pay status=500
shop.latency 1700000000 1250.5 route=cart
shop.latency 1700000000 1250.5 route=pay
shop.queue 1700000000 1
";
    assert_eq!(encode(Format::Tcollector, &[]), lines);
    let with_tag = encode(Format::Tcollector, &[Tag::new("cluster", "c1").unwrap()]);
    assert_eq!(with_tag, lines.replace('\n', " cluster=c1\n"));
}

#[test]
fn opentsdb_json() {
    let text = encode(Format::Json, &[Tag::new("host", "h").unwrap()]);
    let points: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        points[4],
        serde_json::json!({
            "metric": "shop.requests",
            "timestamp": 1_700_000_000,
            "value": 17,
            "tags": {"route": "cart", "status": "200", "host": "h"},
        })
    );
    assert_eq!(points[8]["value"], 1250.5);
    assert_eq!(points[10]["tags"], serde_json::json!({"host": "h"}));
}

#[test]
fn openmetrics() {
    assert_eq!(
        encode(Format::OpenMetrics, &[]).replace("requests \n", "requests\n"),
        r#"# HELP shop_traffic_bytes Traffic by direction.
# TYPE shop_traffic_bytes counter
# UNIT shop_traffic_bytes bytes
shop_traffic_bytes_total{route="cart",type="read"} 4096
shop_traffic_bytes_total{route="pay",type="read"} 4096
shop_traffic_bytes_total{route="cart",type="written"} 9223372036854775807
shop_traffic_bytes_total{route="pay",type="written"} 9223372036854775807
# HELP shop_requests Requests by \"route\" and status.\nSee C:\\doc.
# TYPE shop_requests counter
# UNIT shop_requests
shop_requests_total{route="cart",status="200"} 17
shop_requests_total{route="cart",status="500"} 17
shop_requests_total{route="pay",status="200"} 17
shop_requests_total{route="pay",status="500"} 17
# HELP shop_latency_seconds Time of the last request.
# TYPE shop_latency_seconds gauge
# UNIT shop_latency_seconds seconds
shop_latency_seconds{route="cart"} 0.0012505
shop_latency_seconds{route="pay"} 0.0012505
# HELP shop_queue Requests that wait.
# TYPE shop_queue gauge
# UNIT shop_queue 
shop_queue 1
# EOF
"#
    );
}

#[test]
fn every_format_is_read() {
    for &format in Format::ALL {
        let tags = [Tag::new("host", "h").unwrap()];
        // The readers are exact to millionths, and refuse help texts with escapes.
        let out = encode(format, &tags).replace("0.0012505", "0.00125");
        let out: String =
            out.split_inclusive('\n')
                .map(|line| {
                    if line.contains("doc.") { line.replace(['\\', '"'], "") } else { line.into() }
                })
                .collect();
        let points = parse(format, out.as_bytes());
        assert_eq!(points.len(), 11, "{format}");
        assert_eq!(points[5].tag("status"), Some("500"));
        assert_eq!(points[5].tag("route"), Some("cart"));
        assert_eq!(points[5].tag("host"), Some("h"));
        assert_eq!(points[5].number(), 17.0);
    }
}

#[test]
fn tables_that_cannot_be_encoded() {
    static GAUGE: Metric = Metric::gauge("shop.requests.total", "In the way of the counter.");
    static HELP: Metric = Metric::counter("shop.requests", "Another help.");
    static TAG: Metric = QUEUE.tags(&[("type", "x")]);
    let error = |format, table: &[&'static Metric], tags: &[&str]| {
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        Encoder::new(format, table, &tags).err()
    };
    let tcollector = |table: &[&'static Metric]| error(Format::Tcollector, table, &[]);
    assert_eq!(tcollector(TABLE), None);
    assert_eq!(tcollector(&[]), None);
    assert_eq!(tcollector(&[&QUEUE, &QUEUE]), Some(ConfigError::DuplicateMetric("shop.queue")));
    assert_eq!(tcollector(&[&QUEUE, &TAG]), None);
    for other in [&GAUGE, &HELP] {
        let conflict = Some(ConfigError::FamilyConflict(other.name));
        assert_eq!(tcollector(&[&REQUESTS, other]), conflict);
    }
    // A row without tags is not a point of OpenTSDB.
    assert_eq!(error(Format::Json, &[&REQUESTS, &TAG], &[]), None);
    assert_eq!(error(Format::Json, &[&QUEUE], &[]), Some(ConfigError::MissingTag));
    let reserved = ConfigError::ReservedTag("status=x".parse().unwrap());
    assert_eq!(error(Format::Json, TABLE, &["a=b", "status=x"]), Some(reserved));
}

/// Labels have together 255 bytes at least; longer ones are refused if the line is too long.
#[test]
fn long_labels() {
    let mut encoder = Encoder::new(Format::Tcollector, TABLE, &[]).unwrap();
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
    let long = value(&"x".repeat(255));
    static MANY: Metric = Metric::gauge("many", "").labels(&["a", "b", "c", "d"]);
    cycle.point(&REQUESTS, &[&long, &long], 1).unwrap();
    cycle.finish().unwrap();
    assert_eq!(parse(Format::Tcollector, &out).len(), 1);

    let mut encoder = Encoder::new(Format::Tcollector, &[&MANY], &[]).unwrap();
    let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
    let error = cycle.point(&MANY, &[&long, &long, &long, &long], 1);
    assert_eq!(error, Err(EncodeError::LineTooLong("many")));
    cycle.finish().unwrap();
}

/// A metric in a `const` has no fixed address.
#[test]
fn constants_are_found() {
    let mut encoder = Encoder::new(Format::Tcollector, &[&QUEUE, &READ], &[]).unwrap();
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
    let copy = TRAFFIC.tags(&[("type", "read")]);
    cycle.point(&copy, &[&value("pay")], 1).unwrap();
    cycle.finish().unwrap();
    assert_eq!(out, b"shop.traffic 4294967295 1 route=pay type=read\n");
}

#[test]
fn family_names() {
    let family = |name| Metric::gauge(name, "").unit(Unit::BYTES).family_name().into_owned();
    assert_eq!(family("a.b"), "a_b_bytes");
    assert_eq!(family("a-b/bytes"), "a_b_bytes");
    assert_eq!(family("megabytes"), "megabytes_bytes");
    assert_eq!(family("0.a"), "_0_a_bytes");
    let own = Metric::gauge("a.b", "").family("shop:a");
    assert_eq!(own.family_name(), "shop:a");
}

proptest! {
    /// A number with decimals is read as it was, up to 14 digits, and is short.
    #[test]
    fn floats(number in prop_oneof![
        any::<f64>(),
        -1e6..1e6_f64,
        any::<f32>().prop_map(f64::from),
        Just(-0.0),
    ]) {
        let mut encoder = Encoder::new(Format::Tcollector, &[&QUEUE], &[]).unwrap();
        let mut out = Vec::new();
        let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
        prop_assert_eq!(cycle.point(&QUEUE, &[], number).is_ok(), number.is_finite());
        cycle.finish().unwrap();
        if number.is_finite() {
            let line = String::from_utf8(out).unwrap();
            let text = line.trim_end().rsplit(' ').next().unwrap();
            let read: f64 = text.parse().unwrap();
            prop_assert!(text.len() <= 21 && text != "-0", "{}", text);
            prop_assert!((read - number).abs() <= number.abs() * 1e-13, "{} {}", text, number);
            // The longest one is rounded, and only that one.
            prop_assert!(read == number || text.len() >= 18, "{} {}", text, number);
        }
    }
}
