//! A message as the relay carries it: the corrections of its header on the way in (RFC 6409 §8), its record in the spool, the progress of
//! its delivery, and its body while that is in memory.
//!
//! It may know `mail` and nothing else; it does no I/O. Stored records are read again by later versions, so fields are only ever added.

mod alignment;
mod body_cache;
mod header;
mod mailboxes;
mod message;
mod prepare;
mod progress;
mod qualify;
pub mod recode;
mod record;
mod sender;

pub use alignment::aligned;
pub use body_cache::{WarmBudget, WarmShare};
pub use message::Message;
pub use prepare::{
    HeaderLimits, META_MAX, META_NAME_MAX, META_VALUE_MAX, Prepared, RETURN_FIELD, Submission, TAG_MAX, TAGS_MAX, Unfit, header_block,
    is_lines, prepare, without_mbox_lines,
};
pub use progress::{Progress, SavedRecipient};
pub use qualify::with_domains;
pub use record::{MessageRecord, NotReadBack};
