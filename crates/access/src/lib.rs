//! Users: their passwords, tokens and certificates, the senders and quotas allowed to them; and the lockout of clients that guess
//! passwords. Also the servers that say who somebody is: of tokens, and of people at the page.
//!
//! It may know `mail`, `smtp`, `spool`, `message`, `journal` and `host`. Neither an answer nor its timing reveals whether a user exists. A
//! token that cannot be checked at present never counts as a wrong one.

mod allowance;
pub mod bans;
pub mod introspection;
mod lockout;
pub mod oidc;
pub mod users;

pub use allowance::{Allowances, may_hand_in};
pub use lockout::{Guess, Lockout, Price, ShutOut};
