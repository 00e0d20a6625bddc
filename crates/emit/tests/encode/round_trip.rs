//! A reader finds the points that were encoded, in every format: the checks of the corpus on
//! random cycles.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use psstat_corpus::Target;
use psstat_emit::metrics::TABLE;

/// Keys that a TSD accepts.
const TSD_KEY: &str = "[-_./a-zA-Z0-9]{1,20}";
/// Keys that OpenMetrics accepts.
pub(crate) const LABEL: &str = "_?[a-zA-Z][a-zA-Z0-9_]{0,18}";

/// A cycle as the corpus reads it: a time, tags, images, points.
pub(crate) fn cycle(key: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let tag = (key, "[-_./a-zA-Z0-9]{1,60}").prop_map(|(key, value)| format!("{key}={value}"));
    let host = prop::option::of("host=[-_./a-zA-Z0-9]{1,60}");
    let time = prop_oneof![10..=u32::MAX, Just(10), Just(u32::MAX)];
    let images = btree_set("[-_./a-zA-Z0-9]{1,30}|[-_./a-zA-Z0-9]{250,255}", 4);
    (vec(tag, 0..=5), host, time, images, points()).prop_map(
        |(tags, host, time, images, points)| {
            let texts = |texts: Vec<String>| {
                let count = u8::try_from(texts.len()).unwrap();
                let text =
                    |text: String| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
                [vec![count], texts.into_iter().flat_map(text).collect()].concat()
            };
            let tags = texts(tags.into_iter().chain(host).collect());
            let images = texts(images.into_iter().collect());
            [&time.to_le_bytes()[..], &tags, &images, &points].concat()
        },
    )
}

/// Points in the order of the format or in any order: the series and the kind of its value, the
/// image, the value.
fn points() -> impl Strategy<Value = Vec<u8>> {
    let choice = 0..2 * u8::try_from(TABLE.len()).unwrap();
    let edge = prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), -2000..2000_i64];
    let point = (choice, 0..4_u8, prop_oneof![any::<i64>(), edge]);
    (vec(point, 0..70), any::<bool>()).prop_map(|(mut points, is_sorted)| {
        if is_sorted {
            points.sort_unstable();
        }
        let bytes = |(choice, image, value): (u8, u8, i64)| {
            [&[choice, image][..], &value.to_le_bytes()].concat()
        };
        points.into_iter().flat_map(bytes).collect()
    })
}

fn check(format: &str, cycle: &[u8]) {
    (Target::named(format).unwrap().check)(cycle);
}

proptest! {
    #[test]
    fn tcollector(cycle in cycle(TSD_KEY)) {
        check("tcollector", &cycle);
    }

    #[test]
    fn json(cycle in cycle(TSD_KEY)) {
        check("json", &cycle);
    }

    #[test]
    fn influx(cycle in cycle(TSD_KEY)) {
        check("influx", &cycle);
    }

    #[test]
    fn prometheus(cycle in cycle(LABEL)) {
        check("prometheus", &cycle);
    }

    #[test]
    fn openmetrics(cycle in cycle(LABEL)) {
        check("openmetrics", &cycle);
    }
}
