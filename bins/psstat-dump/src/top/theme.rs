//! Styles by meaning, and the characters that a terminal can show.
//!
//! Text keeps the foreground of the terminal, which is readable on its background, light or dark.
//! Only marks and values that stand out have a color, and each meaning has a mark or an
//! attribute as well, so that it is visible without colors and for the color-blind.

use ratatui::buffer::Buffer;
use ratatui::style::{Color as CellColor, Modifier, Style};

use crate::terminal::Color;

/// The meaning of a style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A heading, or the name of a section.
    Heading,
    /// The selected line.
    Selected,
    /// A load of a quarter of a core or more, or half of a limit.
    Load,
    /// A load of four fifths of a core or more, or of a limit.
    HighLoad,
    /// A value that grows steadily.
    Growth,
    /// A process that started in the last windows.
    New,
    /// A process that exited in the last windows.
    Exited,
    /// A text that was found.
    Found,
}

/// The capabilities of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether it has colors, and the user wants them.
    pub has_color: bool,
    /// Whether it has bold, dim and reversed text.
    pub has_attributes: bool,
    /// Whether it shows characters outside of ASCII.
    pub is_unicode: bool,
}

impl Default for Theme {
    fn default() -> Theme {
        Theme { has_color: true, has_attributes: true, is_unicode: true }
    }
}

impl Theme {
    /// The theme for this environment.
    pub fn detect(
        color: Color,
        is_ascii: bool,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Theme {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
        let has_color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !is_dumb && set("NO_COLOR").is_none(),
        };
        // The first that is set counts. Without any, as in many containers, the terminal is
        // probably that of a host which has one.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let is_utf8 = locale.is_none_or(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.ends_with("utf-8") || locale.ends_with("utf8") || locale.contains("utf-8@")
        });
        Theme { has_color, has_attributes: !is_dumb, is_unicode: is_utf8 && !is_dumb && !is_ascii }
    }

    pub(super) fn style(self, meaning: Meaning) -> Style {
        let style = Style::new();
        let colored = |color| if self.has_color { Style::new().fg(color) } else { Style::new() };
        if !self.has_attributes {
            return style;
        }
        match meaning {
            Meaning::Heading | Meaning::Load => style.add_modifier(Modifier::BOLD),
            Meaning::Selected => style.add_modifier(Modifier::REVERSED),
            Meaning::HighLoad => {
                colored(CellColor::Red).add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
            }
            Meaning::Growth => colored(CellColor::Magenta).add_modifier(Modifier::BOLD),
            Meaning::New => colored(CellColor::Green).add_modifier(Modifier::BOLD),
            Meaning::Exited => style.add_modifier(Modifier::DIM),
            Meaning::Found => colored(CellColor::Magenta).add_modifier(Modifier::REVERSED),
        }
    }

    /// The meaning of a percentage of a core or of a limit.
    pub(super) fn load(percent: f64) -> Option<Meaning> {
        match percent {
            80.0.. => Some(Meaning::HighLoad),
            25.0.. => Some(Meaning::Load),
            _ => None,
        }
    }

    /// Replaces the characters that a terminal without UTF-8 cannot show.
    pub(super) fn adapt(self, buffer: &mut Buffer) {
        if self.is_unicode {
            return;
        }
        for cell in &mut buffer.content {
            let symbol = cell.symbol();
            if !symbol.is_ascii() {
                let ascii = symbol.chars().next().map_or(" ", ascii);
                cell.set_symbol(ascii);
            }
        }
    }
}

/// A character of ASCII for another one.
fn ascii(character: char) -> &'static str {
    match character {
        '▁' => ".",
        '▂' => ":",
        '▃' => "-",
        '▄' => "=",
        '▅' => "+",
        '▆' => "*",
        '▇' => "%",
        '█' => "#",
        '↑' => "^",
        '…' => "~",
        '─' => "-",
        '│' => "|",
        '├' | '└' => "`",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(color: Color, variables: &[(&str, &str)]) -> (bool, bool, bool) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let theme = Theme::detect(color, false, variable);
        (theme.has_color, theme.has_attributes, theme.is_unicode)
    }

    #[test]
    fn environment_decides() {
        let auto = |variables| detected(Color::Auto, variables);
        assert_eq!(auto(&[]), (true, true, true));
        assert_eq!(auto(&[("NO_COLOR", "1")]), (false, true, true));
        assert_eq!(auto(&[("NO_COLOR", "")]), (true, true, true));
        assert_eq!(auto(&[("TERM", "dumb")]), (false, false, false));
        assert_eq!(auto(&[("LANG", "C")]), (true, true, false));
        assert_eq!(auto(&[("LANG", "de_DE.ISO-8859-1")]), (true, true, false));
        assert_eq!(auto(&[("LANG", "C"), ("LC_ALL", "C.UTF-8")]), (true, true, true));
        assert_eq!(auto(&[("LC_ALL", "POSIX"), ("LANG", "C.utf8")]), (true, true, false));
        assert_eq!(auto(&[("LC_CTYPE", "de_DE.UTF-8@euro")]), (true, true, true));
        assert_eq!(detected(Color::Always, &[("NO_COLOR", "1")]), (true, true, true));
        assert_eq!(detected(Color::Never, &[]), (false, true, true));
    }

    /// Each meaning differs from plain text without colors.
    #[test]
    fn meanings_are_visible_without_color() {
        let theme = Theme { has_color: false, ..Theme::default() };
        for meaning in [Meaning::Load, Meaning::HighLoad, Meaning::Growth, Meaning::New] {
            let style = theme.style(meaning);
            assert!(style.fg.is_none() && !style.add_modifier.is_empty(), "{meaning:?}");
        }
        assert_ne!(theme.style(Meaning::Load), theme.style(Meaning::HighLoad));
    }
}
