//! What is in the spool, recipient by recipient.

use posthaste_mail::MessageId;
use posthaste_message::{MessageRecord, Progress};
use posthaste_spool::{ReadError, Spool};

/// Shows all recipients in the spool, and the numbers of the messages whose records cannot be read. Blocks on the disk.
pub(crate) fn each_spooled(spool: &Spool, mut show: impl FnMut(MessageId, &str), mut unreadable: impl FnMut(u64)) -> Result<(), ReadError> {
    let read = spool.for_each(|stored| {
        let Ok(record) = MessageRecord::decode(&stored.meta) else { return unreadable(stored.seq) };
        let saved = stored.state.as_deref().and_then(|s| Progress::decode(s).ok());
        let recipients = &record.envelope.recipients;
        let waiting: Vec<usize> = match saved {
            Some(progress) => progress.recipients.iter().map(|s| usize::from(s.0)).collect(),
            None => (0..recipients.len()).collect(),
        };
        waiting.into_iter().filter_map(|i| recipients.get(i)).for_each(|rcpt| show(record.id, rcpt.as_str()));
    });
    read.map(drop)
}
