//! Which rules match a process and where, and why the other rules do not.

use std::ops::Range;
use std::path::Path;

use psstat_matcher::{Field, MadeName, Rule, Rules, StepLimit};
use psstat_proc_parse::{Cmdline, ProcessState, Stat};
use psstat_sampler::{Candidate, ProcessFields};
use serde_json::{Map, Value, json};

use super::search::{self, Explanation, NearMiss};
use super::{Printer, TimeBudget, image_of, insert_range, near_miss_text};
use crate::args::{Format, GlobalArgs};
use crate::conf;
use crate::executable;
use crate::exit::{Error, Outcome};
use crate::measure;
use crate::process_report::{Files, ReadError, is_kernel_thread};
use crate::process_text::{Fields, OwnedText, field_name, pattern};
use crate::selector::Source;
use crate::table::row::CommName;
use crate::table::{csv, json};
use crate::terminal;
use psstat_support::escape;
use psstat_support::process_texts::ProcessTexts;

/// Why a process has no command line, or that it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A process, and its name in place of an empty command line.
    Process(Option<CommName>),
    KernelThread,
    Zombie,
}

impl Kind {
    fn read(files: &Files, raw: &[u8]) -> Kind {
        if !Cmdline::new(raw).is_empty() {
            return Kind::Process(None);
        }
        let bytes = files.read("stat").unwrap_or_default();
        match Stat::parse(&bytes) {
            Ok(stat) if is_kernel_thread(&stat) => Kind::KernelThread,
            // Not if only its main thread has exited.
            Ok(stat)
                if matches!(stat.state, ProcessState::Zombie | ProcessState::Dead)
                    && files.live_tid().is_none() =>
            {
                Kind::Zombie
            }
            Ok(stat) => Kind::Process(Some(CommName::Process(stat.comm.to_vec()))),
            // Reading `stat` can block, that of `comm` does not.
            Err(_) => {
                let comm = files.read("comm").ok();
                let comm = comm.map(|comm| comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec());
                Kind::Process(comm.map(CommName::Process))
            }
        }
    }

    /// Whether rules are matched against its command line, which may be empty.
    fn has_command_line(&self) -> bool {
        matches!(self, Kind::Process(_))
    }

    fn word(&self) -> &'static str {
        match self {
            Kind::Process(_) => "process",
            Kind::KernelThread => "kernel_thread",
            Kind::Zombie => "zombie",
        }
    }
}

/// A process that is explained.
struct Subject {
    pid: u32,
    kind: Kind,
    /// `cmdline`.
    raw: Vec<u8>,
    /// Its arguments joined by spaces, empty also without any, and the other texts that rules are
    /// about.
    text: OwnedText,
    comm: Option<Vec<u8>>,
}

impl Subject {
    fn read(proc: &Path, pid: u32, texts: &mut ProcessTexts) -> Result<Subject, ReadError> {
        let files = Files::open(proc, pid)?;
        let raw = files.read("cmdline")?;
        let kind = Kind::read(&files, &raw);
        let args_joined: Vec<u8> = Cmdline::new(&raw).joined().collect();
        let Fields { comm, uid, cgroup } =
            Fields::read(&files, ProcessFields { comm: true, ..texts.fields() });
        let mut process = Candidate::new(pid, &raw, &args_joined);
        (process.comm, process.uid, process.cgroup) = (comm.as_deref(), uid, cgroup.as_deref());
        let text = texts.of(&process);
        Ok(Subject { pid, kind, text: text.into(), raw, comm })
    }
}

/// Why it is not known whether a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    StepLimit,
    /// The rules before it used all of the time.
    NoTime,
}

impl From<StepLimit> for Unknown {
    fn from(_: StepLimit) -> Unknown {
        Unknown::StepLimit
    }
}

/// The result of a rule for one command line.
struct RuleResult<'r> {
    rule: &'r Rule,
    image: &'r str,
    result: Result<Option<Range<usize>>, Unknown>,
    /// The image name that it makes of the process, if its image name has groups.
    made: Option<MadeName>,
    /// Why the rule does not match.
    explanation: Explanation,
    /// Whether the search for the explanation was completed.
    searched: bool,
}

impl RuleResult<'_> {
    /// Where the rule matches.
    fn matched(&self) -> Option<&Range<usize>> {
        self.result.as_ref().ok()?.as_ref()
    }

    /// The name of its image for this process.
    fn image_name(&self) -> &str {
        self.made.as_ref().map_or(self.image, |made| &made.name)
    }

    fn step_limit_exceeded(&self) -> bool {
        self.result == Err(Unknown::StepLimit)
    }

    /// Whether the rule matches; `None` if that is unknown.
    fn matches(&self) -> Option<bool> {
        self.result.as_ref().ok().map(Option::is_some)
    }

    /// Where the rule matches, or its longest matching prefix.
    fn range(&self) -> Option<&Range<usize>> {
        self.matched().or(self.explanation.longest_prefix.as_ref().map(|prefix| &prefix.at))
    }

    fn longest_prefix(&self) -> Option<&str> {
        self.explanation.longest_prefix.as_ref().map(|prefix| &*prefix.prefix)
    }
}

