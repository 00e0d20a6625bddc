//! Warnings about rules that are valid but probably mistakes.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Severity};
use crate::process_text::Field;
use crate::python::LiteralSketch;
use crate::render::{escaped, place};
use crate::rule::Rule;
use crate::rules::Rules;

/// Maximum product of the number of an image's rules and their characters for
/// which rules are compared with each other.
const MAX_COMPARED: usize = 20_000_000;

/// The warnings that do not depend on any command line.
pub(crate) fn warnings(rules: &Rules) -> Vec<Diagnostic> {
    let mut warnings = Vec::new();
    matches_empty(rules, &mut warnings);
    case_variants(rules, &mut warnings);
    subsumed(rules, &mut warnings);
    expensive(rules, &mut warnings);
    foreign_syntax(rules, &mut warnings);
    shared_images(rules, &mut warnings);
    warnings
}

fn matches_empty(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    for rule in rules.rules().iter().filter(|r| r.matches_empty()) {
        warnings.push(rule.warning(
            "matches the empty string, and therefore every process".into(),
            "require at least one character: replace `*` by `+`, or add required text".into(),
        ));
    }
}

/// A linear rule with more operations per byte can be cut short on a long command
/// line.
const MAX_WEIGHT: u64 = 1 << 15;
/// Length of the texts on which backtracking rules are tried.
const PROBE_LEN: usize = 300;
/// More steps for such a text, and its cube, are more than nested repeats of
/// limited depth need.
const MAX_PROBE_STEPS: u64 = 1_000_000;
/// Steps to try all rules; a fifth of a second.
const MAX_PROBE_STEPS_TOTAL: u64 = 20_000_000;

/// Rules that can exceed their limits on command lines of ordinary length.
fn expensive(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut steps_left = MAX_PROBE_STEPS_TOTAL;
    for rule in rules.rules() {
        let [ascii, unicode] = rule.compiled().weights();
        if !rule.is_linear() {
            if let Some(unit) = slow_repetition(rule, &mut steps_left) {
                let unit = char::from(unit);
                warnings.push(rule.warning(
                    format!(
                        "expensive: takes more than {MAX_PROBE_STEPS} steps on a command line \
                         with {PROBE_LEN} times `{unit}`, and is then treated as not matching"
                    ),
                    "split nested repeats, or replace a look-around by two rules".into(),
                ));
            }
        } else if ascii > MAX_WEIGHT {
            warnings.push(rule.warning(
                format!(
                    "expensive: takes up to {ascii} operations per byte, and can be treated as \
                     not matching a long command line"
                ),
                "repeat less, or write `*` or `+` without an upper bound".into(),
            ));
        } else if unicode > MAX_WEIGHT {
            warnings.push(rule.warning(
                format!(
                    "expensive: takes up to {unicode} operations per byte beyond ASCII, and can \
                     be treated as not matching a long command line"
                ),
                "repeat `\\w`, `\\d` and the like less, or write `(?a)` at the start, with which \
                 they match ASCII only"
                    .into(),
            ));
        }
    }
}

/// A character whose repetition makes a backtracking rule exceed its limit.
fn slow_repetition(rule: &Rule, steps_left: &mut u64) -> Option<u8> {
    // Characters of the pattern itself, and others that classes often contain.
    let mut units: Vec<u8> = Vec::new();
    let written = rule.pattern().iter().copied().filter(u8::is_ascii_alphanumeric).take(50);
    for unit in written.chain(*b"a1 /") {
        if units.len() < 12 && !units.contains(&unit) {
            units.push(unit);
        }
    }
    units.into_iter().find(|&unit| {
        let mut text = vec![unit; PROBE_LEN];
        text.push(b'!');
        let granted = MAX_PROBE_STEPS.min(*steps_left);
        let mut steps = granted;
        let is_slow = rule.compiled().exceeds_steps(&text, &mut steps);
        *steps_left -= granted - steps;
        is_slow && granted == MAX_PROBE_STEPS
    })
}

fn case_variants(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut first_by_key: HashMap<String, usize> = HashMap::new();
    for (index, image) in rules.images().iter().enumerate() {
        let key = image.as_str().to_ascii_lowercase().replace('-', "_");
        let first = *first_by_key.entry(key).or_insert(index);
        let Some(other) = rules.images().get(first).filter(|_| first != index) else { continue };
        let rule_of = |image: usize| rules.rules().iter().find(|r| r.image() == image);
        if let (Some(rule), Some(first)) = (rule_of(index), rule_of(first)) {
            let difference = if other.as_str().eq_ignore_ascii_case(image.as_str()) {
                "case"
            } else {
                "case, `-` or `_`"
            };
            let location = match (first.path(), first.line()) {
                (Some(path), Some(line)) if !first.is_of_same_file(rule) => {
                    format!(" in {}", place(path, line))
                }
                _ => String::new(),
            };
            let message =
                format!("image name differs only in {difference} from `{other}`{location}");
            let help = format!("use `{other}` if the same image is meant");
            warnings.push(rule.warn_at_name(image.as_str(), message, help));
        }
    }
}

