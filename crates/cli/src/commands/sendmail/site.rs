//! What the command reads of the configuration: the listeners' addresses, names, and where mail is kept. Callers need no permission to read keys and
//! passwords, so the configuration is not read as a whole; where it says nothing, the documented defaults hold.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use posthaste_config::DEFAULTS;
use posthaste_host::{Host as _, ThisHost};
use posthaste_mail::{Address, Domain};
use rustix::process::geteuid;
use toml::{Table, Value};

use super::failure::Failure;

/// The usual place of the configuration, for callers that name none.
const USUAL: &str = "/etc/posthaste/posthaste.toml";
/// The configuration's name in a folder that `-C` names.
const IN_FOLDER: &str = "posthaste.toml";
/// How long to wait for the relay at each step before the final dot. It is on this machine, and who waits is a script: a relay that says nothing
/// for so long is stopped or stuck, and the message is kept for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait once the relay has the whole message: if that is kept too, it arrives twice (RFC 5321 §4.5.3.2.6 allows 10 minutes).
pub(super) const DOT_PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait for a connection on this machine.
const CONNECT: Duration = Duration::from_secs(10);

/// This machine's relay, as far as its users have to know it.
#[derive(Debug)]
pub(super) struct Site {
    /// The addresses of listeners that take mail from this machine without a login, those on loopback first.
    listeners: Vec<SocketAddr>,
    /// The relay's name.
    pub(super) hostname: Domain,
    /// The domain of addresses that have none.
    pub(super) origin: Domain,
    /// Who reads the mail of postmaster, and of root where no alias leads it elsewhere.
    pub(super) postmaster: Option<Address>,
    /// The file with aliases.
    pub(super) aliases: Option<PathBuf>,
    /// Where mail is kept while the relay cannot take it.
    pub(super) maildrop: Option<PathBuf>,
    /// The relay's admin socket.
    pub(super) socket: PathBuf,
    /// Recipients of one message, at most.
    pub(super) recipients_max: usize,
    /// Bytes of one message, at most; None: the configuration says it in a way that is not understood here.
    pub(super) message_size: Option<u64>,
}

impl Site {
    /// Reads the file that `-C` names, or the one of POSTHASTE_CONFIG, or the usual one, or the one in this folder if it is the caller's or root's.
    /// What this caller may not read is left out: the defaults hold, but nothing is kept, because the relay may look elsewhere.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, Failure> {
        let given = std::env::var_os("POSTHASTE_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        let (path, what) = match (named, given) {
            (Some(path), _) => {
                let file = if path.is_dir() { path.join(IN_FOLDER) } else { path.to_owned() };
                (file, format!("-C {}", path.display()))
            }
            (None, Some(path)) => {
                let what = format!("POSTHASTE_CONFIG={}", path.display());
                (path, what)
            }
            (None, None) => match [USUAL, IN_FOLDER].into_iter().find(|place| is_ours(place)) {
                Some(place) => (PathBuf::from(place), place.to_owned()),
                None => return Ok(Self::of(&Table::new())),
            },
        };
        match posthaste_host::files::read_text(&path) {
            Ok(text) => {
                let table = text.parse().map_err(|_| Failure::Config(format!("{what}: this is no configuration of posthaste (TOML)")))?;
                Ok(Self::of(&table))
            }
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(Self { maildrop: None, ..Self::of(&Table::new()) })
            }
            Err(error) => Err(Failure::Config(format!("{what}: cannot read {}: {error}", path.display()))),
        }
    }

    /// What a configuration says.
    pub(super) fn of(table: &Table) -> Self {
        let defaults: Table = DEFAULTS.parse().expect("the embedded defaults are TOML");
        let domain = |key: &str| table.get(key).and_then(Value::as_str).and_then(|text| Domain::international(text).ok());
        let here = || Domain::new(&ThisHost.name()).or_else(|_| Domain::new("localhost")).expect("localhost is a domain");
        let hostname = domain("hostname").unwrap_or_else(here);
        let text = |part: &str, key: &str| found(table, part, key).or_else(|| found(&defaults, part, key)).and_then(Value::as_str);
        let file = |key: &str| text("sendmail", key).filter(|path| !path.is_empty());
        let data_dir = [table, &defaults].into_iter().find_map(|table| table.get("data_dir")?.as_str()).unwrap_or_default();
        let limit = |key: &str| found(table, "limits", key).or_else(|| found(&defaults, "limits", key));
        Self {
            listeners: addresses(table),
            origin: domain("origin").unwrap_or_else(|| hostname.clone()),
            hostname,
            postmaster: table.get("postmaster").and_then(Value::as_str).and_then(|text| Address::international(text).ok()),
            aliases: file("aliases").map(PathBuf::from),
            maildrop: file("maildrop").map(|dir| Path::new(data_dir).join(dir)),
            socket: Path::new(data_dir).join(text("admin", "socket").unwrap_or_default()),
            message_size: limit("message_size").and_then(bytes),
            recipients_max: limit("recipients").and_then(Value::as_integer).and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1),
        }
    }

    /// Connects to the first listener that accepts a connection.
    pub(super) fn connect(&self) -> io::Result<TcpStream> {
        let none = "no listener takes mail from this machine without a login: add 127.0.0.1 to listen.NAME.allow";
        let mut last = io::Error::new(io::ErrorKind::NotFound, none);
        for address in &self.listeners {
            match TcpStream::connect_timeout(address, CONNECT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(stream);
                }
                Err(error) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            }
        }
        Err(last)
    }
}

