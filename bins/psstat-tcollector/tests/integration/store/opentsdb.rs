//! OpenTSDB on HBase, one of each for all tests. Their libraries are found in `PATH`, as programs
//! are: see `.ci/opentsdb`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::ops::RangeInclusive;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_testproc::TempDir;
use serde_json::{Value, json};

use super::{Points, installed, series};
use crate::common::TIMEOUT;
use crate::{http, metric_names};

#[derive(Debug)]
pub(crate) struct OpenTsdb {
    port: u16,
    log: PathBuf,
    /// Ends when its standard input is closed.
    process: Mutex<Child>,
}

/// The programs and libraries.
#[derive(Debug)]
struct Installation {
    java: PathBuf,
    hbase: PathBuf,
    tsd: PathBuf,
}

impl Installation {
    fn find() -> Option<Installation> {
        let directory = |jar| Some(installed(jar)?.parent()?.to_owned());
        Some(Installation {
            java: installed("java")?,
            hbase: directory("hbase-server-1.7.2.jar")?,
            tsd: directory("opentsdb-2.4.1.jar")?,
        })
    }

    /// Java with the libraries of a directory; with small heaps and quick starts.
    fn java(&self, libraries: &Path) -> Command {
        let mut java = Command::new(&self.java);
        java.args(["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        java.arg(libraries.join("*")).env_clear().stderr(Stdio::null());
        java
    }
}

impl OpenTsdb {
    /// Starts it for the first test. `None` if it is not installed. All metrics of docs/install.md
    /// exist; others are not created.
    pub(crate) fn shared() -> Option<&'static OpenTsdb> {
        static SHARED: OnceLock<OpenTsdb> = OnceLock::new();
        let installation = Installation::find()?;
        // The lookup of tags finds series of this setting, or of `tsdb uid metasync`.
        let settings =
            ["tsd.http.show_stack_trace=false", "tsd.core.meta.enable_tsuid_tracking=true"];
        Some(SHARED.get_or_init(|| OpenTsdb::start(&installation, &settings)))
    }

    /// Another one with these settings.
    pub(crate) fn with(settings: &[&str]) -> Option<OpenTsdb> {
        Some(OpenTsdb::start(&Installation::find()?, settings))
    }

    fn start(installation: &Installation, settings: &[&str]) -> OpenTsdb {
        // The process removes it: a static variable is not dropped.
        let data = std::mem::ManuallyDrop::new(TempDir::new().unwrap());
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/store/OpenTsdb.java");
        let log = data.join("log");
        let output = std::fs::File::create(&log).unwrap();
        // Its process removes the file if it does not start.
        let mut messages = std::fs::File::open(&log).unwrap();
        let mut java = installation.java(&installation.hbase);
        java.arg(source).arg(&installation.tsd).arg(data.path()).args(settings);
        // The keyboard's signals would end it without this.
        let mut child = java
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let port = ready.trim_end().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let mut text = String::new();
            messages.read_to_string(&mut text).unwrap();
            panic!("OpenTSDB does not start: {text}");
        };

        // As `tsdb mkmetric` does it.
        let mut assign = installation.java(&installation.tsd);
        assign.arg(format!("-Dlogback.configurationFile={}", data.join("logback.xml").display()));
        assign.arg("net.opentsdb.tools.UidManager");
        assign.arg(format!("--config={}", data.join("tsdb.conf").display()));
        assign.args(["assign", "metrics"]).args(metric_names::listed());
        let output = assign.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        OpenTsdb { port, log, process: Mutex::new(child) }
    }

