//! Sends the body and reads the reply to the final dot.

use std::time::Duration;

use bytes::Bytes;
use posthaste_mail::{Failure, Stage};

use super::{
    Connection, RecipientResult,
    body::CheckedBody,
    channel::{Channel, Wrote},
    report::Slots,
    transact::{Framing, ReplyKind, classify},
};

impl Connection {
    /// Sends the body and settles the accepted recipients by the reply to the final dot.
    pub(super) async fn hand_over(&mut self, framing: &Framing<'_>, slots: &mut Slots) {
        let sent = match framing {
            Framing::Dotted(body) => self.send_body(body).await,
            Framing::Chunked(parts) => self.send_chunk(parts).await,
        };
        let result = match sent {
            Ok(()) => match self.channel.reply(Stage::Dot, self.timeouts.dot).await.map(|reply| classify(Stage::Dot, reply)) {
                Ok(ReplyKind::Positive(reply)) => RecipientResult::Delivered(reply),
                Ok(ReplyKind::Refused(failure)) => RecipientResult::Failed(failure),
                Ok(ReplyKind::Unexpected(failure)) | Err(failure) => {
                    self.channel.close();
                    RecipientResult::Unknown(failure)
                }
            },
            Err(Cut { failure: failure @ Failure::Refused { .. }, .. } | Cut { failure, dot_sent: false }) => {
                RecipientResult::Failed(failure)
            }
            Err(Cut { failure, dot_sent: true }) => RecipientResult::Unknown(failure),
        };
        slots.end_accepted(&result);
    }

    /// Gathers small pieces, including the final dot, into blocks; long pieces are written without a copy.
    async fn send_body(&mut self, body: &CheckedBody<'_>) -> Result<(), Cut> {
        let limit = self.timeouts.block;
        let out = &mut self.out;
        out.clear();
        for piece in body.pieces() {
            if piece.len() < LONG && out.len() + piece.len() <= BLOCK {
                out.extend_from_slice(piece);
                continue;
            }
            send_block(&mut self.channel, out, limit, false).await?;
            out.clear();
            if piece.len() < LONG {
                out.extend_from_slice(piece);
                continue;
            }
            for block in piece.chunks(BLOCK) {
                send_block(&mut self.channel, block, limit, false).await?;
            }
        }
        send_block(&mut self.channel, out, limit, true).await
    }

    /// RFC 3030 §2: BDAT with the length, then the bytes unchanged.
    async fn send_chunk(&mut self, parts: &[Bytes]) -> Result<(), Cut> {
        let limit = self.timeouts.block;
        let length: usize = parts.iter().map(Bytes::len).sum();
        let command = format!("BDAT {length} LAST\r\n");
        send_block(&mut self.channel, command.as_bytes(), limit, length == 0).await?;
        let mut left = length;
        for block in parts.iter().flat_map(|part| part.chunks(BLOCK)) {
            left -= block.len();
            send_block(&mut self.channel, block, limit, left == 0).await?;
        }
        Ok(())
    }
}

/// Sending the body failed midway.
struct Cut {
    failure: Failure,
    /// Whether the final dot may have reached the receiver.
    dot_sent: bool,
}

async fn send_block(channel: &mut Channel, bytes: &[u8], limit: Duration, last: bool) -> Result<(), Cut> {
    if bytes.is_empty() {
        return Ok(());
    }
    let trouble = match channel.block(bytes, limit, last).await {
        Ok(Wrote::All) => return Ok(()),
        Ok(Wrote::Interrupted) => None,
        Err(trouble) => Some(trouble),
    };
    // In plain text a broken write lacks at least the last byte, the LF of the final dot. Under TLS, bytes already encrypted may have been
    // sent.
    let dot_sent = last && channel.stream.is_tls();
    Err(Cut { failure: channel.explain(trouble, Stage::Dot).await, dot_sent })
}

/// Pieces of at least this many bytes are not copied.
const LONG: usize = 32 * 1024;
/// Bytes written at a time; each block has a time limit of its own.
const BLOCK: usize = 128 * 1024;
