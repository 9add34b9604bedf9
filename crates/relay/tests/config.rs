//! The configuration: its defaults are its documentation, and whatever is wrong in a file is said at once, with line, key and remedy.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use posthaste_config::{Config, ConfigErrors, DEFAULTS, Lines, Origin};
use posthaste_dkim::{Algorithm, Key};
use posthaste_findings::RuleSettings;
use posthaste_host::Host;
use posthaste_mail::{Domain, Name};
use posthaste_relay::settings::Settings;
use posthaste_smtp::client::TlsPolicy;
use proptest::{prop_assert, proptest};
use toml::de::{DeTable, DeValue};

/// A machine with two addresses besides loopback, and a few files.
struct FakeHost(BTreeMap<PathBuf, Vec<u8>>);

impl FakeHost {
    fn new() -> Self {
        let (_, pem) = Key::generate(Algorithm::Ed25519Sha256).expect("a key can be made");
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["mx1.example.com".into()]).expect("a certificate");
        let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
        let texts = [
            ("mx1.example.com.pem", certificate.as_str()),
            ("mx1.example.com.key", key.as_str()),
            ("mail.example.org.pem", certificate.as_str()),
            ("mail.example.org.key", key.as_str()),
            ("clients-ca.pem", certificate.as_str()),
            ("s1.example.com.pem", pem.as_str()),
            ("ed1.example.com.pem", pem.as_str()),
            ("smart-host.password", "secret\n"),
            ("introspection.secret", "secret\n"),
            ("oidc.secret", "secret\n"),
            ("webhook.authorization", "Bearer secret\n"),
            ("slack.url", "https://hooks.slack.com/services/T0/B0/secret\n"),
            ("ntfy.token", "tk_secret\n"),
            ("pagerduty.key", "secret\n"),
            ("empty.password", "\n"),
            ("not-a-key.pem", "hello\n"),
            ("rules.toml", "# rules\n"),
        ];
        let mut files: BTreeMap<_, _> = texts.into_iter().map(|(name, text)| (PathBuf::from(name), text.as_bytes().to_vec())).collect();
        files.insert("latin1.toml".into(), b"banner = \"\xe9\"".to_vec());
        Self(files)
    }

    fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.into(), text.into());
        self
    }
}

impl Host for FakeHost {
    fn name(&self) -> String {
        "mx1.example.org".into()
    }

