//! http-01 (RFC 8555 §8.3): serves answers under /.well-known/acme-challenge/, and nothing else.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

const FOLDER: &str = "/.well-known/acme-challenge/";
/// Limits of a request's head: its time, its bytes and its header fields.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 32;

/// The answers, by token.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, String>>);

impl Tokens {
    pub(super) fn expect(&self, token: &str, answer: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), answer.to_owned());
    }

    /// Answers one request.
    pub(super) async fn converse(&self, stream: TcpStream) {
        let service = service_fn(|request: Request<_>| {
            let answer = self.answer(request.method(), request.uri().path());
            async { Ok::<_, Infallible>(answer) }
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_headers(HEADERS_MAX).max_buf_size(HEAD_MAX).keep_alive(false);
        if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection for http-01 failed");
        }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = path.strip_prefix(FOLDER).filter(|_| method == Method::GET).and_then(|token| known.get(token)).cloned();
        let mut response = Response::new(Full::default());
        match answer {
            None => *response.status_mut() = StatusCode::NOT_FOUND,
            Some(answer) => {
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
                *response.body_mut() = Full::from(answer);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn answered(method: &Method, path: &str) -> (u16, Vec<u8>) {
        let tokens = Tokens::default();
        tokens.expect("abc", "abc.thumb");
        let response = tokens.answer(method, path);
        let status = response.status().as_u16();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (status, runtime.block_on(response.into_body().collect()).unwrap().to_bytes().to_vec())
    }

    #[test]
    fn only_what_is_expected_is_answered() {
        assert_eq!(answered(&Method::GET, "/.well-known/acme-challenge/abc"), (200, b"abc.thumb".to_vec()));
        for path in ["/", "/abc", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/abcd", "/.well-known/acme-challenge/../abc"]
        {
            assert_eq!(answered(&Method::GET, path), (404, Vec::new()), "{path}");
        }
        assert_eq!(answered(&Method::POST, "/.well-known/acme-challenge/abc").0, 404);
    }
}
