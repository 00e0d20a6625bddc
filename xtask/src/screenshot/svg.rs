//! A terminal's screen as an SVG.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// A cell in user units.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
/// Where letters stand in a cell, from its top.
const BASE: f64 = 13.5;
/// Around the screen.
const MARGIN: f64 = 12.0;

const FOREGROUND: &str = "#d3d7de";
const BACKGROUND: &str = "#171b22";
/// The sixteen colours that have names.
const NAMED: [&str; 16] = [
    "#171b22", "#e5646f", "#7fc37a", "#e0b060", "#6aa5e8", "#c58be0", "#5bbfc7", "#d3d7de",
    "#6b7380", "#f08a93", "#a0d99b", "#f0c987", "#93c0f2", "#d9aeee", "#86d6dd", "#ffffff",
];

/// How a cell looks.
#[derive(Clone, PartialEq)]
struct Look {
    foreground: String,
    background: String,
    bold: bool,
}

impl Look {
    fn of(cell: &Cell) -> Look {
        let mut foreground = colour(cell.fgcolor(), FOREGROUND);
        let mut background = colour(cell.bgcolor(), BACKGROUND);
        if cell.inverse() {
            std::mem::swap(&mut foreground, &mut background);
        }
        Look { foreground, background, bold: cell.bold() }
    }
}

/// A word: cells of one look without a space between them.
struct Word {
    column: u16,
    columns: u16,
    look: Look,
    text: String,
}

/// Draws the screen; `title` is what a reader that sees no pictures is told.
pub(crate) fn draw(screen: &Screen, title: &str) -> String {
    let (rows, columns) = screen.size();
    let width = f64::from(columns.get()) * WIDTH + 2.0 * MARGIN;
    let height = f64::from(rows.get()) * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" \
         role=\"img\" font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, \
         monospace\" font-size=\"14\" fill=\"{FOREGROUND}\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n",
        escaped(title)
    );
    for row in 0..rows.get() {
        backgrounds(&mut svg, screen, row);
        words(&mut svg, screen, row);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The cells of a row that show something: where, and how wide.
fn cells(screen: &Screen, row: u16) -> impl Iterator<Item = (u16, u16, &Cell)> {
    (0..screen.size().1.get()).filter_map(move |column| {
        let cell = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation())?;
        Some((column, if cell.is_wide() { 2 } else { 1 }, cell))
    })
}

/// One rectangle for neighbours of one colour that is not the screen's.
fn backgrounds(svg: &mut String, screen: &Screen, row: u16) {
    let mut runs: Vec<(u16, u16, String)> = Vec::new();
    for (column, columns, cell) in cells(screen, row) {
        let colour = Look::of(cell).background;
        match runs.last_mut() {
            Some((_, width, same)) if *same == colour => *width += columns,
            _ => runs.push((column, columns, colour)),
        }
    }
    for (column, columns, colour) in runs {
        if colour != BACKGROUND {
            rectangle(svg, (row, column), (columns, HEIGHT), &colour);
        }
    }
}

fn words(svg: &mut String, screen: &Screen, row: u16) {
    let mut word: Option<Word> = None;
    for (column, columns, cell) in cells(screen, row) {
        let (look, text) = (Look::of(cell), cell.contents());
        let eighths = eighths(text);
        let is_blank = text.trim().is_empty();
        if let Some(before) =
            word.take_if(|word| is_blank || eighths.is_some() || word.look != look)
        {
            write_word(svg, row, &before);
        }
        if let Some(eighths) = eighths {
            let height = HEIGHT * f64::from(eighths) / 8.0;
            rectangle(svg, (row, column), (columns, height), &look.foreground);
        } else if !is_blank {
            let word = word.get_or_insert(Word { column, columns: 0, look, text: String::new() });
            word.columns += columns;
            word.text.push_str(text);
        }
    }
    if let Some(word) = word {
        write_word(svg, row, &word);
    }
}

/// How high a block of U+2581 to U+2588 is. They are drawn as rectangles:
/// fonts differ in them more than in letters.
fn eighths(text: &str) -> Option<u32> {
    let mut characters = text.chars();
    let block = u32::from(characters.next()?).checked_sub(0x2580)?;
    ((1..=8).contains(&block) && characters.next().is_none()).then_some(block)
}

/// A rectangle that stands on the lower edge of its cells.
fn rectangle(svg: &mut String, at: (u16, u16), (columns, height): (u16, f64), colour: &str) {
    let (x, top) = place(at);
    let (y, width) = (top + HEIGHT - height, f64::from(columns) * WIDTH);
    // Writing to a String cannot fail.
    let _ = writeln!(
        svg,
        "<rect x=\"{x:.1}\" y=\"{y:.2}\" width=\"{width:.1}\" height=\"{height:.2}\" fill=\"{colour}\"/>"
    );
}

