//! Pebble, Let's Encrypt's ACME server for tests: it verifies names as a real authority does, and keeps nothing when it ends.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    certs::{authority_pem, certified_pem, trusting},
    relay::free_port,
    wait,
};

/// A running Pebble; it ends when dropped.
pub struct Pebble {
    child: Child,
    dir: TempDir,
    port: u16,
    management: u16,
    http: u16,
    tls: u16,
}

impl Pebble {
    /// The program.
    pub const PROGRAM: &str = "/usr/bin/pebble";
    /// How many of a hundred valid nonces it refuses, so that clients must retry.
    const BAD_NONCES: u8 = 10;

    /// Starts a Pebble that uses this DNS; its certificates are valid for this many seconds.
    pub fn start(dns: SocketAddr, validity: u32) -> Self {
        let dir = TempDir::with_prefix("pebble-").expect("a folder");
        let [port, management, http, tls] = [(); 4].map(|()| free_port());
        // Its own certificate is from the tests' authority.
        let (certificate, key) = certified_pem("127.0.0.1");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("own.pem"), certificate).expect("the folder is ours");
        fs::write(path("own.key"), key).expect("the folder is ours");
        fs::write(path("authority.pem"), authority_pem()).expect("the folder is ours");
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("own.pem"),
            "privateKey": path("own.key"),
            "httpPort": http,
            "tlsPort": tls,
            "certificateValidityPeriod": validity,
        }});
        fs::write(path("config.json"), config.to_string()).expect("the folder is ours");
        let said = File::create(path("said")).expect("the folder is ours");
        let mut command = Command::new(Self::PROGRAM);
        command.arg("-config").arg(path("config.json")).arg("-dnsserver").arg(dns.to_string()).stdin(Stdio::null());
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_WFE_NONCEREJECT", Self::BAD_NONCES.to_string());
        command.stdout(said.try_clone().expect("a file can be shared")).stderr(said);
        let child = command.spawn().expect("pebble starts");
        let pebble = Self { child, dir, port, management, http, tls };
        for port in [port, management] {
            wait::until("pebble to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
        }
        pebble
    }

    /// The configuration for a relay to order from it by http-01.
    pub fn by_http(&self) -> String {
        self.acme("http-01", self.http)
    }

    /// The configuration for a relay to order from it by tls-alpn-01.
    pub fn by_tls(&self) -> String {
        self.acme("tls-alpn-01", self.tls)
    }

    fn acme(&self, challenge: &str, port: u16) -> String {
        let roots = self.dir.path().join("authority.pem");
        format!(
            "[acme]\ndirectory = \"https://127.0.0.1:{}/dir\"\nagree_terms = true\nchallenge = {challenge:?}\naddress = \"127.0.0.1:{port}\"\nroots = {roots:?}\n",
            self.port
        )
    }

    /// TLS that trusts what it issues, and nothing else.
    pub fn trusting(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.get("/roots/0").as_bytes()).expect("a PEM certificate")).expect("an authority");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("the usual versions");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // A resumed session would show the certificate that it began with.
        config.resumption = Resumption::disabled();
        Arc::new(config)
    }

    /// The port it connects to for http-01.
    pub fn http_port(&self) -> u16 {
        self.http
    }

    /// Its output.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.path().join("said")).unwrap_or_default()
    }

    /// What its management interface returns for a path.
    fn get(&self, path: &str) -> String {
        let name = Ipv4Addr::LOCALHOST.to_string().try_into().expect("an address is a name");
        let connection = ClientConnection::new(trusting(None), name).expect("a client");
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.management)).expect("pebble listens");
        let mut stream = StreamOwned::new(connection, stream);
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("pebble listens");
        let mut answer = String::new();
        // It may close the connection without a TLS close; the data has arrived.
        let _ = stream.read_to_string(&mut answer);
        answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}")).1.to_owned()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- pebble\n{}---", self.said());
        }
    }
}
