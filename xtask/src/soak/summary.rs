//! What came of a soak.

use std::time::Duration;

use super::Calm;
use super::judge::{CPU_FACTOR, MEMORY_A_PROCESS, MEMORY_SLACK};
use super::trace::{Middle, Trace};
use crate::compare::table::{Table, ms};
use crate::machine;
use crate::storm::judge::Judge;

/// What is told beside the judge's and the trace's.
#[derive(Debug)]
pub(crate) struct Numbers<'n> {
    pub(crate) time: Duration,
    pub(crate) interval: u64,
    /// Of the conf.
    pub(crate) changes: usize,
    /// Lines of the log.
    pub(crate) logged: usize,
    pub(crate) first: &'n Calm,
    pub(crate) last: &'n Calm,
    /// The minutes after the first calm, and those before the last.
    pub(crate) early: Middle,
    pub(crate) late: Middle,
    /// Processes of the machine beyond the most that the first minute had.
    pub(crate) more: u64,
}

/// Prints the tables, and what did not hold.
pub(crate) fn print(judge: &Judge, trace: &Trace, numbers: &Numbers<'_>) {
    let Numbers { time, interval, changes, logged, first, last, early, late, more } = numbers;
    println!("{}; load {}", machine::line(), machine::load());
    println!(
        "time                {:.1} min, a cycle every {interval} s",
        time.as_secs_f64() / 60.0
    );
    println!("cycles              {}, {} left out", judge.cycles, judge.late());
    println!("longest time to one {:.2} s", judge.longest.as_secs_f64());
    println!("changes of the conf {changes}; {logged} lines in the log");
    let [procs, fd, threads, tcp, udp, unix] =
        first.truth.values().fold([0; 6], |mut sum, counts| {
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
            sum
        });
    println!(
        "held in a calm      {procs} processes, {fd} descriptors, {threads} threads, {tcp} tcp, \
         {udp} udp, {unix} unix sockets"
    );
    println!("calm until all true {} and {} cycles", first.waited, last.waited);
    println!(
        "allowed             {} KiB more, and {} for {more} more processes; {CPU_FACTOR} times the CPU\n",
        MEMORY_SLACK >> 10,
        (MEMORY_A_PROCESS * more) >> 10,
    );
    let mut table = Table::new(&[
        "",
        "CPU a cycle, ms",
        "to the yardstick",
        "resident, KiB",
        "descriptors",
        "threads",
        "seen",
        "matched",
    ]);
    let rows = [
        ("calm after the first minute", &first.middle),
        ("calm in the end", &last.middle),
        ("everything, after the first calm", early),
        ("everything, before the last calm", late),
    ];
    for (name, middle) in rows {
        table.row([
            name.to_owned(),
            ms(middle.cpu),
            format!("{:.2}", middle.relative),
            (middle.resident >> 10).to_string(),
            middle.descriptors.to_string(),
            middle.threads.to_string(),
            middle.seen.to_string(),
            middle.matched.to_string(),
        ]);
    }
    println!("{}", table.text());
    println!("{}", trace.table(*time));
    for line in judge.broken() {
        println!("broken: {line}");
    }
    if judge.is_content() {
        println!("All held, in every cycle.");
    }
}
