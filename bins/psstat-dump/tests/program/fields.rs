//! Rules on other fields than the command line, in all subcommands.

use std::collections::BTreeMap;

use psstat_testproc::cgroup::{Cgroup, Hierarchy};
use psstat_testproc::{Config, TempDir, TestProcess, unique_word};
use serde_json::{Value, json};

use crate::run::{json as json_of, run, stdout};

/// A process in a container, if one can be made, with a name and a user of its own.
struct Contained {
    process: TestProcess,
    comm: String,
    uid: u32,
    /// Its group, the path, and the id.
    group: Option<(Cgroup, String, String)>,
}

impl Contained {
    fn new() -> Contained {
        let name = unique_word("own");
        let comm = name[name.len().saturating_sub(15)..].to_owned();
        let mut process = TestProcess::spawn(&Config::new(&name).arg("unlike")).unwrap();
        process.set_comm(&comm).unwrap();
        let pid = process.pid();
        let uid = if rustix::process::getuid().is_root() { 3_000_000_000 + pid } else { 0 };
        let group = Hierarchy::systemd().or_else(Hierarchy::v2).and_then(|hierarchy| {
            let id = format!("{pid:012x}{:052x}", 7);
            let cgroup = hierarchy.create(&format!("psstat-dump-{pid}/docker-{id}.scope"))?;
            cgroup.add(pid).unwrap();
            Some((cgroup, hierarchy.path_of(pid).unwrap(), id))
        });
        if uid != 0 {
            process.setuid(uid).unwrap();
        }
        Contained { process, comm, uid, group }
    }
}

