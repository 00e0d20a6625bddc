//! The encoder: points to bytes, one cycle at a time.

use std::collections::BTreeMap;
use std::ops::Range;
use std::ptr;

use crate::error::{ConfigError, EncodeError, MAX_LINE, allowed_tags};
use crate::format::Format;
use crate::metric::{Kind, Metric, is_label_name};
use crate::name::{MAX_TAG_LEN, Tag, TagValue};
use crate::template::{Template, sample_name};
use crate::value::{MAX_VALUE, Timestamp, Value};

/// The maximum number of points in a JSON array, as the authors of OpenTSDB advise.
const MAX_ARRAY_POINTS: usize = 50;

/// The maximum length of a JSON array with its newline: OpenTSDB rejects a request of more than
/// 8,192 bytes unless `tsd.http.request.enable_chunked` is set.
const MAX_ARRAY: usize = 8_000;

/// The maximum length of a printed timestamp: ten digits and a space.
const MAX_TIME: usize = 11;

/// The maximum length of a printed timestamp in JSON with what separates it from the value.
const MAX_JSON_TIME: usize = 19;

/// Encodes cycles of points in one format.
///
/// # Order
///
/// Points can be added in any order. The output has them in the order of the table, the rows of a
/// family together, and within a row in ascending order of the values of their labels, so it does
/// not depend on the order of the calls. A cycle whose points arrive in this order takes less
/// time, because nothing is sorted.
///
/// # Memory
///
/// A cycle allocates only to grow the caller's buffer and the encoder's own.
#[derive(Clone, Debug)]
pub struct Encoder {
    format: Format,
    /// The rows of the table, those of a family together.
    rows: Vec<Row>,
    /// The addresses of the table's metrics in ascending order, with their places in `rows`.
    addresses: Vec<(usize, usize)>,
    /// The beginning of each exposition.
    build_info: Vec<u8>,
    /// The timestamp of the cycle as each of its points contains it.
    time: Vec<u8>,
    last: Option<Timestamp>,
    /// The points of the cycle.
    points: Vec<Point>,
    /// The sorted points, if they had to be sorted.
    sorted: Vec<u8>,
}

/// A row of the table.
#[derive(Clone, Debug)]
struct Row {
    metric: &'static Metric,
    /// The number of its family.
    family: usize,
    /// [`Template::static_len`], with the time and the longest value.
    longest: usize,
    template: Template,
    /// The beginning of its points: the prefix, with the time of the cycle if it follows.
    head: Vec<u8>,
}

/// Where a point is in the output.
#[derive(Clone, Copy, Debug)]
struct Point {
    row: u32,
    start: u32,
    end: u32,
    /// The values of its labels.
    labels: (u32, u32),
}

