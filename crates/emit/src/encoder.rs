//! The encoder: points to bytes, one cycle at a time.

use crate::format::Format;
use crate::metrics::{CollectorSeries, Kind, Metric, Series};
use crate::name::{ImageName, MAX_TAG_VALUE_LEN, Tag};
use crate::template::Template;
use crate::value::{MAX_VALUE, Timestamp, Value};

/// A tcollector line, with its newline, is shorter than this number of bytes.
/// OpenTSDB drops lines of 1,024 bytes, and tcollector adds its own tags.
pub(crate) const MAX_LINE: usize = 1000;

/// The maximum number of extra tags besides `host`: OpenTSDB allows eight tags per point,
/// three of which are `image`, `type` and `host`.
pub(crate) const MAX_TAGS: usize = 5;

/// The maximum number of points in a JSON array, as the authors of OpenTSDB advise.
const MAX_ARRAY_POINTS: usize = 50;

/// The maximum length of a JSON array with its newline: OpenTSDB rejects a request of more than
/// 8,192 bytes unless `tsd.http.request.enable_chunked` is set.
const MAX_ARRAY: usize = 8_000;

/// The maximum length of a printed timestamp: ten digits and a space.
const MAX_TIME: usize = 11;

/// An invalid combination of format and tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// An extra tag has the key `image` or `type`, which the encoder sets.
    #[error("tag {0} is reserved")]
    ReservedTag(Tag),
    /// Two extra tags have the same key.
    #[error("duplicate tag key: {0}")]
    DuplicateTag(Tag),
    /// There are more than five extra tags besides `host`.
    #[error("{count} tags besides host; OpenTSDB allows {MAX_TAGS}")]
    TooManyTags {
        /// The number of tags besides `host`.
        count: usize,
    },
    /// With these tags, a line could have 1,000 bytes or more.
    #[error("tags are {excess} bytes too long: lines must be shorter than {MAX_LINE} bytes")]
    TagsTooLong {
        /// The number of bytes by which the tags have to be shortened.
        excess: usize,
    },
    /// JSON without a tag: OpenTSDB rejects a point without tags, and nothing else adds one.
    #[error("JSON points need at least one tag, such as host=NAME")]
    MissingTag,
    /// The key is not a valid label name of an exposition.
    #[error(
        "{0}: not a valid label name of an exposition ([a-zA-Z_][a-zA-Z0-9_]*, not starting with __)"
    )]
    InvalidLabelName(Tag),
}

/// The timestamp of a cycle is not later than that of the previous cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timestamp {now} is not after the previous one ({last})")]
pub struct TimeNotAdvanced {
    /// The timestamp of the previous cycle, in seconds since 1970.
    pub last: u32,
    /// The rejected timestamp, in seconds since 1970.
    pub now: u32,
}

