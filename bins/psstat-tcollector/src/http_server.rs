//! Serves the last cycle by HTTP, for scrapers.
//!
//! One thread serves all connections. A cycle only replaces the bytes that it sends, so scrapers
//! cause no cycles, and no client can delay one. Limits for each client: [`MAX_CONNECTIONS`],
//! [`MAX_HEAD`], [`HEAD_TIMEOUT`] and [`CONNECTION_TIMEOUT`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

/// Connections at a time. Another one closes the oldest: a client that connects and sends
/// nothing does not keep others out.
const MAX_CONNECTIONS: usize = 128;
/// Bytes of a request's head. hyper accepts no smaller limit.
const MAX_HEAD: usize = 8 << 10;
/// The time for a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for a whole connection, which has one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause after a failed accept(2), for example without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

const PAGE: &str = "<!DOCTYPE html><html lang=\"en\"><head><title>psstat</title></head><body>\
<h1>psstat</h1><p><a href=\"/metrics\">Metrics</a></p></body></html>\n";

/// A cycle in both formats.
#[derive(Debug)]
struct Cycle {
    openmetrics: Exposition,
    prometheus: Exposition,
}

#[derive(Debug)]
struct Exposition {
    plain: Bytes,
    /// Compressed when it is first requested.
    gzip: OnceLock<Bytes>,
}

impl Exposition {
    fn new(text: &[u8]) -> Exposition {
        Exposition { plain: Bytes::copy_from_slice(text), gzip: OnceLock::new() }
    }

    fn gzip(&self) -> Bytes {
        let compress = || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            // Writing to memory cannot fail.
            let _ = encoder.write_all(&self.plain);
            encoder.finish().unwrap_or_default().into()
        };
        self.gzip.get_or_init(compress).clone()
    }
}

/// The server and its last cycle.
#[derive(Debug)]
pub(crate) struct HttpServer {
    latest: Arc<Mutex<Option<Arc<Cycle>>>>,
}

impl HttpServer {
    /// Listens and starts the thread.
    ///
    /// # Errors
    /// The address cannot be used, or no thread can be started.
    pub(crate) fn start(address: SocketAddr) -> io::Result<HttpServer> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let latest = Arc::default();
        let server = HttpServer { latest: Arc::clone(&latest) };
        std::thread::Builder::new().name("http".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let result = runtime.and_then(|runtime| runtime.block_on(serve(listener, latest)));
            if let Err(error) = result {
                crate::log::line(&format!("the HTTP server stopped: {error}"));
            }
        })?;
        Ok(server)
    }

    /// Replaces the cycle that is served.
    pub(crate) fn publish(&self, openmetrics: &[u8], prometheus: &[u8]) {
        let cycle = Cycle {
            openmetrics: Exposition::new(openmetrics),
            prometheus: Exposition::new(prometheus),
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(cycle));
    }
}

/// Accepts connections until the program ends.
async fn serve(listener: TcpListener, latest: Arc<Mutex<Option<Arc<Cycle>>>>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = VecDeque::with_capacity(MAX_CONNECTIONS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if connections.len() == MAX_CONNECTIONS {
            connections.retain(|task: &tokio::task::JoinHandle<_>| !task.is_finished());
        }
        if connections.len() == MAX_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let latest = Arc::clone(&latest);
        let service = hyper::service::service_fn(move |request| {
            let cycle = latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let response = respond(&request, cycle.as_deref());
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        connections.push_back(tokio::spawn(async move {
            // Errors are the client's.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
        }));
    }
}

fn respond(request: &Request<Incoming>, cycle: Option<&Cycle>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, const { value("GET, HEAD") });
        return response;
    }
    match request.uri().path() {
        "/metrics" => match cycle {
            Some(cycle) => metrics(request.headers(), cycle),
            None => text(StatusCode::SERVICE_UNAVAILABLE, "before the first cycle\n"),
        },
        "/" => {
            let mut response = text(StatusCode::OK, PAGE);
            response
                .headers_mut()
                .insert(CONTENT_TYPE, const { value("text/html; charset=utf-8") });
            response
        }
        _ => text(StatusCode::NOT_FOUND, "not found; the metrics are at /metrics\n"),
    }
}