impl Point {
    fn bytes(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn labels(self) -> Range<usize> {
        self.labels.0 as usize..self.labels.1 as usize
    }
}

impl Encoder {
    /// Creates an encoder of the metrics of a table, which adds these tags to each point.
    ///
    /// # Errors
    /// Two rows of the table are the same, or differ in kind, unit or help but not in their family;
    /// there are too many tags, or a line with these tags and 255 bytes of labels would be too
    /// long; a key occurs twice or in the table; the format is JSON and a row would have no tag;
    /// the format is an exposition and a key is not a valid label name
    /// (`[a-zA-Z_][a-zA-Z0-9_]*`, not starting with `__`).
    pub fn new(
        format: Format,
        table: &[&'static Metric],
        tags: &[Tag],
    ) -> Result<Self, ConfigError> {
        let families = families(table)?;
        check_tags(format, table, tags)?;
        let mut rows: Vec<Row> = table
            .iter()
            .zip(families)
            .map(|(&metric, family)| {
                let template = Template::new(format, metric, tags);
                let longest = template.static_len() + MAX_TIME + MAX_VALUE;
                let head = template.prefix.clone().into_bytes();
                Row { metric, family, longest, template, head }
            })
            .collect();
        rows.sort_by_key(|row| row.family);
        if format == Format::Tcollector {
            let labels = |row: &Row| if row.metric.labels.is_empty() { 0 } else { MAX_TAG_LEN };
            let longest = rows.iter().map(|row| row.longest + labels(row)).max().unwrap_or(0);
            if longest >= MAX_LINE {
                return Err(ConfigError::TagsTooLong { excess: longest - MAX_LINE + 1 });
            }
        }
        let address = |(at, row): (usize, &Row)| (ptr::from_ref(row.metric).addr(), at);
        let mut addresses: Vec<_> = rows.iter().enumerate().map(address).collect();
        addresses.sort_unstable();
        Ok(Encoder {
            format,
            rows,
            addresses,
            build_info: Vec::new(),
            time: Vec::new(),
            last: None,
            points: Vec::new(),
            sorted: Vec::new(),
        })
    }

    /// Adds the metric `PROGRAM_build_info` with this version to each exposition: the value is 1.
    /// Its only label is the version. In the other formats nothing changes.
    ///
    /// # Panics
    /// If the program is not `[a-zA-Z_][a-zA-Z0-9_]*`, or the version has other characters than
    /// `[-+._a-zA-Z0-9]`.
    #[must_use]
    pub fn with_build_info(mut self, program: &str, version: &str) -> Self {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-+._".contains(&b);
        assert!(version.bytes().all(is_plain), "invalid version");
        assert!(is_label_name(program), "invalid name of a program");
        let unit = match self.format {
            Format::OpenMetrics => format!("# UNIT {program}_build_info \n"),
            Format::Prometheus => String::new(),
            Format::Tcollector | Format::Json | Format::Influx => return self,
        };
        self.build_info = format!(
            "# HELP {program}_build_info The version of {program}. The value is always 1.\n\
             # TYPE {program}_build_info gauge\n\
             {unit}{program}_build_info{{version=\"{version}\"}} 1\n"
        )
        .into_bytes();
        self
    }

    /// Begins a cycle with this timestamp: clears `out`, which keeps its capacity, and returns
    /// the encoder of its points. The contents of `out` are complete only after
    /// [`CycleEncoder::finish`].
    ///
    /// # Errors
    /// [`EncodeError::TimeNotAdvanced`]: the timestamp is not later than that of the previous
    /// cycle. OpenTSDB would receive the same series twice in one second, and tcollector drops
    /// points that go back in time. In an exposition, which has no timestamps, any timestamp is
    /// accepted.
    pub fn begin<'a>(
        &'a mut self,
        out: &'a mut Vec<u8>,
        time: Timestamp,
    ) -> Result<CycleEncoder<'a>, EncodeError> {
        if !self.format.is_exposition()
            && let Some(last) = self.last
            && last >= time
        {
            return Err(EncodeError::TimeNotAdvanced { last: last.as_unix(), now: time.as_unix() });
        }
        self.last = Some(time);
        self.time.clear();
        self.time.extend_from_slice(itoa::Buffer::new().format(time.as_unix()).as_bytes());
        self.time.extend_from_slice(match self.format {
            Format::Json => b",\"value\":",
            Format::Tcollector => b" ",
            Format::Influx => b"000000000\n",
            Format::OpenMetrics | Format::Prometheus => b"",
        });
        if self.format.has_value_first() {
            for row in &mut self.rows {
                row.head.truncate(row.template.prefix.len());
                row.head.extend_from_slice(&self.time);
            }
        }
        self.points.clear();
        out.clear();
        out.extend_from_slice(&self.build_info);
        let frame = Frame { format: self.format, family: None, start: out.len(), points: 0 };
        Ok(CycleEncoder { encoder: self, out, frame, row: 0, labels: None, is_sorted: true })
    }
}

/// Checks the table. Returns the number of the family of each row, in the order of the families'
/// first rows.
fn families(table: &[&'static Metric]) -> Result<Vec<usize>, ConfigError> {
    let mut numbers = Vec::with_capacity(table.len());
    // The first row of each family, and the numbers by all names of an exposition.
    let mut first: Vec<&Metric> = Vec::new();
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    for (at, metric) in table.iter().enumerate() {
        let is_same = |other: &&&Metric| {
            (other.name, other.labels, other.tags) == (metric.name, metric.labels, metric.tags)
        };
        if table.iter().take(at).any(|other| is_same(&other)) {
            return Err(ConfigError::DuplicateMetric(metric.name));
        }
        let (family, sample) = (metric.family_name().into_owned(), sample_name(metric));
        let number = by_name.get(&family).or(by_name.get(&sample)).copied();
        if let Some(other) = number.and_then(|number| first.get(number)) {
            let describe = |metric: &Metric| {
                (metric.family_name(), metric.name, metric.kind, metric.unit, metric.help)
            };
            if describe(other) != describe(metric) {
                return Err(ConfigError::FamilyConflict(metric.name));
            }
        }
        numbers.push(number.unwrap_or_else(|| {
            first.push(metric);
            for name in [family, sample] {
                by_name.insert(name, first.len() - 1);
            }
            first.len() - 1
        }));
    }
    Ok(numbers)
}

/// Checks the extra tags, except the length of a line.
fn check_tags(format: Format, table: &[&Metric], tags: &[Tag]) -> Result<(), ConfigError> {
    for (index, tag) in tags.iter().enumerate() {
        let key = tag.key();
        let has_key = |metric: &&Metric| {
            metric.labels.contains(&key) || metric.tags.iter().any(|&(other, _)| other == key)
        };
        if table.iter().any(has_key) {
            return Err(ConfigError::ReservedTag(tag.clone()));
        }
        if tags.iter().take(index).any(|earlier| earlier.key() == key) {
            return Err(ConfigError::DuplicateTag(tag.clone()));
        }
        if format.is_exposition() && !is_label_name(key) {
            return Err(ConfigError::InvalidLabelName(tag.clone()));
        }
    }
    let count = tags.iter().filter(|tag| tag.key() != "host").count();
    let row_tags = || table.iter().map(|metric| metric.tag_count());
    let allowed = allowed_tags(row_tags().max().unwrap_or(0));
    if count > allowed {
        return Err(ConfigError::TooManyTags { count, allowed });
    }
    if format == Format::Json && tags.is_empty() && row_tags().any(|count| count == 0) {
        return Err(ConfigError::MissingTag);
    }
    Ok(())
}

/// The encoder of one cycle's points.
#[derive(Debug)]
#[must_use = "the output is complete only after finish()"]
pub struct CycleEncoder<'a> {
    encoder: &'a mut Encoder,
    out: &'a mut Vec<u8>,
    frame: Frame,
    /// The row of the last point.
    row: usize,
    /// The values of its labels in `out`; `None` if there is no point yet.
    labels: Option<Range<usize>>,
    /// Whether the points are in the order of the output, so that `out` is already the output.
    is_sorted: bool,
}

