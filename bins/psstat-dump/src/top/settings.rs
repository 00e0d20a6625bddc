//! The settings that the user keeps in a file: `psstat/top.toml` in `$XDG_CONFIG_HOME`, or in
//! `~/.config`.

use std::fs;
use std::io::{self, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::history::Metric;
use super::layout::{self, IMAGE_COLUMNS, PROCESS_COLUMNS};
use crate::spelling;
use crate::table::columns::{self, Level};

/// More of the file is not read.
const MAX_LEN: u64 = 64 << 10;

/// The lines of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Images, which can be expanded.
    #[default]
    Images,
    /// All processes.
    Processes,
    /// All processes below their parents.
    Tree,
}

impl View {
    pub(super) const ALL: [View; 3] = [View::Images, View::Processes, View::Tree];

    pub(super) fn name(self) -> &'static str {
        match self {
            View::Images => "images",
            View::Processes => "processes",
            View::Tree => "tree",
        }
    }

    /// The rows that have its columns.
    pub(super) fn level(self) -> Level {
        match self {
            View::Images => Level::Image,
            View::Processes | View::Tree => Level::Process,
        }
    }
}

/// The choices of the user.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The lines of the list.
    pub view: View,
    /// The columns of images, the most important first.
    pub image_columns: Vec<&'static str>,
    /// The columns of processes, the most important first.
    pub process_columns: Vec<&'static str>,
    /// The key of the sort column.
    pub sort: &'static str,
    /// Whether the sort order is reversed.
    pub reverse: bool,
    /// The length of a window; `None`: the default.
    pub interval: Option<Duration>,
    /// The metric of the histories.
    pub history: Metric,
    /// Whether there are plots.
    pub plots: bool,
    /// Whether the mouse is used.
    pub mouse: bool,
    /// Whether signals can be sent.
    pub signals: bool,
    /// Whether kernel threads are shown.
    pub kernel_threads: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            view: View::default(),
            image_columns: IMAGE_COLUMNS.to_vec(),
            process_columns: PROCESS_COLUMNS.to_vec(),
            sort: "pcpu",
            reverse: false,
            interval: None,
            history: Metric::default(),
            plots: true,
            mouse: true,
            signals: true,
            kernel_threads: false,
        }
    }
}

/// The names of all settings.
const NAMES: [&str; 11] = [
    "view",
    "images",
    "processes",
    "sort",
    "reverse",
    "interval",
    "history",
    "plots",
    "mouse",
    "signals",
    "kernel_threads",
];

/// The file of the user; `None` without a home directory.
pub fn path(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(config.join("psstat").join("top.toml"))
}

