//! `posthaste user`

use std::{
    io::{BufRead, IsTerminal, Write, stdin, stdout},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use posthaste_access::users::{self, PasswordHash, check_name, file::UsersFile, password::PASSWORD_MAX, scram, token};
use posthaste_config::Config;
use posthaste_relay::admin::{self, AskError, Request};

use super::At;

/// Say who may send: users, their passwords and tokens.
#[derive(Args)]
pub struct User {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a user. Asks for a password, or reads a line of it from standard input.
    Add(Add),
    /// Give a user a new password.
    Passwd(Named),
    /// Make a bearer token for a user of the HTTP interface and show it, this once.
    Token(Named),
    /// Take a user away.
    Remove(Named),
    /// Show who there is, and what each may.
    List,
}

#[derive(Args)]
struct Named {
    /// What the user is called.
    name: String,
}

#[derive(Args)]
struct Add {
    /// What the user is called; an address will do.
    name: String,
    /// In whose name it may write: an address, a domain, ".domain" for all below it. May stand several times; else it may write in any name.
    #[arg(long = "sender", value_name = "WHO")]
    senders: Vec<String>,
    /// The stream of its mail that names none.
    #[arg(long)]
    stream: Option<String>,
    /// Recipients in a time, such as 1000/h.
    #[arg(long)]
    rate: Option<String>,
    /// Recipients in a day of UTC.
    #[arg(long)]
    daily_quota: Option<i64>,
    /// No password: it has a certificate or a token instead.
    #[arg(long)]
    no_password: bool,
}

impl User {
    /// Does what was asked, and has the running relay know of it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
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
                writeln!(stdout(), "{shown}")?;
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
            bail!("there is a user {name} already; `posthaste user passwd {name}` gives it a new password");
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

/// A user of the configuration itself is the operator's to change: a program would spoil it.
fn ours(config: &Config, file: &UsersFile, name: &str) -> anyhow::Result<()> {
    match file.has(name) {
        true => Ok(()),
        false if config.users.contains_key(name) => bail!("user {name} stands in the configuration itself: change it there"),
        false => bail!("there is no user {name}; `posthaste user list` shows those there are"),
    }
}

fn set_password(file: &mut UsersFile, name: &str) -> anyhow::Result<()> {
    let password = ask_password(name)?;
    file.set(name, "password", Some(PasswordHash::of(&password).as_str().into()))?;
    Ok(file.set(name, "scram_sha256", Some(scram::format(&scram::of_password(&password)).into()))?)
}

/// From the terminal, twice and unseen; else the first line of standard input.
fn ask_password(name: &str) -> anyhow::Result<String> {
    let password = if stdin().is_terminal() {
        let password = rpassword::prompt_password(format!("password for {name}: "))?;
        if rpassword::prompt_password("once more: ")? != password {
            bail!("that was not the same twice; nothing is changed");
        }
        password
    } else {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    match password.len() {
        0 => bail!("an empty password is none; nothing is changed"),
        n if n > PASSWORD_MAX => bail!("a password has at most {PASSWORD_MAX} bytes; nothing is changed"),
        _ if password.contains('\0') => bail!("no client can say a NUL (RFC 4616); nothing is changed"),
        _ => Ok(password),
    }
}

fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let mut out = stdout().lock();
    if config.users.is_empty() {
        writeln!(out, "no users; `posthaste user add NAME` makes one")?;
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

/// A relay that runs reads its configuration again, the users with it; one that does not will read it when it starts.
fn tell(at: &At, config: &Config) -> anyhow::Result<ExitCode> {
    // Users that do not go with the configuration are told before the relay is.
    at.load()?;
    match admin::ask::<String>(&config.admin.socket, &Request::Reload) {
        Ok(_) => writeln!(stdout(), "done; the relay knows")?,
        Err(AskError::NotRunning(_)) => writeln!(stdout(), "done; no relay runs here that would have to know")?,
        Err(error) => bail!("the file is written, but the relay does not go by it: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}