/// Explains the rules' results for these processes.
pub(super) fn explain(
    global: &GlobalArgs,
    source: &Source,
    pids: &[u32],
    printer: Printer,
) -> Result<Outcome, Error> {
    let rules = match source {
        Source::Conf { rules, .. } | Source::Regex(rules) => rules,
        Source::Executable => &Rules::default(),
    };
    let mut texts = measure::texts_of_rules(&global.proc, rules);
    let read = |&pid: &u32| match Subject::read(&global.proc, pid, &mut texts) {
        Ok(subject) => Some(subject),
        Err(error) => {
            let error = escape::text(&error.to_string());
            terminal::eprint_line(&format!("psstat-dump: {pid}: {error}"));
            None
        }
    };
    let subjects: Vec<Subject> = pids.iter().filter_map(read).collect();
    let budget = TimeBudget::start();
    let mut results: Vec<Vec<RuleResult<'_>>> = subjects.iter().map(|_| Vec::new()).collect();
    // All rules before any explanation: the time is for the rules first.
    let apply = |rule| apply(rule, image_of(rules, rule), &subjects, &budget);
    let by_rule: Vec<Vec<RuleResult<'_>>> = rules.rules().iter().map(apply).collect();
    for mut of_rule in by_rule {
        search_near_misses(&mut of_rule, &subjects, &budget);
        for (of_process, result) in results.iter_mut().zip(of_rule) {
            of_process.push(result);
        }
    }
    let mut outcome = Outcome::NoMatch;
    let mut first = true;
    for (subject, results) in subjects.iter().zip(&results) {
        let by_name = matches!(source, Source::Executable) && subject.kind.has_command_line();
        let by_name = by_name.then(|| executable::image(&subject.raw, || subject.comm.clone()));
        if by_name.is_some() || results.iter().any(|result| result.matched().is_some()) {
            outcome = Outcome::Match;
        }
        let bytes = match printer.format {
            Format::Text => {
                let gap = if first { "" } else { "\n" };
                let text = as_text(subject, results, by_name.as_deref(), printer);
                format!("{gap}{text}").into_bytes()
            }
            Format::Json => json::line(&as_json(subject, results, source, by_name)),
            Format::Csv => as_csv(subject, results, first).into_bytes(),
        };
        first = false;
        terminal::print(&bytes)?;
    }
    budget.warn_incomplete();
    Ok(outcome)
}

/// Applies a rule to each process.
fn apply<'r>(
    rule: &'r Rule,
    image: &'r str,
    subjects: &[Subject],
    budget: &TimeBudget,
) -> Vec<RuleResult<'r>> {
    let apply = |subject: &Subject| {
        let explanation = Explanation::default();
        let text = subject.text.get(rule.field()).filter(|_| subject.kind.has_command_line());
        let mut result = match text {
            None => Ok(None),
            Some(text) if budget.has_time() => rule.find(text).map_err(Unknown::from),
            Some(_) => Err(Unknown::NoTime),
        };
        let mut made = None;
        if let (Ok(Some(_)), Some(text)) = (&result, text) {
            // Without a name within the limit it belongs to no image.
            match rule.make_name(text) {
                Ok(name) => made = name,
                Err(limit) => result = Err(limit.into()),
            }
        }
        RuleResult { rule, image, result, made, explanation, searched: true }
    };
    subjects.iter().map(apply).collect()
}

