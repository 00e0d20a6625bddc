//! The real program, run as tcollector runs it and in every other way that its
//! options allow, beside processes whose behaviour is known.
//!
//! `common` runs the collector and holds each of its lines against
//! tcollector's rules, in every test.

mod common;

mod clocks;
mod conf;
mod faults;
mod formats;
mod hidden;
mod hostile_conf;
mod hung_conf;
mod limits;
mod live_values;
mod mounts;
mod options;
mod pid_namespace;
mod reload;
mod rights;
mod security;
mod tcollector;
mod torn_reads;
