//! What goes in comes out: metric, time, tags and value, in every format.

use proptest::prelude::*;
use psstat_emit::Format;

use crate::cycles::{LABEL, TSD_KEY, plan};
use psstat_testproc::formats::{Point, json, openmetrics, tsd};

proptest! {
    #[test]
    fn tcollector(plan in plan(TSD_KEY)) {
        let points = tsd::parse(&plan.encode(Format::Tcollector)).unwrap();
        prop_assert_eq!(points, plan.expect(true, |metric| metric.name));
    }

    #[test]
    fn json(mut plan in plan(TSD_KEY)) {
        if plan.tags.is_empty() {
            plan.tags.push("host=a.b".parse().unwrap());
        }
        let points = json::parse(&plan.encode(Format::Json)).unwrap();
        assert_nearly_equal(&points, &plan.expect(true, |metric| metric.name));
    }

    #[test]
    fn openmetrics(plan in plan(LABEL)) {
        let points = openmetrics::parse(&plan.encode(Format::OpenMetrics)).unwrap();
        prop_assert_eq!(points, plan.expect(false, |metric| metric.family));
    }
}

/// Equal but for what a reader that holds fractions as `f64` must lose.
pub(crate) fn assert_nearly_equal(got: &[Point], expected: &[Point]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        let lost = (got.value - expected.value).abs();
        assert!(lost <= expected.value.abs() >> 50, "{got:?} {expected:?}");
        let got = Point { value: expected.value, ..got.clone() };
        assert_eq!(&got, expected);
    }
}
