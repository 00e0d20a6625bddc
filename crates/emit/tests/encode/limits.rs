//! The encoder rejects extra tags that OpenTSDB would reject when it is created; with accepted
//! tags, any points can be encoded.

use proptest::prelude::*;
use psstat_emit::metrics::{Series, TABLE};
use psstat_emit::{
    ConfigError, Encoder, Format, Kind, MAX_TAG_LEN, Tag, TagValue, Timestamp, Value,
};

use psstat_testproc::formats::{json, tsd};

const FORMATS: [Format; 3] = [Format::Tcollector, Format::Json, Format::OpenMetrics];

fn tags(texts: &[&str]) -> Vec<Tag> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The length of the longest possible line of a point with these tags.
fn longest_line(tags: &[Tag]) -> usize {
    let image = "i".repeat(MAX_TAG_LEN);
    let extra: String = tags.iter().map(|tag| format!(" {tag}")).collect();
    let mut longest = 0;
    for metric in TABLE {
        let image: String = metric.labels.iter().map(|key| format!(" {key}={image}")).collect();
        let own: String =
            metric.tags.iter().map(|(key, value)| format!(" {key}={value}")).collect();
        let line = format!("{} 4294967295 -9223372036854775.808{image}{own}{extra}\n", metric.name);
        longest = longest.max(line.len());
    }
    longest
}

/// A cycle of every series with the longest image, time and values.
fn widest_cycle(format: Format, tags: &[Tag]) -> Vec<u8> {
    let mut encoder = Encoder::new(format, TABLE, tags).unwrap();
    let image = TagValue::new("i".repeat(MAX_TAG_LEN)).unwrap();
    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
    for metric in TABLE {
        let widest = if metric.kind == Kind::Counter { i64::MAX } else { i64::MIN };
        let labels: Vec<&TagValue> = metric.labels.iter().map(|_| &image).collect();
        cycle.point(metric, &labels, Value::from_thousandths(widest)).unwrap();
    }
    cycle.finish().unwrap();
    out
}

proptest! {
    /// Long tags: the encoder is rejected if and only if a line could be too long.
    #[test]
    fn length(values in prop::collection::vec("[a-z]{80,255}", 1..=5)) {
        let tags: Vec<Tag> =
            values.iter().zip(0..).map(|(v, n)| Tag::new(&format!("k{n}"), v).unwrap()).collect();
        let longest = longest_line(&tags);
        match Encoder::new(Format::Tcollector, TABLE, &tags) {
            Ok(_) => {
                prop_assert!(longest < 1000);
                tsd::parse(&widest_cycle(Format::Tcollector, &tags)).unwrap();
            }
            Err(why) => prop_assert_eq!(why, ConfigError::TagsTooLong { excess: longest - 999 }),
        }
    }
}

#[test]
fn length_to_the_byte() {
    // Three tags, the last of which takes the rest of 999 bytes.
    let with = |last: usize| {
        [("a", MAX_TAG_LEN), ("b", MAX_TAG_LEN), ("c", last)]
            .map(|(key, length)| Tag::new(key, &key.repeat(length)).unwrap())
    };
    let remaining = 999 - longest_line(&with(1)) + 1;
    assert_eq!(longest_line(&with(remaining)), 999);

    let cycle = widest_cycle(Format::Tcollector, &with(remaining));
    tsd::parse(&cycle).unwrap();
    let printed = cycle.split(|&byte| byte == b'\n').map(|line| line.len() + 1).max();
    // The longest is that of a counter, which has no sign.
    assert_eq!(printed, Some(998));
    let error = Encoder::new(Format::Tcollector, TABLE, &with(remaining + 1)).unwrap_err();
    assert_eq!(error, ConfigError::TagsTooLong { excess: 1 });
}

#[test]
fn number_of_tags() {
    let five = tags(&["a=1", "b=1", "c=1", "d=1", "e=1"]);
    let with_host = [five.clone(), tags(&["host=h"])].concat();
    let six = [five.clone(), tags(&["f=1"])].concat();
    for format in FORMATS {
        assert!(Encoder::new(format, TABLE, &five).is_ok());
        assert!(Encoder::new(format, TABLE, &with_host).is_ok());
        let error = Encoder::new(format, TABLE, &six).unwrap_err();
        assert_eq!(error, ConfigError::TooManyTags { count: 6, allowed: 5 });
    }
    tsd::parse(&widest_cycle(Format::Tcollector, &with_host)).unwrap();
    tsd::parse(&widest_cycle(Format::Tcollector, &five)).unwrap();
}

#[test]
fn keys() {
    for format in FORMATS {
        let rejected = |texts: &[&str]| Encoder::new(format, TABLE, &tags(texts)).unwrap_err();
        let image = "image=x".parse().unwrap();
        assert_eq!(rejected(&["a=b", "image=x"]), ConfigError::ReservedTag(image));
        let kind = "type=x".parse().unwrap();
        assert_eq!(rejected(&["type=x"]), ConfigError::ReservedTag(kind));
        let second = "a=c".parse().unwrap();
        assert_eq!(rejected(&["a=b", "d=e", "a=c"]), ConfigError::DuplicateTag(second));
    }
}

#[test]
fn json_needs_a_tag() {
    assert_eq!(Encoder::new(Format::Json, TABLE, &[]).unwrap_err(), ConfigError::MissingTag);
    assert!(Encoder::new(Format::Tcollector, TABLE, &[]).is_ok());
    assert!(Encoder::new(Format::OpenMetrics, TABLE, &[]).is_ok());
}

#[test]
fn openmetrics_needs_label_names() {
    for key in ["a-b", "a.b", "a/b", "1a", "__a", "-"] {
        let tag = Tag::new(key, "v").unwrap();
        let only = [tag.clone()];
        let error = Encoder::new(Format::OpenMetrics, TABLE, &only).unwrap_err();
        assert_eq!(error, ConfigError::InvalidLabelName(tag));
        assert!(Encoder::new(Format::Tcollector, TABLE, &only).is_ok());
    }
    for key in ["a", "_a", "A1_", "_"] {
        assert!(Encoder::new(Format::OpenMetrics, TABLE, &[Tag::new(key, "v").unwrap()]).is_ok());
    }
}

/// A default OpenTSDB rejects a body of more than 8,192 bytes.
#[test]
fn json_arrays_are_small_enough_for_one_request() {
    for (name_len, max_points) in [(3, 50), (250, 50)] {
        let mut encoder =
            Encoder::new(Format::Json, TABLE, &[Tag::new("host", &"h".repeat(40)).unwrap()])
                .unwrap();
        let images: Vec<TagValue> =
            (0..200).map(|number| TagValue::new(format!("{number:0name_len$}")).unwrap()).collect();
        let mut out = Vec::new();
        let mut cycle = encoder.begin(&mut out, Timestamp::MAX).unwrap();
        for image in &images {
            cycle.point(Series::IoCancelledWriteBytes.metric(), &[image], i64::MAX).unwrap();
        }
        cycle.finish().unwrap();
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
