//! With prometheus-client: the metrics of a shop as OpenMetrics (crates/emit/examples/shop.rs).
use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::{counter::Counter, family::Family};
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    route: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut registry = Registry::with_labels([("host".into(), "web1".into())].into_iter());
    let requests = Family::<Labels, Counter>::default();
    let busy = Family::<Labels, Counter<f64, AtomicU64>>::default();
    registry.register("shop_requests", "Requests by route", requests.clone());
    registry.register_with_unit("shop_busy", "Time in requests", Unit::Seconds, busy.clone());
    for (route, count, seconds) in [("cart", 17, 0.25), ("pay", 4, 1.5)] {
        let labels = Labels { route: route.to_owned() };
        requests.get_or_create(&labels).inc_by(count);
        busy.get_or_create(&labels).inc_by(seconds);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    print!("{text}");
    Ok(())
}
