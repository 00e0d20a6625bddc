//! The encoders' output, read by readers that share no code with them.

mod limits;
mod metrics;
mod names;
mod order;
mod own_table;
mod python;
mod round_trip;
