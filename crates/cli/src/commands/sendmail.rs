//! `posthaste sendmail`: the command that cron, PHP and a generation of scripts call. It submits the message to this machine's relay by SMTP, and
//! keeps it in the maildrop if the relay cannot take it at the moment.

mod aliases;
mod caller;
mod dialogue;
mod failure;
mod message;
mod names;
mod options;
mod queue;
mod relayed;
mod site;
mod stand_in;

use std::{
    ffi::OsString,
    io::{self, BufRead, Read, Write, stdin},
    net::{Ipv4Addr, Shutdown},
    os::unix::net::UnixStream,
    process::ExitCode,
    thread,
};

use bytes::Bytes;
use clap::Args;
use posthaste_host::clock;
use posthaste_mail::{Address, MessageId, ReversePath};
use posthaste_message::{HeaderLimits, Submission, is_lines, prepare, with_domains};
use posthaste_relay::maildrop::{self, Letter};

use crate::screen;

pub(super) use self::names::Names;
use self::{
    dialogue::{Dialogue, Refused},
    failure::Failure,
    message::Message,
    options::{Mode, Options},
    relayed::Relayed,
    site::{DOT_PATIENCE, Site},
};

/// Submit a message as sendmail does: -t, -i, -f FROM, -F NAME, -bs, -bp, -q, recipients.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Sendmail {
    /// sendmail's options and recipients.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// What `--help` prints.
const HELP: &str = "\
Usage: sendmail [OPTIONS] [RECIPIENTS]

Submits the message on standard input to this machine's relay (posthaste). While the relay is down, the message is kept for it. Recipients are
addresses, or names of this machine, which /etc/aliases may lead elsewhere; several may stand in one word, separated by commas.

  -t            take recipients from To, Cc and Bcc; from Resent-To, -Cc and -Bcc if there are Resent- fields
  -i, -oi       a line with a single dot does not end the message
  -f FROM       the sender of the envelope (also -r); <> for none. Default: the calling user
  -F NAME       the calling user's name, for a From field that the message lacks
  -C FILE       the relay's configuration. Default: POSTHASTE_CONFIG, /etc/posthaste/posthaste.toml or ./posthaste.toml
  -bs           speak SMTP on standard input and output
  -bp           list the queue; so does the name mailq
  -bi           check the aliases; so does the name newaliases
  -bv           show to which addresses the recipients lead
  -q            try waiting messages now; -qI ID and -qR DOMAIN: some of them

Other options of sendmail are taken and have no effect. The exit status is one of sysexits.h: 0 the relay has the message or will get it, 64 usage,
69 refused, 74 input, 75 try again, 77 not allowed, 78 configuration.
";

impl Sendmail {
    /// Submits the message. The exit status gives the result, for callers that look at nothing else.
    pub(crate) fn run(self) -> ExitCode {
        run("sendmail", &self.arguments)
    }
}

/// The same for a program that was started under a name of sendmail's: that one, mailq or newaliases.
pub(crate) fn run(called: &str, arguments: &[OsString]) -> ExitCode {
    match obey(called, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If even that fails, there is nobody to tell.
            let _ = writeln!(screen::err(), "{called}: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn obey(called: &str, arguments: &[OsString]) -> Result<(), Failure> {
    let options = Options::read(called, arguments).map_err(Failure::Usage)?;
    if options.mode == Mode::Help {
        return said(write!(screen::out(), "{HELP}"));
    }
    let site = Site::read(options.config.as_deref())?;
    match &options.mode {
        Mode::Help => Ok(()),
        Mode::Deliver => deliver(&options, &site),
        Mode::Smtp => speak_smtp(&site),
        Mode::Queue => queue::show(&site),
        Mode::Flush(which) => queue::flush(&site, which),
        Mode::Aliases => check_aliases(&site),
        Mode::Verify => {
            let recipients = Names::of(&site)?.recipients(options.recipients.iter().map(String::as_str))?;
            said(recipients.iter().try_for_each(|recipient| writeln!(screen::out(), "{recipient}")))
        }
    }
}

/// `-bs`: the caller speaks SMTP with the relay, or with this program while the relay is down.
fn speak_smtp(site: &Site) -> Result<(), Failure> {
    let names = Names::of(site)?;
    let (from, to) = (&mut stdin().lock(), &mut screen::pipe());
    let begun = site.connect().and_then(|stream| {
        let relay = Relayed::begin(stream.try_clone()?, stream.try_clone()?)?;
        stream.set_read_timeout(Some(DOT_PATIENCE))?;
        Ok(relay)
    });
    let down = match begun {
        Ok(mut relay) => return said(passed(&mut relay, &names, from, to)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => "the relay does not answer".into(),
        Err(error) => format!("the relay does not answer: {error}"),
    };
    if site.maildrop.as_ref().is_none_or(|dir| !dir.is_dir()) {
        // The caller waits for a greeting.
        let _ = write!(to, "421 4.3.2 {} the relay is down, try again later\r\n", site.hostname);
        return Err(Failure::Later(down));
    }
    let keep = |message: &posthaste_smtp::server::Submission| {
        let envelope = &message.envelope;
        keep(site, &envelope.reverse_path, &envelope.recipients, &message.data, &down)
    };
    let (own, other) = UnixStream::pair().map_err(|error| Failure::Later(error.to_string()))?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut read, mut write) = (&other, &other);
            // An error shows at the other end: the pair is closed.
            let _ = stand_in::speak(site, &mut read, &mut write, keep);
            let _ = other.shutdown(Shutdown::Both);
        });
        let spoken = Relayed::begin(&own, &own).and_then(|mut relay| passed(&mut relay, &names, from, to));
        let _ = own.shutdown(Shutdown::Both);
        said(spoken)
    })
}

