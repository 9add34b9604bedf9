//! Long answers, whose memory counts until the client has read them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, header},
    response::Response,
};
use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use crate::body::Share;

/// A long answer is handed to the connection in parts of this many bytes, when there is room for one.
const PART: usize = 64 << 10;

/// An answer and its share of the memory.
struct Counted {
    left: Bytes,
    _share: Share,
}

/// The value as JSON. The share, which was reserved for the longest answer, becomes what this one takes and is held until it is sent.
pub(crate) fn json(value: &impl Serialize, mut share: Share) -> Response {
    let text = serde_json::to_vec(value).expect("an answer has nothing that JSON can't hold");
    share.shrink(text.len() as u64);
    let mut answer = Response::new(Body::new(Counted { left: text.into(), _share: share }));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.left.len().min(PART);
        if length == 0 {
            return Poll::Ready(None);
        }
        // A copy: whoever reads the last part slowly does not keep the others in memory.
        let part = Bytes::copy_from_slice(&self.left[..length]);
        self.left.advance(length);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}
