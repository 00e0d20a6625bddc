//! The encoders' output, read by readers that share no code with them.
//!
//! `cycles` makes random cycles. The other modules are the tests.

mod cycles;

mod catalogue;
mod limits;
mod names;
mod order;
mod python;
mod round_trip;
