//! Values are compared with those of the kernel's files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use psstat_dump::measure::Measurer;
use psstat_dump::selector::{Selector, Source};
use psstat_dump::table::row::Row;
use psstat_sampler::MetricGroups;
use psstat_testproc::{Config, TempDir, TestProcess, oracle};
use serde_json::{Value, json};

use crate::run::{
    assert_resident, command, csv, json as json_of, run, stderr, stdout, testproc, unique,
};

/// A test process with resources of all kinds.
fn busy(name: &str) -> TestProcess {
    let mut testproc = testproc(name);
    testproc.open_files(7).unwrap();
    testproc.tcp_pairs(2).unwrap();
    testproc.tcp6_mapped_pairs(1).unwrap();
    testproc.udp_connected(3).unwrap();
    testproc.unix_pairs(2).unwrap();
    testproc.non_established_sockets(1).unwrap();
    testproc.threads(4).unwrap();
    testproc.mmap_touch(3 << 20).unwrap();
    testproc.write_bytes(123_456, 7).unwrap();
    testproc.read_bytes(7_890, 5).unwrap();
    testproc.quiesce().unwrap();
    testproc
}

/// The values of the reference reader, by JSON field.
fn expected(pid: u32) -> Vec<(&'static str, i64)> {
    let sockets = oracle::established(pid).unwrap();
    let memory = oracle::memory(pid).unwrap();
    let io = oracle::io(pid).unwrap();
    let int = |value: u64| i64::try_from(value).unwrap();
    vec![
        ("fds", int(oracle::fds(pid).unwrap())),
        ("threads", int(oracle::threads(pid).unwrap())),
        ("tcp_established", int(sockets.all_tcp())),
        ("udp_established", int(sockets.all_udp())),
        ("unix_established", int(sockets.unix.len() as u64)),
        ("vsize_bytes", int(memory.total)),
        ("rss_bytes", int(memory.resident)),
        ("rchar_bytes", io["rchar"]),
        ("wchar_bytes", io["wchar"]),
        ("syscr_calls", io["syscr"]),
        ("syscw_calls", io["syscw"]),
        ("read_bytes", io["read_bytes"]),
        ("write_bytes", io["write_bytes"]),
        ("cancelled_write_bytes", io["cancelled_write_bytes"]),
    ]
}

fn assert_equal(row: &Value, expected: &[(&str, i64)]) {
    for (field, want) in expected {
        match *field {
            "rss_bytes" => assert_resident(&row[field], *want),
            _ => assert_eq!(row[field], json!(want), "{field} of {row}"),
        }
    }
}

#[test]
fn values_of_images_and_processes() {
    let name = unique("numbers");
    let mut testprocs = [busy(&name), busy(&name)];
    // Pids can wrap around.
    testprocs.sort_by_key(TestProcess::pid);
    let [one, other] = testprocs;
    let (a, b) = (expected(one.pid()), expected(other.pid()));
    let both: Vec<(&str, i64)> =
        a.iter().zip(&b).map(|((field, a), (_, b))| (*field, a + b)).collect();

    let begin = Instant::now();
    let (status, document) = json_of(&["--no-conf", "--json", &name]);
    let elapsed = begin.elapsed().as_secs_f64();
    assert_eq!(status, 0);
    assert_eq!(document["format"], "psstat-dump");
    assert_eq!(document["version"], 1);
    assert_eq!(document["kind"], "images");
    assert_eq!(document["images_from"]["source"], "executable");
    let window = document["window_seconds"].as_f64().unwrap();
    assert!((1.0..elapsed).contains(&window), "{window} of {elapsed}");
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["image"], name);
    assert_eq!(rows[0]["processes"], 2);
    assert_equal(&rows[0], &both);
    assert_equal(&document["total"], &both);
    assert_eq!(rows[0]["rchar_bytes_per_second"], 0.0);

    let (_, document) = json_of(&["--no-conf", "--json", "-p", "--sort", "pid", "-r", &name]);
    assert_eq!(document["kind"], "processes");
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for (row, (testproc, expected)) in rows.iter().zip([(&one, &a), (&other, &b)]) {
        let pid = testproc.pid();
        assert_eq!(row["pid"], pid);
        assert_eq!(row["ppid"], std::process::id());
        assert_eq!(row["starttime_ticks"], oracle::starttime(pid).unwrap());
        assert_eq!(row["images"], json!([name]));
        assert_eq!(row["command_line"], name);
        assert_equal(row, expected);
    }
    assert_equal(&document["total"], &both);

    let output = run(&["--no-conf", "--csv", "-p", "--sort", "pid", "-r", &name]);
    let records = csv(&stdout(&output));
    assert_eq!(records.len(), 3);
    for (record, expected) in records[1..].iter().zip([&a, &b]) {
        for (field, want) in expected {
            let at = records[0].iter().position(|heading| heading == field).unwrap();
            assert_eq!(record[at], want.to_string(), "{field}");
        }
    }

    let columns = "fds,threads,tcp,udp,unix,vsize,rss,rchar,wchar,syscr,syscw,read_bytes";
    let output = run(&["--no-conf", "--exact", "--columns", columns, &name]);
    let text = stdout(&output);
    let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    let want: Vec<String> = both.iter().take(12).map(|(_, value)| value.to_string()).collect();
    assert_eq!(words, want);
}