/// Images that several files define: their authors may not know of each other.
fn shared_images(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut first_rules: Vec<Option<&Rule>> = rules.images().iter().map(|_| None).collect();
    let mut previous: Option<&Rule> = None;
    for rule in rules.rules() {
        let Some(first) = first_rules.get_mut(rule.image()) else { continue };
        let first = *first.get_or_insert(rule);
        let is_reported =
            previous.is_some_and(|p| p.image() == rule.image() && p.is_of_same_file(rule));
        previous = Some(rule);
        let place = first.path().zip(first.line()).map(|(path, line)| place(path, line));
        let Some(place) = place.filter(|_| !is_reported && !first.is_of_same_file(rule)) else {
            continue;
        };
        let image = rules.images().get(rule.image()).map_or("", |image| image.as_str());
        let message = format!("image `{image}` is also defined in {place}");
        let help = "use another name if not all these processes belong together";
        let note = rule.warn_at_name(image, message, help.into());
        warnings.push(Diagnostic { severity: Severity::Note, ..note });
    }
}

fn subsumed(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    let mut rules_by_image: HashMap<(usize, Field), Vec<&Rule>> = HashMap::new();
    for rule in rules.rules() {
        rules_by_image.entry((rule.image(), rule.field())).or_default().push(rule);
    }
    for rules in rules_by_image.values().filter(|rules| rules.len() > 1) {
        let sketches: Vec<Option<LiteralSketch>> =
            rules.iter().map(|rule| LiteralSketch::new(rule.pattern())).collect();
        let characters: usize = sketches.iter().flatten().map(LiteralSketch::len).sum();
        let is_compared = characters.saturating_mul(rules.len()) <= MAX_COMPARED;
        let contains = |wide: usize, narrow: usize| {
            let sketch = |index: usize| sketches.get(index).and_then(Option::as_ref);
            let both = sketch(wide).zip(sketch(narrow));
            both.is_some_and(|(wide, narrow)| wide.contains(narrow))
        };
        let mut first_by_pattern: HashMap<&[u8], usize> = HashMap::new();
        for (index, rule) in rules.iter().enumerate() {
            let same = first_by_pattern.get(rule.pattern()).copied();
            let wider = || {
                (0..rules.len()).filter(|_| is_compared).find(|&wide| {
                    // If two rules match the same, only the later is reported.
                    wide != index
                        && contains(wide, index)
                        && (wide < index || !contains(index, wide))
                })
            };
            // A wider rule can make another name.
            let other = match rule.template() {
                Some(_) => same,
                None => same.or_else(wider),
            };
            let other = other.and_then(|other| rules.get(other));
            if let Some(other) = other {
                let location = match (other.path(), other.line()) {
                    (Some(path), Some(line)) if !other.is_of_same_file(rule) => {
                        format!(" in {}", place(path, line))
                    }
                    (_, line) => line.map_or(String::new(), |line| format!(" in line {line}")),
                };
                let message =
                    format!("redundant: the rule{location} matches everything this one does");
                warnings.push(rule.warning(message, "remove this line".into()));
            }
            first_by_pattern.entry(rule.pattern()).or_insert(index);
        }
    }
}

/// Rules that were written for another tool: they are valid here, but match
/// something else.
fn foreign_syntax(rules: &Rules, warnings: &mut Vec<Diagnostic>) {
    for rule in rules.rules() {
        let image = rules.images().get(rule.image()).map_or("", |image| image.as_str());
        if image == "-" {
            warnings.push(rule.warn_at_name(
                image,
                "the line starts with `- `, as an entry of a YAML list does, and `-` is the image"
                    .into(),
                "write `IMAGE REGEX` on one line".into(),
            ));
        } else if let Some((message, help)) = foreign(rule.pattern()) {
            warnings.push(rule.warning(message, help));
        } else if let Some((message, help)) = never_matches(rule.pattern()) {
            warnings.push(rule.warning(message, help));
        } else if let Some((message, help)) = unusual(rule.pattern()) {
            let note = rule.warning(message, help);
            warnings.push(Diagnostic { severity: Severity::Note, ..note });
        }
    }
}

