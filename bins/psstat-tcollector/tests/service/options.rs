//! Options, as arguments and variables, and errors in them.

use std::process::Command;

use psstat_testproc::TempDir;

use super::common::{PROGRAM, Setup, conf, is_root, outcome, testproc, word};

#[test]
fn invalid_options_exit_2_with_a_reason() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, "any x\n");
    for (wrong, says) in [
        ("--interval=0", "--interval"),
        ("--interval=600", "--interval"),
        ("--interval=soon", "--interval"),
        ("--cycles=0", "--cycles"),
        ("--once --cycles=2", "--cycles"),
        ("--format=xml", "--format"),
        ("--tag=nothing", "--tag"),
        ("--tag=a=b c", "--tag"),
        ("--tag=a=b --tag=a=c", "tag"),
        ("--tag=image=b", "tag"),
        ("--tag=type=b", "tag"),
        ("--mem-unit=acres", "--mem-unit"),
        ("--mem-unit=pages --format=openmetrics", "--mem-unit"),
        ("--class=a/b", "--class"),
        ("--proc=/nowhere", "/nowhere"),
        ("--proc=/etc/passwd", "/etc/passwd"),
        ("--proc=/etc", "/etc is not a procfs"),
        ("--no-such-option", "--no-such-option"),
        ("an-argument", "an-argument"),
    ] {
        let mut command = Command::new(PROGRAM);
        command.env_clear().arg("--conf").arg(&path);
        command.args(
            wrong.split(" --").enumerate().map(|(at, option)| {
                if at == 0 { option.to_owned() } else { format!("--{option}") }
            }),
        );
        let (status, out, log) = outcome(&mut command);
        assert_eq!((status, out.as_str()), (Some(2), ""), "{wrong}: {log}");
        assert!(log.contains(says), "{wrong}: {log}");
    }
    for (variable, wrong) in [
        ("PSSTAT_INTERVAL", "often"),
        ("PSSTAT_FORMAT", "xml"),
        ("PSSTAT_ONCE", "perhaps"),
        ("PSSTAT_PROC", "/nowhere"),
    ] {
        let mut command = Command::new(PROGRAM);
        let (status, out, log) = outcome(command.env_clear().env(variable, wrong));
        assert_eq!((status, out.as_str()), (Some(2), ""), "{variable}: {log}");
        assert!(log.contains(wrong), "{variable}: {log}");
    }
}

/// Every error of opening the procfs was a usage error, and cost an hour of data, even for too many
/// open files and for the default `/proc`.
#[test]
fn valid_options_are_accepted() {
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("none {}\n", word("unused")));
    for limit in 3..=24 {
        let mut shell = Command::new("/bin/sh");
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        shell.args(["-c", &script, "sh", PROGRAM, "--cycles", "1", "--proc", "/proc", "--conf"]);
        let (status, out, log) = outcome(shell.env_clear().arg(&path));
        // With fewer, the loader finds no library, and the program does not start.
        let began = !log.contains("error while loading shared libraries");
        assert!(!began || status == Some(0), "{limit}: {status:?} {log}");
        assert!(!log.is_empty() && (!out.is_empty() || log.lines().count() == 1), "{limit}: {log}");
    }
    // Not mounted yet: values of 0 would be wrong.
    let mut shell = Command::new("unshare");
    let script = "mount -t tmpfs tmpfs /proc && exec \"$@\"";
    shell
        .args(["--mount", "sh", "-c", script, "sh", PROGRAM, "--cycles", "1", "--conf"])
        .arg(&path);
    let (status, out, log) = outcome(shell.env_clear());
    if log.contains("unshare: ") || log.contains("mount: ") {
        return println!("skipped: no right to mount: {log}");
    }
    assert_eq!((status, out.as_str()), (Some(0), ""), "{log}");
    assert!(log.contains("/proc is not a procfs"), "{log}");
}

#[test]
fn help_lists_options_and_variables() {
    let (status, help, log) = outcome(Command::new(PROGRAM).env_clear().arg("--help"));
    assert_eq!((status, log.as_str()), (Some(0), ""));
    for option in [
        "--conf",
        "--class",
        "--conf-owner",
        "--strict-owner",
        "--interval",
        "--once",
        "--cycles",
        "--format",
        "--tag",
        "--mem-unit",
        "--metrics",
        "--proc",
        "--descriptors",
        "--check",
        "--debug",
    ] {
        let variable = format!("PSSTAT_{}", option[2..].to_uppercase().replace('-', "_"));
        assert!(help.contains(&format!("{option} ")) || help.contains(&format!("{option}\n")));
        assert!(help.contains(&format!("[env: {variable}=")), "{variable}");
    }
    let (status, version, _) = outcome(Command::new(PROGRAM).env_clear().arg("--version"));
    assert_eq!(status, Some(0));
    assert_eq!(version, format!("psstat-tcollector {}\n", env!("CARGO_PKG_VERSION")));
}

