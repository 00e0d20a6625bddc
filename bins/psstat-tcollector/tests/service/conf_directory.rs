//! A directory of config files, and several paths.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use psstat_testproc::TempDir;
use psstat_testproc::fuse::{FuseServer, Mode};
use psstat_testproc::test_name;

use super::common::{
    Collector, PROGRAM, Setup, expected_values, outcome, testproc, wait_settled, word, write_conf,
};
use super::hung_conf::inside;

/// See `reload`: a change is loaded within a second.
const SOON: usize = 4;

fn directory(temp: &TempDir) -> PathBuf {
    let dir = temp.join("conf.d");
    std::fs::create_dir(&dir).unwrap();
    dir
}

/// The messages about a file.
fn messages(collector: &Collector, path: &Path) -> Vec<String> {
    let prefix = format!("psstat: {}", path.display());
    let lines = collector.log().into_iter();
    lines.filter_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).collect()
}

#[test]
fn directory_and_file_are_used_as_one() {
    let names = ["one", "two", "three"].map(word);
    let testprocs = names.each_ref().map(|name| testproc(name));
    let temp = TempDir::new().unwrap();
    let dir = directory(&temp);
    let [a, b, c] = ["10-a.conf", "20-b.conf", "30-c.conf"].map(|name| dir.join(name));
    let rule = |image: &str, at: usize| format!("{image} {}\n", names[at]);
    write_conf(&a, &rule("one", 0));
    write_conf(&b, &(rule("two", 1) + "bad! x\n"));
    write_conf(&dir.join(".10-a.conf.swp"), "bad!\n");
    let file = temp.join("file");
    write_conf(&file, &rule("also/one", 0));
    wait_settled();
    let list = format!("{}:{}", dir.display(), file.display());
    let collector = Setup::bare().env("PSSTAT_INTERVAL", "1").env("PSSTAT_CONF", list).spawn();
    collector.wait_loaded(1);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.images(), ["also/one", "one", "two"]);
    assert_eq!(cycle.image("two"), expected_values("two", &[testprocs[1].pid()]));
    let health = |name: &str| collector.next_cycle().get(&format!("collector.{name}"));
    assert_eq!((health("bad_lines"), health("conf_loaded"), health("rules")), (1, 1, 3));
    let loaded = "psstat: config files: loaded 3 rules for 3 images from 3 files";
    assert_eq!(collector.logged(": loaded "), [loaded]);
    assert!(messages(&collector, &b)[0].starts_with(":2:4: error: "), "{:#?}", collector.log());
    assert_eq!(collector.log().len(), 2, "{:#?}", collector.log());

    // A file without a valid line keeps its rules while others come and change.
    write_conf(&b, "bad! x\nbad! y\n");
    collector.wait_for_log(1, "has no rule; keeping its previous 1 rule");
    assert_eq!((health("bad_lines"), health("conf_loaded"), health("rules")), (2, 0, 3));
    write_conf(&c, &rule("three", 2));
    let changed = Instant::now();
    let took = collector.count_between(changed, collector.wait_loaded(2));
    assert!(took < SOON, "loaded after {took} cycles");
    write_conf(&a, &(rule("one", 0) + &rule("one/more", 0)));
    collector.wait_loaded(3);
    let cycle = collector.next_cycle();
    assert_eq!(cycle.images(), ["also/one", "one", "one/more", "three", "two"]);
    assert_eq!(cycle.image("two"), expected_values("two", &[testprocs[1].pid()]));
    assert_eq!((health("conf_loaded"), health("bad_lines")), (0, 2));
    // Its errors were logged once.
    let errors = messages(&collector, &b).into_iter().filter(|line| line.contains(": error: "));
    assert_eq!(errors.count(), 3, "{:#?}", collector.log());

    // A removed file takes its rules with it.
    std::fs::remove_file(&b).unwrap();
    collector.wait_loaded(4);
    assert_eq!(messages(&collector, &b).last().unwrap(), ": removed; its 1 rule is no longer used");
    let cycle = collector.next_cycle();
    assert_eq!(cycle.images(), ["also/one", "one", "one/more", "three"]);
    assert_eq!((health("conf_loaded"), health("bad_lines")), (1, 0));
    // A missing path keeps its rules, and so does a missing directory.
    std::fs::remove_file(&file).unwrap();
    collector
        .wait_for_log(1, "No such file or directory (os error 2); keeping its previous 1 rule");
    std::fs::rename(&dir, temp.join("away")).unwrap();
    collector
        .wait_for_log(1, "No such file or directory (os error 2); keeping its previous 3 rules");
    assert_eq!(health("conf_loaded"), 0);
    assert_eq!(collector.next_cycle().images().len(), 4);
    std::fs::rename(temp.join("away"), &dir).unwrap();
    write_conf(&file, &rule("again", 0));
    collector.cycle("all is loaded", |cycle| cycle.get("collector.conf_loaded") == 1);
    assert_eq!(collector.next_cycle().images(), ["again", "one", "one/more", "three"]);
}

