//! A steady cycle of the sampler over 200 sleeping processes, with a window of 0. The periodic
//! reads of file descriptors happen within the window, so they are not included. The sample is
//! compared with `/proc` before anything is measured.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use psstat_benches::Sleepers;
use psstat_sampler::{ProcessFields, Sampler, Usage};

const PROCESSES: u64 = 200;
/// Cycles until no process is new.
const WARM_UP: usize = 20;

fn cycle(sampler: &mut Sampler, argument: &[u8]) -> Usage {
    let window = sampler.open_with(|process, images| {
        if process.args_joined.strip_prefix(b"sleep ") == Some(argument) {
            images.add("sleepers");
        }
    });
    *window.close().image("sleepers").unwrap()
}

fn steady(criterion: &mut Criterion) {
    let sleepers = Sleepers::start(PROCESSES, 0);
    let argument = sleepers.argument.as_bytes();
    let mut group = criterion.benchmark_group("cycle of 200 processes");
    group.throughput(Throughput::Elements(PROCESSES));
    for (name, descriptors_kept) in [("all descriptors kept", None), ("none kept", Some(0))] {
        let mut sampler = Sampler::builder()
            .window(Duration::ZERO)
            .max_open_fds(descriptors_kept.unwrap_or(usize::MAX))
            .fields(ProcessFields::NONE)
            .keep_texts(false)
            .build()
            .unwrap();
        for _ in 0..WARM_UP {
            cycle(&mut sampler, argument);
        }
        let image = cycle(&mut sampler, argument);
        assert_eq!(image.processes, PROCESSES);
        assert_eq!(image.threads, Some(PROCESSES));
        assert_eq!(image.fds, Some(sleepers.descriptors()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| cycle(&mut sampler, argument));
        });
        assert_eq!(cycle(&mut sampler, argument).processes, PROCESSES);
    }
    group.finish();
}

criterion_group!(benches, steady);
criterion_main!(benches);
