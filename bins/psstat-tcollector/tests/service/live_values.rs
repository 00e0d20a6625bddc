//! The printed values are equal to the known values of the processes.

use std::time::Instant;

use psstat_testproc::{Config, Io, Kind, TempDir, TestProcess, oracle};

use super::common::{
    Collector, Cycle, Setup, conf, expected_values, mean_load, moves, testproc, word,
};

fn has_ipv6() -> bool {
    let there = std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| !text.is_empty());
    if !there {
        println!("skipped: IPv6, which is off here");
    }
    there
}

fn idle(cycle: &Cycle, image: &str) {
    let pcpu = cycle.number(&format!("pcpu image={image}"));
    assert!((0.0..1.0).contains(&pcpu), "{image} does nothing and has {pcpu} %");
}

#[test]
fn every_value_matches_the_oracle() {
    let (web, db) = (word("web"), word("db"));
    // Longer than a page; the rule matches at its end.
    let long = format!("--classpath={}", "lib/part.jar:".repeat(600));
    let mut first = TestProcess::spawn(&Config::new(&web).arg(&long).arg("role=first")).unwrap();
    let mut second = TestProcess::spawn(&Config::new(&web).arg("role=second")).unwrap();
    let mut third =
        TestProcess::spawn(&Config::new(&db).arg(b"\xff\xfe".escape_ascii().to_string())).unwrap();

    first.tcp_pairs(3).unwrap();
    if has_ipv6() {
        first.tcp6_pairs(2).unwrap();
        first.tcp6_mapped_pairs(2).unwrap();
        second.udp6_connected(1).unwrap();
    }
    first.non_established_sockets(2).unwrap();
    first.threads(4).unwrap();
    first.write_bytes(1_000_003, 10).unwrap();
    second.udp_connected(3).unwrap();
    second.unix_pairs(4).unwrap();
    second.unix_dgram_pairs(2).unwrap();
    second.read_bytes(70_000, 7).unwrap();
    // Both processes own it: it counts once in their common image, and once in the image of each.
    first.share_socket(Kind::Tcp, &mut second).unwrap();
    third.mmap_touch(20 << 20).unwrap();
    third.open_files(300).unwrap();
    let known = [first.sockets().unwrap(), second.sockets().unwrap(), third.sockets().unwrap()];
    for testproc in [&first, &second, &third] {
        testproc.quiesce().unwrap();
    }
    let (one, two, three) = (first.pid(), second.pid(), third.pid());
    let images: [(&str, &[u32]); 5] = [
        ("web", &[one, two]),
        ("web/first", &[one]),
        ("web/second", &[two]),
        ("db", &[three]),
        ("none", &[]),
    ];
    let expected = || images.map(|(image, pids)| expected_values(image, pids));
    let before = expected();
    let resident = images.map(|(_, pids)| {
        let each = pids.iter().map(|&pid| oracle::memory(pid).unwrap().resident);
        each.sum::<u64>().cast_signed()
    });

    let temp = TempDir::new().unwrap();
    let text = format!(
        "web {web}\nweb/first {web} .*role=first$\nweb/second {web} role=sec\n\
         db ^{db} \nweb {web} .*role=fir\nnone {}\n",
        word("unused")
    );
    // From /proc and, where that works, by BPF.
    let path = conf(&temp, &text);
    let setup = || Setup::with(&path).args(&["--cycles", "3"]);
    let mut collectors = [setup().spawn(), setup().by_default().spawn()];
    let cycles = collectors.each_mut().map(Collector::finish);
    assert_eq!(expected(), before, "the testprocs did not keep still");

    assert_eq!(cycles.each_ref().map(Vec::len), [3, 3]);
    for cycle in cycles.iter().flatten() {
        assert_eq!(cycle.images(), ["db", "none", "web", "web/first", "web/second"]);
        for ((image, _), expected) in images.iter().zip(&before) {
            assert_eq!(&cycle.image(image), expected);
            idle(cycle, image);
        }
        for ((image, pids), resident) in images.iter().zip(resident) {
            // A few pages that it shares with other processes may be reclaimed meanwhile.
            let slack = (pids.len() as i64) << 19;
            let printed = cycle.get(&format!("mem image={image} type=resident"));
            assert!(printed.abs_diff(resident) <= slack as u64, "{printed} against {resident}");
        }
        // The same according to the commands of the test processes instead of their /proc files.
        let io = first.expected_io().unwrap() + second.expected_io().unwrap();
        assert_eq!(printed_io(cycle, "web"), io);
        assert_eq!(cycle.get("fd image=db type=open") as u64, known[2].fds);
        assert_eq!(cycle.get("threads image=web/first"), 5);
        let first_tcp = (known[0].tcp + known[0].tcp6) as i64;
        assert_eq!(cycle.get("net image=web/first type=tcp"), first_tcp);
        assert_eq!(cycle.get("net image=web/second type=tcp"), 1);
        assert_eq!(cycle.get("net image=web type=tcp"), first_tcp);
        assert_eq!(cycle.get("net image=web/second type=unix"), 12);
        assert_eq!(cycle.get("collector.matched"), 3);
        for health in ["collector.conf_loaded", "collector.panics", "collector.bad_lines"] {
            assert_eq!(cycle.get(health), i64::from(health.ends_with("loaded")), "{health}");
        }
        assert_eq!(cycle.get("collector.rules"), 6);
    }
}