/// The exposition in the format and the encoding that the client prefers.
fn metrics(headers: &HeaderMap, cycle: &Cycle) -> Response<Full<Bytes>> {
    let openmetrics = quality(headers, &ACCEPT, &["application/openmetrics-text"]);
    let prometheus = quality(headers, &ACCEPT, &["text/plain", "text/*", "*/*"]);
    let is_openmetrics = openmetrics > 0 && openmetrics >= prometheus;
    let exposition = if is_openmetrics { &cycle.openmetrics } else { &cycle.prometheus };
    let is_gzip = quality(headers, &ACCEPT_ENCODING, &["gzip"]) > 0;
    let body = if is_gzip { exposition.gzip() } else { exposition.plain.clone() };
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    let content_type =
        if is_openmetrics { const { value(OPENMETRICS) } } else { const { value(PROMETHEUS) } };
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(VARY, const { value("Accept, Accept-Encoding") });
    if is_gzip {
        headers.insert(CONTENT_ENCODING, const { value("gzip") });
    }
    response
}

const fn value(text: &'static str) -> hyper::header::HeaderValue {
    hyper::header::HeaderValue::from_static(text)
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, const { value("text/plain; charset=utf-8") });
    response
}

/// The highest quality, in thousandths, that the client gives one of these names in a list such
/// as `gzip;q=0.5, br`. 0 if it names none of them.
fn quality(headers: &HeaderMap, header: &hyper::header::HeaderName, names: &[&str]) -> u32 {
    let lists = headers.get_all(header).iter().filter_map(|list| list.to_str().ok());
    let items = lists.flat_map(|list| list.split(','));
    let quality_of = |item: &str| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        if !names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return 0;
        }
        let quality = parts.find_map(|part| part.strip_prefix("q="));
        quality.map_or(1000, |quality| {
            // Invalid and negative numbers: not wanted.
            (quality.parse::<f64>().unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0) as u32
        })
    };
    items.map(quality_of).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_encodings_are_those_of_real_scrapers() {
        // Prometheus 3, VictoriaMetrics, curl, a browser, and none.
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,\
            application/openmetrics-text;version=0.0.1;q=0.6,\
            text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
        for (accept, encoding, is_openmetrics, is_gzip) in [
            (Some(prometheus), Some("gzip"), true, true),
            (Some("text/plain;version=0.0.4"), Some("gzip"), false, true),
            (Some("*/*"), None, false, false),
            (
                Some("text/html,application/xhtml+xml,*/*;q=0.8"),
                Some("gzip, deflate, br"),
                false,
                true,
            ),
            (None, Some("gzip;q=0"), false, false),
            (Some("application/openmetrics-text;q=0"), Some("deflate"), false, false),
            (Some("application/openmetrics-text;q=x"), Some("GZIP"), false, true),
            (Some("application/openmetrics-text"), None, true, false),
        ] {
            let mut headers = HeaderMap::new();
            let mut insert = |name, text: Option<&str>| {
                if let Some(text) = text {
                    headers.insert(name, text.parse().unwrap());
                }
            };
            insert(ACCEPT, accept);
            insert(ACCEPT_ENCODING, encoding);
            let cycle =
                Cycle { openmetrics: Exposition::new(b"om"), prometheus: Exposition::new(b"text") };
            let response = metrics(&headers, &cycle);
            let expected = if is_openmetrics { OPENMETRICS } else { PROMETHEUS };
            assert_eq!(response.headers()[CONTENT_TYPE], expected, "{accept:?}");
            let found = response.headers().get(CONTENT_ENCODING).is_some();
            assert_eq!(found, is_gzip, "{encoding:?}");
        }
    }
}
