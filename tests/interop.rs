//! Real clients, configured as their users would, submit mail with TLS and AUTH where they can; each message arrives.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use support::{
    World,
    certs::authority_pem,
    client::{Client, Mail},
    people::{HOST, add_user, certificate},
    postfix::Postfix,
    relay::{free_port, text},
    tools::{have, have_root},
    wait::until,
    world::listening,
};

#[path = "interop/applications.rs"]
mod applications;

const FROM: &str = "writer@sender.test";
const TO: &str = "reader@example.test";

/// A relay that accepts mail of the user "app" (password "pencil") on a port with STARTTLS and on one with implicit TLS.
struct Door {
    world: World,
    smtps: u16,
}

impl Door {
    fn open() -> Self {
        let smtps = free_port();
        let world = listening(|relay| {
            let certificate = certificate(relay);
            add_user(relay, "app", "pencil", &[]);
            fs::write(relay.dir().join("ca.pem"), authority_pem()).unwrap();
            let rules = format!("require_auth = true\n{certificate}");
            format!(
                "[listen.default]\ntls = \"starttls\"\n{rules}[listen.smtps]\naddress = \"127.0.0.1:{smtps}\"\ntls = \"implicit\"\n{rules}"
            )
        });
        Self { world, smtps }
    }

    fn port(&self) -> u16 {
        self.world.relay.port()
    }

    fn dir(&self) -> &Path {
        self.world.relay.dir()
    }

    /// Runs a client with this standard input; its mail must be accepted under TLS and AUTH, and arrive.
    #[track_caller]
    fn delivers(&self, command: &mut Command, input: &str, subject: &str) {
        run(command.current_dir(self.dir()), input);
        let before = self.world.mx.messages().len();
        let got = self.world.mx.wait_for(before.max(1));
        let got = String::from_utf8(got.last().unwrap().data.clone()).unwrap();
        assert!(got.contains(&format!("Subject: {subject}\r\n")) && got.contains(" with ESMTPSA id "), "{got}");
        assert_eq!(self.world.relay.log().wait_for("accepted", TO)["user"], "app");
    }
}

#[track_caller]
fn run(command: &mut Command, input: &str) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A client that needs no input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}\n{}{}", out.status, text(&out.stdout), text(&out.stderr));
}

fn message(subject: &str) -> String {
    format!("From: {FROM}\nTo: {TO}\nSubject: {subject}\n\nHello.\n.\nThis is no end.\n")
}

#[test]
fn swaks_with_starttls_and_with_tls_from_the_start() {
    if !have("/usr/bin/swaks") {
        return;
    }
    for (mechanism, implicit) in [("PLAIN", false), ("LOGIN", true)] {
        let door = Door::open();
        let mut swaks = Command::new("/usr/bin/swaks");
        swaks.args([
            "--from",
            FROM,
            "--to",
            TO,
            "--h-Subject",
            "swaks",
            "--auth",
            mechanism,
            "--auth-user",
            "app",
            "--auth-password",
            "pencil",
        ]);
        swaks.args(["--tls-verify", "--tls-ca-path", "ca.pem", "--tls-sni", HOST]);
        match implicit {
            true => swaks.arg("--tlsc").arg("--server").arg(format!("127.0.0.1:{}", door.smtps)),
            false => swaks.arg("--tls").arg("--server").arg(format!("127.0.0.1:{}", door.port())),
        };
        door.delivers(&mut swaks, "", "swaks");
    }
}

#[test]
fn curl_by_smtp_and_by_smtps() {
    if !have("/usr/bin/curl") {
        return;
    }
    for implicit in [false, true] {
        let door = Door::open();
        let (scheme, port) = if implicit { ("smtps", door.smtps) } else { ("smtp", door.port()) };
        let mut curl = Command::new("/usr/bin/curl");
        curl.args(["--silent", "--show-error", "--ssl-reqd", "--cacert", "ca.pem", "--user", "app:pencil", "--crlf"]);
        curl.args(["--mail-from", FROM, "--mail-rcpt", TO, "--upload-file", "-", "--resolve"]).arg(format!("{HOST}:{port}:127.0.0.1"));
        door.delivers(curl.arg(format!("{scheme}://{HOST}:{port}")), &message("curl"), "curl");
    }
}

