//! The live view.
//!
//! [`App`] is the state: the last window, what the user has chosen ([`settings`]), and the lines of
//! the list (`entries`), made from both. [`App::key`] and [`App::mouse`] change it (`input`; the
//! keys are the table in `keys`), [`view::draw`] draws it. `track` compares a window with those before
//! it. None of these needs a terminal: [`screen`] handles that, the events and signals, and
//! [`live`] the measuring thread; [`player`] shows a recording.

pub mod app;
mod chooser;
mod entries;
pub mod history;
pub mod host;
mod input;
mod keys;
mod layout;
pub mod live;
pub mod page;
pub mod playback;
pub mod player;
pub mod screen;
pub mod settings;
pub mod signal;
pub mod theme;
mod track;
pub mod view;
mod wrap;

pub use app::App;