/// The texts between points: headers of families, and JSON arrays.
#[derive(Debug)]
struct Frame {
    format: Format,
    /// The family of the last point, in an exposition.
    family: Option<usize>,
    /// The first byte of the last JSON array.
    start: usize,
    /// The points of that array.
    points: usize,
}

impl Frame {
    /// Appends what precedes a point whose values of labels have this length.
    #[inline(always)]
    fn before(&mut self, out: &mut Vec<u8>, row: &Row, labels: impl FnOnce() -> usize) {
        match self.format {
            Format::Tcollector | Format::Influx => {}
            Format::Json => {
                self.before_json(out, row.longest - MAX_TIME + MAX_JSON_TIME + labels());
            }
            Format::OpenMetrics | Format::Prometheus => {
                if self.family != Some(row.family) {
                    self.family = Some(row.family);
                    out.extend_from_slice(row.template.header.as_bytes());
                }
            }
        }
    }

    /// Appends what precedes a point of at most this length.
    fn before_json(&mut self, out: &mut Vec<u8>, longest: usize) {
        // The comma before it, the bracket and the newline after it.
        if self.points == MAX_ARRAY_POINTS || out.len() - self.start + longest + 3 > MAX_ARRAY {
            out.extend_from_slice(b"]\n");
            (self.start, self.points) = (out.len(), 0);
        }
        out.push(if self.points == 0 { b'[' } else { b',' });
        self.points += 1;
    }
}

