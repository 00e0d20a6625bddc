//! Three metrics of 50 routes of a shop.

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit as PeerUnit;
use psstat_emit::{Encoder, Metric, TagValue, Timestamp, Unit};

use crate::Error;

static REQUESTS: Metric = Metric::counter("shop.requests", "Requests by route.").labels(&["route"]);
static BUSY: Metric =
    Metric::counter("shop.busy", "Time in requests.").unit(Unit::SECONDS).labels(&["route"]);
static QUEUE: Metric = Metric::gauge("shop.queue", "Requests that wait.").labels(&["route"]);

/// The values of a route: requests, seconds, waiting requests.
pub(crate) type Route = (TagValue, u64, f64, u64);

pub(crate) fn routes() -> Vec<Route> {
    let name = |number| TagValue::new(format!("route-{number:02}")).unwrap();
    (0..50).map(|n| (name(n), 1_000_003 * n, 0.25 * n as f64, n)).collect()
}

/// The encoder, its buffer, and the time of the next cycle.
pub(crate) struct State {
    encoder: Encoder,
    out: Vec<u8>,
    time: i64,
}

pub(crate) fn encoder(format: &str) -> Result<State, Error> {
    let table = [&REQUESTS, &BUSY, &QUEUE];
    let encoder = Encoder::new(format.parse()?, &table, &["host=web1".parse()?])?;
    let time = Timestamp::try_from(SystemTime::now())?.as_unix().into();
    Ok(State { encoder, out: Vec::new(), time })
}

/// With psstat-emit: for each route, its metrics.
pub(crate) fn psstat(state: &mut State, routes: &[Route]) -> Result<(), Error> {
    state.time += 1;
    let mut cycle = state.encoder.begin(&mut state.out, Timestamp::from_unix(state.time)?)?;
    for (route, requests, busy, queue) in routes {
        cycle.point(&REQUESTS, &[route], *requests)?;
        cycle.point(&BUSY, &[route], *busy)?;
        cycle.point(&QUEUE, &[route], *queue)?;
    }
    cycle.finish()?;
    Ok(())
}

/// The same, metric by metric, which is the order of the output.
pub(crate) fn psstat_in_order(state: &mut State, routes: &[Route]) -> Result<(), Error> {
    state.time += 1;
    let mut cycle = state.encoder.begin(&mut state.out, Timestamp::from_unix(state.time)?)?;
    for (route, requests, ..) in routes {
        cycle.point(&REQUESTS, &[route], *requests)?;
    }
    for (route, _, busy, _) in routes {
        cycle.point(&BUSY, &[route], *busy)?;
    }
    for (route, .., queue) in routes {
        cycle.point(&QUEUE, &[route], *queue)?;
    }
    cycle.finish()?;
    Ok(())
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    route: String,
}

/// With prometheus-client: the values are in the registry.
pub(crate) struct Registry {
    registry: prometheus_client::registry::Registry,
    text: String,
}

impl Registry {
    pub(crate) fn new() -> Registry {
        let mut registry = prometheus_client::registry::Registry::with_labels(
            [("host".into(), "web1".into())].into_iter(),
        );
        let requests = Family::<Labels, Counter>::default();
        let busy = Family::<Labels, Counter<f64, AtomicU64>>::default();
        let queue = Family::<Labels, Gauge>::default();
        registry.register("shop_requests", "Requests by route", requests.clone());
        registry.register_with_unit(
            "shop_busy",
            "Time in requests",
            PeerUnit::Seconds,
            busy.clone(),
        );
        registry.register("shop_queue", "Requests that wait", queue.clone());
        for (route, count, seconds, waiting) in routes() {
            let labels = Labels { route: route.to_string() };
            requests.get_or_create(&labels).inc_by(count);
            busy.get_or_create(&labels).inc_by(seconds);
            queue.get_or_create(&labels).set(waiting as i64);
        }
        Registry { registry, text: String::new() }
    }

    pub(crate) fn encode(&mut self) -> Result<(), Error> {
        self.text.clear();
        encode(&mut self.text, &self.registry)?;
        Ok(())
    }
}

/// Both have the same samples, up to the order of labels and the notation of a value.
pub(crate) fn compare() -> Result<(), Error> {
    let mut state = encoder("openmetrics")?;
    psstat(&mut state, &routes())?;
    let mut registry = Registry::new();
    registry.encode()?;
    let samples = |text: &str| {
        let mut samples = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (labels, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = labels.trim_end_matches('}').split_once('{').unwrap();
            let mut labels: Vec<String> = labels.split(',').map(str::to_owned).collect();
            labels.sort_unstable();
            samples.push((name.to_owned(), labels, value.parse::<f64>().unwrap().to_bits()));
        }
        samples.sort_unstable();
        samples
    };
    assert_eq!(samples(str::from_utf8(&state.out)?), samples(&registry.text));
    Ok(())
}
