//! `posthaste sendmail`: the command that cron, PHP and a generation of scripts call. It submits the message to this machine's relay by SMTP.
//!
//! Callers need no permission to read keys and passwords: only the listeners' addresses are read from the configuration.

mod caller;
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

use crate::screen;

use self::{
    dialogue::{Dialogue, Refused},
    options::{Mode, Options},
};

/// Submit a message as sendmail does: -t, -i, -f FROM, -F NAME, -bs, recipients.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Sendmail {
    /// sendmail's options and recipients.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Why the message was not submitted, with the exit status of sysexits.h.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// EX_USAGE
    #[error("{0}")]
    Usage(String),
    /// EX_UNAVAILABLE
    #[error("the relay refused the message: {0}")]
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
    /// Submits the message. The exit status gives the result, for callers that look at nothing else.
    pub(crate) fn run(self) -> ExitCode {
        run(&self.arguments)
    }
}

/// The same for a program that was started under the name `sendmail`.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    match send(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // If even that fails, there is nobody to tell.
            let _ = writeln!(screen::err(), "sendmail: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn send(arguments: &[OsString]) -> Result<(), Failure> {
    let options = Options::read(arguments).map_err(Failure::Usage)?;
    let stream = |why| server::connect().map_err(|error| Failure::Later(format!("{why}: {error}")));
    if options.mode == Mode::Smtp {
        return pass_through(&stream("cannot connect to the relay")?).map_err(|error| Failure::Later(error.to_string()));
    }
    let mut input = Vec::new();
    stdin().lock().read_to_end(&mut input).map_err(Failure::Input)?;
    let message = message::Message::new(&input, &options, &caller::caller());
    if message.recipients.is_empty() {
        return Err(Failure::Usage("no recipients: name them, or use -t to take them from To, Cc and Bcc".into()));
    }
    let refused = |refused| match refused {
        Refused::Now(reply) => Failure::Later(reply),
        Refused::Ever(reply) => Failure::Refused(reply),
    };
    let mut dialogue = Dialogue::begin(stream("cannot connect to the relay")?).map_err(refused)?;
    dialogue.hand_in(&message).map_err(refused)
}

/// `-bs`: the caller speaks SMTP with the relay.
fn pass_through(stream: &TcpStream) -> io::Result<()> {
    let mut up = stream.try_clone()?;
    std::thread::spawn(move || {
        // An error here shows on the way back: the relay closes the connection.
        let _ = io::copy(&mut stdin().lock(), &mut up);
        let _ = up.shutdown(std::net::Shutdown::Write);
    });
    let mut out = screen::pipe();
    io::copy(&mut &*stream, &mut out)?;
    out.flush()
}
