//! The parts of a point that are the same in each cycle, rendered once.
//!
//! A point of a series is, in tcollector lines and in JSON, `prefix` time value `middle` image
//! `suffix`, and in OpenMetrics `prefix` image `middle` value `suffix`. No text needs escaping in
//! JSON or OpenMetrics: images, tags and names are `[-_./a-zA-Z0-9]+`, and a test checks the help
//! texts.

use crate::format::Format;
use crate::metrics::{Kind, Metric};
use crate::name::Tag;

/// The rendered parts of one series.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The header of an OpenMetrics family; empty in the other formats.
    pub(crate) family: String,
    pub(crate) prefix: String,
    pub(crate) middle: String,
    pub(crate) suffix: String,
}

impl Template {
    /// The template of the series of `metric` with this `type` tag. The tags of a point are
    /// `image`, `type` and the extra ones, in this order, if present.
    pub(crate) fn new(
        format: Format,
        metric: &Metric,
        type_tag: Option<&str>,
        extra: &[Tag],
    ) -> Self {
        let type_tag = type_tag.map(|value| ("type", value));
        let extra = extra.iter().map(|tag| (tag.key(), tag.value()));
        let tags: Vec<(&str, &str)> = type_tag.into_iter().chain(extra).collect();
        match format {
            Format::Tcollector => tcollector(metric, &tags),
            Format::Json => json(metric, &tags),
            Format::OpenMetrics => open_metrics(metric, &tags),
        }
    }

    /// The length of a point without its image, time and value, in bytes.
    pub(crate) fn static_len(&self) -> usize {
        self.prefix.len() + self.middle.len() + self.suffix.len()
    }
}

/// `metric time value image=… type=… key=value`
fn tcollector(metric: &Metric, tags: &[(&str, &str)]) -> Template {
    let tags: String = tags.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    Template {
        family: String::new(),
        prefix: format!("{} ", metric.name),
        middle: if metric.per_image { " image=".into() } else { String::new() },
        suffix: tags + "\n",
    }
}

/// `{"metric":"…","timestamp":time,"value":value,"tags":{"image":"…",…}}`
fn json(metric: &Metric, tags: &[(&str, &str)]) -> Template {
    let tags: Vec<String> =
        tags.iter().map(|(key, value)| format!(r#""{key}":"{value}""#)).collect();
    let tags = tags.join(",");
    let (middle, suffix) = match (metric.per_image, tags.is_empty()) {
        (true, false) => (r#","tags":{"image":""#, format!(r#"",{tags}}}}}"#)),
        (true, true) => (r#","tags":{"image":""#, r#""}}"#.into()),
        (false, _) => (r#","tags":{"#, format!("{tags}}}}}")),
    };
    Template {
        family: String::new(),
        prefix: format!(r#"{{"metric":"{}","timestamp":"#, metric.name),
        middle: middle.into(),
        suffix,
    }
}

/// `family{image="…",type="…",key="value"} value`, without a time.
fn open_metrics(metric: &Metric, tags: &[(&str, &str)]) -> Template {
    let family = metric.family;
    let kind = metric.kind.as_str();
    let mut header = format!("# HELP {family} {}\n# TYPE {family} {kind}\n", metric.help);
    if let Some(unit) = metric.unit.openmetrics() {
        header += &format!("# UNIT {family} {unit}\n");
    }

    let name_suffix = match metric.kind {
        Kind::Counter => "_total",
        Kind::Gauge => "",
    };
    let labels: Vec<String> =
        tags.iter().map(|(key, value)| format!(r#"{key}="{value}""#)).collect();
    let labels = labels.join(",");
    let (labels_start, middle) = match (metric.per_image, labels.is_empty()) {
        (true, false) => (r#"{image=""#.into(), format!(r#"",{labels}}} "#)),
        (true, true) => (r#"{image=""#.into(), r#""} "#.into()),
        (false, false) => (format!("{{{labels}}} "), String::new()),
        (false, true) => (" ".to_owned(), String::new()),
    };
    Template {
        family: header,
        prefix: format!("{family}{name_suffix}{labels_start}"),
        middle,
        suffix: "\n".into(),
    }
}
