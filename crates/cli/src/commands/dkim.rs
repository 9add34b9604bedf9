//! `posthaste dkim`

mod look;
mod rotate;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use posthaste_dkim::{Algorithm, Key, zone_lines};
use posthaste_mail::Domain;
use posthaste_signing::key_store::keep_key;

use super::At;
use crate::screen;

/// Make DKIM keys, show their stage, and rotate them.
#[derive(Args)]
pub(crate) struct Dkim {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Make a key, and print its DNS record and the lines for the configuration.
    New(New),
    /// Show each key's stage and what DNS holds for it. Exit status 1 if a signing key is not in DNS.
    Status {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
    },
    /// Print the DNS records of a domain's keys in zone file format.
    Dns {
        /// The signing domain.
        domain: Domain,
    },
    /// Rotate to the next key: make it, and sign with it as soon as DNS has it.
    Rotate {
        /// The signing domain.
        domain: Domain,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct New {
    /// The signing domain.
    domain: Domain,
    /// The selector: the key's name in DNS, such as 2026a.
    selector: Domain,
    /// The kind of key. All receivers verify rsa; not all verify ed25519 yet, so sign with both if you use it.
    #[arg(long, value_enum, default_value_t = Kind::Rsa)]
    algorithm: Kind,
    /// The length of an RSA key in bits. More than 2048 costs time for every message, and some DNS hosts cannot hold the record.
    #[arg(long, value_enum, default_value_t = Bits::B2048)]
    bits: Bits,
    /// The file for the private key (mode 0600). An existing file is never overwritten. Default: SELECTOR.DOMAIN.pem
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
    /// Accepted by every receiver and every DNS host.
    #[value(name = "2048")]
    B2048,
    /// Longer.
    #[value(name = "3072")]
    B3072,
    /// The longest that receivers verify.
    #[value(name = "4096")]
    B4096,
}

impl Dkim {
    /// Runs the subcommand.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
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
        let mut out = screen::out();
        writeln!(out, "; the DNS record; publish it before the key is used:")?;
        writeln!(out, "{}", zone_lines(self.selector.as_str(), self.domain.as_str(), &key.public_record()).trim_end())?;
        writeln!(out, "\n# for the configuration:\n[dkim.domain.{:?}]", self.domain.as_str())?;
        writeln!(out, "keys = [{{ selector = {:?}, file = {:?} }}]", self.selector.as_str(), file.display().to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
