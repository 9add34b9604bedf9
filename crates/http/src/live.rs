//! Answers that go on, such as server-sent events: they hold no place of the requests, last while they say that they go on, and end when the
//! relay stops.

use std::{convert::Infallible, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use tokio::sync::watch;

use crate::{places::Place, request::UnderWay};

/// Opens an answer that goes on, for the request that carries this.
#[derive(Clone, Debug)]
pub struct Live {
    pub(crate) place: Arc<Place>,
    pub(crate) most: usize,
    pub(crate) under_way: UnderWay,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl<S: Sync> FromRequestParts<S> for Live {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().expect("every connection can carry an answer that goes on").clone())
    }
}

impl Live {
    /// Gives the connection's place back to others. The connection ends with this answer. None: as many answers go on as may (`http.max_live`),
    /// or the connection was told to leave.
    pub fn open(self) -> Option<LiveAnswer> {
        self.place.go_live(self.most).then_some(LiveAnswer { under_way: self.under_way, stopping: self.stopping })
    }
}

/// An answer that goes on. It has to end when the relay stops.
#[derive(Debug)]
pub struct LiveAnswer {
    under_way: UnderWay,
    stopping: watch::Receiver<bool>,
}

impl LiveAnswer {
    /// The client has taken what was sent. A connection of which this is not said for some minutes ends: the client is gone, or reads nothing.
    pub fn goes_on(&self) {
        self.under_way.goes_on();
    }

    /// Returns when the relay stops. It may be dropped and asked again.
    pub async fn relay_stops(&mut self) {
        relay_stops(&mut self.stopping).await;
    }
}

/// Returns when the relay stops.
pub(crate) async fn relay_stops(stopping: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone: the relay stops then too.
    drop(stopping.wait_for(|stop| *stop).await.map(drop));
}
