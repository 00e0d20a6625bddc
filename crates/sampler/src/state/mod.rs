//! State: the processes that exist, the tracked ones, and what is remembered of each from
//! cycle to cycle. Reads only through [`ProcessSource`](crate::source::ProcessSource).

pub(crate) mod cmdline_budget;
pub(crate) mod process_table;
pub(crate) mod process_tree;
pub(crate) mod schedule;
pub(crate) mod tracked;
pub(crate) mod unlisted;