impl CycleEncoder<'_> {
    /// Adds one point: the metric, which is in the table of the encoder, the values of its labels
    /// in their order, and its value.
    ///
    /// A metric is found fastest if it is the one of the previous point, or the next one in the
    /// table, or else if it is a `static` of the table; a `const` is found by comparison.
    ///
    /// # Errors
    /// The metric is not in the table, or has another number of labels; the value is a negative
    /// counter, or not finite; the line is too long, which needs labels of more than 255 bytes
    /// together. The point is not written, and the cycle can continue.
    #[inline]
    pub fn point(
        &mut self,
        metric: &Metric,
        labels: &[&TagValue],
        value: impl Into<Value>,
    ) -> Result<(), EncodeError> {
        self.write(metric, labels, value.into())
    }

    /// Ends the cycle. The buffer is now complete and can be written at once. A JSON cycle
    /// without points leaves it empty, because OpenTSDB rejects an empty array.
    ///
    /// # Errors
    /// [`EncodeError::Duplicate`]: there are two points of the same series. The output is complete
    /// nevertheless, and has the first of them.
    pub fn finish(mut self) -> Result<(), EncodeError> {
        let unique = if self.is_sorted { Ok(()) } else { self.sort() };
        match self.encoder.format {
            Format::Tcollector | Format::Influx | Format::Prometheus => {}
            Format::Json if self.encoder.points.is_empty() => {}
            Format::Json => self.out.extend_from_slice(b"]\n"),
            Format::OpenMetrics => self.out.extend_from_slice(b"# EOF\n"),
        }
        unique
    }

    fn write(
        &mut self,
        metric: &Metric,
        labels: &[&TagValue],
        value: Value,
    ) -> Result<(), EncodeError> {
        let name = metric.name;
        let Encoder { rows, addresses, points, time, format, .. } = &mut *self.encoder;
        let (row, number) = match rows.get(self.row) {
            Some(row) if ptr::eq(row.metric, metric) => (row, self.row),
            _ => {
                let number = find(rows, addresses, metric, self.row + 1);
                let number = number.ok_or(EncodeError::UnknownMetric(name))?;
                (&rows[number], number)
            }
        };
        let expected = row.metric.labels.len();
        if labels.len() != expected {
            return Err(EncodeError::LabelCount { name, expected, found: labels.len() });
        }
        if !value.is_finite() {
            return Err(EncodeError::NotFinite(name));
        }
        if row.metric.kind == Kind::Counter && value.is_negative() {
            return Err(EncodeError::NegativeCounter(name));
        }

        let out = &mut *self.out;
        let before = out.len();
        self.is_sorted &= self.row <= number || self.labels.is_none();
        if self.is_sorted {
            let labels = || labels.iter().map(|label| label.as_str().len()).sum();
            self.frame.before(out, row, labels);
        }
        let template = &row.template;
        let start = out.len();
        out.extend_from_slice(&row.head);
        let written = if format.has_value_first() {
            value.write(out, template.power);
            out.extend_from_slice(template.open.as_bytes());
            template.write_labels(out, labels)
        } else {
            let written = template.write_labels(out, labels);
            value.write(out, template.power);
            if *format == Format::Influx {
                if value.is_integer() {
                    out.push(b'i');
                }
                out.push(b' ');
                out.extend_from_slice(time);
            } else {
                out.push(b'\n');
            }
            written
        };
        let end = out.len();
        let place = |at: usize| u32::try_from(at).ok();
        let point = (place(start), place(written.start), place(written.end), place(end));
        let (Some(start), Some(labels_start), Some(labels_end), Some(end)) = point else {
            // At the end the texts before the points are written again.
            out.truncate(before);
            self.is_sorted = false;
            return Err(EncodeError::CycleTooLong(name));
        };
        if *format == Format::Tcollector && end - start >= MAX_LINE as u32 {
            out.truncate(before);
            return Err(EncodeError::LineTooLong(name));
        }

        if let Some(last) = &self.labels
            && self.row == number
        {
            // Reading the bytes that were just written takes longer.
            let values = match labels {
                [value] => value.as_str().as_bytes(),
                _ => &out[written.clone()],
            };
            self.is_sorted &= out[last.clone()] < *values;
        }
        points.push(Point { row: number as u32, start, end, labels: (labels_start, labels_end) });
        (self.row, self.labels) = (number, Some(written));
        Ok(())
    }

    /// Replaces the output by the sorted points, each series once.
    fn sort(&mut self) -> Result<(), EncodeError> {
        let Encoder { rows, points, sorted, build_info, .. } = &mut *self.encoder;
        let out = &mut *self.out;
        // The labels of a row's points are often in order already, and texts take long to compare.
        points.sort_unstable_by_key(|point| (point.row, point.start));
        for points in points.chunk_by_mut(|a, b| a.row == b.row) {
            let labels = |point: &Point| &out[point.labels()];
            if !points.is_sorted_by(|a, b| labels(a) <= labels(b)) {
                points
                    .sort_unstable_by(|a, b| labels(a).cmp(labels(b)).then(a.start.cmp(&b.start)));
            }
        }
        sorted.clear();
        let mut unique = Ok(());
        let mut frame = Frame { format: self.frame.format, family: None, start: 0, points: 0 };
        let mut last: Option<Point> = None;
        for &point in &*points {
            let row = &rows[point.row as usize];
            let is_same =
                |last: Point| last.row == point.row && out[last.labels()] == out[point.labels()];
            if last.is_some_and(is_same) {
                unique = unique.and(Err(EncodeError::Duplicate(row.metric.name)));
                continue;
            }
            last = Some(point);
            frame.before(sorted, row, || point.labels().len() - row.template.between_len());
            sorted.extend_from_slice(&out[point.bytes()]);
        }
        out.truncate(build_info.len());
        out.extend_from_slice(sorted);
        unique
    }
}

/// The place of a metric in `rows`; `next` is tried first.
fn find(rows: &[Row], addresses: &[(usize, usize)], metric: &Metric, next: usize) -> Option<usize> {
    if rows.get(next).is_some_and(|row| ptr::eq(row.metric, metric)) {
        return Some(next);
    }
    let address = ptr::from_ref(metric).addr();
    match addresses.binary_search_by_key(&address, |&(address, _)| address) {
        Ok(at) => addresses.get(at).map(|&(_, row)| row),
        Err(_) => rows.iter().position(|row| row.metric == metric),
    }
}
