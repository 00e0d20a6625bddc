//! The processes of the screenshot: their command lines, resources and load.

use std::time::Duration;

use psstat_testproc::{Config, TestProcess};

use crate::Result;

/// The rules that match them and no other process.
pub(crate) const CONFIG: &str = r"
orders     ^java .*/srv/shop/orders\.jar
nginx      ^nginx: (master|worker) process
postgres   ^postgres: (shop|checkpointer|walwriter)
kafka      ^java .*kafka\.Kafka /srv/kafka/
redis      ^redis-server 127\.0\.0\.1:6379
haproxy    ^haproxy -W -f /srv/shop/haproxy\.cfg
";

/// The first image of the view: the view is complete when it is shown.
pub(crate) const FIRST: &str = "+orders";

/// A process.
struct ScenePart {
    argv: &'static [&'static str],
    mebibytes: u64,
    threads: u64,
    /// Pairs of connected sockets, both ends its own.
    connections: u64,
    /// Percent of a core on average.
    load: f64,
    /// Kibibytes read and written, each ten times per second.
    kibibytes: u64,
}

const fn part(
    argv: &'static [&'static str],
    (mebibytes, threads, connections): (u64, u64, u64),
    (load, kibibytes): (f64, u64),
) -> ScenePart {
    ScenePart { argv, mebibytes, threads, connections, load, kibibytes }
}

const PARTS: &[ScenePart] = &[
    part(&["java", "-Xmx512m", "-jar", "/srv/shop/orders.jar"], (180, 38, 24), (34.0, 96)),
    part(&["java", "-Xmx512m", "-jar", "/srv/shop/orders.jar"], (164, 38, 19), (21.0, 64)),
    part(&["nginx: master process /usr/sbin/nginx"], (2, 0, 1), (0.0, 0)),
    part(&["nginx: worker process"], (6, 0, 46), (7.0, 512)),
    part(&["nginx: worker process"], (6, 0, 39), (5.0, 384)),
    part(&["nginx: worker process"], (5, 0, 31), (4.0, 256)),
    part(&["postgres: checkpointer"], (24, 0, 0), (0.0, 8)),
    part(&["postgres: walwriter"], (8, 0, 0), (0.5, 24)),
    part(&["postgres: shop orders 127.0.0.1(41852) SELECT"], (31, 0, 1), (4.0, 40)),
    part(&["postgres: shop orders 127.0.0.1(41860) idle"], (28, 0, 1), (1.5, 12)),
    part(&["postgres: shop stock 127.0.0.1(41874) idle"], (17, 0, 1), (0.5, 2)),
    part(
        &["java", "-Xmx256m", "kafka.Kafka", "/srv/kafka/server.properties"],
        (96, 30, 6),
        (3.0, 48),
    ),
    part(&["redis-server 127.0.0.1:6379"], (12, 3, 30), (1.5, 16)),
    part(&["haproxy", "-W", "-f", "/srv/shop/haproxy.cfg"], (4, 0, 9), (0.5, 4)),
];

/// The running processes.
pub(crate) struct Scene {
    processes: Vec<(TestProcess, &'static ScenePart)>,
    /// The current second.
    second: Option<u64>,
}

impl Scene {
    /// Starts the processes.
    pub(crate) fn start() -> Result<Scene> {
        let mut processes = Vec::new();
        for part in PARTS {
            let (argv0, args) = part.argv.split_first().ok_or("a process without argv[0]")?;
            let mut process = TestProcess::spawn(&Config::new(argv0).args(args))?;
            process.mmap_touch(part.mebibytes << 20)?;
            process.threads(part.threads)?;
            process.tcp_pairs(part.connections)?;
            if part.load > 0.0 {
                process.burn_until_stopped(part.load, 1)?;
            }
            processes.push((process, part));
        }
        Ok(Scene { processes, second: None })
    }

    /// Does the work of a tenth of a second.
    pub(crate) fn step(&mut self, at: Duration) -> Result<()> {
        let is_new_second = self.second.replace(at.as_secs()) != Some(at.as_secs());
        for (number, (process, part)) in self.processes.iter_mut().enumerate() {
            let factor = oscillate(at.as_secs(), number);
            if is_new_second && part.load > 0.0 {
                process.stop_burning()?;
                process.burn_until_stopped(part.load * factor, 1)?;
            }
            // Below 2^53.
            let bytes = ((part.kibibytes << 10) as f64 * factor) as u64;
            if bytes > 0 {
                process.read_bytes(bytes, 4)?;
                process.write_bytes(bytes, 4)?;
            }
        }
        Ok(())
    }
}

/// The load of a second relative to the average: a slow wave with another phase for each process.
fn oscillate(second: u64, number: usize) -> f64 {
    1.0 + 0.45 * (second as f64 * 0.55 + number as f64 * 0.4).sin()
}