/// It used to be in no row, in no image, and in no total.
#[test]
fn process_with_empty_command_line_counts() {
    let mut one = testproc("");
    let name = unique("empty");
    one.set_comm(&name).unwrap();
    one.open_files(7).unwrap();
    one.mmap_touch(3 << 20).unwrap();
    one.write_bytes(123_456, 7).unwrap();
    one.quiesce().unwrap();
    let want = expected(one.pid());
    let (status, document) = json_of(&["--no-conf", "--json", &name]);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!((status, rows.len(), &rows[0]["image"]), (0, 1, &json!(name)));
    assert_eq!(rows[0]["processes"], 1);
    assert_equal(&rows[0], &want);
    assert_equal(&document["total"], &want);

    // Other tests can have such processes as well.
    let (status, document) = json_of(&["--json", "-p", "-e", "^$"]);
    assert_eq!(status, 0);
    let rows = document["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["pid"] == one.pid()).unwrap();
    assert_eq!((&row["command_line"], &row["comm"]), (&json!(""), &json!(name)));
    assert_equal(row, &want);
    let text = stdout(&run(&["--no-conf", "-p", &name]));
    let row = text.lines().nth(1).unwrap();
    assert!(row.contains(&one.pid().to_string()) && row.contains(&format!("{{{name}}}")), "{text}");
    // By a rule that does not match the empty text, it is still in none.
    let (_, document) = json_of(&["--json", "-p", "-e", r"\S"]);
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["pid"] != one.pid()));
}

#[test]
fn total_counts_each_process_once() {
    let name = unique("total");
    let (mut one, mut other) = (testproc(&name), testproc(&name));
    one.tcp_pairs(3).unwrap();
    one.share_socket(psstat_testproc::Kind::Tcp, &mut other).unwrap();
    one.quiesce().unwrap();
    other.quiesce().unwrap();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("one ^{name}\nother {name}$\nabsent ^{name}x\n")).unwrap();

    let (status, document) = json_of(&["--json", "--conf", conf.to_str().unwrap()]);
    assert_eq!(status, 0);
    assert_eq!(document["images_from"]["conf"], conf.to_str().unwrap());
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    for row in rows.iter().filter(|row| row["image"] != "absent") {
        assert_eq!((&row["processes"], &row["tcp_established"]), (&json!(2), &json!(6)));
    }
    let absent = rows.iter().find(|row| row["image"] == "absent").unwrap();
    assert_eq!((&absent["processes"], &absent["rchar_bytes"]), (&json!(0), &json!(0)));
    let fds = oracle::fds(one.pid()).unwrap() + oracle::fds(other.pid()).unwrap();
    let total = &document["total"];
    assert_eq!(total["processes"], 2);
    assert_eq!(total["tcp_established"], 6);
    assert_eq!(total["fds"], fds);

    let (_, document) = json_of(&["--json", "-p", "--conf", conf.to_str().unwrap(), "one"]);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["images"] == json!(["one"])));
}

/// Such a process used to be named by the first word, `My`.
#[test]
fn executable_path_with_a_blank() {
    let name = format!("app-{}", std::process::id());
    let mut testproc = testproc(&format!("/opt/My App/{name}"));
    testproc.set_comm(&name).unwrap();
    let (status, document) = json_of(&["--json", "--no-conf", &name]);
    assert_eq!((status, &document["rows"][0]["processes"]), (0, &json!(1)));
    let (_, document) = json_of(&["explain", &testproc.pid().to_string(), "--json"]);
    assert_eq!(document["first_image"], name);
}

