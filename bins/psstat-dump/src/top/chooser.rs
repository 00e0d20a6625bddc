//! The page on which columns are chosen.

use crossterm::event::KeyCode;

use super::layout::{self, BAR};
use super::settings::Settings;
use crate::table::columns::{Level, find};

/// The state of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chooser {
    pub(super) level: Level,
    /// The selected line.
    pub(super) at: usize,
}

/// A column on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) key: &'static str,
    pub(super) is_chosen: bool,
    pub(super) description: &'static str,
}

/// The chosen columns in their order, then the others.
pub(super) fn items(settings: &Settings, level: Level) -> Vec<Item> {
    let item = |key, is_chosen| {
        let description = match key {
            BAR => "CPU usage as a bar, with the same scale in all rows",
            _ => find(key, level).map_or("", |column| column.description),
        };
        Item { key, is_chosen, description }
    };
    let chosen = settings.columns(level);
    let others = layout::choices(level).filter(|key| !chosen.contains(key));
    let others: Vec<Item> = others.map(|key| item(key, false)).collect();
    chosen.iter().map(|key| item(*key, true)).chain(others).collect()
}

impl Chooser {
    /// Handles a key; `true`: the page is closed.
    pub(super) fn key(&mut self, code: KeyCode, settings: &mut Settings) -> bool {
        let items = items(settings, self.level);
        let last = items.len().saturating_sub(1);
        self.at = self.at.min(last);
        let columns = settings.columns_mut(self.level);
        match code {
            KeyCode::Down | KeyCode::Char('j') => self.at = (self.at + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.at = self.at.saturating_sub(1),
            KeyCode::PageDown => self.at = (self.at + 10).min(last),
            KeyCode::PageUp => self.at = self.at.saturating_sub(10),
            KeyCode::Home => self.at = 0,
            KeyCode::End => self.at = last,
            KeyCode::Char(' ') => match items.get(self.at) {
                Some(item) if item.is_chosen => {
                    columns.retain(|key| *key != item.key);
                }
                Some(item) => {
                    // Before the others, where it becomes the last of the chosen ones.
                    self.at = columns.len();
                    columns.push(item.key);
                }
                None => {}
            },
            KeyCode::Left | KeyCode::Char('<') if self.at > 0 && self.at < columns.len() => {
                columns.swap(self.at - 1, self.at);
                self.at -= 1;
            }
            KeyCode::Right | KeyCode::Char('>') if self.at + 1 < columns.len() => {
                columns.swap(self.at, self.at + 1);
                self.at += 1;
            }
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'c') => return true,
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_chosen_and_moved() {
        let mut settings =
            Settings { image_columns: vec!["pcpu", "rss", "tcp"], ..Settings::default() };
        let mut chooser = Chooser { level: Level::Image, at: 0 };
        let mut press = |code| {
            assert!(!chooser.key(code, &mut settings));
            (settings.image_columns.clone(), chooser.at)
        };
        assert_eq!(press(KeyCode::Right), (vec!["rss", "pcpu", "tcp"], 1));
        assert_eq!(press(KeyCode::Char(' ')), (vec!["rss", "tcp"], 1));
        assert_eq!(press(KeyCode::Char('<')), (vec!["tcp", "rss"], 0));
        press(KeyCode::Down);
        let (columns, at) = {
            press(KeyCode::Down);
            press(KeyCode::Char(' '))
        };
        // The first of the others.
        assert_eq!((columns, at), (vec!["tcp", "rss", BAR], 2));
        assert!(chooser.key(KeyCode::Esc, &mut settings));
        assert!(items(&settings, Level::Process).iter().any(|item| item.key == "swap"));
    }
}
