//! Reads an OpenMetrics 1.0 text exposition, strictly, as far as counters and
//! gauges without exemplars go.

use std::collections::BTreeSet;

use crate::{Point, thousandths};

#[derive(Default)]
struct Family {
    name: String,
    help: bool,
    kind: Option<String>,
    unit: bool,
    samples: bool,
}

/// The samples of an exposition, or the rule that it breaks. Their metric is
/// the family's name.
pub(crate) fn accept(output: &[u8]) -> Result<Vec<Point>, String> {
    let text = std::str::from_utf8(output).map_err(|e| e.to_string())?;
    let body = text.strip_suffix("# EOF\n").ok_or("it doesn't end with # EOF")?;
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("# EOF is not a line".into());
    }
    let mut families = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut family = Family::default();
    let mut points = Vec::new();
    for line in body.split_terminator('\n') {
        let wrong = |why: &str| format!("{why}: {line}");
        if let Some(meta) = line.strip_prefix("# ") {
            accept_meta(meta, &mut family, &mut families).map_err(wrong)?;
        } else {
            let point = accept_sample(line, &family).map_err(wrong)?;
            family.samples = true;
            let mut labels = point.tags.clone();
            labels.sort();
            if !seen.insert((point.metric.clone(), labels)) {
                return Err(wrong("twice"));
            }
            points.push(point);
        }
    }
    Ok(points)
}

/// HELP, TYPE or UNIT: each once a family, before its samples.
fn accept_meta(
    meta: &str,
    family: &mut Family,
    families: &mut BTreeSet<String>,
) -> Result<(), &'static str> {
    let mut words = meta.splitn(3, ' ');
    let mut word = || words.next().ok_or("a word is missing");
    let (keyword, name, text) = (word()?, word()?, word()?);
    if !is_name(name) {
        return Err("the family's name");
    }
    if name != family.name {
        if !families.insert(name.to_owned()) {
            return Err("a family in two places");
        }
        *family = Family { name: name.to_owned(), ..Family::default() };
    }
    if family.samples {
        return Err("metadata after samples");
    }
    let twice = match keyword {
        "HELP" => {
            if text.contains(['\\', '"']) {
                return Err("a character to escape in HELP");
            }
            std::mem::replace(&mut family.help, true)
        }
        "TYPE" => {
            if !["counter", "gauge"].contains(&text) {
                return Err("an unknown TYPE");
            }
            family.kind.replace(text.to_owned()).is_some()
        }
        "UNIT" => {
            if !name.ends_with(&format!("_{text}")) {
                return Err("the family's name doesn't end in its unit");
            }
            std::mem::replace(&mut family.unit, true)
        }
        _ => return Err("an unknown keyword"),
    };
    if twice { Err("metadata twice") } else { Ok(()) }
}

fn accept_sample(line: &str, family: &Family) -> Result<Point, &'static str> {
    let name_end = line.find(['{', ' ']).ok_or("no value")?;
    let (name, rest) = line.split_at(name_end);
    let kind = family.kind.as_deref().ok_or("a sample before its TYPE")?;
    let suffix = if kind == "counter" { "_total" } else { "" };
    if name.strip_prefix(family.name.as_str()) != Some(suffix) {
        return Err("the sample's name isn't its family's");
    }
    let (tags, rest) = match rest.strip_prefix('{') {
        Some(labels) => accept_labels(labels)?,
        None => (Vec::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let value = thousandths(value).map_err(|_| "the value")?;
    if kind == "counter" && value < 0 {
        return Err("a counter below zero");
    }
    Ok(Point { metric: family.name.clone(), time: None, value, tags })
}

type Labels = Vec<(String, String)>;

/// `name="value",…}`, and what comes after.
fn accept_labels(mut rest: &str) -> Result<(Labels, &str), &'static str> {
    let mut labels = Labels::new();
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label")?;
        if !is_name(name) || name.contains(':') || name.starts_with("__") {
            return Err("a label's name");
        }
        let (value, after) = after.split_once('"').ok_or("a label's end")?;
        if value.contains('\\') {
            return Err("an escape where nothing is to be escaped");
        }
        if labels.iter().any(|(earlier, _)| earlier == name) {
            return Err("a label twice");
        }
        labels.push((name.to_owned(), value.to_owned()));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok((labels, after.strip_prefix('}').ok_or("no end of labels")?)),
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

#[test]
fn the_acceptor_refuses() {
    let good = "# HELP a_bytes h\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                a_bytes_total{x=\"y\",z=\"w\"} 1\n# EOF\n";
    assert_eq!(accept(good.as_bytes()).unwrap().len(), 1);
    assert_eq!(accept(b"# EOF\n").unwrap(), []);
    for (from, to) in [
        ("# EOF\n", ""),
        ("# EOF", "\n# EOF"),
        ("a_bytes_total", "a_bytes"),
        ("counter", "gauge"),
        ("counter", "untyped"),
        (" 1", " -1"),
        (" 1", " NaN"),
        (" 1", " 1 "),
        (" 1", "  1"),
        (",z", ",x"),
        (",z", ","),
        ("z=", "z-="),
        ("\"w\"", "\"w"),
        ("UNIT a_bytes bytes", "UNIT a_bytes calls"),
        ("# UNIT", "# TYPE"),
        ("# UNIT", "#UNIT"),
        ("# EOF", "# HELP a_bytes h\n# EOF"),
        ("# EOF", "# HELP b h\n# TYPE a_bytes counter\n# EOF"),
        ("# EOF", "a_bytes_total{z=\"w\",x=\"y\"} 1\n# EOF"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert!(accept(bad.as_bytes()).is_err(), "{bad}");
    }
}
