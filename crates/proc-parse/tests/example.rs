//! Runs the example on a file of a real kernel and on a truncated one.

use std::path::Path;
use std::process::{Command, Output};

use psstat_testproc::{TempDir, example};

fn run(path: &Path) -> Output {
    let example = example("psstat-proc-parse", "stat").unwrap();
    Command::new(example).arg(path).output().unwrap()
}

#[test]
fn parses_a_file() {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/proc/6.18/worker/stat");
    let whole = run(&fixture);
    assert!(whole.status.success(), "{whole:?}");
    let text = std::fs::read(&fixture).unwrap();
    let state = text.iter().rposition(|&byte| byte == b')').unwrap() + 2;
    let fields = String::from_utf8(text[state..].to_vec()).unwrap();
    let field = |number: usize| fields.split_whitespace().nth(number - 3).unwrap().to_owned();
    let ticks = field(14).parse::<u64>().unwrap() + field(15).parse::<u64>().unwrap();
    let output = String::from_utf8(whole.stdout).unwrap();
    assert!(output.contains(&format!("{ticks} ticks, {} threads", field(20))), "{output}");
    assert!(
        output.contains(&format!("{} bytes, {} pages resident\n", field(23), field(24))),
        "{output}"
    );

    let temp = TempDir::new().unwrap();
    let truncated = temp.join("stat");
    std::fs::write(&truncated, &text[..text.len() - 1]).unwrap();
    let refused = run(&truncated);
    assert!(!refused.status.success());
    let output = String::from_utf8(refused.stderr).unwrap();
    assert!(output.contains("stat: field 52 (exit_code) at byte"), "{output}");
}

/// Sockets of the test, of each kind that it can open.
#[test]
fn lists_the_sockets_of_a_process() {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    let temp = TempDir::new().unwrap();
    let path = temp.join("a b");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(&path).unwrap();
    let program = example("psstat-proc-parse", "sockets").unwrap();
    let output = Command::new(program).arg(std::process::id().to_string()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (local, remote) = (client.local_addr().unwrap(), listener.local_addr().unwrap());
    for line in [
        format!("tcp {remote} 0.0.0.0:0 LISTEN"),
        format!("tcp {local} {remote} ESTABLISHED"),
        format!("udp {} 0.0.0.0:0 CLOSE", udp.local_addr().unwrap()),
        format!("unix {} UNCONNECTED", path.display()),
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    // Those of other processes are not listed: there are others in each test run.
    let own = text.lines().filter(|line| line.starts_with("tcp ")).count();
    assert_eq!(own, 2, "{text}");
}

/// The page for users of other crates has the functions that the example measures.
#[test]
fn page_for_users_of_other_crates_has_the_measured_programs() {
    let page = include_str!("../../../docs/from-procfs-sysinfo.md");
    let source = include_str!("../../../benches/examples/side_by_side/one_process.rs");
    for name in ["psstat", "procfs", "sysinfo"] {
        let start = source.find(&format!("pub(crate) fn {name}(")).unwrap();
        let (function, _) = source[start..].split_once("\n}\n").unwrap();
        assert!(page.contains(&format!("```rust\n{function}\n}}\n```")), "{name}");
    }
}

/// The table of the page counts the lines of the programs as they are.
#[test]
fn page_for_users_of_other_crates_counts_the_lines_of_the_programs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = include_str!("../../../docs/from-procfs-sysinfo.md");
    let (_, table) = page.split_once("## Ten programs\n").unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| ")).take(11).collect();
    let cells = rows[1..].iter().flat_map(|row| row.split("](../"));
    let mut counted = 0;
    let mut count = None;
    for cell in cells {
        if let Some((path, _)) = cell.split_once(')')
            && let Some(count) = count
        {
            let text = std::fs::read_to_string(root.join(path)).unwrap();
            let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
            assert_eq!(text.lines().filter(code).count(), count, "{path}");
            counted += 1;
        }
        count = cell.rsplit('[').next().unwrap().parse::<usize>().ok();
    }
    assert_eq!((rows.len(), counted), (11, 20), "{rows:?}");
}
