//! The interface as a program uses it: images by name, windows, and what a sample has.
#![allow(clippy::disallowed_types, reason = "the time of day of a sample is compared")]

use std::time::{Duration, SystemTime};

use psstat_matcher::{Conf, MatchCache, Rules};
use psstat_sampler::{IoStart, MetricGroups, ProcessFields, Sample, Sampler, SamplerBuilder};
use psstat_testproc::{Config, TestProcess, oracle, unique_word as word};

fn builder() -> SamplerBuilder {
    Sampler::builder()
        .window(Duration::from_millis(2))
        // Others may be busy.
        .read_timeout(Duration::from_secs(60))
}

fn has_word(process: &psstat_sampler::Candidate<'_>, word: &str) -> bool {
    process.args_joined.windows(word.len()).any(|part| part == word.as_bytes())
}

/// A sampler and the rules of its images.
struct Joined {
    sampler: Sampler,
    rules: Rules,
    cache: MatchCache,
}

impl Joined {
    fn set_conf(&mut self, conf: &str) {
        self.rules = Conf::parse(conf.as_bytes()).rules;
        self.sampler
            .set_images(self.rules.images().iter().map(psstat_matcher::ImageTemplate::as_str));
    }

    fn sample(&mut self) -> Sample<'_> {
        let Joined { sampler, rules, cache } = self;
        let window = sampler.open_with(|process, images| {
            images.extend(rules.matches(process.args_joined, cache).map(|found| found.name));
        });
        window.close()
    }
}

/// Images by the index of their rule had each other's counters after this.
#[test]
fn images_keep_their_counters_when_lines_change_places() {
    let (a, b) = (word("place-a"), word("place-b"));
    let [mut one, mut other] = [&a, &b].map(|word| TestProcess::spawn(&Config::new(word)).unwrap());
    let sampler = builder().build().unwrap();
    let mut joined = Joined { sampler, rules: Rules::default(), cache: MatchCache::default() };
    joined.set_conf(&format!("first {a}\nsecond {b}\n"));
    joined.sample();
    one.write_bytes(1_000, 1).unwrap();
    other.write_bytes(50_000, 1).unwrap();
    let written = |sample: &Sample<'_>| {
        ["first", "second"].map(|name| sample.image(name).unwrap().io.unwrap().wchar)
    };
    let before = written(&joined.sample());
    assert!((1_000..50_000).contains(&before[0]) && before[1] >= 50_000, "{before:?}");
    joined.set_conf(&format!("second {b}\nnew {a}\nfirst {a}\n"));
    one.write_bytes(7, 1).unwrap();
    let sample = joined.sample();
    let after = written(&sample);
    // The processes also write their responses.
    assert!((7..1_000).contains(&(after[0] - before[0])), "{before:?} {after:?}");
    assert!((0..1_000).contains(&(after[1] - before[1])), "{before:?} {after:?}");
    let new = sample.image("new").unwrap();
    assert_eq!((new.processes, new.io.unwrap().wchar, new.starts), (1, 0, 0));
    // A name that is removed and added again begins at 0.
    joined.set_conf(&format!("second {b}\n"));
    assert!(joined.sample().image("first").is_none());
    joined.set_conf(&format!("first {a}\nsecond {b}\n"));
    let [first, second] = written(&joined.sample());
    assert!(first == 0 && second >= after[1], "{first} {second}");
}

