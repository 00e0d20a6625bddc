//! Tests of a sampler on processes and sockets whose behavior is known.

#[path = "../common/mod.rs"]
mod common;

mod against_ss;
mod cpu;
mod cpu_time;
mod denied;
mod faults;
mod fields;
mod gauges;
mod groups;
mod identity;
mod idle;
mod io;
mod kernel_counts;
mod long_cmdlines;
mod many;
mod members;
mod reaping;
mod scan_intervals;
mod tcp_other_states;
mod tcp_states;
