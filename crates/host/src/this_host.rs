//! This machine's name, addresses and files, against which a configuration is checked.

use std::{
    io,
    net::{IpAddr, TcpListener, UdpSocket},
    path::Path,
};

use crate::files;

/// The machine that a configuration is read on.
pub trait Host {
    /// Its name, fully qualified if known.
    fn name(&self) -> String;
    /// Whether a socket can be bound to `ip` here.
    fn has(&self, ip: IpAddr) -> bool;
    /// A file's bytes.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// This machine.
#[derive(Debug, Clone, Copy)]
pub struct ThisHost;

impl Host for ThisHost {
    fn name(&self) -> String {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let name = [read("/proc/sys/kernel/hostname"), read("/etc/hostname")].into_iter().map(|n| n.trim().to_owned());
        let name = name.into_iter().find(|n| !n.is_empty()).unwrap_or_else(|| "localhost".into());
        qualified(&name, &read("/etc/hosts")).unwrap_or(name)
    }

    /// Binds a socket to find out, so that the answer is right for network namespaces and non-local binding too.
    fn has(&self, ip: IpAddr) -> bool {
        match UdpSocket::bind((ip, 0)) {
            Ok(_) => true,
            // A machine without IPv6 reports "address family not supported" rather than "address not available".
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => false,
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => false,
            // Any other error (such as a filter on UDP) is inconclusive: try again with TCP, as deliveries do.
            Err(_) => TcpListener::bind((ip, 0)).is_ok(),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        files::read(path)
    }
}

/// The first dotted name on the line of /etc/hosts that contains `name`: what `hostname -f` prints, without asking DNS at start.
fn qualified(name: &str, hosts: &str) -> Option<String> {
    if name.contains('.') {
        return Some(name.to_owned());
    }
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines
        .map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>())
        .filter(|names| names.contains(&name))
        .find_map(|names| names.into_iter().find(|n| n.contains('.')))
        .map(str::to_owned)
}

/// A stand-in with every address and no files. For tests, and for checking a configuration on another machine than the one it is for.
#[derive(Debug, Clone, Copy)]
pub struct AnyAddress;

impl Host for AnyAddress {
    fn name(&self) -> String {
        "mx1.example.org".into()
    }

    fn has(&self, _: IpAddr) -> bool {
        true
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_completes_a_short_name() {
        let hosts = "127.0.0.1 localhost\n127.0.1.1\tmx1.example.org mx1 # us\n::1 localhost";
        assert_eq!(qualified("mx1", hosts).as_deref(), Some("mx1.example.org"));
        assert_eq!(qualified("mx2", hosts), None);
        assert_eq!(qualified("a.example.org", hosts).as_deref(), Some("a.example.org"));
    }

    #[test]
    fn loopback_is_here_and_a_documentation_address_is_not() {
        assert!(ThisHost.has([127, 0, 0, 1].into()));
        assert!(!ThisHost.has([203, 0, 113, 77].into()));
    }
}