#[test]
fn sample_has_the_identity_of_processes() {
    let name = word("identity");
    let begin = SystemTime::now();
    let process = TestProcess::spawn(&Config::new(format!("/opt/{name}")).arg("x").arg("y z"));
    let process = process.unwrap();
    let mut sampler = {
        let name = name.clone();
        builder().image("one", move |process| has_word(process, &name)).build().unwrap()
    };
    sampler.measure();
    let sample = sampler.measure();
    let kept = sample.clone().into_owned();
    for sample in [&sample, &kept] {
        let found: Vec<_> = sample.processes().collect();
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!((found.pid, found.ppid), (process.pid(), oracle::ppid(process.pid()).unwrap()));
        assert_eq!(found.command_line(), format!("/opt/{name} x y z"));
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", found.pid)).unwrap();
        assert_eq!(found.name(), comm.trim_end());
        assert_eq!(found.uid, Some(rustix::process::geteuid().as_raw()));
        // In ticks, and the clock may be set slightly.
        let started = found.started.unwrap();
        let slack = Duration::from_millis(50);
        assert!(started + slack >= begin && started <= SystemTime::now() + slack);
        assert!(found.images().eq(["one"]) && found.usage.processes == 1);
    }
    assert_eq!(kept.image("one").unwrap().processes, 1);
    let images: Vec<_> = kept.images().map(|(name, usage)| (name, usage.processes)).collect();
    assert_eq!(images, [("one", 1)]);
    assert!(kept.health().processes > 1 && kept.time() <= SystemTime::now());
    // Its texts are dropped with it.
    drop((process, kept));
    let sample = sampler.measure();
    assert_eq!((sample.processes().count(), sample.image("one").unwrap().exits), (0, 1));
    assert!(sample.image("two").is_none());
    // Without the texts.
    let mut sampler = builder()
        .fields(ProcessFields::NONE)
        .keep_texts(false)
        .classify(|process, images| images.extend((process.pid == 1).then_some("init")))
        .build()
        .unwrap();
    let sample = sampler.measure();
    let init = sample.processes().next().unwrap();
    assert_eq!((init.pid, init.name().len(), init.command_line().len()), (1, 0, 0));
}

#[test]
fn ids_identify_images_of_one_sampler() {
    let [mut one, mut other] = [(); 2].map(|()| builder().build().unwrap());
    let (a, b) = (one.add_image("a"), one.add_image("b"));
    assert_eq!((one.add_image("a"), one.image_id("b"), one.image_id("c")), (a, Some(b), None));
    let of_other = other.add_image("a");
    one.measure();
    let sample = one.last_sample().unwrap();
    assert!(sample.image_by_id(a).is_some() && sample.image_by_id(of_other).is_none());
    one.remove_images([a, of_other]);
    let c = one.add_image("c");
    let sample = one.measure();
    assert!(sample.image_by_id(a).is_none() && sample.image_by_id(c).is_some());
    assert!(sample.images().map(|(name, _)| name).eq(["c", "b"]));
    assert_eq!((one.image_name(c), one.image_name(a)), (Some("c"), None));
    // A closure cannot add what does not exist.
    let sample =
        one.open_with(|_, images| assert!(!images.add_id(a) && !images.add_id(of_other))).close();
    assert_eq!(sample.health().matched, 0);
}

#[test]
fn window_is_closed_by_its_own_sampler_once() {
    let [mut one, mut other] = [(); 2].map(|()| builder().build().unwrap());
    assert!(one.last_sample().is_none());
    let window = one.open().detach();
    assert!(other.attach(window).is_none());
    let (old, new) = (one.open().detach(), one.open().detach());
    assert!(one.attach(old).is_none() && one.last_sample().is_none());
    let window = one.attach(new).unwrap();
    let deadline = window.deadline();
    let again = window.detach();
    assert_eq!(again.deadline(), deadline);
    one.attach(again).unwrap().close();
    assert!(one.last_sample().is_some());
}

/// The windows had a gap between them, in which the program printed its sample.
#[test]
fn windows_of_an_interval_follow_each_other() {
    const SAMPLES: usize = 5;
    let name = word("gapless");
    let mut process = TestProcess::spawn(&Config::new(&name)).unwrap();
    process.burn_until_stopped(100.0, 1).unwrap();
    for bpf in [None, psstat_sampler::Bpf::load(std::path::Path::new("/proc")).ok()] {
        let name = name.clone();
        let mut builder = builder()
            .io_start(IoStart::ProcessStart)
            .metrics(MetricGroups::default())
            .image("burner", move |process| has_word(process, &name));
        if let Some(bpf) = bpf {
            builder = builder.bpf(bpf);
        }
        let mut sampler = builder.build().unwrap();
        let (mut first, mut last, mut in_windows) = (None, 0, 0.0);
        for sample in sampler.every(Duration::from_millis(200)).take(SAMPLES) {
            let process = sample.processes().next().unwrap();
            last = process.usage.cpu.unwrap().total();
            let length = process.window.unwrap();
            if first.replace(first.unwrap_or(last)).is_some() {
                in_windows += process.usage.cpu_percent.unwrap() / 100.0 * length.as_nanos() as f64;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let missing = (last - first.unwrap()) as f64 - in_windows;
        // A clock is late by up to a tick, which a percentage above 100 does not show.
        assert!((-1e3..40e6).contains(&missing), "{missing} ns of {last}");
    }
}
