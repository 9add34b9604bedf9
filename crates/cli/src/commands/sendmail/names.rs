//! Makes addresses of what callers write: names of this machine are looked up in the aliases or get the domain of origin.

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
};

use posthaste_config::Config;
use posthaste_host::{Host as _, ThisHost};
use posthaste_mail::{Address, Domain, ReversePath};

use super::{
    aliases::{AliasError, Aliases, Found},
    failure::Failure,
    site::Site,
};
use crate::screen;

/// Whose mail the postmaster of the configuration reads, unless an alias leads it elsewhere.
const POSTMASTERS: [&str; 2] = ["postmaster", "root"];

/// The names of this machine, and where they lead.
pub(in crate::commands) struct Names {
    origin: Domain,
    /// Domains that mean this machine, in lower case: nobody else has mailboxes there.
    local: Vec<String>,
    aliases: Aliases,
}

impl Names {
    pub(super) fn of(site: &Site) -> Result<Self, Failure> {
        let aliases = Aliases::load(site.aliases.as_deref()).map_err(|error| {
            let file = site.aliases.as_deref().unwrap_or("".as_ref()).display();
            Failure::Config(format!("cannot read the aliases {file}: {error}"))
        })?;
        Ok(Self::with(aliases, site.postmaster.as_ref(), &site.origin, &site.hostname))
    }

    fn with(mut aliases: Aliases, postmaster: Option<&Address>, origin: &Domain, hostname: &Domain) -> Self {
        if let Some(postmaster) = postmaster {
            aliases.lead(&POSTMASTERS, postmaster);
        }
        Self::new(origin.clone(), hostname, &ThisHost.name(), aliases)
    }

    /// Warns where nobody reads what this machine writes to root or postmaster, as cron does: it leads to this host itself, which has no mailboxes.
    /// None: somebody does, or this machine's users cannot send.
    pub(in crate::commands) fn astray(config: &Config) -> Option<String> {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        if !config.listeners.values().any(|listener| !listener.require_auth && listener.allows(here)) {
            return None;
        }
        // Aliases that cannot be read are told by the command that needs them.
        let aliases = Aliases::load(config.sendmail.aliases.as_deref()).ok()?;
        let names = Self::with(aliases, config.postmaster.as_ref(), &config.origin, &config.hostname);
        let leads_here = |address: &Address| {
            names.local.iter().any(|local| local == address.domain()) && config.routes.find(&address.to_domain()).is_none()
        };
        let (name, address) = POSTMASTERS.iter().rev().find_map(|name| {
            let (addresses, _) = names.recipient(name).ok()?;
            addresses.into_iter().find(leads_here).map(|address| (name, address))
        })?;
        let file = config
            .sendmail
            .aliases
            .as_deref()
            .map_or_else(String::new, |file| format!(", or a line \"{name}: you@example.com\" in {}", file.display()));
        Some(format!(
            "nobody reads what this machine writes to {name}, as cron does: it goes to {address}, which is this host itself, and waits \
             until it is too old; set postmaster = \"you@example.com\"{file}"
        ))
    }

    fn new(origin: Domain, hostname: &Domain, machine: &str, aliases: Aliases) -> Self {
        let local = ["localhost", "localhost.localdomain", machine, hostname.as_str()].map(str::to_ascii_lowercase).to_vec();
        Self { origin, local, aliases }
    }

    /// The aliases.
    pub(super) fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// The sender of an envelope; empty for the null reverse-path.
    pub(super) fn sender(&self, given: &str) -> Result<ReversePath, Failure> {
        if given.is_empty() {
            return Ok(ReversePath::Null);
        }
        self.whole(given).map(ReversePath::Mailbox)
    }

