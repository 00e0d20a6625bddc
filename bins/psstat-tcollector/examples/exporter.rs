//! A small exporter: the processes of an executable, to be scraped over HTTP.
//!
//! `cargo run -p psstat-tcollector --example exporter -- 127.0.0.1:9256 nginx java`
//!
//! Of the project's crates it uses `psstat-sampler` and `psstat-emit` alone. An
//! image here is the name of an executable. A scrape is a cycle: it takes the
//! second that the CPU window lasts, and nothing is read while nobody asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use psstat_emit::{Encoder, Format, Image, Series, Timestamp, Value};
use psstat_sampler::{Candidate, ImageId, Numbers, Options, Sampler};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("usage: exporter ADDRESS:PORT NAME…")?;
    // The encoder takes images in ascending order.
    let mut images = args.map(|name| Image::new(&name)).collect::<Result<Vec<_>, _>>()?;
    images.sort_unstable();
    images.dedup();

    let mut sampler = Sampler::new(Options::default())?;
    let mut encoder = Encoder::new(Format::OpenMetrics, &[])?;
    let listener = TcpListener::bind(address)?;
    eprintln!("http://{}/metrics", listener.local_addr()?);
    for stream in listener.incoming() {
        // A scraper that goes away is its own trouble, not the exporter's.
        if let Err(error) = stream.map_err(Error::from).and_then(|stream| {
            answer(stream, || {
                cycle(&mut sampler, &images);
                expose(&mut encoder, &sampler, &images)
            })
        }) {
            eprintln!("exporter: {error}");
        }
    }
    Ok(())
}

/// Takes a sample of the processes whose executable has an image's name.
fn cycle(sampler: &mut Sampler, images: &[Image]) {
    let due = sampler.open(&mut |process, found| {
        let name = executable(process);
        if let Some(at) = images.iter().position(|image| image.as_str().as_bytes() == name) {
            found.push(ImageId(at as u32));
        }
    });
    sleep(due.saturating_duration_since(Instant::now()));
    sampler.close();
}

/// The last part of the first argument.
fn executable<'a>(process: &Candidate<'a>) -> &'a [u8] {
    let first = process.command_line.split(|&byte| byte == 0).next().unwrap_or_default();
    first.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// The sample as an OpenMetrics exposition.
fn expose(encoder: &mut Encoder, sampler: &Sampler, images: &[Image]) -> Result<Vec<u8>, Error> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let mut text = Vec::new();
    let mut points = encoder.begin(&mut text, Timestamp::from_unix(seconds.try_into()?)?)?;
    for &series in Series::ALL {
        for (image, number) in images.iter().zip(0..) {
            // What could not be read has no sample, never a 0.
            if let Some(value) = value(series, &sampler.sample().image(ImageId(number))) {
                points.point(series, image, value)?;
            }
        }
    }
    points.end();
    Ok(text)
}

/// Which of the sampler's numbers a series is.
fn value(series: Series, image: &Numbers) -> Option<Value> {
    let io = image.io;
    match series {
        Series::IoRchar => io.map(|io| Value::from_i64(io.rchar)),
        Series::IoWchar => io.map(|io| Value::from_i64(io.wchar)),
        Series::FdOpen => image.descriptors.map(Value::from_u64),
        Series::Threads => image.threads.map(Value::from_u64),
        Series::NetTcp => image.tcp.map(Value::from_u64),
        Series::Pcpu => {
            image.pcpu.map(|percent| Value::from_thousandths((percent * 1000.0) as i64))
        }
        Series::MemResident => image.rss.map(Value::from_u64),
        Series::Procs => Some(Value::from_u64(image.procs)),
        // As many more as are wanted.
        _ => None,
    }
}

/// Answers one request.
fn answer(
    mut stream: TcpStream,
    metrics: impl FnOnce() -> Result<Vec<u8>, Error>,
) -> Result<(), Error> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    let mut head = BufReader::new(stream.try_clone()?.take(8192)).lines();
    let request = head.next().ok_or("no request")??;
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, body) = if request.starts_with("GET /metrics ") {
        ("200 OK", metrics()?)
    } else {
        ("404 Not Found", b"the metrics are at /metrics\n".to_vec())
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n\
         Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body)?;
    Ok(())
}
