//! The live view.
//!
//! [`App`] is the state and its changes by keys, without a terminal;
//! [`view::draw`] draws it; [`screen::run`] handles the terminal, the keys, and
//! the measuring thread; [`player`] shows a recording.

pub mod app;
mod column_set;
pub mod history;
pub mod playback;
pub mod player;
pub mod screen;
pub mod view;
mod wrap;

pub use app::App;