    /// The last messages of HBase and the TSD.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap();
        text.lines().filter(|line| !line.starts_with("\tat ")).collect::<Vec<_>>().join("\n")
    }

    /// A connection for `put` lines.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }

    /// Sends lines by a new connection and returns the answers. A client that closes before it has
    /// read them can lose lines.
    pub(crate) fn telnet(&self, lines: &str) -> String {
        let mut stream = self.connect();
        let mut reader = stream.try_clone().unwrap();
        let answers = std::thread::spawn(move || {
            let mut answers = String::new();
            reader.read_to_string(&mut answers).unwrap();
            answers
        });
        stream.write_all(lines.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        answers.join().unwrap()
    }

    /// `/api/put` with options such as `?details`.
    pub(crate) fn put(&self, options: &str, json: &str) -> http::Response {
        http::post(self.port, &format!("/api/put{options}"), json).unwrap()
    }

    /// The answer to a GET request.
    pub(crate) fn get(&self, path: &str) -> http::Response {
        http::get(self.port, path).unwrap()
    }

    /// The answer to `/api/query` for an interval of times in seconds.
    pub(crate) fn query(&self, times: RangeInclusive<u64>, queries: &Value) -> http::Response {
        // Tests repeat a query until its answer is complete, which takes a second or two.
        std::thread::sleep(Duration::from_millis(100));
        let query = json!({"start": times.start(), "end": times.end(), "queries": queries});
        http::post(self.port, "/api/query", &query.to_string()).unwrap()
    }

    /// The points of all series in the answer to a query; none while a tag is unknown.
    pub(crate) fn select(&self, queries: &Value) -> Points {
        // With a time in the last hour before 2^32, the answer is empty.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let answer = self.query(1..=now + 86_400, queries);
        if answer.status == 400 && answer.body.contains("No such name for 'tagv'") {
            return Points::new();
        }
        assert_eq!(answer.status, 200, "{answer:?}; log: {}", self.log());
        let all: Value = serde_json::from_str(&answer.body).unwrap();
        let mut points = Points::new();
        for one in all.as_array().unwrap() {
            let tags: BTreeMap<String, String> =
                serde_json::from_value(one["tags"].clone()).unwrap();
            let name = series(one["metric"].as_str().unwrap(), &tags);
            for (time, value) in one["dps"].as_object().unwrap() {
                let point = (name.clone(), time.parse().unwrap());
                let value = value.as_f64().unwrap();
                assert_eq!(points.insert(point, value), None, "{name} twice");
            }
        }
        points
    }

    /// Waits until the TSD has replaced the cells of rows that are over by one cell each: until
    /// the number of such rows no longer grows.
    pub(crate) fn wait_compacted(&self) {
        let count = || {
            let answer: Value = serde_json::from_str(&self.get("/api/stats").body).unwrap();
            let stats = answer.as_array().unwrap().iter();
            let counts = stats.filter(|one| one["metric"] == "tsd.compaction.count");
            counts.map(|one| one["value"].as_str().unwrap().parse::<u64>().unwrap()).sum::<u64>()
        };
        let (mut last, mut since) = (count(), Instant::now());
        // It begins every 10 seconds.
        while since.elapsed() < Duration::from_secs(40) {
            std::thread::sleep(Duration::from_secs(2));
            let now = count();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        println!("{last} rows compacted");
    }

    /// The size in bytes of the data table after a major compaction of HBase with these settings.
    pub(crate) fn rewrite(&self, compression: &str, encoding: &str) -> u64 {
        let mut process = self.process.lock().unwrap();
        let stdin = process.stdin.as_mut().unwrap();
        stdin.write_all(format!("{compression} {encoding}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        answer.trim_end().parse().unwrap()
    }

    /// Every point of a host.
    pub(crate) fn points(&self, host: &str) -> Points {
        let queries = metric_names::listed().into_iter().map(|metric| {
            json!({"metric": metric, "aggregator": "none", "filters": [filter("host", host)]})
        });
        // A request has at most 8,192 bytes.
        let queries: Vec<Value> = queries.collect();
        queries.chunks(20).flat_map(|some| self.select(&json!(some))).collect()
    }
}

impl Drop for OpenTsdb {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        drop(process.stdin.take());
        let _ = process.wait();
    }
}

/// A filter of a query for one value of a tag.
pub(crate) fn filter(tag: &str, value: &str) -> Value {
    json!({"type": "literal_or", "tagk": tag, "filter": value, "groupBy": false})
}
