//! `posthaste suppress`

mod door;
mod import;

use std::{
    io::{BufWriter, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use posthaste_host::clock;
use posthaste_mail::{Address, Domain, Foreign};
use posthaste_suppression::{
    Breadth, EntryFilter, EntrySource, ListAnswer, ListRequest, Over, Reason, SuppressionEntry,
    transfer::{self, Format},
};

use self::{
    door::{Done, Door, ODD},
    import::{FileFormat, Import},
};
use super::{
    At, count, operator,
    words::{address, domain},
};
use crate::screen;

/// Show and change the suppression list: addresses that get no mail.
#[derive(Args)]
pub(crate) struct Suppress {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Add addresses to the list.
    Add(Add),
    /// Remove addresses from the list, and reset the bounces counted against them.
    Remove {
        /// Which.
        #[arg(required = true, value_parser = address)]
        addresses: Vec<Address>,
        /// Remove only the entry of this scope: global, stream:NAME or user:NAME. Default: all entries.
        #[arg(long)]
        scope: Option<Breadth>,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Show the list, or its entries for an address.
    List {
        #[command(flatten)]
        which: Which,
        /// Show at most this many entries.
        #[arg(long, short = 'n', default_value_t = LISTED)]
        limit: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Add the addresses in a file to the list. Existing entries that last longer stay.
    Import(Import),
    /// Write the whole list to standard output.
    Export {
        #[command(flatten)]
        which: Which,
        /// The output format.
        #[arg(long, value_enum, default_value_t = FileFormat::Csv)]
        format: FileFormat,
    },
}

#[derive(Args)]
struct Add {
    /// Which.
    #[arg(required = true, value_parser = address)]
    addresses: Vec<Address>,
    /// The scope of the entry: global, stream:NAME or user:NAME.
    #[arg(long, default_value = "global")]
    scope: Breadth,
    /// The reason: hard_bounce, complaint, unsubscribe or manual.
    #[arg(long, default_value = "manual")]
    reason: Reason,
    /// How long the entry lasts, such as 30d. Default: for ever.
    #[arg(long = "for", value_name = "TIME", value_parser = lasts)]
    lasts: Option<Duration>,
    /// A comment to store with the entry.
    #[arg(long)]
    note: Option<String>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// Says how many entries were changed.
fn say_done(json: bool, key: &str, n: usize, done: &str) -> std::io::Result<()> {
    match json {
        true => writeln!(screen::out(), "{}", serde_json::json!({ key: n })),
        false => writeln!(screen::out(), "{} {done}", count(n, "entry")),
    }
}

/// Which entries to show.
#[derive(Args)]
struct Which {
    /// Entries for this address.
    #[arg(value_name = "ADDRESS", value_parser = address)]
    address: Option<Address>,
    /// Entries for addresses at this domain.
    #[arg(long, value_parser = domain)]
    domain: Option<Domain>,
    /// Entries of this scope: global, stream:NAME or user:NAME.
    #[arg(long)]
    scope: Option<Breadth>,
    /// Entries with this reason: hard_bounce, complaint, unsubscribe or manual.
    #[arg(long)]
    reason: Option<Reason>,
}

impl Which {
    fn filter(&self) -> EntryFilter {
        let Self { address, domain, scope, reason } = self;
        let domain = domain.as_ref().map(|d| d.as_str().to_owned());
        EntryFilter { address: address.clone(), domain, scope: scope.clone(), reason: *reason, within: None }
    }
}

/// The default for `list --limit`.
const LISTED: usize = 100;
impl Suppress {
    /// Runs the subcommand. Exit status 1 if nothing matches, or if an import had bad lines.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // Opened before the rights of the relay's user are taken, who may not see the file.
        let file = match &self.command {
            What::Import(import) => Some(import.open().with_context(|| format!("cannot read {}", import.file.display()))?),
            _ => None,
        };
        let config = self.at.look_as_owner()?;
        let door = match Door::of_relay(&config)? {
            Some(door) => door,
            // To list what is not there must not make it; to add to it may, before the first start.
            None => {
                match self.command {
                    What::List { .. } | What::Export { .. } | What::Remove { .. } => self.at.must_have_data(&config)?,
                    What::Add(_) | What::Import(_) => self.at.may_make_data(&config)?,
                }
                Door::open(&self.at.load()?)?
            }
        };
        let done = match self.command {
            What::Add(add) => add.run(&door),
            What::Remove { addresses, scope, json } => remove(&door, addresses, scope, json),
            What::List { which, limit, json } => list(&door, &which, limit, json),
            What::Import(import) => import.run(&mut file.expect("it was opened"), &door),
            What::Export { which, format } => export(&door, &which, format.into()),
        };
        door.close()?;
        done
    }
}

impl Add {
    fn run(self, door: &Door) -> anyhow::Result<ExitCode> {
        let source = EntrySource { text: self.note, by: Some(operator()), ..EntrySource::default() };
        let entry = |address| SuppressionEntry::new(address, self.scope.clone(), self.reason, clock::now(), self.lasts, source.clone());
        let entries: Vec<_> = self.addresses.into_iter().map(entry).collect();
        let mut done = Done::default();
        door.add(&entries, Over::Any, &mut done)?;
        say_done(self.json, "added", done.added, "added")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn remove(door: &Door, addresses: Vec<Address>, scope: Option<Breadth>, json: bool) -> anyhow::Result<ExitCode> {
    let ListAnswer::Changed { changed, kept } = door.ask(ListRequest::Remove { addresses, scope })? else { anyhow::bail!(ODD) };
    say_done(json, "removed", changed, "removed")?;
    if kept > 0 {
        screen::say(format_args!(
            "{} not on the list",
            if kept == 1 { "1 of the addresses was".to_owned() } else { format!("{kept} of the addresses were") }
        ));
    }
    Ok(if changed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(door: &Door, which: &Which, limit: usize, json: bool) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(screen::out());
    let mut left = limit;
    let more = door.each(&which.filter(), |entry| {
        if left == 0 {
            return Ok(false);
        }
        left -= 1;
        let text = if json { transfer::line(entry, Format::Jsonl) } else { shown(entry) };
        out.write_all(text.as_bytes())?;
        Ok(true)
    })?;
    out.flush()?;
    if more {
        screen::say("there are more entries; see --limit, or use export");
    }
    if left == limit && limit > 0 {
        screen::say("nothing on the list matches");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn export(door: &Door, which: &Which, format: Format) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(screen::raw());
    out.write_all(transfer::head(format).as_bytes())?;
    door.each(&which.filter(), |entry| {
        out.write_all(transfer::line(entry, format).as_bytes())?;
        Ok(true)
    })?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn shown(entry: &SuppressionEntry) -> String {
    let until = entry.until.map_or_else(|| "for ever".to_owned(), |t| format!("until {}", short(t)));
    let source = &entry.source;
    let class = source.class.map(|c| format!("  {c}")).unwrap_or_default();
    let message = source.message.map(|m| format!("  message {m}")).unwrap_or_default();
    let by = source.by.as_ref().map(|b| format!("  by {}", Foreign::new(b))).unwrap_or_default();
    let text: String = source.text.iter().flat_map(|text| text.lines()).map(|line| format!("\n    {}", Foreign::new(line))).collect();
    format!(
        "{}  {}  {}  since {}  {until}{class}{message}{by}{text}\n",
        Foreign::new(&entry.address.to_string()),
        entry.scope,
        entry.reason,
        short(entry.since)
    )
}

fn short(time: Timestamp) -> String {
    format!("{time:.0}")
}

/// Parses `30d` or `12h`.
fn lasts(text: &str) -> Result<Duration, String> {
    let span: jiff::Span = text.parse().map_err(|_| format!("{text:?} is not a duration such as 30d"))?;
    let seconds = span.total((jiff::Unit::Second, jiff::SpanRelativeTo::days_are_24_hours())).map_err(|e| e.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_may_be_days() {
        assert_eq!(lasts("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert!(lasts("soon").is_err() && lasts("-1d").is_err());
    }
}
