//! What a relay says about itself when it starts: by which file, under which name, where it listens, and where its data and its log are.

use std::path::Path;

use posthaste_config::Config;
use posthaste_mail::Name;
use posthaste_submission::{AuthWhere, ListenTlsMode, Role};
use tokio::net::TcpListener;

/// One line for each part; for people.
pub(crate) fn introduction(config: &Config, smtp: &[(Name, TcpListener)], http: &[TcpListener], path: Option<&Path>) -> Vec<String> {
    let file =
        path.map_or_else(|| "no configuration file: the defaults apply".to_owned(), |path| format!("configuration: {}", path.display()));
    let mut lines = vec![format!("{file}; this host calls itself {}", config.hostname)];
    for (name, socket) in smtp {
        lines.extend(
            at(socket).map(|at| format!("listen.{name} is at {at}{}", config.listeners.get(name).map_or_else(String::new, for_whom))),
        );
    }
    let scheme = if config.http.tls.on { "https" } else { "http" };
    lines.extend(http.iter().filter_map(at).map(|at| format!("the web page and the HTTP API are at {scheme}://{at}")));
    let users = match config.users.len() {
        1 => "1 user".to_owned(),
        n => format!("{n} users"),
    };
    let sources: Vec<&str> = config.sources.keys().map(Name::as_str).collect();
    lines.push(format!("sends from {}; {users}", sources.join(", ")));
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    lines.push(format!("data: {}; delivery log: {}", absolute(&config.data_dir), absolute(&config.log.dir)));
    lines
}

fn at(socket: &TcpListener) -> Option<String> {
    socket.local_addr().ok().map(|address| address.to_string())
}

/// From whom a listener takes mail.
fn for_whom(listener: &posthaste_submission::Listener) -> String {
    let tls = match listener.tls.mode {
        ListenTlsMode::None => "without TLS",
        ListenTlsMode::StartTls => "with STARTTLS",
        ListenTlsMode::Implicit => "with TLS",
    };
    if listener.role == Role::Returns {
        return format!(", {tls}, for mail that comes back");
    }
    let offered = match listener.auth {
        AuthWhere::Always => true,
        AuthWhere::Tls => listener.tls.mode != ListenTlsMode::None,
        AuthWhere::Off => false,
    };
    let networks = listener.allow.iter().filter(|_| !listener.require_auth).map(ToString::to_string);
    let mut whom: Vec<String> = networks.collect();
    whom.extend(offered.then(|| "users who log in".to_owned()));
    let whom = if whom.is_empty() { "nobody".to_owned() } else { whom.join(", ") };
    format!(", {tls}, for {whom}")
}
