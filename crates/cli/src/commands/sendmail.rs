//! `posthaste sendmail`: the command that cron, PHP and a generation of scripts call. It hands the message to the relay of this machine by SMTP.
//!
//! Whoever calls it need not be able to read keys and passwords: of the configuration only the listeners' addresses are looked at.

mod dialogue;
mod message;
mod options;
mod server;

use std::{
    ffi::OsString,
    io::{self, Read, Write, stdin},
    net::TcpStream,
    process::ExitCode,
};

use clap::Args;

use self::{
    dialogue::{Dialogue, Refused},
    options::{Mode, Options},
};

/// Hand in a message as sendmail does: -t, -i, -f FROM, -F NAME, -bs, recipients.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Sendmail {
    /// What sendmail takes.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Why there was no success, as sysexits.h counts it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// EX_USAGE
    #[error("{0}")]
    Usage(String),
    /// EX_UNAVAILABLE
    #[error("the relay refused: {0}")]
    Refused(String),
    /// EX_IOERR
    #[error("cannot read the message: {0}")]
    Input(io::Error),
    /// EX_TEMPFAIL
    #[error("{0}; try again later")]
    Later(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Refused(_) => 69,
            Self::Input(_) => 74,
            Self::Later(_) => 75,
        }
    }
}

impl Sendmail {
    /// Hands it in; the exit status says what came of it, for programs that look at nothing else.
    pub fn run(self) -> ExitCode {
        run(&self.arguments)
    }
}

/// The same for a program that was called by the name of sendmail.
pub fn run(arguments: &[OsString]) -> ExitCode {
    match send(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("sendmail: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn send(arguments: &[OsString]) -> Result<(), Failure> {
    let options = Options::read(arguments).map_err(Failure::Usage)?;
    let stream = |why| server::connect().map_err(|error| Failure::Later(format!("{why}: {error}")));
    if options.mode == Mode::Smtp {
        return pass_through(&stream("the relay cannot be reached")?).map_err(|error| Failure::Later(error.to_string()));
    }
    let mut input = Vec::new();
    stdin().lock().read_to_end(&mut input).map_err(Failure::Input)?;
    let message = message::Message::new(&input, &options, &message::caller());
    if message.recipients.is_empty() {
        return Err(Failure::Usage("nobody to send it to: name recipients, or let -t find them in To, Cc and Bcc".into()));
    }
    let refused = |refused| match refused {
        Refused::Now(reply) => Failure::Later(reply),
        Refused::Ever(reply) => Failure::Refused(reply),
    };
    let mut dialogue = Dialogue::begin(stream("the relay cannot be reached")?).map_err(refused)?;
    dialogue.hand_in(&message).map_err(refused)
}

/// `-bs`: the caller speaks SMTP with the relay.
fn pass_through(stream: &TcpStream) -> io::Result<()> {
    let mut up = stream.try_clone()?;
    std::thread::spawn(move || {
        // What goes wrong here is seen on the way back: the relay closes.
        let _ = io::copy(&mut stdin().lock(), &mut up);
        let _ = up.shutdown(std::net::Shutdown::Write);
    });
    let mut out = io::stdout().lock();
    io::copy(&mut &*stream, &mut out)?;
    out.flush()
}
