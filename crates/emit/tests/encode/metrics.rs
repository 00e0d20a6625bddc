//! The metric table, and an example of each format.

use std::collections::BTreeSet;

use psstat_emit::metrics::{CollectorSeries, ENTRIES, Entry, Group, Series, TABLE};
use psstat_emit::{Encoder, Format, Tag, TagValue, Timestamp, Value};

use psstat_testproc::formats::{in_alphabet, openmetrics};

/// The series on which users have built graphs and alerts: more may be added, none changed.
const PROMISED: &[(&str, &[&str])] = &[
    (
        "proc.stat.ps.io",
        &["rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"],
    ),
    ("proc.stat.ps.fd", &["open"]),
    ("proc.stat.ps.threads", &[]),
    ("proc.stat.ps.net", &["tcp", "udp", "unix"]),
    ("proc.stat.ps.pcpu", &[]),
    ("proc.stat.ps.cpu", &["user", "system"]),
    ("proc.stat.ps.mem", &["total", "resident", "shared"]),
    ("proc.stat.ps.procs", &[]),
    ("proc.stat.ps.starts", &[]),
    ("proc.stat.ps.exits", &[]),
    ("proc.stat.ps.age", &["oldest", "youngest"]),
    ("proc.stat.ps.fd.ratio", &[]),
    ("proc.stat.ps.state", &["running", "sleeping", "disk", "stopped", "zombie"]),
    ("proc.stat.ps.faults", &["minor", "major"]),
    ("proc.stat.ps.switches", &["voluntary", "involuntary"]),
    ("proc.stat.ps.swap", &[]),
    (
        "proc.stat.ps.tcp",
        &[
            "listen",
            "syn_sent",
            "syn_recv",
            "fin_wait1",
            "fin_wait2",
            "close_wait",
            "last_ack",
            "closing",
        ],
    ),
    ("proc.stat.ps.unread", &["io", "net", "fd", "mem", "cpu"]),
];

#[test]
fn promised_series_exist() {
    let has = |name: &str, kind: Option<&str>| {
        Series::ALL.iter().any(|s| s.metric().name == name && s.type_tag() == kind)
    };
    for &(name, types) in PROMISED {
        assert_eq!(has(name, None), types.is_empty(), "{name}");
        for &kind in types {
            assert!(has(name, Some(kind)), "{name} {kind}");
        }
    }
}

#[test]
fn groups_have_names_and_metrics() {
    for &group in Group::ALL {
        assert_eq!(Group::from_name(group.as_str()), Some(group));
        assert!(ENTRIES.iter().any(|entry| entry.group == Some(group)), "{group:?}");
    }
    let mut groups = ENTRIES.iter().filter_map(|entry| entry.group);
    assert!(groups.all(|group| Group::ALL.contains(&group)));
    assert!(ENTRIES.iter().all(|entry| entry.is_per_image() || entry.group.is_none()));
    assert_eq!(Group::from_name("cpu"), None);
}

#[test]
fn entries_agree_with_their_series() {
    let mut entries: Vec<&Entry> = Vec::new();
    let mut type_tags: Vec<Vec<&str>> = Vec::new();
    let mut table = Vec::new();
    let collector =
        CollectorSeries::ALL.iter().map(|h| (h.entry(), h.metric(), h.type_tag(), false));
    let per_image = Series::ALL.iter().map(|s| (s.entry(), s.metric(), s.type_tag(), true));
    for (entry, metric, kind, per_image) in per_image.chain(collector) {
        assert_eq!(entry.is_per_image(), per_image, "{entry:?}");
        if entries.last() != Some(&entry) {
            entries.push(entry);
            type_tags.push(Vec::new());
        }
        type_tags.last_mut().unwrap().extend(kind);
        table.push(metric);
        let own: Vec<_> = kind.map(|kind| ("type", kind)).into_iter().collect();
        assert_eq!(metric.tags, own);
        assert_eq!(metric.tags(&[]), entry.metric);
    }
    // The series of an entry are adjacent, and the entries in the order of ENTRIES.
    assert_eq!(entries, ENTRIES);
    assert_eq!(table, TABLE);
    for (entry, expected) in ENTRIES.iter().zip(type_tags) {
        assert_eq!(entry.type_tags, expected);
    }
}

