//! docs/install.md lists all metrics that an operator has to create.

use std::collections::BTreeSet;

use psstat_emit::{MAX_TAG_LEN, TagValue, metrics};
use psstat_matcher::ImageName;

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
    let expected: BTreeSet<&str> = metrics::TABLE.iter().map(|metric| metric.name).collect();
    assert_eq!(named.iter().copied().collect::<BTreeSet<_>>(), expected);
    assert_eq!(named.len(), expected.len(), "a name is there twice");
}

/// The only conversion between the crates' types of names.
#[test]
fn every_image_name_is_a_tag_value() {
    const { assert!(ImageName::MAX_LEN <= MAX_TAG_LEN) };
    for character in (0..=0x17f).filter_map(char::from_u32) {
        for name in [character.to_string(), character.to_string().repeat(ImageName::MAX_LEN)] {
            if name.parse::<ImageName>().is_ok() {
                TagValue::new(name).unwrap();
            }
        }
    }
}
