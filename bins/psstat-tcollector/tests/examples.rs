//! The examples that compose the crates do what they say, on processes whose
//! behaviour is known.
// The permission for tests does not reach the functions beside them.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use psstat_actor::{Actor, Config, TempDir, example, truth};

/// A program that is ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A name that no other process has.
fn unique(word: &str) -> String {
    format!("{word}-{}", std::process::id())
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_exporter_serves_what_a_process_has() {
    let name = unique("exported");
    let mut actor = Actor::spawn(&Config::new(format!("/opt/{name}")).arg("serve")).unwrap();
    actor.threads(4).unwrap();
    actor.write_bytes(10_000, 10).unwrap();

    let program = example("psstat-tcollector", "exporter").unwrap();
    let mut exporter = Command::new(program);
    exporter.args(["127.0.0.1:0", &name, "nobody-has-this"]);
    let mut exporter = Running(exporter.stderr(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    BufReader::new(exporter.0.stderr.take().unwrap()).read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();

    assert!(get(address, "/").starts_with("HTTP/1.1 404 "));
    let answer = get(address, "/metrics");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    let value = |sample: String| -> Option<u64> {
        body.lines().find_map(|line| line.strip_prefix(&sample)?.trim().parse().ok())
    };
    let of = |family: &str| value(format!("{family}{{image=\"{name}\"}}"));
    assert_eq!(of("proc_stat_ps_procs"), Some(1), "{body}");
    assert_eq!(of("proc_stat_ps_threads"), Some(truth::threads(actor.pid()).unwrap()), "{body}");
    let written = value(format!("proc_stat_ps_io_bytes_total{{image=\"{name}\",type=\"wchar\"}}"));
    assert!(written.unwrap() >= 10_000, "{body}");
    assert_eq!(value("proc_stat_ps_procs{image=\"nobody-has-this\"}".into()), Some(0));
}

#[test]
fn the_heart_prints_points_of_a_conf() {
    let word = unique("beating");
    let actors = [(); 3].map(|()| Actor::spawn(&Config::new(format!("/opt/{word}"))).unwrap());
    let temp = TempDir::new().unwrap();
    let conf = temp.join("psstat.conf");
    std::fs::write(&conf, format!("heart {word}$\nabsent no-such-{word}\nbad (\n")).unwrap();

    let program = example("psstat-tcollector", "heart").unwrap();
    let output = Command::new(program).arg(&conf).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let points: Vec<_> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| truth::check_tcollector_line(line).unwrap())
        .collect();
    let procs = |image| {
        points.iter().find(|point| point.tag("image") == Some(image)).map(truth::Parsed::number)
    };
    assert_eq!(procs("heart"), Some(actors.len() as f64), "{points:?}");
    assert_eq!(procs("absent"), Some(0.0), "{points:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("psstat.conf:3:"), "{said}");
}
