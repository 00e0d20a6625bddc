//! The page of a process: its sections, and the search in it.

use crossterm::event::KeyCode;

use super::wrap;

/// The report of a process, or why there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The process, which can be read again; `None` in a recording.
    pub(super) pid: Option<u32>,
    /// The lines; a long one takes several rows.
    pub lines: Vec<String>,
    /// The first visible row.
    pub first: usize,
    /// The text that is searched, and whether it is being typed.
    pub(super) search: String,
    pub(super) is_typing: bool,
    /// Whether the report is being read.
    pub(super) is_loading: bool,
    pub(super) message: String,
}

/// The effect of a key of the page outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Nothing,
    Back,
    Read,
}

impl Page {
    /// A page with this text.
    pub fn new(text: &str) -> Page {
        Page { lines: text.lines().map(str::to_owned).collect(), ..Page::default() }
    }

    /// A page whose text is being read.
    pub(super) fn loading(pid: u32) -> Page {
        Page { is_loading: true, pid: Some(pid), ..Page::new(&format!("process {pid}")) }
    }

    /// Shows a text that was read, at the same place.
    pub(super) fn set_text(&mut self, text: &str) {
        self.lines = text.lines().map(str::to_owned).collect();
        self.is_loading = false;
    }

    /// Whether a row has the text that is searched.
    pub(super) fn is_found(&self, row: &str) -> bool {
        !self.search.is_empty() && row.to_lowercase().contains(&self.search.to_lowercase())
    }

    /// The last line of the screen.
    pub(super) fn footer(&self) -> String {
        if self.is_typing {
            return format!("search: {}_  (enter: continue with n and N, esc: end)", self.search);
        }
        if !self.message.is_empty() {
            return self.message.clone();
        }
        let state = if self.is_loading { "reading …  " } else { "" };
        let again = if self.pid.is_some() { "  r again" } else { "" };
        format!("{state}q back  / search  n next  tab section{again}")
    }

    /// Handles a key; `height` rows of this many columns are visible.
    pub(super) fn key(&mut self, code: KeyCode, columns: usize, height: usize) -> Request {
        self.message.clear();
        let rows = wrap::rows(&self.lines, columns);
        let last = rows.len().saturating_sub(1);
        self.first = self.first.min(last);
        if self.is_typing {
            match code {
                KeyCode::Enter => self.is_typing = false,
                KeyCode::Esc => (self.is_typing, self.search) = (false, String::new()),
                KeyCode::Backspace => drop(self.search.pop()),
                KeyCode::Char(character) => self.search.push(character),
                _ => {}
            }
            self.find(&rows, self.first, true);
            return Request::Nothing;
        }
        let page = height.saturating_sub(2).max(1);
        match code {
            KeyCode::Down | KeyCode::Char('j') => self.first = (self.first + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.first = self.first.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.first = (self.first + page).min(last),
            KeyCode::PageUp => self.first = self.first.saturating_sub(page),
            KeyCode::Home => self.first = 0,
            KeyCode::End => self.first = last,
            KeyCode::Char('/') => (self.is_typing, self.search) = (true, String::new()),
            KeyCode::Char('n') => self.find(&rows, self.first + 1, true),
            KeyCode::Char('N') => self.find(&rows, self.first, false),
            KeyCode::Tab | KeyCode::Char(']') => {
                let sections = sections(&rows);
                let next = sections.iter().find(|row| **row > self.first);
                self.first = *next.or(sections.first()).unwrap_or(&0);
            }
            KeyCode::BackTab | KeyCode::Char('[') => {
                let sections = sections(&rows);
                let before = sections.iter().rfind(|row| **row < self.first);
                self.first = *before.or(sections.last()).unwrap_or(&0);
            }
            KeyCode::Char('r') if self.pid.is_some() && !self.is_loading => {
                self.is_loading = true;
                return Request::Read;
            }
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q') => return Request::Back,
            _ => {}
        }
        Request::Nothing
    }

    /// Goes to the next row with the text, from this one on, or to the one before it.
    fn find(&mut self, rows: &[String], from: usize, is_forward: bool) {
        if self.search.is_empty() {
            return;
        }
        let found: Vec<usize> = rows
            .iter()
            .enumerate()
            .filter_map(|(number, row)| self.is_found(row).then_some(number))
            .collect();
        let next = if is_forward {
            found.iter().find(|row| **row >= from).or(found.first())
        } else {
            found.iter().rfind(|row| **row < from).or(found.last())
        };
        match next {
            Some(row) => self.first = *row,
            None if !self.is_typing => self.message = "not found".to_owned(),
            None => {}
        }
    }
}

/// The rows with the names of sections, which follow an empty line.
fn sections(rows: &[String]) -> Vec<usize> {
    let pairs = rows.iter().zip(rows.iter().skip(1)).enumerate();
    let is_section = |before: &str, row: &str| {
        before.is_empty() && row.starts_with(|first: char| !first.is_whitespace())
    };
    pairs.filter_map(|(at, (before, row))| is_section(before, row).then_some(at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_find_sections_and_texts() {
        let mut page =
            Page::new("process 7\n\nsummary\n  exe  /bin/x\n\nmemory\n  rss  1K\n  Xss  2");
        let mut press = |keys: &str| {
            for key in keys.chars() {
                let code = match key {
                    '\t' => KeyCode::Tab,
                    '\n' => KeyCode::Enter,
                    other => KeyCode::Char(other),
                };
                assert_eq!(page.key(code, 80, 24), Request::Nothing);
            }
            page.first
        };
        assert_eq!(press("\t"), 2);
        assert_eq!(press("\t"), 5);
        assert_eq!(press("\t"), 2);
        assert_eq!(press("["), 5);
        // Incrementally, in any case.
        assert_eq!(press("/x"), 7);
        assert_eq!(press("\nn"), 3);
        assert_eq!(press("N"), 7);
        assert_eq!(press("/zz\n"), 7);
        press("n");
        assert_eq!(page.footer(), "not found");
        assert_eq!(page.key(KeyCode::Esc, 80, 24), Request::Back);
        page.pid = Some(7);
        assert_eq!(page.key(KeyCode::Char('r'), 80, 24), Request::Read);
        assert!(page.footer().starts_with("reading …"));
    }
}
