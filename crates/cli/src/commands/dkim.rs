//! `posthaste dkim`

mod look;
mod rotate;

use std::{
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use posthaste_dkim::{Algorithm, Key, zone_lines};
use posthaste_mail::Domain;
use posthaste_signing::key_store::keep_key;

use super::At;

/// Make DKIM keys, look at them, change them.
#[derive(Args)]
pub struct Dkim {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a key; print the DNS record and the lines for the configuration.
    New(New),
    /// Show where each key stands, and what DNS says of it; exit status 1 where a key that signs is not found there.
    Status {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Print the DNS records of a domain's keys as a zone file has them.
    Dns {
        /// The domain that signs.
        domain: Domain,
    },
    /// Let the next key follow: make it, and sign with it as soon as DNS has it.
    Rotate {
        /// The domain that signs.
        domain: Domain,
        /// JSON.
        #[arg(long)]
        json: bool,
    },
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
    /// The length of an RSA key. Longer than 2048 costs time at every message, and some DNS hosts have no room for it.
    #[arg(long, value_enum, default_value_t = Bits::B2048)]
    bits: Bits,
    /// Where the private key goes (mode 0600); a file that is there is never overwritten. Default: SELECTOR.DOMAIN.pem
    #[arg(long, short)]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// RSA.
    Rsa,
    /// Ed25519 (RFC 8463).
    Ed25519,
}

#[derive(Clone, Copy, ValueEnum)]
enum Bits {
    /// What every receiver and every DNS host takes.
    #[value(name = "2048")]
    B2048,
    /// Longer.
    #[value(name = "3072")]
    B3072,
    /// As long as receivers check.
    #[value(name = "4096")]
    B4096,
}

impl Dkim {
    /// Does what was asked.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            What::New(new) => new.run(),
            What::Status { json } => look::status(&self.at, json),
            What::Dns { domain } => look::dns(&self.at, &domain),
            What::Rotate { domain, json } => rotate::rotate(&self.at, &domain, json),
        }
    }
}

impl New {
    fn run(self) -> anyhow::Result<ExitCode> {
        let algorithm = match self.algorithm {
            Kind::Rsa => Algorithm::RsaSha256,
            Kind::Ed25519 => Algorithm::Ed25519Sha256,
        };
        let bits = match self.bits {
            Bits::B2048 => 2048,
            Bits::B3072 => 3072,
            Bits::B4096 => 4096,
        };
        let (key, pem) = Key::generate_sized(algorithm, bits)?;
        let file = self.out.unwrap_or_else(|| format!("{}.{}.pem", self.selector, self.domain).into());
        keep_key(&file, &pem).with_context(|| format!("cannot make {}", file.display()))?;
        let mut out = stdout().lock();
        writeln!(out, "; the DNS record, to publish before the key is used:")?;
        writeln!(out, "{}", zone_lines(self.selector.as_str(), self.domain.as_str(), &key.public_record()).trim_end())?;
        writeln!(out, "\n# for the configuration:\n[dkim.domain.{:?}]", self.domain.as_str())?;
        writeln!(out, "keys = [{{ selector = {:?}, file = {:?} }}]", self.selector.as_str(), file.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
