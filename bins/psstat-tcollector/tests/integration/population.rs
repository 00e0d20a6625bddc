//! Processes with known values, because the test made them.

use std::collections::{BTreeMap, BTreeSet};

use psstat_emit::metrics::{CollectorSeries, Series};
use psstat_testproc::{Counts, Io, TempDir, TestProcess};

use crate::common::{conf, testproc, word};

/// A test process and the values that it reports.
#[derive(Debug)]
struct Member {
    testproc: TestProcess,
    threads: u64,
    counts: Counts,
}

/// The images of the config file.
const IMAGES: [&str; 3] = ["svc/web", "svc/db", "svc/none"];

/// Two images with processes and one without, and a config file with their rules.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) temp: TempDir,
    pub(crate) conf: std::path::PathBuf,
    /// In the command lines of `svc/web`.
    word_of_web: String,
    /// Of `svc/web`.
    web: Vec<Member>,
    /// The I/O of the processes of `svc/web` that have exited.
    exited: Io,
    /// How many of them were killed, each in a read of its next command.
    pub(crate) killed: i64,
    /// Of `svc/db`.
    db: Vec<Member>,
}

impl Population {
    pub(crate) fn new() -> Population {
        let [web, db, none] = ["web", "db", "none"].map(word);
        let temp = TempDir::new().unwrap();
        let words = [&web, &db, &none];
        let rules: String =
            IMAGES.iter().zip(words).map(|(image, word)| format!("{image} {word}\n")).collect();
        let conf = conf(&temp, &rules);
        let mut population = Population {
            temp,
            conf,
            word_of_web: web.clone(),
            web: [&web, &web, &web].map(|word| member(word)).into(),
            exited: Io::default(),
            killed: 0,
            db: vec![member(&db)],
        };
        let [first, second, ..] = &mut population.web[..] else { unreachable!() };
        first.threads = first.testproc.threads(5).unwrap();
        first.testproc.open_files(20).unwrap();
        first.counts = first.testproc.tcp_pairs(3).unwrap();
        first.testproc.write_bytes(1_000_000, 10).unwrap();
        second.testproc.unix_pairs(2).unwrap();
        second.counts = second.testproc.udp_connected(2).unwrap();
        second.testproc.read_bytes(345_678, 9).unwrap();
        let only = &mut population.db[0];
        only.counts = only.testproc.open_sockets(psstat_testproc::Kind::Tcp, 1).unwrap();
        only.testproc.write_bytes(77, 7).unwrap();
        population.quiesce();
        population
    }

    /// All processes do more I/O, which is reported in the next cycle.
    pub(crate) fn work(&mut self) {
        for (number, member) in (1..).zip(self.web.iter_mut().chain(&mut self.db)) {
            member.testproc.write_bytes(number * 10_000, number).unwrap();
        }
        self.quiesce();
    }

    /// A process of `svc/web` exits, and is not reaped by a process of its image.
    pub(crate) fn end_one(&mut self) {
        let mut last = self.web.pop().unwrap();
        self.exited += last.testproc.expected_io().unwrap();
        last.testproc.kill().unwrap();
        self.killed += 1;
        last.testproc.reap().unwrap();
    }

    /// Another process of `svc/web`.
    pub(crate) fn start_one(&mut self) {
        let word = self.word_of_web.clone();
        self.web.push(member(&word));
    }

    fn quiesce(&self) {
        for member in self.web.iter().chain(&self.db) {
            member.testproc.quiesce().unwrap();
        }
    }

    /// The series of a cycle, all of the metric table: the metric, then its tags.
    pub(crate) fn series() -> BTreeSet<String> {
        let tag = |value: Option<&str>| value.map(|it| format!(" type={it}")).unwrap_or_default();
        // Groups are sent on request.
        let always = Series::ALL.iter().filter(|series| series.entry().group.is_none());
        let of_images = always.flat_map(|series| {
            let (name, tag) = (series.metric().name, tag(series.type_tag()));
            IMAGES.map(|image| format!("{name} image={image}{tag}"))
        });
        let of_the_collector = CollectorSeries::ALL
            .iter()
            .map(|health| format!("{}{}", health.metric().name, tag(health.type_tag())));
        of_images.chain(of_the_collector).collect()
    }

    /// The expected points, from the values that the test knows: `metric image=… type=…`.
    pub(crate) fn known(&self) -> BTreeMap<String, i64> {
        let mut known = BTreeMap::new();
        let empty = Vec::new();
        let members = [&self.web, &self.db, &empty];
        let exited = [self.exited, Io::default(), Io::default()];
        let images = IMAGES.into_iter().zip(members).zip(exited);
        for ((image, members), exited) in images {
            let io = members
                .iter()
                .fold(exited, |sum, member| sum + member.testproc.expected_io().unwrap());
            let sum = |of: &dyn Fn(&Member) -> u64| members.iter().map(of).sum::<u64>();
            let net = |of: &dyn Fn(&Counts) -> u64| sum(&|member| of(&member.counts));
            for (series, value) in [
                (format!("io image={image} type=rchar"), io.rchar),
                (format!("io image={image} type=wchar"), io.wchar),
                (format!("io image={image} type=syscr"), io.syscr),
                (format!("io image={image} type=syscw"), io.syscw),
                (format!("fd image={image} type=open"), net(&|counts| counts.fds)),
                (format!("threads image={image}"), sum(&|member| member.threads)),
                (format!("net image={image} type=tcp"), net(&|counts| counts.tcp + counts.tcp6)),
                (format!("net image={image} type=udp"), net(&|counts| counts.udp + counts.udp6)),
                (format!("net image={image} type=unix"), net(&|counts| counts.unix)),
                (format!("procs image={image}"), members.len() as u64),
            ] {
                known.insert(series, i64::try_from(value).unwrap());
            }
        }
        known
    }
}

fn member(word: &str) -> Member {
    let mut testproc = testproc(word);
    let counts = testproc.sockets().unwrap();
    Member { testproc, threads: 1, counts }
}