    fn has(&self, ip: IpAddr) -> bool {
        ["127.0.0.1", "::1", "192.0.2.1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap()).contains(&ip)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "posthaste.toml", &FakeHost::new())
}

fn good(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The values alone, wherever they come from.
fn values(config: Config) -> Config {
    let http = posthaste_http::Http { configured: false, ..config.http };
    Config { lines: Lines::default(), http, ..config }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::new(text).unwrap()
}

/// The documentation with its examples in force: a line that begins with '#' and no blank is one. What begins with "#or" is in place of those above.
fn documented() -> String {
    let live = |line: &str| match line.strip_prefix('#') {
        Some(example) if example.starts_with("or ") => String::new(),
        Some(example) if example.starts_with(|c: char| c.is_ascii_lowercase() || c == '[' || c == '"') => example.to_owned(),
        _ => line.to_owned(),
    };
    // No date stands there: whoever copied one would begin a warm-up in its midst.
    DEFAULTS.lines().map(live).collect::<Vec<_>>().join("\n").replace("YEAR-MONTH-DAY", "2026-01-31")
}

/// The documentation with the other examples in force, where there are two ways.
fn documented_otherwise() -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in DEFAULTS.lines() {
        if let Some(other) = line.strip_prefix("#or ") {
            let above = lines.iter().rposition(|line| !line.starts_with('#') || line.starts_with("# ")).expect("a comment above");
            lines.truncate(above + 1);
            lines.push(other.to_owned());
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// Numbers (from 1) and texts of the lines that give a value.
fn value_lines(text: &str) -> Vec<(usize, &str)> {
    let lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    lines.filter(|(_, line)| !line.starts_with(['#', '[']) && line.contains(" = ")).collect()
}

#[test]
fn no_file_gives_what_the_documentation_says() {
    assert_eq!(values(good(DEFAULTS)), values(good("")));
    let loaded = Config::load(None, &FakeHost::new()).unwrap();
    assert_eq!(values(loaded), values(good(DEFAULTS)));
}

#[test]
fn the_defaults_take_mail_on_loopback_and_deliver_by_mx() {
    let config = good("");
    let listener = &config.listeners["default"];
    assert_eq!(listener.addresses, ["127.0.0.1:2525".parse().unwrap()]);
    assert!(listener.allows([127, 0, 0, 1].into()) && listener.allows("::ffff:127.0.0.1".parse().unwrap()));
    assert!(!listener.allows([192, 0, 2, 1].into()));
    assert!(config.routes.is_empty());
    assert_eq!(config.hostname.as_str(), "mx1.example.org");
    assert_eq!(
        (config.spool.dir.as_path(), config.log.dir.as_path()),
        (Path::new("posthaste-data/spool"), Path::new("posthaste-data/log"))
    );
    assert_eq!(config.admin.mode, 0o600);
    assert_eq!(config.limits.message_size, 50 << 20);
    assert_eq!(config.default_stream().retry.schedule.len(), 7);
    assert_eq!(config.default_stream().retry.expire, Duration::from_secs(5 * 86_400));
    assert_eq!(config.sources_of(config.default_stream()), [(name("default"), 1)]);
    assert_eq!(config.sources["default"].address, None);
    assert_eq!(config.notice.from.as_str(), "MAILER-DAEMON@mx1.example.org");
    assert_eq!(config.tls.rule.policy, TlsPolicy::Opportunistic);
}

/// The rules' own defaults, by which their tests judge, are those that are documented.
#[test]
fn the_rules_judge_by_the_documented_limits() {
    let (mut defaults, given) = (RuleSettings::default(), good("rules.complaints.critical = 0.01\nstream.default.urgency = \"urgent\""));
    defaults.complaints.critical = 0.01;
    assert_eq!(given.rules, defaults);
    assert_eq!(given.default_stream().aim(), Duration::from_secs(600));
    assert_eq!(good("").default_stream().aim(), Duration::from_hours(4));
    assert_eq!(good("stream.default.aim = \"1h\"").default_stream().aim(), Duration::from_hours(1));
}

#[test]
fn every_key_that_the_code_reads_is_documented() {
    let text = documented();
    let read = Config::parse_noting_keys(&text, "posthaste.toml", &FakeHost::new());
    let (_, known) = read.unwrap_or_else(|errors| panic!("the examples are wrong:\n{errors}"));
    let mut there = BTreeSet::new();
    gather(&mut Vec::new(), DeTable::parse(&text).unwrap().get_ref(), &mut there);
    let other = documented_otherwise().replace("\n[acme]\n", "\n[acme]\nagree_terms = true\n");
    good(&other);
    gather(&mut Vec::new(), DeTable::parse(&other).unwrap().get_ref(), &mut there);
    let missing: Vec<_> = known.iter().filter(|key| !there.iter().any(|path| matches(key, path))).collect();
    assert!(known.len() > 90, "{}: {known:?}", known.len());
    assert!(missing.is_empty(), "not in config/posthaste.toml: {missing:?}");
}

fn gather(path: &mut Vec<String>, table: &DeTable<'_>, there: &mut BTreeSet<Vec<String>>) {
    for (key, value) in table.iter() {
        path.push(key.get_ref().to_string());
        there.insert(path.clone());
        let items = value.get_ref().as_array().map_or_else(Vec::new, |array| array.iter().map(|item| item.get_ref()).collect());
        for inner in items.into_iter().chain([value.get_ref()]).filter_map(DeValue::as_table) {
            gather(path, inner, there);
        }
        path.pop();
    }
}

fn matches(pattern: &str, path: &[String]) -> bool {
    pattern.split('.').count() == path.len() && pattern.split('.').zip(path).all(|(p, word)| p == "*" || p == word)
}

#[test]
fn every_group_of_keys_in_the_documentation_is_explained() {
    let mut explained = false;
    for line in DEFAULTS.lines() {
        match line {
            "" => explained = false,
            _ if line.starts_with("# ") => explained = true,
            _ if line.contains(" = ") => assert!(explained, "no comment above: {line}"),
            _ => {}
        }
    }
}

#[test]
fn any_key_may_be_left_out() {
    let default = values(good(""));
    for (number, line) in value_lines(DEFAULTS) {
        let without: Vec<_> = DEFAULTS.lines().enumerate().filter(|(i, _)| i + 1 != number).map(|(_, line)| line).collect();
        assert_eq!(values(good(&without.join("\n"))), default, "without {line}");
    }
}

#[test]
fn an_unknown_key_is_reported_with_its_line_in_every_table() {
    let text = documented();
    let headers = text.lines().enumerate().filter(|(_, line)| line.starts_with('[')).map(|(i, _)| i + 1);
    let places: Vec<_> = std::iter::once(0).chain(headers).collect();
    assert!(places.len() > 15, "{places:?}");
    for at in places {
        let mut lines: Vec<_> = text.lines().collect();
        lines.insert(at, "zebra_crossing = 1");
        let errors = parse(&lines.join("\n")).unwrap_err().0;
        let said: Vec<_> = errors.iter().map(|e| (e.line, e.key.rsplit('.').next().unwrap_or_default())).collect();
        assert_eq!(said, [(Some(at + 1), "zebra_crossing")]);
    }
}

#[test]
fn a_wrong_value_is_reported_with_its_line_whatever_it_is() {
    let text = documented();
    let values = [
        "true",
        "-1",
        "0",
        "1e400",
        "99999999999999999999",
        "\"\"",
        "\"x y\"",
        "\"5 parsecs\"",
        "[]",
        "[[1]]",
        "{}",
        "{ a = 1 }",
        "1979-05-27",
        "nan",
    ];
    let mut refused = 0;
    for (number, line) in value_lines(&text) {
        for value in values {
            let (key, _) = line.split_once(" = ").unwrap();
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines[number - 1] = format!("{key} = {value}");
            let Err(ConfigErrors(errors)) = parse(&lines.join("\n")) else { continue };
            assert!(errors.iter().any(|e| e.line == Some(number)), "{key} = {value} in line {number}: {errors:?}");
            assert!(errors.iter().all(|e| !e.message.is_empty() && !e.key.is_empty()), "{errors:?}");
            refused += 1;
        }
    }
    assert!(refused > 800, "{refused}");
}

proptest! {
    #[test]
    fn no_text_whatever_stops_the_reader(at in 0.0..1.0_f64, length in 0..40_usize, instead in "[\\[\\]{}\"'=.,#\\\\ \na-z0-9é-]{0,12}") {
        let text: Vec<char> = documented().chars().collect();
        let start = (at * text.len() as f64) as usize;
        let end = (start + length).min(text.len());
        let changed: String = text[..start].iter().chain(&instead.chars().collect::<Vec<_>>()).chain(&text[end..]).collect();
        if let Err(ConfigErrors(errors)) = parse(&changed) {
            prop_assert!(!errors.is_empty());
            prop_assert!(errors.iter().all(|e| !e.to_string().contains('\n') && e.line.is_none_or(|line| line <= changed.lines().count() + 1)));
        }
    }
}

#[test]
fn every_bad_configuration_gives_its_errors_and_no_others() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bad-config");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 35, "{}", files.len());
    let complaints: Vec<String> = files.iter().flat_map(|file| judge(file)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// What differs between the errors of a file and those that its first lines, `# error: LINE: how it begins`, ask for ('-': no line).
fn judge(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    let heads = text.lines().map_while(|line| line.strip_prefix("# error: "));
    let heads = heads.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{file}: write # error: LINE: text")));
    let mut wanted: Vec<_> =
        heads.map(|(line, part)| if line == "-" { format!("{file}: {part}") } else { format!("{file}:{line}: {part}") }).collect();
    assert!(!wanted.is_empty(), "{file} says no error");
    let errors = Config::parse(&text, file, &FakeHost::new()).map_or_else(|errors| errors.0, |_| Vec::new());
    let mut complaints = Vec::new();
    for error in errors.iter().map(ToString::to_string) {
        match wanted.iter().position(|want| error.starts_with(want.as_str())) {
            Some(at) => drop(wanted.remove(at)),
            None => complaints.push(format!("not asked for: {error}")),
        }
    }
    complaints.extend(wanted.iter().map(|want| format!("not reported:  {want}")));
    complaints
}

#[test]
fn a_listener_of_ones_own_replaces_the_default_and_takes_what_it_leaves_out_from_it() {
    let config = good("[listen.lan]\naddress = [\"192.0.2.1:25\", \"[::1]:25\"]\nallow = [\"192.0.2.0/24\"]\n");
    assert_eq!(config.listeners.keys().map(Name::as_str).collect::<Vec<_>>(), ["lan"]);
    let lan = &config.listeners["lan"];
    assert_eq!(lan.addresses.len(), 2);
    assert!(lan.allows([192, 0, 2, 77].into()) && !lan.allows([127, 0, 0, 1].into()));
    assert_eq!((lan.banner.as_str(), lan.max_connections_per_ip), ("ESMTP posthaste", 200));
}

#[test]
fn internationalised_names_are_read_as_what_dns_knows() {
    let config = good(concat!(
        "hostname = \"mx.bücher.example\"\norigin = \"Bücher.example\"\npostmaster = \"post@bücher.example\"\n",
        "[route]\n\"bücher.example\" = \"mail.bücher.example:2525\"\n\".bücher.example\" = \"192.0.2.1\"\n",
        "[tls.domain.\"bücher.example\"]\npolicy = \"require\"\n",
        "[source.default]\nehlo = \"out.bücher.example\"\n",
        "[user.app]\nsenders = [\"bücher.example\", \".bücher.example\", \"a@bücher.example\"]\n"
    ));
    assert_eq!((config.hostname.as_str(), config.origin.as_str()), ("mx.xn--bcher-kva.example", "xn--bcher-kva.example"));
    let domain = Domain::new("xn--bcher-kva.example").unwrap();
    let route = config.routes.find(&domain).expect("a route");
    assert_eq!(route.hosts[0].host.as_str(), "mail.xn--bcher-kva.example");
    assert!(config.routes.find(&Domain::new("a.xn--bcher-kva.example").unwrap()).is_some());
    assert_eq!(config.sources.values().next().unwrap().ehlo.as_str(), "out.xn--bcher-kva.example");
    let senders: Vec<String> = config.users["app"].senders.iter().map(ToString::to_string).collect();
    assert_eq!(senders, ["xn--bcher-kva.example", ".xn--bcher-kva.example", "a@xn--bcher-kva.example"]);
}

#[test]
fn a_listener_names_what_its_certificate_is_ordered_for() {
    let config = good(concat!(
        "[acme]\nagree_terms = true\n[listen.a]\ntls = \"starttls\"\n",
        "acme = [\"b.example.com\", \"A.example.com\", \"b.example.com\", \"bücher.example\"]\n"
    ));
    let names: Vec<_> = config.listeners["a"].tls.acme.iter().map(Domain::as_str).collect();
    assert_eq!(names, ["a.example.com", "b.example.com", "xn--bcher-kva.example"]);
    assert_eq!(config.acme.addresses, ["0.0.0.0:80".parse().unwrap()], "\"[::]:80\" too where the host has IPv6");
    let other = good("[acme]\nchallenge = \"tls-alpn-01\"\n");
    assert_eq!(other.acme.addresses, ["0.0.0.0:443".parse().unwrap()]);
    assert!(!other.acme.agree_terms && other.listeners["default"].tls.acme.is_empty());
}

#[test]
fn a_stream_takes_what_it_leaves_out_from_retry() {
    let config = good("[retry]\nschedule = [\"1m\"]\njitter = 0\n[stream.alarms]\nexpire = \"1h\"\npriority = 50\n");
    let (alarms, default) = (&config.streams["alarms"], config.default_stream());
    assert_eq!((&alarms.retry.schedule, alarms.retry.jitter), (&vec![Duration::from_secs(60)], 0.0));
    assert_eq!((alarms.retry.expire, default.retry.expire), (Duration::from_secs(3600), Duration::from_secs(5 * 86_400)));
    assert_eq!((alarms.priority, default.priority), (50, 10));
}

#[test]
fn pools_share_work_by_weight_and_a_star_means_all_sources() {
    let config = good(concat!(
        "[source.ip1]\naddress = \"192.0.2.1\"\nehlo = \"out1.example.org\"\n[source.ip2]\naddress = \"192.0.2.2\"\n",
        "[pool.all]\nsources = [\"*\"]\nweights = { ip2 = 3 }\n[pool.one]\nsources = [\"ip1\"]\n",
        "[stream.default]\npool = \"all\"\n[stream.receipts]\npool = \"one\"\n"
    ));
    assert_eq!(config.sources_of(config.default_stream()), [(name("ip1"), 1), (name("ip2"), 3)]);
    assert_eq!(config.sources_of(&config.streams["receipts"]), [(name("ip1"), 1)]);
    assert_eq!(config.sources["ip1"].ehlo.as_str(), "out1.example.org");
    assert_eq!(config.sources["ip2"].ehlo, config.hostname);
    assert!(!config.sources.contains_key("default"));
}

#[test]
fn sources_without_pools_are_all_in_the_default_pool() {
    let config = good("[source.ip1]\naddress = \"192.0.2.1\"\n[source.ip2]\naddress = \"192.0.2.2\"\n");
    assert_eq!(config.sources_of(config.default_stream()), [(name("ip1"), 1), (name("ip2"), 1)]);
}

#[test]
fn routes_go_by_the_nearest_pattern_and_keep_their_secrets() {
    let config = good(concat!(
        "[route]\n\"example.com\" = \"127.0.0.1:2526\"\n\".internal\" = [\"mail1.internal\", \"[::1]:2525\"]\n",
        "\"*\" = { hosts = \"smtp.example.net:587\", user = \"us\", password_file = \"smart-host.password\", tls = \"verify\" }\n"
    ));
    let hosts = |name: &str| config.routes.find(&domain(name)).unwrap().hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(hosts("example.com"), ["127.0.0.1:2526"]);
    assert_eq!(hosts("a.b.internal"), ["mail1.internal:25", "[::1]:2525"]);
    assert_eq!(hosts("internal"), ["smtp.example.net:587"]);
    let smart = config.routes.find(&domain("example.org")).unwrap();
    let auth = smart.auth.as_ref().unwrap();
    assert_eq!((auth.user.as_str(), auth.password.reveal(), smart.tls), ("us", "secret", Some(TlsPolicy::Verify)));
    assert!(!format!("{config:?}").contains("secret"));
}

#[test]
fn tls_rules_of_a_domain_take_what_they_leave_out_from_the_general_ones() {
    let config = good("[tls]\nfallback = false\n[tls.domain.\".bank.example\"]\npolicy = \"verify\"\n");
    let delivery = Settings::new(config).unwrap().delivery;
    let bank = delivery.tls_rule(&domain("mail.bank.example"));
    assert_eq!((bank.policy, bank.fallback), (TlsPolicy::Verify, false));
    let other = delivery.tls_rule(&domain("example.com"));
    assert_eq!((other.policy, other.fallback), (TlsPolicy::Opportunistic, false));
}

#[test]
fn a_domain_signs_for_itself_and_for_what_is_below_unless_told_not_to() {
    let config = good(concat!(
        "[dkim.domain.\"example.com\"]\n",
        "keys = [{ selector = \"s1\", file = \"s1.example.com.pem\" }, { selector = \"ed1\", file = \"ed1.example.com.pem\" }]\n",
        "[dkim.domain.\"strict.example\"]\nsign_subdomains = false\n",
        "[[dkim.domain.\"strict.example\".keys]]\nselector = \"s1\"\nfile = \"s1.example.com.pem\"\n"
    ));
    let signer = |from: &str| config.dkim.signing(&domain(from)).map(|(signer, signing)| (signer.to_string(), signing.keys.len()));
    assert_eq!(signer("example.com"), Some(("example.com".into(), 2)));
    assert_eq!(signer("a.b.example.com"), Some(("example.com".into(), 2)));
    assert_eq!(signer("strict.example"), Some(("strict.example".into(), 1)));
    assert_eq!([signer("sub.strict.example"), signer("example.org"), signer("[192.0.2.1]")], [None, None, None]);
}

#[test]
fn each_value_knows_the_line_it_comes_from() {
    let config = good("# mine\n[limits]\nrecipients = 500\n[listen.lan]\naddress = \"127.0.0.1:26\"\n");
    let origin = |key: &str| config.origin(key).map(ToString::to_string).unwrap_or_default();
    assert_eq!(origin("limits.recipients"), "posthaste.toml:3");
    assert_eq!(origin("listen.lan.address"), "posthaste.toml:5");
    let Some(Origin::Default { line }) = config.origin("limits.message_size") else { panic!("{:?}", config.origin("limits.message_size")) };
    assert_eq!(DEFAULTS.lines().nth(line - 1), Some("message_size = \"50 MiB\""));
    assert!(origin("listen.lan.banner").starts_with("default (config/posthaste.toml:"));
    assert_eq!(config.origin("hostname"), None);
    assert!(config.lines.iter().count() > 70);
}

#[test]
fn files_lie_beside_the_configuration_and_data_does_not() {
    let text = "[bounce]\nrules = [\"more.toml\"]\n[spool]\ndir = \"/var/spool/posthaste\"\n";
    let host = FakeHost::new().with("/etc/posthaste/posthaste.toml", text).with("/etc/posthaste/more.toml", "rules");
    let config = Config::load(Some(Path::new("/etc/posthaste/posthaste.toml")), &host).unwrap();
    assert_eq!(config.bounce.files, [(PathBuf::from("/etc/posthaste/more.toml"), "rules".to_owned())]);
    assert_eq!(config.spool.dir, Path::new("/var/spool/posthaste"));
    assert_eq!(config.log.dir, Path::new("posthaste-data/log"));
}

#[test]
fn a_file_that_cannot_be_read_is_one_error_with_its_name() {
    let host = FakeHost::new();
    let error = |path: &str| Config::load(Some(Path::new(path)), &host).unwrap_err().to_string();
    assert!(error("missing.toml").starts_with("missing.toml: cannot be read: "));
    assert!(
        error("latin1.toml").starts_with("latin1.toml:1: not UTF-8, as TOML must be: save the file in UTF-8"),
        "{}",
        error("latin1.toml")
    );
}

#[test]
fn an_error_names_file_line_key_value_and_remedy() {
    let errors = parse("[stream.default]\n\npool = \"gentle\"\n").unwrap_err();
    assert_eq!(errors.to_string(), "posthaste.toml:3: stream.default.pool = \"gentle\": no such pool; pools are: default");
    assert_eq!((errors.0[0].line, errors.0[0].column), (Some(3), Some(8)));
}

#[test]
fn channels_take_their_secrets_from_files_and_show_them_nowhere() {
    let config = good(&documented());
    let kinds: Vec<_> = config.alarms.iter().map(|(name, channel)| (name.as_str(), channel.way.kind())).collect();
    let wanted =
        [("chat", "slack"), ("duty", "pagerduty"), ("mail", "mail"), ("modem", "command"), ("phone", "ntfy"), ("script", "webhook")];
    assert_eq!(kinds, wanted);
    let shown = format!("{:?}{:?}", config.alarms, config.heartbeat);
    assert!(!shown.contains("secret") && !shown.contains("TOPIC") && !shown.contains("UUID"), "{shown}");
    for file in ["webhook.authorization", "slack.url", "ntfy.token", "pagerduty.key", "smart-host.password", "oidc.secret"] {
        assert!(config.password_files.iter().any(|path| path == Path::new(file)), "{file} is a secret whose mode is looked at");
    }
    let (chat, mail) = (&config.alarms["chat"], &config.alarms["mail"]);
    assert_eq!((chat.per_hour.get(), chat.timeout, chat.rules.len()), (30, Duration::from_secs(10), 0));
    assert_eq!(mail.timeout, Duration::from_secs(60));
    assert!(good("").alarms.is_empty() && good("").heartbeat.is_none());
}

#[test]
fn a_reload_cannot_move_listeners_or_folders_and_says_so() {
    let old = good("");
    assert_eq!(old.diff_restart_needed(&good("[limits]\nrecipients = 500\n[retry]\nexpire = \"1d\"\n")), Vec::<String>::new());
    let new = good("data_dir = \"/d\"\n[listen.lan]\naddress = \"127.0.0.1:26\"\n[log]\ndir = \"events\"\n[admin]\nmode = \"0660\"\n");
    let keys = ["listen.default.address", "listen.lan.address", "data_dir", "spool.dir", "log.dir", "admin.socket", "admin.mode"];
    assert_eq!(old.diff_restart_needed(&new), keys);
}

#[test]
fn users_stand_in_the_configuration_or_in_a_file_of_their_own() {
    let filed = "[user.web]\nsenders = [\"example.org\"]\nrate = \"10/m\"\n";
    let host = FakeHost::new().with("posthaste-data/users.toml", filed);
    let config = Config::parse("[user.app]\nstream = \"news\"\n[stream.news]\n", "posthaste.toml", &host).unwrap();
    assert_eq!(config.users.keys().map(|name| &**name).collect::<Vec<_>>(), ["app", "web"]);
    assert!(config.users["app"].may_send_as("anybody@example.com") && !config.users["web"].may_send_as("anybody@example.com"));
    assert_eq!(config.origin("user.web.rate").map(ToString::to_string).as_deref(), Some("posthaste-data/users.toml:3"));
}

#[test]
fn what_is_wrong_in_the_file_of_users_is_told_with_its_line() {
    let host = FakeHost::new().with("/d/users.toml", "[user.app]\n[user.web]\nstream = \"news\"\n[users.x]\n");
    let errors = Config::parse("data_dir = \"/d\"\n[user.app]\n", "posthaste.toml", &host).unwrap_err().to_string();
    assert_eq!(
        errors,
        concat!(
            "/d/users.toml:1: user.app: the configuration itself defines a user with this name\n",
            "/d/users.toml:3: user.web.stream = \"news\": no such stream; streams are: default\n",
            "/d/users.toml:4: users: no such key; did you mean user?"
        )
    );
}

#[test]
fn a_listener_shows_the_certificates_that_it_is_given() {
    let config = good(concat!(
        "[listen.lan]\naddress = \"127.0.0.1:465\"\ntls = \"implicit\"\nrequire_tls = true\nrequire_auth = true\n",
        "certificate = \"mx1.example.com.pem\"\nkey = \"mx1.example.com.key\"\n",
        "certificates = [{ certificate = \"mail.example.org.pem\", key = \"mail.example.org.key\" }]\nproxy_from = [\"10.0.0.0/8\"]\n",
    ));
    let lan = &config.listeners["lan"];
    let shown: Vec<_> = lan.tls.certificates.iter().map(|c| c.files.certificate.to_str().unwrap()).collect();
    assert_eq!(shown, ["mx1.example.com.pem", "mail.example.org.pem"]);
    assert!(lan.is_balancer([10, 1, 2, 3].into()) && !lan.is_balancer([127, 0, 0, 1].into()));
}

#[test]
fn who_only_looks_needs_no_keys_but_the_right_places() {
    let look = |text: &str| Config::load_to_look(Some(Path::new("posthaste.toml")), &FakeHost::new().with("posthaste.toml", text));
    let keys = "data_dir = \"/srv/mail\"\n[dkim.domain.\"example.com\"]\nkeys = [{ selector = \"s1\", file = \"of-others.pem\" }]\n";
    assert_eq!(look(keys).unwrap().data_dir, Path::new("/srv/mail"));
    assert_eq!(look("data_dir = \"/srv/mail\"\n[retry]\nschedul = []\n").unwrap().data_dir, Path::new("/srv/mail"));
    assert!(look("data_dir = 7\n").unwrap_err().to_string().contains("data_dir"), "the default's folder is not what was meant");
    assert!(look("data_dir\n").is_err());
}

#[test]
fn a_file_for_elsewhere_may_name_what_is_not_here() {
    let text =
        "[dkim]\nalso_sign_as = \"example.com\"\n[dkim.domain.\"example.com\"]\nkeys = [{ selector = \"s1\", file = \"there.pem\" }]\n";
    let load = |text: &str| Config::load_for_elsewhere(Some(Path::new("posthaste.toml")), &FakeHost::new().with("posthaste.toml", text));
    let (_, unread) = load(text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(unread.len() == 1 && unread[0].to_string().contains("there.pem"), "{unread:?}");
    assert!(load(&format!("{text}selector = 1\n")).is_err());
}
