//! The keys: one table for the keys, the page of help and the last line.

use crossterm::event::KeyCode;

/// The effect of a key in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    Help,
    Filter,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Toggle,
    Open,
    NextView,
    Images,
    Processes,
    Tree,
    SortNext,
    SortPrevious,
    Reverse,
    Columns,
    Metric,
    Plots,
    KernelThreads,
    Signal,
    Pause,
    Longer,
    Shorter,
    Save,
    Clear,
    StepBack,
    StepForward,
    FarBack,
    FarForward,
    Start,
    End,
    Play,
    Faster,
    Slower,
    Time,
}

/// When a key has its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    Live,
    Replay,
}

/// A line of the table.
#[derive(Debug)]
pub(super) struct Binding {
    codes: &'static [KeyCode],
    when: When,
    pub(super) action: Action,
    /// The keys as they are shown.
    pub(super) keys: &'static str,
    /// For the last line of the screen.
    hint: Option<&'static str>,
    /// For the page of help; empty: with the line before.
    pub(super) help: &'static str,
}

const fn key(letter: char) -> KeyCode {
    KeyCode::Char(letter)
}

/// A line of the table below.
macro_rules! bindings {
    ($($when:ident $keys:literal [$($code:expr),*] $action:ident $hint:expr, $help:literal;)*) => {
        &[$(Binding {
            codes: &[$($code),*], when: When::$when, action: Action::$action, keys: $keys,
            hint: $hint, help: $help,
        }),*]
    };
}

/// All keys of the list. Those of a recording come first, and replace others.
#[rustfmt::skip]
static BINDINGS: &[Binding] = bindings![
    Replay "left" [KeyCode::Left] StepBack Some("step"), "show the window before";
    Replay "right" [KeyCode::Right] StepForward None, "show the window after";
    Replay "[" [key('[')] FarBack None, "60 windows back";
    Replay "]" [key(']')] FarForward None, "60 windows on";
    Replay "{" [key('{')] Start None, "the first window";
    Replay "}" [key('}')] End None, "the last window";
    Replay "space, p" [key(' '), key('p')] Play Some("play"), "play or stop";
    Replay "+" [key('+')] Faster None, "play faster";
    Replay "-" [key('-')] Slower None, "play slower";
    Replay "t" [key('t')] Time Some("time"), "go to a time: 23:59, 2026-01-31 23:59:59, -10m (before the end)";
    Always "q, ctrl-c" [key('q')] Quit Some("quit"), "quit";
    Always "?" [key('?')] Help Some("help"), "show this page";
    Always "/" [key('/')] Filter Some("filter"), "filter as you type, by image, command line and pid; enter keeps the filter, esc clears it; ctrl-u deletes the text, ctrl-w its last word";
    Always "v, tab" [key('v'), KeyCode::Tab] NextView Some("view"), "show images, all processes, or the tree of processes";
    Always "1" [key('1')] Images None, "show images";
    Always "2" [key('2')] Processes None, "show all processes";
    Always "3" [key('3')] Tree None, "show the tree of processes";
    Always "s, >" [key('s'), key('>')] SortNext Some("sort"), "sort by the next column; also a click on a heading";
    Always "S, <" [key('S'), key('<')] SortPrevious None, "sort by the previous column";
    Always "r" [key('r')] Reverse None, "reverse the sort order";
    Always "space, left, right" [key(' '), KeyCode::Left, KeyCode::Right] Toggle Some("expand"), "expand an image into its processes, or collapse it; collapse a part of the tree";
    Always "enter" [KeyCode::Enter] Open Some("open"), "show all data of a process, or expand an image; also a second click";
    Always "c" [key('c')] Columns Some("columns"), "choose the columns";
    Always "h" [key('h')] Metric Some("history"), "switch the history: CPU, memory, io, connections";
    Always "g" [key('g')] Plots Some("plots"), "show or hide the plots of the selected image";
    Live "K" [key('K')] KernelThreads None, "show or hide kernel threads";
    Live "x" [key('x')] Signal None, "send a signal to the selected process, after a question";
    Live "p" [key('p')] Pause None, "pause or continue";
    Live "+" [key('+')] Longer None, "longer windows";
    Live "-" [key('-')] Shorter None, "shorter windows";
    Always "W" [key('W')] Save None, "save view, columns, sort order and interval as defaults";
    Always "up, k" [KeyCode::Up, key('k')] Up None, "move up; also the wheel";
    Always "down, j" [KeyCode::Down, key('j')] Down None, "move down";
    Always "page up" [KeyCode::PageUp] PageUp None, "move up by a page";
    Always "page down" [KeyCode::PageDown] PageDown None, "move down by a page";
    Always "home" [KeyCode::Home] First None, "go to the first line";
    Always "end" [KeyCode::End] Last None, "go to the last line";
    Always "esc" [KeyCode::Esc] Clear None, "clear the filter";
];

/// The meanings of marks and colors, for the page of help.
pub(super) const LEGEND: &str = "\
*   a process that started in the last windows
x   one that exited in the last windows
↑   a value that has grown in at least three of the last four windows
bold: a quarter of a core, or half of a limit; red, underlined: four fifths
The history and the bar have one scale for all rows, which the heading shows.";

fn is_meant(binding: &Binding, is_replay: bool) -> bool {
    match binding.when {
        When::Always => true,
        When::Live => !is_replay,
        When::Replay => is_replay,
    }
}

/// The action of a key.
pub(super) fn action(code: KeyCode, is_replay: bool) -> Option<Action> {
    let mut meant = BINDINGS.iter().filter(|binding| is_meant(binding, is_replay));
    meant.find(|binding| binding.codes.contains(&code)).map(|binding| binding.action)
}

/// The keys that have a meaning, in the order of the page of help.
pub(super) fn all(is_replay: bool) -> impl Iterator<Item = &'static Binding> {
    let is_effective = move |binding: &&Binding| {
        let mut codes = binding.codes.iter();
        codes.any(|code| action(*code, is_replay) == Some(binding.action))
    };
    BINDINGS.iter().filter(move |binding| is_meant(binding, is_replay)).filter(is_effective)
}

/// The most important keys, as many as fit into this width.
pub(super) fn hints(is_replay: bool, width: usize) -> String {
    let mut line = String::new();
    for binding in all(is_replay) {
        let Some(hint) = binding.hint else { continue };
        let first = binding.keys.split(", ").next().unwrap_or_default();
        let gap = if line.is_empty() { "" } else { "  " };
        if line.len() + gap.len() + first.len() + 1 + hint.len() > width {
            break;
        }
        line.push_str(&format!("{gap}{first} {hint}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_one_meaning() {
        for is_replay in [false, true] {
            let mut seen: Vec<KeyCode> = Vec::new();
            for binding in all(is_replay) {
                for code in binding.codes {
                    let is_replaced = action(*code, is_replay) != Some(binding.action);
                    assert!(is_replaced || !seen.contains(code), "{code:?}");
                    seen.push(*code);
                }
                assert!(!binding.help.is_empty() && !binding.keys.is_empty());
            }
        }
        // In a recording, `space` plays, and `x` has no effect.
        assert_eq!(action(key(' '), true), Some(Action::Play));
        assert_eq!(action(key(' '), false), Some(Action::Toggle));
        assert_eq!(action(key('x'), true), None);
    }

    #[test]
    fn hints_fit() {
        for width in 0..200 {
            assert!(hints(false, width).len() <= width && hints(true, width).len() <= width);
        }
        assert!(hints(false, 80).starts_with("q quit  ? help  / filter"), "{}", hints(false, 80));
    }
}
