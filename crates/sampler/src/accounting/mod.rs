//! Reckoning: pure functions of readings. Nothing here reads anything.

pub(crate) mod aggregate;
pub(crate) mod counters;
pub(crate) mod ledger;