impl Settings {
    /// Reads the settings from a file; a missing file has none.
    ///
    /// # Errors
    /// A message with the file, the line and the suggested fix.
    pub fn read(path: &Path) -> Result<Settings, String> {
        let shown = crate::conf::display(path);
        let fix = "correct it, or delete the file";
        let mut text = String::new();
        let file = match fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
            file => file.and_then(|file| {
                if !file.metadata()?.is_file() {
                    return Err(io::Error::other("not a file"));
                }
                file.take(MAX_LEN).read_to_string(&mut text)
            }),
        };
        file.map_err(|error| format!("{shown}: {error}; {fix}"))?;
        Settings::parse(&text).map_err(|(at, message)| {
            let line = text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
            format!("{shown}:{line}: {message}; {fix}")
        })
    }

    /// Parses the text of the file. An error has the position of its cause, and a message.
    fn parse(text: &str) -> Result<Settings, (usize, String)> {
        let start = |span: Range<usize>| span.start;
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, start);
            (at, error.message().lines().next().unwrap_or_default().to_owned())
        })?;
        let mut settings = Settings::default();
        for (name, value) in table.get_ref() {
            let at = name.span().start;
            settings
                .set(name.get_ref(), value)
                .map_err(|error| (error.at.unwrap_or(at), error.message))?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Result<(), Wrong> {
        let within = |message: String| Wrong { at: Some(value.span().start), message };
        match name {
            "view" => {
                let views = View::ALL.map(View::name);
                self.view = View::ALL
                    .into_iter()
                    .find(|view| text(value) == Some(view.name()))
                    .ok_or_else(|| within(format!("`view` is one of {}", views.join(", "))))?;
            }
            "history" => {
                let names = Metric::ALL.map(Metric::name);
                self.history = Metric::ALL
                    .into_iter()
                    .find(|metric| text(value) == Some(metric.name()))
                    .ok_or_else(|| within(format!("`history` is one of {}", names.join(", "))))?;
            }
            "images" => self.image_columns = column_list(name, value, Level::Image)?,
            "processes" => self.process_columns = column_list(name, value, Level::Process)?,
            "sort" => {
                let key = text(value).ok_or_else(|| within("`sort` is a column".to_owned()))?;
                let found = columns::find_by_name(key, Level::Image)
                    .or_else(|| columns::find_by_name(key, Level::Process));
                self.sort = found.map(|column| column.key).ok_or_else(|| within(unknown(key)))?;
            }
            "interval" => {
                let seconds = match value.get_ref() {
                    DeValue::Integer(number) => number.as_str().parse().ok(),
                    DeValue::Float(number) => number.as_str().parse().ok(),
                    _ => None,
                };
                let seconds = seconds.filter(|seconds| (0.1..=86_400.0).contains(seconds));
                let message = "`interval` is a number of seconds from 0.1 to 86400";
                let seconds = seconds.ok_or_else(|| within(message.to_owned()))?;
                self.interval = Some(Duration::from_secs_f64(seconds));
            }
            _ => {
                let flag = match name {
                    "reverse" => &mut self.reverse,
                    "plots" => &mut self.plots,
                    "mouse" => &mut self.mouse,
                    "signals" => &mut self.signals,
                    "kernel_threads" => &mut self.kernel_threads,
                    _ => {
                        let help = match spelling::nearest(name, NAMES) {
                            Some(similar) => format!("did you mean `{similar}`?"),
                            None => format!("settings: {}", NAMES.join(", ")),
                        };
                        let name = psstat_support::escape::text(name);
                        return Err(Wrong {
                            at: None,
                            message: format!("no setting `{name}`: {help}"),
                        });
                    }
                };
                let DeValue::Boolean(value) = value.get_ref() else {
                    return Err(within(format!("`{name}` is true or false")));
                };
                *flag = *value;
            }
        }
        Ok(())
    }

    /// The text of the file.
    pub(super) fn to_toml(&self) -> String {
        let list = |keys: &[&str]| {
            let quoted: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
            quoted.join(", ")
        };
        let mut text = format!(
            "# Settings of `psstat-dump top`; its key W writes this file.\n\
             view = \"{}\"\n\
             # columns, the most important first; those at the end are left out on narrow screens\n\
             images = [{}]\n\
             processes = [{}]\n\
             sort = \"{}\"\n\
             reverse = {}\n\
             history = \"{}\"\n\
             plots = {}\n\
             mouse = {}\n\
             # whether the key x can send signals\n\
             signals = {}\n\
             kernel_threads = {}\n",
            self.view.name(),
            list(&self.image_columns),
            list(&self.process_columns),
            self.sort,
            self.reverse,
            self.history.name(),
            self.plots,
            self.mouse,
            self.signals,
            self.kernel_threads,
        );
        if let Some(interval) = self.interval {
            text.push_str(&format!("# seconds\ninterval = {}\n", interval.as_secs_f64()));
        }
        text
    }

    /// Writes the file as a whole.
    ///
    /// # Errors
    /// When it or its directory cannot be written.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let temporary = path.with_extension(format!("toml.{}", std::process::id()));
        let written = fs::write(&temporary, self.to_toml());
        written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    /// The columns of this level.
    pub(super) fn columns(&self, level: Level) -> &[&'static str] {
        match level {
            Level::Image => &self.image_columns,
            Level::Process => &self.process_columns,
        }
    }

    pub(super) fn columns_mut(&mut self, level: Level) -> &mut Vec<&'static str> {
        match level {
            Level::Image => &mut self.image_columns,
            Level::Process => &mut self.process_columns,
        }
    }
}

