//! The dispatcher's settings, made from the configuration.

use std::{num::NonZeroU32, sync::Arc};

use jiff::civil::Date;
use posthaste_config::{self as config, Config, bounce_domain_of};
use posthaste_delivery::ledger::FirstSeen;
use posthaste_feedback::Feedback;
use posthaste_governor::{Plan, Shape};
use posthaste_mail::Name;
use posthaste_queue::{LaneLimits, Policy, PoolPolicy, SourceWarmup, StreamPolicy};
use posthaste_route::Providers;

/// The dispatcher's settings.
pub fn policy(c: &Config, providers: &Providers, feedback: Arc<Feedback>, seen: &FirstSeen) -> Policy {
    let limits = LaneLimits {
        connections: c.delivery.connections_per_lane,
        messages_per_connection: c.delivery.messages_per_connection,
        recipients_per_transaction: c.delivery.recipients_per_transaction,
        shape: Shape::default(),
    };
    let pool = |pool: &config::Pool| PoolPolicy { sources: pool.sources.clone(), relieve: pool.relieve };
    Policy {
        streams: c.streams.iter().map(|(name, s)| (name.clone(), stream(c, s))).collect(),
        fallback: stream(c, c.default_stream()),
        pools: c.pools.iter().map(|(name, p)| (name.clone(), pool(p))).collect(),
        warmups: c.sources.keys().filter_map(|name| Some((name.clone(), warmup(c, name, *seen.get(name)?)?))).collect(),
        warm: Arc::new(Plan::warm()),
        providers: providers.iter().map(|p| (p.name.as_str().into(), over(&limits, &p.limits))).collect(),
        limits,
        feedback,
        connections: c.delivery.connections,
        patience: c.delivery.patience,
        idle: c.delivery.idle,
        unlogged_max: c.delivery.unlogged_max,
        host_down: c.delivery.host_down,
    }
}

/// The warm-up plan of a source first seen on this day.
fn warmup(c: &Config, source: &Name, seen: Date) -> Option<SourceWarmup> {
    let warmup = c.sources.get(source)?.warmup.as_ref()?;
    let curves = &c.curves;
    // No provider has an empty name: it selects the curve itself.
    let usual = curves.plan(&warmup.curve, "")?.clone();
    let variant = |provider: &str| Some((provider.into(), curves.plan(&warmup.curve, provider)?.clone()));
    let first = warmup.start.first_stage(&usual, seen);
    Some(SourceWarmup { first, providers: curves.providers(&warmup.curve).filter_map(variant).collect(), usual })
}

fn stream(config: &Config, stream: &config::Stream) -> StreamPolicy {
    StreamPolicy {
        retry: stream.retry.clone(),
        share: stream.priority,
        pool: stream.pool.clone(),
        order: stream.order,
        priority: stream.urgency,
        shape: stream.shape,
        one_by_one: bounce_domain_of(&config.returns, stream).is_some(),
    }
}

/// A provider's limits; where it has none, the general ones.
fn over(general: &LaneLimits, own: &posthaste_route::ProviderLimits) -> LaneLimits {
    let many = |n: Option<u32>| n.and_then(NonZeroU32::new);
    LaneLimits {
        connections: own.connections.map_or(general.connections, |n| n as usize),
        messages_per_connection: own.messages_per_connection.unwrap_or(general.messages_per_connection),
        recipients_per_transaction: own.recipients_per_transaction.map_or(general.recipients_per_transaction, |n| n as usize),
        shape: Shape { second: many(own.per_second), minute: many(own.per_minute), hour: many(own.per_hour), day: many(own.per_day) },
    }
}