fn printed_io(cycle: &Cycle, image: &str) -> Io {
    let get = |kind| cycle.get(&format!("io image={image} type={kind}")) as u64;
    Io { rchar: get("rchar"), wchar: get("wchar"), syscr: get("syscr"), syscw: get("syscw") }
}

#[test]
fn empty_image_has_every_metric_from_the_first_cycle() {
    let temp = TempDir::new().unwrap();
    let conf = conf(&temp, &format!("none {}\n", word("unused")));
    let cycles = Setup::with(&conf).arg("--once").spawn().finish();
    let mut expected: Vec<String> = expected_values("none", &[]).into_keys().collect();
    for series in ["pcpu", "fd.ratio", "starts", "exits"] {
        expected.push(format!("{series} image=none"));
    }
    for (metric, of) in
        [("mem", "resident"), ("mem", "shared"), ("age", "oldest"), ("age", "youngest")]
    {
        expected.push(format!("{metric} image=none type={of}"));
    }
    expected.extend(["user", "system"].map(|mode| format!("cpu image=none type={mode}")));
    expected.sort();
    assert_eq!(cycles[0].series("none"), expected);
    assert!(cycles[0].image("none").values().all(|&value| value == 0));
    for series in expected.iter().filter(|series| moves(series)) {
        assert_eq!(cycles[0].number(series), 0.0, "{series}");
    }
    idle(&cycles[0], "none");
}

/// I/O from before the start of the collector counts in no image, nor when its parent
/// inherits it; only `--once` prints it.
#[test]
fn counters_begin_with_the_collector() {
    let word = word("begins");
    let mut parent = testproc(&word);
    let mut child = parent.fork_child(&Config::new("of no image")).unwrap();
    parent.write_bytes(1_000_000, 10).unwrap();
    child.write_bytes(3_000_000, 30).unwrap();
    parent.quiesce().unwrap();
    child.quiesce().unwrap();
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("begins {word}\n"));
    let setup = || Setup::with(&path).io_since_start();
    let once = setup().arg("--once").spawn().finish().remove(0);
    assert_eq!(printed_io(&once, "begins"), parent.expected_io().unwrap());

    let collector = setup().spawn();
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.get("procs image=begins"), 1);
    assert_eq!(printed_io(&cycle, "begins"), Io::default());
    let before = parent.expected_io().unwrap().wchar;
    parent.write_bytes(777, 1).unwrap();
    let done = parent.expected_io().unwrap().wchar - before;
    assert_eq!(printed_io(&collector.next_cycle(), "begins").wchar, done);

    child.exit(0).unwrap();
    parent.wait(child).unwrap();
    let inherited = printed_io(&collector.next_cycle(), "begins").wchar;
    assert!((done..done + 10_000).contains(&inherited), "{inherited}");

    // A restart is a reset to 0.
    drop(collector);
    let collector = setup().spawn();
    collector.wait_loaded(1);
    assert_eq!(printed_io(&collector.next_cycle(), "begins"), Io::default());
}

/// Between cycles: I/O, a child that is reaped, a process that exits, and one that starts.
#[test]
fn counters_keep_exited_processes() {
    let word = word("job");
    let mut parent = testproc(&word);
    let mut alone = testproc(&word);
    let mut child = parent.fork_child(&Config::new(&word)).unwrap();
    let temp = TempDir::new().unwrap();
    let collector = Setup::with(&conf(&temp, &format!("job {word}\n"))).spawn();
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.get("procs image=job"), 3);
    let sum = |testprocs: &[&TestProcess]| {
        testprocs
            .iter()
            .map(|testproc| testproc.expected_io().unwrap())
            .reduce(|a, b| a + b)
            .unwrap()
    };
    assert_eq!(printed_io(&cycle, "job"), sum(&[&parent, &alone, &child]));

    child.write_bytes(5_000_000, 50).unwrap();
    alone.read_bytes(300_000, 3).unwrap();
    let cycle = collector.next_cycle();
    assert_eq!(printed_io(&cycle, "job"), sum(&[&parent, &alone, &child]));

    // The parent inherits the child's I/O, which is in the sum already; that of the other process
    // is kept, except for the command that made it exit.
    let exited = alone.expected_io().unwrap();
    child.exit(0).unwrap();
    parent.wait(child).unwrap();
    alone.exit(0).unwrap();
    alone.reap().unwrap();
    let cycle = collector.next_cycle();
    assert_eq!(cycle.get("procs image=job"), 1);
    let (printed, known) = (printed_io(&cycle, "job"), sum(&[&parent]) + exited);
    assert_eq!((printed.wchar, printed.syscw), (known.wchar, known.syscw));
    let about = known.rchar..=known.rchar + 100;
    assert!(about.contains(&printed.rchar), "{} is not in {about:?}", printed.rchar);

    // A process that starts is counted from its start.
    let mut late = testproc(&word);
    late.write_bytes(77_777, 7).unwrap();
    let again = collector.next_cycle();
    assert_eq!(again.get("procs image=job"), 2);
    let expected = late.expected_io().unwrap();
    let now = printed_io(&again, "job");
    assert_eq!(now.wchar, printed.wchar + expected.wchar);
    assert_eq!(now.syscw, printed.syscw + expected.syscw);

    // Without processes, gauges are 0 and counters keep their value.
    drop(late);
    parent.exit(0).unwrap();
    parent.reap().unwrap();
    let last = collector.next_cycle();
    for (series, value) in last.image("job") {
        if series.starts_with("io ") {
            assert!(value >= again.get(&series), "{series} fell");
        } else {
            assert_eq!(value, 0, "{series}");
        }
    }
}

