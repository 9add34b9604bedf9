//! What the subcommands share.

use std::io::Write;

use posthaste_governor::LaneKey;
use posthaste_governor::warmup::{WarmupAnswer, WarmupQuestion};
use posthaste_relay::admin::Request;

use crate::commands::At;

/// Asks the running relay about a lane.
pub(super) fn asked(at: &At, question: WarmupQuestion, lane: &LaneKey) -> anyhow::Result<WarmupAnswer> {
    match at.ask::<WarmupAnswer>(&Request::Warmup(question))? {
        WarmupAnswer::NoSuchLane { lanes } if lanes.is_empty() => {
            anyhow::bail!("there is no lane yet: a lane appears with the first mail to a provider")
        }
        WarmupAnswer::NoSuchLane { lanes } => {
            anyhow::bail!("there is no lane {}/{}; lanes are: {}", lane.source, lane.provider, lanes.join(", "))
        }
        answer => Ok(answer),
    }
}

/// `ip1/google`
pub(super) fn lane(text: &str) -> Result<LaneKey, String> {
    match text.split_once('/') {
        Some((source, provider)) if !source.is_empty() && !provider.is_empty() => Ok(LaneKey::new(source, provider)),
        _ => Err("a lane is a source and a provider, such as ip1/google".into()),
    }
}

/// Prints a line of JSON.
pub(super) fn json(value: &impl serde::Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(writeln!(out, "{}", serde_json::to_string(value)?)?)
}

pub(super) const ODD: &str = "the relay gave an unexpected answer";