#[test]
fn stuck_file_does_not_delay_others() {
    if !inside(test_name!()) {
        return;
    }
    let names = ["local", "remote"].map(word);
    let testprocs = names.each_ref().map(|name| testproc(name));
    let temp = TempDir::new().unwrap();
    let dir = directory(&temp);
    let mount = temp.join("mount");
    std::fs::create_dir(&mount).unwrap();
    let rule = |image: &str, at: usize| format!("{image} {}\n", names[at]);
    let mut server = FuseServer::mount(&mount, "psstat.conf", &rule("remote", 1)).unwrap();
    // The stuck file comes first, and several are stuck.
    let stuck = ["10-a.conf", "20-b.conf", "30-c.conf"].map(|name| dir.join(name));
    for path in &stuck {
        symlink(mount.join("psstat.conf"), path).unwrap();
    }
    let local = dir.join("40-d.conf");
    write_conf(&local, &rule("local", 0));
    wait_settled();
    let collector = Setup::with(&dir).spawn();
    collector.wait_loaded(1);
    assert_eq!(collector.next_cycle().images(), ["local", "remote"]);
    let loaded = collector.logged(": loaded ").len();

    server.set_mode(Mode::Ignore);
    for (count, image) in (1..).zip(["first", "second", "third"]) {
        let changed = Instant::now();
        write_conf(&local, &rule(image, 0));
        let took = collector.count_between(changed, collector.wait_loaded(loaded + count));
        assert!(took < SOON, "{image}: loaded after {took} cycles");
        let cycle = collector.next_cycle();
        let mut images = [image, "remote"];
        images.sort_unstable();
        assert_eq!(cycle.images(), images);
        assert_eq!(cycle.image(image), expected_values(image, &[testprocs[0].pid()]));
        assert_eq!(cycle.image("remote"), expected_values("remote", &[testprocs[1].pid()]));
        collector.wait_for_log(3, "not responding; keeping its previous 1 rule; will retry");
    }
    assert_eq!(collector.next_cycle().get("collector.conf_loaded"), 0);
    collector.assert_on_time();
    for path in &stuck {
        let stuck = messages(&collector, path);
        let stuck = stuck.iter().filter(|line| line.contains("not responding"));
        assert_eq!(stuck.count(), 1, "{:#?}", collector.log());
    }
    // One of them leads elsewhere by now.
    std::fs::remove_file(&stuck[1]).unwrap();
    write_conf(&stuck[1], &rule("elsewhere", 1));
    collector.cycle("its new target", |cycle| cycle.images().contains(&"elsewhere"));
    server.set_content(&rule("recovered", 1));
    server.set_mode(Mode::Answer);
    collector.cycle("all is loaded", |cycle| cycle.get("collector.conf_loaded") == 1);
    assert_eq!(collector.next_cycle().images(), ["elsewhere", "recovered", "third"]);
}

