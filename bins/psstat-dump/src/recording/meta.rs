//! The properties of all frames of a recorder.

use serde_json::{Value, json};

use super::decode::MAX_FIELDS;
use super::fields::FIELDS;

/// The properties of all frames of a recorder.
#[derive(Clone, Debug, PartialEq)]
pub struct Meta {
    /// The name of the host; any text.
    pub host: String,
    /// The kernel's release.
    pub kernel: String,
    /// The version of psstat-dump.
    pub program: String,
    /// Seconds from one frame to the next.
    pub interval: f64,
    /// The source of the images, as in the JSON documents.
    pub images_from: Value,
    /// The names of the fields.
    pub(super) fields: Vec<String>,
}

impl Meta {
    /// That of this host and program.
    pub fn of_host(interval: f64, images_from: Value) -> Meta {
        let uname = rustix::system::uname();
        Meta {
            host: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            interval,
            images_from,
            fields: FIELDS.iter().map(|field| field.name.to_owned()).collect(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        let Meta { host, kernel, program, interval, images_from, fields } = self;
        let meta = json!({
            "host": host, "kernel": kernel, "program": program, "interval_seconds": interval,
            "images_from": images_from, "fields": fields,
        });
        meta.to_string()
    }

    /// `None` if this is not one.
    pub(super) fn from_json(json: &[u8]) -> Option<Meta> {
        let value: Value = serde_json::from_slice(json).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
        let fields = value.get("fields")?.as_array()?;
        let fields: Option<Vec<String>> =
            fields.iter().map(|name| name.as_str().map(str::to_owned)).collect();
        let interval = value.get("interval_seconds").and_then(Value::as_f64).unwrap_or(1.0);
        Some(Meta {
            host: text("host"),
            kernel: text("kernel"),
            program: text("program"),
            interval: if interval > 0.0 { interval } else { 1.0 },
            images_from: value.get("images_from").cloned().unwrap_or(Value::Null),
            fields: fields.filter(|fields| fields.len() <= MAX_FIELDS)?,
        })
    }
}
