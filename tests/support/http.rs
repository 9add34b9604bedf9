//! A client of the HTTP API. Each answer is checked against the OpenAPI document that the relay itself serves.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jsonschema::Validator;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};

use crate::wait::PATIENCE;

/// The API of a relay, used with a token.
pub struct Api {
    port: u16,
    token: Option<String>,
    document: OnceLock<Value>,
    /// Method, path and status of every answer so far, the path as the document writes it.
    seen: Mutex<BTreeSet<(String, String, u16)>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub struct Connection {
    stream: BufReader<Box<dyn Duplex>>,
    /// The certificate that the server showed; None: without TLS.
    pub certificate: Option<Vec<u8>>,
    /// The protocol that both agreed on under TLS (RFC 7301).
    pub protocol: Option<Vec<u8>>,
}

trait Duplex: Read + Write + Send {}

impl<S: Read + Write + Send> Duplex for S {}

impl Connection {
    /// Connects to a port of 127.0.0.1.
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(Box::new(stream)), certificate: None, protocol: None })
    }

    /// Connects to a port of 127.0.0.1 by TLS; the server's name must be `name`.
    pub fn secure(port: u16, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let name = name.to_owned().try_into().map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        let certificate = connection.peer_certificates().and_then(<[_]>::first).map(|certificate| certificate.to_vec());
        let protocol = connection.alpn_protocol().map(<[u8]>::to_vec);
        Ok(Self { stream: BufReader::new(Box::new(StreamOwned::new(connection, stream))), certificate, protocol })
    }

    /// Sends a request without a body and reads its answer.
    pub fn get(&mut self, path: &str, headers: &str) -> io::Result<Reply> {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: relay.test\r\n{headers}\r\n").as_bytes())?;
        self.hear()
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer, final or interim (1xx).
    pub fn hear(&mut self) -> io::Result<Reply> {
        let mut reply = self.head()?;
        if reply.header("transfer-encoding") == "chunked" {
            reply.body = self.chunks()?;
        } else if reply.status >= 200 && reply.status != 204 {
            let length = reply.header("content-length").parse().map_err(|_| io::Error::other("an answer without length"))?;
            reply.body = vec![0; length];
            self.stream.read_exact(&mut reply.body)?;
        }
        Ok(reply)
    }

    /// Reads the head of an answer whose body may have no end.
    pub fn head(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an answer: {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Reply { status, headers, body: Vec::new() })
    }

    /// Whether the other side has closed.
    pub fn is_over(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }
}

impl Api {
    /// The API on this port of 127.0.0.1.
    pub fn new(port: u16, token: &str) -> Self {
        let token = Some(token.to_owned()).filter(|t| !t.is_empty());
        Self { port, token, document: OnceLock::new(), seen: Mutex::default() }
    }

    /// Sends a request and checks the answer against the document.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let reply = self.try_call(method, path, headers, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        self.judge(method, path, &reply);
        reply
    }

    /// Sends a request; an error if the relay is gone.
    pub fn try_call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
        let mut connection = Connection::open(self.port)?;
        connection.send(&[self.head(method, path, headers, body.len()).as_bytes(), body].concat())?;
        connection.hear()
    }

    /// The head of a request.
    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: relay.test\r\nContent-Length: {length}\r\n");
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        head + "\r\n"
    }

    /// Posts JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_with(path, &[], body)
    }

    /// Posts JSON with more headers. An accepted body must fit the document.
    #[track_caller]
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        let reply = self.call("POST", path, &headers, body.to_string().as_bytes());
        let schema = &self.document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        if reply.status < 300 && !schema.is_null() {
            self.fits(schema, body, &format!("the request to POST {path}"));
        }
        reply
    }

    /// Submits a message; returns its id.
    #[track_caller]
    pub fn mail(&self, draft: &Value) -> String {
        let reply = self.post("/v1/messages", draft);
        assert_eq!(reply.status, 202, "{}", reply.text());
        reply.json()["id"].as_str().expect("what was taken has an id").to_owned()
    }

    /// Asks.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], b"")
    }

    /// The OpenAPI document.
    pub fn document(&self) -> &Value {
        self.document.get_or_init(|| self.try_call("GET", "/v1/openapi.json", &[], b"").expect("the document can be had").json())
    }

    /// The answers so far.
    pub fn seen(&self) -> BTreeSet<(String, String, u16)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Checks an answer against the document: its status and media type are documented, and its body fits the schema.
    #[track_caller]
    pub fn judge(&self, method: &str, path: &str, reply: &Reply) {
        let (method, asked) = (method.to_ascii_lowercase(), path.split('?').next().unwrap_or_default());
        let paths = self.document()["paths"].as_object().expect("the document has paths");
        let written = paths.keys().find(|p| *p == asked).or_else(|| paths.keys().find(|p| is_at(p, asked)));
        let Some(operation) = written.and_then(|p| paths[p].get(&method)) else {
            assert!(matches!(reply.status, 404 | 405), "{method} {path} is not documented and answers {}", reply.status);
            return self.fits(&json!({"$ref": "#/components/schemas/Problem"}), &reply.json(), path);
        };
        let response = &operation["responses"][reply.status.to_string()];
        assert!(!response.is_null(), "{method} {path} answers {}, which is not documented: {}", reply.status, reply.text());
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert((
            method.clone(),
            written.expect("there is an operation").clone(),
            reply.status,
        ));
        let Some(content) = response.get("content").and_then(Value::as_object) else {
            return assert!(reply.body.is_empty(), "{method} {path}: a body that is not documented");
        };
        let kind = reply.header("content-type").split(';').next().unwrap_or_default();
        let media = content.get(kind).unwrap_or_else(|| panic!("{method} {path}: {kind} is not documented"));
        if kind.ends_with("json") && !kind.ends_with("ndjson") {
            self.fits(&media["schema"], &reply.json(), &format!("{method} {path}: {}", reply.status));
        }
    }

    #[track_caller]
    fn fits(&self, schema: &Value, value: &Value, what: &str) {
        let mut whole = schema.clone();
        whole["components"] = self.document()["components"].clone();
        let validator: Validator = jsonschema::options().should_validate_formats(true).build(&whole).expect("the schema is one");
        let errors: Vec<String> = validator.iter_errors(value).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{what}: {errors:#?}\nin {value:#}");
    }
}

/// Whether a path matches a template with names in braces.
fn is_at(written: &str, asked: &str) -> bool {
    let (written, asked): (Vec<_>, Vec<_>) = (written.split('/').collect(), asked.split('/').collect());
    written.len() == asked.len() && written.iter().zip(&asked).all(|(w, a)| w == a || (w.starts_with('{') && !a.is_empty()))
}

/// TOML for a relay with the API on this port of 127.0.0.1 and these tokens: name, token, rights.
pub fn config(port: u16, tokens: &[(&str, &str, &[&str])]) -> String {
    let token = |(name, token, rights): &(&str, &str, &[&str])| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        let sha256: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        format!("user.{name}.tokens = [\"sha256:{sha256}\"]\nuser.{name}.http = {rights:?}\n")
    };
    format!("http.address = \"127.0.0.1:{port}\"\n") + &tokens.iter().map(token).collect::<String>()
}
