//! The configuration that a command works with: which file it is, and the ways to read it.

use std::{
    cell::Cell,
    fmt, fs, io,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use posthaste_config::Config;
use posthaste_host::{
    Host, ThisHost, clock,
    rights::{self, Owner},
};
use posthaste_relay::admin::{self, AskError, Request};

use crate::screen;

/// Names a configuration for all commands of a shell or a container.
const VARIABLE: &str = "POSTHASTE_CONFIG";
/// The usual place of the configuration.
const USUAL: &str = "/etc/posthaste/posthaste.toml";
/// The place for trials.
const HERE: &str = "posthaste.toml";

/// The `--config` option, shared by all commands that need a configuration.
#[derive(Args, Clone, Debug)]
pub(crate) struct At {
    /// The configuration file. Default: $POSTHASTE_CONFIG, else /etc/posthaste/posthaste.toml, else ./posthaste.toml; if there is none, the
    /// defaults apply.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Whether it has been said which file it is.
    #[arg(skip)]
    said: Cell<bool>,
}

/// The places of the service's unit, which the files in deploy/ and packages are installed at.
const UNITS: [&str; 3] =
    ["/etc/systemd/system/posthaste.service", "/usr/lib/systemd/system/posthaste.service", "/lib/systemd/system/posthaste.service"];

/// A command that looks at data found none. Exit status 2: whoever watches the status must not take it for good news.
#[derive(Debug, thiserror::Error)]
#[error("{what}; {next}")]
pub(crate) struct NoData {
    what: String,
    next: String,
}

/// The configuration file that a command works with.
#[derive(Clone, Debug)]
pub(crate) struct Chosen(Option<PathBuf>);

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => write!(f, "{}", path.display()),
            None => write!(f, "the defaults, without a file"),
        }
    }
}

impl At {
    /// The configuration file; None: there is none. If nobody named it, standard error says which one was found.
    ///
    /// # Errors
    /// The file in this folder belongs to somebody else, who must not decide what this user's command does.
    pub(crate) fn file(&self) -> anyhow::Result<Option<PathBuf>> {
        let (file, is_named) = self.find()?;
        if !is_named && !self.said.replace(true) {
            match &file {
                Some(path) => screen::say(format_args!("the configuration is {}", path.display())),
                None => screen::say("there is no configuration file: the defaults apply"),
            }
        }
        Ok(file)
    }

    /// The same for texts; says nothing.
    pub(crate) fn chosen(&self) -> Chosen {
        Chosen(self.find().ok().and_then(|(file, _)| file))
    }

    /// The command says by itself which file it is.
    pub(crate) fn says_which(&self) {
        self.said.set(true);
    }

    fn find(&self) -> anyhow::Result<(Option<PathBuf>, bool)> {
        let from_environment = || std::env::var_os(VARIABLE).filter(|named| !named.is_empty()).map(PathBuf::from);
        if let Some(named) = self.config.clone().or_else(from_environment) {
            return Ok((Some(named), true));
        }
        // A place that this user may not look at counts as there: reading it says what is wrong.
        let is_there = |place: &str| Path::new(place).try_exists().unwrap_or(true);
        if is_there(USUAL) {
            return Ok((Some(USUAL.into()), false));
        }
        if is_there(HERE) {
            let (owner, user) = (fs::metadata(HERE).map(|file| file.uid()).unwrap_or_default(), rustix::process::geteuid().as_raw());
            anyhow::ensure!(
                owner == 0 || owner == user,
                "{HERE} in this folder belongs to user {owner}, not to you: name it if you mean it, --config {HERE}"
            );
            return Ok((Some(HERE.into()), false));
        }
        Ok((None, false))
    }

    /// Refuses a configuration file that was named and is not there.
    pub(crate) fn must_be_there(&self) -> anyhow::Result<()> {
        let (Some(path), true) = self.find()? else { return Ok(()) };
        let by = if self.config.is_some() { "--config" } else { VARIABLE };
        let meta = fs::metadata(&path).with_context(|| format!("{by} names {}, which cannot be read: correct it", path.display()))?;
        anyhow::ensure!(meta.is_file(), "{by} names {}, which is no file: correct it", path.display());
        Ok(())
    }

