//! Random histories. A failing one is shrunk to the shortest that fails.

use proptest::prelude::*;

use super::kernel::{Access, Event, IMAGES, Images, Limits, State};
use super::model::Model;
use super::world::Abilities;
use crate::io_counters::IoCounters;
use crate::options::IoStart;

/// Cycles after the last event: more than any exit stays unresolved, and any process
/// unlisted or unclassified.
const QUIESCENT_CYCLES: usize = 12;

fn number() -> impl Strategy<Value = usize> {
    0..24usize
}

fn images() -> impl Strategy<Value = Images> {
    0u8..(1 << IMAGES)
}

fn fork() -> impl Strategy<Value = Event> {
    let flags = (
        proptest::bool::weighted(0.15),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.3),
    );
    (number(), images(), flags).prop_map(|(parent, images, (ignores, subreaper, reuses_pid))| {
        Event::Fork { parent, images, ignores, subreaper, reuses_pid }
    })
}

fn event(forks: u32, moves: bool) -> impl Strategy<Value = Event> {
    let amounts = prop_oneof![
        // The same of each counter, as real work does, or anything.
        (0i16..1000).prop_map(|amount| [amount; 7]),
        proptest::array::uniform7(0i16..1000),
    ];
    let access = prop_oneof![
        2 => Just(Access::Allowed), 2 => Just(Access::Failing), 1 => Just(Access::Denied)
    ];
    prop_oneof![
        forks => fork(),
        4 => (number(), amounts).prop_map(|(id, amounts)| Event::Write { id, amounts }),
        2 => number().prop_map(|id| Event::Exit { id }),
        2 => (number(), proptest::option::of(number()))
            .prop_map(|(parent, child)| Event::Wait { parent, child }),
        2 => (number(), any::<bool>()).prop_map(|(id, ignores)| Event::Ignore { id, ignores }),
        1 => (number(), access).prop_map(|(id, access)| Event::SetAccess { id, access }),
        1 => (number(), any::<bool>()).prop_map(|(id, blocks)| Event::Block { id, blocks }),
        1 => prop_oneof![
            number().prop_map(|id| Event::ExitLeader { id }),
            Just(Event::DropCaches),
        ],
        u32::from(moves) * 2 => (number(), images(), any::<bool>())
            .prop_map(|(id, images, exec)| Event::Move { id, images, exec }),
    ]
}

/// Many processes that start and exit; or few, each the parent of the next, to which much
/// happens, and much at once.
fn history(moves: bool) -> impl Strategy<Value = Vec<(u8, Event)>> {
    let wide = proptest::collection::vec((0u8..24, event(4, moves)), 1..60);
    let line = proptest::collection::vec(fork(), 2..6).prop_map(|forks| {
        let events = forks.into_iter().enumerate().map(|(last, mut event)| {
            if let Event::Fork { parent, .. } = &mut event {
                *parent = last;
            }
            (0, event)
        });
        events.collect::<Vec<_>>()
    });
    let reads = prop_oneof![2 => Just(0u8), 1 => 0u8..60];
    let events = proptest::collection::vec((reads, event(1, moves)), 1..25);
    let deep = (line, events).prop_map(|(line, events)| [line, events].concat());
    prop_oneof![wide, deep]
}

/// How the driver reads.
fn driver() -> impl Strategy<Value = (Abilities, bool, IoStart)> {
    // As the tables do: all processes are classified in every cycle. Or by the schedule.
    let reclassify = any::<bool>();
    // Some processes exist before the first cycle, or only init.
    let io_start = prop_oneof![Just(IoStart::ProcessStart), Just(IoStart::FirstCycle)];
    let tick = prop_oneof![2 => Just(0), 1 => Just(16)];
    let clocks = (any::<bool>(), proptest::bool::weighted(0.3));
    let abilities = (proptest::bool::weighted(0.8), clocks, any::<bool>(), tick);
    (abilities, reclassify, io_start).prop_map(
        |((handles, (cpu_clock, late_clock), partial_listing, tick), reclassify, io_start)| {
            let abilities = Abilities { handles, cpu_clock, partial_listing, tick, late_clock };
            (abilities, reclassify, io_start)
        },
    )
}

/// Runs a history to its end and beyond. After each cycle no counter has fallen, and none
/// is more than the processes did.
fn run(
    limits: Limits,
    (abilities, reclassify, io_start): (Abilities, bool, IoStart),
    history: Vec<(u8, Event)>,
) -> Result<Model, TestCaseError> {
    let mut model = Model::new(limits, abilities, reclassify, history);
    if io_start == IoStart::FirstCycle {
        model = model.since_first_cycle();
        model.world.advance();
    }
    let mut quiescent = 0;
    while quiescent < QUIESCENT_CYCLES {
        quiescent += usize::from(model.world.is_over());
        model.cycle().map_err(TestCaseError::fail)?;
    }
    Ok(model)
}