/// A word exactly as wide as its cells, whatever the font.
fn write_word(svg: &mut String, row: u16, word: &Word) {
    let (x, top) = place((row, word.column));
    let (y, width) = (top + BASE, f64::from(word.columns) * WIDTH);
    let mut looks = String::new();
    if word.look.bold {
        looks.push_str(" font-weight=\"bold\"");
    }
    if word.look.foreground != FOREGROUND {
        // Writing to a String cannot fail.
        let _ = write!(looks, " fill=\"{}\"", word.look.foreground);
    }
    let text = escaped(&word.text);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{width:.1}\" \
         lengthAdjust=\"spacingAndGlyphs\"{looks}>{text}</text>"
    );
}

/// The upper left corner of a cell.
fn place((row, column): (u16, u16)) -> (f64, f64) {
    (MARGIN + f64::from(column) * WIDTH, MARGIN + f64::from(row) * HEIGHT)
}

fn colour(colour: Color, default: &str) -> String {
    match colour {
        Color::Default => default.to_owned(),
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        Color::Idx(index) => match (NAMED.get(usize::from(index)), index.checked_sub(232)) {
            (Some(named), _) => (*named).to_owned(),
            // The greys.
            (_, Some(grey)) => {
                let level = 8 + 10 * grey;
                format!("#{level:02x}{level:02x}{level:02x}")
            }
            // The cube of six by six by six.
            _ => {
                let cube = index - 16;
                let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
                let (red, green, blue) = (level(cube / 36), level(cube / 6 % 6), level(cube % 6));
                format!("#{red:02x}{green:02x}{blue:02x}")
            }
        },
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screenshot::terminal::parser;

    /// What is drawn between the screen's own rectangle and the end.
    fn drawn(bytes: &str) -> Vec<String> {
        let mut parser = parser(2, 12).unwrap();
        parser.process(bytes.as_bytes());
        let svg = draw(parser.screen(), "a < b");
        let mut lines: Vec<String> = svg.lines().map(str::to_owned).collect();
        assert_eq!(lines[1], "<title>a &lt; b</title>");
        assert_eq!(lines.pop().as_deref(), Some("</svg>"));
        lines.split_off(3)
    }

    fn text(x: f64, row: f64, columns: f64, looks: &str, text: &str) -> String {
        let (x, y, width) = (12.0 + x * 8.4, 25.5 + row * 18.0, columns * 8.4);
        format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{width:.1}\" \
             lengthAdjust=\"spacingAndGlyphs\"{looks}>{text}</text>"
        )
    }

    #[test]
    fn words_stand_in_their_cells() {
        let want = [
            text(1.0, 0.0, 2.0, "", "ab"),
            text(5.0, 0.0, 1.0, " font-weight=\"bold\"", "c"),
            text(0.0, 1.0, 6.0, "", "日本e\u{301}&lt;"),
        ];
        assert_eq!(drawn(" ab  \x1b[1mc\x1b[0m\r\n日本e\u{301}<"), want);
        assert!(drawn("").is_empty());
    }

    #[test]
    fn what_is_reversed_has_its_colours_changed() {
        let lines = drawn("\x1b[7mA b\x1b[0mc");
        let fill = format!(" fill=\"{BACKGROUND}\"");
        assert_eq!(
            lines,
            [
                "<rect x=\"12.0\" y=\"12.00\" width=\"25.2\" height=\"18.00\" fill=\"#d3d7de\"/>",
                &text(0.0, 0.0, 1.0, &fill, "A"),
                &text(2.0, 0.0, 1.0, &fill, "b"),
                &text(3.0, 0.0, 1.0, "", "c"),
            ]
        );
    }

    #[test]
    fn colours_are_those_of_a_terminal_with_256() {
        for (code, want) in [
            ("31", "#e5646f"),
            ("38;5;16", "#000000"),
            ("38;5;110", "#87afd7"),
            ("38;5;231", "#ffffff"),
            ("38;5;232", "#080808"),
            ("38;5;255", "#eeeeee"),
            ("38;2;1;2;255", "#0102ff"),
        ] {
            let fill = format!(" fill=\"{want}\"");
            assert_eq!(drawn(&format!("\x1b[{code}mx")), [text(0.0, 0.0, 1.0, &fill, "x")]);
        }
    }

    #[test]
    fn blocks_are_rectangles() {
        assert_eq!(
            drawn("▂█"),
            [
                "<rect x=\"12.0\" y=\"25.50\" width=\"8.4\" height=\"4.50\" fill=\"#d3d7de\"/>",
                "<rect x=\"20.4\" y=\"12.00\" width=\"8.4\" height=\"18.00\" fill=\"#d3d7de\"/>",
            ]
        );
    }
}
