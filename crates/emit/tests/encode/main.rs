//! The encoders' output, read by readers that share no code with them.

mod catalogue;
mod limits;
mod names;
mod order;
mod python;
mod round_trip;
