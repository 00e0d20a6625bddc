//! The parts of a point that are the same in each cycle, rendered once.
//!
//! The labels of a point are their values with `between` them, and `close`. A point is, in
//! tcollector lines and in JSON, `prefix` time value `open` labels, and in the other formats `prefix`
//! labels value, in InfluxDB's followed by the time. Only help texts need escaping: tags and names
//! are `[-_./a-zA-Z0-9]+`.

use std::ops::Range;

use crate::format::Format;
use crate::metric::{Kind, Metric};
use crate::name::{Tag, TagValue};

/// The rendered parts of one row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The header of the family in an exposition; empty in the other formats.
    pub(crate) header: String,
    pub(crate) prefix: String,
    pub(crate) open: String,
    /// Before each value of a label except the first.
    between: Vec<String>,
    close: String,
    /// Values are divided by ten to this power.
    pub(crate) power: u8,
}

/// How a format writes tags.
struct Style {
    /// Before the first tag; after the last one.
    begin: &'static str,
    end: &'static str,
    /// Instead of both, if there is no tag.
    none: &'static str,
    /// Between two tags.
    comma: &'static str,
    /// Around a key, before its value; after a value.
    key: [&'static str; 2],
    value_end: &'static str,
}

impl Template {
    /// The template of a row. The tags of a point are the labels, the row's own tags, and the
    /// extra ones, in this order.
    pub(crate) fn new(format: Format, metric: &Metric, extra: &[Tag]) -> Self {
        let name = metric.name;
        let (prefix, style) = match format {
            // metric time value key=value key=value
            Format::Tcollector => (
                format!("{name} "),
                Style {
                    begin: " ",
                    end: "\n",
                    none: "\n",
                    comma: " ",
                    key: ["", "="],
                    value_end: "",
                },
            ),
            // {"metric":"…","timestamp":time,"value":value,"tags":{"key":"value",…}}
            Format::Json => (
                format!(r#"{{"metric":"{name}","timestamp":"#),
                Style {
                    begin: r#","tags":{"#,
                    end: "}}",
                    none: r#","tags":{}}"#,
                    comma: ",",
                    key: ["\"", "\":\""],
                    value_end: "\"",
                },
            ),
            // metric,key=value,key=value value=value time
            Format::Influx => (
                name.to_owned(),
                Style {
                    begin: ",",
                    end: " value=",
                    none: " value=",
                    comma: ",",
                    key: ["", "="],
                    value_end: "",
                },
            ),
            // family{key="value",key="value"} value
            Format::OpenMetrics | Format::Prometheus => (
                sample_name(metric),
                Style {
                    begin: "{",
                    end: "} ",
                    none: " ",
                    comma: ",",
                    key: ["", "=\""],
                    value_end: "\"",
                },
            ),
        };
        let is_exposition = format.is_exposition();
        let mut template = Template {
            header: if is_exposition { header(format, metric) } else { String::new() },
            prefix,
            open: String::new(),
            between: Vec::new(),
            close: String::new(),
            power: if is_exposition { metric.unit.base_power() } else { 0 },
        };
        template.render_tags(metric, extra, &style);
        if !format.has_value_first() {
            // Nothing is between them.
            template.prefix += &std::mem::take(&mut template.open);
        }
        template
    }

    fn render_tags(&mut self, metric: &Metric, extra: &[Tag], style: &Style) {
        let extra = extra.iter().map(|tag| (tag.key(), tag.value()));
        let constant: Vec<String> = metric
            .tags
            .iter()
            .copied()
            .chain(extra)
            .map(|(key, value)| [style.key[0], key, style.key[1], value, style.value_end].concat())
            .collect();
        let constant = constant.join(style.comma);
        let key = |before: &str, key: &str| [before, style.key[0], key, style.key[1]].concat();
        let Some((first, more)) = metric.labels.split_first() else {
            self.open = if constant.is_empty() {
                style.none.to_owned()
            } else {
                [style.begin, &constant, style.end].concat()
            };
            return;
        };
        self.open = key(style.begin, first);
        let next = [style.value_end, style.comma].concat();
        self.between = more.iter().map(|label| key(&next, label)).collect();
        let comma = if constant.is_empty() { "" } else { style.comma };
        self.close = [style.value_end, comma, &constant, style.end].concat();
    }

    /// Appends the labels. Returns where their values begin and end, with the texts between them.
    #[inline(always)]
    pub(crate) fn write_labels(&self, out: &mut Vec<u8>, labels: &[&TagValue]) -> Range<usize> {
        let start = out.len();
        if let [first, more @ ..] = labels {
            out.extend_from_slice(first.as_str().as_bytes());
            for (between, label) in self.between.iter().zip(more) {
                out.extend_from_slice(between.as_bytes());
                out.extend_from_slice(label.as_str().as_bytes());
            }
        }
        let end = out.len();
        out.extend_from_slice(self.close.as_bytes());
        start..end
    }

    /// The length of the texts between the values of labels, in bytes.
    pub(crate) fn between_len(&self) -> usize {
        self.between.iter().map(String::len).sum()
    }

    /// The length of a point without its time, its value and the values of its labels, in bytes.
    pub(crate) fn static_len(&self) -> usize {
        self.prefix.len() + self.open.len() + self.between_len() + self.close.len()
    }
}

/// The name of the samples in an exposition.
pub(crate) fn sample_name(metric: &Metric) -> String {
    let mut name = metric.family_name().into_owned();
    if metric.kind == Kind::Counter {
        name += "_total";
    }
    name
}

/// The lines before the samples of a family.
fn header(format: Format, metric: &Metric) -> String {
    let family = metric.family_name();
    let help = metric.help.replace('\\', r"\\").replace('\n', r"\n");
    let (declared, help) = match format {
        // The older format declares a counter under the name of its samples.
        Format::Prometheus => (sample_name(metric), help),
        _ => (family.clone().into_owned(), help.replace('"', r#"\""#)),
    };
    let kind = metric.kind;
    let mut header = format!("# HELP {declared} {help}\n# TYPE {declared} {kind}\n");
    if format == Format::OpenMetrics {
        // An empty unit is stated as well: Prometheus can otherwise apply the previous family's.
        let unit = metric.unit.base().unwrap_or_default();
        header += &format!("# UNIT {family} {unit}\n");
    }
    header
}
