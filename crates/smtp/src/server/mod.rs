//! The server: an ESMTP session (RFC 5321) without sockets or a clock.
//!
//! The caller holds the connection. It reads bytes into one buffer, calls [`Session::feed`], and does what the [`Step`] says:
//!
//! ```text
//! session.greet(&mut out);
//! loop {
//!     match session.feed(&mut input, &mut out) {
//!         Step::More => { write out; read into input }
//!         Step::Flush => { write out }
//!         Step::Mail(..) | Step::Rcpt(..) => session.answer(policy, &mut out),
//!         Step::StartTls => { write out; TLS handshake; session.secured(bindings) }
//!         Step::Authenticate(c) => session.authenticated(check(c), &mut out),
//!         Step::Message(m) => session.answer_message(stored(m), &mut out),
//!         Step::Refused(r) => log(r),
//!         Step::Close => { write out; close; break }
//!     }
//! }
//! ```
//!
//! The session is strict where leniency would be a security hole: only CRLF ends a line, only CRLF.CRLF ends a message; a path is parsed
//! once, by one parser; every buffer has a limit.

mod answer;
mod bindings;
mod body;
mod command;
mod fault;
mod limits;
mod line;
mod offers;
mod params;
mod path;
mod phase;
mod refused;
pub mod sasl;
mod session;
mod step;
mod transaction;

#[cfg(test)]
mod props;

pub use answer::Answer;
pub use bindings::Bindings;
pub use limits::{SessionLimits, SessionSettings};
pub use offers::{BareLineEnds, Offers};
pub use refused::Refused;
pub use sasl::Credentials;
pub use session::{Hello, Session};
pub use step::{MailRequest, SessionRefusal, Step, Submission};