    /// The configuration, or all of its errors.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        in_its_time(Config::load(self.file()?.as_deref(), &ThisHost))
    }

    /// The configuration for a command that only looks, or asks the running relay: it needs no keys, and none that this user cannot read.
    pub(crate) fn look(&self) -> anyhow::Result<Config> {
        in_its_time(Config::load_to_look(self.file()?.as_deref(), &ThisHost))
    }

    /// The time, by the clock of the relay.
    pub(crate) fn now(&self) -> anyhow::Result<Timestamp> {
        self.look().map(|_| clock::now())
    }

    /// Like [`Self::load`], for commands that open the spool or the log. If root runs this and they belong to another user, the program works
    /// with that user's rights from here on: in a folder of others, root would follow any link.
    pub(crate) fn load_as_owner(&self) -> anyhow::Result<Config> {
        let config = self.load()?;
        take_owners_rights(&config)?;
        Ok(config)
    }

    /// Like [`Self::look`], with the rights of [`Self::load_as_owner`].
    pub(crate) fn look_as_owner(&self) -> anyhow::Result<Config> {
        let config = self.look()?;
        take_owners_rights(&config)?;
        Ok(config)
    }

    /// Sends a request to the running relay.
    pub(crate) fn ask<T: serde::de::DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        let socket = self.look()?.admin.socket;
        admin::ask(&socket, request).map_err(|error| match error {
            AskError::NotRunning(why) => anyhow::anyhow!("no relay answers at {}: {why}; {}", socket.display(), self.next_step()),
            AskError::NotAllowed(why) | AskError::Failed(why) => anyhow::anyhow!(why),
        })
    }

    /// What to do where no relay has been started by this configuration, as the end of a sentence: start it, or name another file.
    fn next_step(&self) -> String {
        let (file, is_named) = self.find().unwrap_or_default();
        let is_service = file.as_deref() == Some(Path::new(USUAL)) && UNITS.iter().any(|unit| Path::new(unit).exists());
        let start = match &file {
            _ if is_service => "systemctl start posthaste".to_owned(),
            Some(file) if is_named => format!("posthaste run --config {}", file.display()),
            _ => "posthaste run".to_owned(),
        };
        let start = format!("`{start}` starts the relay");
        match is_named {
            true => format!("the configuration is {}: {start}", self.chosen()),
            false => format!("the configuration is {}: is --config missing? If not, {start}", self.chosen()),
        }
    }

    /// Refuses to look at nothing. A spool is made by the first start, and nothing else may make one in passing.
    pub(crate) fn must_have_data(&self, config: &Config) -> Result<(), NoData> {
        // What cannot be looked at is there, and whoever opens it says what is wrong.
        let holds_something = |dir: &Path| match fs::read_dir(dir) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        // A log whose spool is gone is the worst of news, and no reason to say nothing of it.
        if holds_something(&config.spool.dir) || holds_something(&config.log.dir) {
            return Ok(());
        }
        Err(NoData { what: format!("there are no data at {}", absolute(&config.data_dir)), next: self.next_step() })
    }

    /// Refuses to make data where nobody has said that they belong: without a configuration file, the defaults mean whatever folder one stands in.
    pub(crate) fn may_make_data(&self, config: &Config) -> Result<(), NoData> {
        if matches!(self.find(), Ok((Some(_), _))) {
            return Ok(());
        }
        self.must_have_data(config)
    }

    /// Refuses to read a delivery log that is not there.
    pub(crate) fn must_have_log(&self, config: &Config) -> Result<(), NoData> {
        match config.log.dir.try_exists() {
            Ok(false) => Err(NoData { what: format!("there is no delivery log at {}", absolute(&config.log.dir)), next: self.next_step() }),
            _ => Ok(()),
        }
    }
}

/// The configuration, or all of its errors. From here on this command's clock is that of its relay.
fn in_its_time<E: fmt::Display>(read: Result<Config, E>) -> anyhow::Result<Config> {
    let config = read.map_err(|errors| anyhow::anyhow!("the configuration is invalid:\n{errors}"))?;
    clock::follow(&config.data_dir);
    Ok(config)
}

/// A path as it is found from anywhere, for texts.
pub(crate) fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The host that a file is meant for, which has every address that the file names.
pub(crate) struct Elsewhere;

impl Host for Elsewhere {
    fn name(&self) -> String {
        ThisHost.name()
    }

    fn has(&self, _: IpAddr) -> bool {
        true
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        ThisHost.read(path)
    }
}

/// Takes the rights of the user to whom the relay's data belong, if root runs this; returns who that is.
pub(crate) fn take_owners_rights(config: &Config) -> anyhow::Result<Option<Owner>> {
    let folders = [&*config.data_dir, &*config.spool.dir, &*config.log.dir];
    rights::take_owners_rights(&folders).context("cannot take the rights of the user to whom the relay's data belong")
}