#[test]
fn pythons_smtplib() {
    const PYTHON: &str = "/usr/bin/python3";
    if !have(PYTHON) {
        return;
    }
    let script = "\
import smtplib, ssl, sys
from email.message import EmailMessage
kind, port, sender, to = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile='ca.pem')
context.check_hostname = False
if kind == 'smtps':
    client = smtplib.SMTP_SSL('127.0.0.1', port, context=context)
else:
    client = smtplib.SMTP('127.0.0.1', port)
    client.starttls(context=context)
client.login('app', 'pencil')
mail = EmailMessage()
mail['From'], mail['To'], mail['Subject'] = sender, to, 'smtplib'
mail.set_content('Grüße.')
client.send_message(mail)
client.quit()
";
    for kind in ["smtp", "smtps"] {
        let door = Door::open();
        let port = if kind == "smtps" { door.smtps } else { door.port() };
        door.delivers(Command::new(PYTHON).args(["-c", script, kind, &port.to_string(), FROM, TO]), "", "smtplib");
    }
}

#[test]
fn msmtp_with_scram_too() {
    const MSMTP: &str = "/usr/bin/msmtp";
    if !have(MSMTP) {
        return;
    }
    for (mechanism, implicit) in [("plain", false), ("scram-sha-256", false), ("on", true)] {
        let door = Door::open();
        let port = if implicit { door.smtps } else { door.port() };
        let mut msmtp = Command::new(MSMTP);
        msmtp.args([
            "--file=/dev/null",
            "--host=127.0.0.1",
            "--tls=on",
            "--tls-trust-file=ca.pem",
            "--user=app",
            "--passwordeval=echo pencil",
        ]);
        msmtp.arg(format!("--port={port}")).arg(format!("--auth={mechanism}")).arg(format!("--from={FROM}"));
        msmtp.arg(format!("--tls-starttls={}", if implicit { "off" } else { "on" })).arg(format!("--tls-host-override={HOST}"));
        door.delivers(msmtp.args(["--", TO]), &message("msmtp"), "msmtp");
    }
}

#[test]
fn nodemailer() {
    const NODE: &str = "/usr/bin/node";
    const MODULE: &str = "/usr/share/nodejs/nodemailer";
    if !have(NODE) || !have(MODULE) {
        return;
    }
    let script = "\
const [module_, port, secure, from, to, host] = process.argv.slice(1);
const mail = { from, to, subject: 'nodemailer', text: 'Grüße.', html: '<p>Grüße.</p>' };
const tls = { ca: require('fs').readFileSync('ca.pem'), servername: host };
const transport = require(module_).createTransport({
  host: '127.0.0.1', port: Number(port), secure: secure === 'true', requireTLS: true, auth: { user: 'app', pass: 'pencil' }, tls });
transport.sendMail(mail).then(() => transport.close(), (error) => { console.error(error); process.exit(1); });
";
    for implicit in [false, true] {
        let door = Door::open();
        let port = if implicit { door.smtps } else { door.port() };
        let mut node = Command::new(NODE);
        node.args(["-e", script, MODULE, &port.to_string(), &implicit.to_string(), FROM, TO, HOST]);
        door.delivers(&mut node, "", "nodemailer");
    }
}

