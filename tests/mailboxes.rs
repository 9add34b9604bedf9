//! Bounces and complaints fetched from mailboxes are handled like those that arrive by SMTP, and mail that was read is marked.

use std::{fs, path::Path};

use support::{Mail, Transaction, World, certs, imap::FakeImap, wait};

const GONE: &str = "gone@example.test";
const ANGRY: &str = "angry@example.test";
const APP: &str = "app@sender.test";

fn world(mailbox: &str) -> World {
    let world = World::start(&format!("returns.domain = \"bounce.relay.test\"\nreturns.read_every = \"1s\"\n{mailbox}"));
    world.dns.mx("sender.test", 10, "mx1.example.test");
    world
}

/// Sends to both recipients; returns what the receiver got.
fn sent(world: &World) -> [Transaction; 2] {
    world.relay.send(&Mail::new(APP, &[GONE, ANGRY], "Offer"));
    world.relay.log().wait_for_many("delivered", "", 2);
    let got = world.mx.wait_for(2);
    [GONE, ANGRY].map(|rcpt| got.iter().find(|t| t.rcpts == [rcpt]).expect("it was delivered").clone())
}

/// A bounce in free text, delivered into a mailbox by another server.
fn bounce(of: &Transaction) -> String {
    format!(
        "Return-Path: <>\r\nDelivered-To: {}\r\nFrom: MAILER-DAEMON@mx1.example.test\r\nTo: <{}>\r\nSubject: failure notice\r\n\r\n\
         Hi. This is the qmail-send program at mx1.example.test.\r\n\
         I'm afraid I wasn't able to deliver your message to the following addresses.\r\n\
         This is a permanent error; I've given up. Sorry it didn't work out.\r\n\r\n\
         <{GONE}>:\r\nSorry, no mailbox here by that name. (#5.1.1)\r\n",
        of.from, of.from
    )
}

fn complaint(of: &Transaction) -> String {
    format!(
        "From: <feedback@isp.test>\r\nTo: <fbl@reports.test>\r\nSubject: FW: Offer\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nUser-Agent: Isp/1.0\r\nVersion: 1\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\n{}\r\n--b--\r\n",
        String::from_utf8_lossy(&of.data)
    )
}

