//! `posthaste user`

use std::{
    io::{BufRead, IsTerminal, Write, stdin},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use posthaste_access::users::{self, PasswordHash, Right, Role, check_name, file::UsersFile, password::PASSWORD_MAX, scram, token};
use posthaste_config::Config;
use posthaste_mail::nearest;
use posthaste_relay::{
    Reloaded,
    admin::{self, AskError, Request, UserRow},
};

use super::{At, absolute, count};
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
    /// Make a bearer token for a user and show it once, alone on standard output. It serves for the HTTP API, and for SMTP (OAUTHBEARER, XOAUTH2)
    /// if the user's rights include "send".
    Token(Token),
    /// Let a user open the web page as a viewer or an operator, or not any more.
    Role(SetRole),
    /// Remove a user.
    Remove(Named),
    /// List the users and what each may do.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Token {
    /// The user's name.
    name: String,
    /// What the user's tokens may be used for from now on: send, read, suppress, monitor, admin; several with commas. Default: what they may
    /// already, at first "send". All tokens of a user may do the same.
    #[arg(long, value_delimiter = ',', value_parser = right, value_name = "RIGHTS")]
    rights: Vec<Right>,
    /// Let --rights take rights away from the tokens that the user has already.
    #[arg(long, requires = "rights")]
    take_away: bool,
    /// Print JSON instead of the token alone.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct SetRole {
    /// The user's name.
    name: String,
    /// What it may do on the web page: "viewer" looks, "operator" steers, too; "none" may not open it.
    #[arg(value_parser = role_or_none, value_name = "ROLE")]
    role: Chosen,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// A role, or none.
#[derive(Clone, Copy)]
struct Chosen(Option<Role>);

fn role(text: &str) -> Result<Role, String> {
    let found = Role::ALL.into_iter().find(|(word, _)| *word == text).map(|(_, role)| role);
    found.ok_or_else(|| format!("there is no role {text:?}; roles are: {}", Role::ALL.map(|(word, _)| word).join(", ")))
}

fn role_or_none(text: &str) -> Result<Chosen, String> {
    if text == "none" { Ok(Chosen(None)) } else { role(text).map(|role| Chosen(Some(role))).map_err(|why| format!("{why}, none")) }
}

fn right(text: &str) -> Result<Right, String> {
    let words = Right::ALL.map(|(word, _)| word);
    let found = Right::ALL.into_iter().find(|(word, _)| *word == text).map(|(_, right)| right);
    found.ok_or_else(|| {
        let meant = nearest(text, words.into_iter()).map_or_else(String::new, |word| format!("; did you mean {word}?"));
        format!("there is no right {text:?}; rights are: {}{meant}", words.join(", "))
    })
}

#[derive(Args)]
struct Named {
    /// The user's name.
    name: String,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Add {
    /// The user's name; it may be a mail address.
    name: String,
    /// A sender that the user may use: an address, a domain, or ".domain" for all subdomains. May be repeated. Default: any sender; none for a user
    /// with a role.
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
    /// What the user may do on the web page: "viewer" looks, "operator" steers, too. Default: it may not open the page.
    #[arg(long, value_parser = role, conflicts_with = "no_password")]
    role: Option<Role>,
    /// Set no password: the user has a certificate or a token instead.
    #[arg(long)]
    no_password: bool,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

impl UserCommands {
    /// Runs the subcommand and makes the running relay read the users again.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let config = match self.command {
            What::List { json } => return list(&self.at, json),
            _ => self.at.load()?,
        };
        self.at.may_make_data(&config)?;
        let mut file = UsersFile::open(&config.users_file)?;
        let (name, json) = match self.command {
            What::List { .. } => unreachable!("it was listed"),
            What::Add(add) => {
                add.write(&config, &mut file)?;
                (add.name, add.json)
            }
            What::Passwd(Named { name, json }) => {
                ours(&config, &file, &name)?;
                set_password(&mut file, &name)?;
                (name, json)
            }
            What::Token(Token { name, rights, take_away, json }) => {
                ours(&config, &file, &name)?;
                let before = config.users.get(name.as_str()).filter(|user| !user.tokens.is_empty());
                let before = before.map(|user| (user.tokens.len(), words_of(user)));
                if let Some((tokens, may)) = &before
                    && !take_away
                {
                    takes_nothing_away(&name, *tokens, may, &rights)?;
                }
                let (shown, hash) = token::generate();
                file.push(&name, "tokens", &hash.to_string())?;
                if !rights.is_empty() {
                    let words = Right::ALL.iter().filter(|(_, right)| rights.contains(right)).map(|(word, _)| *word);
                    file.set_list(&name, "http", &words.collect::<Vec<_>>())?;
                }
                file.save()?;
                if json {
                    tell(&self.at, &config)?;
                    let config = self.at.load()?;
                    let user = config.users.get(name.as_str()).context("the user is gone again")?;
                    let made = serde_json::json!({ "name": name, "token": shown, "rights": words_of(user) });
                    writeln!(screen::raw(), "{made}")?;
                    return Ok(ExitCode::SUCCESS);
                }
                // Alone, so that TOKEN=$(posthaste user token NAME) is the token.
                writeln!(screen::raw(), "{shown}")?;
                tell(&self.at, &config)?;
                say_rights(&self.at, &name, before.map(|(_, may)| may))?;
                return Ok(ExitCode::SUCCESS);
            }
            What::Role(SetRole { name, role: Chosen(role), json }) => {
                ours(&config, &file, &name)?;
                if role.is_some() && config.users.get(name.as_str()).is_some_and(|user| user.password.is_none()) {
                    bail!("user {name} has no password, and the page asks for one; `posthaste user passwd {name}` gives it one");
                }
                file.set(&name, "role", role.map(|role| role.word().into()))?;
                (name, json)
            }
            What::Remove(Named { name, json }) => {
                ours(&config, &file, &name)?;
                file.remove(&name);
                (name, json)
            }
        };
        file.save()?;
        let in_force = tell(&self.at, &config)?;
        if json {
            let done = serde_json::json!({ "name": name, "file": absolute(&config.users_file), "in_force": in_force });
            writeln!(screen::raw(), "{done}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    fn write(&self, config: &Config, file: &mut UsersFile) -> anyhow::Result<()> {
        let name = check_name(&self.name).map_err(anyhow::Error::msg)?;
        if config.users.contains_key(&name) || file.has(&name) {
            bail!("user {name} exists already; `posthaste user passwd {name}` gives it a new password");
        }
        if self.role.is_some() && self.senders.is_empty() {
            // Who looks at the page need not send mail as anybody.
            file.set_list(&name, "senders", &[])?;
            screen::say(format_args!("user {name} may not send mail; --sender WHO would let it"));
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
        if let Some(role) = self.role {
            file.set(&name, "role", Some(role.word().into()))?;
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

/// Refuses rights that are fewer than those of the user's tokens so far: an application would be refused from one moment to the next.
fn takes_nothing_away(name: &str, tokens: usize, may: &[&str], rights: &[Right]) -> anyhow::Result<()> {
    let words: Vec<&str> = Right::ALL.iter().filter(|(_, right)| rights.contains(right)).map(|(word, _)| *word).collect();
    let lost: Vec<&str> = may.iter().copied().filter(|word| !words.contains(word)).collect();
    if rights.is_empty() || lost.is_empty() {
        return Ok(());
    }
    let all =
        Right::ALL.iter().map(|(word, _)| *word).filter(|word| may.contains(word) || words.contains(word)).collect::<Vec<_>>().join(",");
    let (has, lost, words) = (count(tokens, "token"), lost.join(" and "), words.join(","));
    bail!(
        "all tokens of a user may do the same: --rights {words} would take {lost} from the {has} of {name}. Nothing was changed. For a token that may \
         only {words}, make a user of its own (`posthaste user add NAME --no-password`); --rights {all} lets {name} do both; --take-away takes it from \
         all tokens of {name}"
    )
}

/// Says what the user's tokens may be used for, what they could before, and how to change that.
fn say_rights(at: &At, name: &str, before: Option<Vec<&str>>) -> anyhow::Result<()> {
    let config = at.load()?;
    let user = config.users.get(name).context("the user is gone again")?;
    let words = words_of(user);
    let http = if config.http.addresses.is_empty() { "; http.address is empty, so that there is no HTTP API" } else { "" };
    let before = before.filter(|before| *before != words).map_or_else(String::new, |may| format!(" (before: {})", may.join(", ")));
    screen::say(format_args!("the tokens of {name} may be used to {}{before}{http}", words.join(", ")));
    if user.rights == [Right::Send] {
        screen::say(format_args!("`posthaste user token {name} --rights send,read` lets them ask what became of mail, too"));
    }
    Ok(())
}

/// The rights of a user's tokens, as words.
fn words_of(user: &users::User) -> Vec<&'static str> {
    Right::ALL.iter().filter(|(_, right)| user.rights.contains(right)).map(|(word, _)| *word).collect()
}

/// Lists the users in the files; for whoever may not read these, those that the running relay knows.
fn list(at: &At, json: bool) -> anyhow::Result<ExitCode> {
    let rows: Vec<UserRow> = match at.load() {
        Ok(config) => config.users.values().map(|user| UserRow::of(user)).collect(),
        Err(unread) => admin::ask(&at.look()?.admin.socket, &Request::Users).map_err(|_| unread)?,
    };
    let mut out = screen::out();
    if rows.is_empty() && !json {
        writeln!(out, "no users; `posthaste user add NAME` adds one")?;
    }
    for row in rows {
        if json {
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
            continue;
        }
        let UserRow { name, proofs, rights, role, senders, stream, rate, daily_quota } = row;
        let senders = if senders.is_empty() { "nobody".to_owned() } else { senders.join(", ") };
        let mut line = format!("{name}  by {}  as {senders}", proofs.join(", "));
        if proofs.iter().any(|proof| proof == "token") {
            line += &format!("  tokens may {}", rights.join(", "));
        }
        line.extend(role.map(|role| format!("  {role} on the page")));
        line.extend(stream.map(|stream| format!("  stream {stream}")));
        line.extend(rate.map(|rate| format!("  {rate}")));
        line.extend(daily_quota.map(|quota| format!("  {quota} a day")));
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a running relay read its configuration and the users again. A relay that is not running will read them when it starts. All of it is
/// said on standard error: standard output is for results. Returns whether a relay has it in force.
fn tell(at: &At, config: &Config) -> anyhow::Result<bool> {
    // Users that do not fit the configuration are reported here, before the relay is asked.
    at.load()?;
    let file = absolute(&config.users_file);
    match admin::ask::<Reloaded>(&config.admin.socket, &Request::Reload) {
        Ok(_) => {
            screen::say(format_args!("done ({file}); the relay has reloaded its users"));
            Ok(true)
        }
        Err(AskError::NotRunning(_)) => {
            let (socket, chosen) = (absolute(&config.admin.socket), at.chosen());
            screen::say(format_args!(
                "done ({file}); no relay is running at {socket}, and the next one to start by this configuration ({chosen}) will know it"
            ));
            Ok(false)
        }
        Err(error) => bail!("the file is written, but the relay did not accept it: {error}"),
    }
}
