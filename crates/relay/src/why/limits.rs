//! The limits in force, each with the configuration line that sets it.

use posthaste_config::Config;
use posthaste_governor::Overflow;
use posthaste_mail::Name;
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What it limits: `connections`, `per_hour`, `warmup`.
    pub name: String,
    /// Its value.
    pub value: String,
    /// File and line.
    pub from: String,
}

impl Limit {
    #[expect(clippy::needless_pass_by_value, reason = "callers hand in what they have just made")]
    fn new(name: &str, value: impl ToString, from: impl ToString) -> Self {
        Self { name: name.into(), value: value.to_string(), from: from.to_string() }
    }
}

/// A source's limits at a provider: the provider's own, otherwise the general ones; and its warm-up curve.
pub(super) fn of_lane(settings: &Settings, source: &Name, provider: &Name) -> Vec<Limit> {
    let (config, delivery) = (&settings.config, &settings.config.delivery);
    let entry = settings.providers.get(provider.as_str());
    let own = entry.map(|entry| &entry.limits);
    let general = [
        ("connections", own.and_then(|l| l.connections), "connections_per_lane", delivery.connections_per_lane.to_string()),
        (
            "messages_per_connection",
            own.and_then(|l| l.messages_per_connection),
            "messages_per_connection",
            delivery.messages_per_connection.to_string(),
        ),
        (
            "recipients_per_transaction",
            own.and_then(|l| l.recipients_per_transaction),
            "recipients_per_transaction",
            delivery.recipients_per_transaction.to_string(),
        ),
    ];
    let from_entry = |key: &str| entry.and_then(|entry| entry.origin_of(key)).map_or_else(String::new, ToString::to_string);
    let mut limits = Vec::new();
    for (name, of_provider, key, value) in general {
        limits.push(match of_provider {
            Some(number) => Limit::new(name, number, from_entry(name)),
            None => Limit::new(name, value, origin(config, &format!("delivery.{key}"))),
        });
    }
    let rates = own.map(|l| [("per_second", l.per_second), ("per_minute", l.per_minute), ("per_hour", l.per_hour), ("per_day", l.per_day)]);
    for (name, number) in rates.into_iter().flatten() {
        limits.extend(number.map(|number| Limit::new(name, number, from_entry(name))));
    }
    if let Some(pause) = own.and_then(|l| l.first_pause) {
        limits.push(Limit::new("first_pause", short(pause.as_secs()), from_entry("first_pause")));
    }
    limits.extend(curve(config, source, provider));
    limits
}

/// A source's curve at a provider, and the configuration lines of its caps.
fn curve(config: &Config, source: &Name, provider: &Name) -> Vec<Limit> {
    let Some(plan) = config.plan(source, provider.as_str()) else { return Vec::new() };
    let key = |key: &str| config.plan_origin(source, provider.as_str(), key).unwrap_or_default();
    let caps = plan.curve.caps();
    let (first, last) = (caps.first().copied().unwrap_or_default(), caps.last().copied().unwrap_or_default());
    // The key with which this curve gives its caps; for the other keys the curve's first line is returned.
    let given =
        ["caps", "hourly", "start"].map(key).into_iter().max_by_key(|from| from.rsplit(':').next().and_then(|n| n.parse::<u32>().ok()));
    let overflow = match &plan.overflow {
        Overflow::Defer => "defer".to_owned(),
        Overflow::Spill => "spill".to_owned(),
        Overflow::Pool(pool) => format!("pool:{pool}"),
    };
    vec![
        Limit::new("warmup", &plan.name, origin(config, &format!("source.{source}.warmup"))),
        Limit::new("caps", format!("{first} to {last} a day in {} stages", plan.curve.stages()), given.unwrap_or_default()),
        Limit::new("overflow", overflow, key("overflow")),
    ]
}

/// Limits that do not depend on the lane: total connections, and the rates of streams.
pub(super) fn general(config: &Config) -> Vec<Limit> {
    let mut limits = vec![Limit::new("delivery.connections", config.delivery.connections, origin(config, "delivery.connections"))];
    for (name, stream) in &config.streams {
        let shape = stream.shape;
        for (key, most) in [("per_second", shape.second), ("per_minute", shape.minute), ("per_hour", shape.hour), ("per_day", shape.day)] {
            let key = format!("stream.{name}.{key}");
            limits.extend(most.map(|most| Limit::new(&key, most, origin(config, &key))));
        }
    }
    limits
}

fn origin(config: &Config, key: &str) -> String {
    config.origin(key).map_or_else(String::new, ToString::to_string)
}

/// `10m`, `1h`, `90s`.
fn short(seconds: u64) -> String {
    match seconds {
        s if s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}
