//! What the spool keeps of a message.

use posthaste_message::MessageRecord;
use posthaste_queue::Seq;
use posthaste_spool::Spool;

/// What the spool keeps of a message beside its body. Blocks on the disk.
pub fn read_record(spool: &Spool, seq: Seq) -> Result<MessageRecord, String> {
    let meta = spool.meta(seq).map_err(|e| format!("the spool cannot give the envelope: {e}"))?;
    MessageRecord::decode(&meta.ok_or("the spool does not have the message")?)
        .map_err(|e| format!("the spool's envelope cannot be read: {e}"))
}
