//! `classify explain` reads replies from standard input, one a line (a line end inside is written `\n`); `classify read FILE…` reads mails.
//! Both print one JSON object a line. `classify check` prints the rules that do not decide their own examples.
#![allow(clippy::print_stdout)]

use std::io::{BufRead, Write};

use posthaste_bounce::Rules;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let rules = Rules::shipped();
    let mut out = std::io::stdout().lock();
    match arguments.next().as_deref() {
        Some("explain") => {
            for line in std::io::stdin().lock().lines() {
                let verdict = rules.classify_text(&unescape(&line?), None);
                serde_json::to_writer(&mut out, &verdict)?;
                writeln!(out)?;
            }
        }
        Some("read") => {
            for file in arguments {
                for report in posthaste_bounce::read_mail(&std::fs::read(&file)?, rules) {
                    let mut line = serde_json::to_value(&report)?;
                    line["file"] = file.as_str().into();
                    writeln!(out, "{line}")?;
                }
            }
        }
        Some("check") => {
            for failure in rules.check_examples() {
                writeln!(out, "{}: {:?} is decided by {}", failure.rule, failure.example, failure.decided_by)?;
            }
        }
        _ => eprintln!("classify explain | classify read FILE…"),
    }
    Ok(())
}

fn unescape(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some(other) => out.push(other),
                None => {}
            },
            (c, false) => out.push(c),
        }
    }
    out
}
