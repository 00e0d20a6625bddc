//! Wraps long lines.

use psstat_support::escape;

/// The lines as rows of the given width.
pub(super) fn rows(lines: &[String], columns: usize) -> Vec<String> {
    lines.iter().flat_map(|line| wrapped(&escape::text(line), columns.max(1))).collect()
}

/// A line as rows. Characters that are wider than a row are omitted.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let (mut rows, mut row, mut used) = (Vec::new(), String::new(), 0);
    for character in line.chars() {
        let wide = escape::width(character.encode_utf8(&mut [0; 4]));
        if wide > columns {
            continue;
        }
        if used + wide > columns {
            rows.push(std::mem::take(&mut row));
            used = 0;
        }
        row.push(character);
        used += wide;
    }
    rows.push(row);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_preserves_text() {
        let rows = |line: &str, columns| rows(&[line.to_owned()], columns);
        assert_eq!(rows("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(rows("abcd", 4), ["abcd"]);
        assert_eq!(rows("", 4), [""]);
        assert_eq!(rows("a日本語", 4), ["a日", "本語"]);
        assert_eq!(rows("e\u{301}e\u{301}x", 2), ["e\u{301}e\u{301}", "x"]);
        assert_eq!(rows("\x1b!", 3), ["\\x1", "b!"]);
        // A character that is wider than a row.
        assert_eq!(rows("a日b", 1), ["a", "b"]);
    }
}