#[test]
fn regex_option() {
    let name = unique("regex");
    let (one, other) = (testproc(&format!("{name}-a")), testproc(&format!("{name}-b")));
    let (status, document) = json_of(&["--json", "-e", &format!("^{name}-[ac]$")]);
    assert_eq!(status, 0);
    assert_eq!(document["rows"][0]["image"], "match");
    assert_eq!(document["rows"][0]["processes"], 1);
    let both = ["--json", "-p", "-e", &format!("^{name}-a$"), "-e", &format!("^{name}-b$")];
    let (_, document) = json_of(&both);
    let rows = document["rows"].as_array().unwrap();
    let pids: BTreeSet<u64> = rows.iter().map(|row| row["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, BTreeSet::from([one.pid().into(), other.pid().into()]));
    // The command line of psstat-dump itself matches.
    let (status, document) = json_of(&["--json", "-e", &format!("{name}-c")]);
    assert_eq!((status, &document["total"]["processes"]), (1, &json!(0)));
}

#[test]
fn regex_option_with_names() {
    let name = unique("named");
    let [one, other] = ["a", "b"]
        .map(|end| TestProcess::spawn(&Config::new(&name).arg(format!("app={end}"))).unwrap());
    let rule = |image: &str, end: &str| format!("{image}=^{name} app={end}$");
    let rules = [rule("x/all", "[ab]"), rule("b", "b"), rule("none", "c"), rule("x/all", "d")];
    let options: Vec<&str> = rules.iter().flat_map(|rule| ["-e", rule]).collect();
    let with = |args: &[&str]| json_of(&[&options[..], args, &["--json"]].concat());
    let (status, document) = with(&["--sort", "image"]);
    assert_eq!(status, 0);
    let counts: Vec<(&str, u64)> = document["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["image"].as_str().unwrap(), row["processes"].as_u64().unwrap()))
        .collect();
    assert_eq!(counts, [("b", 1), ("none", 0), ("x/all", 2)]);
    // A process of two images counts once.
    assert_eq!(document["total"]["processes"], 2);
    let from = &document["images_from"];
    assert_eq!(from["rules"][1], json!({"image": "b", "regex": format!("^{name} app=b$")}));
    assert_eq!(from["regex"][1], from["rules"][1]["regex"]);
    let (_, document) = with(&["-p", "--sort", "pid", "--reverse"]);
    let images = |pid: u32| {
        let mut rows = document["rows"].as_array().unwrap().iter();
        rows.find(|row| row["pid"] == pid).unwrap()["images"].clone()
    };
    assert_eq!(images(one.pid()), json!(["x/all"]));
    assert_eq!(images(other.pid()), json!(["x/all", "b"]));
    let records = csv(&stdout(&run(&[&options[..], &["--csv", "--sort", "image"]].concat())));
    assert_eq!(records[1..].iter().map(|r| &*r[1]).collect::<Vec<_>>(), ["b", "none", "x/all"]);

    // A regex that contains `=` is not a name.
    for (arg, want) in [(format!("^{name} app=a$"), 1), (format!("{name} app\\=[ab]"), 2)] {
        let (_, document) = json_of(&["-e", &arg, "--json"]);
        let row = &document["rows"][0];
        assert_eq!((&row["image"], &row["processes"]), (&json!("match"), &json!(want)), "{arg}");
    }
    // The name hides the text for which the user searched.
    let unused = unique("unused");
    let output = run(&["-e", &format!("app={unused}")]);
    assert_eq!(output.status.code(), Some(1));
    let want = format!("for a regex with `=`, write `app\\={unused}`\n");
    assert!(stderr(&output).ends_with(&want), "{}", stderr(&output));
    assert_eq!(stderr(&run(&["-e", &unused])), "psstat-dump: no process matches\n");

    let (status, document) =
        json_of(&["explain", "--rule", "b", "--json", "-e", &rules[0], "-e", &rules[1]]);
    assert_eq!((status, &document["rules"][0]["matches"][0]["pid"]), (0, &json!(other.pid())));
    let temp = TempDir::new().unwrap();
    let path = temp.join("capture");
    let dir = path.to_str().unwrap();
    let (status, document) = json_of(&["capture", dir, "--json", "-e", &rules[1], "-e", &rules[2]]);
    assert_eq!((status, &document["processes"]), (0, &json!(1)));
    let (_, document) = with(&["-p", "--proc", dir]);
    assert_eq!(document["rows"][0]["images"], json!(["x/all", "b"]), "{document}");
}

/// The soft limit of descriptors.
fn max_fds(pid: u32) -> f64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// The start of a process in seconds after boot, exact to a tick.
fn start(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    ticks.parse::<f64>().unwrap() / rustix::param::clock_ticks_per_second() as f64
}

/// The age of a process in seconds, exact to a tick.
fn age(pid: u32) -> f64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    uptime.split(' ').next().unwrap().parse::<f64>().unwrap() - start(pid)
}

#[test]
fn shared_memory_ages_and_descriptor_limits() {
    let name = unique("aged");
    let old = testproc(&name);
    std::thread::sleep(Duration::from_millis(300));
    let mut limited = testproc(&name);
    limited.open_files(20).unwrap();
    let limit = rustix::process::Rlimit { current: Some(64), maximum: Some(4096) };
    let pid = rustix::process::Pid::from_raw(limited.pid().cast_signed());
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap();
    let pids = [old.pid(), limited.pid()];
    let columns = "image,pid,shared,fds,fd%,age,started,starttime";
    let before = pids.map(age);
    let (_, document) = json_of(&["--no-conf", "--json", "-p", "--columns", columns, &name]);
    let after = pids.map(age);
    let rows = document["rows"].as_array().unwrap();
    let row = |pid: u32| rows.iter().find(|row| row["pid"] == pid).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let is_between = |value: &Value, low: f64, high: f64| {
        let (value, tick) = (number(value), 0.02);
        assert!((low - tick..=high + tick).contains(&value), "{value} {low} {high}");
    };
    for (index, pid) in pids.into_iter().enumerate() {
        let row = row(pid);
        is_between(&row["age_seconds"], before[index], after[index]);
        let end = number(&document["time_unix_seconds"]);
        let started = end - number(&row["age_seconds"]);
        assert!((started - number(&row["started_unix_seconds"])).abs() < 2.0, "{row}");
        let ratio = oracle::fds(pid).unwrap() as f64 / max_fds(pid) * 100.0;
        is_between(&row["fd_limit_percent"], ratio, ratio);
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
        let shared: i64 = statm.split(' ').nth(2).unwrap().parse().unwrap();
        let page_size = i64::try_from(rustix::param::page_size()).unwrap();
        assert_resident(&row["shared_bytes"], shared * page_size);
    }
    assert!(number(&row(limited.pid())["fd_limit_percent"]) > 30.0);

    // The image has the extremes, and so has the total.
    let before = pids.map(age);
    let columns = "image,oldest,youngest,fd%,shared,starts,exits";
    let (_, document) = json_of(&["--no-conf", "--json", "--columns", columns, &name]);
    let after = pids.map(age);
    for image in [&document["rows"][0], &document["total"]] {
        is_between(&image["oldest_seconds"], before[0], after[0]);
        is_between(&image["youngest_seconds"], before[1], after[1]);
        let distance = number(&image["oldest_seconds"]) - number(&image["youngest_seconds"]);
        assert!((distance - (start(pids[1]) - start(pids[0]))).abs() < 0.02, "{image}");
        let ratio = oracle::fds(limited.pid()).unwrap() as f64 / 64.0 * 100.0;
        is_between(&image["fd_limit_percent"], ratio, ratio);
        assert!(number(&image["shared_bytes"]) > number(&row(old.pid())["shared_bytes"]));
        assert_eq!((&image["starts"], &image["exits"]), (&json!(0), &json!(0)));
    }
    let records = csv(&stdout(&run(&["--no-conf", "--csv", "--columns", columns, &name])));
    assert_eq!(records[0][2..4], ["oldest_seconds", "youngest_seconds"]);
    let oldest: f64 = records[1][2].parse().unwrap();
    assert!((after[0]..after[0] + 120.0).contains(&oldest), "{oldest}");
    let args = ["--no-conf", "-p", "--columns", "pid,age,started,fd%", "--sort", "age", &name];
    let text = stdout(&run(&args));
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["PID", "AGE", "STARTED", "FD%"]);
    // The oldest is first.
    assert_eq!(lines[1][0], old.pid().to_string());
    assert!(lines[1][1].ends_with('s') && lines[1][2].ends_with('Z'), "{text}");
    // No total of ages.
    assert_eq!(lines[3].len(), 2, "{text}");
}

/// States and swap are read only if a column or the order needs them.
#[test]
fn states_and_swap_on_request() {
    let name = unique("states");
    let [sleeping, stopped, mut waiting, mut parent] = [(); 4].map(|()| testproc(&name));
    let pid_of = |process: &TestProcess| {
        rustix::process::Pid::from_raw(process.pid().cast_signed()).unwrap()
    };
    rustix::process::kill_process(pid_of(&stopped), rustix::process::Signal::STOP).unwrap();
    // It waits without being interruptible for its child, which has its name, and stops.
    waiting.vfork().unwrap();
    let mut child = parent.fork_child(&Config::new("states-child")).unwrap();
    child.exit(0).unwrap();
    psstat_testproc::wait_until("all have their states", || {
        let state = |process: &TestProcess| oracle::state(process.pid()).unwrap();
        (state(&stopped), state(&waiting), state(&child)) == ('T', 'D', 'Z')
    });
    let args = |options: &[&'static str]| [&["--no-conf", "--json"], options, &[&*name]].concat();
    let columns = "running,sleeping,disk,stopped,zombie,swap";
    let (_, document) = json_of(&args(&["--columns", columns]));
    for image in [&document["rows"][0], &document["total"]] {
        let counts = ["running", "sleeping", "disk", "stopped", "zombie"].map(|key| &image[key]);
        assert_eq!(counts, [0, 2, 1, 2, 1].map(|count| json!(count)).each_ref(), "{image}");
    }
    let pids = [sleeping.pid(), stopped.pid(), waiting.pid()];
    let swapped = |pid: u32| -> u64 {
        let text = oracle::status_field(pid, "VmSwap").unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap() * 1024
    };
    let (_, document) = json_of(&args(&["-p", "--columns", "pid,state,swap"]));
    let row = |document: &Value, pid: u32| -> Value {
        let mut rows = document["rows"].as_array().unwrap().iter();
        rows.find(|row| row["pid"] == pid).unwrap().clone()
    };
    for (pid, state) in pids.into_iter().zip(["S", "T", "D"]) {
        let row = row(&document, pid);
        assert_eq!((&row["state"], &row["swap_bytes"]), (&json!(state), &json!(swapped(pid))));
    }
    let (_, document) = json_of(&args(&["-p"]));
    let default = row(&document, pids[1]);
    assert_eq!((&default["state"], default.get("swap_bytes")), (&Value::Null, None));
    let (_, document) = json_of(&args(&["-p", "--sort", "state", "--columns", "pid"]));
    let rows: Vec<&Value> = document["rows"].as_array().unwrap().iter().collect();
    assert_eq!(rows[0]["pid"], json!(waiting.pid()), "D is the first");

    let args = ["top", "--no-conf", "--interval", "0.2", "--columns", "stopped,zombie", &name];
    let mut top = crate::run::terminal(&args);
    top.wait_until(|screen| {
        let words = |line: &'_ str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<_> = screen.lines().map(words).collect();
        let heading = ["IMAGE", "PROCS", "STOP", "ZOMBIE", "CPU", "0-100", "%"];
        lines.iter().any(|line| *line == heading)
            && lines.iter().any(|line| line.get(1..4).is_some_and(|line| line == ["5", "2", "1"]))
    });
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

/// CPU time of a process and of the children that it reaped, in seconds: by the kernel's ticks.
fn cpu_by_ticks(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(4);
    let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[test]
fn cpu_time_of_a_process_and_its_children() {
    let name = unique("cpu-time");
    let (mut parent, mut other) = (testproc(&name), testproc(&name));
    let mut child = parent.fork_child(&Config::new("cpu-time-child")).unwrap();
    // On a busy machine it takes longer.
    while oracle::cpu_time(child.pid()).unwrap() < Duration::from_millis(250) {
        child.burn(100.0, Duration::from_millis(100)).unwrap();
    }
    child.exit(0).unwrap();
    parent.wait(child).unwrap();
    other.burn(100.0, Duration::from_millis(50)).unwrap();
    parent.quiesce().unwrap();
    other.quiesce().unwrap();
    let number = |row: &Value, field: &str| row[field].as_f64().unwrap();
    let columns = "pid,cpu,user,system,cpu/s";
    let args = ["--no-conf", "--json", "-p", "--columns", columns, "--sort", "cpu", &name];
    let (_, document) = json_of(&args);
    let rows = document["rows"].as_array().unwrap();
    assert_eq!(rows[0]["pid"], parent.pid());
    let mut sum = 0.0;
    for (row, process) in rows.iter().zip([&parent, &other]) {
        // Each of the four times of the kernel is rounded down to a tick.
        let by_ticks = cpu_by_ticks(process.pid());
        let cpu = number(row, "cpu_seconds");
        assert!((by_ticks - 0.05..by_ticks + 0.05).contains(&cpu), "{row} {by_ticks}");
        let parts = number(row, "cpu_user_seconds") + number(row, "cpu_system_seconds");
        assert!((parts - cpu).abs() < 0.002, "{row}");
        assert!(number(row, "cpu_seconds_per_second") < 0.1, "{row}");
        sum += cpu;
    }
    assert!(number(&rows[0], "cpu_seconds") > 0.24, "{document}");
    let (_, document) = json_of(&["--no-conf", "--json", "--columns", "image,cpu", &name]);
    for image in [&document["rows"][0], &document["total"]] {
        assert!((number(image, "cpu_seconds") - sum).abs() < 0.05, "{image} {sum}");
    }

    // A busy process: the rate of the counter is that of the clock.
    parent.burn_until_stopped(100.0, 1).unwrap();
    let args = ["--no-conf", "--json", "-p", "--columns", "pid,pcpu,cpu/s", &name];
    let (_, document) = json_of(&args);
    parent.stop_burning().unwrap();
    let row = &document["rows"][0];
    let (rate, percent) = (number(row, "cpu_seconds_per_second"), number(row, "pcpu_percent"));
    assert!((0.3..3.0).contains(&(rate * 100.0 / percent)), "{row}");
}

/// Context switches of all threads of a process: voluntary and involuntary.
fn switches(pid: u32) -> [u64; 2] {
    let mut sums = [0, 0];
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        for (sum, name) in sums.iter_mut().zip(["voluntary", "nonvoluntary"]) {
            let prefix = format!("{name}_ctxt_switches:");
            let line = status.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
            *sum += line.trim().parse::<u64>().unwrap();
        }
    }
    sums
}

#[test]
fn context_switches_on_request() {
    let name = unique("switches");
    let mut testproc = testproc(&name);
    testproc.threads(3).unwrap();
    testproc.burn(50.0, Duration::from_millis(200)).unwrap();
    testproc.quiesce().unwrap();
    let pid = testproc.pid();
    let columns = "vcsw,ivcsw,vcsw/s,ivcsw/s";
    let before = switches(pid);
    let (_, document) = json_of(&["--no-conf", "--json", "--columns", columns, &name]);
    let after = switches(pid);
    for image in [&document["rows"][0], &document["total"]] {
        let counts = ["voluntary_switches", "involuntary_switches"];
        for (index, field) in counts.into_iter().enumerate() {
            let count = image[field].as_u64().unwrap();
            assert!((before[index]..=after[index]).contains(&count), "{field}: {image}");
            // It sleeps.
            let rate = &image[format!("{field}_per_second")];
            assert!(rate.as_f64().is_some_and(|rate| rate < 50.0), "{image}");
        }
        assert!(image["voluntary_switches"].as_u64() >= Some(4), "{image}");
    }
    // It sleeps every few milliseconds, or has to wait for a CPU on a busy machine.
    testproc.burn_until_stopped(20.0, 1).unwrap();
    let args = ["--no-conf", "--json", "-p", "--columns", "pid", "--sort", "vcsw/s", &name];
    assert_eq!(json_of(&args).1["rows"][0]["pid"], pid);
    let (_, document) = json_of(&["--no-conf", "--json", "--columns", columns, &name]);
    testproc.stop_burning().unwrap();
    let rate =
        |kind: &str| document["rows"][0][format!("{kind}_switches_per_second")].as_f64().unwrap();
    assert!(rate("voluntary") + rate("involuntary") > 1.0, "{document}");
}

/// Page faults of a process (`stat`, fields 10 and 12).
fn faults(pid: u32) -> [u64; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [fields[7], fields[9]].map(|field| field.parse().unwrap())
}

#[test]
fn page_faults_on_request() {
    let name = unique("faults");
    let mut testproc = testproc(&name);
    testproc.mmap_touch(8 << 20).unwrap();
    testproc.quiesce().unwrap();
    let before = faults(testproc.pid());
    let columns = "minflt,majflt,minflt/s,majflt/s";
    let (_, document) = json_of(&["--no-conf", "--json", "--columns", columns, &name]);
    let after = faults(testproc.pid());
    for image in [&document["rows"][0], &document["total"]] {
        for (index, field) in ["minor_faults", "major_faults"].into_iter().enumerate() {
            let count = image[field].as_u64().unwrap();
            assert!((before[index]..=after[index]).contains(&count), "{field}: {image}");
            // It sleeps.
            let rate = &image[format!("{field}_per_second")];
            assert!(rate.as_f64().is_some_and(|rate| rate < 50.0), "{image}");
        }
        assert!(image["minor_faults"].as_u64() > Some(10), "{image}");
    }
}

/// The columns of TCP states, and their numbers in `/proc/PID/net/tcp`.
const TCP_STATES: [(&str, &str); 8] = [
    ("listen", "0A"),
    ("syn_sent", "02"),
    ("syn_recv", "03"),
    ("fin_wait1", "04"),
    ("fin_wait2", "05"),
    ("close_wait", "08"),
    ("last_ack", "09"),
    ("closing", "0B"),
];

/// The sockets of a process in each of these states, by the text tables.
fn tcp_states(pid: u32) -> [u64; 8] {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links: BTreeSet<String> = links
        .map(|link| std::fs::read_link(link.unwrap().path()).unwrap().display().to_string())
        .collect();
    let mut counts = [0; 8];
    for table in ["tcp", "tcp6"] {
        // Without IPv6 there is no tcp6.
        let rows = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for row in rows.lines().skip(1) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let is_owned = links.contains(&format!("socket:[{}]", words[9]));
            for (count, (_, state)) in counts.iter_mut().zip(TCP_STATES) {
                *count += u64::from(is_owned && words[3] == state);
            }
        }
    }
    counts
}

#[test]
fn tcp_states_on_request() {
    let name = unique("tcp-states");
    let mut testproc = testproc(&name);
    testproc.tcp_pairs(2).unwrap();
    testproc.non_established_sockets(3).unwrap();
    let pid = testproc.pid();
    let expected = tcp_states(pid);
    // Listeners of at least one family, and connections that the peer has closed.
    assert!(expected[0] >= 3 && expected[5] == 3, "{expected:?}");
    let columns = TCP_STATES.map(|(key, _)| key).join(",");
    for level in [&["-p"][..], &[]] {
        let args = ["--no-conf", "--json", "--columns", &columns, &name];
        let (_, document) = json_of(&[level, &args].concat());
        for row in [&document["rows"][0], &document["total"]] {
            let counts = TCP_STATES.map(|(key, _)| row[format!("tcp_{key}")].as_u64().unwrap());
            assert_eq!(counts, expected, "{row}");
        }
    }
    let text = stdout(&run(&["--no-conf", "--columns", "tcp,listen,close_wait", &name]));
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["TCP", "LISTEN", "CLOSE_WAIT"]);
    assert_eq!(lines[1], ["4", &*expected[0].to_string(), "3"]);
}

#[test]
fn starts_and_exits_since_the_start() {
    use std::io::{BufRead as _, BufReader};
    let name = unique("joining");
    let first = testproc(&name);
    let args = ["--no-conf", "--json", "--interval", "0.2", "--columns", "starts,exits", &name];
    let mut child = command(&args).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> (u64, u64, u64) {
        let document: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let row = &document["rows"][0];
        let of = |field: &Value| field.as_u64().unwrap();
        (of(&row["starts"]), of(&row["exits"]), of(&document["total"]["processes"]))
    };
    let mut until = |want: (u64, u64, u64)| {
        let deadline = Instant::now() + psstat_testproc::TIMEOUT;
        let mut last = next();
        while last != want {
            assert!(Instant::now() < deadline, "{last:?} {want:?}");
            last = next();
        }
    };
    until((0, 0, 1));
    let others = (testproc(&name), testproc(&name));
    until((2, 0, 3));
    drop(others.0);
    until((2, 1, 2));
    drop((first, others.1));
    until((2, 3, 0));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Each value of the group is an image, also one that comes later.
#[test]
fn regex_option_with_groups_in_the_name() {
    let name = unique("grouped");
    let with =
        |app: &str| TestProcess::spawn(&Config::new(&name).arg(format!("-Dapp={app}"))).unwrap();
    let processes = [with("shop"), with("shop"), with("a b=c")];
    let rule = format!("{name}/{{app}}=^{name} -Dapp=(?P<app>.+)$");
    let (status, document) = json_of(&["--json", "--sort", "processes", "-e", &rule]);
    assert_eq!(status, 0);
    let rows = document["rows"].as_array().unwrap();
    let found: Vec<(&str, u64)> = rows
        .iter()
        .map(|row| (row["image"].as_str().unwrap(), row["processes"].as_u64().unwrap()))
        .filter(|(_, processes)| *processes > 0)
        .collect();
    let images = ["shop", "a_b_c"].map(|app| format!("{name}/{app}"));
    assert_eq!(found, [(&*images[0], 2), (&*images[1], 1)]);
    let (_, document) = json_of(&["--json", "-p", "-e", &rule]);
    let mut rows = document["rows"].as_array().unwrap().iter();
    let row = rows.find(|row| row["pid"] == processes[2].pid()).unwrap();
    assert_eq!(row["images"], json!([images[1]]));
    let output = run(&["-e", "x/{none}=(?P<app>x)"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("none"), "{}", stderr(&output));
}

/// The wrappers of psstat-dump have the pattern in their command lines, so they used
/// to be counted.
#[test]
fn wrappers_are_excluded() {
    let name = unique("wrapped");
    let run = |option: &str| -> Value {
        let script = format!("timeout 600 \"$0\" {option} --json -e {name}; true");
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", &script, env!("CARGO_BIN_EXE_psstat-dump")]).output();
        serde_json::from_slice(&output.unwrap().stdout).unwrap()
    };
    assert_eq!(run("")["total"]["processes"], 0);
    assert_eq!(run("--ancestors")["total"]["processes"], 2);
    // Processes of the same command line that do not run psstat-dump.
    let other = testproc(&format!("sh -c psstat-dump -e {name}"));
    assert_eq!(run("")["total"]["processes"], 1);
    drop(other);
}

fn window(measurer: &mut Measurer) -> Row {
    let due = measurer.open();
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    measurer.close().images.remove(0)
}

#[test]
fn rates_cover_the_window() {
    let name = unique("rates");
    let mut testproc = testproc(&name);
    testproc.quiesce().unwrap();
    let before = oracle::io(testproc.pid()).unwrap();
    let selector =
        Selector::new(Source::Executable, &[name.parse().unwrap()], Path::new("/proc"), false);
    let window_length = Duration::from_millis(200);
    let begin = Instant::now();
    let mut measurer =
        Measurer::new(Path::new("/proc"), window_length, selector, MetricGroups::default())
            .unwrap();
    testproc.write_bytes(5_000_000, 50).unwrap();
    testproc.read_bytes(77_000, 7).unwrap();
    testproc.quiesce().unwrap();
    let after = oracle::io(testproc.pid()).unwrap();
    let (done, seconds) = window(&mut measurer).growth.io.unwrap();
    assert_eq!(done.rchar, after["rchar"] - before["rchar"]);
    assert_eq!(done.wchar, after["wchar"] - before["wchar"]);
    assert_eq!(done.syscr, after["syscr"] - before["syscr"]);
    assert_eq!(done.syscw, after["syscw"] - before["syscw"]);
    assert!(done.wchar >= 5_000_000);
    assert!(seconds >= 0.2 && seconds <= begin.elapsed().as_secs_f64(), "{seconds}");
    let (done, _) = window(&mut measurer).growth.io.unwrap();
    assert_eq!((done.rchar, done.wchar), (0, 0));
}

#[test]
fn pcpu_matches_the_load() {
    let name = unique("pcpu");
    let mut testproc = testproc(&name);
    let selector =
        Selector::new(Source::Executable, &[name.parse().unwrap()], Path::new("/proc"), false);
    let mut measurer = Measurer::new(
        Path::new("/proc"),
        Duration::from_secs(1),
        selector,
        MetricGroups::default(),
    )
    .unwrap();
    testproc.burn_until_stopped(30.0, 1).unwrap();
    // Read around each of the two readings: on a busy host time passes between
    // them, and the load varies.
    let read = || (Instant::now(), oracle::cpu_time(testproc.pid()).unwrap(), Instant::now());
    let before = read();
    let due = measurer.open();
    let opened = read();
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
    let closing = read();
    let pcpu = measurer.close().images.remove(0).numbers.cpu_percent.unwrap();
    let after = read();
    let percent = |used: Duration, of: Duration| used.as_secs_f64() / of.as_secs_f64() * 100.0;
    let low = percent(closing.1 - opened.1, after.2 - before.0);
    let high = percent(after.1 - before.1, closing.0 - opened.2);
    testproc.stop_burning().unwrap();
    assert!(low - 5.0 < pcpu && pcpu < high + 5.0, "{pcpu} {low} {high}");
}

#[test]
fn denied_values_are_absent() {
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: not root");
    }
    let name = unique("denied");
    let testproc = busy(&name);
    let temp = TempDir::new().unwrap();
    // Other users cannot access the build directory.
    let program = temp.join("psstat-dump");
    crate::run::copy_program(&program);
    let mut command = std::process::Command::new(&program);
    command.args(["--no-conf", "--json", &name]).uid(65534).gid(65534).current_dir("/");
    let output = command.output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &document["rows"][0];
    assert_eq!(row["processes"], 1);
    for field in ["rchar_bytes", "rchar_bytes_per_second", "tcp_established"] {
        assert_eq!(row[field], Value::Null, "{field}");
    }
    assert_eq!(row["threads"], oracle::threads(testproc.pid()).unwrap());
    assert_eq!(document["unread"]["io"], 1);
    assert_eq!(document["unread"]["fd"], 1);
    for of in [row, &document["total"]] {
        let unread = ["io", "net", "fd", "mem", "cpu"].map(|kind| &of[format!("unread_{kind}")]);
        // Since 6.2 `stat` of the directory gives the number of descriptors.
        let fds = u8::from(of["fds"].is_null());
        assert_eq!(unread, [1, 1, fds, 0, 0], "{of}");
    }
}

/// The children of kthreadd, and itself, with their states.
fn kernel_threads() -> BTreeMap<u32, char> {
    let pids = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    let threads = pids.filter_map(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let is_thread = field("PPid:")? == "2" || field("Name:")? == "kthreadd";
        is_thread.then_some((pid, field("State:")?.chars().next()?))
    });
    threads.collect()
}

/// They were nowhere.
#[test]
fn kernel_threads_are_shown_on_request() {
    let (_, without) = json_of(&["-p", "--no-conf", "--json"]);
    let in_brackets = |row: &&Value| row["images"][0].as_str().unwrap().starts_with('[');
    assert_eq!(without["rows"].as_array().unwrap().iter().filter(in_brackets).count(), 0);
    let before = kernel_threads();
    if before.is_empty() {
        return println!("skipped: kernel threads are not visible here");
    }
    let (_, with) = json_of(&["-k", "-p", "--no-conf", "--json"]);
    let after = kernel_threads();
    let rows: BTreeMap<u64, &Value> = with["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(in_brackets)
        .map(|row| (row["pid"].as_u64().unwrap(), row))
        .collect();
    // Some start and exit meanwhile.
    for pid in before.keys().filter(|pid| after.contains_key(pid)) {
        let row = rows.get(&u64::from(*pid)).unwrap_or_else(|| panic!("no {pid}"));
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        let name = row["comm"].as_str().unwrap();
        // kworkers append what they do.
        let family = |name: &str| name.trim_end().split('/').next().unwrap().to_owned();
        assert_eq!(family(name), family(&comm));
        assert_eq!(row["images"], json!([format!("[{}]", family(name))]));
        assert_eq!((&row["command_line"], &row["rss_bytes"]), (&json!(""), &Value::Null));
        assert_eq!(row["state"].as_str().unwrap().len(), 1);
        assert!(row["pcpu_percent"].as_f64().unwrap() >= 0.0, "{row}");
    }
    for pid in rows.keys() {
        let pid = u32::try_from(*pid).unwrap();
        assert!(before.contains_key(&pid) || after.contains_key(&pid) || !exists(pid), "{pid}");
    }
    let (_, images) = json_of(&["-k", "--no-conf", "--json"]);
    let images = images["rows"].as_array().unwrap();
    let kthreadd = images.iter().find(|row| row["image"] == "[kthreadd]").unwrap();
    assert_eq!((&kthreadd["processes"], &kthreadd["fds"]), (&json!(1), &Value::Null));
    // In a table the command is the name.
    let text = stdout(&run(&["-k", "-p", "--no-conf"]));
    let line = text.lines().find(|line| line.ends_with(" [kthreadd]")).unwrap();
    assert!(line.trim_start().starts_with("2 S [kthreadd] "), "{line}");
}

fn exists(pid: u32) -> bool {
    std::fs::exists(format!("/proc/{pid}")).unwrap()
}