/// Both are in the log, once, and on the suppression list.
fn assert_told(world: &World) {
    world.relay.log().wait_for("late_bounced", GONE);
    world.relay.log().wait_for("complained", ANGRY);
    wait::until("both to be listed", || {
        [GONE, ANGRY].iter().all(|rcpt| world.relay.cli(["suppress", "list", rcpt]).status.success()).then_some(())
    });
    assert_eq!((world.relay.log().of("late_bounced", "").len(), world.relay.log().of("complained", "").len()), (1, 1));
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_maildir_is_read_and_its_mails_go_to_cur() {
    let dir = tempfile::tempdir().unwrap();
    let world = world(&format!("returns.mailbox.local.maildir = {:?}", dir.path()));
    // The mailbox does not exist yet: this is reported once, and its end once.
    let alarm = world.relay.log().wait_for_relay("alarm");
    assert!(alarm["detail"].as_str().unwrap().starts_with("the mailbox local cannot be read: "), "{alarm}");
    let [gone, angry] = sent(&world);
    for name in ["new", "cur", "tmp"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    for (name, mail) in [("1.a.host", bounce(&gone)), ("2.b.host", complaint(&angry)), ("3.c.host", bounce(&gone))] {
        fs::write(dir.path().join("tmp").join(name), mail).unwrap();
        fs::rename(dir.path().join("tmp").join(name), dir.path().join("new").join(name)).unwrap();
    }
    assert_told(&world);
    wait::until("the mails to be marked", || names(&dir.path().join("new")).is_empty().then_some(()));
    assert_eq!(names(&dir.path().join("cur")), ["1.a.host:2,S", "2.b.host:2,S", "3.c.host:2,S"]);
    world.relay.log().wait_for_relay("alarm_over");
}

/// Kills the relay while it reads what it read at so many ends: `put` puts it there, if need be again, since it may have been read before
/// that was seen.
fn kill_amid(world: &mut World, ends: u32, put: impl Fn()) {
    let path = world.relay.dir().join("data/returns.reading");
    let is_read = || fs::read_to_string(&path).unwrap_or_default().contains(&format!("reading {ends} "));
    let amid = || (0..20_000).any(|_| is_read()).then_some(());
    wait::until("something to be read", || {
        put();
        amid()
    });
    world.relay.kill();
}

#[test]
fn a_mail_that_is_read_at_two_ends_of_the_relay_is_put_aside_and_said() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["new", "cur", "tmp"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let mut world = world(&format!("returns.mailbox.local.maildir = {:?}", dir.path()));
    let file = dir.path().join("new/1.a.host");
    let long =
        format!("From: <a@b.test>\r\nTo: <c@d.test>\r\nSubject: x\r\n\r\n{}", "Delivery failed: a@b.test 550 5.1.1\r\n".repeat(20_000));
    let put = || {
        if !file.exists() {
            fs::write(dir.path().join("tmp/1.a.host"), &long).unwrap();
            fs::rename(dir.path().join("tmp/1.a.host"), &file).unwrap();
        }
    };
    kill_amid(&mut world, 0, put);
    assert!(file.exists(), "it was not read to its end");
    world.relay.spawn();
    kill_amid(&mut world, 1, put);
    world.relay.run();
    wait::until("the mail to be put aside", || (!file.exists()).then_some(()));
    let aside = world.relay.dir().join("data/unread");
    let [name] = &*names(&aside) else { panic!("{:?}", names(&aside)) };
    assert_eq!(fs::read_to_string(aside.join(name)).unwrap(), long);
    let alarm = world.relay.log().wait_for_relay("alarm");
    let said = alarm["detail"].as_str().unwrap();
    assert!(said.contains(name) && said.contains("ended 2 times in a row while it read it") && said.contains("report the fault"), "{said}");
    world.relay.log().wait_for_relay("quarantined");
    assert!(world.relay.ok(["alarms"]).contains(name));
    // It comes again and is not read again.
    put();
    wait::until("it to be passed over", || (!file.exists()).then_some(()));
    assert_eq!(names(&aside).len(), 1);
    assert_eq!(fs::read_to_string(world.relay.dir().join("data/returns.reading")).unwrap(), "");
}

#[test]
fn an_mbox_is_read_under_its_lock_and_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bounces");
    fs::write(&path, "").unwrap();
    let world = world(&format!("returns.mailbox.file.mbox = {path:?}"));
    let [gone, angry] = sent(&world);
    fs::write(dir.path().join("bounces.lock"), "").unwrap();
    let boxed = |mail: String| format!("From MAILER-DAEMON Mon Nov 23 10:00:00 2026\n{}\n", mail.replace("\r\n", "\n"));
    let content = boxed(bounce(&gone)) + &boxed(complaint(&angry)) + &boxed(bounce(&gone));
    fs::write(&path, &content).unwrap();
    let alarm = world.relay.log().wait_for_relay("alarm");
    assert!(alarm["detail"].as_str().unwrap().contains("is locked by somebody else"), "{alarm}");
    assert!(world.relay.log().of("late_bounced", "").is_empty());
    fs::remove_file(dir.path().join("bounces.lock")).unwrap();
    assert_told(&world);
    wait::until("the file to be emptied", || fs::read(&path).unwrap().is_empty().then_some(()));
    assert_eq!(fs::read_to_string(dir.path().join("bounces.read")).unwrap(), content);
}

#[test]
fn an_imap_folder_is_read_and_its_mails_are_marked_as_seen() {
    let imap = FakeImap::start("us@example.test", "secret \\\"word\\\"", "Bounces");
    let files = tempfile::tempdir().unwrap();
    let (roots, password) = (files.path().join("roots.pem"), files.path().join("password"));
    fs::write(&roots, certs::authority_pem()).unwrap();
    fs::write(&password, "secret \"word\"\n").unwrap();
    let world = world(&format!(
        "tls.roots = {roots:?}\n[returns.mailbox.far]\nimap = \"localhost:{}\"\nuser = \"us@example.test\"\n\
         password_file = {password:?}\nfolder = \"Bounces\"\n",
        imap.port()
    ));
    let [gone, angry] = sent(&world);
    imap.put(&bounce(&gone));
    imap.put(&complaint(&angry));
    imap.put("From: <friend@example.test>\r\nSubject: Hello\r\n\r\nHow are you?\r\n");
    assert_told(&world);
    wait::until("the mails to be marked", || (imap.unseen() == 0).then_some(()));
    wait::until("the reader to leave", || imap.commands().iter().any(|c| c == "LOGOUT").then_some(()));
    let fetched = imap.commands().into_iter().filter(|c| c.starts_with("UID FETCH")).count();
    assert!(fetched <= 3, "what was seen is not fetched again: {:?}", imap.commands());
}
