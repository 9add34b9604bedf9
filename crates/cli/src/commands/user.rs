//! `posthaste user`

use std::{
    io::{BufRead, IsTerminal, Write, stdin},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use posthaste_access::users::{self, PasswordHash, check_name, file::UsersFile, password::PASSWORD_MAX, scram, token};
use posthaste_config::Config;
use posthaste_relay::admin::{self, AskError, Request};

use super::At;
use crate::screen;

/// Manage the users who may send, their passwords and tokens.
#[derive(Args)]
pub(crate) struct UserCommands {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Add a user. Prompts for a password, or reads it as one line from standard input.
    Add(Add),
    /// Give a user a new password.
    Passwd(Named),
    /// Make a bearer token for a user and show it once. It serves for the HTTP API, and for SMTP (OAUTHBEARER, XOAUTH2) if the user's rights
    /// include "send".
    Token(Named),
    /// Remove a user.
    Remove(Named),
    /// List the users and what each may do.
    List,
}

#[derive(Args)]
struct Named {
    /// The user's name.
    name: String,
}

#[derive(Args)]
struct Add {
    /// The user's name; it may be a mail address.
    name: String,
    /// A sender that the user may use: an address, a domain, or ".domain" for all subdomains. May be repeated. Default: any sender.
    #[arg(long = "sender", value_name = "WHO")]
    senders: Vec<String>,
    /// The stream of the user's messages that name none.
    #[arg(long)]
    stream: Option<String>,
    /// The most recipients per time, such as 1000/h.
    #[arg(long)]
    rate: Option<String>,
    /// The most recipients per UTC day.
    #[arg(long)]
    daily_quota: Option<i64>,
    /// Set no password: the user has a certificate or a token instead.
    #[arg(long)]
    no_password: bool,
}

impl UserCommands {
    /// Runs the subcommand and makes the running relay read the users again.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.load()?;
        let mut file = UsersFile::open(&config.users_file)?;
        match self.command {
            What::List => return list(&config),
            What::Add(add) => add.write(&config, &mut file)?,
            What::Passwd(Named { name }) => {
                ours(&config, &file, &name)?;
                set_password(&mut file, &name)?;
            }
            What::Token(Named { name }) => {
                ours(&config, &file, &name)?;
                let (shown, hash) = token::generate();
                file.push(&name, "tokens", &hash.to_string())?;
                file.save()?;
                writeln!(screen::out(), "{shown}")?;
            }
            What::Remove(Named { name }) => {
                ours(&config, &file, &name)?;
                file.remove(&name);
            }
        }
        file.save()?;
        tell(&self.at, &config)
    }
}

impl Add {
    fn write(&self, config: &Config, file: &mut UsersFile) -> anyhow::Result<()> {
        let name = check_name(&self.name).map_err(anyhow::Error::msg)?;
        if config.users.contains_key(&name) || file.has(&name) {
            bail!("user {name} exists already; `posthaste user passwd {name}` gives it a new password");
        }
        for sender in &self.senders {
            users::SenderPattern::parse(sender).map_err(|why| anyhow::anyhow!("--sender {sender}: {why}"))?;
            file.push(&name, "senders", sender)?;
        }
        if let Some(stream) = &self.stream {
            if !config.streams.contains_key(stream.as_str()) {
                bail!("--stream {stream}: there is no such stream");
            }
            file.set(&name, "stream", Some(stream.as_str().into()))?;
        }
        if let Some(rate) = &self.rate {
            users::Rate::parse(rate).with_context(|| format!("--rate {rate}: expected something like 2/s, 100/m or 1000/h"))?;
            file.set(&name, "rate", Some(rate.as_str().into()))?;
        }
        if let Some(quota) = self.daily_quota {
            if !(1..=1_000_000_000).contains(&quota) {
                bail!("--daily-quota {quota}: must be from 1 to 1000000000");
            }
            file.set(&name, "daily_quota", Some(quota.into()))?;
        }
        match self.no_password {
            true => Ok(file.set(&name, "password", None)?),
            false => set_password(file, &name),
        }
    }
}

/// Users in the configuration file itself are not changed by the program: it would spoil the operator's file.
fn ours(config: &Config, file: &UsersFile, name: &str) -> anyhow::Result<()> {
    match file.has(name) {
        true => Ok(()),
        false if config.users.contains_key(name) => bail!("user {name} is defined in the configuration file itself: change it there"),
        false => bail!("there is no user {name}; `posthaste user list` shows the existing users"),
    }
}

fn set_password(file: &mut UsersFile, name: &str) -> anyhow::Result<()> {
    let password = ask_password(name)?;
    file.set(name, "password", Some(PasswordHash::of(&password).as_str().into()))?;
    Ok(file.set(name, "scram_sha256", Some(scram::format(&scram::of_password(&password)).into()))?)
}

/// Reads the password from the terminal, twice and without echo; otherwise the first line of standard input.
fn ask_password(name: &str) -> anyhow::Result<String> {
    let password = if stdin().is_terminal() {
        let password = rpassword::prompt_password(format!("password for {name}: "))?;
        if rpassword::prompt_password("repeat password: ")? != password {
            bail!("the passwords differ; nothing was changed");
        }
        password
    } else {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).context("cannot read the password from standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    match password.len() {
        0 => bail!("the password is empty; nothing was changed"),
        n if n > PASSWORD_MAX => bail!("the password is longer than {PASSWORD_MAX} bytes; nothing was changed"),
        _ if password.contains('\0') => bail!("the password contains a NUL, which no client can send (RFC 4616); nothing was changed"),
        _ => Ok(password),
    }
}

fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = screen::out();
    if config.users.is_empty() {
        writeln!(out, "no users; `posthaste user add NAME` adds one")?;
    }
    for user in config.users.values() {
        let proofs = [
            ("password", user.password.is_some()),
            ("scram", user.scram.is_some()),
            ("certificate", !user.certificates.is_empty()),
            ("token", !user.tokens.is_empty()),
        ];
        let proofs: Vec<_> = proofs.iter().filter(|(_, has)| *has).map(|(what, _)| *what).collect();
        let senders: Vec<_> = user.senders.iter().map(ToString::to_string).collect();
        let mut line = format!("{}  by {}  as {}", user.name, proofs.join(", "), senders.join(", "));
        line.extend(user.stream.as_ref().map(|stream| format!("  stream {stream}")));
        line.extend(user.rate.map(|rate| format!("  {rate}")));
        line.extend(user.daily_quota.map(|quota| format!("  {quota} a day")));
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a running relay read its configuration and the users again. A relay that is not running will read them when it starts.
fn tell(at: &At, config: &Config) -> anyhow::Result<ExitCode> {
    // Users that do not fit the configuration are reported here, before the relay is asked.
    at.load()?;
    match admin::ask::<String>(&config.admin.socket, &Request::Reload) {
        Ok(_) => writeln!(screen::out(), "done; the relay has reloaded its users")?,
        Err(AskError::NotRunning(_)) => writeln!(screen::out(), "done; no relay is running here")?,
        Err(error) => bail!("the file is written, but the relay did not accept it: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}
