//! `docs/json.md` lists all fields of all documents, and all headings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use psstat_testproc::{Config, TempDir, TestProcess};
use serde_json::Value;

use crate::run::{csv, json as json_of, run, stdout, unique};

fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::read_to_string(docs.join(name)).unwrap()
}

/// The cells of a table line, without backticks.
fn cells(line: &str) -> Option<Vec<&str>> {
    let line = line.strip_prefix("| `")?.strip_suffix('|')?;
    Some(line.split('|').map(|cell| cell.trim_matches([' ', '`'])).collect())
}

/// Type and unit of each field.
type Fields = BTreeMap<String, (String, String)>;

/// The fields in the section of these kinds.
fn fields(page: &str, heading: &str) -> Fields {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(cells);
    let field = |row: Vec<&str>| (row[0].to_owned(), (row[1].to_owned(), row[2].to_owned()));
    rows.map(field).collect()
}

/// The fields that are present only if their columns are selected.
const SELECTED: [&str; 22] = [
    "running",
    "sleeping",
    "disk",
    "stopped",
    "zombie",
    "swap_bytes",
    "voluntary_switches",
    "voluntary_switches_per_second",
    "involuntary_switches",
    "involuntary_switches_per_second",
    "minor_faults",
    "minor_faults_per_second",
    "major_faults",
    "major_faults_per_second",
    "tcp_listen",
    "tcp_syn_sent",
    "tcp_syn_recv",
    "tcp_fin_wait1",
    "tcp_fin_wait2",
    "tcp_close_wait",
    "tcp_last_ack",
    "tcp_closing",
];

/// All columns, for `--columns`.
fn all_columns(kind: &str) -> String {
    let page = page("psstat-dump.md");
    let rows = page.lines().filter_map(cells).filter(|row| row.len() > 3);
    let keys: Vec<&str> =
        rows.filter(|row| ["both", kind].contains(&row[3])).map(|row| row[0]).collect();
    keys.join(",")
}

/// The fields of rows or of the total, from the table of columns.
fn columns(kind: &str, of: &str) -> Fields {
    let page = page("psstat-dump.md");
    let rows = page.lines().filter_map(cells).filter(|row| row.len() > 3);
    let of_rows = rows.filter(|row| ["both", kind].contains(&row[3]));
    let is_included = |row: &Vec<&str>| {
        of == "rows[]" || row[3] == "both" || (row[3] == "images" && row[1] != "image")
    };
    let field = |row: Vec<&str>| {
        let kind = match row[2] {
            "text" | "texts" => row[2],
            _ => "number",
        };
        // The units in the table have other names.
        (format!("{of}.{}", row[1]), (kind.to_owned(), unit(row[1]).to_owned()))
    };
    let mut fields: Fields = of_rows.filter(is_included).map(field).collect();
    if of == "total" {
        fields.insert("total.processes".to_owned(), ("number".to_owned(), String::new()));
    }
    fields
}

/// The values of a document that are not objects, with their paths.
fn leaves<'v>(value: &'v Value, path: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{field}"), found);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_object) => {
            for value in values {
                leaves(value, &format!("{path}[]"), found);
            }
        }
        Value::Array(values) if path.contains("rows[]") => {
            assert!(values.iter().all(Value::is_string), "{path}");
            found.push((path.to_owned(), value));
        }
        Value::Array(values) => {
            found.extend(values.iter().map(|value| (format!("{path}[]"), value)));
        }
        value => found.push((path.to_owned(), value)),
    }
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "number" => value.is_number() || value.is_null(),
        "text" => value.is_string() || value.is_null(),
        "texts" => value.is_array(),
        "bool" => value.is_boolean() || value.is_null(),
        other => panic!("unknown type: {other}"),
    }
}

/// The unit from the suffix of a name.
fn unit(field: &str) -> &'static str {
    let ends = [
        ("_unix_seconds", "seconds since 1970"),
        ("_seconds", "seconds"),
        ("_percent", "percent"),
        ("_bytes", "bytes"),
        ("_bytes_per_second", "bytes per second"),
        ("_byte", "byte of the text, from 0"),
        ("_ticks", "clock ticks"),
        ("_calls", "calls"),
    ];
    ends.iter().find(|(end, _)| field.ends_with(end)).map_or("", |(_, unit)| unit)
}

