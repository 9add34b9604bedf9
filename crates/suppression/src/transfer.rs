//! Import and export of the list as CSV (RFC 4180) and as JSON lines. Every line that cannot be read is reported.

mod csv;

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_mail::{Address, Class, MessageId};
use serde::Deserialize;

use super::{Breadth, EntrySource, Reason, SuppressionEntry};

/// A file format of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with column names in the first line. A file without names is a list of addresses.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// Values for fields that a line does not give.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The scope.
    pub scope: Breadth,
    /// The scopes that lines may give; None: any.
    pub within: Option<Vec<Breadth>>,
    /// Why.
    pub reason: Reason,
    /// The time at which entries are made.
    pub now: Timestamp,
    /// Who imports.
    pub by: String,
}

/// What a part of a file holds.
#[derive(Debug, Default, PartialEq)]
pub struct Import {
    /// The entries of its good lines.
    pub entries: Vec<SuppressionEntry>,
    /// The lines that cannot be read.
    pub bad: Vec<BadLine>,
    /// Columns that were ignored because their names are unknown.
    pub ignored: Vec<String>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadLine {
    /// From 1.
    pub line: usize,
    /// Why.
    pub why: String,
}

/// Column names, in the order of an export.
const COLUMNS: [&str; 10] = ["address", "scope", "reason", "since", "until", "class", "message", "rule", "text", "by"];
/// Names of the address column, including those of other programs.
const ADDRESS_NAMES: [&str; 7] = ["address", "email", "email_address", "emailaddress", "recipient", "rcpt", "e-mail"];

/// The longest line, or record of several lines, in bytes. What an entry keeps is far shorter.
const RECORD_MAX: usize = 64 << 10;
/// The longest text about a bad line, in characters: it may quote what the line says.
const WHY_MAX: usize = 200;

/// Reads a list piece by piece: its memory depends on the length of a piece and on the longest record, not on the length of the list. Where the list
/// is cut into pieces makes no difference.
#[derive(Debug)]
pub struct Importer {
    format: Format,
    defaults: Defaults,
    /// The begin of a record whose end has not come.
    rest: Vec<u8>,
    /// The number of the line that `rest` begins with, from 1.
    line: usize,
    /// Whether the rest of the line is passed over, because the line is too long.
    too_long: bool,
    /// The names of the columns, if the first record has them.
    names: Option<Vec<String>>,
    /// Whether the first record has been read.
    begun: bool,
}

impl Importer {
    /// Nothing has been read yet.
    pub fn new(format: Format, defaults: Defaults) -> Self {
        Self { format, defaults, rest: Vec::new(), line: 1, too_long: false, names: None, begun: false }
    }

    /// Reads the next piece: what the rows hold that are complete now.
    pub fn push(&mut self, piece: &[u8]) -> Import {
        self.rest.extend_from_slice(piece);
        self.read(false)
    }

    /// Reads what is left: nothing follows.
    pub fn finish(mut self) -> Import {
        self.read(true)
    }

    fn read(&mut self, last: bool) -> Import {
        let mut import = Import::default();
        if self.line == 1 && !self.begun && self.rest.starts_with(BYTE_ORDER_MARK) {
            self.rest.drain(..BYTE_ORDER_MARK.len());
        }
        let text = std::mem::take(&mut self.rest);
        let mut at = 0;
        while at < text.len()
            && let Some(used) = self.row(&text[at..], last, &mut import)
        {
            self.line += memchr::memchr_iter(b'\n', &text[at..at + used]).count();
            at += used;
        }
        self.rest = text[at..].to_vec();
        import
    }

    /// Reads a row, and returns how many bytes it has; None: its end has not come.
    fn row(&mut self, text: &[u8], last: bool, import: &mut Import) -> Option<usize> {
        let line_end = memchr::memchr(b'\n', text).map(|at| at + 1);
        if self.too_long {
            self.too_long = line_end.is_none();
            return Some(line_end.unwrap_or(text.len()));
        }
        let end = match line_end {
            Some(end) if end <= RECORD_MAX => end,
            None if text.len() < RECORD_MAX && last => text.len(),
            None if text.len() < RECORD_MAX => return None,
            _ => {
                import.take(self.line, Err(format!("longer than {RECORD_MAX} bytes")));
                self.too_long = line_end.is_none();
                return Some(line_end.unwrap_or(text.len()));
            }
        };
        if text[..end].trim_ascii().is_empty() {
            return Some(end);
        }
        if self.format == Format::Jsonl {
            let read = serde_json::from_slice::<Row>(&text[..end]).map_err(|e| e.to_string());
            import.take(self.line, read.and_then(|row| row.entry(&self.defaults)));
            return Some(end);
        }
        // A stray quote must not swallow the lines after it.
        let window = &text[..text.len().min(RECORD_MAX)];
        let (cells, used) = match csv::first(window, last && window.len() == text.len()) {
            csv::Record::Whole(cells, used) => (Ok(cells), used),
            csv::Record::Partial if text.len() < RECORD_MAX => return None,
            csv::Record::Partial => (Err(csv::UNCLOSED.to_owned()), end),
            csv::Record::Bad(why) => (Err(why.to_owned()), end),
        };
        self.record(cells, import);
        Some(used)
    }