/// The number of processes of each image in a table.
fn table(args: &[&str]) -> BTreeMap<String, u64> {
    let (_, document) = json_of(args);
    let rows = document["rows"].as_array().unwrap();
    let row = |row: &Value| {
        (row["image"].as_str().unwrap().to_owned(), row["processes"].as_u64().unwrap())
    };
    rows.iter().map(row).collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn fields_in_all_subcommands() {
    let mut contained = Contained::new();
    let Contained { process, comm, uid, group } = &contained;
    let pid = process.pid().to_string();
    let temp = TempDir::new().unwrap();
    let path = temp.join("psstat.conf");
    let mut rules = format!("@comm named ^{comm}$\n@comm near ^{comm}x\n@container none ^none$\n");
    let mut expected = vec![("named".to_owned(), 1), ("near".into(), 0), ("none".into(), 0)];
    if *uid != 0 {
        rules.push_str(&format!("@user user ^{uid}$\n"));
        expected.push(("user".into(), 1));
    }
    if let Some((_, _, id)) = group {
        let short = &id[..12];
        rules.push_str(&format!(
            "@container c/{{id}} ^(?P<id>{short})\n@unit unit ^docker-{short}\n\
             @cgroup path /psstat-dump-{pid}/\n"
        ));
        expected.extend([(format!("c/{short}"), 1), ("unit".into(), 1), ("path".into(), 1)]);
    }
    std::fs::write(&path, &rules).unwrap();
    let conf = path.to_str().unwrap();
    let expected: BTreeMap<String, u64> = expected.into_iter().collect();
    assert_eq!(table(&["--conf", conf, "--json"]), expected);

    let text = stdout(&run(&["explain", &pid, "--conf", conf]));
    let marked = |text: &str, at: usize, length: usize| {
        format!("    {text}\n    {}{}\n", " ".repeat(at), "^".repeat(length))
    };
    let named = format!("matches  named  @comm ^{comm}$ (line 1)\n");
    assert!(text.contains(&(named + &marked(comm, 0, comm.len()))), "{text}");
    assert!(text.contains(&format!("no match  near  @comm ^{comm}x (line 2)\n")), "{text}");
    let (status, document) = json_of(&["explain", &pid, "--conf", conf, "--json"]);
    assert_eq!((status, &document["comm"]), (0, &json!(comm)));
    assert_eq!(document["rules"][0]["field"], "comm");
    assert_eq!((&document["rules"][0]["end_byte"]), &json!(comm.len()));
    assert!(
        document["rules"][1]["matches_up_to"].as_str().unwrap().starts_with(&format!("^{comm}"))
    );
    if *uid != 0 {
        assert_eq!(document["user"], uid.to_string());
    }
    if let Some((_, path, id)) = group {
        let unit = format!("docker-{id}.scope");
        let fields = ["cgroup", "unit", "container"].map(|field| document[field].as_str().unwrap());
        assert_eq!(fields, [path, &*unit, id]);
        let made = format!("  image c/{}\n  {{id}}\n{}", &id[..12], marked(id, 0, 12));
        assert!(text.contains(&made), "{text}");
        let found = marked(&unit, 0, "docker-".len() + 12);
        assert!(text.contains(&found), "{text}");
        // An image that a rule makes, and all images of the rule.
        for rule in [format!("c/{}", &id[..12]), "c/{id}".to_owned()] {
            let (status, document) =
                json_of(&["explain", "--rule", &rule, "--conf", conf, "--json"]);
            let found = &document["rules"][0]["matches"];
            assert_eq!((status, found.as_array().unwrap().len()), (0, 1), "{document}");
            assert_eq!((&found[0]["pid"], &found[0]["text"]), (&json!(process.pid()), &json!(id)));
            assert_eq!(document["rules"].as_array().unwrap().len(), 1);
        }
        let (status, document) = json_of(&["explain", "--rule", "c/x", "--conf", conf, "--json"]);
        assert_eq!((status, &document["rules"]), (1, &json!([])));
    } else {
        assert!(text.contains("no match  none  @container ^none$ (line 3)\n"), "{text}");
    }

    let (_, document) = json_of(&["check", conf, "--json"]);
    let matched = document["rules"].as_array().unwrap().iter().map(|rule| {
        let made = rule["made_images"][0]["image"].as_str();
        let name = made.unwrap_or_else(|| rule["image"].as_str().unwrap());
        (name.to_owned(), rule["processes"].as_u64().unwrap())
    });
    assert_eq!(matched.collect::<BTreeMap<_, _>>(), expected);

    // By the images of the holder of a file, and of a name.
    let held = temp.join("held");
    std::fs::write(&held, "").unwrap();
    contained.process.open_file(&held).unwrap();
    let (_, document) = json_of(&["find", held.to_str().unwrap(), "--conf", conf, "--json"]);
    let mut images: Vec<&str> =
        expected.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name.as_str()).collect();
    let mut found: Vec<&str> = strings(&document["rows"][0]["images"]);
    images.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, images, "{document}");
    let (status, document) = json_of(&["pid", "named", "--conf", conf, "--json"]);
    assert_eq!((status, &document["pid"]), (0, &json!(contained.process.pid())));

    // A capture gives the same.
    let capture = temp.join("capture");
    let dir = capture.to_str().unwrap();
    let output = run(&["capture", dir, "--pid", &pid, "--conf", conf]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(table(&["--conf", conf, "--proc", dir, "--json"]), expected);
    assert_eq!(stdout(&run(&["explain", &pid, "--conf", conf, "--proc", dir])), text);
}

/// A process whose main thread has exited is in the group of its other threads.
#[test]
fn group_of_a_process_without_its_main_thread() {
    let mut contained = Contained::new();
    let Some(path) = contained.group.as_ref().map(|(_, path, _)| path.clone()) else { return };
    contained.process.threads(1).unwrap();
    contained.process.leader_exit().unwrap();
    let pid = contained.process.pid().to_string();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("@cgroup path ^{path}$\n")).unwrap();
    let conf = conf.to_str().unwrap();
    assert_eq!(table(&["--conf", conf, "--json"])["path"], 1);
    let (_, document) = json_of(&["explain", &pid, "--conf", conf, "--json"]);
    assert_eq!((&document["cgroup"], &document["first_image"]), (&json!(path), &json!("path")));
    let capture = temp.join("capture");
    let dir = capture.to_str().unwrap();
    assert!(run(&["capture", dir, "--pid", &pid, "--conf", conf]).status.success());
    assert_eq!(table(&["--conf", conf, "--proc", dir, "--json"])["path"], 1);
}
