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

/// The result of an import.
#[derive(Debug, Default, PartialEq)]
pub struct Import {
    /// The entries of all good lines.
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

/// Reads a list.
pub fn read(text: &str, format: Format, defaults: &Defaults) -> Import {
    let mut import = Import::default();
    for part in Parts::new(text, format, defaults, usize::MAX) {
        import.entries.extend(part.entries);
        import.bad.extend(part.bad);
        import.ignored.extend(part.ignored);
    }
    import
}

/// A list, read part by part, so that its entries need not be in memory together.
pub struct Parts<'a> {
    lines: RowLines<'a>,
    defaults: &'a Defaults,
    names: Option<Vec<String>>,
    ignored: Vec<String>,
    most: usize,
}

/// The rows of either format.
enum RowLines<'a> {
    Csv(std::iter::Peekable<csv::Records<'a>>),
    Jsonl(std::iter::Enumerate<std::str::Lines<'a>>),
}

impl<'a> Parts<'a> {
    /// The parts of a list, with at most so many rows each.
    pub fn new(text: &'a str, format: Format, defaults: &'a Defaults, most: usize) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parts = Self { lines: RowLines::Jsonl(text.lines().enumerate()), defaults, names: None, ignored: Vec::new(), most };
        if format == Format::Csv {
            let mut records = csv::Records::new(text).peekable();
            parts.names = names(&mut records);
            let names = parts.names.iter().flatten();
            parts.ignored = names.filter(|n| !COLUMNS.contains(&n.as_str()) && !ADDRESS_NAMES.contains(&n.as_str())).cloned().collect();
            parts.lines = RowLines::Csv(records);
        }
        parts
    }

    /// The number of the next row's line, and the row.
    fn row(&mut self) -> Option<(usize, Result<Row, String>)> {
        match &mut self.lines {
            RowLines::Csv(records) => {
                let csv::Record { line, cells } = records.next()?;
                Some((line, cells.and_then(|cells| row(cells, self.names.as_deref()))))
            }
            RowLines::Jsonl(lines) => {
                let (i, line) = lines.find(|(_, line)| !line.trim().is_empty())?;
                Some((i + 1, serde_json::from_str::<Row>(line).map_err(|e| e.to_string())))
            }
        }
    }
}

impl Iterator for Parts<'_> {
    type Item = Import;

    fn next(&mut self) -> Option<Import> {
        let mut import = Import { ignored: std::mem::take(&mut self.ignored), ..Import::default() };
        let mut rows = 0;
        while rows < self.most
            && let Some((line, row)) = self.row()
        {
            rows += 1;
            import.take(line, row.and_then(|row| row.entry(self.defaults)));
        }
        (rows > 0 || !import.ignored.is_empty()).then_some(import)
    }
}

/// The names of the columns, if the first record has them.
fn names(records: &mut std::iter::Peekable<csv::Records<'_>>) -> Option<Vec<String>> {
    let Some(csv::Record { cells: Ok(cells), .. }) = records.peek() else { return None };
    let names: Vec<_> = cells.iter().map(|c| c.trim().to_ascii_lowercase().replace(' ', "_")).collect();
    let is_named = names.iter().any(|n| ADDRESS_NAMES.contains(&n.as_str()));
    is_named.then(|| {
        records.next();
        names
    })
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
            Err(why) => self.bad.push(BadLine { line, why }),
        }
    }
}

#[cfg(test)]
mod tests;
