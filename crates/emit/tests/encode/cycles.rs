//! Random cycles, and what a reader should make of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use psstat_emit::metrics::{Kind, Metric};
use psstat_emit::{
    CollectorSeries, Encoder, Format, ImageName, PointError, Series, Tag, Timestamp, Value,
};

use psstat_testproc::formats::Point;

/// A cycle to encode: which series of which image have a value, by index.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) tags: Vec<Tag>,
    pub(crate) time: u32,
    pub(crate) images: Vec<ImageName>,
    pub(crate) points: BTreeMap<(usize, usize), Number>,
    pub(crate) health: BTreeMap<usize, Number>,
}

/// A value as it was drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    Whole(i64),
    Thousandths(i64),
}

impl Number {
    pub(crate) fn value(self) -> Value {
        match self {
            Number::Whole(number) => Value::from_i64(number),
            Number::Thousandths(number) => Value::from_thousandths(number),
        }
    }

    fn thousandths(self) -> i128 {
        match self {
            Number::Whole(number) => i128::from(number) * 1000,
            Number::Thousandths(number) => number.into(),
        }
    }
}

/// What a TSD takes as a tag's key.
pub(crate) const TSD_KEY: &str = "[-_./a-zA-Z0-9]{1,20}";
/// What OpenMetrics takes as a label's name.
pub(crate) const LABEL: &str = "_?[a-zA-Z][a-zA-Z0-9_]{0,18}";

pub(crate) fn plan(key: &'static str) -> impl Strategy<Value = Plan> {
    let tag = (key, "[-_./a-zA-Z0-9]{1,60}");
    let points = prop::collection::btree_map((0..Series::ALL.len(), 0..4_usize), value(), 0..40);
    (
        prop::collection::vec(tag, 0..=5),
        prop::option::of("[-_./a-zA-Z0-9]{1,60}"),
        prop_oneof![10..=u32::MAX, Just(10), Just(u32::MAX)],
        prop::collection::btree_set("[-_./a-zA-Z0-9]{1,30}|[-_./a-zA-Z0-9]{250,255}", 4),
        points,
        prop::collection::btree_map(0..CollectorSeries::ALL.len(), value(), 0..30),
    )
        .prop_map(|(tags, host, time, images, points, health)| Plan {
            tags: distinct(tags, host),
            time,
            images: images.iter().map(|name| ImageName::new(name).unwrap()).collect(),
            points,
            health,
        })
}

fn distinct(tags: Vec<(String, String)>, host: Option<String>) -> Vec<Tag> {
    let mut seen = BTreeSet::from(["image".to_owned(), "type".to_owned()]);
    tags.into_iter()
        .chain(host.map(|host| ("host".to_owned(), host)))
        .filter(|(key, _)| seen.insert(key.clone()))
        .map(|(key, value)| Tag::new(&key, &value).unwrap())
        .collect()
}

pub(crate) fn value() -> impl Strategy<Value = Number> {
    let edge = prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), -2000..2000_i64];
    let number = prop_oneof![any::<i64>(), edge];
    (number, any::<bool>())
        .prop_map(|(n, milli)| if milli { Number::Thousandths(n) } else { Number::Whole(n) })
}

impl Plan {
    /// The encoder's output; counters below zero are refused on the way.
    pub(crate) fn encode(&self, format: Format) -> Vec<u8> {
        let mut encoder = Encoder::new(format, &self.tags).unwrap();
        let mut out = b"left from before".to_vec();
        let time = Timestamp::from_unix(self.time.into()).unwrap();
        let mut cycle = encoder.begin(&mut out, time).unwrap();
        for (&(series, image), &value) in &self.points {
            let series = Series::ALL[series];
            let written = cycle.point(series, &self.images[image], value.value());
            check(series.metric(), value, written);
        }
        for (&health, &value) in &self.health {
            let health = CollectorSeries::ALL[health];
            let written = cycle.collector_point(health, value.value());
            check(health.metric(), value, written);
        }
        cycle.finish();
        out
    }

    /// The points that a reader should see, `name` saying which name it sees.
    pub(crate) fn expect(
        &self,
        time: bool,
        name: fn(&'static Metric) -> &'static str,
    ) -> Vec<Point> {
        let point = |metric, image: Option<&str>, kind: Option<&str>, value| {
            let own = [("image", image), ("type", kind)];
            let own = own.iter().filter_map(|&(key, value)| Some((key.into(), value?.into())));
            let extra = self.tags.iter().map(|tag| (tag.key().into(), tag.value().into()));
            Point {
                metric: name(metric).into(),
                time: time.then_some(self.time.into()),
                value: Number::thousandths(value),
                tags: own.chain(extra).collect(),
            }
        };
        let mut points = Vec::new();
        for (&(series, image), &value) in &self.points {
            let series = Series::ALL[series];
            if can_be(series.metric(), value) {
                let image = self.images[image].as_str();
                points.push(point(series.metric(), Some(image), series.type_tag(), value));
            }
        }
        for (&health, &value) in &self.health {
            let health = CollectorSeries::ALL[health];
            if can_be(health.metric(), value) {
                points.push(point(health.metric(), None, health.type_tag(), value));
            }
        }
        points
    }
}

fn check(metric: &Metric, value: Number, written: Result<(), PointError>) {
    if can_be(metric, value) {
        assert_eq!(written, Ok(()));
    } else {
        assert_eq!(written, Err(PointError::NegativeCounter(metric.name)));
    }
}

fn can_be(metric: &Metric, value: Number) -> bool {
    metric.kind == Kind::Gauge || value.thousandths() >= 0
}
