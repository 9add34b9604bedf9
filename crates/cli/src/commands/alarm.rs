//! `posthaste alarm`

use std::{io::Write, process::ExitCode};

use clap::{Args, Subcommand};
use posthaste_channels::Tested;
use posthaste_mail::{Foreign, Name};
use posthaste_relay::admin::Request;

use super::At;
use crate::screen;

/// Test the channels that tell of incidents ([alarm.NAME]).
#[derive(Args)]
pub(crate) struct Alarm {
    #[command(flatten)]
    at: At,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Make the running relay send a test message, and say for each channel whether it was taken.
    Test {
        /// The channel. Without one: all.
        #[arg(value_parser = |text: &str| Name::new(text))]
        name: Option<Name>,
    },
}

impl Alarm {
    /// Asks the running relay. Exit status 1 if a channel did not take the message.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let What::Test { name } = self.command;
        let tested: Vec<Tested> = self.at.ask(&Request::TestAlarm { name })?;
        let mut out = screen::out();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&tested)?)?,
            false if tested.is_empty() => writeln!(out, "there is no channel: the configuration has no [alarm.NAME]")?,
            false => tested.iter().try_for_each(|one| writeln!(out, "{}", in_words(one)))?,
        }
        let all = tested.iter().all(|one| one.failed.is_none());
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn in_words(Tested { channel, kind, failed }: &Tested) -> String {
    match failed {
        None => format!("{channel} ({kind}): taken"),
        Some(why) => format!("{channel} ({kind}): not taken: {}", Foreign::new(why)),
    }
}
