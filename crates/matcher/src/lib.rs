//! Rules that pick processes by their command line.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod conf;
mod diagnostic;
pub mod file;
mod filter;
mod image;
mod lint;
pub mod live;
pub mod ownership;
mod pattern_error;
mod python;
mod render;
mod rules;
mod survey;
mod text;
mod watch;

pub use conf::Conf;
pub use diagnostic::{Diagnostic, Severity};
pub use image::{ImageName, ImageNameError};
pub use pattern_error::PatternError;
pub use rules::{MAX_STEPS, MAX_STEPS_TEXT, Rule, Rules, Verdict};
pub use survey::Survey;