/// The message and help for a pattern with syntax of another tool.
fn foreign(pattern: &[u8]) -> Option<(String, String)> {
    for (quote, name) in [(b'"', "quotes"), (b'\'', "quotes"), (b'`', "backquotes")] {
        let inner = enclosed(pattern, quote, quote).filter(|inner| !inner.contains(&quote));
        if let Some(inner) = inner {
            return Some((
                format!("the {name} are part of the regex, and command lines have none"),
                format!("write it without: `{}`", escaped(inner)),
            ));
        }
    }
    if let Some((prefix, inner)) = typographic(pattern) {
        return Some((
            format!("the {prefix} are part of the regex, and command lines have none"),
            format!("write it without: `{}`", escaped(inner)),
        ));
    }
    if let Some(inner) = delimited_by_slashes(pattern) {
        return Some((
            "the slashes at both ends are part of the regex".into(),
            format!("write it without: `{}`, or `[/]` if they are meant", escaped(inner)),
        ));
    }
    if let Some(rest) = pattern.strip_prefix(b"- ").filter(|rest| !rest.is_empty()) {
        return Some((
            "the regex starts with `- `, as an entry of a YAML list does".into(),
            format!("write `{}`, or `[-] …` if it is meant", escaped(unquoted(rest.trim_ascii()))),
        ));
    }
    for separator in [&b"="[..], b"=>", b"->", b":", b":="] {
        let rest = pattern.strip_prefix(separator).filter(|rest| rest.starts_with(b" "));
        if let Some(rest) = rest.map(|rest| unquoted(rest.trim_ascii())) {
            let separator = escaped(separator);
            return Some((
                format!("the `{separator}` between image and regex is part of the regex"),
                format!("separate them by white space alone: `{}`", escaped(rest)),
            ));
        }
    }
    if let Some(parts) = quoted_list(pattern) {
        return Some((
            "a list is a set of single characters".into(),
            format!("write `{}`, or one rule for each", escaped(&parts.join(&b'|'))),
        ));
    }
    if pattern.windows(3).any(|w| w == b"[[=" || w == b"[[.")
        && pattern.windows(3).any(|w| w == b"=]]" || w == b".]]")
    {
        return Some((
            "`[=…=]` and `[.….]` are sets of the characters in them".into(),
            "write the characters alone: `[a]` in place of `[[=a=]]`".into(),
        ));
    }
    if let Some(at) = doubled_backslash(pattern) {
        let part = escaped(pattern.get(at..at + 3).unwrap_or_default());
        return Some((
            format!("`{part}` is a backslash and a character: doubled backslashes are not needed"),
            "write each backslash once".into(),
        ));
    }
    if let Some(class) = posix_class(pattern) {
        return Some((
            format!("`[:{class}:]` is a set of the characters of its name and `:`"),
            format!("write {}", posix_replacement(&class)),
        ));
    }
    let comment = pattern.windows(2).position(|w| w[0].is_ascii_whitespace() && w[1] == b'#');
    if let Some(at) = comment {
        let before = pattern.get(..at).unwrap_or_default().trim_ascii_end();
        // `[ #]`, and flags with which it is a comment.
        let in_class =
            before.iter().rposition(|b| *b == b'[') > before.iter().rposition(|b| *b == b']');
        // `x #1` can be text of a command line.
        let is_set_off =
            pattern.get(..=at).is_some_and(|b| b.ends_with(b"  ") || b.ends_with(b"\t"));
        let is_comment = is_set_off || pattern.get(at + 2).is_none_or(u8::is_ascii_whitespace);
        if is_comment && !in_class && !pattern.starts_with(b"(?") && !before.is_empty() {
            return Some((
                "a `#` after a regex is part of it, not a comment".into(),
                format!(
                    "write the comment on a line of its own, and here `{}`; or `[#]` if it is meant",
                    escaped(before)
                ),
            ));
        }
    }
    None
}

/// The text between two delimiters at its ends.
fn enclosed(text: &[u8], first: u8, last: u8) -> Option<&[u8]> {
    text.strip_prefix(&[first])?.strip_suffix(&[last]).filter(|inner| !inner.is_empty())
}

/// A text without the quotes around it.
fn unquoted(text: &[u8]) -> &[u8] {
    let inner = enclosed(text, b'"', b'"').or_else(|| enclosed(text, b'\'', b'\''));
    inner.filter(|inner| !inner.iter().any(|b| matches!(b, b'"' | b'\''))).unwrap_or(text)
}

