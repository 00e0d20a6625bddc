//! The program of the README: metrics of a shop, in the format of the argument.

use psstat_emit::{Encoder, Format, Metric, TagValue, Unit};
use std::time::SystemTime;

static REQUESTS: Metric = Metric::counter("shop.requests", "Requests by route.").labels(&["route"]);
static BUSY: Metric =
    Metric::counter("shop.busy", "Time in requests.").unit(Unit::SECONDS).labels(&["route"]);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let format: Format = std::env::args().nth(1).unwrap_or("json".into()).parse()?;
    let mut encoder = Encoder::new(format, &[&REQUESTS, &BUSY], &["host=web1".parse()?])?;
    let routes = [(TagValue::new("cart")?, 17, 0.25), (TagValue::new("pay")?, 4, 1.5)];

    let mut out = Vec::new();
    let mut cycle = encoder.begin(&mut out, SystemTime::now().try_into()?)?;
    for (route, requests, seconds) in &routes {
        cycle.point(&REQUESTS, &[route], *requests)?;
        cycle.point(&BUSY, &[route], *seconds)?;
    }
    cycle.finish()?;
    print!("{}", String::from_utf8(out)?);
    Ok(())
}