/// A wrong setting: its position, if it is not that of its name, and a message.
struct Wrong {
    at: Option<usize>,
    message: String,
}

fn text<'v>(value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
    match value.get_ref() {
        DeValue::String(text) => Some(text),
        _ => None,
    }
}

fn unknown(key: &str) -> String {
    let similar = columns::most_similar(key, Level::Image)
        .or_else(|| columns::most_similar(key, Level::Process));
    let help = match similar {
        Some(similar) => format!("; did you mean `{similar}`?"),
        None => "; the key c lists the columns".to_owned(),
    };
    format!("no column `{}`{help}", psstat_support::escape::text(key))
}

/// A column of the live view, by any of its names.
pub(super) fn choice(name: &str, level: Level) -> Option<&'static str> {
    let key = match name {
        layout::BAR => layout::BAR,
        _ => columns::find_by_name(name, level)?.key,
    };
    Some(key)
}

fn column_list(
    name: &str,
    value: &Spanned<DeValue<'_>>,
    level: Level,
) -> Result<Vec<&'static str>, Wrong> {
    let wrong = |at: usize, message: String| Wrong { at: Some(at), message };
    let DeValue::Array(items) = value.get_ref() else {
        return Err(wrong(value.span().start, format!("`{name}` is a list of columns")));
    };
    let mut columns = Vec::new();
    for item in items {
        let at = item.span().start;
        let key = text(item).ok_or_else(|| wrong(at, "a column is a text".to_owned()))?;
        let column = choice(key, level).ok_or_else(|| wrong(at, unknown(key)))?;
        // Others are always shown.
        if layout::choices(level).any(|choice| choice == column) && !columns.contains(&column) {
            columns.push(column);
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_settings_are_read_again() {
        let mut settings = Settings::default();
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings.clone()));
        settings.view = View::Tree;
        settings.history = Metric::Io;
        settings.interval = Some(Duration::from_millis(2500));
        settings.image_columns = vec!["swap", "bar"];
        (settings.sort, settings.reverse, settings.signals) = ("age", true, false);
        assert_eq!(Settings::parse(&settings.to_toml()), Ok(settings));
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
        assert_eq!(
            Settings::parse("images = ['WRITE/S', 'mem', 'image']").unwrap().image_columns,
            ["write_bytes/s", "rss"]
        );
    }

    #[test]
    fn wrong_settings_have_a_position_and_a_message() {
        for (text, at, message) in [
            ("view = 'table'", 7, "`view` is one of images, processes, tree"),
            ("plots = true\nplot = true", 13, "no setting `plot`: did you mean `plots`?"),
            ("images = ['pcpu', 'rsss']", 18, "no column `rsss`; did you mean `rss`?"),
            ("images = 'pcpu'", 9, "`images` is a list of columns"),
            ("interval = 0", 11, "`interval` is a number of seconds from 0.1 to 86400"),
            ("mouse = 1", 8, "`mouse` is true or false"),
            ("sort = \"\\u001b\"", 7, "no column `\\x1b`; the key c lists the columns"),
        ] {
            assert_eq!(Settings::parse(text), Err((at, message.to_owned())), "{text}");
        }
        for text in ["view = ", "view", "[x", "view = 'a'\nview = 'b'", "\0", "a = '\u{1b}'"] {
            let (_, message) = Settings::parse(text).unwrap_err();
            assert!(!message.is_empty() && !message.contains('\u{1b}'), "{text}: {message}");
        }
    }

    #[test]
    fn place_of_the_file() {
        let from = |xdg: Option<&str>, home: Option<&str>| {
            path(|name| if name == "HOME" { home } else { xdg }.map(PathBuf::from))
        };
        assert_eq!(from(Some("/x"), Some("/h")), Some(PathBuf::from("/x/psstat/top.toml")));
        assert_eq!(from(Some("x"), Some("/h")), Some(PathBuf::from("/h/.config/psstat/top.toml")));
        assert_eq!(from(None, None), None);
    }
}
