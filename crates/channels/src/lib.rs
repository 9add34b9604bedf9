//! Word of incidents, by ways that do not depend on the mail that is stuck.
//!
//! A [`Notification`] says what became of an incident. [`Outbox`] decides, without a clock or a socket, which channel hears of it and when: it
//! retries, keeps to a channel's limit an hour, makes one message of a storm, and tells of nothing that was over before it could be told. The
//! bodies of messages are pure functions too ([`body`]). [`Sender`] is the thin rest: HTTPS, commands, and mail by a session of its own.
//! [`Channels`] puts them together and runs them, [`heartbeat`] calls a URL while mail flows,
//! and [`Post`] sends the report of a day.
//!
//! It may know `mail`, `smtp`, `journal` and `host`. It knows neither the queue nor the rules that find incidents: what it is offered is text.
//! Its invariants: a channel whose endpoint is dead holds up no other; what a channel has taken is not told to it again; memory is bounded.

pub mod body;
pub mod heartbeat;
mod message;
mod notification;
mod outbox;
mod run;
mod sender;
mod settings;
mod store;

pub use heartbeat::Heartbeat;
pub use message::Message;
pub use notification::{Change, Notification, Severity};
pub use outbox::{Outbox, Unreadable, Wants};
pub use run::{Channels, NoSuchChannel, Tested};
pub use sender::{Post, SendError, Sender};
pub use settings::{Channel, Command, DailyReport, HeartbeatUrl, Mail, Ntfy, PagerDuty, SecretUrl, Settings, Way};
pub use store::refuse_unknown;
