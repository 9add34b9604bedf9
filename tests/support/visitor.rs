//! Who asks the page without a browser: each answer as it is, header fields and all.

use std::fmt::Write as _;

use crate::http::{Connection, Reply};

/// Somebody with or without a session.
pub struct Visitor {
    port: u16,
    cookie: String,
}

impl Visitor {
    /// Nobody whom the page at this port of 127.0.0.1 knows.
    pub fn stranger(port: u16) -> Self {
        Self { port, cookie: String::new() }
    }

    /// Somebody who has logged in.
    #[track_caller]
    pub fn login(port: u16, name: &str, password: &str) -> Self {
        let mut visitor = Self::stranger(port);
        let answer = visitor.post("/login", &[("user", name), ("password", password)]);
        assert_eq!(answer.status, 303, "{name} is not let in: {}", answer.text());
        visitor.cookie = answer.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        visitor
    }

    /// Asks for a page.
    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "")
    }

    /// Sends a form.
    #[track_caller]
    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.post_with(path, &[], fields)
    }

    /// The same with more header fields.
    #[track_caller]
    pub fn post_with(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Reply {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        self.ask("POST", path, &[&[("Content-Type", "application/x-www-form-urlencoded")], headers].concat(), &body.join("&"))
    }

    /// Asks anything.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut connection = self.connect();
        connection.send(self.head(method, path, headers, body.len()).as_bytes()).expect("the relay listens");
        connection.send(body.as_bytes()).expect("the relay listens");
        connection.hear().unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The field that this visitor's forms carry: its name and value.
    #[track_caller]
    pub fn token(&self) -> (&'static str, String) {
        let page = self.get("/").text();
        let (_, rest) = page.split_once("name=\"form\" value=\"").expect("a form on the overview");
        ("form", rest.split('"').next().unwrap_or_default().to_owned())
    }

    /// A connection on which nothing was said.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::open(self.port).expect("the relay listens")
    }

    /// The head of a request.
    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {length}\r\n", self.port);
        let cookie = ("Cookie", &*self.cookie);
        for (name, value) in headers.iter().copied().chain((!self.cookie.is_empty()).then_some(cookie)) {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head + "\r\n"
    }
}

/// As in an address or a form.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}
