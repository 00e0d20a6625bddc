//! From points to bytes, a cycle at a time.

use std::fmt;
use std::str::FromStr;

use crate::metrics::table::{CollectorSeries, Series};
use crate::metrics::{Kind, Metric};
use crate::name::{ImageName, MAX_TAG_VALUE_LEN, Tag};
use crate::template::Template;
use crate::value::{MAX_VALUE, Timestamp, Value};

/// A tcollector line, with its newline, is shorter than this many bytes.
/// A TSD drops lines of 1,024 bytes, and tcollector adds tags of its own.
pub(crate) const MAX_LINE: usize = 1000;

/// The most extra tags, `host` not counted: a TSD takes eight tags a point,
/// and `image`, `type` and `host` are three.
pub(crate) const MAX_TAGS: usize = 5;

/// The most bytes of a time: ten digits and a space.
const MAX_TIME: usize = 11;

/// How points are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `metric time value tag=value…`, a line a point, for tcollector, which
    /// adds `host`.
    Tcollector,
    /// One line a cycle, an array that OpenTSDB's `/api/put` takes as it is.
    Json,
    /// An OpenMetrics text exposition, for a scraper or node_exporter's
    /// textfile collector. Its samples have no time: the textfile collector
    /// refuses times, and a scraper has its own. The textfile collector reads
    /// an older format, to which counters are of unknown type.
    OpenMetrics,
}

impl Format {
    /// `tcollector`, `json` or `openmetrics`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Tcollector => "tcollector",
            Format::Json => "json",
            Format::OpenMetrics => "openmetrics",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        [Format::Tcollector, Format::Json, Format::OpenMetrics]
            .into_iter()
            .find(|format| format.as_str() == text)
            .ok_or(FormatError)
    }
}

/// A text that names no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a format is tcollector, json or openmetrics")]
pub struct FormatError;

/// Why an [`Encoder`] can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// An extra tag has a key that the points have already.
    #[error("the tag {0} is one that every point has already")]
    ReservedTag(Tag),
    /// Two extra tags have the same key.
    #[error("the tag {0} has the key of another one")]
    DuplicateTag(Tag),
    /// There are more than five extra tags, `host` not counted.
    #[error("{count} tags besides host, and a TSD takes {MAX_TAGS}")]
    TooManyTags {
        /// How many were given, `host` not counted.
        count: usize,
    },
    /// With these tags a line could be of 1,000 bytes or more.
    #[error(
        "the tags are too long by {excess} bytes: a TSD takes lines of less than {MAX_LINE} bytes"
    )]
    TagsTooLong {
        /// By how many bytes the tags have to be shorter.
        excess: usize,
    },
    /// JSON without a tag: a TSD refuses a point that has none, and nothing
    /// adds one on the way.
    #[error("a point in JSON needs a tag of its own, such as host=NAME")]
    MissingTag,
    /// OpenMetrics has no such label name.
    #[error(
        "{0}: the key is no OpenMetrics label, which is letters, digits and _, no digit and no __ first"
    )]
    InvalidLabelName(Tag),
}

/// Why a cycle can't begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the last cycle was sent as of {last}, and the time is now {now}")]
pub struct TimeNotAdvanced {
    /// The time of the last cycle, in seconds.
    pub last: u32,
    /// The time that was refused, in seconds.
    pub now: u32,
}

