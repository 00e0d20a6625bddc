//! What the encoders write, held against readers that know nothing of them.
//!
//! `tsd`, `json` and `openmetrics` read each format by its own rules, strictly,
//! and hand back plain points; `cycles` makes random cycles. The other modules
//! are the tests.

mod cycles;
mod json;
mod openmetrics;
mod point;
mod tsd;

mod catalogue;
mod limits;
mod names;
mod order;
mod python;
mod round_trip;

use point::{Point, in_alphabet, thousandths};
