//! Applications' own ways of sending: libraries, a mail reader, a monitor. Those whose packages are heavy or cannot stand beside Postfix (Go, Java,
//! OpenSMTPD, Exim, emailjs) are dialogues: `tests/dialogues/client-*.txt`.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use support::{
    World,
    people::HOST,
    relay::{binary, free_port},
    tools::have,
    wait::until,
};

use crate::{Door, FROM, TO, message, run};

/// The program under the name `sendmail`, as applications call it.
fn link(world: &World) -> PathBuf {
    let link = world.relay.dir().join("sendmail");
    symlink(binary(), &link).unwrap();
    link
}

/// Runs a program that calls sendmail; its mail must arrive.
#[track_caller]
fn delivers(world: &World, command: &mut Command, subject: &str) -> String {
    run(command.current_dir(world.relay.dir()).env("POSTHASTE_CONFIG", world.relay.config_path()), "");
    let got = String::from_utf8(world.mx.wait_for(1).remove(0).data).unwrap();
    assert!(got.contains(&format!("Subject: {subject}\r\n")), "{got}");
    got
}

#[test]
fn curl_with_lines_that_end_in_lf() {
    if !have("/usr/bin/curl") {
        return;
    }
    let door = Door::open();
    let mut curl = Command::new("/usr/bin/curl");
    curl.args([
        "--silent",
        "--show-error",
        "--ssl-reqd",
        "--cacert",
        "ca.pem",
        "--user",
        "app:pencil",
        "--mail-from",
        FROM,
        "--mail-rcpt",
        TO,
    ]);
    curl.args(["--upload-file", "-", "--resolve"]).arg(format!("{HOST}:{}:127.0.0.1", door.port()));
    // Without --crlf curl sends the lines as they are, and so do scripts and monitors made with libcurl.
    door.delivers(curl.arg(format!("smtp://{HOST}:{}", door.port())), &message("curl LF"), "curl LF");
}

#[test]
fn mutt_by_smtp_with_the_mechanism_that_it_chooses() {
    const MUTT: &str = "/usr/bin/mutt";
    if !have(MUTT) {
        return;
    }
    let door = Door::open();
    let url = format!("smtp://app:pencil@127.0.0.1:{}", door.port());
    let settings = format!(
        "set from={FROM}\nset smtp_url={url}\nset ssl_force_tls=yes\nset ssl_starttls=yes\nset ssl_verify_host=no\n\
         set certificate_file={}\nset copy=no\nset use_envelope_from=yes\n",
        door.dir().join("ca.pem").display()
    );
    fs::write(door.dir().join("muttrc"), settings).unwrap();
    let mut mutt = Command::new(MUTT);
    mutt.args(["-n", "-F", "muttrc", "-s", "mutt", "--", TO]).env("HOME", door.dir());
    door.delivers(&mut mutt, "Hello.\n", "mutt");
}

