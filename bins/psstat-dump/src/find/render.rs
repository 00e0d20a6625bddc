//! The findings as text, JSON and CSV.

use serde_json::{Map, Value, json};

use super::{Findings, HeldBy, Hit, Object};
use crate::sockets::Endpoint;
use crate::table::{csv, json};
use crate::terminal::Paint;
use crate::users::Users;
use psstat_support::escape;

/// A field of a row.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Absent,
    Number(u64),
    /// Any bytes.
    Text(Vec<u8>),
    Names(Vec<String>),
}

impl Cell {
    fn number(number: Option<impl Into<u64>>) -> Cell {
        number.map_or(Cell::Absent, |number| Cell::Number(number.into()))
    }

    fn text(text: Option<impl Into<Vec<u8>>>) -> Cell {
        text.map_or(Cell::Absent, |text| Cell::Text(text.into()))
    }

    /// The escaped text; empty if it is absent.
    fn printed(&self, separator: &str) -> String {
        match self {
            Cell::Absent => String::new(),
            Cell::Number(number) => number.to_string(),
            Cell::Text(text) => escape::bytes(text),
            Cell::Names(names) => names.join(separator),
        }
    }
}

/// The fields of a row, for JSON and CSV.
const FIELDS: [&str; 19] = [
    "what",
    "images",
    "pid",
    "process",
    "user",
    "uid",
    "held_by",
    "fd",
    "access",
    "kind",
    "state",
    "local",
    "remote",
    "path",
    "rx_queue_bytes",
    "tx_queue_bytes",
    "accept_queue",
    "backlog",
    "inode",
];
/// The last field.
const NAMESPACE: &str = "network_namespace";

/// The findings with what is needed to print them.
pub(crate) struct Printed<'a> {
    pub(crate) findings: &'a Findings,
    /// The arguments.
    pub(crate) what: &'a [Vec<u8>],
    pub(crate) users: &'a Users,
}

impl Printed<'_> {
    fn fields(&self, hit: &Hit) -> Vec<(&'static str, Cell)> {
        let holder = hit.pid.and_then(|pid| self.findings.holders.get(&pid));
        let images = holder.and_then(|holder| holder.images.clone());
        let (held_by, fd) = match hit.held_by {
            None => (None, None),
            Some(HeldBy::Fd(fd)) => (Some("fd"), Some(fd)),
            Some(HeldBy::Cwd) => (Some("cwd"), None),
            Some(HeldBy::Root) => (Some("root"), None),
            Some(HeldBy::Exe) => (Some("exe"), None),
        };
        let socket = match &hit.object {
            Object::Socket(socket, ..) => Some(socket),
            _ => None,
        };
        let file = match &hit.object {
            Object::File(file) => Some(file),
            _ => None,
        };
        let endpoint = |endpoint: Option<&Endpoint>| match endpoint {
            None | Some(Endpoint::Unnamed) => Cell::Absent,
            Some(Endpoint::Path(path)) => Cell::Text(path.clone()),
            Some(inet) => Cell::text(Some(inet.to_string())),
        };
        let uid = holder.and_then(|holder| holder.uid).or(socket.and_then(|socket| socket.uid));
        let deleted = file.filter(|file| file.is_deleted).map(|_| "deleted".to_owned());
        let inode = match &hit.object {
            Object::Socket(socket, ..) => Some(socket.inode),
            Object::OtherSocket(inode) => Some(*inode),
            Object::File(file) => file.inode,
        };
        let namespace = match &hit.object {
            Object::Socket(_, namespace, _) => *namespace,
            _ => None,
        };
        let kind = match &hit.object {
            Object::Socket(socket, ..) => socket.protocol,
            Object::OtherSocket(_) => "socket",
            Object::File(file) => file.kind,
        };
        let values = [
            Cell::text(self.what.get(hit.target).cloned()),
            images.map_or(Cell::Absent, Cell::Names),
            Cell::number(hit.pid),
            Cell::text(holder.and_then(|holder| holder.name.clone())),
            Cell::text(uid.map(|uid| self.users.name(uid))),
            Cell::number(uid),
            Cell::text(held_by),
            Cell::number(fd),
            Cell::text(file.and_then(|file| file.access)),
            Cell::text(Some(kind)),
            Cell::text(socket.map(|socket| socket.state.clone()).or(deleted)),
            endpoint(socket.map(|socket| &socket.local)),
            endpoint(socket.map(|socket| &socket.remote)),
            Cell::text(file.map(|file| file.path.clone())),
            Cell::number(socket.and_then(|socket| socket.rx_queue)),
            Cell::number(socket.and_then(|socket| socket.tx_queue)),
            Cell::number(socket.and_then(|socket| socket.accept_queue)),
            Cell::number(socket.and_then(|socket| socket.backlog)),
            Cell::number(inode),
        ];
        let namespace = (NAMESPACE, Cell::number(namespace));
        FIELDS.into_iter().zip(values).chain([namespace]).collect()
    }
}

/// The columns of the text, and whether one without values is shown.
const COLUMNS: [(&str, bool); 13] = [
    ("WHAT", false),
    ("IMAGE", true),
    ("PID", true),
    ("PROCESS", true),
    ("USER", true),
    ("FD", true),
    ("KIND", true),
    ("STATE", false),
    ("RX-Q", false),
    ("TX-Q", false),
    ("LOCAL", false),
    ("REMOTE", false),
    ("PATH", false),
];