#[test]
fn series_are_distinct() {
    let collector = CollectorSeries::ALL.iter().map(|h| (h.metric().name, h.type_tag()));
    let series: Vec<_> =
        Series::ALL.iter().map(|s| (s.metric().name, s.type_tag())).chain(collector).collect();
    let distinct: BTreeSet<_> = series.iter().collect();
    assert_eq!(distinct.len(), series.len());
    // A series without a type would be counted twice by a query that sums all series of a metric.
    for &(name, kind) in &series {
        if kind.is_none() {
            assert_eq!(series.iter().filter(|(other, _)| *other == name).count(), 1, "{name}");
        }
    }
}

#[test]
fn names_families_and_help() {
    let mut families = BTreeSet::new();
    for entry in ENTRIES {
        let metric = &entry.metric;
        let is_collector = metric.name.starts_with("proc.stat.ps.collector.");
        assert!(
            metric.name.starts_with("proc.stat.ps.") && is_collector != entry.is_per_image(),
            "{metric:?}"
        );
        assert!(in_alphabet(metric.name));
        assert!(entry.type_tags.iter().all(|kind| in_alphabet(kind)));

        let family = metric.family_name();
        assert!(families.insert(family.clone()), "{metric:?}");
        assert!(family.starts_with(&metric.name.replace('.', "_")), "{metric:?}");
        assert!(!family.ends_with("_total"), "{metric:?}");
        if let Some(unit) = metric.unit.base() {
            assert!(family.ends_with(&format!("_{unit}")), "{metric:?}");
        }

        let plain = |c: char| c == ' ' || c.is_ascii_graphic() && c != '\\' && c != '"';
        assert!(metric.help.chars().all(plain) && metric.help.ends_with('.'), "{metric:?}");
    }
}

