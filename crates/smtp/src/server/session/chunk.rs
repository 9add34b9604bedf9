//! BDAT (RFC 3030): a message in chunks of declared length. Nothing in a chunk can be taken for a command, whatever it holds.

use bytes::{Buf, BytesMut};

use super::Session;
use crate::server::{
    Answer, Step,
    body::{BodyFraming, BodyReceiver},
    fault::{Fault, Weight},
    phase::{Chunk, Phase},
};

impl Session {
    /// Begins a chunk. Even if it is refused, its bytes follow and must be read first.
    pub(super) fn bdat(&mut self, size: u64, last: bool, out: &mut Vec<u8>) -> Option<Step> {
        let refused = match &mut self.transaction {
            None => Some(Fault::out_of_order("bdat", "say MAIL first")),
            Some(transaction) if transaction.len() == 0 && transaction.refused == 0 => Some(Fault::out_of_order("bdat", "say RCPT first")),
            Some(transaction) if transaction.len() == 0 => {
                Some(Fault::refusal("bdat", "no_recipients", Answer::new(554, 5, 1, "no recipient was accepted")))
            }
            Some(transaction) => {
                let kind = BodyFraming::of_chunks(transaction.mail.body);
                let declared = transaction.mail.size;
                let receiver = transaction.chunks.get_or_insert_with(|| Box::new(BodyReceiver::of_kind(&self.settings, declared, kind)));
                receiver.is_too_long(size).then(|| Fault::fatal("bdat", "too_large", Answer::new(552, 3, 4, "that is too much")))
            }
        };
        match refused {
            Some(fault) if fault.weight == Weight::Fatal || size > self.settings.limits.message_size.saturating_mul(2) => {
                let fault = Fault { weight: Weight::Fatal, ..fault };
                let step = self.fault(fault, out);
                self.transaction = None;
                Some(step)
            }
            refused => {
                self.phase = Phase::Chunk(Box::new(Chunk { left: size, size, last, refused }));
                if size == 0 { self.end_chunk(out) } else { None }
            }
        }
    }

    /// Takes the part of a chunk that has arrived.
    pub(super) fn receive_chunk(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Option<Step> {
        let Phase::Chunk(chunk) = &mut self.phase else { return None };
        let length = input.len().min(usize::try_from(chunk.left).unwrap_or(usize::MAX));
        if chunk.refused.is_none()
            && let Some(receiver) = self.transaction.as_mut().and_then(|transaction| transaction.chunks.as_mut())
        {
            receiver.push(&input[..length]);
        }
        input.advance(length);
        chunk.left -= length as u64;
        if chunk.left == 0 { self.end_chunk(out) } else { None }
    }

    fn end_chunk(&mut self, out: &mut Vec<u8>) -> Option<Step> {
        let Phase::Chunk(chunk) = std::mem::replace(&mut self.phase, Phase::Command) else { return None };
        let Chunk { size, last, refused, .. } = *chunk;
        if let Some(fault) = refused {
            return Some(self.fault(fault, out));
        }
        let chunks = &mut self.transaction.as_mut().expect("a chunk that is accepted belongs to a message").chunks;
        if last || chunks.as_ref().is_some_and(|receiver| receiver.is_flawed()) {
            let receiver = chunks.take().expect("BDAT makes a receiver");
            return Some(match receiver.finish() {
                Ok(body) => self.submit(body),
                // RFC 3030 §2: its later chunks are discarded and get 503.
                Err(flaw) => self.flawed("bdat", flaw, out),
            });
        }
        Answer::new(250, 0, 0, format!("{size} bytes taken")).write(out);
        None
    }
}
