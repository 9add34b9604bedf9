//! `posthaste warmup`

mod audit;
mod common;
mod plot;
mod simulate;
mod status;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use posthaste_governor::LaneKey;
use posthaste_governor::{
    Steer,
    warmup::{WarmupAnswer, WarmupQuestion},
};

use self::common::{ODD, asked, lane};
use super::{At, operator};
use crate::screen;

/// Show, control and simulate the warm-up of sending addresses. A lane is a source at a provider, written ip1/google.
#[derive(Args)]
pub(crate) struct Warmup {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Show every lane's stage, budget, health and tomorrow's cap.
    Status(status::Show),
    /// Plot a lane's days against its curve.
    Plot(plot::Plot),
    /// Move a lane up one stage now.
    Advance(SteeredLane),
    /// Keep a lane on its stage until it is released.
    Hold(SteeredLane),
    /// Release a lane that is held: its numbers decide its stage again.
    Release(SteeredLane),
    /// Move a lane down one stage now.
    Back(SteeredLane),
    /// Move a lane to the first stage now.
    Restart(SteeredLane),
    /// Stop a lane: send nothing over it until it is resumed.
    Stop(SteeredLane),
    /// End a lane's pauses and the slow climb after them now, and its wait for days that it used while the clock was ahead.
    Resume(SteeredLane),
    /// Simulate a warm-up before the first message is sent.
    Simulate(simulate::Simulate),
    /// Recount every lane's days from the delivery log and compare them with the ledger. Exit status 1 if they differ.
    Audit(audit::Audit),
}

#[derive(Args)]
struct SteeredLane {
    /// The lane, such as ip1/google.
    #[arg(value_parser = lane)]
    lane: LaneKey,
    /// The reason, for the log.
    #[arg(long)]
    reason: String,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Warmup {
    /// Runs the subcommand. Exit status 1 if there is no such lane, or if an audit finds a difference.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (at, steering) = (&self.at, |steer: SteeredLane, steering| steer.run(&self.at, steering));
        match self.command {
            What::Status(show) => show.run(at),
            What::Plot(plot) => plot.run(at),
            What::Simulate(simulate) => simulate.run(at),
            What::Audit(audit) => audit.run(at),
            What::Advance(steer) => steering(steer, Steer::Advance),
            What::Hold(steer) => steering(steer, Steer::Hold),
            What::Release(steer) => steering(steer, Steer::Release),
            What::Back(steer) => steering(steer, Steer::Back),
            What::Restart(steer) => steering(steer, Steer::Restart),
            What::Stop(steer) => steering(steer, Steer::Stop),
            What::Resume(steer) => steering(steer, Steer::Resume),
        }
    }
}

impl SteeredLane {
    fn run(self, at: &At, steer: Steer) -> anyhow::Result<ExitCode> {
        let question = WarmupQuestion::Steer { lane: self.lane.clone(), steer, reason: self.reason, by: operator() };
        let WarmupAnswer::Lanes { lanes } = asked(at, question, &self.lane)? else { anyhow::bail!(ODD) };
        status::show(&lanes, self.json, &mut screen::out())?;
        Ok(ExitCode::SUCCESS)
    }
}
