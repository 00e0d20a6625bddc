//! The parts of a point that are the same in each cycle, rendered once.
//!
//! A point of a series is, in tcollector lines and in JSON, `prefix` time value `middle` image
//! `suffix`, and in the other formats `prefix` image `middle` value `suffix`, in InfluxDB's
//! followed by the time. No text needs escaping in any format: images, tags and names are
//! `[-_./a-zA-Z0-9]+`, and a test checks the help texts.

use crate::format::Format;
use crate::metrics::{Kind, Metric};
use crate::name::Tag;

/// The rendered parts of one series.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The header of the family in an exposition; empty in the other formats.
    pub(crate) family: String,
    pub(crate) prefix: String,
    pub(crate) middle: String,
    pub(crate) suffix: String,
    /// Values are divided by ten to this power.
    pub(crate) power: u8,
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
            Format::Influx => influx(metric, &tags),
            Format::OpenMetrics | Format::Prometheus => exposition(format, metric, &tags),
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
        power: 0,
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
        power: 0,
    }
}

/// `metric,image=…,type=…,key=value value=value time`
fn influx(metric: &Metric, tags: &[(&str, &str)]) -> Template {
    let tags: String = tags.iter().map(|(key, value)| format!(",{key}={value}")).collect();
    Template {
        family: String::new(),
        prefix: metric.name.to_owned() + if metric.per_image { ",image=" } else { "" },
        middle: tags + " value=",
        suffix: " ".into(),
        power: 0,
    }
}

/// `family{image="…",type="…",key="value"} value`, without a time.
fn exposition(format: Format, metric: &Metric, tags: &[(&str, &str)]) -> Template {
    let family = metric.family;
    let kind = metric.kind.as_str();
    let name_suffix = match metric.kind {
        Kind::Counter => "_total",
        Kind::Gauge => "",
    };
    // The older format declares a counter under the name of its samples.
    let declared = match format {
        Format::Prometheus => format!("{family}{name_suffix}"),
        _ => family.to_owned(),
    };
    let mut header = format!("# HELP {declared} {}\n# TYPE {declared} {kind}\n", metric.help);
    if format == Format::OpenMetrics {
        // An empty unit is stated as well: Prometheus can otherwise apply the previous family's.
        let unit = metric.unit.base().unwrap_or_default();
        header += &format!("# UNIT {family} {unit}\n");
    }
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
        power: metric.unit.base_power(),
    }
}
