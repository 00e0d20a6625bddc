//! collectd's exec plugin, with the script of the page.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use psstat_testproc::TempDir;
use psstat_testproc::formats::tsd;

use super::{INSTALLED, configuration, recorded_collector};
use crate::common::{PROGRAM, until};
use crate::population::Population;
use crate::store::{Points, Server, assert_found, installed};

#[test]
#[ignore = "run by cargo xtask agents"]
fn collectd_runs_the_collector() {
    let Some(program) = installed("collectd") else { return };
    let population = Population::new();
    let temp = TempDir::new().unwrap();
    let (collector, output) = recorded_collector(&population.conf, &temp);
    let agent = start(&program, &collector, &temp, false);
    let mut sent = Points::new();
    let mut found = Points::new();
    until("three cycles", || {
        sent = printed(&output);
        let times: std::collections::BTreeSet<u64> = sent.keys().map(|(_, time)| *time).collect();
        found = stored(&agent.data.join("csv/pxy12"));
        // The last one may be incomplete.
        let Some(&last) = times.iter().nth(3) else { return false };
        sent.retain(|(_, time), _| *time < last);
        found.retain(|(_, time), _| *time < last);
        found.len() >= sent.len()
    });
    assert_found("collectd, exec and csv", "tcollector", &sent, &found);
    // Without the lines of the collector, which that user does not permit to read everything.
    let log = agent.log();
    let mut errors =
        log.lines().filter(|line| line.contains("error") && !line.contains("psstat: "));
    assert_eq!(errors.next(), None, "{log}");
}

/// Starts collectd with the configuration of the page and this program as the collector. It writes
/// values, or for counters their rates, to files.
fn start(program: &Path, collector: &Path, temp: &TempDir, rates: bool) -> Server {
    // Of Debian's package, which is unpacked.
    let root = program.ancestors().nth(3).unwrap().to_owned();
    let script = temp.join("psstat-collectd");
    let text = configuration("psstat-collectd", &[(INSTALLED, collector.to_str().unwrap())]);
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let plugin = configuration(
        "collectd.conf.d/psstat.conf",
        &[
            ("/usr/local/bin/psstat-collectd", script.to_str().unwrap()),
            ("\"collectd:psstat\"", "\"daemon\""),
            ("Interval 15", "Interval 1"),
        ],
    );
    let (agent, []) = Server::start(
        program,
        |data, []| {
            let config = format!(
                "BaseDir \"{data}\"\nPIDFile \"{data}/pid\"\nHostname \"pxy12\"\n\
                 PluginDir \"{root}/usr/lib/collectd\"\nTypesDB \"{root}/usr/share/collectd/types.db\"\n\
                 LoadPlugin logfile\n<Plugin logfile>\n  LogLevel info\n  File STDERR\n</Plugin>\n\
                 {plugin}\
                 LoadPlugin csv\n<Plugin csv>\n  DataDir \"{data}/csv\"\n  StoreRates {rates}\n</Plugin>\n",
                data = data.display(),
                root = root.display()
            );
            let path = data.join("collectd.conf");
            std::fs::write(&path, config).unwrap();
            vec!["-f".to_owned(), "-C".to_owned(), path.display().to_string()]
        },
        |[]| true,
    );
    agent
}

/// collectd starts the script again after the collector has ended. The rate between the last value of
/// one collector and the first of the next is not a number, and none is negative.
#[test]
#[ignore = "run by cargo xtask agents"]
fn collectd_drops_the_rate_of_a_restart() {
    let Some(program) = installed("collectd") else { return };
    let mut population = Population::new();
    let temp = TempDir::new().unwrap();
    let (collector, pids) = (temp.join("collector"), temp.join("pids"));
    let text = format!(
        "#!/bin/sh\necho $$ >> {}\nPSSTAT_CONF={} PSSTAT_TEST_IO_START=process exec {PROGRAM} \"$@\"\n",
        pids.display(),
        population.conf.display()
    );
    std::fs::write(&collector, text).unwrap();
    std::fs::set_permissions(&collector, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(&pids, "").unwrap();
    // collectd runs the script as another user.
    std::fs::set_permissions(&pids, PermissionsExt::from_mode(0o666)).unwrap();
    let agent = start(&program, &collector, &temp, true);
    let started = || -> Vec<i32> {
        let text = std::fs::read_to_string(&pids).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    };
    // A counter that this user may read too.
    let rates = || -> Vec<f64> {
        let points = stored(&agent.data.join("csv/pxy12"));
        let mut rates: Vec<(u64, f64)> = points
            .into_iter()
            .filter(|((series, _), _)| series == "svc_web/starts")
            .map(|((_, time), value)| (time, value))
            .collect();
        rates.sort_by_key(|(time, _)| *time);
        rates.into_iter().map(|(_, rate)| rate).collect()
    };
    until("rates", || rates().iter().filter(|rate| rate.is_finite()).count() >= 2);
    population.start_one();
    until("the start is counted", || rates().iter().any(|rate| *rate > 0.0));
    let pid = rustix::process::Pid::from_raw(started()[0]).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    until("the second collector", || started().len() == 2);
    let before = rates().len();
    until("its rates", || rates().len() >= before + 3);
    let rates = rates();
    assert!(rates.iter().skip(1).any(|rate| rate.is_nan()), "{rates:?}");
    assert!(!rates.iter().any(|rate| *rate < 0.0), "{rates:?}");
}

/// The points of the collector's lines, with collectd's names.
fn printed(output: &Path) -> Points {
    let text = std::fs::read_to_string(output).unwrap();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let mut points = Points::new();
    for line in text[..whole].lines() {
        let point = tsd::parse_line(line).unwrap();
        let image = point.tag("image").map_or(String::new(), |image| image.replace('/', "_"));
        let name = point.metric.strip_prefix("proc.stat.ps.").unwrap();
        let kind = point.tag("type").map_or(String::new(), |kind| format!(".{kind}"));
        points.insert((format!("{image}/{name}{kind}"), point.time.unwrap()), point.number());
    }
    points
}

/// The points in the files of the csv plugin: `psstat-IMAGE/TYPE-NAME-DATE`.
fn stored(directory: &Path) -> Points {
    let entries = |path: &Path| {
        let entries = std::fs::read_dir(path).ok().into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut points = Points::new();
    for image in entries(directory) {
        for file in entries(&image) {
            let image = name(&image);
            let image = image.strip_prefix("psstat").unwrap().trim_start_matches('-');
            let file_name = name(&file);
            let (_, series) = file_name.split_once('-').unwrap();
            let series = &series[..series.len() - "-2026-11-30".len()];
            let text = std::fs::read_to_string(&file).unwrap();
            for line in text.lines().skip(1) {
                let Some((time, value)) = line.split_once(',') else { continue };
                let Ok(value) = value.parse() else { continue };
                let time: f64 = time.parse().unwrap();
                points.insert((format!("{image}/{series}"), time as u64), value);
            }
        }
    }
    points
}
