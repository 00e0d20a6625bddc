//! Reads tcollector lines as tcollector and a TSD together do, and refuses
//! what either of them would.

use std::collections::BTreeSet;

use crate::{Point, in_alphabet, thousandths};

/// The points of one cycle's output, or why it would be refused.
pub(crate) fn accept(output: &[u8]) -> Result<Vec<Point>, String> {
    // One byte that is not UTF-8 loses all that tcollector has read.
    let text = std::str::from_utf8(output).map_err(|e| e.to_string())?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    let mut seen = BTreeSet::new();
    let mut points = Vec::new();
    for line in text.split_terminator('\n') {
        let point = accept_line(line).map_err(|why| format!("{why}: {line}"))?;
        let mut tags = point.tags.clone();
        tags.sort();
        if !seen.insert((point.metric.clone(), tags)) {
            return Err(format!("twice in a second: {line}"));
        }
        points.push(point);
    }
    Ok(points)
}

fn accept_line(line: &str) -> Result<Point, String> {
    if line.len() + "\n".len() >= 1000 {
        return Err("1,000 bytes or more".into());
    }
    let mut fields = line.split(' ');
    let mut field = || fields.next().ok_or("a field is missing");
    let (metric, time, value) = (field()?, field()?, field()?);
    if !in_alphabet(metric) {
        return Err("the metric's name".into());
    }
    // tcollector: \d+\.?\d+, so two digits; a TSD: seconds are 32 bits.
    if time.len() < 2 || !time.bytes().all(|b| b.is_ascii_digit()) || time.starts_with('0') {
        return Err("the time".into());
    }
    let time: u32 = time.parse().map_err(|_| "the time is not in seconds")?;
    if !value.contains('.') {
        value.parse::<i64>().map_err(|_| "the value is no i64")?;
    }
    let mut tags = Vec::new();
    for tag in fields {
        let (key, value) = tag.split_once('=').ok_or("a tag without =")?;
        if !in_alphabet(key) || !in_alphabet(value) {
            return Err(format!("the tag {tag:?}"));
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    check_tags(&tags, true)?;
    let point_value = thousandths(value)?;
    Ok(Point { metric: metric.into(), time: Some(time.into()), value: point_value, tags })
}

/// A TSD takes one to eight tags with distinct keys. tcollector adds `host`
/// to what has none.
pub(crate) fn check_tags(tags: &[(String, String)], host_added: bool) -> Result<(), String> {
    let keys: BTreeSet<&str> = tags.iter().map(|(key, _)| key.as_str()).collect();
    if keys.len() < tags.len() {
        return Err("a tag comes twice".into());
    }
    let added = usize::from(host_added && !keys.contains("host"));
    if !(1..=8).contains(&(tags.len() + added)) {
        return Err("a TSD wants one to eight tags".into());
    }
    Ok(())
}

#[test]
fn the_acceptor_refuses() {
    let refused = |line: &str| {
        assert!(accept(line.as_bytes()).is_err(), "{line:?}");
    };
    assert_eq!(accept(b"a.b 12 -0.5 k=v\n").unwrap()[0].value, -500);
    for line in [
        "a 12 1 k=v",
        "a 12 1  k=v\n",
        "a 12 1 \n",
        "a  12 1 k=v\n",
        "a 12\n",
        "\n",
        "a 9 1 k=v\n",
        "a 4294967296 1 k=v\n",
        "a 12.5 1 k=v\n",
        "a 12 NaN k=v\n",
        "a 12 1e3 k=v\n",
        "a 12 9223372036854775808 k=v\n",
        "a 12 1.0 k=v\n",
        "a 12 .5 k=v\n",
        "a 12 1 k=\n",
        "a 12 1 k=v=w\n",
        "a 12 1 k=v k=w\n",
        "a 12 1 k=ü\n",
        "a 12 1 k=v\na 12 2 k=v\n",
        "a 12 1 a=b b=b c=b d=b e=b f=b g=b h=b\n",
    ] {
        refused(line);
    }
    refused(&format!("a 12 1 k={}\n", "v".repeat(1000)));
}