/// The text in typographic quotes, or in the quotes of a raw string of Python, with the name of
/// these.
fn typographic(pattern: &[u8]) -> Option<(&'static str, &[u8])> {
    for (first, last) in [("“", "”"), ("‘", "’"), ("„", "“"), ("«", "»")] {
        let rest = pattern.strip_prefix(first.as_bytes());
        if let Some(inner) = rest.and_then(|rest| rest.strip_suffix(last.as_bytes())) {
            return Some(("quotes", inner)).filter(|_| !inner.is_empty());
        }
    }
    let raw = pattern.strip_prefix(b"r")?;
    Some(("`r` and the quotes", unquoted(raw))).filter(|(_, inner)| inner.len() < raw.len())
}

/// Directories at the root of hosts: `/usr/` is the path of a program.
const ROOT_DIRECTORIES: [&str; 32] = [
    "app", "apps", "bin", "boot", "data", "dev", "etc", "export", "home", "lib", "lib32", "lib64",
    "libexec", "local", "media", "mnt", "nix", "opt", "proc", "root", "run", "sbin", "scratch",
    "share", "snap", "srv", "sys", "tmp", "usr", "var", "volume", "work",
];

/// The text of a pattern that is written as `/…/` or `/…/i`.
fn delimited_by_slashes(pattern: &[u8]) -> Option<&[u8]> {
    let rest = pattern.strip_prefix(b"/")?;
    let end = rest.iter().position(|b| *b == b'/').filter(|end| *end > 0)?;
    let (inner, flags) = (rest.get(..end)?, rest.get(end + 1..)?);
    let is_name =
        inner.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let is_path = is_name
        && (!matches!(flags, b"" | b"i")
            || ROOT_DIRECTORIES.iter().any(|name| name.as_bytes() == inner));
    let are_flags = flags.len() <= 4 && flags.iter().all(|b| b"gimsux".contains(b));
    (are_flags && !is_path).then_some(inner)
}

/// Where `\\b` or the like is in a pattern, with a backslash as in a string of JSON or C.
fn doubled_backslash(pattern: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(rest) = pattern.get(at..).filter(|rest| !rest.is_empty()) {
        if let [b'\\', b'\\', escape, after @ ..] = rest {
            // `\\windows` can be a path of Windows.
            let is_alone = at == 0 || after.first().is_none_or(|b| !b.is_ascii_alphanumeric());
            if *escape == b'.' || (b"bBdDsSwW".contains(escape) && is_alone) {
                return Some(at);
            }
        }
        at += if rest.first() == Some(&b'\\') { 2 } else { 1 };
    }
    None
}

/// The bytes of a pattern that are outside of sets, each with its position, the byte before it, and
/// whether a backslash precedes it.
fn outside_sets(pattern: &[u8]) -> Vec<(usize, u8, bool)> {
    let (mut bytes, mut at, mut set_start) = (Vec::new(), 0, None);
    while let Some(&byte) = pattern.get(at) {
        let is_escape = byte == b'\\' && at + 1 < pattern.len();
        if is_escape {
            at += 1;
        }
        match (set_start, byte) {
            // `]` is a character of a set at its start.
            (Some(start), b']') if at > start + usize::from(pattern.get(start) == Some(&b'^')) => {
                set_start = None;
            }
            (None, b'[') => set_start = Some(at + 1),
            (None, _) => bytes.push((at, pattern.get(at).copied().unwrap_or(byte), is_escape)),
            (Some(_), _) => {}
        }
        at += 1;
    }
    bytes
}

/// A pattern with text after its end or before its start: `$x`, `x^y`.
fn never_matches(pattern: &[u8]) -> Option<(String, String)> {
    // With flags the meaning can be another.
    if pattern.windows(2).any(|w| w == b"(?") {
        return None;
    }
    let bytes = outside_sets(pattern);
    let is_text = |byte: &(usize, u8, bool)| !byte.2 && byte.1.is_ascii_alphanumeric();
    bytes.iter().enumerate().find_map(|(index, &(at, byte, is_escape))| {
        let next = bytes.get(index + 1).filter(|next| next.0 == at + 1 && is_text(next));
        let before = index.checked_sub(1).and_then(|before| bytes.get(before));
        let before = before.filter(|before| before.0 + 1 == at && is_text(before));
        let is_optional = matches!(pattern.get(at + 2), Some(b'*' | b'?' | b'{'));
        match byte {
            _ if is_escape => None,
            b'$' if next.is_some() && !is_optional => Some((
                "can never match: `$` is the end of the command line, and text follows".into(),
                r"write `\$` for a literal `$`".into(),
            )),
            b'^' if before.is_some() => Some((
                "can never match: `^` is the start of the command line, and text precedes it"
                    .into(),
                r"write `\^` for a literal `^`".into(),
            )),
            _ => None,
        }
    })
}

