//! A steady cycle of the sampler over 200 processes made for it, with a window
//! of 0: what is left is the reading and the reckoning. (The looks at everyone's
//! descriptors in turn are done while the window lasts, so they are not in it.)
//! Before anything is timed, the sample has to be what these processes are known to hold.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use psstat_sampler::{ImageId, Numbers, Options, Sampler};

const PROCESSES: u64 = 200;
/// Cycles until all are old ones.
const WARM_UP: usize = 20;

/// Processes that sleep; ended when dropped, and by themselves.
struct Sleepers {
    children: Vec<Child>,
    argument: String,
}

impl Sleepers {
    fn start() -> Sleepers {
        // Ten minutes, with a fraction that no other bench has.
        let argument = format!("600.{}", std::process::id());
        let sleeper = |_| {
            let mut command = Command::new("sleep");
            command.arg(&argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        Sleepers { children: (0..PROCESSES).map(sleeper).collect(), argument }
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn cycle(sampler: &mut Sampler, argument: &[u8]) -> Numbers {
    sampler.open(&mut |process, images| {
        if process.args_joined.strip_prefix(b"sleep ") == Some(argument) {
            images.push(ImageId(0));
        }
    });
    sampler.close().image(ImageId(0))
}

/// Descriptors by the plain way: a listing each. (What a sleeper got from
/// whoever started the bench is there too.)
fn descriptors(sleepers: &Sleepers) -> u64 {
    let folders = sleepers.children.iter().map(|child| format!("/proc/{}/fd", child.id()));
    folders.map(|folder| std::fs::read_dir(folder).unwrap().count() as u64).sum()
}

fn steady(criterion: &mut Criterion) {
    let sleepers = Sleepers::start();
    let argument = sleepers.argument.as_bytes();
    let mut group = criterion.benchmark_group("a cycle of 200 processes");
    group.throughput(Throughput::Elements(PROCESSES));
    for (name, descriptors_kept) in [("all descriptors kept", None), ("none kept", Some(0))] {
        let mut sampler = Sampler::new(Options {
            window: Duration::ZERO,
            max_open_fds: descriptors_kept,
            ..Options::default()
        })
        .unwrap();
        for _ in 0..WARM_UP {
            cycle(&mut sampler, argument);
        }
        let image = cycle(&mut sampler, argument);
        assert_eq!(image.procs, PROCESSES);
        assert_eq!(image.threads, Some(PROCESSES));
        assert_eq!(image.descriptors, Some(descriptors(&sleepers)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| cycle(&mut sampler, argument));
        });
        assert_eq!(cycle(&mut sampler, argument).procs, PROCESSES);
    }
    group.finish();
}

criterion_group!(benches, steady);
criterion_main!(benches);