/// All fields of the documents are documented with their types, and all documented
/// fields occur in one of the documents.
fn assert_documented(documents: &[Value], documented: &Fields) {
    let mut present = BTreeSet::new();
    for document in documents {
        assert_eq!((&document["format"], &document["version"]), (&"psstat-dump".into(), &1.into()));
        let mut found = Vec::new();
        leaves(document, "", &mut found);
        for (path, value) in found {
            let common = ["format", "version", "kind"].contains(&&*path);
            let of_bytes = path.strip_suffix("_hex").is_some_and(|of| documented.contains_key(of));
            // The names of files are not fixed.
            let path = match path.strip_prefix("unread.") {
                Some(_) if documented.contains_key("unread.FILE") => "unread.FILE".to_owned(),
                _ => path,
            };
            if common || of_bytes {
                continue;
            }
            let (kind, _) = documented.get(&path).unwrap_or_else(|| panic!("undocumented: {path}"));
            assert!(is_of_type(value, kind), "{path} is not a {kind}: {value}");
            present.insert(path);
        }
    }
    for (field, (_, unit)) in documented {
        assert!(present.contains(field), "documented, but absent: {field}");
        if !unit.starts_with("as `units`") {
            assert_eq!(unit, self::unit(field), "{field}");
        }
    }
}

/// The document of a run that is not a usage error.
fn document(args: &[&str]) -> Value {
    let (status, document) = json_of(&[args, &["--json"]].concat());
    assert!(status < 2, "{args:?}");
    document
}

struct Scene {
    temp: TempDir,
    name: String,
    testprocs: [TestProcess; 2],
    conf: String,
}

/// Rules that match, nearly match, are invalid, or exceed their step limit.
fn scene() -> Scene {
    let name = unique("documented");
    let [mut one, other] = ["/srv/shop/x", "/srv/shops/x"]
        .map(|arg| TestProcess::spawn(&Config::new(&name).arg(arg).arg("x".repeat(60))).unwrap());
    one.tcp_pairs(1).unwrap();
    one.non_established_sockets(1).unwrap();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let mut rules = format!("a ^{name} /srv/shop/\na (\nb {}\nc {name}.*zz\n", name.to_uppercase());
    rules.push_str(&format!("d ^{name}.* (x+x+)+(?=[yz])\n"));
    rules.push_str(&format!("e/{{part}} ^{name} /srv/(?P<part>\\w+)\n"));
    std::fs::write(&conf, rules).unwrap();
    let conf = conf.to_str().unwrap().to_owned();
    Scene { temp, name, testprocs: [one, other], conf }
}

#[test]
fn table_fields_are_documented() {
    let Scene { temp: _temp, name, conf, testprocs: _testprocs } = scene();
    let page = page("json.md");
    let fields = fields(&page, "`images`");
    for (kind, level) in [("images", &[][..]), ("processes", &["-p"])] {
        let from: [&[&str]; 3] = [&["--conf", &conf], &["-e", &name], &["--no-conf", &name]];
        let mut documents: Vec<Value> =
            from.iter().map(|from| document(&[level, from].concat())).collect();
        for row in documents.iter().flat_map(|document| document["rows"].as_array().unwrap()) {
            assert!(SELECTED.iter().all(|field| row.get(field).is_none()), "{row}");
        }
        let all = ["--no-conf", "--columns", &all_columns(kind), &name];
        documents.push(document(&[level, &all].concat()));
        assert!(documents.iter().all(|document| document["kind"] == kind));
        let mut documented = fields.clone();
        documented.extend(columns(kind, "rows[]"));
        documented.extend(columns(kind, "total"));
        assert_documented(&documents, &documented);
    }
}

#[test]
fn process_fields_are_documented() {
    let Scene { testprocs: [testproc, _other], .. } = scene();
    let documented = fields(&page("json.md"), "`process`");
    let pid = testproc.pid().to_string();
    assert_documented(&[document(&["pid", &pid])], &documented);
    // CSV has the same fields.
    for record in &csv(&stdout(&run(&["pid", &pid, "--csv"])))[1..] {
        let [_, section, number, field, _] = &record[..] else { panic!("{record:?}") };
        let path = match field.split_once('.') {
            Some((list, field)) if !number.is_empty() => format!("{section}.{list}[].{field}"),
            _ => format!("{section}.{field}"),
        };
        assert!(documented.contains_key(&path), "{path}");
    }
}

