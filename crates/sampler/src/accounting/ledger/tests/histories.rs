//! Random histories. What fails is shrunk to the shortest one that does.

use proptest::prelude::*;

use super::kernel::{Event, IMAGES, Images, Limits, State};
use super::observer::Observer;
use crate::accounting::counters::IoCounters;

/// Cycles after the last event: more than an open case is waited for.
const QUIET: usize = 12;

fn number() -> impl Strategy<Value = usize> {
    0..24usize
}

fn images() -> impl Strategy<Value = Images> {
    0u8..(1 << IMAGES)
}

fn fork() -> impl Strategy<Value = Event> {
    let (ignores, subreaper) = (proptest::bool::weighted(0.15), proptest::bool::weighted(0.2));
    (number(), images(), ignores, subreaper).prop_map(|(parent, images, ignores, subreaper)| {
        Event::Fork { parent, images, ignores, subreaper }
    })
}

fn event(forks: u32, moves: bool) -> impl Strategy<Value = Event> {
    let amounts = prop_oneof![
        // All of a kind, as real work is, or anything.
        (0i16..1000).prop_map(|amount| [amount; 7]),
        // Of what is written a part is cancelled, of another's too.
        (proptest::array::uniform6(0i16..1000), -1i16..=1)
            .prop_map(|([a, b, c, d, e, f], sign)| [a, b, c, d, e, f, f * sign]),
    ];
    prop_oneof![
        forks => fork(),
        4 => (number(), amounts).prop_map(|(who, amounts)| Event::Write { who, amounts }),
        2 => number().prop_map(|who| Event::Exit { who }),
        2 => (number(), proptest::option::of(number()))
            .prop_map(|(parent, child)| Event::Wait { parent, child }),
        2 => (number(), any::<bool>()).prop_map(|(who, ignores)| Event::Ignore { who, ignores }),
        1 => (number(), any::<bool>()).prop_map(|(who, hidden)| Event::Hide { who, hidden }),
        1 => (number(), any::<bool>()).prop_map(|(who, blocks)| Event::Block { who, blocks }),
        u32::from(moves) * 2 => (number(), images()).prop_map(move |(who, images)| match moves {
            true => Event::Move { who, images },
            false => Event::Wait { parent: who, child: None },
        }),
    ]
}

/// Many processes that come and go; or few, each the next one's parent, to which
/// much happens, and much at once.
fn history(moves: bool) -> impl Strategy<Value = Vec<(u8, Event)>> {
    let wide = proptest::collection::vec((0u8..12, event(4, moves)), 1..60);
    let line = proptest::collection::vec(fork(), 2..6).prop_map(|forks| {
        let events = forks.into_iter().enumerate().map(|(last, mut event)| {
            if let Event::Fork { parent, .. } = &mut event {
                *parent = last;
            }
            (0, event)
        });
        events.collect::<Vec<_>>()
    });
    let looks = prop_oneof![2 => Just(0u8), 1 => 0u8..30];
    let what_happens = proptest::collection::vec((looks, event(1, moves)), 1..25);
    let deep = (line, what_happens).prop_map(|(line, events)| [line, events].concat());
    prop_oneof![wide, deep]
}

/// Watches a history to its end and beyond; the observer for a last look.
fn watch(limits: Limits, history: Vec<(u8, Event)>) -> Result<Observer, TestCaseError> {
    let mut observer = Observer::new(limits, history);
    let mut before = vec![IoCounters::ZERO; IMAGES];
    let mut quiet = 0;
    while quiet < QUIET {
        quiet += usize::from(observer.is_over());
        let now = observer.cycle();
        for image in 0..IMAGES {
            let (now, before) = (now[image], before[image]);
            prop_assert!(now.all_ge(before), "image {image} fell from {before:?} to {now:?}");
            let truth = observer.world.kernel.truth(image);
            prop_assert!(truth.all_ge(now), "image {image} has {now:?}, truth is {truth:?}");
        }
        before = now;
    }
    Ok(observer)
}