/// The whole dialogue. A caller whose relay goes silent in the middle is told so.
fn passed<R: Read, W: Write>(relay: &mut Relayed<R, W>, names: &Names, from: &mut impl BufRead, to: &mut impl Write) -> io::Result<()> {
    let passed = relay.pass(names, from, to);
    if passed.is_err() {
        // If even that fails, there is nobody to tell.
        let _ = to.write_all(b"421 4.3.2 the relay does not answer, try again later\r\n").and_then(|()| to.flush());
    }
    passed
}

fn said(written: io::Result<()>) -> Result<(), Failure> {
    written.map_err(|error| Failure::Later(error.to_string()))
}

/// The aliases are read each time, so that there is nothing to build; but somebody may want to know what is wrong with them.
fn check_aliases(site: &Site) -> Result<(), Failure> {
    let names = Names::of(site)?;
    let (all, (errors, nowhere)) = (names.aliases().len(), names.aliases().errors());
    errors.iter().for_each(|error| drop(writeln!(screen::err(), "newaliases: {error}")));
    let (noun, lead) = (if all == 1 { "alias" } else { "aliases" }, if nowhere == 1 { "leads" } else { "lead" });
    said(writeln!(screen::out(), "{all} {noun}, {nowhere} of them {lead} nowhere"))
}

fn deliver(options: &Options, site: &Site) -> Result<(), Failure> {
    let names = Names::of(site)?;
    let sender = match &options.sender {
        Some(given) => names.sender(given)?,
        None => ReversePath::Mailbox(caller::caller(&site.origin)),
    };
    let author = if let ReversePath::Mailbox(sender) = &sender { sender.clone() } else { caller::caller(&site.origin) };
    let mut input = Vec::new();
    stdin().lock().read_to_end(&mut input).map_err(Failure::Input)?;
    let message = Message::new(&input, options, &author);
    let recipients = names.recipients(options.recipients.iter().chain(&message.in_header).map(String::as_str))?;
    if recipients.is_empty() {
        return Err(Failure::Usage("no recipients: name them, or use -t to take them from To, Cc and Bcc".into()));
    }
    let data = match recipients.len() > site.recipients_max {
        // The relay would give each part an id of its own.
        true => message::with_message_id(
            &message.data,
            &format!("{}@{}", MessageId::new(clock::now(), u128::from(std::process::id())), site.hostname),
        ),
        false => message.data,
    };
    recipients.chunks(site.recipients_max).try_for_each(|some| hand_in(site, &sender, some, &data))
}

/// Hands the message to the relay, or keeps it if that is not possible at the moment.
fn hand_in(site: &Site, sender: &ReversePath, recipients: &[Address], data: &Bytes) -> Result<(), Failure> {
    let stream = site.connect().map_err(|error| Refused::Now(format!("cannot connect to the relay: {error}")));
    let begun = stream.and_then(|stream| Dialogue::begin(stream, site.hostname.as_str()));
    match begun.and_then(|mut dialogue| dialogue.hand_in(sender, recipients, data)) {
        Ok(()) => Ok(()),
        Err(Refused::Ever(reply)) => Err(Failure::Refused(reply)),
        Err(Refused::Now(why)) => keep(site, sender, recipients, data, &why),
    }
}

/// Keeps the message for the relay, which judges it later.
fn keep(site: &Site, sender: &ReversePath, recipients: &[Address], data: &Bytes, why: &str) -> Result<(), Failure> {
    let Some(dir) = &site.maildrop else { return Err(Failure::Later(why.to_owned())) };
    if let Some(unfit) = unfit(site, sender, data) {
        return Err(Failure::Refused(unfit));
    }
    let letter = Letter { uid: caller::uid(), sender: sender.clone(), recipients: recipients.to_vec(), data: data.clone() };
    match maildrop::keep(dir, &letter, clock::now()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Later(format!("{why}; and the message cannot be kept in {}: {error}", dir.display()))),
    }
}

/// Why the relay would refuse the message whenever it comes back; the caller learns of it while it is still there. None: nothing is known
/// against it.
fn unfit(site: &Site, sender: &ReversePath, data: &Bytes) -> Option<String> {
    if !is_lines(data) {
        return Some("it holds a NUL byte".into());
    }
    if site.message_size.is_some_and(|most| data.len() as u64 > most) {
        return Some("it is larger than limits.message_size".into());
    }
    let now = clock::now();
    let submission = Submission {
        client_ip: Ipv4Addr::LOCALHOST.into(),
        helo: "",
        esmtp: true,
        tls: false,
        authenticated: false,
        http: false,
        reverse_path: sender.as_str(),
        hostname: site.hostname.as_str(),
        id: MessageId::new(now, 0),
        now,
    };
    let limits = HeaderLimits::default();
    prepare(&with_domains(data, &site.origin, limits.header), &submission, limits).err().map(|unfit| unfit.to_string())
}
