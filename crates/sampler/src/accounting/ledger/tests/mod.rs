//! The ledger against a model of the kernel, which knows what every process
//! truly did and who inherited it.

mod between_reads;
mod histories;
mod kernel;
mod observer;
mod orphans;
mod rules;
