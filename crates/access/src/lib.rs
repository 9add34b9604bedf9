//! Users: who may send, with what password, token or certificate, in whose name and how much; and who is shut out because he guessed.
//!
//! It may know `mail`, `smtp`, `spool`, `message`, `journal` and `host`. What a stranger says is held against it without telling, by the answer or
//! by its time, whether there is such a user; a token that cannot be checked is never a wrong one.

mod allowance;
pub mod bans;
pub mod introspection;
mod lockout;
pub mod users;

pub use allowance::{Allowances, may_hand_in};
pub use lockout::{Lockout, Price, ShutOut};