/// A small cycle, with one or two series of each kind.
fn small_cycle(format: Format) -> String {
    let mut encoder = Encoder::new(format, TABLE, &[Tag::new("cluster", "ams3").unwrap()]).unwrap();
    let images = ["fi/lrh", "java"].map(|name| TagValue::new(name).unwrap());
    let mut out = Vec::new();
    let time = Timestamp::from_unix(1_700_000_000).unwrap();
    let mut cycle = encoder.begin(&mut out, time).unwrap();
    for image in &images {
        cycle.point(Series::IoRchar.metric(), &[image], 4096).unwrap();
    }
    cycle.point(Series::IoWchar.metric(), &[&images[0]], u64::MAX).unwrap();
    cycle.point(Series::IoCancelledWriteBytes.metric(), &[&images[0]], 7).unwrap();
    cycle.point(Series::Pcpu.metric(), &[&images[1]], Value::from_thousandths(199_003)).unwrap();
    cycle.point(CollectorSeries::Cpu.metric(), &[], Value::from_thousandths(-20)).unwrap();
    cycle.point(CollectorSeries::DeniedNs.metric(), &[], 0).unwrap();
    cycle.finish().unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn tcollector_format() {
    assert_eq!(
        small_cycle(Format::Tcollector),
        "\
proc.stat.ps.io 1700000000 4096 image=fi/lrh type=rchar cluster=ams3
proc.stat.ps.io 1700000000 4096 image=java type=rchar cluster=ams3
proc.stat.ps.io 1700000000 9223372036854775807 image=fi/lrh type=wchar cluster=ams3
proc.stat.ps.io 1700000000 7 image=fi/lrh type=cancelled_write_bytes cluster=ams3
proc.stat.ps.pcpu 1700000000 199.003 image=java cluster=ams3
proc.stat.ps.collector.cpu 1700000000 -0.02 cluster=ams3
proc.stat.ps.collector.denied 1700000000 0 type=ns cluster=ams3
"
    );
}

#[test]
fn json_format() {
    let [first, second, rest] = {
        let text = small_cycle(Format::Json);
        let mut points = text.splitn(3, "},{").map(str::to_owned);
        std::array::from_fn(|_| points.next().unwrap())
    };
    assert_eq!(
        first,
        r#"[{"metric":"proc.stat.ps.io","timestamp":1700000000,"value":4096,"tags":{"image":"fi/lrh","type":"rchar","cluster":"ams3"}"#
    );
    assert_eq!(second, first.replace("[{", "").replace("fi/lrh", "java"));
    assert!(
        rest.ends_with(
            r#"{"metric":"proc.stat.ps.collector.denied","timestamp":1700000000,"value":0,"tags":{"type":"ns","cluster":"ams3"}}]
"#
        ),
        "{rest}"
    );
}

#[test]
fn openmetrics_format() {
    let text = small_cycle(Format::OpenMetrics);
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
    assert_eq!(
        samples.join("\n").replace("denied \n", "denied\n"),
        r#"# TYPE proc_stat_ps_io_bytes counter
# UNIT proc_stat_ps_io_bytes bytes
proc_stat_ps_io_bytes_total{image="fi/lrh",type="rchar",cluster="ams3"} 4096
proc_stat_ps_io_bytes_total{image="java",type="rchar",cluster="ams3"} 4096
proc_stat_ps_io_bytes_total{image="fi/lrh",type="wchar",cluster="ams3"} 9223372036854775807
proc_stat_ps_io_bytes_total{image="fi/lrh",type="cancelled_write_bytes",cluster="ams3"} 7
# TYPE proc_stat_ps_pcpu_ratio gauge
# UNIT proc_stat_ps_pcpu_ratio ratio
proc_stat_ps_pcpu_ratio{image="java",cluster="ams3"} 1.99003
# TYPE proc_stat_ps_collector_cpu_seconds gauge
# UNIT proc_stat_ps_collector_cpu_seconds seconds
proc_stat_ps_collector_cpu_seconds{cluster="ams3"} -0.00002
# TYPE proc_stat_ps_collector_denied gauge
# UNIT proc_stat_ps_collector_denied
proc_stat_ps_collector_denied{type="ns",cluster="ams3"} 0
# EOF"#
    );
}

#[test]
fn prometheus_format() {
    let text = small_cycle(Format::Prometheus);
    let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
    assert_eq!(
        samples[..4].join("\n"),
        r#"# TYPE proc_stat_ps_io_bytes_total counter
proc_stat_ps_io_bytes_total{image="fi/lrh",type="rchar",cluster="ams3"} 4096
proc_stat_ps_io_bytes_total{image="java",type="rchar",cluster="ams3"} 4096
proc_stat_ps_io_bytes_total{image="fi/lrh",type="wchar",cluster="ams3"} 9223372036854775807"#
    );
    assert!(text.contains("# HELP proc_stat_ps_io_bytes_total Bytes read"), "{text}");
    assert!(!text.contains("UNIT") && !text.contains("EOF"), "{text}");
}

#[test]
fn influx_format() {
    assert_eq!(
        small_cycle(Format::Influx),
        "\
proc.stat.ps.io,image=fi/lrh,type=rchar,cluster=ams3 value=4096i 1700000000000000000
proc.stat.ps.io,image=java,type=rchar,cluster=ams3 value=4096i 1700000000000000000
proc.stat.ps.io,image=fi/lrh,type=wchar,cluster=ams3 value=9223372036854775807i 1700000000000000000
proc.stat.ps.io,image=fi/lrh,type=cancelled_write_bytes,cluster=ams3 value=7i 1700000000000000000
proc.stat.ps.pcpu,image=java,cluster=ams3 value=199.003 1700000000000000000
proc.stat.ps.collector.cpu,cluster=ams3 value=-0.02 1700000000000000000
proc.stat.ps.collector.denied,type=ns,cluster=ams3 value=0i 1700000000000000000
"
    );
}

#[test]
fn build_info_is_in_expositions() {
    for &format in Format::ALL {
        let encode = |encoder: Encoder| {
            let mut encoder = encoder;
            let mut out = Vec::new();
            let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
            cycle.point(CollectorSeries::Rules.metric(), &[], 3).unwrap();
            cycle.finish().unwrap();
            out
        };
        let encoder = Encoder::new(format, TABLE, &[Tag::new("host", "a").unwrap()]).unwrap();
        let plain = encode(encoder.clone());
        let with = encode(encoder.with_build_info("psstat", "1.2.3-rc.1+x"));
        let points = match format {
            Format::OpenMetrics => openmetrics::parse(&with).unwrap(),
            Format::Prometheus => openmetrics::parse_prometheus(&with).unwrap(),
            _ => {
                assert_eq!(with, plain);
                continue;
            }
        };
        assert_eq!(points.len(), 2);
        assert_eq!(points[0].metric, "psstat_build_info");
        assert_eq!(points[0].tag("version"), Some("1.2.3-rc.1+x"));
        assert_eq!(points[0].number(), 1.0);
    }
}
