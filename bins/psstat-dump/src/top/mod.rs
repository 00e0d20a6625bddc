//! The live view.
//!
//! [`App`] is what is shown and what keys do to it, without a terminal;
//! [`view::draw`] puts it on a screen; [`screen::run`] has the terminal, the
//! keys, and the thread that measures.

pub mod app;
pub mod history;
pub mod screen;
pub mod view;
mod wrap;

pub use app::App;