/// A point that was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PointError {
    /// The point does not follow the previous point of this cycle in the order that
    /// [`Encoder`] defines, or repeats it.
    #[error("duplicate or out-of-order point: {0}")]
    OutOfOrder(&'static str),
    /// The value of a counter is negative.
    #[error("negative counter: {0}")]
    NegativeCounter(&'static str),
}

/// Encodes cycles of points in one format.
///
/// # Order
///
/// Within a cycle, points are written in the order of [`Series::ALL`], and within a series in
/// ascending order of image names. The collector's points follow in the order of
/// [`CollectorSeries::ALL`]. Any point may be missing. This order excludes duplicate series and
/// keeps the samples of an exposition's family together.
///
/// # Memory
///
/// A cycle allocates only to grow the caller's buffer.
#[derive(Clone, Debug)]
pub struct Encoder {
    format: Format,
    /// By [`Series`], in the order of [`Series::ALL`].
    series: Vec<Template>,
    /// By [`CollectorSeries`], in the order of [`CollectorSeries::ALL`].
    collector: Vec<Template>,
    /// The beginning of each exposition.
    build_info: Vec<u8>,
    /// The timestamp of the cycle as each of its points contains it.
    time: Vec<u8>,
    last: Option<Timestamp>,
}

impl Encoder {
    /// Creates an encoder that adds these tags to each point, after `image` and `type`, in
    /// this order.
    ///
    /// # Errors
    /// There are too many tags, or a line with these tags and the longest image
    /// name; a key is `image` or `type` or occurs twice; the format is JSON and there is no
    /// tag; the format is an exposition and a key is not a valid label name
    /// (`[a-zA-Z_][a-zA-Z0-9_]*`, not starting with `__`).
    pub fn new(format: Format, tags: &[Tag]) -> Result<Self, EncoderError> {
        check_tags(format, tags)?;
        let render = |metric, type_tag| Template::new(format, metric, type_tag, tags);
        let series: Vec<_> = Series::ALL.iter().map(|s| render(s.metric(), s.type_tag())).collect();
        let collector: Vec<_> =
            CollectorSeries::ALL.iter().map(|s| render(s.metric(), s.type_tag())).collect();
        if format == Format::Tcollector {
            let static_len = |templates: &[Template]| {
                templates.iter().map(Template::static_len).max().unwrap_or(0)
            };
            let longest = static_len(&collector).max(static_len(&series) + MAX_TAG_VALUE_LEN)
                + MAX_TIME
                + MAX_VALUE;
            if longest >= MAX_LINE {
                return Err(EncoderError::TagsTooLong { excess: longest - MAX_LINE + 1 });
            }
        }
        Ok(Encoder {
            format,
            series,
            collector,
            build_info: Vec::new(),
            time: Vec::new(),
            last: None,
        })
    }

    /// Adds the metric `psstat_build_info` with this version to each exposition: the value is 1.
    /// Its only label is the version. In the other formats nothing changes.
    ///
    /// # Panics
    /// If the version has other characters than `[-+._a-zA-Z0-9]`.
    #[must_use]
    pub fn with_build_info(mut self, version: &str) -> Self {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-+._".contains(&b);
        assert!(version.bytes().all(is_plain), "invalid version");
        let unit = match self.format {
            Format::OpenMetrics => "# UNIT psstat_build_info \n",
            Format::Prometheus => "",
            Format::Tcollector | Format::Json | Format::Influx => return self,
        };
        self.build_info = format!(
            "# HELP psstat_build_info The version of psstat. The value is always 1.\n\
             # TYPE psstat_build_info gauge\n\
             {unit}psstat_build_info{{version=\"{version}\"}} 1\n"
        )
        .into_bytes();
        self
    }

    /// Begins a cycle with this timestamp: clears `out`, which keeps its capacity, and returns
    /// the encoder of its points. The contents of `out` are complete only after
    /// [`CycleEncoder::finish`].
    ///
    /// # Errors
    /// The timestamp is not later than that of the previous cycle: OpenTSDB would receive the
    /// same series twice in one second, and tcollector drops points that go back in time. In
    /// an exposition, which has no timestamps, any timestamp is accepted.
    pub fn begin<'a>(
        &'a mut self,
        out: &'a mut Vec<u8>,
        time: Timestamp,
    ) -> Result<CycleEncoder<'a>, TimeNotAdvanced> {
        if !self.format.is_exposition()
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
            Format::Tcollector | Format::OpenMetrics | Format::Prometheus => b" ",
            Format::Influx => b"000000000\n",
        });
        out.clear();
        out.extend_from_slice(&self.build_info);
        Ok(CycleEncoder { encoder: self, out, last: None, family: None, array: Array::default() })
    }
}

