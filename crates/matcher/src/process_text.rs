//! The texts of a process that rules are matched against.

use std::fmt;

/// The text of a process that a rule is matched against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Field {
    /// The command line, of a rule without `@`.
    #[default]
    CommandLine,
    /// `@comm`: the name that the kernel has for the program, at most 15 bytes.
    Comm,
    /// `@user`: the name of the effective user, or the number of one without a name.
    User,
    /// `@cgroup`: the path of the control group.
    Cgroup,
    /// `@unit`: the systemd unit.
    Unit,
    /// `@container`: the id or name of the container.
    Container,
}

impl Field {
    /// All fields.
    pub const ALL: [Field; 6] = [
        Field::CommandLine,
        Field::Comm,
        Field::User,
        Field::Cgroup,
        Field::Unit,
        Field::Container,
    ];

    /// The word that selects it in a config file, without `@`; empty for the command line.
    pub fn word(self) -> &'static str {
        match self {
            Field::CommandLine => "",
            Field::Comm => "comm",
            Field::User => "user",
            Field::Cgroup => "cgroup",
            Field::Unit => "unit",
            Field::Container => "container",
        }
    }

    /// The field with this word.
    pub(crate) fn from_word(word: &[u8]) -> Option<Field> {
        Field::ALL.into_iter().skip(1).find(|field| field.word().as_bytes() == word)
    }

    /// The field that an unknown word probably means.
    pub(crate) fn nearest(word: &[u8]) -> Option<Field> {
        // Words of other tools.
        let meant = match &word.to_ascii_lowercase()[..] {
            b"service" | b"systemd" => Some(Field::Unit),
            b"docker" | b"pod" | b"lxc" => Some(Field::Container),
            b"uid" | b"username" | b"euid" => Some(Field::User),
            b"command" | b"name" => Some(Field::Comm),
            _ => None,
        };
        let of_words = Field::ALL.into_iter().skip(1);
        let by_distance =
            of_words.map(|field| (edit_distance(field.word().as_bytes(), word), field));
        let (distance, nearest) = by_distance.min_by_key(|(distance, _)| *distance)?;
        meant.or((distance <= MAX_EDITS).then_some(nearest))
    }

    /// The words of all fields, for a message.
    pub(crate) fn list() -> String {
        let words: Vec<String> =
            Field::ALL.into_iter().skip(1).map(|field| format!("`@{}`", field.word())).collect();
        words.join(", ")
    }
}

/// Of a word that is taken for another one.
const MAX_EDITS: usize = 2;

/// Number of letters to insert, remove or replace to turn one word into another, regardless of
/// case. A word that is much longer is as far away as it has letters.
fn edit_distance(word: &[u8], other: &[u8]) -> usize {
    if other.len() > 2 * word.len() {
        return other.len();
    }
    // The distances of the first letters of `word` to those of `other` so far.
    let mut distances: Vec<usize> = (0..=word.len()).collect();
    for letter in other {
        let mut diagonal = 0;
        for (at, distance) in distances.iter_mut().enumerate() {
            let above = *distance;
            *distance = match at.checked_sub(1).and_then(|at| word.get(at)) {
                None => above + 1,
                Some(same) if same.eq_ignore_ascii_case(letter) => diagonal,
                Some(_) => 1 + diagonal.min(above),
            };
            diagonal = above;
        }
        for at in 1..distances.len() {
            let before = distances.get(at - 1).copied().unwrap_or_default();
            if let Some(distance) = distances.get_mut(at) {
                *distance = (*distance).min(before + 1);
            }
        }
    }
    distances.last().copied().unwrap_or_default()
}

/// As in a config file: `@comm`; empty for the command line.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::CommandLine => Ok(()),
            field => write!(f, "@{}", field.word()),
        }
    }
}

/// The texts of a process. A rule of a text that is `None` does not match.
///
/// A command line alone converts to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessText<'a> {
    /// The arguments joined by one space, without a trailing space.
    pub command_line: Option<&'a [u8]>,
    /// `/proc/PID/comm` without its newline.
    pub comm: Option<&'a [u8]>,
    /// The name of its effective user, or the number of one without a name.
    pub user: Option<&'a [u8]>,
    /// The path of its control group.
    pub cgroup: Option<&'a [u8]>,
    /// The systemd unit in that path.
    pub unit: Option<&'a [u8]>,
    /// The container in that path.
    pub container: Option<&'a [u8]>,
}

impl<'a> ProcessText<'a> {
    /// The text of a field.
    pub fn get(&self, field: Field) -> Option<&'a [u8]> {
        match field {
            Field::CommandLine => self.command_line,
            Field::Comm => self.comm,
            Field::User => self.user,
            Field::Cgroup => self.cgroup,
            Field::Unit => self.unit,
            Field::Container => self.container,
        }
    }
}

impl<'a> From<&'a [u8]> for ProcessText<'a> {
    fn from(command_line: &'a [u8]) -> Self {
        Self { command_line: Some(command_line), ..Self::default() }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for ProcessText<'a> {
    fn from(command_line: &'a [u8; N]) -> Self {
        Self::from(&command_line[..])
    }
}

impl<'a> From<&'a Vec<u8>> for ProcessText<'a> {
    fn from(command_line: &'a Vec<u8>) -> Self {
        Self::from(&command_line[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_field() {
        for (word, field) in [
            ("COMM", Some(Field::Comm)),
            ("com", Some(Field::Comm)),
            ("command", Some(Field::Comm)),
            ("usr", Some(Field::User)),
            ("users", Some(Field::User)),
            ("cgrp", Some(Field::Cgroup)),
            ("group", Some(Field::Cgroup)),
            ("units", Some(Field::Unit)),
            ("service", Some(Field::Unit)),
            ("contianer", Some(Field::Container)),
            ("containers", Some(Field::Container)),
            ("exe", None),
            ("", None),
            ("environment", None),
        ] {
            assert_eq!(Field::nearest(word.as_bytes()), field, "{word}");
        }
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
        assert_eq!(edit_distance(b"unit", b""), 4);
    }
}