/// The metrics of a group are printed only if it is named; those of an empty image too.
#[test]
fn groups_of_metrics_are_printed_if_requested() {
    let word = word("groups");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("groups {word}\nnone {word}-unused\n"));
    let run = |groups: &str| {
        let setup = Setup::bare().env("PSSTAT_CONF", &path).env("PSSTAT_CYCLES", "2");
        setup.env("PSSTAT_INTERVAL", "1").env("PSSTAT_METRICS", groups).spawn().finish().remove(1)
    };
    let states = ["disk", "running", "sleeping", "stopped", "zombie"];
    let series = |cycle: &super::common::Cycle, image: &str| -> Vec<String> {
        let all = cycle.series(image).into_iter();
        let is_in_group = |series: &&str| GROUPS.iter().any(|name| series.starts_with(name));
        all.filter(is_in_group).map(str::to_owned).collect()
    };
    const GROUPS: [&str; 3] = ["state ", "swap ", "faults "];
    let with_states = |image: &str| states.map(|of| format!("state image={image} type={of}"));
    let _running = testproc;
    for image in ["groups", "none"] {
        let swap = format!("swap image={image}");
        assert_eq!(series(&run(""), image), [""; 0]);
        assert_eq!(series(&run("states"), image), with_states(image));
        assert_eq!(series(&run("swap"), image), std::slice::from_ref(&swap));
        let faults = run("faults");
        let of_faults = ["major", "minor"].map(|of| format!("faults image={image} type={of}"));
        assert_eq!(series(&faults, image), of_faults);
        let has_none = of_faults.iter().all(|series| faults.get(series) == 0);
        assert!(image == "groups" || has_none, "of no process");
        let both = run("swap,states");
        assert_eq!(series(&both, image), [&with_states(image)[..], &[swap]].concat());
        let sleeping = both.get(&format!("state image={image} type=sleeping"));
        assert_eq!(sleeping, i64::from(image == "groups"));
    }
    let (status, _, log) =
        outcome(Command::new(PROGRAM).env_clear().args(["--metrics", "states,cpu"]));
    assert_eq!(status, Some(2), "{log}");
    assert!(log.contains("'cpu'") && log.contains("states, faults, switches, swap, tcp"), "{log}");
}

/// tcollector passes no arguments: every option has a variable.
#[test]
fn variables_work_like_options() {
    let word = word("var");
    let testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("var {word}\n"));
    let bare = || Setup::bare().env("PSSTAT_CONF", &path).env("PSSTAT_INTERVAL", "1");
    let once = || bare().env("PSSTAT_ONCE", "true");

    let mut collectors = [
        bare().env("PSSTAT_CYCLES", "2").env("PSSTAT_ONCE", "false").spawn(),
        once().env("PSSTAT_TAG", "dc=ams3,rack=b/7").spawn(),
        once().env("PSSTAT_MEM_UNIT", "pages").spawn(),
        once().env("PSSTAT_MEM_UNIT", "bytes").spawn(),
        once().env("PSSTAT_DESCRIPTORS", "0").env("PSSTAT_DEBUG", "1").spawn(),
    ];
    let mut cycles: Vec<_> = collectors.iter_mut().map(super::common::Collector::finish).collect();
    assert_eq!(cycles[0].len(), 2);
    for line in collectors[1].printed() {
        // The order of tags in all lines: those of the metric, then these.
        assert!(line.ends_with(" dc=ams3 rack=b/7"), "{line}");
    }
    assert_eq!(cycles[1][0].get("procs image=var dc=ams3 rack=b/7"), 1);
    let page = rustix::param::page_size() as i64;
    for kind in ["total", "resident"] {
        let memory = psstat_testproc::oracle::memory(testproc.pid()).unwrap();
        let bytes = if kind == "total" { memory.total } else { memory.resident } as i64;
        let series = format!("mem image=var type={kind}");
        // Some pages may be reclaimed meanwhile; the size is constant.
        let slack = if kind == "total" { 0 } else { 128 * page };
        let (pages, printed) = (cycles[2][0].get(&series), cycles[3][0].get(&series));
        assert!((pages * page - bytes).abs() <= slack, "{pages} pages against {bytes}");
        assert!((printed - bytes).abs() <= slack, "{printed} against {bytes}");
    }
    let debug = collectors[4].logged("debug: ");
    assert!(debug.iter().any(|line| line.contains("up to 0 fds")), "{debug:#?}");
    assert_eq!(cycles[4].remove(0).get("procs image=var"), 1);

    // Another procfs: a capture with one process.
    let copy = temp.join("copy");
    super::faults::copy_process(testproc.pid(), &copy.join(testproc.pid().to_string()));
    let mut elsewhere = once().env("PSSTAT_PROC", &copy).spawn();
    let cycle = elsewhere.finish().remove(0);
    assert_eq!((cycle.get("collector.processes"), cycle.get("procs image=var")), (1, 1));

    let (status, out, _) = outcome(
        Command::new(PROGRAM)
            .env_clear()
            .env("PSSTAT_CONF", &path)
            .env("PSSTAT_ONCE", "1")
            .env("PSSTAT_FORMAT", "json"),
    );
    assert_eq!((status, out.starts_with("[{"), out.ends_with("}]\n")), (Some(0), true, true));
}

