//! `docs/json.md` lists every field of every document, and every heading.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use psstat_testproc::{Config, TempDir, TestProcess};
use serde_json::Value;

use crate::run::{csv, json as json_of, run, stdout, unique};

fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::read_to_string(docs.join(name)).unwrap()
}

/// The cells of a table's lines, without the marks of code.
fn cells(line: &str) -> Option<Vec<&str>> {
    let line = line.strip_prefix("| `")?.strip_suffix('|')?;
    Some(line.split('|').map(|cell| cell.trim_matches([' ', '`'])).collect())
}

/// Type and unit of each field.
type Fields = BTreeMap<String, (String, String)>;

/// The fields that the section of these kinds lists.
fn fields(page: &str, heading: &str) -> Fields {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let rows = section.lines().filter_map(cells);
    let field = |row: Vec<&str>| (row[0].to_owned(), (row[1].to_owned(), row[2].to_owned()));
    rows.map(field).collect()
}

/// The fields of rows, or of the total, from the list of columns.
fn columns(kind: &str, of: &str) -> Fields {
    let page = page("psstat-dump.md");
    let rows = page.lines().filter_map(cells).filter(|row| row.len() > 3);
    let of_rows = rows.filter(|row| ["both", kind].contains(&row[3]));
    let is_there = |row: &Vec<&str>| of == "rows[]" || row[3] == "both" || row[1] == "procs";
    let field = |row: Vec<&str>| {
        let what = match row[2] {
            "text" | "texts" => row[2],
            _ => "number",
        };
        // The list has words of its own for units.
        (format!("{of}.{}", row[1]), (what.to_owned(), unit(row[1]).to_owned()))
    };
    let mut fields: Fields = of_rows.filter(is_there).map(field).collect();
    if of == "total" {
        fields.insert("total.procs".to_owned(), ("number".to_owned(), String::new()));
    }
    fields
}

/// Every value of a document that is no object, under its path.
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

fn is_of_type(value: &Value, what: &str) -> bool {
    match what {
        "number" => value.is_number() || value.is_null(),
        "text" => value.is_string() || value.is_null(),
        "texts" => value.is_array(),
        "bool" => value.is_boolean() || value.is_null(),
        other => panic!("no type: {other}"),
    }
}

/// What the end of a name says.
fn unit(field: &str) -> &'static str {
    let ends = [
        ("_unix_seconds", "seconds since 1970"),
        ("_seconds", "seconds"),
        ("_percent", "percent"),
        ("_bytes", "bytes"),
        ("_byte", "byte of the text, from 0"),
        ("_ticks", "clock ticks"),
        ("_calls", "calls"),
    ];
    ends.iter().find(|(end, _)| field.ends_with(end)).map_or("", |(_, unit)| unit)
}

/// Every field that comes is documented, with its type, and all that are
/// documented come in one of the documents.
fn assert_documented(documents: &[Value], documented: &Fields) {
    let mut came = BTreeSet::new();
    for document in documents {
        assert_eq!((&document["format"], &document["version"]), (&"psstat-dump".into(), &1.into()));
        let mut found = Vec::new();
        leaves(document, "", &mut found);
        for (path, value) in found {
            let common = ["format", "version", "kind"].contains(&&*path);
            let of_bytes = path.strip_suffix("_hex").is_some_and(|of| documented.contains_key(of));
            // Files' names, which are no fields of the form.
            let path = match path.strip_prefix("unread.") {
                Some(_) if documented.contains_key("unread.FILE") => "unread.FILE".to_owned(),
                _ => path,
            };
            if common || of_bytes {
                continue;
            }
            let (what, _) = documented.get(&path).unwrap_or_else(|| panic!("no {path}"));
            assert!(is_of_type(value, what), "{path} is no {what}: {value}");
            came.insert(path);
        }
    }
    for (field, (_, unit)) in documented {
        assert!(came.contains(field), "{field} is documented and does not come");
        if !unit.starts_with("as `units`") {
            assert_eq!(unit, self::unit(field), "{field}");
        }
    }
}

/// One document of a program that ends with any status but wrong use.
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

/// A rule that matches one process, one that misses it, and one that gives up.
fn scene() -> Scene {
    let name = unique("documented");
    let [mut one, other] = ["/srv/shop/x", "/srv/shops/x"]
        .map(|arg| TestProcess::spawn(&Config::new(&name).arg(arg).arg("x".repeat(60))).unwrap());
    one.tcp_pairs(1).unwrap();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let mut rules = format!("a ^{name} /srv/shop/\na (\nb {}\nc {name}.*zz\n", name.to_uppercase());
    rules.push_str(&format!("d ^{name}.* (x+x+)+(?=[yz])\n"));
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
        let documents: Vec<Value> =
            from.iter().map(|from| document(&[level, from].concat())).collect();
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
    // Those of CSV are the same.
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
    // On a busy machine a command line may take too long to be read.
    let mut tries = (0..20).map(|_| document(&[&["explain", "--rule", "a"][..], &with].concat()));
    let is_whole = |document: &Value| {
        let rule = &document["rules"][0];
        [&rule["matches"], &rule["near_misses"]].iter().all(|hits| hits[0].is_object())
    };
    let rules = [
        tries.find(is_whole).unwrap(),
        document(&["explain", "--rule", "match", "-e", &name]),
        document(&[&["explain", "--rule", "d"][..], &with].concat()),
    ];
    assert_documented(&rules, &fields(&page, "`explain_rule`"));
    assert_documented(&[document(&["check", &conf])], &fields(&page, "`check`"));
    let doctor = document(&[&["doctor"][..], &with].concat());
    assert_documented(&[doctor], &fields(&page, "`doctor`"));
    // A copy of a process that lacks a file.
    let (proc, again) = (temp.join("copy"), temp.join("again"));
    let (proc, again) = (proc.to_str().unwrap(), again.to_str().unwrap());
    let whole = document(&["capture", proc, "--pid", &pid]);
    std::fs::remove_file(format!("{proc}/{pid}/io")).unwrap();
    std::fs::create_dir(format!("{proc}/{pid}/io")).unwrap();
    let lacking = document(&["capture", again, "--pid", &pid, "--proc", proc]);
    assert_documented(&[whole, lacking], &fields(&page, "`capture`"));
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
    let verbs: [(&str, &[&str]); 6] = [
        ("pid", &["pid", &pid]),
        ("explain PID", &["explain", &pid]),
        ("explain --rule IMAGE", &["explain", "--rule", "a"]),
        ("check", &["check", &conf]),
        ("doctor", &["doctor"]),
        ("capture", &["capture", copy, "--pid", &pid]),
    ];
    assert_eq!(headings.len(), verbs.len());
    for (verb, args) in verbs {
        let text = stdout(&run(&[args, &["--csv", "--conf", &conf]].concat()));
        assert_eq!(text.lines().next(), Some(headings[verb]), "{verb}");
    }
    let text = stdout(&run(&["--csv", "--no-conf", &name]));
    let heading = csv(&text).remove(0);
    let rows: BTreeSet<String> = columns("images", "rows[]").into_keys().collect();
    assert_eq!(heading[0], "time_unix_seconds");
    let came = heading[1..].iter().map(|field| format!("rows[].{field}")).collect();
    assert_eq!(rows, came);
}