#[test]
fn opened_and_closed_sockets_are_counted() {
    let word = word("peer");
    let mut peer = testproc(&word);
    let temp = TempDir::new().unwrap();
    let collector = Setup::with(&conf(&temp, &format!("peer {word}\n"))).spawn();
    collector.wait_loaded(1);
    let net = |cycle: &Cycle| {
        ["tcp", "udp", "unix"].map(|kind| cycle.get(&format!("net image=peer type={kind}")))
    };
    assert_eq!(net(&collector.next_cycle()), [0, 0, 0]);
    peer.tcp_pairs(20).unwrap();
    peer.udp_connected(5).unwrap();
    assert_eq!(net(&collector.next_cycle()), [40, 5, 0]);
    peer.close_sockets(Kind::Tcp, 20).unwrap();
    peer.unix_pairs(3).unwrap();
    assert_eq!(net(&collector.next_cycle()), [0, 5, 6]);
    peer.leader_exit().unwrap();
    let cycle = collector.next_cycle();
    assert_eq!(net(&cycle), [0, 5, 6], "of a process whose leader has exited");
    assert_eq!(cycle.get("procs image=peer"), 1);
    assert_eq!(cycle.get("fd image=peer type=open") as u64, oracle::fds(peer.tid()).unwrap());
}

#[test]
fn pcpu_matches_the_load() {
    let (one, two) = (word("one"), word("two"));
    let mut burners = [(testproc(&one), 30.0, 1), (testproc(&two), 10.0, 2)];
    for (burner, percent, threads) in &mut burners {
        burner.burn_until_stopped(*percent, *threads).unwrap();
    }
    let temp = TempDir::new().unwrap();
    let text = format!("one {one}\ntwo {two}\n");
    let collector = Setup::with(&conf(&temp, &text)).spawn();
    // The load according to the scheduler, over the time of five windows: a busy machine may give a
    // test process less time than it needs, and more afterwards.
    let read = || [0, 1].map(|at: usize| oracle::cpu_time(burners[at].0.pid()).unwrap());
    let first = collector.cycles(1).remove(0);
    let (begin, before) = (Instant::now(), read());
    let cycles = collector.cycles(6);
    let (time, after) = (begin.elapsed(), read());
    for (at, image) in ["one", "two"].into_iter().enumerate() {
        let load = 100.0 * (after[at] - before[at]).as_secs_f64() / time.as_secs_f64();
        let mean = mean_load(&cycles[1..6], image);
        assert!((mean - load).abs() < 3.0, "{image}: {mean} % printed, {load} % burnt");
        assert!(load > 5.0, "{image} did not get to burn anything: {load} %");
        // The counter has the time between the windows too.
        let counter = |cycle: &Cycle| {
            let time = ["user", "system"].map(|mode| format!("cpu image={image} type={mode}"));
            time.iter().map(|series| cycle.number(series)).sum::<f64>()
        };
        let (counted, used) = (counter(&cycles[5]) - counter(&first), after[at] - before[at]);
        let used = used.as_secs_f64();
        assert!((counted - used).abs() < 0.1 + 0.2 * used, "{image}: {counted} s of {used} s");
    }
}

/// The program of 2014 added a space after the last argument, and its rules may require the space
/// or its absence.
#[test]
fn rule_may_match_trailing_space() {
    let word = word("space");
    let _testproc = TestProcess::spawn(&Config::new(&word).arg("lrh")).unwrap();
    let temp = TempDir::new().unwrap();
    let conf = conf(&temp, &format!("with {word} lrh\\s\nwithout {word} lrh$\n"));
    let cycle = Setup::with(&conf).arg("--once").spawn().finish().remove(0);
    assert_eq!(["with", "without"].map(|image| cycle.get(&format!("procs image={image}"))), [1, 1]);
}

/// The collector can match its own process.
#[test]
fn collector_can_be_an_image() {
    let temp = TempDir::new().unwrap();
    let conf = conf(&temp, &format!("self psstat-tcollector .*{}\n", temp.path().display()));
    let collector: Collector = Setup::with(&conf).spawn();
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.get("procs image=self"), 1);
    assert!(cycle.get("io image=self type=rchar") > 0);
    assert!(cycle.get("collector.rss") > 0 && cycle.number("collector.wall") >= 500.0);
}
