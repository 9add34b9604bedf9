//! `posthaste suppress import`

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write, stdin},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use posthaste_host::clock;
use posthaste_mail::Foreign;
use posthaste_suppression::{
    Breadth, Over, Reason,
    transfer::{self, Defaults, Format, Importer},
};

use super::door::{Done, Door};
use crate::{
    commands::{count, operator},
    progress::Progress,
    screen,
};

/// A file is read in pieces of this many bytes, so that its length does not matter.
const PIECE: usize = 64 << 10;
/// The most bad lines that are shown one by one.
const BAD_SHOWN: usize = 20;

/// A form of the list, as the command line names it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum FileFormat {
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

#[derive(Args)]
pub(super) struct Import {
    /// The file, or "-" for standard input.
    pub(super) file: PathBuf,
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
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(super) fn run(&self, file: &mut File, door: &Door) -> anyhow::Result<ExitCode> {
        let cannot_read = || format!("cannot read {}", self.file.display());
        let progress = Progress::of("bytes read", file.metadata().map_or(0, |meta| meta.len()));
        if self.strict {
            let (start, mut found) = (file.stream_position().with_context(cannot_read)?, Done::default());
            self.each_part(file, &mut found, &progress, |_, _| Ok(()))?;
            if found.bad > 0 {
                anyhow::bail!("{} bad lines: nothing was imported", found.bad);
            }
            file.seek(SeekFrom::Start(start)).with_context(cannot_read)?;
        }
        let (over, mut done) = (if self.replace { Over::Any } else { Over::Stronger }, Done::default());
        self.each_part(file, &mut done, &progress, |part, done| {
            if !part.ignored.is_empty() {
                progress.aside(|| screen::say(format_args!("ignored columns: {}", Foreign::new(&part.ignored.join(", ")))));
            }
            door.add(&part.entries, over, done)
        })?;
        let Done { added, kept, bad } = done;
        drop(progress);
        match self.json {
            true => writeln!(screen::out(), "{}", serde_json::json!({ "added": added, "existed": kept, "bad_lines": bad }))?,
            false => writeln!(screen::out(), "{} added, {kept} existed already, {}", count(added, "entry"), count(bad, "bad line"))?,
        }
        Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Reads the file part by part, and shows and counts its bad lines.
    fn each_part(
        &self,
        file: &mut File,
        done: &mut Done,
        progress: &Progress,
        mut take: impl FnMut(&transfer::Import, &mut Done) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let defaults = Defaults { scope: self.scope.clone(), within: None, reason: self.reason, now: clock::now(), by: operator() };
        let (mut importer, mut piece) = (Some(Importer::new(self.format(), defaults)), vec![0; PIECE]);
        let mut so_far = 0;
        while let Some(reading) = importer.take() {
            let length = file.read(&mut piece).with_context(|| format!("cannot read {}", self.file.display()))?;
            so_far += length as u64;
            progress.done(so_far);
            let part = match length {
                0 => reading.finish(),
                _ => importer.insert(reading).push(&piece[..length]),
            };
            for line in &part.bad {
                if done.bad < BAD_SHOWN {
                    progress.aside(|| screen::say(format_args!("{}: {}", self.file.display(), Foreign::new(&line.to_string()))));
                }
                done.bad += 1;
            }
            take(&part, done)?;
        }
        if done.bad > BAD_SHOWN {
            progress.aside(|| screen::say(format_args!("… and {} more bad lines", done.bad - BAD_SHOWN)));
        }
        Ok(())
    }

    pub(super) fn open(&self) -> io::Result<File> {
        if self.file != Path::new("-") {
            return posthaste_host::files::open(&self.file);
        }
        let mut input = File::from(stdin().as_fd().try_clone_to_owned()?);
        if !self.strict || input.stream_position().is_ok() {
            return Ok(input);
        }
        // It is read twice, which a pipe cannot be: its content goes to a file without a name.
        let mut options = OpenOptions::new();
        let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
        let mut file = options.read(true).write(true).custom_flags(flags).mode(0o600).open(std::env::temp_dir())?;
        io::copy(&mut input, &mut file)?;
        file.rewind()?;
        Ok(file)
    }

    fn format(&self) -> Format {
        match (self.format, self.file.extension().and_then(|e| e.to_str())) {
            (Some(format), _) => format.into(),
            (None, Some("json" | "jsonl" | "ndjson")) => Format::Jsonl,
            (None, _) => Format::Csv,
        }
    }
}
