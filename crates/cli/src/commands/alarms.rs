//! `posthaste alarms`

use std::{io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use posthaste_config::Config;
use posthaste_host::clock;
use posthaste_journal::{Acknowledgement, StandingNow};
use posthaste_mail::Foreign;
use posthaste_relay::{
    admin::{AskError, Request, ask},
    lock,
};

use super::{At, count, operator};
use crate::screen;

/// Show what is missing or damaged, and acknowledge it. Without a command: the alarms that stand, since when, and what to do.
#[derive(Args)]
pub(crate) struct Alarms {
    #[command(flatten)]
    at: At,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// List the alarms that stand.
    List,
    /// End alarms: you know of them. The log says who did it.
    #[command(alias = "ack")]
    Acknowledge(Acknowledge),
}

#[derive(Args)]
struct Acknowledge {
    /// The alarms' numbers.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<u64>,
    /// All alarms that stand.
    #[arg(long)]
    all: bool,
}

impl Alarms {
    /// Asks the running relay; without one, reads or changes the data folder. Exit status 1 if an alarm to acknowledge does not stand.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.look()?;
        match self.command {
            None | Some(What::List) => list(&self.at, &config, self.json),
            Some(What::Acknowledge(Acknowledge { ids, all })) => acknowledge(&self.at, &config, (!all).then_some(&ids[..]), self.json),
        }
    }
}

fn list(at: &At, config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let standing: StandingNow = match ask(&config.admin.socket, &Request::Alarms) {
        Ok(standing) => standing,
        Err(AskError::NotRunning(_)) => {
            at.must_have_data(config)?;
            posthaste_journal::Alarms::read(&config.data_dir)?
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = screen::out();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&standing)?)?,
        false if standing == StandingNow::default() => writeln!(out, "no alarm stands")?,
        false => write!(out, "{}", in_words(&standing))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(standing: &StandingNow) -> String {
    let mut out = String::new();
    for alarm in &standing.alarms {
        let part = alarm.part.as_deref().map_or_else(String::new, |part| format!("{part}: "));
        out += &format!("{}  since {:.0}  {part}{}\n", alarm.id, alarm.since, Foreign::new(&alarm.what));
        if !alarm.remedy.is_empty() {
            out += &format!("    {}\n", alarm.remedy);
        }
        if alarm.mends {
            out += "    It ends by itself once that is mended\n";
        }
    }
    if standing.more > 0 {
        out += &format!("and {} more, which have no number; `posthaste log --event relay` shows what else was found\n", standing.more);
    }
    out + "`posthaste alarms acknowledge NUMBER` (or --all) ends an alarm\n"
}

fn acknowledge(at: &At, config: &Config, ids: Option<&[u64]>, json: bool) -> anyhow::Result<ExitCode> {
    let request = Request::Acknowledge { ids: ids.map(<[u64]>::to_vec), by: operator() };
    let done: Acknowledgement = match ask(&config.admin.socket, &request) {
        Ok(done) => done,
        Err(AskError::NotRunning(_)) => {
            at.must_have_data(config)?;
            let _lock = lock(&config.data_dir)?;
            let (alarms, now) = (posthaste_journal::Alarms::open(&config.data_dir, clock::now())?, clock::now());
            let done = alarms.acknowledge(ids, &operator(), now)?;
            alarms.tell_later(done.clone())?;
            done
        }
        Err(error) => return Err(error.into()),
    };
    match json {
        true => writeln!(screen::out(), "{}", serde_json::to_string(&done)?)?,
        false => writeln!(screen::out(), "{} acknowledged", count(done.ids.len() as u64 + done.more, "alarm"))?,
    }
    done.unknown.iter().for_each(|id| screen::say(format_args!("no alarm {id} stands")));
    Ok(if done.unknown.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
