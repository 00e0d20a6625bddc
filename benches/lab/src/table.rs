//! A Markdown table.

use std::time::Duration;

/// A heading and rows of cells.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The text; the first column is aligned to the left, the others to the right.
    pub(crate) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, &width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                if column == 0 {
                    text.push_str(&format!("| {cell:<width$} |"));
                } else {
                    text.push_str(&format!(" {cell:>width$} |"));
                }
            }
            text.push('\n');
            if number == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width);
                    text.push_str(&if column == 0 {
                        format!("|-{dashes}-|")
                    } else {
                        format!("-{dashes}:|")
                    });
                }
                text.push('\n');
            }
        }
        text
    }
}

/// Milliseconds with two decimals.
pub(crate) fn ms(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}

/// Mebibytes with one decimal.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["what", "ms"]);
        table.row(["floor".into(), "12.50".into()]);
        table.row(["x".into(), "3.00".into()]);
        assert_eq!(
            table.text(),
            "| what  |    ms |\n|-------|------:|\n| floor | 12.50 |\n| x     |  3.00 |\n"
        );
    }

    #[test]
    fn numbers_are_rounded() {
        assert_eq!(ms(Duration::from_micros(12_346)), "12.35");
        assert_eq!(mib(3 << 19), "1.5");
    }
}