#[test]
fn owner_variables_work_like_options() {
    let word = word("owned");
    let _testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("owned {word}\n"));
    if !is_root() {
        return println!("skipped: chown of the config file needs root");
    }
    std::os::unix::fs::chown(&path, Some(4321), None).unwrap();
    let once = || Setup::bare().env("PSSTAT_CONF", &path).env("PSSTAT_CYCLES", "1");
    for (strict, owner, diagnostics, rules) in
        [("false", "4320", 1, 1), ("true", "4320", 1, 0), ("true", "4321", 0, 1), ("", "", 1, 1)]
    {
        let setup = once().env("PSSTAT_STRICT_OWNER", strict).env("PSSTAT_CONF_OWNER", owner);
        let mut collector = setup.spawn();
        let cycle = collector.finish().remove(0);
        assert_eq!(cycle.get("collector.rules"), rules, "{strict} {owner}");
        let logged = collector.logged("uid 4321");
        assert_eq!(logged.len(), diagnostics, "{strict} {owner}: {:#?}", collector.log());
        assert!(logged.iter().all(|line| line.contains(owner)), "{logged:?}");
    }
}

/// `PSSTAT_CYCLES=` in /etc/default/psstat was a usage error, and cost an hour of data.
#[test]
fn empty_variables_are_ignored() {
    let word = word("empty");
    let _testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("empty {word}\n"));
    let (_, help, _) = outcome(Command::new(PROGRAM).env_clear().arg("--help"));
    let variables: Vec<&str> =
        help.split("[env: ").skip(1).map(|rest| rest.split('=').next().unwrap()).collect();
    assert_eq!(variables.len(), 21, "{help}");
    let mut setup = Setup::bare().args(&["--once", "--conf"]).arg(&path);
    for variable in variables {
        setup = setup.env(variable, "");
    }
    let mut collector = setup.spawn();
    assert_eq!(collector.finish()[0].get("procs image=empty"), 1);
}

/// Telegraf's execd, for example, logs each line on stderr as an error.
#[test]
fn quiet_logs_only_issues() {
    let word = word("quiet");
    let _testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("quiet {word}\n"));
    let collector = Setup::with(&path).arg("--quiet").spawn();
    assert_eq!(collector.next_cycle().get("procs image=quiet"), 1);
    assert!(collector.log().is_empty(), "{:#?}", collector.log());
    std::fs::write(&path, format!("quiet {word}\nbad (\n")).unwrap();
    collector.wait_for_log(1, ":2:");
    assert!(collector.logged(": loaded ").is_empty(), "{:#?}", collector.log());
}

/// `--once` without a config file printed the collector's own metrics and ended with 0. With
/// `--cycles`, which tcollector may use, it still does.
#[test]
fn once_without_rules_exits_1() {
    let temp = TempDir::new().unwrap();
    let missing = temp.join("missing");
    let without_rule = conf(&temp, "# nothing\n");
    for (options, path, status, says) in [
        (
            &["--once"][..],
            &missing,
            1,
            "No such file or directory (os error 2); no rules until a valid config is found; check --conf",
        ),
        (&["--once"], &without_rule, 1, "has no rule"),
        (&["--cycles", "1"], &missing, 0, "No such file"),
    ] {
        let mut collector = Setup::bare().args(options).arg("--conf").arg(path).spawn();
        assert_eq!(collector.end(), Some(status), "{options:?} {path:?}");
        assert_eq!(collector.logged(says).len(), 1, "{says}: {:#?}", collector.log());
        let cycle = collector.finished().remove(0);
        assert_eq!(cycle.get("collector.rules"), 0);
    }
}

#[test]
fn default_path_contains_the_class() {
    let class = word("class");
    let path = format!("/{class}/shared/conf/psstat.conf: cannot be read");
    for setup in [
        Setup::bare().args(&["--once", "--class", &class]),
        Setup::bare().env("PSSTAT_CLASS", &class).env("PSSTAT_CHECK", "yes"),
    ] {
        let mut collector = setup.spawn();
        let status = collector.end();
        assert_eq!(collector.logged(&path).len(), 1, "{:#?}", collector.log());
        assert_eq!(status, Some(1));
        assert_eq!(collector.logged("; --conf PATH or --class NAME (").len(), 1);
    }
    // The default: the host name up to its first dot, without trailing digits.
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let first = host.split('.').next().unwrap();
    let name = first.trim_end_matches(char::is_numeric);
    let mut collector = Setup::bare().arg("--check").spawn();
    collector.end();
    let expected = format!("{name}/shared/conf/psstat.conf");
    assert_eq!(collector.logged(&expected).len(), 1, "{:#?}", collector.log());
}