    fn record(&mut self, cells: Result<Vec<String>, String>, import: &mut Import) {
        if !std::mem::replace(&mut self.begun, true)
            && let Some(names) = cells.as_ref().ok().and_then(|cells| names(cells))
        {
            let unknown = |name: &&String| !COLUMNS.contains(&name.as_str()) && !ADDRESS_NAMES.contains(&name.as_str());
            import.ignored = names.iter().filter(unknown).cloned().collect();
            self.names = Some(names);
            return;
        }
        let row = cells.and_then(|cells| row(cells, self.names.as_deref()));
        import.take(self.line, row.and_then(|row| row.entry(&self.defaults)));
    }
}

/// What some programs write at the beginning of a text (U+FEFF).
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The names of the columns, if the first record has them.
fn names(cells: &[String]) -> Option<Vec<String>> {
    let names: Vec<_> = cells.iter().map(|c| c.trim().to_ascii_lowercase().replace(' ', "_")).collect();
    names.iter().any(|n| ADDRESS_NAMES.contains(&n.as_str())).then_some(names)
}

/// The text before the first entry.
pub fn head(format: Format) -> String {
    match format {
        Format::Csv => COLUMNS.join(",") + "\r\n",
        Format::Jsonl => String::new(),
    }
}

/// One entry, with its line end.
pub fn line(entry: &SuppressionEntry, format: Format) -> String {
    match format {
        Format::Jsonl => serde_json::to_string(entry).expect("an entry has nothing that JSON can't hold") + "\n",
        Format::Csv => {
            let source = &entry.source;
            let text = |value: Option<&dyn std::fmt::Display>| value.map_or_else(String::new, ToString::to_string);
            let cells = [
                entry.address.to_string(),
                entry.scope.to_string(),
                entry.reason.to_string(),
                entry.since.to_string(),
                text(entry.until.as_ref().map(|v| v as _)),
                text(source.class.as_ref().map(|v| v as _)),
                text(source.message.as_ref().map(|v| v as _)),
                text(source.rule.as_ref().map(|v| v as _)),
                text(source.text.as_ref().map(|v| v as _)),
                text(source.by.as_ref().map(|v| v as _)),
            ];
            csv::line(&cells)
        }
    }
}

/// An entry as it is read: everything but the address may be missing.
#[derive(Default, Deserialize)]
struct Row {
    #[serde(alias = "email", alias = "email_address", alias = "recipient", alias = "rcpt")]
    address: String,
    scope: Option<String>,
    reason: Option<String>,
    since: Option<String>,
    until: Option<String>,
    class: Option<String>,
    message: Option<String>,
    rule: Option<String>,
    text: Option<String>,
    by: Option<String>,
}

impl Row {
    fn entry(self, defaults: &Defaults) -> Result<SuppressionEntry, String> {
        let address = Address::international(self.address.trim())
            .map_err(|e| format!("{:?}: {e}", self.address.chars().take(80).collect::<String>()))?;
        let scope = parsed::<Breadth>("scope", self.scope)?.unwrap_or_else(|| defaults.scope.clone());
        if defaults.within.as_ref().is_some_and(|scopes| !scopes.contains(&scope)) {
            return Err(format!("scope: {scope} cannot be changed with this token"));
        }
        let reason = parsed("reason", self.reason)?.unwrap_or(defaults.reason);
        let since = parsed("since", self.since)?.unwrap_or(defaults.now);
        let source = EntrySource {
            class: parsed::<Class>("class", self.class)?,
            message: parsed::<MessageId>("message", self.message)?,
            rule: filled(self.rule).map(Arc::from),
            text: filled(self.text),
            by: Some(filled(self.by).unwrap_or_else(|| defaults.by.clone())),
        };
        let until = parsed("until", self.until)?;
        Ok(SuppressionEntry { until, ..SuppressionEntry::new(address, scope, reason, since, None, source) })
    }

    fn set(&mut self, column: &str, cell: String) {
        let field = match column {
            "scope" => &mut self.scope,
            "reason" => &mut self.reason,
            "since" => &mut self.since,
            "until" => &mut self.until,
            "class" => &mut self.class,
            "message" => &mut self.message,
            "rule" => &mut self.rule,
            "text" => &mut self.text,
            "by" => &mut self.by,
            name => {
                if ADDRESS_NAMES.contains(&name) {
                    self.address = cell;
                }
                return;
            }
        };
        *field = Some(cell);
    }
}

fn filled(cell: Option<String>) -> Option<String> {
    cell.filter(|c| !c.trim().is_empty())
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(name: &str, cell: Option<String>) -> Result<Option<T>, String> {
    filled(cell).map(|c| c.trim().parse().map_err(|e| format!("{name}: {e}"))).transpose()
}

fn row(cells: Vec<String>, names: Option<&[String]>) -> Result<Row, String> {
    let mut row = Row::default();
    let Some(names) = names else {
        let [address] =
            <[String; 1]>::try_from(cells).map_err(|c| format!("{} cells, and no line of names says what they are", c.len()))?;
        return Ok(Row { address, ..row });
    };
    if cells.len() != names.len() {
        return Err(format!("{} cells, but {} names", cells.len(), names.len()));
    }
    names.iter().zip(cells).for_each(|(name, cell)| row.set(name, cell));
    Ok(row)
}

impl Import {
    fn take(&mut self, line: usize, read: Result<SuppressionEntry, String>) {
        match read {
            Ok(entry) => self.entries.push(entry),
            Err(mut why) => {
                if let Some((end, _)) = why.char_indices().nth(WHY_MAX) {
                    why.truncate(end);
                    why.push('…');
                }
                self.bad.push(BadLine { line, why });
            }
        }
    }
}

#[cfg(test)]
mod tests;
