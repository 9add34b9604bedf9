//! A relay with much going on, for whoever looks at its page: ninety days of mail behind it, and receivers of all moods.
//!
//! Google, Apple and GMX take their mail, Microsoft has put the address on its block list, Yahoo slows it down, nobody answers at Comcast, and a
//! second address is warming up.

mod past;

use serde_json::{Value, json};

use crate::{
    certs::certified,
    dns::DnsServer,
    http::{self, Api},
    mx::{Act, FakeMx, Step, Transaction},
    people,
    relay::{Relay, free_port},
    scene::now,
    wait::until,
};

/// A relay and everybody it writes to.
pub struct Town {
    /// The relay.
    pub relay: Relay,
    /// DNS.
    pub dns: DnsServer,
    /// One for each of [`PROVIDERS`] that answers, in that order.
    pub receivers: Vec<FakeMx>,
    /// The port of the HTTP door on 127.0.0.1.
    pub http: u16,
}

/// A provider of mailboxes in this town.
#[derive(Debug)]
pub struct Provider {
    /// As the relay calls it.
    pub name: &'static str,
    /// Its users' domain.
    pub domain: &'static str,
    /// Its MX.
    mx: &'static str,
    /// Of a hundred recipients, so many are here.
    share: u64,
}

/// The providers. Nobody answers at the last one.
pub const PROVIDERS: [Provider; 10] = [
    provider("google", "gmail.com", "gmail-smtp-in.l.google.com", 34),
    provider("microsoft", "hotmail.com", "hotmail-com.olc.protection.outlook.com", 20),
    provider("yahoo", "yahoo.com", "mta5.am0.yahoodns.net", 12),
    provider("apple", "icloud.com", "mx01.mail.icloud.com", 9),
    provider("gmx", "gmx.de", "mx00.gmx.net", 8),
    provider("t-online", "t-online.de", "mx01.t-online.de", 5),
    provider("fastmail", "fastmail.com", "in1-smtp.messagingengine.com", 4),
    provider("bakery.example", "bakery.example", "mail.bakery.example", 3),
    provider("library.example", "library.example", "mail.library.example", 2),
    provider("comcast", "comcast.net", "mx1.comcast.net", 3),
];

/// An application: its user, its stream, the domain that it writes from, of a hundred messages so many, and what it writes about.
struct Application {
    user: &'static str,
    stream: &'static str,
    from: &'static str,
    share: u64,
    subject: &'static str,
}

const APPLICATIONS: [Application; 4] = [
    application("shop", "receipts", "shop.test", 40, "Your order 4711 is on its way"),
    application("crm", "news", "news.shop.test", 38, "What is new in November"),
    application("ops", "alerts", "alerts.shop.test", 12, "Disk of db2 is at 91 %"),
    application("forum", "default", "forum.test", 10, "Ada answered your question"),
];

/// Who may open the page: name, password, role.
pub const PEOPLE: [(&str, &str, &str); 2] = [("olga", "a long way to the sea", "operator"), ("vera", "only to look at it all", "viewer")];
/// The first of the receivers' addresses, 127.0.0.11.
const FIRST: usize = 11;
const SOURCES: &str =
    "source.warm = { address = \"127.0.0.2\" }\nsource.cold = { address = \"127.0.0.3\", warmup = \"standard\", stage = 6 }\n";
const STREAMS: &str = "stream.receipts = { urgency = \"urgent\", aim = \"1m\" }\nstream.news = { bulk = true, aim = \"2h\" }\n\
     stream.alerts = { urgency = \"urgent\" }\nlisten.default.streams = [\"*\"]\n";
/// Little mail is enough to judge by, and what house this is told in does not matter.
const RULES: &str =
    "rules.every = \"1s\"\nrules.provider_refuses.minimum = 10\nrules.house.disk_free = 0.000001\nrules.mail_stands.due = \"1m\"\n";

impl Town {
    /// Starts it with this TOML besides, plays the present, and returns once the relay knows what is wrong.
    pub fn start(more: &str) -> Self {
        let (dns, http) = (DnsServer::start(), free_port());
        let receivers = receivers(&dns);
        let mut tokens: Vec<_> = APPLICATIONS.iter().map(|a| (a.user, a.user, &["send"] as &[&str])).collect();
        tokens.push(("eye", "eye", &["monitor"]));
        let mut relay = Relay::prepare(&format!(
            "{}dns.nameservers = [\"{}\"]\ndns.private_addresses = true\ndelivery.port = {}\nretry.schedule = [\"5m\"]\n{SOURCES}{STREAMS}{RULES}{more}",
            http::config(http, &tokens),
            dns.address(),
            receivers[0].port()
        ));
        let signed: String = APPLICATIONS.iter().map(|a| a.from).chain(["relay.test"]).map(|domain| sign(&relay, &dns, domain)).collect();
        let streams =
            APPLICATIONS.iter().map(|a| format!("user.{}.streams = [{:?}]\nuser.{}.stream = {:?}\n", a.user, a.stream, a.user, a.stream));
        relay.configure(&format!("{}{signed}", streams.collect::<String>()));
        settle(&relay, &PEOPLE);
        past::write(&relay, now(relay.dir()));
        relay.run();
        let town = Self { relay, dns, receivers, http };
        town.live();
        town
    }

