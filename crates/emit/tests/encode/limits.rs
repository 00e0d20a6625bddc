//! The encoder rejects extra tags that OpenTSDB would reject when it is created; with accepted
//! tags, any points can be encoded.

use proptest::prelude::*;
use psstat_emit::metrics::{ALL, Kind};
use psstat_emit::{
    CollectorSeries, Encoder, EncoderError, Format, ImageName, MAX_TAG_VALUE_LEN, Series, Tag,
    Timestamp, Value,
};

use psstat_testproc::formats::{json, tsd};

const FORMATS: [Format; 3] = [Format::Tcollector, Format::Json, Format::OpenMetrics];

fn tags(texts: &[&str]) -> Vec<Tag> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The length of the longest possible line of a point with these tags.
fn longest_line(tags: &[Tag]) -> usize {
    let image = "i".repeat(MAX_TAG_VALUE_LEN);
    let extra: String = tags.iter().map(|tag| format!(" {tag}")).collect();
    let mut longest = 0;
    for metric in ALL {
        for kind in metric.type_tags.iter().map(|t| format!(" type={t}")).chain([String::new()]) {
            let image = if metric.per_image { format!(" image={image}") } else { String::new() };
            let line =
                format!("{} 4294967295 -9223372036854775.808{image}{kind}{extra}\n", metric.name);
            longest = longest.max(line.len());
        }
    }
    longest
}

/// A cycle of every series with the longest image, time and values.
fn widest_cycle(format: Format, tags: &[Tag]) -> Vec<u8> {
    let mut encoder = Encoder::new(format, tags).unwrap();
    let image = ImageName::new(&"i".repeat(MAX_TAG_VALUE_LEN)).unwrap();
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
    let widest = |kind| match kind {
        Kind::Counter => Value::from_thousandths(i64::MAX),
        Kind::Gauge => Value::from_thousandths(i64::MIN),
    };
    for &series in Series::ALL {
        cycle.point(series, &image, widest(series.metric().kind)).unwrap();
    }
    for &series in CollectorSeries::ALL {
        cycle.collector_point(series, widest(series.metric().kind)).unwrap();
    }
    cycle.finish();
    out
}

proptest! {
    /// Long tags: the encoder is rejected if and only if a line could be too long.
    #[test]
    fn length(values in prop::collection::vec("[a-z]{80,255}", 1..=5)) {
        let tags: Vec<Tag> =
            values.iter().zip(0..).map(|(v, n)| Tag::new(&format!("k{n}"), v).unwrap()).collect();
        let longest = longest_line(&tags);
        match Encoder::new(Format::Tcollector, &tags) {
            Ok(_) => {
                prop_assert!(longest < 1000);
                tsd::parse(&widest_cycle(Format::Tcollector, &tags)).unwrap();
            }
            Err(why) => prop_assert_eq!(why, EncoderError::TagsTooLong { excess: longest - 999 }),
        }
    }
}

#[test]
fn length_to_the_byte() {
    // Three tags, the last of which takes the rest of 999 bytes.
    let with = |last: usize| {
        [("a", MAX_TAG_VALUE_LEN), ("b", MAX_TAG_VALUE_LEN), ("c", last)]
            .map(|(key, length)| Tag::new(key, &key.repeat(length)).unwrap())
    };
    let remaining = 999 - longest_line(&with(1)) + 1;
    assert_eq!(longest_line(&with(remaining)), 999);

    let cycle = widest_cycle(Format::Tcollector, &with(remaining));
    tsd::parse(&cycle).unwrap();
    let printed = cycle.split(|&byte| byte == b'\n').map(|line| line.len() + 1).max();
    // The longest is that of a counter, which has no sign.
    assert_eq!(printed, Some(998));
    let error = Encoder::new(Format::Tcollector, &with(remaining + 1)).unwrap_err();
    assert_eq!(error, EncoderError::TagsTooLong { excess: 1 });
}

#[test]
fn number_of_tags() {
    let five = tags(&["a=1", "b=1", "c=1", "d=1", "e=1"]);
    let with_host = [five.clone(), tags(&["host=h"])].concat();
    let six = [five.clone(), tags(&["f=1"])].concat();
    for format in FORMATS {
        assert!(Encoder::new(format, &five).is_ok());
        assert!(Encoder::new(format, &with_host).is_ok());
        let error = Encoder::new(format, &six).unwrap_err();
        assert_eq!(error, EncoderError::TooManyTags { count: 6 });
    }
    tsd::parse(&widest_cycle(Format::Tcollector, &with_host)).unwrap();
    tsd::parse(&widest_cycle(Format::Tcollector, &five)).unwrap();
}

#[test]
fn keys() {
    for format in FORMATS {
        let rejected = |texts: &[&str]| Encoder::new(format, &tags(texts)).unwrap_err();
        let image = "image=x".parse().unwrap();
        assert_eq!(rejected(&["a=b", "image=x"]), EncoderError::ReservedTag(image));
        let kind = "type=x".parse().unwrap();
        assert_eq!(rejected(&["type=x"]), EncoderError::ReservedTag(kind));
        let second = "a=c".parse().unwrap();
        assert_eq!(rejected(&["a=b", "d=e", "a=c"]), EncoderError::DuplicateTag(second));
    }
}

#[test]
fn json_needs_a_tag() {
    assert_eq!(Encoder::new(Format::Json, &[]).unwrap_err(), EncoderError::MissingTag);
    assert!(Encoder::new(Format::Tcollector, &[]).is_ok());
    assert!(Encoder::new(Format::OpenMetrics, &[]).is_ok());
}

#[test]
fn openmetrics_needs_label_names() {
    for key in ["a-b", "a.b", "a/b", "1a", "__a", "-"] {
        let tag = Tag::new(key, "v").unwrap();
        let only = [tag.clone()];
        let error = Encoder::new(Format::OpenMetrics, &only).unwrap_err();
        assert_eq!(error, EncoderError::InvalidLabelName(tag));
        assert!(Encoder::new(Format::Tcollector, &only).is_ok());
    }
    for key in ["a", "_a", "A1_", "_"] {
        assert!(Encoder::new(Format::OpenMetrics, &[Tag::new(key, "v").unwrap()]).is_ok());
    }
}

/// A default OpenTSDB rejects a body of more than 8,192 bytes.
#[test]
fn json_arrays_are_small_enough_for_one_request() {
    for (name_len, max_points) in [(3, 50), (250, 50)] {
        let mut encoder =
            Encoder::new(Format::Json, &[Tag::new("host", &"h".repeat(40)).unwrap()]).unwrap();
        let images: Vec<ImageName> = (0..200)
            .map(|number| ImageName::new(&format!("{number:0name_len$}")).unwrap())
            .collect();
        let mut out = Vec::new();
        let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
        for image in &images {
            cycle.point(Series::IoCancelledWriteBytes, image, Value::from_i64(i64::MAX)).unwrap();
        }
        cycle.finish();
        assert_eq!(json::parse(&out).unwrap().len(), 200);
        let lines: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
        let points = |line: &&str| line.matches("\"metric\"").count();
        assert!(lines.iter().map(points).all(|count| count <= max_points));
        // Full, except for the last one.
        let (last, full) = lines.split_last().unwrap();
        assert!(points(last) > 0);
        assert!(full.iter().all(|line| points(line) == max_points || line.len() > 7_500));
    }
}
