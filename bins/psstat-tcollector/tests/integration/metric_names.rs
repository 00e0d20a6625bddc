//! The names that docs/install.md has an operator create are the catalogue's.

use std::collections::BTreeSet;

use psstat_emit::metrics;

/// OpenTSDB refuses points of a name that it was not told of.
#[test]
fn the_page_on_installing_names_every_metric() {
    let page = include_str!("../../../../docs/install.md");
    let (_, list) = page.split_once("tsdb mkmetric").expect("mkmetric");
    let (list, _) = list.split_once("```").unwrap();
    let named: Vec<&str> = list.split([' ', '\\', '\n']).filter(|word| !word.is_empty()).collect();
    let expected: BTreeSet<&str> = metrics::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(named.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(named.len(), expected.len(), "a name is there twice");
}