/// Whether a place of the configuration that nobody named is there and may be believed: another user's file in this folder may not.
fn is_ours(place: &str) -> bool {
    match fs::metadata(place) {
        Ok(file) => place == USUAL || [0, geteuid().as_raw()].contains(&file.uid()),
        // One that cannot be looked at counts as there.
        Err(error) => place == USUAL && error.kind() == io::ErrorKind::PermissionDenied,
    }
}

/// A size as the configuration has it: bytes, or a number with KiB, MiB or GiB.
fn bytes(size: &Value) -> Option<u64> {
    if let Some(bytes) = size.as_integer() {
        return u64::try_from(bytes).ok();
    }
    let (number, unit) = size.as_str()?.split_once(' ')?;
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn found<'a>(table: &'a Table, part: &str, key: &str) -> Option<&'a Value> {
    table.get(part)?.as_table()?.get(key)
}

/// The listeners' addresses, those on loopback first. Left out are those that require a login or TLS, that take returned mail only, or that
/// allow no client of this machine.
fn addresses(config: &Table) -> Vec<SocketAddr> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, 2525));
    let Some(listeners) = config.get("listen").and_then(Value::as_table) else { return vec![usual] };
    let is = |table: &Table, key: &str| table.get(key).and_then(Value::as_bool).unwrap_or(false);
    let says = |table: &Table, key: &str, word: &str| table.get(key).and_then(Value::as_str) == Some(word);
    let shut = |t: &Table| is(t, "require_auth") || is(t, "require_tls") || says(t, "tls", "implicit") || says(t, "role", "returns");
    let fit = listeners.values().filter_map(Value::as_table).filter(|t| !shut(t));
    let allowed = |t: &Table, address: &SocketAddr| allows(t.get("allow"), address.ip());
    let mut all: Vec<SocketAddr> = fit
        .flat_map(|t| given(t.get("address"), usual).into_iter().map(reachable).filter(|address| allowed(t, address)).collect::<Vec<_>>())
        .collect();
    all.sort_by_key(|address| !address.ip().is_loopback());
    all
}

/// Whether `allow` lets in a client that connects to `address` from this machine, and so from that address.
fn allows(allow: Option<&Value>, address: IpAddr) -> bool {
    let Some(list) = allow.and_then(Value::as_array) else { return address.is_loopback() };
    let network = |text: &str| text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
    list.iter().filter_map(Value::as_str).filter_map(network).any(|net| net.contains(&address))
}

fn given(address: Option<&Value>, usual: SocketAddr) -> Vec<SocketAddr> {
    let texts = match address {
        None => return vec![usual],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(one) => one.as_str().into_iter().collect::<Vec<_>>(),
    };
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// The address to connect to: a listener on all addresses is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(toml: &str) -> Site {
        Site::of(&toml.parse().unwrap())
    }

    fn found(toml: &str) -> Vec<String> {
        site(toml).listeners.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn loopback_goes_first_and_who_would_not_take_it_is_passed_over() {
        assert_eq!(found(""), ["127.0.0.1:2525"]);
        assert_eq!(found("[listen.a]\nbanner = \"x\""), ["127.0.0.1:2525"]);
        let all = "[listen.a]\naddress = \"192.0.2.1:25\"\nallow = [\"192.0.2.0/24\"]\n[listen.b]\naddress = [\"[::]:25\", \"0.0.0.0:26\"]";
        assert_eq!(found(all), ["[::1]:25", "127.0.0.1:26", "192.0.2.1:25"]);
        assert_eq!(found("[listen.a]\naddress = \"192.0.2.1:25\""), [""; 0], "it allows loopback alone");
        assert_eq!(found("[listen.a]\ntls = \"implicit\"\n[listen.b]\nrequire_auth = true\n[listen.c]\nrequire_tls = true"), [""; 0]);
        assert_eq!(found("[listen.a]\nallow = []\n[listen.b]\nrole = \"returns\""), [""; 0]);
        assert_eq!(found("[listen.a]\nallow = [\"127.0.0.1\"]"), ["127.0.0.1:2525"]);
    }

    #[test]
    fn names_and_folders_are_those_of_the_configuration() {
        let set = site("hostname = \"mx.x.test\"\norigin = \"x.test\"\ndata_dir = \"/var/lib/posthaste\"\n[limits]\nrecipients = 7");
        assert_eq!((set.hostname.as_str(), set.origin.as_str(), set.recipients_max), ("mx.x.test", "x.test", 7));
        assert_eq!(set.maildrop.as_deref(), Some("/var/lib/posthaste/maildrop".as_ref()));
        assert_eq!(set.socket, Path::new("/var/lib/posthaste/admin.sock"));
        assert_eq!(set.aliases.as_deref(), Some("/etc/aliases".as_ref()));
        let none = site("hostname = \"mx.x.test\"\n[sendmail]\naliases = \"\"\nmaildrop = \"\"");
        assert_eq!((none.origin.as_str(), &none.aliases, &none.maildrop), ("mx.x.test", &None, &None));
        assert_eq!((site("").recipients_max, site("").message_size), (1000, Some(50 << 20)), "the documented defaults");
        assert_eq!(site("[limits]\nmessage_size = 70000").message_size, Some(70_000));
    }
}
