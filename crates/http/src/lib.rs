//! Connections of the HTTP doors: their places, limits and durations.
//!
//! It serves any axum router, and knows neither routes nor users: `api` and the page are doors of their own behind it. What a handler may want to
//! know of its connection travels as extensions of the request: `Peer`, `Secure`, `UnderWay`, `Live` and `Arc<Place>`.
//!
//! It may know `access`, `certificates`, `journal` and `host`.

mod lingering;
mod live;
mod places;
mod request;
mod serve;
mod settings;
mod tls;

pub use live::{Live, LiveAnswer};
pub use places::Place;
pub use request::{Peer, Secure, UnderWay};
pub use serve::Server;
pub use settings::{Http, Settings, Tls};
pub use tls::ALPN;
