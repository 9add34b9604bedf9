//! `posthaste`: one program, one file a command.

mod commands;

use std::{path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::commands::{audit, bounce, check, dkim, explain, log, queue, reload, run, sendmail, suppress, trace, user, warmup, why};

/// An outbound SMTP relay with delivery monitoring built in.
#[derive(Parser)]
#[command(version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the relay in the foreground.
    Run(run::Run),
    /// Say whether a configuration is good; every error with its line.
    Check(check::Check),
    /// Let the running relay read its configuration again.
    Reload(reload::Reload),
    /// Show the delivery log.
    Log(log::Log),
    /// Show the whole life of a message, or of everything sent to an address.
    Trace(trace::Trace),
    /// Say where mail goes, under which limits, what of it waits, why, and until when.
    Why(why::Why),
    /// Show and steer what is waiting.
    Queue(queue::Queue),
    /// Prove from log and spool that every accepted message was ended or is still waiting.
    Audit(audit::Audit),
    /// Make DKIM keys, see where they stand, and change them.
    Dkim(dkim::Dkim),
    /// Say what a receiver's reply means.
    Explain(explain::Explain),
    /// Read mails that came back, and learn from replies that no rule knows.
    Bounce(bounce::Bounce),
    /// Show and change the list of addresses that are not written to.
    Suppress(suppress::Suppress),
    /// Say who may send: users, their passwords and tokens.
    User(user::User),
    /// See, steer and foresee the warm-up of sending addresses.
    Warmup(warmup::Warmup),
    /// Hand in a message as sendmail does; a program called sendmail does nothing else.
    Sendmail(sendmail::Sendmail),
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|program| Path::new(&program).file_name().is_some_and(|name| name == "sendmail")) {
        return sendmail::run(&words.collect::<Vec<_>>());
    }
    let done = match Cli::parse().command {
        Command::Run(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Reload(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Trace(command) => command.run(),
        Command::Why(command) => command.run(),
        Command::Queue(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Dkim(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Bounce(command) => command.run(),
        Command::Suppress(command) => command.run(),
        Command::User(command) => command.run(),
        Command::Warmup(command) => command.run(),
        Command::Sendmail(command) => Ok(command.run()),
    };
    match done {
        Ok(code) => code,
        // `posthaste log | head` ends like any other program whose reader went away.
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("posthaste: {error:#}");
            ExitCode::FAILURE
        }
    }
}
