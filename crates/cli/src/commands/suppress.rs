//! `posthaste suppress`

use std::{
    io::{BufWriter, Read, Write, stdin},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_mail::{Address, Domain, Foreign};
use posthaste_relay::{
    OpenedSpool,
    admin::{self, AskError, Request},
    lock, open_spool,
};
use posthaste_suppression::{
    Breadth, EntryFilter, EntrySource, List, ListAnswer, ListRequest, Over, Reason, Register, SuppressionEntry, SuppressionRules,
    transfer::{self, Defaults, Format},
};

use super::{At, operator};
use crate::screen;

/// A form of the list, as the command line names it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FileFormat {
    /// Comma-separated, with a line of names first. A file without names is a list of addresses.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl From<FileFormat> for Format {
    fn from(named: FileFormat) -> Self {
        match named {
            FileFormat::Csv => Self::Csv,
            FileFormat::Jsonl => Self::Jsonl,
        }
    }
}

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
        #[arg(required = true)]
        addresses: Vec<Address>,
        /// Remove only the entry of this scope: global, stream:NAME or user:NAME. Default: all entries.
        #[arg(long)]
        scope: Option<Breadth>,
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
    #[arg(required = true)]
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
}

#[derive(Args)]
struct Import {
    /// The file, or "-" for standard input.
    file: PathBuf,
    /// The file's format. Default: by its name, .json, .jsonl or .ndjson, otherwise CSV. A CSV file without a header line is a list of addresses.
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// The scope of lines that give none.
    #[arg(long, default_value = "global")]
    scope: Breadth,
    /// The reason of lines that give none.
    #[arg(long, default_value = "manual")]
    reason: Reason,
    /// Import nothing if any line is bad.
    #[arg(long)]
    strict: bool,
    /// Replace existing entries, even if they last longer.
    #[arg(long)]
    replace: bool,
}