/// A table with a row for each descriptor. Queues of a listener are, as in `ss`, the connections
/// that wait and their maximum. Columns without values are omitted; the namespace is shown if one
/// is not that of this program.
pub(crate) fn as_text(printed: &Printed<'_>, paint: Paint) -> String {
    let hits = &printed.findings.hits;
    let own = printed.findings.own_namespace;
    let is_elsewhere = |hit: &Hit| matches!(hit.object, Object::Socket(_, namespace, _) if namespace.is_some() && namespace != own);
    let has_namespaces = hits.iter().any(is_elsewhere);
    let mut lines: Vec<Vec<String>> = Vec::with_capacity(hits.len());
    for hit in hits {
        let fields = printed.fields(hit);
        let of = |name: &str| {
            fields
                .iter()
                .find(|(field, _)| *field == name)
                .map_or(Cell::Absent, |(_, cell)| cell.clone())
        };
        let either = |one: &str, other: &str| match of(one) {
            Cell::Absent => of(other),
            cell => cell,
        };
        let fd = match of("fd") {
            Cell::Absent => of("held_by"),
            // As in lsof: `3r`, `3w`, `3u`.
            Cell::Number(fd) => {
                let access = match of("access") {
                    Cell::Text(access) if access == b"rw" => "u".to_owned(),
                    access => access.printed(""),
                };
                Cell::text(Some(format!("{fd}{access}")))
            }
            cell => cell,
        };
        let what = if printed.what.len() > 1 { of("what") } else { Cell::Absent };
        // A process that matches no rule has no image.
        let images = match of("images") {
            Cell::Names(names) if names.is_empty() => Cell::Absent,
            images => images,
        };
        let remote = match of("remote") {
            Cell::Text(text) if text.ends_with(b":0") => Cell::Absent,
            remote => remote,
        };
        let mut cells = vec![
            what,
            images,
            of("pid"),
            of("process"),
            of("user"),
            fd,
            of("kind"),
            of("state"),
            either("accept_queue", "rx_queue_bytes"),
            either("backlog", "tx_queue_bytes"),
            of("local"),
            remote,
            of("path"),
        ];
        if has_namespaces {
            cells.push(of(NAMESPACE));
        }
        lines.push(cells.iter().map(|cell| cell.printed(",")).collect());
    }
    let namespace = has_namespaces.then_some(("NAMESPACE", true));
    let columns: Vec<(&str, bool)> = COLUMNS.into_iter().chain(namespace).collect();
    aligned(&columns, &lines, paint)
}

fn aligned(columns: &[(&str, bool)], lines: &[Vec<String>], paint: Paint) -> String {
    let shown: Vec<(usize, &str, usize)> = columns
        .iter()
        .enumerate()
        .filter_map(|(at, (heading, is_always_shown))| {
            let cells = || lines.iter().filter_map(move |line| line.get(at));
            let width = cells().map(|cell| escape::width(cell)).max().unwrap_or(0);
            let is_shown = *is_always_shown || width > 0;
            is_shown.then_some((at, *heading, width.max(heading.len())))
        })
        .collect();
    let line = |cell: &dyn Fn(usize, &str) -> String| {
        let mut line = String::new();
        for (at, heading, width) in &shown {
            let cell = cell(*at, heading);
            // Numbers are aligned at their end.
            let padding = " ".repeat(width.saturating_sub(escape::width(&cell)));
            if ["PID", "RX-Q", "TX-Q"].contains(heading) {
                line.push_str(&format!("{padding}{cell} "));
            } else {
                line.push_str(&format!("{cell}{padding} "));
            }
        }
        line.truncate(line.trim_end().len());
        line
    };
    let mut text = paint.bold(&line(&|_, heading| heading.to_owned())) + "\n";
    for cells in lines {
        let cell = |at: usize| cells.get(at).filter(|cell| !cell.is_empty());
        text.push_str(&line(&|at, _| cell(at).cloned().unwrap_or_else(|| "-".to_owned())));
        text.push('\n');
    }
    text
}

/// The heading of [`as_csv`].
pub(crate) fn csv_heading() -> String {
    csv::line(FIELDS.into_iter().chain([NAMESPACE]).map(str::to_owned))
}

/// One record per descriptor.
pub(crate) fn as_csv(printed: &Printed<'_>) -> String {
    let hits = printed.findings.hits.iter();
    let line = |hit| csv::line(printed.fields(hit).iter().map(|(_, cell)| cell.printed(" ")));
    hits.map(line).collect()
}

/// The document.
pub(crate) fn as_json(printed: &Printed<'_>) -> Value {
    let Printed { findings, what, .. } = printed;
    let mut document = json::document("find");
    let texts = what.iter().map(|what| json!(String::from_utf8_lossy(what)));
    document.insert("what".to_owned(), texts.collect());
    let row = |hit: &Hit| {
        let mut fields = Map::new();
        for (field, cell) in printed.fields(hit) {
            match cell {
                Cell::Absent => drop(fields.insert(field.to_owned(), Value::Null)),
                Cell::Number(number) => drop(fields.insert(field.to_owned(), json!(number))),
                Cell::Text(text) => json::insert_text(&mut fields, field, &text),
                Cell::Names(names) => drop(fields.insert(field.to_owned(), json!(names))),
            }
        }
        Value::Object(fields)
    };
    document.insert("rows".to_owned(), findings.hits.iter().map(row).collect());
    let unowned = findings.unowned.iter().map(|((target, state), sockets)| {
        let what = what.get(*target).map(|what| String::from_utf8_lossy(what));
        json!({"what": what, "state": state, "sockets": sockets})
    });
    document.insert("without_process".to_owned(), unowned.collect());
    document.insert("processes".to_owned(), json!(findings.processes));
    let unread = json!({
        "denied": findings.denied,
        "blocked": findings.blocked.len(),
        "failed": findings.failed,
        "tables": findings.unread_tables,
    });
    document.insert("unread".to_owned(), unread);
    document.insert("blocked_pids".to_owned(), json!(findings.blocked));
    document.into()
}