#[test]
fn writable_directory_is_not_used_if_strict() {
    let word = word("owned");
    let _testproc = testproc(&word);
    let temp = TempDir::new().unwrap();
    let dir = directory(&temp);
    write_conf(&dir.join("a.conf"), &format!("a {word}\n"));
    write_conf(&dir.join("b.conf"), &format!("b {word}\n"));
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&dir.join("b.conf"), 0o666);
    mode(&dir, 0o755);
    wait_settled();
    let lax = Setup::with(&dir).spawn();
    let strict = Setup::with(&dir).arg("--strict-owner").spawn();
    strict.wait_loaded(1);
    lax.wait_loaded(1);
    assert_eq!(lax.next_cycle().images(), ["a", "b"]);
    assert_eq!(lax.logged("b.conf: is writable by others").len(), 1, "{:#?}", lax.log());
    let cycle = strict.next_cycle();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["a"], 0));
    let logged = strict.logged("b.conf: is writable by others");
    assert!(logged.len() == 1 && logged[0].contains("not loaded (--strict-owner)"), "{logged:?}");
    mode(&dir.join("b.conf"), 0o644);
    strict.cycle("both", |cycle| cycle.images() == ["a", "b"]);

    mode(&dir, 0o777);
    lax.wait_for_log(1, "conf.d: is writable by others (mode 0777)");
    strict.wait_for_log(1, "conf.d: is writable by others (mode 0777)");
    write_conf(&dir.join("c.conf"), &format!("c {word}\n"));
    lax.cycle("the new file", |cycle| cycle.images() == ["a", "b", "c"]);
    let cycle = strict.next_cycle();
    assert_eq!((cycle.images(), cycle.get("collector.conf_loaded")), (vec!["a", "b"], 0));
    let mut command = Command::new(PROGRAM);
    let check = ["--check", "--conf"];
    let (status, _, log) = outcome(command.env_clear().args(check).arg(&dir));
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("conf.d: is writable by others"), "{log}");
    let mut command = Command::new(PROGRAM);
    let strictly = command.env_clear().arg("--strict-owner").args(check).arg(&dir);
    assert_eq!(outcome(strictly).0, Some(1));
    mode(&dir, 0o755);
    strict.cycle("the new file", |cycle| cycle.images() == ["a", "b", "c"]);
}

#[test]
fn check_of_a_directory_names_each_file() {
    let temp = TempDir::new().unwrap();
    let dir = directory(&temp);
    let check = || {
        let mut command = Command::new(PROGRAM);
        outcome(command.env_clear().args(["--check", "--conf"]).arg(&dir))
    };
    let (status, _, log) = check();
    assert_eq!(status, Some(1));
    assert!(log.contains("conf.d: has no file `*.conf`"), "{log}");
    write_conf(&dir.join("a.conf"), "web nginx\n");
    write_conf(&dir.join("b.conf"), "db postgres\n");
    std::fs::create_dir(dir.join("c.conf")).unwrap();
    let (status, _, log) = check();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("c.conf: is not a regular file"), "{log}");
    assert!(log.contains("2 rules for 2 images from 2 files, 0 bad lines"), "{log}");
    write_conf(&dir.join("b.conf"), "db postgres\nbad! x\n");
    let (status, _, log) = check();
    assert_eq!(status, Some(1));
    assert!(log.contains("b.conf:2:4\n"), "{log}");
    write_conf(&dir.join("b.conf"), "# nothing\n");
    assert_eq!(check().0, Some(0));
    std::fs::remove_file(dir.join("b.conf")).unwrap();
    symlink("nowhere", dir.join("b.conf")).unwrap();
    let (status, _, log) = check();
    assert_eq!(status, Some(1));
    assert!(log.contains("b.conf: cannot be read: No such file"), "{log}");
}
