//! Where in a file something stands: byte ranges to line, column and caret.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A place in a configuration file, with the line to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePlace {
    path: PathBuf,
    /// Both counted from 1, as editors do; the column in characters.
    line: usize,
    column: usize,
    text: String,
    /// Characters to underline, at least 1.
    width: usize,
}

impl FilePlace {
    /// The place of `span`, a byte range in `source`, the content of `path`.
    #[must_use]
    pub(super) fn new(path: &Path, source: &str, span: &Range<usize>) -> Self {
        let start = floor_char(source, span.start);
        let end = floor_char(source, span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        Self {
            path: path.to_owned(),
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: source[line_start..line_end].trim_end().to_owned(),
            width: source[start..end.min(line_end)].chars().count().max(1),
        }
    }

    /// The line and a caret under the place, indented like a compiler does.
    pub(super) fn write_caret(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.text)?;
        // Tabs are kept, so that the caret stands below its place on any screen.
        let indent: String = self
            .text
            .chars()
            .take(self.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let missing = (self.column - 1).saturating_sub(self.text.chars().count());
        write!(f, "{gutter} | {indent}{}{}", " ".repeat(missing), "^".repeat(self.width))
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// The last character boundary at or before `at`.
fn floor_char(source: &str, at: usize) -> usize {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}
