//! Rules on other fields than the command line.

use psstat_testproc::cgroup::{Cgroup, Hierarchy};
use psstat_testproc::{Config, TempDir, TestProcess};

use super::common::{Cycle, Setup, conf, expected_values, word, write_conf};
use super::faults::copy_process;

/// The number of processes of an image, if it exists.
fn procs(cycle: &Cycle, image: &str) -> Option<i64> {
    cycle.printed(&format!("procs image={image}")).map(|value| value.parse().unwrap())
}

fn is_root() -> bool {
    let is_root = rustix::process::getuid().is_root();
    if !is_root {
        println!("skipped: not root");
    }
    is_root
}

/// Five processes with the same command line in five containers are five images by one line. One
/// that moves to another container is found there.
#[test]
fn five_containers_are_five_images() {
    if !is_root() {
        return;
    }
    for (number, hierarchy) in [Hierarchy::systemd(), Hierarchy::v2()].into_iter().enumerate() {
        let Some(hierarchy) = hierarchy else { continue };
        let prefix = format!("{:07x}{number}", std::process::id());
        let id = |container: usize| format!("{prefix}{container:056x}");
        let create =
            |container| hierarchy.create(&format!("psstat-test/docker-{}.scope", id(container)));
        let groups: Option<Vec<Cgroup>> = (0..5).map(create).collect();
        let Some(groups) = groups else { return };
        let config = Config::new("java").args(["-jar", "app.jar"]);
        let processes: Vec<TestProcess> =
            (0..5).map(|_| TestProcess::spawn(&config).unwrap()).collect();
        for (process, group) in processes.iter().zip(&groups) {
            group.add(process.pid()).unwrap();
        }
        // In version 2 it counts only if the process is at the root of the other one.
        let other = Hierarchy::systemd().and_then(|one| one.path_of(processes[0].pid()).ok());
        if number == 1 && other.is_some_and(|path| path != "/") {
            println!("skipped: processes of the tests are in a group of systemd");
            continue;
        }
        let temp = TempDir::new().unwrap();
        let path = conf(
            &temp,
            &format!(
                "@container c/{{id}} ^{prefix}0{{40}}(?P<id>\\w+)\n@unit all ^docker-{prefix}"
            ),
        );
        let collector = Setup::with(&path).spawn();
        let cycle = collector.cycles(1).remove(0);
        let names: Vec<String> = (0..5).map(|container| format!("c/{container:016x}")).collect();
        let mut images: Vec<&str> = names.iter().map(String::as_str).collect();
        images.insert(0, "all");
        assert_eq!(cycle.images(), images);
        for (name, process) in names.iter().zip(&processes) {
            assert_eq!(cycle.image(name), expected_values(name, &[process.pid()]));
        }
        assert_eq!(procs(&cycle, "all"), Some(5));
        groups[1].add(processes[0].pid()).unwrap();
        let cycle = collector.cycle("the move", |cycle| procs(cycle, &names[0]) == Some(0));
        assert_eq!(procs(&cycle, &names[1]), Some(2));
        let changes = |image: &str| {
            let get = |name: &str| cycle.get(&format!("{name} image={image}"));
            (get("starts"), get("exits"))
        };
        assert_eq!((changes(&names[0]), changes(&names[1])), ((0, 1), (1, 0)));
        assert_eq!((procs(&cycle, "all"), changes("all")), (Some(5), (0, 0)));
    }
}

