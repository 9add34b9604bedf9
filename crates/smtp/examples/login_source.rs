//! Submits mail as applications do: STARTTLS, AUTH, messages of 10 KiB. Prints how many were accepted per second. For `tests/bench/login`.
//!
//!     login_source PORT CA.pem USER PASSWORD MESSAGES CONNECTIONS keep|each
//!
//! `keep`: each connection carries all its messages; `each`: each message has a new connection with a full handshake, as with scripts that
//! send one mail and end. The server is at 127.0.0.1, and its certificate is for that address.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program that measures and tells")]

use std::{error::Error, sync::Arc, time::Instant};

use mail_send::{SmtpClientBuilder, smtp::message::Message};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

type Failure = Box<dyn Error + Send + Sync>;

const SIZE: usize = 10_240;
const LINE: &str = "What an application writes to those who use it, seventy-six bytes in a line.\r\n";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, authority, user, password, messages, connections, how] = &arguments[..] else {
        return Err("login_source PORT CA.pem USER PASSWORD MESSAGES CONNECTIONS keep|each".into());
    };
    let (messages, connections): (usize, usize) = (messages.parse()?, connections.parse()?);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let mut tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    tls.resumption = Resumption::disabled();
    let tls = TlsConnector::from(Arc::new(tls));
    let work = Arc::new(Work {
        port: port.parse()?,
        user: user.clone(),
        password: password.clone(),
        body: format!("From: <a@sender.test>\r\nTo: <b@example.test>\r\nSubject: load\r\n\r\n{}", LINE.repeat(SIZE / LINE.len())),
        tls,
    });
    let began = Instant::now();
    let mut all = JoinSet::new();
    for connection in 0..connections {
        let (work, own) = (work.clone(), (connection..messages).step_by(connections).count());
        match how.as_str() {
            "keep" => all.spawn(async move { work.hand_in(own).await }),
            "each" => all.spawn(async move {
                for _ in 0..own {
                    work.hand_in(1).await?;
                }
                Ok(())
            }),
            other => return Err(format!("{other}: keep or each").into()),
        };
    }
    while let Some(done) = all.join_next().await {
        done??;
    }
    println!("{:.0}", messages as f64 / began.elapsed().as_secs_f64());
    Ok(())
}

struct Work {
    port: u16,
    user: String,
    password: String,
    body: String,
    tls: TlsConnector,
}

impl Work {
    /// Sends this many messages over one connection.
    async fn hand_in(&self, messages: usize) -> Result<(), Failure> {
        let server = SmtpClientBuilder::new_with_tls_connector("127.0.0.1", self.port, self.tls.clone())
            .implicit_tls(false)
            .credentials((self.user.as_str(), self.password.as_str()));
        let mut client = server.connect().await?;
        // Otherwise the end of each message waits 40 ms for the acknowledgement of its beginning.
        client.stream.get_ref().0.set_nodelay(true)?;
        for _ in 0..messages {
            client.send(Message::new("a@sender.test", ["b@example.test"], self.body.as_bytes())).await?;
        }
        Ok(client.quit().await?)
    }
}
