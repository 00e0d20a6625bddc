//! `top` in a terminal: it starts, handles keys, and always restores the
//! terminal.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use psstat_testproc::terminal::{SIZE, Terminal};
use psstat_testproc::{Config, TIMEOUT, TempDir, TestProcess, oracle};
use rustix::process::Signal;
use rustix::termios::{LocalModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::run::{command, run, stderr, terminal, unique};

const ENTERS: &str = "\x1b[?1049h";
const LEAVES: &str = "\x1b[?1049l";
const HIDES_CURSOR: &str = "\x1b[?25l";
const SHOWS_CURSOR: &str = "\x1b[?25h";

#[test]
fn starts_handles_keys_and_quits() {
    let mut top = terminal(&["top", "--no-conf", "--interval", "0.2"]);
    top.wait_for("%CPUv");
    assert!(top.is_raw());
    top.press("?");
    top.wait_for("Press any other key to go back");
    top.press("x");
    top.resize((100, 30));
    // Keys that arrive together with a resize are handled.
    top.press("/no-image-of-this-name");
    top.wait_for("filter:");
    top.press("\x03");
    assert_eq!(top.wait(), Some(0));
    assert!(top.output.contains(LEAVES));
    assert!(!top.is_raw());
}

/// The lines of a screen with numbers replaced by `#`, without the spaces before
/// numbers and at the end.
fn without_numbers(screen: &str) -> Vec<String> {
    let bare = |line: &str| {
        let mut bare = String::new();
        for c in line.chars() {
            if c.is_ascii_digit() {
                bare.truncate(bare.trim_end_matches([' ', '#']).len());
                bare.push('#');
            } else {
                bare.push(c);
            }
        }
        bare.trim_end().to_owned()
    };
    screen.lines().map(bare).collect()
}

#[test]
fn live_screens_of_several_sizes() {
    let (one, other) = (unique("screen-a"), unique("screen-b"));
    let mut first = TestProcess::spawn(&Config::new(&one).arg("\x1b[31mred")).unwrap();
    first.tcp_pairs(2).unwrap();
    let second = TestProcess::spawn(&Config::new(&other).arg("日本")).unwrap();
    let third = TestProcess::spawn(&Config::new(&other).arg("plain")).unwrap();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("alpha ^{one}\nbeta ^{other}\ngamma ^none-of-{one}$\n")).unwrap();
    let args = ["top", "--interval", "0.3", "--conf", conf.to_str().unwrap()];
    let mut top = terminal(&args);
    top.wait_for("%CPUv");
    // Without plots.
    top.press("g");
    for size in [SIZE, (60, 12), (132, 40)] {
        top.resize(size);
        // By name: idle images would be sorted by memory.
        top.press("SS");
        // A screen arrives in parts: wait for the complete screen.
        top.wait_until(|screen| {
            let lines = without_numbers(screen);
            if lines.len() != usize::from(size.1) {
                return false;
            }
            let starts = [
                (1, "load"),
                (2, "overhead:"),
                (3, "images by IMAGE, ascending"),
                (4, "IMAGEv"),
                (5, "+alpha"),
                (6, "+beta"),
                (7, "+gamma"),
                (lines.len() - 1, "q quit  ? help  / filter"),
            ];
            lines[0].contains("# processes,# images, CPU")
                && starts.iter().all(|&(at, start)| lines[at].starts_with(start))
                && lines[8..lines.len() - 1].iter().all(String::is_empty)
                && (size.0 <= 80 || screen.lines().nth(5).unwrap().contains(" 4 "))
        });

        // Expand the second image: its processes are below it.
        top.press("j ");
        top.wait_until(|screen| {
            let has = |pid: u32| screen.lines().any(|l| l.starts_with(&format!("   {pid} ")));
            screen.contains("-beta")
                && has(second.pid())
                && has(third.pid())
                && (size.0 <= 80 || screen.contains(&format!("{other} 日本")))
        });
        // Collapse it, and filter by command line.
        top.press(" /日");
        let filtered = top.wait_until(|screen| screen.contains("filter: 日_"));
        assert!(filtered.contains("+beta") && !filtered.contains("+alpha"), "{filtered}");
        top.press("\x1b");
        // A key sent earlier would be read as alt with a letter.
        top.wait_until(|screen| screen.contains("+alpha"));
        // The report of a process, with escaped text.
        top.press("k\rj\r");
        top.wait_until(|screen| {
            screen.starts_with(&format!("process {}\n", first.pid()))
                && screen.contains("summary")
                && (size.1 < 40 || screen.contains("identity"))
                && (size.1 < 40 || screen.contains(&format!("{one} \\x1b[31mred")))
        });
        top.press("q");
        top.wait_until(|screen| screen.contains("-alpha"));
        top.press("k p");
        top.wait_until(|screen| screen.contains("PAUSED"));
        top.press("phhhh");
        top.wait_until(|screen| !screen.contains("PAUSED"));
        // Return to the first column.
        top.press("ss");
        top.wait_until(|screen| screen.contains("images by %CPU, descending"));
    }
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

/// On such terminals (serial consoles, some of `docker exec`) nothing was drawn.
#[test]
fn terminal_without_a_size() {
    let args = ["top", "--no-conf", "--interval", "0.2"];
    let last_line = |screen: &str, columns: usize, lines: usize| {
        let last = screen.lines().nth(lines - 1).unwrap_or_default();
        last.starts_with("q quit") && last.chars().count() <= columns
    };
    let mut top = Terminal::start(command(&args), (0, 0));
    top.wait_until(|screen| screen.contains("IMAGE") && last_line(screen, 80, 24));
    // It follows a size that is set later.
    top.resize((60, 10));
    top.wait_until(|screen| screen.contains("IMAGE") && last_line(screen, 60, 10));
    top.press("q");
    assert_eq!(top.wait(), Some(0));

    let mut with_variables = command(&args);
    with_variables.env("COLUMNS", "50").env("LINES", "12");
    let mut top = Terminal::start(with_variables, (0, 0));
    top.wait_until(|screen| {
        let lines: Vec<&str> = screen.lines().collect();
        let is_narrow = lines.iter().all(|line| line.chars().count() <= 50);
        screen.contains("IMAGE") && is_narrow && last_line(screen, 50, 12)
    });
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

/// The view used to allocate memory for all cells that a terminal reports: 2.3 GB for these.
#[test]
fn memory_is_bounded_on_a_huge_terminal() {
    const MAX_KB: u64 = 150_000;
    let args = ["top", "--no-conf", "--interval", "0.2"];
    let peak_kb = |top: &Terminal| {
        let peak = oracle::status_field(top.child.id(), "VmHWM").unwrap();
        peak.trim_end_matches(" kB").trim().parse::<u64>().unwrap()
    };
    let mut top = Terminal::start(command(&args), (5000, 5000));
    top.wait_for("%CPUv");
    assert!(peak_kb(&top) < MAX_KB, "{}", peak_kb(&top));
    // It follows a change to another size and back.
    for size in [SIZE, (u16::MAX, u16::MAX)] {
        top.clear();
        let winsize = Winsize { ws_row: size.1, ws_col: size.0, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&top.master, winsize).unwrap();
        top.signal(Signal::WINCH);
        top.wait_for("%CPUv");
        assert!(peak_kb(&top) < MAX_KB, "{size:?}: {}", peak_kb(&top));
    }
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

#[test]
fn key_shows_kernel_threads() {
    if !std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n") {
        return println!("skipped: kernel threads are not visible here");
    }
    let mut top = terminal(&["top", "--no-conf", "--interval", "0.2"]);
    top.wait_for("%CPUv");
    top.press("/kthreadd");
    top.wait_for("filter: kthreadd_");
    top.press("\r");
    top.wait_until(|screen| !screen.contains("[kthreadd]") && screen.contains("esc clears)"));
    top.press("K");
    top.wait_until(|screen| screen.contains("+[kthreadd]"));
    top.press(" ");
    top.wait_until(|screen| screen.lines().any(|line| line.starts_with("   2 ")));
    let line = top.text().lines().find(|line| line.starts_with("   2 ")).unwrap().to_owned();
    assert!(line.contains(" S [kthre"), "{line}");
    top.press("K");
    top.wait_until(|screen| !screen.contains("[kthreadd]"));
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

#[test]
fn shows_each_history() {
    let name = unique("history");
    let mut testproc = TestProcess::spawn(&Config::new(&name)).unwrap();
    testproc.tcp_pairs(2).unwrap();
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("it ^{name}$\n")).unwrap();
    let mut top = terminal(&["top", "--interval", "0.1", "--conf", conf.to_str().unwrap()]);
    // Some bars are higher than the lowest one.
    let has_bars = |screen: &str| {
        let mut lines = screen.lines().filter(|line| line.starts_with("+it"));
        lines.any(|line| line.contains(|c| ('▂'..='█').contains(&c)))
    };
    let heading = |screen: &str, name: &str| {
        screen.lines().nth(4).is_some_and(|line| line.contains(&format!(" {name} 0-")))
    };
    // Memory and connections are constant; CPU and io need activity.
    for name in ["CPU", "MEMORY", "IO", "CONN"] {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let screen = top.text();
            if heading(&screen, name) && has_bars(&screen) {
                break;
            }
            assert!(Instant::now() < deadline, "{name}:\n{screen}");
            match name {
                "CPU" => drop(testproc.burn(100.0, Duration::from_millis(300)).unwrap()),
                "IO" => testproc.write_bytes(10_000, 2).unwrap(),
                _ => {}
            }
            top.read(Duration::from_millis(50));
        }
        top.press("h");
    }
    top.wait_until(|screen| heading(screen, "CPU"));
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

#[test]
fn shows_images_of_the_regex_option() {
    let name = unique("topped-by-regex");
    let _testproc = TestProcess::spawn(&Config::new(&name).arg("app=x")).unwrap();
    let rules = [format!("a/x=^{name} app=x$"), format!("none=^{name}$"), format!("^{name}")];
    let mut args = vec!["top", "--interval", "0.2"];
    args.extend(rules.iter().flat_map(|rule| ["-e", rule]));
    let mut top = terminal(&args);
    top.wait_until(|screen| {
        let processes = |image: &str| {
            let line = screen.lines().find(|line| line.starts_with(image))?;
            line.split_whitespace().nth(1)
        };
        [("+a/x ", "1"), ("+none ", "0"), ("+match ", "1")]
            .iter()
            .all(|(image, count)| processes(image) == Some(count))
    });
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

#[test]
fn restores_terminal_on_exit() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut top = terminal(&["top", "--no-conf"]);
        top.wait_for("measuring");
        assert!(top.is_raw());
        top.signal(signal);
        assert_eq!(top.wait(), Some(0), "{signal:?}");
        assert!(top.output.contains(LEAVES) && !top.is_raw(), "{signal:?}");
    }
}

#[test]
fn restores_terminal_on_sigtstp() {
    let mut top = terminal(&["top", "--no-conf", "--interval", "0.2"]);
    top.wait_for("%CPUv");
    let cooked = |top: &Terminal| !top.is_raw() && top.output.contains(LEAVES);
    for method in ["signal", "ctrl-z", "SIGSTOP"] {
        top.clear();
        match method {
            "signal" => top.signal(Signal::TSTP),
            "ctrl-z" => top.press("\x1a"),
            _ => top.signal(Signal::STOP),
        }
        let deadline = Instant::now() + TIMEOUT;
        while oracle::state(top.child.id()).unwrap() != 'T' {
            assert!(Instant::now() < deadline, "{method}: not stopped");
            top.read(Duration::from_millis(20));
        }
        if method == "SIGSTOP" {
            // The program cannot restore the terminal; the shell does.
            let mut modes = tcgetattr(&top.slave).unwrap();
            modes.local_modes |= LocalModes::ICANON | LocalModes::ECHO;
            tcsetattr(&top.slave, OptionalActions::Now, &modes).unwrap();
        } else {
            top.wait_for(LEAVES);
            assert!(cooked(&top), "{method}: {:?}", top.output);
        }
        top.clear();
        top.signal(Signal::CONT);
        top.wait_for("%CPUv");
        assert!(top.is_raw() && top.output.contains(ENTERS), "{method}: {:?}", top.output);
    }
    top.press("q");
    assert_eq!(top.wait(), Some(0));
    assert!(cooked(&top));
}

#[test]
fn exits_on_hangup() {
    let mut top = terminal(&["top", "--no-conf"]);
    top.wait_for("measuring");
    // The terminal is not that of the session, so there is no SIGHUP.
    top.master = std::fs::File::open("/dev/null").unwrap().into();
    top.wait();
}

#[test]
fn shows_a_capture() {
    let name = unique("topped");
    let testproc = crate::run::testproc(&name);
    let temp = TempDir::new().unwrap();
    let path = temp.join("capture");
    let dir = path.to_str().unwrap();
    let pid = testproc.pid().to_string();
    assert_eq!(run(&["capture", dir, "--pid", &pid]).status.code(), Some(0));
    drop(testproc);
    let mut top = terminal(&["top", "--no-conf", "--interval", "0.2", "--proc", dir]);
    top.wait_for(&format!("+{name}"));
    top.wait_for("captured /proc: values do not change");
    top.press(" j\r");
    top.wait_for(&format!("process {pid}"));
    top.press("qq");
    assert_eq!(top.wait(), Some(0));
}

#[test]
fn restores_terminal_on_panic() {
    if !cfg!(debug_assertions) {
        return println!("skipped: release builds have no failpoints");
    }
    for (fault, interval, status) in [("draw", "3600", 101), ("measure", "0.1", 2)] {
        let args = ["top", "--no-conf", "--interval", interval];
        let mut command = command(&args);
        command.env("PSSTAT_FAULT", fault);
        let mut top = Terminal::start(command, SIZE);
        top.wait_for("measuring");
        assert_eq!(top.wait(), Some(status), "{fault}");
        assert_eq!(tcgetattr(&top.slave).unwrap().local_modes, top.initial_modes, "{fault}");
        // The message is printed after the terminal is restored.
        let (before, after) = top.output.split_once(LEAVES).unwrap();
        assert!(before.contains(ENTERS), "{fault}: {}", top.output);
        let message = format!("injected fault: {fault}");
        assert!(!before.contains(&message) && after.contains(&message), "{fault}: {}", top.output);
        assert!(top.output.rfind(SHOWS_CURSOR) > top.output.rfind(HIDES_CURSOR), "{fault}");
    }
}

#[test]
fn needs_a_terminal() {
    for (args, want) in [(&["top"][..], "needs a terminal"), (&["top", "--json"], "--interval")] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(want), "{}", stderr(&output));
    }
}

