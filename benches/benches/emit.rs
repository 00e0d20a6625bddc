//! The encoding of a cycle of 50 images in each format. The points in the output are checked before
//! anything is measured.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use psstat_emit::metrics::{CollectorSeries, Series, TABLE};
use psstat_emit::{Encoder, Format, Tag, TagValue, Timestamp, Value};

const IMAGES: usize = 50;
const POINTS: usize = IMAGES * Series::ALL.len() + CollectorSeries::ALL.len();

fn images() -> Vec<TagValue> {
    (0..IMAGES).map(|number| TagValue::new(format!("service/image-{number:02}")).unwrap()).collect()
}

/// A different value for each point, of a typical size.
fn value(series: usize, image: usize) -> u64 {
    (series as u64 + 1) * 1_000_003 * (image as u64 + 7)
}

fn cycle(encoder: &mut Encoder, images: &[TagValue], out: &mut Vec<u8>, time: i64) {
    out.clear();
    let mut cycle = encoder.begin(out, Timestamp::from_unix(time).unwrap()).unwrap();
    for (number, &series) in Series::ALL.iter().enumerate() {
        for (at, image) in images.iter().enumerate() {
            let value = match series {
                Series::Pcpu | Series::CpuUser | Series::CpuSystem => {
                    Value::from_thousandths(value(number, at).cast_signed())
                }
                _ => Value::from(value(number, at)),
            };
            cycle.point(series.metric(), &[image], value).unwrap();
        }
    }
    for &health in CollectorSeries::ALL {
        cycle.point(health.metric(), &[], 7).unwrap();
    }
    cycle.finish().unwrap();
}

fn count(text: &str, pattern: &str) -> usize {
    text.matches(pattern).count()
}

fn check(format: Format, out: &[u8]) {
    let text = str::from_utf8(out).unwrap();
    let fd = Series::ALL.iter().position(|&series| series == Series::FdOpen).unwrap();
    let fd = value(fd, 31);
    let (points, line) = match format {
        Format::Tcollector => (
            text.lines().count(),
            format!("proc.stat.ps.fd 1700000000 {fd} image=service/image-31 type=open host=h\n"),
        ),
        Format::Json => (
            count(text, r#""metric":"#),
            format!(
                r#"{{"metric":"proc.stat.ps.fd","timestamp":1700000000,"value":{fd},"tags":{{"image":"service/image-31","type":"open","host":"h"}}}}"#
            ),
        ),
        Format::Influx => (
            text.lines().count(),
            format!(
                "proc.stat.ps.fd,image=service/image-31,type=open,host=h value={fd}i 1700000000000000000\n"
            ),
        ),
        _ => (
            text.lines().filter(|line| !line.starts_with('#')).count(),
            format!("{{image=\"service/image-31\",type=\"open\",host=\"h\"}} {fd}\n"),
        ),
    };
    assert_eq!(points, POINTS);
    assert_eq!(count(text, &line), 1, "{line}");
}

fn encode(criterion: &mut Criterion) {
    let images = images();
    let tags = ["host=h".parse::<Tag>().unwrap()];
    let mut group = criterion.benchmark_group("encode a cycle of 50 images");
    group.throughput(Throughput::Elements(POINTS as u64));
    for &format in Format::ALL {
        let mut encoder = Encoder::new(format, TABLE, &tags).unwrap();
        let mut out = Vec::new();
        let mut time = 1_700_000_000;
        cycle(&mut encoder, &images, &mut out, time);
        check(format, &out);
        group.bench_function(format.as_str(), |bencher| {
            bencher.iter(|| {
                time += 1;
                cycle(&mut encoder, black_box(&images), &mut out, time);
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