/// Explains why a rule does not match.
fn search_near_misses(results: &mut [RuleResult<'_>], subjects: &[Subject], budget: &TimeBudget) {
    let Some(rule) = results.first().map(|first| first.rule) else { return };
    let texts = subjects.iter().map(|subject| subject.text.get(rule.field()).unwrap_or_default());
    let pairs = results.iter_mut().zip(texts);
    let unmatched = pairs.filter(|(one, text)| matches!(one.result, Ok(None)) && !text.is_empty());
    let (unmatched, texts): (Vec<_>, Vec<&[u8]>) = unmatched.unzip();
    let explanations = search::explain(rule.pattern(), &texts, &|| budget.has_time());
    for (result, explanation) in unmatched.into_iter().zip(explanations) {
        result.explanation = explanation;
        result.searched = !budget.is_exhausted.get();
    }
}

fn as_text(
    subject: &Subject,
    results: &[RuleResult<'_>],
    by_name: Option<&str>,
    printer: Printer,
) -> String {
    let (paint, text) = (printer.paint, subject.text.command_line());
    let mut out = format!("{}\n", paint.bold(&format!("process {}", subject.pid)));
    match &subject.kind {
        Kind::KernelThread => {
            out.push_str("  no command line: a kernel thread; no rule matches it\n");
            return out;
        }
        Kind::Zombie => {
            out.push_str("  no command line: a zombie; no rule matches it\n");
            return out;
        }
        Kind::Process(Some(comm)) => {
            let comm = escape::bytes(&comm.enclosed());
            out.push_str(&format!("  the command line of {comm} is empty\n"));
        }
        Kind::Process(None) => {}
    }
    if let Some(image) = by_name {
        if !text.is_empty() {
            out.push_str(&format!("  {}\n", escape::truncate(&escape::bytes(text), 120)));
        }
        out.push_str(&format!("  image {image}, by executable name\n"));
        return out;
    }
    for result in results {
        let (line, field) = (printer.place(result.rule), result.rule.field());
        let regex = pattern(field, &escape::bytes(result.rule.pattern()));
        let known = subject.text.get(field);
        let text = known.unwrap_or_default();
        let word = match result.matches() {
            Some(true) => paint.bold("matches"),
            Some(false) => "no match".to_owned(),
            None => paint.warning("unknown"),
        };
        out.push_str(&format!("{word}  {}  {regex}{line}\n", result.image));
        let prefix = result.explanation.longest_prefix.as_ref();
        if let Some(at) = result.matched() {
            out.push_str(&printer.excerpt(text, at));
            if let Some(made) = &result.made {
                out.push_str(&made_text(result.image, made, text, printer));
            }
        } else if result.step_limit_exceeded() {
            out.push_str("  step limit exceeded\n");
        } else if result.result.is_err() {
            out.push_str("  not tried (time limit)\n");
        } else if known.is_none() {
            out.push_str(&format!("  {}\n", without_text(field)));
        } else if let Some(near_miss) = &result.explanation.near_miss {
            out.push_str(&near_miss_text(result.rule, text, near_miss, printer));
        } else if let Some(prefix) = prefix.filter(|prefix| prefix.is_significant()) {
            out.push_str(&format!("  matches up to {}\n", escape::text(&prefix.prefix)));
            out.push_str(&printer.excerpt(text, &prefix.at));
        } else if text.is_empty() {
            // Nothing to compare with.
        } else if result.searched {
            out.push_str("  no partial match\n");
        } else {
            out.push_str("  partial match not computed (time limit)\n");
        }
    }
    let matched = results.iter().filter(|result| result.matched().is_some()).count();
    let unknown = match results.iter().filter(|result| result.result.is_err()).count() {
        0 => String::new(),
        unknown => format!(", {unknown} unknown"),
    };
    out.push_str(&format!("{matched} of {} rules match{unknown}\n", results.len()));
    out
}

/// Why a process has no text of a field.
fn without_text(field: Field) -> &'static str {
    match field {
        Field::Unit => "not in a systemd unit",
        Field::Container => "not in a container",
        _ => "could not be read",
    }
}

/// The image name that a rule makes, and where each group of it is.
fn made_text(image: &str, made: &MadeName, text: &[u8], printer: Printer) -> String {
    let mut out = format!("  image {}\n", made.name);
    let groups = image.split('{').skip(1).filter_map(|part| part.split_once('}'));
    for ((group, _), at) in groups.zip(&made.groups) {
        match at {
            Some(at) => out.push_str(&format!("  {{{group}}}\n{}", printer.excerpt(text, at))),
            None => out.push_str(&format!("  {{{group}}} is not part of the match\n")),
        }
    }
    out
}

/// Inserts the fields of a near miss; all are null if there is none.
fn insert_near_miss(
    fields: &mut Map<String, Value>,
    rule: &Rule,
    text: &[u8],
    near_miss: Option<&NearMiss>,
) {
    let (expected, found) = match near_miss {
        Some(NearMiss::Mismatch { expected, found }) => (Some(expected), Some(found)),
        Some(NearMiss::Case(found) | NearMiss::Alternation(found)) => (None, Some(found)),
        None => (None, None),
    };
    fields.insert("near_miss".to_owned(), json!(near_miss.map(kind)));
    for (field, of, at) in [("expected", rule.pattern(), expected), ("found", text, found)] {
        match at.and_then(|at| of.get(at.clone())) {
            Some(part) => json::insert_text(fields, field, part),
            None => {
                fields.insert(field.to_owned(), Value::Null);
            }
        }
    }
    fields.insert("expected_start_byte".to_owned(), json!(expected.map(|at| at.start)));
    fields.insert("found_start_byte".to_owned(), json!(found.map(|at| at.start)));
}

fn kind(near_miss: &NearMiss) -> &'static str {
    match near_miss {
        NearMiss::Case(_) => "case",
        NearMiss::Alternation(_) => "alternation",
        NearMiss::Mismatch { .. } => "mismatch",
    }
}

