//! Tables with a header and notes under their rows.

/// Formats rows. Each column is as wide as its widest cell; the first is aligned left, the others right; the last one is not padded.
pub(crate) fn table(head: &[&str], rows: &[(Vec<String>, Vec<String>)]) -> String {
    let cells = |row: &[String], column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, title)| rows.iter().map(|(row, _)| cells(row, column)).max().unwrap_or(0).max(title.chars().count()))
        .collect();
    let line = |row: &[String]| {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ if column + 1 == head.len() => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let mut out = line(&head.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    for (row, notes) in rows {
        out += &line(row);
        notes.iter().for_each(|note| out += &format!("    {note}\n"));
    }
    out
}

/// The same for a reader with so many columns: a table that is wider is told row by row, with the titles beside their cells. None: any number.
pub(crate) fn fitted(head: &[&str], rows: &[(Vec<String>, Vec<String>)], width: Option<usize>) -> String {
    let wide = table(head, rows);
    let widest = wide.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let Some(width) = width.filter(|width| widest > *width) else { return wide };
    let mut out = String::new();
    for (row, notes) in rows {
        let pairs = head.iter().zip(row).skip(1).filter(|(_, cell)| !cell.is_empty()).map(|(title, cell)| format!("{title} {cell}"));
        let pairs: Vec<String> = pairs.collect();
        out += &format!("{}\n", row.first().map_or("", String::as_str));
        out += &wrapped(pairs.iter().map(String::as_str), "  ", width);
        for note in notes {
            out += &wrapped(note.split(' '), " ", width);
        }
    }
    out
}

/// Parts in as many lines as they need, indented.
fn wrapped<'p>(parts: impl Iterator<Item = &'p str>, gap: &str, width: usize) -> String {
    const INDENT: &str = "    ";
    let (mut out, mut line) = (String::new(), String::new());
    for part in parts {
        if !line.is_empty() && INDENT.len() + line.chars().count() + gap.len() + part.chars().count() > width {
            out += &format!("{INDENT}{line}\n");
            line.clear();
        }
        line += if line.is_empty() { "" } else { gap };
        line += part;
    }
    out + &format!("{INDENT}{line}\n")
}

/// Formats seconds in their two largest units.
pub(crate) fn span(seconds: i64) -> String {
    let s = seconds.max(0);
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Formats a share from 0 to 1 as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_flush_and_notes_stand_under_their_row() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [(row(&["ip1/google", "5", "ok"]), row(&["waits"])), (row(&["a", "1000", "held"]), vec![])];
        assert_eq!(
            table(&["lane", "cap", "health"], &rows),
            "lane         cap  health\nip1/google     5  ok\n    waits\na           1000  held\n"
        );
    }

    #[test]
    fn a_table_that_is_too_wide_is_told_row_by_row() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let rows = [(row(&["ip1/google", "5", "all is well here"]), row(&["waits until tomorrow"]))];
        let head = ["lane", "cap", "health"];
        assert_eq!(fitted(&head, &rows, Some(80)), table(&head, &rows));
        assert_eq!(fitted(&head, &rows, None), table(&head, &rows));
        let narrow = fitted(&head, &rows, Some(20));
        assert_eq!(narrow, "ip1/google\n    cap 5\n    health all is well here\n    waits until\n    tomorrow\n");
    }

    #[test]
    fn spans_have_two_units() {
        assert_eq!([5, 65, 3660, 90_000, -1].map(span), ["5s", "1m05s", "1h01m", "1d01h", "0s"]);
    }
}
