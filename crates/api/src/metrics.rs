//! `/metrics`, for Prometheus and what reads its format.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, State},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use posthaste_access::users::Right;
use posthaste_governor::warmup::{WarmupAnswer, WarmupQuestion};
use posthaste_host::clock;
use posthaste_http::Peer;
use posthaste_queue::{LaneRow, QueueTable};
use posthaste_watch::{Counted, Gauge, Labels, MetricsFormat, metrics as written};

use crate::{
    auth::Principal,
    gauges::{commits, of_house, of_watch},
    problem::{Problem, Refusal},
    state::Api,
};

/// Who may read the metrics: the networks of `http.metrics_allow`, and tokens with the right to monitor.
pub(super) struct Reader;

impl FromRequestParts<Arc<Api>> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Refusal> {
        let Ok(Peer(ip)) = Peer::from_request_parts(parts, api).await;
        let ip = ip.to_canonical();
        if api.settings.get().requests.metrics_allow.iter().any(|network| network.contains(&ip)) {
            return Ok(Self);
        }
        let who = Principal::from_request_parts(parts, api).await?;
        who.may(Right::Monitor).map(|()| Self).map_err(|refused| *refused)
    }
}

/// The figures for machines, in OpenMetrics if the request accepts that, else in Prometheus's older format.
///
/// Counters are those of the delivery log, whatever restarts there were. Where the log is not counted (monitoring is off, or its tallies cannot be
/// read at present) there are none, and what is known without them is there all the same; `posthaste_log_counted` says which. Addresses in
/// `http.metrics_allow` need no token.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "figures",
    security(("token" = ["monitor"])),
    responses(
        (status = 200, description = "The figures.", content((String = "text/plain"), (String = "application/openmetrics-text"))),
        (status = 401, description = "The token is missing or unknown.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The token does not have the right to \"monitor\".", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong tokens came from this address.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn metrics(State(api): State<Arc<Api>>, _: Reader, headers: HeaderMap) -> Result<Response, Refusal> {
    let known = api.settings.get().known_providers.clone();
    let mut gauges = vec![build()];
    if api.figures.is_some() {
        gauges.extend(of_watch(&api, &|provider| known.contains(provider)));
    }
    gauges.extend(of_house(&api));
    if let Ok(table) = api.queue.table().await {
        gauges.extend(of_queue(&table, &|provider| known.contains(provider)));
    }
    if let Ok(WarmupAnswer::Lanes { lanes }) = api.queue.warmup(WarmupQuestion::Status).await {
        let lanes: Vec<_> = lanes.into_iter().filter(|lane| known.contains(&*lane.provider)).collect();
        let labels = |lane: &posthaste_governor::warmup::LaneStatus| -> Labels {
            vec![("source", lane.source.to_string()), ("provider", lane.provider.to_string())]
        };
        let values = |of: fn(&posthaste_governor::warmup::LaneStatus) -> Option<u32>| {
            lanes.iter().filter_map(|lane| Some((labels(lane), of(lane)?.into()))).collect::<Vec<_>>()
        };
        let gauge = |name, help, values| Gauge { name, help, unit: None, values };
        gauges.push(gauge("lane_day_cap", "Recipients that a lane may send on this day; missing: any number", values(|lane| lane.cap)));
        gauges.push(gauge("lane_day_used", "How much of a lane's cap is used", values(|lane| Some(lane.used))));
        gauges.push(gauge("lane_stopped", "1 if a lane may not send now", values(|lane| Some(lane.hold.is_some().into()))));
    }
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = match accepts.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
        true => MetricsFormat::OpenMetrics,
        false => MetricsFormat::Prometheus,
    };
    let commits = commits(&api);
    let counted = api.figures(move |tallies| Counted::read(tallies, |provider| known.contains(provider))).await.ok();
    gauges.push(is_counted(counted.is_some()));
    let text = written(counted, (gauges, vec![commits]), format);
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

fn is_counted(so: bool) -> Gauge {
    let help =
        "1 if the delivery log is counted and all counters are here, 0 if monitor.enabled is false or the tallies cannot be read now";
    Gauge { name: "log_counted", help, unit: None, values: vec![(Vec::new(), f64::from(u8::from(so)))] }
}

fn build() -> Gauge {
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    Gauge { name: "build_info", help: "The program's version, as a label", unit: None, values: vec![(version, 1.0)] }
}

fn of_queue(table: &QueueTable, known: &dyn Fn(&str) -> bool) -> Vec<Gauge> {
    let counts = &table.counts;
    let states = [("due", counts.due), ("later", counts.later), ("in_flight", counts.in_flight), ("held", counts.held)];
    let states = states.map(|(state, n)| (vec![("state", state.to_owned())], n as f64)).into();
    let now = clock::now();
    vec![
        Gauge { name: "queue_messages", help: "Messages in the queue", unit: None, values: vec![(Vec::new(), counts.messages as f64)] },
        Gauge { name: "queue_recipients", help: "Recipients in the queue, by state", unit: None, values: states },
        Gauge { name: "connections", help: "Connections to receivers", unit: None, values: vec![(Vec::new(), counts.connections as f64)] },
        Gauge { name: "halted", help: "1 if deliveries are halted", unit: None, values: vec![(Vec::new(), table.halted.is_some().into())] },
        by_provider(table, known, "queue_waiting", "Recipients in the queue, by provider", |sum, row| sum + row.queued as f64),
        by_provider(table, known, "queue_oldest_seconds", "Age of the oldest message in the queue", |oldest, row| {
            oldest.max(row.oldest.map_or(0.0, |accepted| age(accepted, now)))
        }),
    ]
}

fn by_provider(
    table: &QueueTable,
    known: &dyn Fn(&str) -> bool,
    name: &'static str,
    help: &'static str,
    add: impl Fn(f64, &LaneRow) -> f64,
) -> Gauge {
    let mut values = std::collections::BTreeMap::new();
    for row in &table.lanes {
        let provider = if known(&row.provider) { &*row.provider } else { posthaste_tallies::OTHER };
        let value = values.entry(provider).or_insert(0.0);
        *value = add(*value, row);
    }
    let values = values.into_iter().map(|(provider, value)| (vec![("provider", provider.to_owned())], value));
    Gauge { name, help, unit: None, values: values.collect() }
}

fn age(accepted: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(accepted).as_secs_f64().max(0.0)
}
