//! `--listen`: the last cycle by HTTP.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use psstat_testproc::formats::openmetrics;
use psstat_testproc::{TempDir, TestProcess};
use rustix::process::Signal;

use super::common::{Collector, PROGRAM, Setup, TIMEOUT, conf, outcome, testproc, until, word};

/// A collector that listens, with one process in its image `listen`.
struct Listening {
    collector: Collector,
    address: SocketAddr,
    _process: TestProcess,
    _temp: TempDir,
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

fn listening() -> Listening {
    let word = word("listen");
    let process = testproc(&word);
    let temp = TempDir::new().unwrap();
    let path = conf(&temp, &format!("listen {word}\n"));
    loop {
        let address = free_address();
        let setup = Setup::with(&path).args(&["--debug", "--listen"]).arg(address.to_string());
        let collector = setup.spawn();
        let mut is_taken = false;
        until("the server", || {
            is_taken = !collector.logged("cannot listen").is_empty();
            is_taken || TcpStream::connect(address).is_ok()
        });
        if !is_taken {
            return Listening { collector, address, _process: process, _temp: temp };
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

fn request(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: answer[end..].to_vec() }
}

fn get(address: SocketAddr, path: &str, headers: &str) -> Answer {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"))
}

fn first_cycle(address: SocketAddr) {
    until("the first cycle", || get(address, "/metrics", "").status == 200);
}

fn is_member_counted(points: &[psstat_testproc::formats::Point]) -> bool {
    points.iter().any(|point| {
        point.metric == "proc_stat_ps_procs"
            && point.tag("image") == Some("listen")
            && point.number() == 1.0
    })
}

#[test]
fn both_formats_are_served_by_request() {
    let listening = listening();
    let address = listening.address;
    // The window of the first cycle takes a second.
    let early = get(address, "/metrics", "");
    assert!([200, 503].contains(&early.status), "{}", early.head);
    first_cycle(address);

    let text = get(address, "/metrics", "Accept: */*\r\n");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(text.header("content-length"), Some(text.body.len().to_string().as_str()));
    assert!(is_member_counted(&openmetrics::parse_prometheus(&text.body).unwrap()));

    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.7,*/*;q=0.1\r\n";
    let answer = get(address, "/metrics", accept);
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(expected));
    assert!(is_member_counted(&openmetrics::parse(&answer.body).unwrap()));

    let packed = get(address, "/metrics", &format!("{accept}Accept-Encoding: gzip\r\n"));
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert!(is_member_counted(&openmetrics::parse(&unpacked).unwrap()));

    let head = request(address, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(get(address, "/", "").status, 200);
    assert_eq!(get(address, "/metrics/", "").status, 404);
    assert_eq!(get(address, "/../etc/passwd", "").status, 404);
    let post = request(address, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

/// Scrapers cause no cycles, and hostile clients delay neither a cycle nor a scraper.
#[test]
fn hostile_clients_delay_nothing() {
    let mut listening = listening();
    let address = listening.address;
    first_cycle(address);
    let cycles_before = listening.collector.logged("debug: cycle ").len();
    let begun = Instant::now();
    // Twice the number of connections that are served: some without a byte, some in the middle
    // of a request, some half-closed.
    let mut idle = Vec::new();
    for number in 0..256 {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        match number % 3 {
            0 => {}
            1 => drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nX-")),
            _ => {
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
                let _ = stream.shutdown(Shutdown::Write);
            }
        }
        idle.push(stream);
    }
    assert_eq!(get(address, "/metrics", "").status, 200);
    // A head without an end.
    let mut endless = TcpStream::connect(address).unwrap();
    endless.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let line = format!("X: {}\r\n", "y".repeat(1000));
    let mut sent = 0;
    let _ = endless.write_all(b"GET /metrics HTTP/1.1\r\n");
    while endless.write_all(line.as_bytes()).is_ok() {
        sent += line.len();
        assert!(sent < 64 << 20, "an endless head is read");
    }
    for _ in 0..50 {
        assert_eq!(get(address, "/metrics", "").status, 200);
    }
    until("three more cycles", || {
        listening.collector.logged("debug: cycle ").len() >= cycles_before + 3
    });
    let cycles = listening.collector.logged("debug: cycle ").len() - cycles_before;
    // One per second and no more, however many requests there were.
    assert!(cycles as u64 <= begun.elapsed().as_secs() + 2, "{cycles} cycles");
    let text = String::from_utf8(get(address, "/metrics", "").body).unwrap();
    assert!(text.contains("proc_stat_ps_collector_panics_total 0\n"), "{text}");
    drop(idle);
    listening.collector.signal(Signal::TERM);
    assert_eq!(listening.collector.end(), Some(0));
    assert_eq!(listening.collector.printed(), [""; 0]);
}

#[test]
fn address_in_use_is_reported() {
    let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = held.local_addr().unwrap().to_string();
    let mut command = std::process::Command::new(PROGRAM);
    let (status, stdout, stderr) = outcome(command.env_clear().args(["--listen", &address]));
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("cannot listen: ") && stderr.contains("--listen"), "{stderr}");
}

#[test]
fn listen_rejects_other_outputs() {
    for more in [&["--once"][..], &["--output", "x"], &["--format", "json"], &["--cycles", "1"]] {
        let mut command = std::process::Command::new(PROGRAM);
        command.env_clear().args(["--listen", "9256"]).args(more);
        assert_eq!(outcome(&mut command).0, Some(2), "{more:?}");
    }
}