/// What may be missing: what ended processes did after the last look at them,
/// if no member of the image inherited it, and what others are charged with that
/// may have inherited it. A zombie that was one when it was first seen has no
/// command line and so no image.
fn unseen(observer: &Observer, image: usize) -> IoCounters {
    let kernel = &observer.world.kernel;
    let belongs = |id: usize| kernel.processes[id].ever & (1 << image) != 0;
    let mut unseen = IoCounters::ZERO;
    // The one that may fall: a part of what it did can be more than the whole.
    let mut add = |counters: IoCounters, cancelled_write_bytes: i64| {
        unseen = unseen.saturating_add(IoCounters { cancelled_write_bytes, ..counters });
    };
    for (id, process) in kernel.processes.iter().enumerate() {
        if process.state == State::Running || !belongs(id) {
            continue;
        }
        if !kernel.heirs(id).into_iter().any(belongs) {
            let read = observer.read.get(&id).copied().unwrap_or_default();
            add(process.counters.saturating_sub(read), process.cancelled);
        }
        let carriers = std::iter::once(id).chain(kernel.heirs(id));
        let mistakes: usize = carriers.map(|id| kernel.mistakable(id)).sum();
        (0..mistakes).for_each(|_| add(process.counters, process.cancelled));
    }
    // Of a counter that may fall nothing tells how much of it an heir can have: where
    // the others allow a part of what somebody left, it is taken for nothing of it.
    let has_ended = |id: usize| kernel.processes[id].state != State::Running;
    let count = kernel.processes.len();
    if (0..count).any(|id| has_ended(id) && kernel.mistakable(id) > 0) {
        let all: i64 = kernel.processes.iter().map(|process| process.cancelled).sum();
        unseen.cancelled_write_bytes += all * count as i64;
    }
    unseen
}

/// What is missing of one counter is no more than may be: each way for the one
/// that may be negative.
fn is_explained(missing: IoCounters, unseen: IoCounters) -> bool {
    let cancelled = missing.cancelled_write_bytes.abs();
    unseen.all_ge(missing) && cancelled <= unseen.cancelled_write_bytes
}

/// Watches a history in which no process changes its images or is hidden.
fn watch_for_the_missing(limits: Limits, history: Vec<(u8, Event)>) -> Result<(), TestCaseError> {
    let observer = watch(limits, history)?;
    for (image, total) in observer.totals().into_iter().enumerate() {
        let truth = observer.world.kernel.truth(image);
        let (missing, unseen) = (truth.saturating_sub(total), unseen(&observer, image));
        prop_assert!(
            is_explained(missing, unseen),
            "image {image} misses {missing:?} of {unseen:?}"
        );
    }
    Ok(())
}

/// Few, so that a test is short; more with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(120)
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    /// Processes of several images, waited for or left as zombies, by parents
    /// of any image or none, some of which ignore SIGCHLD, at any depth: what
    /// is missing in the end is what nobody could see.
    #[test]
    fn nothing_is_missing_but_the_unseen(history in history(false)) {
        watch_for_the_missing(Limits::default(), history)?;
    }

    /// The same where parents end first, others than init adopt, and parents begin
    /// to ignore their children, and cease to.
    #[test]
    fn only_externally_reaped_io_is_missing(history in history(false)) {
        let limits = Limits { orphans: true, subreapers: true, switches: true, hides: false };
        watch_for_the_missing(limits, history)?;
    }

    /// With parents that end first, and processes that change their images.
    #[test]
    fn nothing_falls_or_counts_twice(history in history(true)) {
        watch(Limits { orphans: true, ..Limits::default() }, history)?;
    }

    /// With adoption by other ancestors than init.
    #[test]
    fn nothing_falls_or_counts_twice_under_subreapers(history in history(true)) {
        watch(Limits { orphans: true, subreapers: true, ..Limits::default() }, history)?;
    }

    /// With parents that ignore SIGCHLD now and then.
    #[test]
    fn nothing_falls_or_counts_twice_when_parents_switch(history in history(true)) {
        watch(Limits { switches: true, ..Limits::default() }, history)?;
    }

    /// With processes whose io or command line cannot be read for a while.
    #[test]
    fn no_double_count_of_hidden_processes(history in history(true)) {
        watch(Limits { hides: true, ..Limits::default() }, history)?;
    }

    /// With all of it.
    #[test]
    fn no_decrease_no_double_count(history in history(true)) {
        let limits = Limits { orphans: true, subreapers: true, switches: true, hides: true };
        watch(limits, history)?;
    }
}