/// Checks the extra tags, except the length of a line.
fn check_tags(format: Format, tags: &[Tag]) -> Result<(), EncoderError> {
    for (index, tag) in tags.iter().enumerate() {
        if matches!(tag.key(), "image" | "type") {
            return Err(EncoderError::ReservedTag(tag.clone()));
        }
        if tags.iter().take(index).any(|earlier| earlier.key() == tag.key()) {
            return Err(EncoderError::DuplicateTag(tag.clone()));
        }
        if format.is_exposition() && !is_label_name(tag.key()) {
            return Err(EncoderError::InvalidLabelName(tag.clone()));
        }
    }
    let count = tags.iter().filter(|tag| tag.key() != "host").count();
    if count > MAX_TAGS {
        return Err(EncoderError::TooManyTags { count });
    }
    if format == Format::Json && tags.is_empty() {
        return Err(EncoderError::MissingTag);
    }
    Ok(())
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`; names that start with `__` are reserved.
fn is_label_name(key: &str) -> bool {
    key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && !key.starts_with("__")
}

/// The encoder of one cycle's points.
#[derive(Debug)]
#[must_use = "the output is complete only after finish()"]
pub struct CycleEncoder<'a> {
    encoder: &'a Encoder,
    out: &'a mut Vec<u8>,
    /// Index and image of the last point. The index counts the series of images first, then
    /// those of the collector.
    last: Option<(usize, Option<&'a ImageName>)>,
    /// The family of the last point, in an exposition.
    family: Option<&'static str>,
    array: Array,
}

/// The last JSON array of a cycle.
#[derive(Debug, Default)]
struct Array {
    /// Its first byte.
    start: usize,
    points: usize,
}

impl<'a> CycleEncoder<'a> {
    /// Writes one point of an image.
    ///
    /// # Errors
    /// The point is out of the order that [`Encoder`] defines, or a duplicate, or a negative
    /// counter. It is not written, and the cycle can continue.
    pub fn point(
        &mut self,
        series: Series,
        image: &'a ImageName,
        value: Value,
    ) -> Result<(), PointError> {
        // `Encoder::series` has a template for each variant, in order.
        let index = series as usize;
        self.write(index, &self.encoder.series[index], series.metric(), Some(image), value)
    }

    /// Writes one point of the collector.
    ///
    /// # Errors
    /// As for [`CycleEncoder::point`].
    pub fn collector_point(
        &mut self,
        series: CollectorSeries,
        value: Value,
    ) -> Result<(), PointError> {
        let template = &self.encoder.collector[series as usize];
        let index = Series::ALL.len() + series as usize;
        self.write(index, template, series.metric(), None, value)
    }

    /// Ends the cycle. The buffer is now complete and can be written at once. A JSON cycle
    /// without points leaves it empty, because OpenTSDB rejects an empty array.
    pub fn finish(self) {
        match self.encoder.format {
            Format::Tcollector | Format::Influx | Format::Prometheus => {}
            Format::Json if self.last.is_none() => {}
            Format::Json => self.out.extend_from_slice(b"]\n"),
            Format::OpenMetrics => self.out.extend_from_slice(b"# EOF\n"),
        }
    }

    fn write(
        &mut self,
        index: usize,
        template: &Template,
        metric: &'static Metric,
        image: Option<&'a ImageName>,
        value: Value,
    ) -> Result<(), PointError> {
        let current = Some((index, image));
        if current <= self.last {
            return Err(PointError::OutOfOrder(metric.name));
        }
        if metric.kind == Kind::Counter && value.is_negative() {
            return Err(PointError::NegativeCounter(metric.name));
        }
        self.last = current;

        let image = image.map_or("", ImageName::as_str).as_bytes();
        let out = &mut *self.out;
        match self.encoder.format {
            Format::Tcollector => {}
            Format::Json => {
                let longest =
                    template.static_len() + image.len() + self.encoder.time.len() + MAX_VALUE;
                let Array { start, points } = &mut self.array;
                // The comma before it, the bracket and the newline after it.
                if *points == MAX_ARRAY_POINTS || out.len() - *start + longest + 3 > MAX_ARRAY {
                    out.extend_from_slice(b"]\n");
                    (*start, *points) = (out.len(), 0);
                }
                out.push(if *points == 0 { b'[' } else { b',' });
                *points += 1;
            }
            Format::Influx | Format::OpenMetrics | Format::Prometheus => {
                let is_influx = self.encoder.format == Format::Influx;
                if self.family != Some(metric.family) {
                    self.family = Some(metric.family);
                    out.extend_from_slice(template.family.as_bytes());
                }
                out.extend_from_slice(template.prefix.as_bytes());
                out.extend_from_slice(image);
                out.extend_from_slice(template.middle.as_bytes());
                value.write(out, template.power);
                if is_influx && value.is_integer() {
                    out.push(b'i');
                }
                out.extend_from_slice(template.suffix.as_bytes());
                if is_influx {
                    out.extend_from_slice(&self.encoder.time);
                }
                return Ok(());
            }
        }
        out.extend_from_slice(template.prefix.as_bytes());
        out.extend_from_slice(&self.encoder.time);
        value.write(out, template.power);
        out.extend_from_slice(template.middle.as_bytes());
        out.extend_from_slice(image);
        out.extend_from_slice(template.suffix.as_bytes());
        Ok(())
    }
}