#[test]
fn fields_of_other_commands_are_documented() {
    let Scene { temp, name, testprocs: [testproc, _other], conf } = scene();
    let page = page("json.md");
    let (pid, with) = (testproc.pid().to_string(), ["--conf", &conf]);
    let explained = [
        document(&[&["explain", &pid][..], &with].concat()),
        document(&["explain", &pid, "-e", &name]),
    ];
    assert_documented(&explained, &fields(&page, "`explain`"));
    // On a busy host reading a command line can exceed the time limit.
    let mut tries = (0..20).map(|_| document(&[&["explain", "--rule", "a"][..], &with].concat()));
    let is_complete = |document: &Value| {
        let rule = &document["rules"][0];
        [&rule["matches"], &rule["near_misses"]].iter().all(|hits| hits[0].is_object())
    };
    let rules = [
        tries.find(is_complete).unwrap(),
        document(&["explain", "--rule", "match", "-e", &name]),
        document(&[&["explain", "--rule", "d"][..], &with].concat()),
    ];
    assert_documented(&rules, &fields(&page, "`explain_rule`"));
    assert_documented(&[document(&["check", &conf])], &fields(&page, "`check`"));
    let doctor = document(&[&["doctor"][..], &with].concat());
    assert_documented(&[doctor], &fields(&page, "`doctor`"));
    // A capture without a file.
    let (proc, again) = (temp.join("copy"), temp.join("again"));
    let (proc, again) = (proc.to_str().unwrap(), again.to_str().unwrap());
    let complete = document(&["capture", proc, "--pid", &pid]);
    std::fs::remove_file(format!("{proc}/{pid}/io")).unwrap();
    std::fs::create_dir(format!("{proc}/{pid}/io")).unwrap();
    let partial = document(&["capture", again, "--pid", &pid, "--proc", proc]);
    assert_documented(&[complete, partial], &fields(&page, "`capture`"));
}

#[test]
fn fields_of_find_are_documented() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // A socket in TIME_WAIT has no process.
    let client = std::net::TcpStream::connect(address).unwrap();
    drop(listener.accept().unwrap());
    drop(client);
    let mut found = document(&["find", "--no-conf", &format!(":{}", address.port())]);
    found["blocked_pids"] = serde_json::json!([1]);
    assert_documented(&[found], &fields(&page("json.md"), "`find`"));
}

#[test]
fn csv_headings_are_documented() {
    let Scene { temp, name, testprocs: [testproc, _other], conf } = scene();
    let page = page("json.md");
    let section = page.split("\n## ").find(|section| section.starts_with("CSV")).unwrap();
    let headings: BTreeMap<&str, &str> =
        section.lines().filter_map(cells).map(|row| (row[0], row[1])).collect();
    let (pid, copy) = (testproc.pid().to_string(), temp.join("copy"));
    let copy = copy.to_str().unwrap();
    let commands: [(&str, &[&str]); 7] = [
        ("pid", &["pid", &pid]),
        ("explain PID", &["explain", &pid]),
        ("explain --rule IMAGE", &["explain", "--rule", "a"]),
        ("find WHAT", &["find", "--listen"]),
        ("check", &["check", &conf]),
        ("doctor", &["doctor"]),
        ("capture", &["capture", copy, "--pid", &pid]),
    ];
    assert_eq!(headings.len(), commands.len());
    for (command, args) in commands {
        let text = stdout(&run(&[args, &["--csv", "--conf", &conf]].concat()));
        assert_eq!(text.lines().next(), Some(headings[command]), "{command}");
    }
    let mut rows: BTreeSet<String> = columns("images", "rows[]").into_keys().collect();
    for columns in [Some(all_columns("images")), None] {
        let selected = columns.iter().flat_map(|columns| ["--columns", columns]);
        let args: Vec<&str> = ["--csv", "--no-conf", &name].into_iter().chain(selected).collect();
        let heading = csv(&stdout(&run(&args))).remove(0);
        assert_eq!(heading[0], "time_unix_seconds");
        let present = heading[1..].iter().map(|field| format!("rows[].{field}")).collect();
        assert_eq!(rows, present);
        rows.retain(|field| SELECTED.iter().all(|selected| *field != format!("rows[].{selected}")));
    }
}
