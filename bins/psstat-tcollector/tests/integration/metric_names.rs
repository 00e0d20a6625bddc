//! docs/install.md lists all metrics that an operator has to create.

use std::collections::BTreeSet;

use psstat_emit::metrics;

/// The arguments of `tsdb mkmetric` in docs/install.md.
pub(crate) fn listed() -> Vec<&'static str> {
    let page = include_str!("../../../../docs/install.md");
    let (_, list) = page.split_once("tsdb mkmetric").expect("mkmetric");
    let (list, _) = list.split_once("```").unwrap();
    list.split([' ', '\\', '\n']).filter(|word| !word.is_empty()).collect()
}

/// OpenTSDB rejects points of metrics that were not created.
#[test]
fn install_page_lists_every_metric() {
    let named = listed();
    let expected: BTreeSet<&str> = metrics::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(named.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(named.len(), expected.len(), "a name is there twice");
}
