//! Plain tables for terminals.

use std::fmt::Write;

/// Widest column, unless it is the last.
pub(super) const COLUMN_CHARS_MAX: usize = 60;

/// Rows of text under a header.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Table {
        Table { rows: vec![header.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The table, each column as wide as its longest cell.
    pub(super) fn render(&self, chars_max: usize) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| {
            let longest = self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            if column + 1 == columns { 0 } else { longest.min(chars_max) }
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:width$}  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["name", "ms"]);
        table.row(["a-long-name".into(), "1.5".into()]);
        table.row(["b".into(), "20".into()]);
        assert_eq!(table.render(60), "name         ms\na-long-name  1.5\nb            20\n");
    }
}
