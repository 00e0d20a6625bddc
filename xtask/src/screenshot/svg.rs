//! The screen of a terminal as an SVG.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// The size of a cell in user units.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
/// The baseline of letters below the top of a cell.
const BASELINE: f64 = 13.5;
/// The margin around the screen.
const MARGIN: f64 = 12.0;

const FOREGROUND: &str = "#d3d7de";
const BACKGROUND: &str = "#171b22";
/// The first sixteen colors.
const PALETTE: [&str; 16] = [
    "#171b22", "#e5646f", "#7fc37a", "#e0b060", "#6aa5e8", "#c58be0", "#5bbfc7", "#d3d7de",
    "#6b7380", "#f08a93", "#a0d99b", "#f0c987", "#93c0f2", "#d9aeee", "#86d6dd", "#ffffff",
];

/// Adjacent cells of a row that are drawn as one text or one rectangle.
#[derive(PartialEq)]
struct Run {
    column: u16,
    columns: u16,
    foreground: String,
    background: String,
    bold: bool,
    text: String,
}

/// Draws the screen; `title` is for screen readers.
pub(crate) fn draw(screen: &Screen, title: &str) -> String {
    let (rows, columns) = screen.size();
    let width = f64::from(columns.get()) * WIDTH + 2.0 * MARGIN;
    let height = f64::from(rows.get()) * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" \
         role=\"img\" font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, \
         monospace\" font-size=\"14\" fill=\"{FOREGROUND}\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{BACKGROUND}\"/>\n",
        escape(title)
    );
    for row in 0..rows.get() {
        let mut runs: Vec<Run> = Vec::new();
        for column in 0..columns.get() {
            let cell = screen.cell(row, column).filter(|cell| !cell.is_wide_continuation());
            let Some(new) = cell.map(|cell| run(cell, column)) else { continue };
            match runs.last_mut().filter(|last| last.is_continued_by(&new)) {
                Some(last) => {
                    last.columns += new.columns;
                    last.text.push_str(&new.text);
                }
                None => runs.push(new),
            }
        }
        for run in runs {
            run.draw(&mut svg, row);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn run(cell: &Cell, column: u16) -> Run {
    let (mut foreground, mut background) =
        (color(cell.fgcolor(), FOREGROUND), color(cell.bgcolor(), BACKGROUND));
    if cell.inverse() {
        std::mem::swap(&mut foreground, &mut background);
    }
    let columns = if cell.is_wide() { 2 } else { 1 };
    let text = if cell.has_contents() { cell.contents() } else { " " }.to_owned();
    Run { column, columns, foreground, background, bold: cell.bold(), text }
}

impl Run {
    /// A text ends at a space or a block, so that each word starts at its cell in any font.
    fn is_continued_by(&self, next: &Run) -> bool {
        let kind = |run: &Run| (run.text.trim().is_empty(), run.eighths().is_some());
        let is_alike = (&self.foreground, &self.background, self.bold)
            == (&next.foreground, &next.background, next.bold);
        is_alike && kind(self) == kind(next) && next.eighths().is_none()
    }

    /// The height of a block of U+2581 to U+2588 in eighths. Blocks are drawn as rectangles, since
    /// they differ between fonts more than letters do.
    fn eighths(&self) -> Option<u32> {
        let block = u32::from(self.text.chars().next()?).checked_sub(0x2580)?;
        (1..=8).contains(&block).then_some(block)
    }

    fn draw(&self, svg: &mut String, row: u16) {
        let (x, top) = (MARGIN + f64::from(self.column) * WIDTH, MARGIN + f64::from(row) * HEIGHT);
        let width = f64::from(self.columns) * WIDTH;
        let mut rectangle = |height: f64, fill: &str| {
            let y = top + HEIGHT - height;
            // Writing to a String cannot fail.
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.2}\" width=\"{width:.1}\" height=\"{height:.2}\" \
                 fill=\"{fill}\" shape-rendering=\"crispEdges\"/>"
            );
        };
        if self.background != BACKGROUND {
            rectangle(HEIGHT, &self.background);
        }
        if let Some(eighths) = self.eighths() {
            rectangle(HEIGHT * f64::from(eighths) / 8.0, &self.foreground);
        } else if !self.text.trim().is_empty() {
            let bold = if self.bold { " font-weight=\"bold\"" } else { "" };
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" \
                 lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{bold}>{}</text>",
                top + BASELINE,
                self.foreground,
                escape(&self.text)
            );
        }
    }
}

fn color(color: Color, default: &str) -> String {
    match color {
        Color::Default => default.to_owned(),
        Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
        Color::Idx(index) => match (PALETTE.get(usize::from(index)), index.checked_sub(232)) {
            (Some(color), _) => (*color).to_owned(),
            // The grays.
            (_, Some(gray)) => {
                let level = 8 + 10 * gray;
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

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The elements after the rectangle of the screen.
    fn elements(bytes: &str) -> Vec<String> {
        let mut parser = vt100::Parser::default();
        parser.process(bytes.as_bytes());
        let svg = draw(parser.screen(), "a < b");
        assert!(svg.contains("<title>a &lt; b</title>"));
        svg.lines().skip(3).filter(|line| *line != "</svg>").map(str::to_owned).collect()
    }

    fn text(column: f64, columns: f64, fill: &str, text: &str) -> String {
        let (x, width) = (12.0 + column * 8.4, columns * 8.4);
        format!(
            "<text x=\"{x:.1}\" y=\"25.5\" textLength=\"{width:.1}\" \
             lengthAdjust=\"spacingAndGlyphs\" fill=\"{fill}\">{text}</text>"
        )
    }

    #[test]
    fn words_start_at_their_cells() {
        let expected = [
            text(1.0, 2.0, FOREGROUND, "ab"),
            text(4.0, 1.0, FOREGROUND, "c").replace("\">", "\" font-weight=\"bold\">"),
            text(5.0, 6.0, FOREGROUND, "日本e\u{301}&lt;"),
        ];
        assert_eq!(elements(" ab \x1b[1mc\x1b[0m日本e\u{301}<"), expected);
        assert!(elements("").is_empty());
    }

    #[test]
    fn inverse_cells_and_blocks_are_rectangles() {
        let rectangle = |x: &str, y: &str, height: &str| {
            format!(
                "<rect x=\"{x}\" y=\"{y}\" width=\"8.4\" height=\"{height}\" fill=\"#d3d7de\" \
                 shape-rendering=\"crispEdges\"/>"
            )
        };
        let expected = [rectangle("12.0", "12.00", "18.00"), text(0.0, 1.0, BACKGROUND, "A")];
        assert_eq!(elements("\x1b[7mA"), expected);
        let expected = [rectangle("12.0", "25.50", "4.50"), rectangle("20.4", "12.00", "18.00")];
        assert_eq!(elements("▂█"), expected);
    }

    #[test]
    fn colors_are_those_of_xterm() {
        for (code, fill) in [
            ("31", "#e5646f"),
            ("38;5;16", "#000000"),
            ("38;5;110", "#87afd7"),
            ("38;5;231", "#ffffff"),
            ("38;5;232", "#080808"),
            ("38;5;255", "#eeeeee"),
            ("38;2;1;2;255", "#0102ff"),
        ] {
            assert_eq!(elements(&format!("\x1b[{code}mx")), [text(0.0, 1.0, fill, "x")]);
        }
    }
}