/// Why a point was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointError {
    /// The point doesn't come after the last one of this cycle, in the order
    /// that [`Encoder`] states. The same series twice is one case of it.
    #[error("a point of {0} came twice or out of order")]
    OutOfOrder(&'static str),
    /// A counter below zero.
    #[error("the counter {0} is below zero")]
    NegativeCounter(&'static str),
}

/// Writes cycles of points in one format.
///
/// # Order
///
/// Within a cycle, points come in the order of [`Series::ALL`], and within a
/// series in ascending order of images; after them the collector's own, in
/// the order of [`HealthSeries::ALL`]. Any of them may be missing. So no series can
/// come twice, and all samples of an OpenMetrics family stand together.
///
/// # Memory
///
/// A cycle allocates nothing but what the caller's buffer grows by.
#[derive(Clone, Debug)]
pub struct Encoder {
    format: Format,
    /// By [`Series`], in the order of [`Series::ALL`].
    series: Vec<Template>,
    /// By [`HealthSeries`], in the order of [`HealthSeries::ALL`].
    health: Vec<Template>,
    /// The time of the cycle, as it stands in each of its points.
    time: Vec<u8>,
    last: Option<Timestamp>,
}

impl Encoder {
    /// An encoder that gives these tags to each point, after `image` and
    /// `type`, in the order given.
    ///
    /// # Errors
    /// The tags are more, or longer, than a TSD takes with the longest image
    /// name; a key is `image` or `type` or comes twice; the format is JSON
    /// and there is no tag; the format is OpenMetrics and a key isn't
    /// `[a-zA-Z_][a-zA-Z0-9_]*` or begins with `__`.
    pub fn new(format: Format, tags: &[Tag]) -> Result<Self, EncoderError> {
        check_tags(format, tags)?;
        let render = |metric, type_value| Template::new(format, metric, type_value, tags);
        let series: Vec<_> =
            Series::ALL.iter().map(|s| render(s.metric(), s.type_value())).collect();
        let health: Vec<_> =
            CollectorSeries::ALL.iter().map(|h| render(h.metric(), h.type_value())).collect();
        if format == Format::Tcollector {
            let fixed = |templates: &[Template]| {
                templates.iter().map(Template::static_len).max().unwrap_or(0)
            };
            let longest =
                fixed(&health).max(fixed(&series) + MAX_TAG_VALUE_LEN) + MAX_TIME + MAX_VALUE;
            if longest >= MAX_LINE {
                return Err(EncoderError::TagsTooLong { excess: longest - MAX_LINE + 1 });
            }
        }
        Ok(Encoder { format, series, health, time: Vec::new(), last: None })
    }

    /// Begins a cycle as of a time: empties `out`, keeping its memory, and
    /// hands back what the points go to. What `out` holds is whole only after
    /// [`Cycle::end`].
    ///
    /// # Errors
    /// The time isn't later than that of the last cycle: a TSD would see the
    /// same series twice in a second, and tcollector drops what goes
    /// backwards. An OpenMetrics exposition has no time, and any will do.
    pub fn begin<'a>(
        &'a mut self,
        out: &'a mut Vec<u8>,
        time: Timestamp,
    ) -> Result<CycleEncoder<'a>, TimeNotAdvanced> {
        if self.format != Format::OpenMetrics
            && let Some(last) = self.last
            && last >= time
        {
            return Err(TimeNotAdvanced { last: last.as_unix(), now: time.as_unix() });
        }
        self.last = Some(time);
        self.time.clear();
        self.time.extend_from_slice(itoa::Buffer::new().format(time.as_unix()).as_bytes());
        self.time.extend_from_slice(match self.format {
            Format::Json => b",\"value\":",
            Format::Tcollector | Format::OpenMetrics => b" ",
        });
        out.clear();
        Ok(CycleEncoder { encoder: self, out, last: None, family: None })
    }
}