/// Which entries to show.
#[derive(Args)]
struct Which {
    /// Entries for this address.
    #[arg(value_name = "ADDRESS")]
    address: Option<Address>,
    /// Entries for addresses at this domain.
    #[arg(long)]
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
/// The most bytes of entries in one request: well below the longest request that the relay reads.
const BATCH_BYTES: usize = 32 << 10;
/// The most bad lines that are shown one by one.
const BAD_SHOWN: usize = 20;

impl Suppress {
    /// Runs the subcommand. Exit status 1 if nothing matches, or if an import had bad lines.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        // Read before the rights of the relay's user are taken, who may not see the file.
        let text = match &self.command {
            What::Import(import) => import.text().with_context(|| format!("cannot read {}", import.file.display()))?,
            _ => String::new(),
        };
        let door = Door::open(&self.at.load_as_owner()?)?;
        let done = match self.command {
            What::Add(add) => add.run(&door),
            What::Remove { addresses, scope } => remove(&door, addresses, scope),
            What::List { which, limit, json } => list(&door, &which, limit, json),
            What::Import(import) => import.run(&text, &door),
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
        let (added, _) = door.add(&entries, Over::Any)?;
        writeln!(screen::out(), "{added} entries added")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn remove(door: &Door, addresses: Vec<Address>, scope: Option<Breadth>) -> anyhow::Result<ExitCode> {
    let ListAnswer::Changed { changed, kept } = door.ask(ListRequest::Remove { addresses, scope })? else { anyhow::bail!(ODD) };
    writeln!(screen::out(), "{changed} entries removed")?;
    if kept > 0 {
        screen::say(format_args!("{kept} of the addresses were not on the list"));
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
    let mut out = BufWriter::new(screen::out());
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

impl Import {
    fn run(&self, text: &str, door: &Door) -> anyhow::Result<ExitCode> {
        let defaults = Defaults { scope: self.scope.clone(), within: None, reason: self.reason, now: clock::now(), by: operator() };
        let import = transfer::read(text, self.format(), &defaults);
        let bad = import.bad.len();
        import
            .bad
            .iter()
            .take(BAD_SHOWN)
            .for_each(|line| screen::say(format_args!("{}: {}", self.file.display(), Foreign::new(&line.to_string()))));
        if bad > BAD_SHOWN {
            screen::say(format_args!("… and {} more bad lines", bad - BAD_SHOWN));
        }
        if !import.ignored.is_empty() {
            screen::say(format_args!("ignored columns: {}", Foreign::new(&import.ignored.join(", "))));
        }
        if self.strict && bad > 0 {
            anyhow::bail!("{bad} bad lines: nothing was imported");
        }
        let over = if self.replace { Over::Any } else { Over::Stronger };
        let (added, kept) = door.add(&import.entries, over)?;
        writeln!(screen::out(), "{added} entries added, {kept} existed already, {bad} bad lines")?;
        Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn text(&self) -> std::io::Result<String> {
        let mut bytes = Vec::new();
        match self.file == Path::new("-") {
            true => drop(stdin().lock().read_to_end(&mut bytes)?),
            false => bytes = posthaste_host::files::read(&self.file)?,
        }
        // An invalid character makes its line's address invalid, and that line is reported.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn format(&self) -> Format {
        match (self.format, self.file.extension().and_then(|e| e.to_str())) {
            (Some(format), _) => format.into(),
            (None, Some("json" | "jsonl" | "ndjson")) => Format::Jsonl,
            (None, _) => Format::Csv,
        }
    }
}

/// The running relay, or the spool itself if none is running.
enum Door {
    Relay(PathBuf),
    Spool { register: Box<Register<posthaste_spool::Spool>>, rules: SuppressionRules, _lock: posthaste_relay::Lock },
}

const ODD: &str = "the relay gave an unexpected answer";

impl Door {
    fn open(config: &Config) -> anyhow::Result<Self> {
        let socket = &config.admin.socket;
        let empty = ListRequest::Remove { addresses: Vec::new(), scope: None };
        match admin::ask::<ListAnswer>(socket, &Request::Suppression(empty)) {
            Ok(_) => Ok(Self::Relay(socket.clone())),
            Err(AskError::NotRunning(_)) => {
                let lock = lock(&config.data_dir)?;
                let OpenedSpool { spool, mended, .. } = open_spool(config)?;
                mended.iter().for_each(|(_, detail)| screen::say(format_args!("the spool: {detail}")));
                Ok(Self::Spool { register: Box::new(Register::new(spool)), rules: config.suppression.clone(), _lock: lock })
            }
            Err(error) => Err(error).with_context(|| format!("cannot ask the relay at {}", socket.display())),
        }
    }

    fn ask(&self, request: ListRequest) -> anyhow::Result<ListAnswer> {
        match self {
            Self::Relay(socket) => {
                admin::ask(socket, &Request::Suppression(request)).with_context(|| format!("cannot ask the relay at {}", socket.display()))
            }
            Self::Spool { register, rules, .. } => Ok(List::new(register, rules).perform(&request, clock::now())),
        }
    }

    /// Adds entries in batches. An error says how many were added; running it again does no harm.
    fn add(&self, entries: &[SuppressionEntry], over: Over) -> anyhow::Result<(usize, usize)> {
        let (mut added, mut kept) = (0, 0);
        for batch in batches(entries) {
            let answer = self.ask(ListRequest::Add { entries: batch.to_vec(), over });
            let done = added + kept;
            let answer = answer.with_context(|| format!("stopped after {done} of {} entries; those are on the list", entries.len()))?;
            let ListAnswer::Changed { changed, kept: there } = answer else { anyhow::bail!(ODD) };
            (added, kept) = (added + changed, kept + there);
        }
        Ok((added, kept))
    }

    /// Passes entries to the callback until it returns false; returns true in that case.
    fn each(&self, filter: &EntryFilter, mut show: impl FnMut(&SuppressionEntry) -> anyhow::Result<bool>) -> anyhow::Result<bool> {
        let mut after = None;
        loop {
            let request = ListRequest::List { filter: filter.clone(), after, limit: ListRequest::PAGE_MAX };
            let ListAnswer::Entries { entries, next } = self.ask(request)? else { anyhow::bail!(ODD) };
            for entry in &entries {
                if !show(entry)? {
                    return Ok(true);
                }
            }
            match next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
    }

    fn close(self) -> anyhow::Result<()> {
        if let Self::Spool { register, .. } = &self {
            register.facts().close()?;
        }
        Ok(())
    }
}

/// Splits the entries into batches that fit a request.
fn batches(entries: &[SuppressionEntry]) -> impl Iterator<Item = &[SuppressionEntry]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |e: &&SuppressionEntry| {
            bytes += transfer::line(e, Format::Jsonl).len();
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (batch, more) = rest.split_at(count);
        rest = more;
        (!batch.is_empty()).then_some(batch)
    })
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
    fn batches_are_small_and_leave_nobody_out() {
        let source = EntrySource { text: Some("é".repeat(EntrySource::TEXT_MAX)), ..EntrySource::default() };
        let entry = |n| {
            SuppressionEntry::new(
                Address::new(&format!("a{n}@x.org")).unwrap(),
                Breadth::Global,
                Reason::Manual,
                Timestamp::UNIX_EPOCH,
                None,
                source.clone(),
            )
        };
        let entries: Vec<_> = (0..500).map(entry).collect();
        assert_eq!(batches(&entries).flatten().cloned().collect::<Vec<_>>(), entries);
        for batch in batches(&entries) {
            let request =
                serde_json::to_string(&Request::Suppression(ListRequest::Add { entries: batch.to_vec(), over: Over::Any })).unwrap();
            assert!(request.len() < 64 << 10);
        }
        assert_eq!(batches(&[]).count(), 0);
    }

    #[test]
    fn a_length_of_time_may_be_days() {
        assert_eq!(lasts("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert!(lasts("soon").is_err() && lasts("-1d").is_err());
    }
}
