//! `posthaste`: the program, with one file per command.
//!
//! It may know every crate, and no crate knows it. A command reads its arguments, lets a crate below or the running relay (over the admin
//! socket) do the work, and prints the result. Its invariants: results go to standard output, errors to standard error with a failing exit
//! status; while a relay runs, a command changes the spool and the key store only through it.

mod commands;
mod progress;
mod screen;

use std::{io::Write, path::Path, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::commands::{
    alarm, alarms, audit, bounce, check, dkim, explain, guard, incidents, log, queue, reload, report, run, sendmail, suppress, top, trace,
    user, warmup, why,
};

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
    /// Check a configuration and report every error with its line.
    Check(check::Check),
    /// Make the running relay read its configuration again.
    Reload(reload::Reload),
    /// Show the delivery log.
    Log(log::Log),
    /// Show the whole history of a message, or of all mail to an address.
    Trace(trace::Trace),
    /// Say what became of the mail: how much, why it failed, how long it took.
    Report(report::Report),
    /// Watch live what the relay does: rates, queue, providers, lanes, warm-up and incidents.
    Top(top::Top),
    /// Show what is wrong with the mail, whose problem it is, and what to do next.
    Incidents(incidents::Incidents),
    /// Explain where mail goes, which limits apply, and what is waiting, why and until when.
    Why(why::Why),
    /// Show and change the queue of waiting messages.
    Queue(queue::Queue),
    /// Show, release and drop the mail of users and streams that behave like stolen accounts.
    Guard(guard::Guard),
    /// Test the channels that tell of incidents.
    Alarm(alarm::Alarm),
    /// Show what is missing or damaged until somebody has acknowledged it.
    Alarms(alarms::Alarms),
    /// Prove from log and spool that every accepted message has a final outcome or is still queued.
    Audit(audit::Audit),
    /// Make DKIM keys, show their stage, and rotate them.
    Dkim(dkim::Dkim),
    /// Explain what a receiver's reply means.
    Explain(explain::Explain),
    /// Read returned mail, and list the replies that no rule knows.
    Bounce(bounce::Bounce),
    /// Show and change the suppression list: addresses that get no mail.
    Suppress(suppress::Suppress),
    /// Manage the users who may send, their passwords and tokens.
    User(user::UserCommands),
    /// Show, control and simulate the warm-up of sending addresses.
    Warmup(warmup::Warmup),
    /// Submit a message as sendmail does. Under the names `sendmail`, `mailq` and `newaliases`, the program does only this.
    Sendmail(sendmail::Sendmail),
}

fn main() -> ExitCode {
    posthaste_host::files::keep_private();
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let name = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if ["sendmail", "mailq", "newaliases"].contains(&name) {
        return sendmail::run(name, &words.collect::<Vec<_>>());
    }
    let cli = Cli::try_parse().unwrap_or_else(|error| explain_usage(&error));
    let done = match cli.command {
        Command::Run(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Reload(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Trace(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Incidents(command) => command.run(),
        Command::Why(command) => command.run(),
        Command::Queue(command) => command.run(),
        Command::Guard(command) => command.run(),
        Command::Alarm(command) => command.run(),
        Command::Alarms(command) => command.run(),
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
        // `posthaste log | head` must end quietly when its reader has gone, like other programs.
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            screen::say(format_args!("{}", with_causes(&error)));
            if error.is::<commands::NoData>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Shows the help or version that was asked for, folded as every answer is, or says what is wrong with the words of the command; ends the program.
fn explain_usage(error: &clap::Error) -> ! {
    if error.use_stderr() {
        // It quotes what was given, which may have come from strangers: without colours, whose sequences would be theirs too.
        let _ = screen::err().write_all(error.render().to_string().as_bytes());
        std::process::exit(error.exit_code());
    }
    let (colours, text) = (screen::has_colours(), error.render());
    let text = if colours { text.ansi().to_string() } else { text.to_string() };
    let written = screen::out_in(colours).write_all(text.as_bytes());
    std::process::exit(if written.is_ok() { error.exit_code() } else { 1 })
}

/// An error with its causes, each once: many texts hold their cause already.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text += ": ";
            text += &cause;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_each_cause_once() {
        let cause = std::io::Error::other("no space left");
        let said = anyhow::Error::new(cause).context("cannot write /x: no space left").context("the log");
        assert_eq!(with_causes(&said), "the log: cannot write /x: no space left");
    }

    /// The sources of a folder, in which a text goes on without a break where its line does.
    fn sources(folder: &Path, to: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, to);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                code.join("\n").split("\\\n").enumerate().for_each(|(n, part)| to.push_str(if n == 0 { part } else { part.trim_start() }));
            }
        }
    }

    #[test]
    fn every_command_that_an_incident_names_is_one() {
        let (mut text, mut seen, mut wrong) = (String::new(), 0, Vec::new());
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../findings/src"), &mut text);
        for command in text.split("`posthaste ").skip(1).filter_map(|rest| rest.split('`').next()) {
            // A test looks for the beginning of one.
            if command.contains(['"', '\n', '|']) {
                continue;
            }
            // What is filled in is a number, whose mail it is, or a lane; where it is an option's name, that of a user.
            let parse = |word: &str| {
                let mut filled = String::new();
                for (n, part) in command.split('{').enumerate() {
                    let rest = part.split_once('}').filter(|_| n > 0).map_or(part, |(_, rest)| rest);
                    let word = if filled.ends_with("--") { "user" } else { word };
                    filled.extend([if n > 0 { word } else { "" }, rest]);
                }
                Cli::try_parse_from(std::iter::once("posthaste").chain(filled.split_whitespace()))
            };
            if parse("1").or_else(|_| parse("user:1")).or_else(|_| parse("ip1/google")).is_err() {
                wrong.push(command);
            }
            seen += 1;
        }
        assert!(seen > 20 && wrong.is_empty(), "{seen}, and these are none: {wrong:#?}");
    }
}
