//! Values that the constructors accept and reject.

use proptest::prelude::*;
use psstat_emit::{ConfigError, Format, MAX_TAG_LEN, Part, Tag, TagValue, Timestamp, Value};

use psstat_testproc::formats::in_alphabet;

/// Random texts, near the limits and far from them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,8}",
        "[-_./a-zA-Z0-9]{0,6}",
        "[-_./a-zA-Z0-9]{254,257}",
        "[-_./a-zA-Z0-9]{1,3}[ \n=\"\\\\,é@\\[`{^:]?[a-z]{0,3}",
    ]
}

fn is_valid(text: &str) -> bool {
    in_alphabet(text) && text.len() <= 255
}

proptest! {
    #[test]
    fn tag_values(text in text()) {
        match TagValue::new(text.as_str()) {
            Ok(value) => {
                prop_assert!(is_valid(&text));
                prop_assert_eq!(value.as_str(), text.as_str());
                prop_assert_eq!(value.to_string(), text);
            }
            Err(_) => prop_assert!(!is_valid(&text)),
        }
    }

    #[test]
    fn tags(key in text(), value in text()) {
        let tag = Tag::new(&key, &value);
        prop_assert_eq!(tag.is_ok(), is_valid(&key) && is_valid(&value));
        if let Ok(tag) = tag {
            prop_assert_eq!((tag.key(), tag.value()), (key.as_str(), value.as_str()));
            prop_assert_eq!(tag.to_string().parse(), Ok(tag));
        }
    }

    #[test]
    fn parses_tags(text in text()) {
        let parts: Vec<&str> = text.split('=').collect();
        let good = parts.len() == 2 && parts.iter().all(|part| is_valid(part));
        prop_assert_eq!(text.parse::<Tag>().is_ok(), good);
    }

    #[test]
    fn times(seconds in prop_oneof![any::<i64>(), 0..20_i64, 4_294_967_290..4_294_967_300_i64]) {
        let time = Timestamp::from_unix(seconds);
        prop_assert_eq!(time.is_ok(), (10..=4_294_967_295).contains(&seconds));
        if let Ok(time) = time {
            prop_assert_eq!(i64::from(time.as_unix()), seconds);
        }
    }

    #[test]
    fn values_saturate(number: u64) {
        let stored = i64::try_from(number).unwrap_or(i64::MAX);
        prop_assert_eq!(Value::from(number), Value::from(stored));
    }
}

#[test]
fn name_errors() {
    let (part, length) = (Part::TagValue, MAX_TAG_LEN + 1);
    assert_eq!(TagValue::new(""), Err(ConfigError::Empty(part)));
    assert_eq!(TagValue::new("héé"), Err(ConfigError::Character { part, at: 1, found: 'é' }));
    assert_eq!(TagValue::new("x".repeat(length)), Err(ConfigError::TooLong { part, length }));
    assert_eq!("host".parse::<Tag>(), Err(ConfigError::MissingEquals));
    let part = Part::TagKey;
    assert_eq!("a b=c".parse::<Tag>(), Err(ConfigError::Character { part, at: 1, found: ' ' }));
    assert_eq!("a=".parse::<Tag>(), Err(ConfigError::Empty(Part::TagValue)));
    assert_eq!(
        "a=b=c".parse::<Tag>().unwrap_err().to_string(),
        "the tag's value has '=' at byte 1; only letters, digits and - _ . / are allowed"
    );
}

#[test]
fn formats_by_name() {
    for &format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert_eq!("JSON".parse::<Format>(), Err(ConfigError::UnknownFormat));
}