#[test]
fn perls_net_smtp() {
    const PERL: &str = "/usr/bin/perl";
    if !have(PERL) || !have("/usr/share/perl5/IO/Socket/SSL.pm") || !have("/usr/share/perl5/Authen/SASL.pm") {
        return;
    }
    let script = "\
use Net::SMTP;
my ($port, $from, $to, $host) = @ARGV;
my $smtp = Net::SMTP->new('127.0.0.1', Port => $port, Hello => 'my_server') or die 'connect';
$smtp->starttls(SSL_ca_file => 'ca.pem', SSL_verifycn_name => $host, SSL_hostname => $host) or die $smtp->message;
$smtp->auth('app', 'pencil') or die $smtp->message;
$smtp->mail($from) or die $smtp->message;
$smtp->to($to) or die $smtp->message;
$smtp->data(\"From: $from\\nTo: $to\\nSubject: Net::SMTP\\n\\nHello.\\n.\\nEnd.\\n\") or die $smtp->message;
$smtp->quit;
";
    let door = Door::open();
    let port = door.port().to_string();
    door.delivers(Command::new(PERL).args(["-e", script, &port, FROM, TO, HOST]), "", "Net::SMTP");
}

#[test]
fn phps_mail_and_symfonys_mailer_by_sendmail() {
    const PHP: &str = "/usr/bin/php";
    const MAILER: &str = "/usr/share/php/Symfony/Component/Mailer/autoload.php";
    if !have(PHP) || !have(MAILER) {
        return;
    }
    let world = World::start("");
    let sendmail = link(&world);
    let mut php = Command::new(PHP);
    php.arg("-d").arg(format!("sendmail_path={} -t -i", sendmail.display()));
    php.args([
        "-r",
        "mail($argv[1], 'PHP', \"Hello.\\n.\\nEnd.\\n\", \"From: Shop <$argv[2]>\\r\\nBcc: hidden@example.test\") or exit(1);",
        TO,
        FROM,
    ]);
    let got = delivers(&world, &mut php, "PHP");
    assert!(got.contains("\r\n\r\nHello.\r\n.\r\nEnd.\r\n") && !got.contains("hidden"), "{got}");

    let script = "\
require $argv[1];
use Symfony\\Component\\Mailer\\Transport\\SendmailTransport;
use Symfony\\Component\\Mime\\Email;
$transport = new SendmailTransport($argv[2] . ' ' . $argv[3]);
$mail = (new Email())->from($argv[4])->to($argv[5])->subject('Symfony ' . $argv[3])->text(\"Grüße.\\n.\\n\");
$transport->send($mail);
$transport->send($mail->subject('again'));
";
    for mode in ["-bs", "-t"] {
        let world = World::start("");
        let sendmail = link(&world);
        let mut php = Command::new(PHP);
        php.args(["-r", script, MAILER]).arg(&sendmail).args([mode, FROM, TO]);
        run(php.current_dir(world.relay.dir()).env("POSTHASTE_CONFIG", world.relay.config_path()), "");
        // They travel side by side: either may be the first to arrive.
        let got = world.mx.wait_for(2);
        let has = |subject: &str| got.iter().any(|message| String::from_utf8_lossy(&message.data).contains(subject));
        assert!(has(&format!("Subject: Symfony {mode}")) && has("Subject: again"), "{mode}");
    }
}

#[test]
fn rubys_actionmailer_by_smtp_and_by_sendmail() {
    const RUBY: &str = "/usr/bin/ruby";
    if !have(RUBY) || !have("/usr/share/doc/ruby-actionmailer") {
        return;
    }
    let script = "\
require 'action_mailer'
way, at, from, to = ARGV
case way
when 'smtp'
  ActionMailer::Base.smtp_settings = { address: '127.0.0.1', port: at.to_i, user_name: 'app', password: 'pencil', authentication: :plain,
    enable_starttls_auto: true, ca_file: 'ca.pem', openssl_verify_mode: 'none' }
else
  ActionMailer::Base.sendmail_settings = { location: at, arguments: '-i' }
end
ActionMailer::Base.delivery_method = way.to_sym
class Notices < ActionMailer::Base
  def hello(from, to) = mail(from: from, to: to, subject: 'ActionMailer', body: \"Hello.\\n.\\n\")
end
Notices.hello(from, to).deliver_now
";
    let door = Door::open();
    let port = door.port().to_string();
    door.delivers(Command::new(RUBY).args(["-e", script, "smtp", &port, FROM, TO]), "", "ActionMailer");
    let world = World::start("");
    let sendmail = link(&world);
    delivers(&world, Command::new(RUBY).args(["-e", script, "sendmail"]).arg(&sendmail).args([FROM, TO]), "ActionMailer");
}

/// A process that ends when dropped.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn alertmanager_with_starttls_and_a_login() {
    const ALERTMANAGER: &str = "/usr/bin/prometheus-alertmanager";
    if !have(ALERTMANAGER) || !have("/usr/bin/curl") {
        return;
    }
    let (door, port) = (Door::open(), free_port());
    let config = format!(
        "route:\n  receiver: mail\n  group_wait: 0s\nreceivers:\n- name: mail\n  email_configs:\n  - to: {TO}\n    from: {FROM}\n    \
         smarthost: 127.0.0.1:{}\n    auth_username: app\n    auth_password: pencil\n    tls_config:\n      ca_file: {}\n      \
         server_name: {HOST}\n    headers:\n      subject: Alert\n",
        door.port(),
        door.dir().join("ca.pem").display()
    );
    fs::write(door.dir().join("alerts.yml"), config).unwrap();
    let mut manager = Command::new(ALERTMANAGER);
    manager.args(["--config.file=alerts.yml", "--storage.path=alerts", "--cluster.listen-address="]).current_dir(door.dir());
    manager.arg(format!("--web.listen-address=127.0.0.1:{port}")).stdout(Stdio::null()).stderr(Stdio::null());
    let _manager = Background(manager.spawn().unwrap());
    until("Alertmanager to listen", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok());
    let mut alert = Command::new("/usr/bin/curl");
    alert.args(["--silent", "--show-error", "--fail", "--retry", "20", "--retry-all-errors", "--retry-delay", "1"]);
    alert.args(["--header", "Content-Type: application/json", "--data", "[{\"labels\":{\"alertname\":\"Full\"}}]"]);
    door.delivers(alert.arg(format!("http://127.0.0.1:{port}/api/v2/alerts")), "", "Alert");
}
