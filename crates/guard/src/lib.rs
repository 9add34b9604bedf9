//! The guard: when a user or a stream behaves like a stolen account, its new mail is accepted and held until an operator releases or drops it. A
//! stolen password then costs an hour's mail, and not the good name of the addresses that it would have been sent from.
//!
//! The rules of `findings` say who behaves like that; [`Holds`] decides from what they found whose mail is held, and for how long the same
//! figures are left alone once an operator has judged them (pure). The [`Room`] that held mail may take is counted as mail comes (pure). The
//! [`Guard`] is both, kept in the spool: the door asks it about each message, the relay's look at the rules tells it what was found, and
//! operators list, release and drop by it.
//!
//! It may know `mail`, `smtp`, `spool`, `findings`, `queue`, `journal` and `host`. Its invariants: what is held is held by a hold that is shown, also
//! after a crash; an operator's decision is durable before mail moves, and what a crash cuts off is made up for; other mail is not touched.

mod guard;
mod holds;
mod room;
mod settings;
mod shown;
mod sighting;

pub use guard::{Done, ENDS_SOON, EndRequest, Guard, GuardError, How};
pub use holds::{Ended, Grace, Hold, Holds, HoldsError};
pub use room::{Amount, Room, RoomLimits};
pub use settings::{Own, Settings};
pub use shown::Shown;
pub use sighting::Sighting;
