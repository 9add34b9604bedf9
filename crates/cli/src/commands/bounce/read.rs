//! `posthaste bounce read`

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use posthaste_bounce::{Report, read_mail};
use posthaste_config::Config;
use posthaste_mail::Foreign;
use posthaste_relay::settings::Settings;

use crate::screen;

/// The mail to read, and the output format.
#[derive(Args)]
pub(super) struct Read {
    /// Files that contain one mail each.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print one JSON object per line, one for each report.
    #[arg(long)]
    json: bool,
}

impl Read {
    pub(super) fn run(self, config: Config) -> anyhow::Result<ExitCode> {
        let settings = Settings::new(config)?;
        let mut out = BufWriter::new(screen::out());
        let mut code = ExitCode::SUCCESS;
        for file in &self.files {
            let mail = match posthaste_host::files::read(file) {
                Ok(mail) => mail,
                Err(error) => {
                    screen::say(format_args!("cannot read {}: {error}", file.display()));
                    code = ExitCode::FAILURE;
                    continue;
                }
            };
            let name = file.to_string_lossy();
            for report in read_mail(&mail, &settings.rules) {
                let text = if self.json { json(&name, &report)? } else { shown(&name, &report) };
                writeln!(out, "{text}")?;
            }
        }
        out.flush()?;
        Ok(code)
    }
}

/// The report's fields, after the file's name.
fn json(file: &str, report: &Report) -> anyhow::Result<String> {
    let mut line = serde_json::Map::new();
    line.insert("file".into(), file.into());
    if let serde_json::Value::Object(fields) = serde_json::to_value(report)? {
        line.extend(fields);
    }
    Ok(serde_json::to_string(&line)?)
}

fn shown(file: &str, report: &Report) -> String {
    let kind = serde_json::to_value(report.kind).ok().and_then(|k| k.as_str().map(str::to_owned)).unwrap_or_default();
    let mut out = format!("{}\n  kind        {kind}", Foreign::new(file));
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let lines: Vec<String> = Foreign::new(&value).lines().map(|line| line.to_string()).collect();
            out += &format!("\n  {name:<11} {}", lines.join("\n              "));
        }
    };
    add("rcpt", report.rcpt.clone());
    add("message id", report.message_id.clone());
    add("feedback", report.feedback_type.clone());
    if let Some(v) = &report.verdict {
        add("class", Some(format!("{} ({}, {})", v.class, v.scope, v.action)));
        add("why", Some(v.why.to_string()));
        add("rule", Some(format!("{} (confidence {:.2})", v.rule, v.confidence)));
    }
    add("enhanced", report.smtp_enhanced.map(|c| c.to_string()));
    add("said", report.diagnostic.clone());
    add("by", report.reporting_mta.clone());
    out
}

#[cfg(test)]
mod tests {
    use posthaste_bounce::Rules;

    use super::*;

    #[test]
    fn a_line_holds_what_the_score_asks_for() {
        let mail =
            b"From: MAILER-DAEMON@x.org\r\nSubject: failure\r\nX-Failed-Recipients: a@y.org\r\n\r\na@y.org\r\n  550 5.1.1 user unknown\r\n";
        let reports = read_mail(mail, Rules::shipped());
        let line: serde_json::Value = serde_json::from_str(&json("m.eml", &reports[0]).unwrap()).unwrap();
        assert_eq!(
            (&line["file"], &line["kind"], &line["rcpt"], &line["class"]),
            (&"m.eml".into(), &"bounce".into(), &"a@y.org".into(), &"invalid_recipient".into())
        );
        assert!(line.get("smtp_enhanced").is_some());
        assert!(shown("m.eml", &reports[0]).contains("\n  class       invalid_recipient"));
        let nothing = json("n.eml", &read_mail(b"From: a@x.org\r\nSubject: hi\r\n\r\nhi\r\n", Rules::shipped())[0]).unwrap();
        assert!(nothing.contains("\"kind\":\"not_bounce\""), "{nothing}");
    }
}