    /// All that these lead to, each once. What an alias leads to and no mail can be handed to is left out, and said.
    pub(super) fn recipients<'a>(&self, given: impl Iterator<Item = &'a str>) -> Result<Vec<Address>, Failure> {
        let mut recipients = Vec::new();
        for given in given {
            let (addresses, left_out) = self.recipient(given)?;
            if let Some(left_out) = left_out {
                // If even that fails, there is nobody to tell.
                let _ = writeln!(screen::err(), "sendmail: {left_out}; the message goes to the other addresses");
            }
            for address in addresses {
                if !recipients.contains(&address) {
                    recipients.push(address);
                }
            }
        }
        Ok(recipients)
    }

    fn recipient(&self, given: &str) -> Result<(Vec<Address>, Option<AliasError>), Failure> {
        match self.local_name(given).and_then(|name| self.aliases.look_up(name)) {
            None => Ok((vec![self.whole(given)?], None)),
            Some(found) => {
                let Found { names, left_out } = found.map_err(|error| Failure::Refused(error.to_string()))?;
                let addresses: Result<Vec<Address>, Failure> = names.iter().map(|address| self.whole(address)).collect();
                Ok((addresses?, left_out))
            }
        }
    }

    /// Whether an address is a name of this machine, which means nothing elsewhere.
    pub(super) fn is_local(&self, given: &str) -> bool {
        self.local_name(given).is_some()
    }

    /// The name at this machine, without its domain; None: it is an address elsewhere.
    fn local_name<'a>(&self, given: &'a str) -> Option<&'a str> {
        match given.rsplit_once('@') {
            None => Some(given),
            Some((name, domain)) => self.local.contains(&domain.to_ascii_lowercase()).then_some(name),
        }
    }

    /// The address with its domain. `localhost` is another machine for whoever gets the mail.
    fn whole(&self, given: &str) -> Result<Address, Failure> {
        let bare = given.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(given);
        let text = match bare.rsplit_once('@') {
            Some((name, domain)) if domain.eq_ignore_ascii_case("localhost") || domain.eq_ignore_ascii_case("localhost.localdomain") => {
                format!("{name}@{}", self.origin)
            }
            Some(_) => bare.to_owned(),
            None => format!("{bare}@{}", self.origin),
        };
        Address::international(&text).map_err(|error| Failure::Usage(format!("{given}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("aliases");
        std::fs::write(&file, "postmaster: root\nroot: ann@example.com\ncopy: copy, root\nlist: |prog\n").unwrap();
        let aliases = Aliases::load(Some(&file)).unwrap();
        Names::new(Domain::new("x.test").unwrap(), &Domain::new("mx.x.test").unwrap(), "Box", aliases)
    }

    fn recipients(given: &[&str]) -> Result<Vec<String>, String> {
        let found = names().recipients(given.iter().copied()).map_err(|failure| failure.to_string())?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn names_of_this_machine_lead_to_addresses() {
        for given in ["root", "Root", "root@localhost", "root@box", "root@mx.x.test", "postmaster"] {
            assert_eq!(recipients(&[given]).unwrap(), ["ann@example.com"], "{given}");
        }
        assert_eq!(recipients(&["bob", "bob@x.test", "bob@localhost"]).unwrap(), ["bob@x.test"]);
        assert_eq!(recipients(&["root@x.test", "root@elsewhere.test"]).unwrap(), ["root@x.test", "root@elsewhere.test"]);
        let mut copy = recipients(&["copy"]).unwrap();
        copy.sort();
        assert_eq!(copy, ["ann@example.com", "copy@x.test"]);
        assert!(recipients(&["list"]).unwrap_err().contains("programs"));
    }

    #[test]
    fn the_postmaster_reads_what_no_alias_leads_elsewhere() {
        let led = |file: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("aliases"), file).unwrap();
            let mut aliases = Aliases::load(Some(&folder.path().join("aliases"))).unwrap();
            aliases.lead(&POSTMASTERS, &Address::new("ops@people.test").unwrap());
            let names = Names::new(Domain::new("x.test").unwrap(), &Domain::new("mx.x.test").unwrap(), "box", aliases);
            ["root", "postmaster", "bob"].map(|name| names.recipients([name].into_iter()).unwrap()[0].to_string())
        };
        assert_eq!(led(""), ["ops@people.test", "ops@people.test", "bob@x.test"]);
        assert_eq!(led("postmaster: root\n"), ["ops@people.test", "ops@people.test", "bob@x.test"]);
        assert_eq!(led("root: ann@x.test\n"), ["ann@x.test", "ops@people.test", "bob@x.test"]);
    }

    #[test]
    fn any_alphabet_is_taken() {
        assert_eq!(
            recipients(&["info@bücher.test", "jürgen@bücher.test"]).unwrap(),
            ["info@xn--bcher-kva.test", "jürgen@xn--bcher-kva.test"]
        );
        assert!(recipients(&["a@b@"]).is_err() && recipients(&["a@"]).is_err());
    }

    #[test]
    fn senders_are_no_aliases() {
        let sender = |given| names().sender(given).unwrap().to_string();
        assert_eq!([sender(""), sender("root"), sender("a@y.test")], ["", "root@x.test", "a@y.test"]);
    }
}