    /// Mail of the present, until every mood has been seen.
    fn live(&self) {
        for n in 0..130 {
            let application = &APPLICATIONS[pick(n, APPLICATIONS.iter().map(|a| a.share))];
            let provider = &PROVIDERS[pick(past::scatter(n), PROVIDERS.iter().map(|p| p.share))];
            self.mail(application.stream, &format!("{}@{}", past::reader(n), provider.domain));
        }
        // Nobody has these addresses, and some are refused in words that nobody knows.
        for n in 0..4 {
            self.mail("news", &format!("gone{n}@gmail.com"));
            self.mail("default", &format!("odd{n}@gmail.com"));
        }
        let log = self.relay.log();
        let lane = |provider: &str, change: &str| {
            log.wait_until(&format!("{provider}: {change}"), |event| {
                event["event"] == "lane" && event["provider"] == *provider && event["change"] == *change && event["source"] == "warm"
            });
        };
        lane("microsoft", "blocked");
        lane("yahoo", "paused");
        log.wait_until("the incident", |event| event["event"] == "incident" && event["key"] == "provider:microsoft");
        until("nothing but waiting mail", || {
            let queue: Value = serde_json::from_str(&self.relay.ok(["queue", "--json"])).ok()?;
            (queue["counts"]["in_flight"] == 0).then_some(())
        });
        self.relay.ok(["queue", "hold", "--domain", "bakery.example", "--reason", "their new server comes on Monday"]);
        self.relay.ok(["warmup", "stop", "cold/gmx", "--reason", "GMX asks for a form first"]);
        let known = log.wait_until("the second lane's incident", |event| event["key"] == "lane:cold/microsoft");
        let id = known["incident"].as_str().expect("incidents have ids");
        self.relay.ok(["incidents", "mute", id, "--for", "4h", "--reason", "the same as warm/microsoft"]);
    }

    /// A message of the stream's application; returns its id.
    pub fn mail(&self, stream: &str, to: &str) -> String {
        let application = APPLICATIONS.iter().find(|a| a.stream == stream).expect("a stream of the town");
        Api::new(self.http, application.user).mail(&json!({
            "from": format!("hello@{}", application.from), "to": to, "subject": application.subject, "text": "Hello.\n",
            "tags": [format!("{}-{}", application.user, "winter")], "meta": { "order": "4711" },
        }))
    }
}

const fn provider(name: &'static str, domain: &'static str, mx: &'static str, share: u64) -> Provider {
    Provider { name, domain, mx, share }
}

const fn application(user: &'static str, stream: &'static str, from: &'static str, share: u64, subject: &'static str) -> Application {
    Application { user, stream, from, share, subject }
}

/// Which of these shares of a hundred a number falls into.
fn pick(number: u64, shares: impl Iterator<Item = u64>) -> usize {
    let mut left = past::scatter(number) % 100;
    for (n, share) in shares.enumerate() {
        match left.checked_sub(share) {
            Some(rest) => left = rest,
            None => return n,
        }
    }
    0
}

/// The receivers of all providers but the last, in their moods.
fn receivers(dns: &DnsServer) -> Vec<FakeMx> {
    let addresses: [String; PROVIDERS.len() - 1] = std::array::from_fn(|n| format!("127.0.0.{}", FIRST + n));
    let group = FakeMx::group::<{ PROVIDERS.len() - 1 }>(std::array::from_fn(|n| &*addresses[n]));
    for (n, provider) in PROVIDERS.iter().enumerate() {
        dns.mx(provider.domain, 10, provider.mx).a(provider.mx, &format!("127.0.0.{}", FIRST + n));
    }
    for (mx, provider) in group.iter().zip(&PROVIDERS) {
        mx.tls(certified(provider.mx));
        mx.script(move |_, step| answer(provider.name, step));
    }
    group.into()
}

/// What a provider says in its present mood.
fn answer(provider: &str, step: Step<'_>) -> Act {
    let say = |text: &str| Act::Say(text.into());
    match (provider, step) {
        ("microsoft", Step::Mail(_)) => say(past::BLOCKED),
        ("yahoo", Step::Dot(Transaction { session, .. })) if session % 2 == 0 => say(past::SLOW_DOWN),
        (_, Step::Rcpt(rcpt)) if rcpt.starts_with("gone") => say(past::NO_SUCH_USER),
        (_, Step::Rcpt(rcpt)) if rcpt.starts_with("odd") => say("550 Kobold 7"),
        ("bakery.example", Step::Rcpt(_)) => say(past::GREYLISTED),
        _ => Act::Usual,
    }
}

/// A key for a domain, in DNS too, with SPF, DMARC and an MX for its own mail; returns its lines of the configuration.
fn sign(relay: &Relay, dns: &DnsServer, domain: &str) -> String {
    let said = relay.ok(["dkim", "new", domain, "s1", "--algorithm", "ed25519"]);
    let (zone, config) = said.split_once("# for the configuration:").expect("both parts are there");
    let record: String = zone.split('"').skip(1).step_by(2).collect();
    dns.txt(&format!("s1._domainkey.{domain}"), &record).txt(domain, "v=spf1 ip4:127.0.0.0/8 -all");
    dns.txt(&format!("_dmarc.{domain}"), "v=DMARC1; p=reject");
    dns.mx(domain, 10, &format!("mx.{domain}")).a(&format!("mx.{domain}"), &format!("127.0.0.{FIRST}"));
    config.to_owned()
}

/// Lets people open a relay's page: name, password, role.
#[track_caller]
pub fn settle(relay: &Relay, people: &[(&str, &str, &str)]) {
    for (name, password, role) in people {
        people::add_user(relay, name, password, &["--role", role]);
    }
}
