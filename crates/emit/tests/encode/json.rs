//! Reads a cycle's JSON as OpenTSDB's `/api/put` does.

use serde_json::{Map, Value};

use crate::{Point, in_alphabet, thousandths, tsd};

/// The points of one cycle's output, or why it would be refused.
pub(crate) fn accept(output: &[u8]) -> Result<Vec<Point>, String> {
    if output.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::str::from_utf8(output).map_err(|e| e.to_string())?;
    if text.find('\n') != Some(text.len() - 1) {
        return Err("not one line".into());
    }
    let Value::Array(points) = serde_json::from_str(text).map_err(|e| e.to_string())? else {
        return Err("no array".into());
    };
    if points.is_empty() {
        return Err("a TSD refuses an empty array".into());
    }
    points
        .iter()
        .map(|point| accept_point(point).map_err(|why| format!("{why}: {point}")))
        .collect()
}

fn accept_point(point: &Value) -> Result<Point, String> {
    let object = point.as_object().ok_or("no object")?;
    if !object.keys().eq(["metric", "timestamp", "value", "tags"]) {
        return Err("other keys than a TSD's".into());
    }
    let metric = object["metric"].as_str().filter(|name| in_alphabet(name)).ok_or("metric")?;
    let time = object["timestamp"].as_u64().ok_or("timestamp")?;
    if time < 1 || time > u32::MAX.into() {
        return Err("timestamp is not in seconds".into());
    }
    let tags = accept_tags(object["tags"].as_object().ok_or("tags")?)?;
    tsd::check_tags(&tags, false)?;
    let value = object["value"].as_number().ok_or("value")?;
    let value = match value.as_i64() {
        Some(integer) => thousandths(&integer.to_string())?,
        // A binary fraction of three decimals comes back by rounding, as long
        // as its digits fit in 53 bits.
        None => {
            let fraction = value.as_f64().filter(|f| f.is_finite()).ok_or("value is too large")?;
            (fraction * 1000.0).round() as i128
        }
    };
    Ok(Point { metric: metric.into(), time: Some(time), value, tags })
}

fn accept_tags(tags: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let pair = |(key, value): (&String, &Value)| {
        let value = value.as_str().ok_or("a tag is no string")?;
        if in_alphabet(key) && in_alphabet(value) {
            Ok((key.clone(), value.to_owned()))
        } else {
            Err(format!("the tag {key:?} {value:?}"))
        }
    };
    tags.iter().map(pair).collect()
}