/// At most that much may be missing: what exited processes did after their last reading,
/// if no member of the image inherited it, and what others that may have inherited it are
/// charged with. A process that was a zombie when it was first seen has no command line
/// and so no image.
fn unseen(model: &Model, image: usize) -> IoCounters {
    let kernel = &model.world.kernel;
    let belongs = |id: usize| kernel.processes[id].ever & (1 << image) != 0;
    let mut unseen = IoCounters::ZERO;
    let mut add = |counters: IoCounters| unseen = unseen.saturating_add(counters);
    for (id, process) in kernel.processes.iter().enumerate() {
        if process.state == State::Running || !(belongs(id) || process.has_past) {
            continue;
        }
        if belongs(id) && !kernel.inheritors(id).into_iter().any(belongs) {
            let read = model.read.get(&id).copied().unwrap_or_default();
            add(process.counters.saturating_sub(read));
        }
        let carriers = std::iter::once(id).chain(kernel.inheritors(id));
        let mistakes: usize = carriers.map(|id| kernel.mistakable(id)).sum();
        (0..mistakes).for_each(|_| add(process.counters));
    }
    unseen
}

/// The same of CPU time.
fn unseen_cpu(model: &Model, image: usize) -> i64 {
    let kernel = &model.world.kernel;
    let belongs = |id: usize| kernel.processes[id].ever & (1 << image) != 0;
    let mut unseen = 0;
    for (id, process) in kernel.processes.iter().enumerate() {
        if process.state == State::Running || !(belongs(id) || process.has_past) {
            continue;
        }
        let total = process.cpu.counters.total();
        if belongs(id) && !kernel.inheritors(id).into_iter().any(belongs) {
            unseen += total - model.read_cpu.get(&id).copied().unwrap_or_default();
        }
        let carriers = std::iter::once(id).chain(kernel.inheritors(id));
        let mistakes: usize = carriers.map(|id| kernel.mistakable(id)).sum();
        unseen += mistakes as i64 * total;
    }
    unseen
}

/// Runs a history in which no process changes its images or is hidden.
fn run_and_explain_missing(
    limits: Limits,
    driver: (Abilities, bool, IoStart),
    history: Vec<(u8, Event)>,
) -> Result<(), TestCaseError> {
    let (abilities, _, io_start) = driver;
    // In ticks a past is not known exactly.
    let is_past_exact = abilities.tick == 0 || io_start == IoStart::ProcessStart;
    let model = run(limits, driver, history)?;
    for (image, &total) in model.totals().iter().enumerate() {
        let expected = model.world.kernel.expected(image);
        let (missing, unseen) = (expected.saturating_sub(total), unseen(&model, image));
        prop_assert!(
            unseen.all_ge(missing),
            "image {image} misses {missing:?}, at most {unseen:?}"
        );
        let (expected, total) = (model.world.kernel.expected_cpu(image), model.cpu(image));
        let unseen = unseen_cpu(&model, image) + model.cpu_slack();
        prop_assert!(
            !is_past_exact || expected - total <= unseen,
            "image {image} misses CPU time: {total} of {expected}, at most {unseen} unseen"
        );
        // The past of page faults ends later than that of CPU time, by some reads.
        if let Some(total) = model.faults(image).filter(|_| io_start == IoStart::ProcessStart) {
            let unseen = unseen_cpu(&model, image);
            prop_assert!(
                expected - total <= unseen,
                "image {image} misses page faults: {total} of {expected}, at most {unseen} unseen"
            );
        }
    }
    Ok(())
}

/// Few, so that a test is short; more with `PROPTEST_CASES`.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(120)
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Processes of several images, waited for or left as zombies, with parents of any
    /// image or none, some of which ignore SIGCHLD, at any depth: in the end only the io
    /// is missing that no read could show.
    #[test]
    fn only_unseen_io_is_missing(driver in driver(), history in history(false)) {
        run_and_explain_missing(Limits::default(), driver, history)?;
    }

    /// The same where parents exit first, other processes than init adopt, and parents
    /// begin and stop to ignore SIGCHLD.
    #[test]
    fn only_externally_reaped_io_is_missing(driver in driver(), history in history(false)) {
        let limits =
            Limits { orphans: true, subreapers: true, switches: true, ..Limits::default() };
        run_and_explain_missing(limits, driver, history)?;
    }

    /// The same where leaders exit before other threads, and the kernel drops the entries
    /// of processes from its cache.
    #[test]
    fn only_unseen_io_is_missing_after_leader_exits(
        driver in driver(), history in history(false)
    ) {
        let limits = Limits { leaders: true, caches: true, ..Limits::default() };
        run_and_explain_missing(limits, driver, history)?;
    }

    /// With parents that exit first, and processes that change their images.
    #[test]
    fn no_decrease_no_double_count_of_orphans(driver in driver(), history in history(true)) {
        run(Limits { orphans: true, ..Limits::default() }, driver, history)?;
    }

    /// With adoption by other ancestors than init.
    #[test]
    fn no_decrease_no_double_count_under_subreapers(
        driver in driver(), history in history(true)
    ) {
        run(Limits { orphans: true, subreapers: true, ..Limits::default() }, driver, history)?;
    }

    /// With parents that ignore SIGCHLD now and then.
    #[test]
    fn no_decrease_no_double_count_when_parents_switch(
        driver in driver(), history in history(true)
    ) {
        run(Limits { switches: true, ..Limits::default() }, driver, history)?;
    }

    /// With processes whose io or command line cannot be read for a while.
    #[test]
    fn no_decrease_no_double_count_of_unreadable(driver in driver(), history in history(true)) {
        run(Limits { hides: true, ..Limits::default() }, driver, history)?;
    }

    /// With all of it.
    #[test]
    fn no_decrease_no_double_count(driver in driver(), history in history(true)) {
        let limits = Limits {
            orphans: true,
            subreapers: true,
            switches: true,
            hides: true,
            leaders: true,
            caches: true,
        };
        run(limits, driver, history)?;
    }
}
