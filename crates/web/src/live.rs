//! Tells pages that there is news, by server-sent events (HTML, section 9.2). The page fetches itself
//! then and puts the new parts in place of the old; so a page with many viewers costs what its changes cost, and none at rest.

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http_body_util::channel::Channel;
use posthaste_http::Live;

use crate::{answer::Shared, viewer::Viewer};

/// How often it is looked whether there is news.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A connection on which nothing was said for so many looks hears a comment, so that nobody between takes it for dead.
const SILENT_LOOKS: u32 = 7;

/// The stream of news of one viewer.
pub(crate) async fn news(State(site): Shared, viewer: Viewer, live: Live) -> Response {
    // The script asks again in a moment.
    let Some(mut live) = live.open() else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let (mut events, body) = Channel::<Bytes, std::convert::Infallible>::new(2);
    tokio::spawn(async move {
        let (mut told, mut silent) = (None, 0);
        loop {
            // A session that ended elsewhere hears no more.
            if site.session(&viewer.cookie, false).is_none() {
                drop(events.send_data(Bytes::from_static(b"event: over\ndata:\n\n")).await);
                return;
            }
            let version = site.snapshots.of(&site.desk).await.map(|snapshot| snapshot.version).ok();
            let said = match (version, told) {
                (Some(version), _) if Some(version) != told => format!("event: news\nid: {version}\ndata: {version}\n\n"),
                _ if silent >= SILENT_LOOKS => ": nothing new\n\n".into(),
                _ => String::new(),
            };
            silent = if said.is_empty() { silent + 1 } else { 0 };
            told = version.or(told);
            if !said.is_empty() {
                if events.send_data(said.into()).await.is_err() {
                    return;
                }
                live.goes_on();
            }
            tokio::select! {
                () = live.relay_stops() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (StatusCode::OK, headers, Body::new(body)).into_response()
}
