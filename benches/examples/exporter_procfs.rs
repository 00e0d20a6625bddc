//! With procfs, regex and prometheus-client: an exporter of the images of a config file
//! (bins/psstat-tcollector/examples/exporter.rs). Writes of processes that exit between two readings
//! are missing.
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::{convert::Infallible, error::Error, thread, time::Duration, time::SystemTime};

use hyper::{Response, body::Bytes, header::CONTENT_TYPE, server::conn::http1, service};
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use regex::bytes::Regex;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    image: String,
}

const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (conf, address) = args.next().zip(args.next()).ok_or("usage: exporter CONF ADDRESS")?;
    let page = Arc::new(Mutex::new(Bytes::new()));
    let measured = Arc::clone(&page);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(address))?;
    eprintln!("http://{}/metrics", listener.local_addr()?);
    thread::spawn(move || measure(&conf, &measured).map_err(|error| eprintln!("{error}")));
    runtime.block_on(async {
        loop {
            let (stream, page) = (listener.accept().await?.0, Arc::clone(&page));
            let service = service::service_fn(move |_| {
                let page = http_body_util::Full::new(page.lock().unwrap().clone());
                async { Response::builder().header(CONTENT_TYPE, KIND).body(page) }
            });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(http1::Builder::new().serve_connection(stream, service));
        }
    })
}

fn measure(conf: &str, page: &Mutex<Bytes>) -> Result<Infallible, Box<dyn Error>> {
    let mut registry = prometheus_client::registry::Registry::default();
    let (processes, writes) =
        (Family::<Labels, Gauge>::default(), Family::<Labels, Counter>::default());
    let pages = Gauge::<i64>::default();
    registry.register("image_processes", "Processes", processes.clone());
    registry.register("image_writes", "Write calls", writes.clone());
    registry.register("exporter_pages", "Memory of the exporter, in pages", pages.clone());
    let (mut rules, mut modified, mut last) = (Vec::new(), SystemTime::UNIX_EPOCH, HashMap::new());
    loop {
        let now = std::fs::metadata(conf)?.modified()?;
        if now != modified {
            modified = now;
            rules = parse(&std::fs::read_to_string(conf)?)?;
            // Its images can be others; the counters of those that stay are kept.
            processes.clear();
        }
        let mut counts: HashMap<&str, i64> = HashMap::new();
        let mut calls = HashMap::new();
        for process in procfs::process::all_processes()?.flatten() {
            // It can exit meanwhile.
            let (Ok(stat), Ok(args)) = (process.stat(), process.cmdline()) else { continue };
            let (line, io) = (args.join(" "), process.io());
            let key = (stat.pid, stat.starttime);
            let syscw = io.map_or(0, |io| io.syscw);
            // Calls before it was found do not count.
            let new = syscw - last.get(&key).copied().unwrap_or(syscw);
            calls.insert(key, syscw);
            for (name, _) in rules.iter().filter(|(_, regex)| regex.is_match(line.as_bytes())) {
                *counts.entry(name).or_default() += 1;
                writes.get_or_create(&Labels { image: name.clone() }).inc_by(new);
            }
        }
        last = calls;
        for (name, _) in &rules {
            let count = counts.get(name.as_str()).copied().unwrap_or(0);
            processes.get_or_create(&Labels { image: name.clone() }).set(count);
        }
        pages.set(procfs::process::Process::myself()?.statm()?.resident as i64);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        *page.lock().unwrap() = text.into();
        thread::sleep(Duration::from_secs(1));
    }
}

/// Lines `NAME REGEX`.
fn parse(conf: &str) -> Result<Vec<(String, Regex)>, Box<dyn Error>> {
    let mut rules: Vec<(String, Regex)> = Vec::new();
    for line in conf.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (name, regex) = line.split_once(char::is_whitespace).ok_or("a line without a regex")?;
        rules.push((name.to_owned(), Regex::new(regex.trim())?));
    }
    Ok(rules)
}
