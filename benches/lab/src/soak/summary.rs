//! The report of a soak.

use std::time::Duration;

use super::Quiescent;
use super::checks::{CPU_FACTOR, MEMORY_PER_PROCESS, MEMORY_SLACK};
use super::trace::{MEDIANS, Medians, Trace};
use crate::checks::Checks;
use crate::host_info;
use crate::table::Table;

/// The numbers of the report.
#[derive(Debug)]
pub(crate) struct Numbers<'n> {
    pub(crate) time: Duration,
    pub(crate) interval: u64,
    /// Changes of the config.
    pub(crate) changes: usize,
    /// Lines of the log.
    pub(crate) logged: usize,
    pub(crate) first: &'n Quiescent,
    pub(crate) last: &'n Quiescent,
    /// The minutes after the first quiescent phase, and those before the last.
    pub(crate) start: Medians,
    pub(crate) end: Medians,
    /// Processes of the machine beyond the maximum of the first minute.
    pub(crate) more: u64,
}

/// Prints the tables.
pub(crate) fn print(checks: &Checks, trace: &Trace, numbers: &Numbers<'_>) {
    let Numbers { time, interval, changes, logged, first, last, start, end, more } = numbers;
    println!("{}; load {}", host_info::line(), host_info::load());
    println!("time               {:.1} min, a cycle every {interval} s", time.as_secs_f64() / 60.0);
    println!("cycles             {}, {} skipped", checks.cycles, checks.skipped());
    println!("longest gap        {:.2} s", checks.longest_gap.as_secs_f64());
    println!("config changes     {changes}; {logged} log lines");
    let [processes, fds, threads, tcp, udp, unix] =
        first.expected.values().fold([0; 6], |mut sum, counts| {
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
            sum
        });
    println!(
        "quiescent          {processes} processes, {fds} fds, {threads} threads, {tcp} tcp, {udp} \
         udp, {unix} unix sockets"
    );
    println!("cycles until exact {} and {}", first.waited, last.waited);
    println!(
        "allowed            {} KiB more, and {} for {more} more processes; {CPU_FACTOR} times the CPU\n",
        MEMORY_SLACK >> 10,
        (MEMORY_PER_PROCESS * more) >> 10,
    );
    let mut table = Table::new(&[&[""][..], &MEDIANS].concat());
    let rows = [
        ("first quiescent phase", &first.medians),
        ("last quiescent phase", &last.medians),
        ("under load, at the start", start),
        ("under load, at the end", end),
    ];
    for (name, medians) in rows {
        table.row([name.to_owned()].into_iter().chain(medians.cells()));
    }
    println!("{}", table.text());
    println!("{}", trace.table(*time));
}