/// By name and by user. A user without a name is matched by its number. After a reload other fields
/// are read, in the first cycle.
#[test]
fn names_and_users_of_processes() {
    let (name, temp) = (word("n"), TempDir::new().unwrap());
    // A name has at most 15 bytes.
    let comm = &name[name.len().saturating_sub(15)..];
    let mut process = TestProcess::spawn(&Config::new(&name)).unwrap();
    process.set_comm(comm).unwrap();
    let path = conf(&temp, &format!("@comm named ^{comm}$\n@comm\tmade/{{n}} ^(?P<n>{comm})$"));
    let collector = Setup::with(&path).spawn();
    let cycle = collector.cycles(1).remove(0);
    assert_eq!(cycle.images(), [&*format!("made/{comm}"), "named"]);
    assert_eq!(cycle.image("named"), expected_values("named", &[process.pid()]));
    assert_eq!(procs(&cycle, &format!("made/{comm}")), Some(1));
    process.set_comm("another").unwrap();
    collector.cycle("the other name", |cycle| procs(cycle, "named") == Some(0));
    if !is_root() {
        return;
    }
    // No user of this machine, and of no other test.
    let uid = 3_000_000_000 + std::process::id();
    process.setuid(uid).unwrap();
    write_conf(&path, &format!("@user user ^{uid}$\n"));
    collector.cycle("the reload", |cycle| cycle.images().contains(&"user"));
    let cycle = collector.next_cycle();
    assert_eq!(procs(&cycle, "user"), Some(1));
    for file in ["comm", "status", "cgroup"] {
        assert_eq!(cycle.get(&format!("collector.failed type={file}")), 0);
        assert_eq!(cycle.get(&format!("collector.denied type={file}")), 0);
    }
}

/// The users of a procfs of plain files have the names in its `etc/passwd`, which can change.
#[test]
fn names_of_users() {
    let (word, temp) = (word("users"), TempDir::new().unwrap());
    let process = TestProcess::spawn(&Config::new(&word)).unwrap();
    let proc = temp.join("proc");
    copy_process(process.pid(), &proc.join(process.pid().to_string()));
    let status = "Name:\tx\nState:\tS (sleeping)\nUid:\t9\t77\t9\t9\n";
    std::fs::write(proc.join(process.pid().to_string()).join("status"), status).unwrap();
    std::fs::create_dir(proc.join("etc")).unwrap();
    let passwd = proc.join("etc/passwd");
    std::fs::write(&passwd, "root:x:0:0::/:\napp:x:77:77::/:\n").unwrap();
    let path = conf(&temp, "@user one ^app$\n@user two ^service$\n@user number ^77$\n");
    let collector = Setup::with(&path).arg("--proc").arg(&proc).spawn();
    let images = |cycle: &Cycle| ["one", "two", "number"].map(|image| procs(cycle, image));
    assert_eq!(images(&collector.cycles(1)[0]), [Some(1), Some(0), Some(0)]);
    for (text, expected) in [
        ("service:x:77:77::/:\n", [Some(0), Some(1), Some(0)]),
        ("root:x:0:0::/:\n", [Some(0), Some(0), Some(1)]),
    ] {
        let new = temp.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &passwd).unwrap();
        collector.cycle("the new name", |cycle| images(cycle) == expected);
    }
    // Nothing started or ended.
    let cycle = collector.next_cycle();
    for image in ["one", "two", "number"] {
        assert_eq!(cycle.get(&format!("starts image={image}")), 0, "{image}");
        assert_eq!(cycle.get(&format!("exits image={image}")), 0, "{image}");
    }
}

/// A line with an unknown field is invalid, and the others are used.
#[test]
fn unknown_field_is_reported() {
    let (word, temp) = (word("unknown"), TempDir::new().unwrap());
    let _process = TestProcess::spawn(&Config::new(&word)).unwrap();
    let path = conf(&temp, &format!("@contaner x .\nknown {word}\n"));
    let collector = Setup::with(&path).spawn();
    let cycle = collector.cycles(1).remove(0);
    assert_eq!((cycle.images(), procs(&cycle, "known")), (vec!["known"], Some(1)));
    assert_eq!(cycle.get("collector.bad_lines"), 1);
    let logged = collector.logged("psstat.conf:1:1: error: unknown field; write `@container`");
    assert_eq!(logged.len(), 1, "{:#?}", collector.log());
}