/// With stderr on the same terminal, and SIGHUP ignored or sent to another process, it aborted.
#[test]
fn ends_with_its_terminal() {
    let mut top = terminal(&["top", "--no-conf", "--interval", "0.2"]);
    top.wait_for("%CPUv");
    top.hang_up();
    assert_eq!(top.wait(), Some(0));
}

/// The repeated table ended with status 2 and a message.
#[test]
fn table_ends_with_its_terminal() {
    let temp = TempDir::new().unwrap();
    let errors = temp.join("stderr");
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$@\" 2>\"$STDERR\"", "sh", env!("CARGO_BIN_EXE_psstat-dump")]);
    command.args(["--no-conf", "--interval", "0.2"]).env("STDERR", &errors);
    let mut table = Terminal::start(command, SIZE);
    table.wait_for("%CPU");
    table.hang_up();
    assert_eq!((table.wait(), std::fs::read_to_string(&errors).unwrap().as_str()), (Some(0), ""));
}

/// The first values are shown at once, however long the windows are, and `-` shortens these.
#[test]
fn first_values_do_not_wait_for_a_window() {
    let mut top = terminal(&["top", "--no-conf", "--interval", "3600"]);
    top.wait_until(|screen| screen.contains("windows of 3600 s"));
    top.wait_until(|screen| screen.contains("the last 1 window "));
    top.press("-");
    top.wait_until(|screen| {
        screen.contains("windows of 300 s") && screen.contains("the last 2 windows")
    });
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

#[test]
fn sends_a_signal_after_a_question() {
    let name = unique("signaled");
    let victim = TestProcess::spawn(&Config::new(&name)).unwrap();
    let pid = victim.pid();
    let rule = format!("it=^{name}$");
    let start = |options: &[&str]| {
        let mut top = terminal(&[&["top", "--interval", "1", "-e", &rule], options].concat());
        top.wait_for("%CPUv");
        top.press("2x");
        top
    };
    // Switched off.
    let mut top = start(&["--no-signals"]);
    top.wait_for("signals are switched off");
    top.press("q");
    assert_eq!(top.wait(), Some(0));

    let mut top = start(&[]);
    top.wait_for(&format!("signal to process {pid}: _"));
    top.press("stop\r");
    top.wait_for(&format!("send SIGSTOP (19) to process {pid}?"));
    assert_ne!(oracle::state(pid).unwrap(), 'T');
    top.press("n");
    top.wait_for("no signal was sent");
    assert_ne!(oracle::state(pid).unwrap(), 'T');
    top.press("xterm\r");
    top.wait_for("send SIGTERM (15)");
    top.press("y");
    top.wait_for(&format!("sent SIGTERM to process {pid}"));
    assert_eq!(victim.reap().unwrap().signal(), Some(15));
    // Its line is marked until it is forgotten.
    top.wait_until(|screen| screen.contains(&format!("{pid}x")));
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

/// The choices are kept in a file, and a broken file is reported with its line.
#[test]
fn settings_are_kept() {
    let temp = TempDir::new().unwrap();
    let start = |args: &[&str]| {
        let mut command = command(&[&["top", "--no-conf", "--interval", "0.2"], args].concat());
        command.env("XDG_CONFIG_HOME", temp.path());
        Terminal::start(command, SIZE)
    };
    let mut top = start(&["--columns", "pcpu,shared,owner"]);
    top.wait_until(|screen| screen.contains("SHARED"));
    top.press("2");
    top.wait_until(|screen| screen.contains("processes by %CPU") && screen.contains("OWNER"));
    top.press("sW");
    top.wait_for("saved in");
    top.press("q");
    assert_eq!(top.wait(), Some(0));

    let mut top = start(&[]);
    top.wait_until(|screen| screen.contains("processes by SHARED, descending"));
    top.press("1");
    top.wait_until(|screen| {
        let heading = screen.lines().nth(4).unwrap_or_default();
        heading.starts_with("IMAGE") && heading.contains("SHAREDv") && !heading.contains("RSS")
    });
    top.press("q");
    assert_eq!(top.wait(), Some(0));

    let file = temp.join("psstat/top.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("plots =", "plotz =")).unwrap();
    let mut top = start(&[]);
    let line = 1 + text.lines().position(|line| line.starts_with("plots")).unwrap();
    assert_eq!(top.wait(), Some(2));
    let message = format!("top.toml:{line}: no setting `plotz`: did you mean `plots`?");
    assert!(top.output.contains(&message), "{}", top.output);
    assert!(top.output.contains("correct it, or delete the file"), "{}", top.output);
}

/// Columns that cost a read per process are measured from the moment in which they are shown.
#[test]
fn chosen_columns_are_measured() {
    let name = unique("chosen");
    let _testproc = TestProcess::spawn(&Config::new(&name)).unwrap();
    let rule = format!("it=^{name}$");
    let mut top = terminal(&["top", "--interval", "0.2", "-e", &rule]);
    top.wait_for("%CPUv");
    top.press("c");
    top.wait_for("columns of images");
    // All of the default columns are left out, and the last one is chosen.
    top.press(&(" ".repeat(15) + "/"));
    top.wait_until(|screen| !screen.contains("[x]"));
    let listed = top.text();
    let sleeping = listed.lines().position(|line| line.contains("[ ] sleeping")).unwrap();
    top.press(&"j".repeat(sleeping - 1));
    top.press(" ");
    top.wait_until(|screen| screen.contains("[x] sleeping"));
    top.press("\r");
    top.wait_until(|screen| {
        let line = screen.lines().find(|line| line.starts_with("+it")).unwrap_or_default();
        screen.contains("SLEEP") && line.split_whitespace().nth(2) == Some("1")
    });
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}

/// Without colors and UTF-8: only ASCII, and no sequences for colors.
#[test]
fn plain_terminals() {
    let name = unique("plain");
    let _testproc = TestProcess::spawn(&Config::new(&name).arg("日本")).unwrap();
    let args = ["top", "--interval", "0.2", "-e", &format!("it=^{name}")];
    let mut program = command(&args);
    program.env("NO_COLOR", "1").env("LC_ALL", "C");
    let mut top = Terminal::start(program, SIZE);
    top.wait_for("%CPUv");
    top.press("2");
    top.wait_until(|screen| screen.contains(&format!("{name} ? ?")));
    top.wait_until(|screen| screen.lines().any(|line| line.starts_with("- it, the last")));
    top.press("q");
    assert_eq!(top.wait(), Some(0));
    assert!(top.output.is_ascii());
    let colors = ["\x1b[31m", "\x1b[38;", "\x1b[35m", "\x1b[32m"];
    assert!(!colors.iter().any(|color| top.output.contains(color)), "{:?}", top.output);
}

#[test]
fn page_of_a_process_is_searched() {
    let name = unique("searched");
    let testproc = TestProcess::spawn(&Config::new(&name)).unwrap();
    let rule = format!("it=^{name}$");
    let mut top = terminal(&["top", "--interval", "0.2", "-e", &rule]);
    top.wait_for("%CPUv");
    top.press("2\r");
    top.wait_until(|screen| screen.contains("summary") && screen.contains("q back"));
    top.press("/max open");
    top.wait_until(|screen| {
        let first = screen.lines().next().unwrap_or_default().to_owned();
        first.trim_start().starts_with("Max open files") && screen.contains("search: max open_")
    });
    top.press("\r[");
    top.wait_until(|screen| screen.starts_with("limits\n"));
    // It shows that the process has exited when it is read again.
    let pid = testproc.pid();
    drop(testproc);
    top.press("r");
    top.wait_until(|screen| screen.starts_with(&format!("process {pid}: ")));
    top.press("qq");
    assert_eq!(top.wait(), Some(0));
}

/// As many images as a large config file makes, whose processes start and exit.
#[test]
fn thousand_images() {
    let name = unique("thousand");
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    let rule = |n: usize| format!("t/{n:03} ^{name} {n:03}$\n");
    std::fs::write(&conf, (0..1000).map(rule).collect::<String>()).unwrap();
    let spawn = |n: usize| TestProcess::spawn(&Config::new(&name).arg(format!("{n:03}"))).unwrap();
    let mut args = vec!["top", "--interval", "0.2", "--conf", conf.to_str().unwrap()];
    args.push("--no-mouse");
    let mut top = terminal(&args);
    // By name; without plots.
    top.wait_for("%CPUv");
    top.press("gSS");
    let processes = |screen: &str, n: usize| -> Option<u64> {
        let row = screen
            .lines()
            .find(|line| line.trim_start_matches(['*', '+']).starts_with(&format!("t/{n:03} ")))?;
        row.split_whitespace().find_map(|word| word.parse().ok())
    };
    top.wait_until(|screen| processes(screen, 0) == Some(0));
    for n in [3, 7] {
        let one = spawn(n);
        top.wait_until(|screen| processes(screen, n) == Some(1));
        drop(one);
        top.wait_until(|screen| processes(screen, n) == Some(0));
    }
    // The last ones.
    top.press("\x1b[F");
    top.wait_until(|screen| processes(screen, 999) == Some(0));
    let last = spawn(999);
    top.wait_until(|screen| processes(screen, 999) == Some(1));
    drop(last);
    top.press("q");
    assert_eq!(top.wait(), Some(0));
}
