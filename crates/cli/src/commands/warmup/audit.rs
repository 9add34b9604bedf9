//! `posthaste warmup audit`

use std::{io::Write, process::ExitCode, thread::sleep, time::Duration};

use anyhow::Context as _;
use clap::Args;
use posthaste_config::Config;
use posthaste_delivery::ledger;
use posthaste_governor::warmup::{CountedDay, LaneDays, WarmupAnswer, WarmupQuestion};
use posthaste_governor::{LaneEntry, Part};
use posthaste_monitor::Lines;
use posthaste_relay::{
    admin::{AskError, Request, ask},
    lock, open_spool,
};
use posthaste_warmup::{Comparison, Recount, compare};

use super::common::{ODD, json};
use crate::commands::{At, lines::LogReader};
use crate::{progress::Progress, screen};

/// The output format.
#[derive(Args)]
pub(super) struct Audit {
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// How often the log is read again while it is behind the ledger: a line is written a moment after the event.
const LOOKS: u32 = 25;
const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Audit {
    pub(super) fn run(self, at: &At) -> anyhow::Result<ExitCode> {
        let config = at.look_as_owner()?;
        let progress = Progress::endless("counting what the delivery log knows");
        let compared = match ask(&config.admin.socket, &Request::Warmup(WarmupQuestion::Ledger)) {
            Ok(answer) => running(&config, answer)?,
            Err(AskError::NotRunning(_)) => {
                at.must_have_data(&config)?;
                stopped(&at.load()?)?
            }
            Err(error) => return Err(error).with_context(|| format!("cannot ask the relay at {}", config.admin.socket.display())),
        };
        drop(progress);
        let mut out = screen::out();
        match self.json {
            true => json(&compared, &mut out)?,
            false => write!(out, "{}", text(&compared))?,
        }
        Ok(if compared.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Reads the log between two looks at the ledger, and again while the log is behind.
fn running(config: &Config, first: WarmupAnswer) -> anyhow::Result<Comparison> {
    let before = days(first)?;
    let (mut recount, mut log) = (Recount::default(), LogReader::new(&config.log.dir, &config.admin.socket));
    let mut looks = 0;
    loop {
        log.each(|record| recount.take(record))?;
        let after = days(ask(&config.admin.socket, &Request::Warmup(WarmupQuestion::Ledger))?)?;
        let compared = compare(&before, &after, &recount);
        looks += 1;
        if !compared.log_is_behind() || looks == LOOKS {
            return Ok(compared);
        }
        sleep(LOOK_EVERY);
    }
}

fn stopped(config: &Config) -> anyhow::Result<Comparison> {
    let _lock = lock(&config.data_dir)?;
    let spool = open_spool(config)?.spool;
    let (entries, bad) = ledger::read(&spool);
    spool.close()?;
    anyhow::ensure!(bad.is_empty(), "records of the ledger cannot be read: {}", bad.join("; "));
    let lanes = on_record(entries);
    let mut recount = Recount::default();
    recount.read(&mut Lines::all(&config.log.dir))?;
    Ok(compare(&lanes, &lanes, &recount))
}

fn days(answer: WarmupAnswer) -> anyhow::Result<Vec<LaneDays>> {
    match answer {
        WarmupAnswer::Ledger { lanes } => Ok(lanes),
        _ => anyhow::bail!(ODD),
    }
}

/// The lanes' days as stored on disk.
fn on_record(entries: Vec<LaneEntry>) -> Vec<LaneDays> {
    let mut lanes: Vec<LaneDays> = Vec::new();
    for entry in entries {
        let Part::Day(day) = entry.part else { continue };
        let day = CountedDay::of(&day);
        match lanes.iter_mut().find(|known| known.lane == entry.lane) {
            Some(known) => known.days.push(day),
            None => lanes.push(LaneDays { lane: entry.lane, days: vec![day] }),
        }
    }
    lanes
}

fn text(compared: &Comparison) -> String {
    let Comparison { days, spent, older, differences } = compared;
    let mut out = String::new();
    for d in differences {
        out += &format!("{} on {}: {} {} in the ledger, {} in the log\n", d.lane, d.date, d.number, d.ledger, d.log);
    }
    if *older > 0 {
        out += &format!("{older} lane days began before the oldest line of the log and cannot be compared\n");
    }
    let verdict = if differences.is_empty() { "ledger and log agree" } else { "LEDGER AND LOG DIFFER" };
    out + &format!("{days} lane days, {spent} recipients answered: {verdict}\n")
}