/// The CSV fields `near_miss`, `expected` and `found`.
fn near_miss_csv(rule: &Rule, text: &[u8], near_miss: Option<&NearMiss>) -> [String; 3] {
    let part = |of: &[u8], at: &Range<usize>| escape::bytes(of.get(at.clone()).unwrap_or(b""));
    let Some(near_miss) = near_miss else { return Default::default() };
    let (expected, found) = match near_miss {
        NearMiss::Case(found) | NearMiss::Alternation(found) => (String::new(), part(text, found)),
        NearMiss::Mismatch { expected, found } => {
            (part(rule.pattern(), expected), part(text, found))
        }
    };
    [kind(near_miss).to_owned(), expected, found]
}

fn as_json(
    subject: &Subject,
    results: &[RuleResult<'_>],
    source: &Source,
    by_name: Option<String>,
) -> Value {
    let mut document = json::document("explain");
    document.insert("images_from".to_owned(), json::source(source));
    document.insert("pid".to_owned(), json!(subject.pid));
    document.insert("process_kind".to_owned(), json!(subject.kind.word()));
    json::insert_text(&mut document, "command_line", subject.text.command_line());
    for field in Field::ALL.into_iter().skip(1) {
        let name = field_name(field);
        match subject.text.get(field) {
            Some(text) => json::insert_text(&mut document, name, text),
            None => drop(document.insert(name.to_owned(), Value::Null)),
        }
    }
    let image = by_name.or_else(|| {
        let first = results.iter().find(|result| result.matched().is_some());
        first.map(|result| result.image_name().to_owned())
    });
    document.insert("first_image".to_owned(), json!(image));
    let rules = results.iter().map(|result| {
        let mut fields = Map::new();
        fields.insert("image".to_owned(), json!(result.image));
        fields.insert("file".to_owned(), conf::file_of(result.rule));
        fields.insert("line".to_owned(), json!(result.rule.line()));
        let field = result.rule.field();
        let text = subject.text.get(field).unwrap_or_default();
        fields.insert("field".to_owned(), json!(field_name(field)));
        json::insert_text(&mut fields, "regex", result.rule.pattern());
        let made = result.made.as_ref().map(|made| &made.name);
        fields.insert("made_image".to_owned(), json!(made));
        fields.insert("matches".to_owned(), json!(result.matches()));
        fields.insert("step_limit_exceeded".to_owned(), json!(result.step_limit_exceeded()));
        insert_range(&mut fields, result.range());
        fields.insert("matches_up_to".to_owned(), json!(result.longest_prefix()));
        let near_miss = result.explanation.near_miss.as_ref();
        insert_near_miss(&mut fields, result.rule, text, near_miss);
        Value::Object(fields)
    });
    document.insert("rules".to_owned(), rules.collect());
    document.into()
}

fn as_csv(subject: &Subject, results: &[RuleResult<'_>], first: bool) -> String {
    let mut text = String::new();
    if first {
        let fields = ["pid", "line", "image", "regex", "matches", "start_byte", "end_byte"];
        let fields = fields.into_iter().chain(["matches_up_to", "near_miss", "expected", "found"]);
        let fields = fields.chain(["file", "field"]);
        text.push_str(&csv::line(fields.map(str::to_owned)));
    }
    for result in results {
        let at = result.range();
        let number = |number: Option<usize>| number.map(|n| n.to_string()).unwrap_or_default();
        let fields = [
            subject.pid.to_string(),
            number(result.rule.line()),
            result.image_name().to_owned(),
            escape::bytes(result.rule.pattern()),
            result.matches().map(|matches| matches.to_string()).unwrap_or_default(),
            number(at.map(|at| at.start)),
            number(at.map(|at| at.end)),
            result.longest_prefix().map(escape::text).unwrap_or_default(),
        ];
        let field = result.rule.field();
        let of_field = subject.text.get(field).unwrap_or_default();
        let near_miss = near_miss_csv(result.rule, of_field, result.explanation.near_miss.as_ref());
        let file = result.rule.path().map(conf::display).unwrap_or_default();
        let last = [file, field_name(field).to_owned()];
        text.push_str(&csv::line(fields.into_iter().chain(near_miss).chain(last)));
    }
    text
}
