//! `posthaste dkim`

use std::{
    fs::OpenOptions,
    io::{Write, stdout},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use posthaste_dkim::{Algorithm, Key, zone_lines};
use posthaste_mail::Domain;

/// Make DKIM keys.
#[derive(Args)]
pub struct Dkim {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a key; print the DNS record and the lines for the configuration.
    New(New),
}

#[derive(Args)]
struct New {
    /// The domain that signs.
    domain: Domain,
    /// The key's name in DNS, such as 2026a.
    selector: Domain,
    /// The kind of key. Receivers check rsa everywhere; sign with both to be ready for ed25519 alone.
    #[arg(long, value_enum, default_value_t = Kind::Rsa)]
    algorithm: Kind,
    /// Where the private key goes (mode 0600); a file that is there is never overwritten. Default: SELECTOR.DOMAIN.pem
    #[arg(long, short)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// RSA, 2048 bits.
    Rsa,
    /// Ed25519 (RFC 8463).
    Ed25519,
}

impl Dkim {
    /// Does what was asked.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            What::New(new) => new.run(),
        }
    }
}

impl New {
    fn run(self) -> anyhow::Result<ExitCode> {
        let algorithm = match self.algorithm {
            Kind::Rsa => Algorithm::RsaSha256,
            Kind::Ed25519 => Algorithm::Ed25519Sha256,
        };
        let (key, pem) = Key::generate(algorithm)?;
        let file = self.out.unwrap_or_else(|| format!("{}.{}.pem", self.selector, self.domain).into());
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        let mut written = opened.with_context(|| format!("cannot make {}", file.display()))?;
        written.write_all(pem.as_bytes()).and_then(|()| written.sync_all()).with_context(|| format!("cannot write {}", file.display()))?;
        let mut out = stdout().lock();
        writeln!(out, "; the DNS record, to publish before the key is used:")?;
        writeln!(out, "{}", zone_lines(self.selector.as_str(), self.domain.as_str(), &key.public_record()).trim_end())?;
        writeln!(out, "\n# for the configuration:\n[dkim.domain.{:?}]", self.domain.as_str())?;
        writeln!(out, "keys = [{{ selector = {:?}, file = {:?} }}]", self.selector.as_str(), file.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
