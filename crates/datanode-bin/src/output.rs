//! Results on stdout: a table for people, JSON for programs. Everything else
//! (errors, explanations, progress) goes to stderr, elsewhere.

use std::io::{self, Write};
use std::time::SystemTime;

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// One JSON document.
    Json,
}

/// The argument that every command with results takes.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Output {
    /// How to print the result.
    #[arg(
        short = 'o',
        long = "output",
        global = true,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub format: Format,
}

impl Output {
    /// Prints `value` as JSON, or the rows that `table` makes of it.
    ///
    /// # Errors
    /// What stdout says, such as a closed pipe.
    pub fn print<T: Serialize>(self, value: &T, rows: impl FnOnce(&T) -> Rows) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => {
                serde_json::to_writer_pretty(&mut out, value)?;
                writeln!(out)?;
            }
            Format::Table => rows(value).write(&mut out)?,
        }
        out.flush()
    }

    /// Prints `value` as one line of JSON, or as the text that `line` makes.
    ///
    /// # Errors
    /// What stdout says, such as a closed pipe.
    pub fn print_line<T: Serialize>(
        self,
        value: &T,
        line: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => {
                serde_json::to_writer(&mut out, value)?;
                writeln!(out)?;
            }
            Format::Table => writeln!(out, "{}", line(value))?,
        }
        out.flush()
    }
}

/// A table: columns that begin with `>` are aligned to the right.
#[derive(Debug)]
pub struct Rows {
    table: Table,
}

impl Rows {
    /// An empty table with these column heads.
    #[must_use]
    pub fn new(heads: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(heads.iter().map(|head| head.trim_start_matches('>')));
        for (index, head) in heads.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                let right = head.starts_with('>');
                let side = if right { CellAlignment::Right } else { CellAlignment::Left };
                column.set_cell_alignment(side);
                column.set_padding((0, 2));
            }
        }
        Self { table }
    }

    /// Adds a row; an empty cell shows as `-`.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |text: String| Cell::new(if text.is_empty() { "-".to_owned() } else { text });
        self.table.add_row(cells.into_iter().map(cell));
    }

    /// Writes the table.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for line in self.table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Bytes as people read them: `517.3 MiB`.
#[must_use]
pub fn bytes(len: u64) -> String {
    bytesize::ByteSize(len).display().iec().to_string()
}

/// A time as RFC 3339, to the millisecond.
#[must_use]
pub fn time(time: SystemTime) -> String {
    let timestamp = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// Milliseconds as people read them: `12 ms`, `1.84 s`.
#[must_use]
pub fn millis(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms:.0} ms") } else { format!("{:.2} s", ms / 1000.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_columns_up() {
        let mut rows = Rows::new(&["NODE", ">LEADERS", "STAGE"]);
        rows.push(["1".into(), "22".into(), "serving".into()]);
        rows.push(["2".into(), String::new(), "load".into()]);
        let mut out = Vec::new();
        rows.write(&mut out).unwrap();
        let expected = "NODE  LEADERS  STAGE\n1          22  serving\n2           -  load\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn writes_figures_for_people() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        assert_eq!((millis(12.4), millis(1840.0)), ("12 ms".into(), "1.84 s".into()));
        assert_eq!(time(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
