//! The processes of the picture: their names, what they hold, what they do.

use std::time::Duration;

use psstat_testproc::{Config, TestProcess};

use crate::Result;

/// The rules that find them, and nobody else.
pub(crate) const CONF: &str = r"
orders     ^java .*/srv/shop/orders\.jar
nginx      ^nginx: (master|worker) process
postgres   ^postgres: (shop|checkpointer|walwriter)
kafka      ^java .*kafka\.Kafka /srv/kafka/
redis      ^redis-server 127\.0\.0\.1:6379
haproxy    ^haproxy -W -f /srv/shop/haproxy\.cfg
";

/// The first image of the view, by which it is known to be up.
const FIRST: &str = "+orders";

/// One process: its words, what it holds from the beginning, what it does.
struct Part {
    words: &'static [&'static str],
    mebibytes: u64,
    threads: u64,
    /// Pairs of connected sockets, both ends its own.
    connections: u64,
    /// Percent of one core, on average.
    load: f64,
    /// Kibibytes read and as many written, ten times a second.
    kibibytes: u64,
}

const fn part(
    words: &'static [&'static str],
    (mebibytes, threads, connections): (u64, u64, u64),
    (load, kibibytes): (f64, u64),
) -> Part {
    Part { words, mebibytes, threads, connections, load, kibibytes }
}

const PARTS: &[Part] = &[
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

/// All of them, alive until this is dropped.
pub(crate) struct Scene {
    actors: Vec<(TestProcess, &'static Part)>,
    /// The second that is being played.
    second: Option<u64>,
}

impl Scene {
    /// Starts them.
    pub(crate) fn set() -> Result<Scene> {
        let mut actors = Vec::new();
        for part in PARTS {
            let (argv0, arguments) = part.words.split_first().ok_or("a process without a name")?;
            let mut actor = TestProcess::spawn(&Config::new(argv0).args(arguments))?;
            actor.mmap_touch(part.mebibytes << 20)?;
            actor.threads(part.threads)?;
            actor.tcp_pairs(part.connections)?;
            if part.load > 0.0 {
                actor.burn_until_stopped(part.load, 1)?;
            }
            actors.push((actor, part));
        }
        Ok(Scene { actors, second: None })
    }

    /// Whether the view shows them.
    pub(crate) fn is_shown(&self, text: &str) -> bool {
        text.contains(FIRST)
    }

    /// A tenth of a second's work at this time.
    pub(crate) fn play(&mut self, at: Duration) -> Result<()> {
        let turn = self.second.replace(at.as_secs()) != Some(at.as_secs());
        for (number, (actor, part)) in self.actors.iter_mut().enumerate() {
            let swing = swing(at.as_secs(), number);
            if turn && part.load > 0.0 {
                actor.stop_burning()?;
                actor.burn_until_stopped(part.load * swing, 1)?;
            }
            // Numbers below 2^53.
            let bytes = ((part.kibibytes << 10) as f64 * swing) as u64;
            if bytes > 0 {
                actor.read_bytes(bytes, 4)?;
                actor.write_bytes(bytes, 4)?;
            }
        }
        Ok(())
    }
}

/// By how much the load of a second differs from its average: a slow wave,
/// at another point for each process.
fn swing(second: u64, number: usize) -> f64 {
    1.0 + 0.45 * (second as f64 * 0.55 + number as f64 * 0.4).sin()
}