#[test]
fn postfix_as_a_client_with_relayhost_and_sasl() {
    if !have("/usr/sbin/postfix") || !have_root("Postfix starts as nobody else") {
        return;
    }
    for (mechanism, implicit) in [("plain", false), ("scram-sha-256", false), ("login", true)] {
        let door = Door::open();
        let to = if implicit { door.smtps } else { door.port() };
        let tls = if implicit { "smtp_tls_wrappermode = yes\n" } else { "" };
        let postfix = Postfix::start(
            &format!(
                "relayhost = [127.0.0.1]:{to}\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = texthash:$dir/passwords\n\
                 smtp_sasl_security_options = noanonymous\nsmtp_sasl_mechanism_filter = {mechanism}\n{tls}\
                 smtp_tls_security_level = secure\nsmtp_tls_secure_cert_match = {HOST}\nsmtp_tls_CAfile = $dir/ca.pem\n"
            ),
            &[("passwords", &format!("[127.0.0.1]:{to} app:pencil\n")), ("ca.pem", authority_pem())],
        );
        let mut mail = Mail::new(FROM, &[TO], "postfix");
        mail.data.extend_from_slice(b"Gr\xc3\xbc\xc3\x9fe.\r\n.\r\n");
        Client::hello(postfix.port()).unwrap().submit(&mail).unwrap();
        let got = until("Postfix's mail", || door.world.mx.messages().pop());
        let got = String::from_utf8(got.data).unwrap();
        assert!(
            got.contains("Subject: postfix\r\n") && got.contains(" with ESMTPSA id ") && got.ends_with("Gr\u{fc}\u{df}e.\r\n.\r\n"),
            "{got}"
        );
        assert_eq!(door.world.relay.log().wait_for("accepted", TO)["user"], "app", "{}", postfix.log());
    }
}

#[test]
fn the_sendmail_command_as_cron_and_php_call_it() {
    let world = World::start("");
    let cron = ["sendmail", "-i", "-FCronDaemon", "-B8BITMIME", "-oem", "-f", FROM, TO];
    run(&mut world.relay.command(cron), "Subject: cron\n\nGrüße.\n.\nThis is no end.\n");
    let got = world.mx.wait_for(1).remove(0);
    let data = String::from_utf8(got.data).unwrap();
    assert!(
        data.contains(&format!("From: \"CronDaemon\" <{FROM}>\r\nSubject: cron\r\n")) && data.ends_with(".\r\nThis is no end.\r\n"),
        "{data}"
    );
    let php = ["sendmail", "-t", "-i", &format!("-f{FROM}")];
    run(&mut world.relay.command(php), &format!("To: {TO}\nBcc: hidden@example.test\nSubject: php\n\nHello.\n"));
    let got: Vec<_> = world.mx.wait_for(2).into_iter().skip(1).collect();
    assert!(got.iter().all(|t| !String::from_utf8_lossy(&t.data).contains("hidden")));
    world.relay.log().wait_for("delivered", "hidden@example.test");
    let session =
        format!("EHLO c.test\r\nMAIL FROM:<{FROM}>\r\nRCPT TO:<third@example.test>\r\nDATA\r\nSubject: bs\r\n\r\nHello.\r\n.\r\nQUIT\r\n");
    run(&mut world.relay.command(["sendmail", "-bs"]), &session);
    world.relay.log().wait_for("delivered", "third@example.test");
}

#[test]
fn the_sendmail_command_says_by_its_exit_status_what_came_of_it() {
    let mut world = World::start("limits.recipients = 100");
    let status = |world: &World, arguments: &[&str]| world.relay.cli(["sendmail"].iter().chain(arguments)).status.code();
    assert_eq!(status(&world, &["-f", FROM, TO]), Some(0));
    assert_eq!(status(&world, &["-z", TO]), Some(64), "EX_USAGE");
    assert_eq!(status(&world, &["-t"]), Some(64), "nobody to send it to");
    let link = world.relay.dir().join("sendmail");
    std::os::unix::fs::symlink(support::relay::binary(), &link).unwrap();
    let by_name =
        Command::new(&link).args(["-f", FROM, TO]).env("POSTHASTE_CONFIG", world.relay.config_path()).stdin(Stdio::null()).status();
    assert_eq!(by_name.unwrap().code(), Some(0));
    world.relay.stop();
    assert_eq!(status(&world, &["-f", FROM, TO]), Some(0), "it is kept");
    std::fs::remove_dir_all(world.relay.dir().join("data/maildrop")).unwrap();
    assert_eq!(status(&world, &["-f", FROM, TO]), Some(75), "EX_TEMPFAIL");
}
