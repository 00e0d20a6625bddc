//! The programs of docs/from-procfs-sysinfo.md, and the cost of each.
//!
//! `cargo run --release --example side_by_side` measures all of them; with a name and a number it
//! runs one program that many times, for strace and valgrind.

mod metrics;
mod one_process;

use std::hint::black_box;
use std::time::Instant;

use psstat_testproc::alloc::{self, CountingAllocator};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

type Error = Box<dyn std::error::Error>;

/// A name, and a program that is run repeatedly.
type Program = (&'static str, Box<dyn FnMut() -> Result<(), Error>>);

fn programs() -> Vec<Program> {
    let pid = std::process::id() as i32;
    let mut system = sysinfo::System::new();
    let mut registry = metrics::Registry::new();
    let mut encoder = metrics::encoder("openmetrics").unwrap();
    let mut json = metrics::encoder("json").unwrap();
    let routes = metrics::routes();
    vec![
        (
            "stat-psstat",
            Box::new(move || one_process::psstat(pid).map(|usage| drop(black_box(usage)))),
        ),
        (
            "stat-procfs",
            Box::new(move || one_process::procfs(pid).map(|usage| drop(black_box(usage)))),
        ),
        (
            "stat-sysinfo",
            Box::new(move || {
                one_process::sysinfo(&mut system, pid).map(|usage| drop(black_box(usage)))
            }),
        ),
        ("openmetrics-psstat", Box::new(move || metrics::psstat(&mut encoder, black_box(&routes)))),
        (
            "openmetrics-psstat-in-order",
            Box::new({
                let mut encoder = metrics::encoder("openmetrics").unwrap();
                let routes = metrics::routes();
                move || metrics::psstat_in_order(&mut encoder, black_box(&routes))
            }),
        ),
        ("openmetrics-prometheus-client", Box::new(move || registry.encode())),
        (
            "json-psstat",
            Box::new({
                let routes = metrics::routes();
                move || metrics::psstat(&mut json, black_box(&routes))
            }),
        ),
    ]
}

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    if let (Some(name), Some(count)) = (args.next(), args.next()) {
        let mut programs = programs();
        let found = programs.iter_mut().find(|(other, _)| *other == name);
        let (_, program) = found.ok_or("no such program")?;
        for _ in 0..count.parse()? {
            program()?;
        }
        return Ok(());
    }
    one_process::compare(std::process::id() as i32)?;
    metrics::compare()?;
    for (name, mut program) in programs() {
        program()?;
        let (result, used) = alloc::measure(&mut program);
        result?;
        let mut best = f64::MAX;
        for _ in 0..2_000 {
            let start = Instant::now();
            for _ in 0..10 {
                program()?;
            }
            best = best.min(start.elapsed().as_secs_f64() / 10.0);
        }
        println!("{name}: {:.2} µs, {} allocations", best * 1e6, used.allocations);
    }
    Ok(())
}