/// A pattern that is valid, but more often a mistake: the syntax of grep and sed, a comment.
fn unusual(pattern: &[u8]) -> Option<(String, String)> {
    if let Some(escape) = basic_syntax(pattern) {
        let plain = escape.trim_start_matches('\\');
        return Some((
            format!("`{escape}` is a literal `{plain}` here, unlike in grep and sed"),
            format!("write `{plain}` without the backslash, or `[{plain}]` if it is meant"),
        ));
    }
    let at = pattern.windows(3).position(|w| w == b" ; ").filter(|at| *at > 0)?;
    let before = escaped(pattern.get(..at)?.trim_ascii_end());
    Some((
        "a `;` after a regex is part of it, not a comment".into(),
        format!(
            "write the comment on a line of its own, starting with `#`, and here `{before}`; or \
             `[;]` if it is meant"
        ),
    ))
}

/// The operator of basic regular expressions that a pattern contains.
fn basic_syntax(pattern: &[u8]) -> Option<&'static str> {
    let bytes = outside_sets(pattern);
    let escaped_at = |index: usize, byte: u8| {
        bytes.get(index).is_some_and(|&(_, at, is_escape)| is_escape && at == byte)
    };
    let mut open_brace = None;
    for (index, &(at, byte, is_escape)) in bytes.iter().enumerate() {
        match byte {
            _ if !is_escape => {}
            b'|' => return Some(r"\|"),
            b'{' => open_brace = Some(at + 1),
            b'}' => {
                let count = open_brace.take().and_then(|start| pattern.get(start..at - 1));
                if count.is_some_and(|count| {
                    count.first().is_some_and(u8::is_ascii_digit)
                        && count.iter().all(|b| b.is_ascii_digit() || *b == b',')
                }) {
                    return Some(r"\{");
                }
            }
            // `c\+\+` is text.
            b'+' => {
                let is_plus = |index: Option<usize>| index.is_some_and(|i| escaped_at(i, b'+'));
                let is_single = !is_plus(index.checked_sub(1)) && !is_plus(Some(index + 1));
                let before = at.checked_sub(2).and_then(|before| pattern.get(before));
                let is_repeat = matches!(before, Some(b'.' | b']' | b')'));
                if at > 1 && is_single && (is_repeat || at + 1 == pattern.len()) {
                    return Some(r"\+");
                }
            }
            // `x \(y\)` is text; a group is repeated, or the whole pattern.
            b')' => {
                let after = pattern.get(at + 1..).unwrap_or_default();
                let is_repeated = after.starts_with(b"*") || after.starts_with(br"\{");
                let start = pattern.strip_prefix(b"^").unwrap_or(pattern);
                let is_whole = start.starts_with(br"\(") && matches!(after, b"" | b"$");
                if is_repeated || is_whole {
                    return Some(r"\(");
                }
            }
            _ => {}
        }
    }
    None
}

/// The parts of a list in brackets, quoted or not.
fn quoted_list(pattern: &[u8]) -> Option<Vec<&[u8]>> {
    let inner = enclosed(pattern, b'[', b']')?;
    let parts: Vec<&[u8]> = inner.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
    let is_word = |part: &&[u8]| {
        part.len() > 1
            && part.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'/'))
    };
    if parts.len() > 1 && parts.iter().all(is_word) {
        return Some(parts);
    }
    let quoted = |part: &&'_ [u8]| unquoted(part).len() < part.len();
    parts.iter().all(quoted).then(|| parts.into_iter().map(unquoted).collect())
}

/// The name of a class of POSIX in a set, as in `[[:space:]]`.
fn posix_class(pattern: &[u8]) -> Option<String> {
    let start = pattern.windows(2).position(|pair| pair == b"[:")?;
    let rest = pattern.get(start + 2..)?;
    let len = rest.iter().position(|b| !b.is_ascii_lowercase())?;
    let is_class = len > 0 && rest.get(len..)?.starts_with(b":]");
    is_class.then(|| escaped(rest.get(..len).unwrap_or_default()))
}

fn posix_replacement(class: &str) -> String {
    let replacement = match class {
        "space" | "blank" => r"\s",
        "digit" => r"\d",
        "alnum" => "a-zA-Z0-9",
        "alpha" => "a-zA-Z",
        "upper" => "A-Z",
        "lower" => "a-z",
        "xdigit" => "0-9a-fA-F",
        "word" => r"\w",
        "punct" => "!-/:-@[-`{-~",
        _ => return "the characters".to_owned(),
    };
    format!("`{replacement}` in its place: `[{replacement}]`")
}