/// What every format asks of the extra tags, but the length of a line.
fn check_tags(format: Format, tags: &[Tag]) -> Result<(), EncoderError> {
    for (index, tag) in tags.iter().enumerate() {
        if matches!(tag.key(), "image" | "type") {
            return Err(EncoderError::ReservedTag(tag.clone()));
        }
        if tags.iter().take(index).any(|earlier| earlier.key() == tag.key()) {
            return Err(EncoderError::DuplicateTag(tag.clone()));
        }
        if format == Format::OpenMetrics && !is_label(tag.key()) {
            return Err(EncoderError::InvalidLabelName(tag.clone()));
        }
    }
    let given = tags.iter().filter(|tag| tag.key() != "host").count();
    if given > MAX_TAGS {
        return Err(EncoderError::TooManyTags { count: given });
    }
    if format == Format::Json && tags.is_empty() {
        return Err(EncoderError::MissingTag);
    }
    Ok(())
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`; what begins with `__` is reserved.
fn is_label(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && !key.starts_with("__")
}

/// A cycle that is being written.
#[derive(Debug)]
#[must_use = "the output is not whole before end()"]
pub struct CycleEncoder<'a> {
    encoder: &'a Encoder,
    out: &'a mut Vec<u8>,
    /// The slot and the image of the last point. Slots number the series,
    /// those of images first, in the order of their points.
    last: Option<(usize, Option<&'a ImageName>)>,
    /// The OpenMetrics family that has begun last.
    family: Option<&'static str>,
}

impl<'a> CycleEncoder<'a> {
    /// Writes the value of a series of an image.
    ///
    /// # Errors
    /// The point is out of the order that [`Encoder`] states, the same one
    /// twice included, or a counter is negative. It is then not written, and
    /// the cycle can go on.
    pub fn point(
        &mut self,
        series: Series,
        image: &'a ImageName,
        value: Value,
    ) -> Result<(), PointError> {
        // `series` and `health` have a template for each variant, in order.
        let slot = series as usize;
        self.write(slot, &self.encoder.series[slot], series.metric(), Some(image), value)
    }

    /// Writes a value of the collector's own.
    ///
    /// # Errors
    /// As for [`Cycle::point`].
    pub fn collector_point(
        &mut self,
        health: CollectorSeries,
        value: Value,
    ) -> Result<(), PointError> {
        let index = health as usize;
        let slot = Series::ALL.len() + index;
        self.write(slot, &self.encoder.health[index], health.metric(), None, value)
    }

    /// Ends the cycle. The buffer is whole now, and can be written out in one
    /// go. A JSON cycle without a point leaves it empty, since a TSD refuses
    /// an empty array.
    pub fn finish(self) {
        match self.encoder.format {
            Format::Tcollector => {}
            Format::Json if self.last.is_none() => {}
            Format::Json => self.out.extend_from_slice(b"]\n"),
            Format::OpenMetrics => self.out.extend_from_slice(b"# EOF\n"),
        }
    }

    fn write(
        &mut self,
        slot: usize,
        template: &Template,
        metric: &'static Metric,
        image: Option<&'a ImageName>,
        value: Value,
    ) -> Result<(), PointError> {
        let place = Some((slot, image));
        if place <= self.last {
            return Err(PointError::OutOfOrder(metric.name));
        }
        if metric.kind == Kind::Counter && value.is_negative() {
            return Err(PointError::NegativeCounter(metric.name));
        }
        let first = self.last.is_none();
        self.last = place;

        let image = image.map_or("", ImageName::as_str).as_bytes();
        let out = &mut *self.out;
        match self.encoder.format {
            Format::Tcollector => {}
            Format::Json => out.push(if first { b'[' } else { b',' }),
            Format::OpenMetrics => {
                if self.family != Some(metric.family) {
                    self.family = Some(metric.family);
                    out.extend_from_slice(template.family.as_bytes());
                }
                out.extend_from_slice(template.prefix.as_bytes());
                out.extend_from_slice(image);
                out.extend_from_slice(template.middle.as_bytes());
                value.write(out);
                out.extend_from_slice(template.suffix.as_bytes());
                return Ok(());
            }
        }
        out.extend_from_slice(template.prefix.as_bytes());
        out.extend_from_slice(&self.encoder.time);
        value.write(out);
        out.extend_from_slice(template.middle.as_bytes());
        out.extend_from_slice(image);
        out.extend_from_slice(template.suffix.as_bytes());
        Ok(())
    }
}
