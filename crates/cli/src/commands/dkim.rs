//! `posthaste dkim`

mod look;
mod rotate;

use std::{
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use posthaste_dkim::{Algorithm, Key, zone_lines};
use posthaste_mail::Domain;
use posthaste_signing::key_store::keep_key;

use super::{At, absolute};
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
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
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
    /// The file for the private key (mode 0600). An existing file is never overwritten. Default: SELECTOR.DOMAIN.pem beside the configuration
    /// file, where the configuration looks for it.
    #[arg(long, short)]
    out: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
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
            What::New(new) => new.run(&self.at),
            What::Status { json } => look::status(&self.at, json),
            What::Dns { domain, json } => look::dns(&self.at, &domain, json),
            What::Rotate { domain, json } => rotate::rotate(&self.at, &domain, json),
        }
    }
}

impl New {
    fn run(self, at: &At) -> anyhow::Result<ExitCode> {
        at.must_be_there()?;
        look::must_be_new(at, &self.domain, &self.selector)?;
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
        let place = Place::find(at, self.out.clone(), &format!("{}.{}.pem", self.selector, self.domain))?;
        keep_key(&place.file, &pem).map_err(|error| self.not_made(error, &place.file))?;
        let owner = place.give_away().with_context(|| format!("cannot give {} to the relay's user", place.file.display()))?;
        let (domain, selector) = (self.domain.as_str(), self.selector.as_str());
        let record = zone_lines(selector, domain, &key.public_record());
        let mut out = screen::raw();
        if self.json {
            let made = serde_json::json!({ "domain": domain, "selector": selector, "file": place.file, "owner": owner, "record": record.trim_end() });
            writeln!(out, "{made}")?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(out, "; the DNS record; publish it before the key is used:")?;
        writeln!(out, "{}", record.trim_end())?;
        writeln!(out, "\n# for the configuration:\n[dkim.domain.{domain:?}]")?;
        writeln!(out, "keys = [{{ selector = {selector:?}, file = {:?} }}]", place.named)?;
        let whose = owner.map_or_else(String::new, |uid| format!(", which belongs to user {uid} as the relay's data do"));
        screen::say(format_args!("the private key is in {}{whose}", absolute(&place.file)));
        screen::say(format_args!(
            "next: publish the record; when `dig TXT {selector}._domainkey.{domain}` shows it, add the lines above to the configuration ({}), and run \
             `posthaste check` and `posthaste reload`",
            at.chosen()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

impl New {
    /// Why a key's file could not be made, and what helps.
    fn not_made(&self, error: io::Error, file: &Path) -> anyhow::Error {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return anyhow::Error::new(error).context(format!("cannot make {}", file.display()));
        }
        anyhow::anyhow!(
            "{} holds a key already, and a private key is never overwritten: `posthaste dkim dns {}` prints the record of a key that signs; for a \
             new one give another selector ({}2, say) or another --out; `posthaste dkim rotate {}` replaces a key that signs",
            file.display(),
            self.domain,
            self.selector,
            self.domain
        )
    }
}

/// Where a new key goes.
struct Place {
    file: PathBuf,
    /// As the configuration names it: files there are relative to its folder.
    named: String,
    /// The folder of the relay's data, whose owner the relay runs as.
    data_dir: Option<PathBuf>,
}

impl Place {
    fn find(at: &At, out: Option<PathBuf>, name: &str) -> anyhow::Result<Self> {
        let config = at.file()?;
        // A key may be made before there is a valid configuration.
        let data_dir = match at.look() {
            Ok(config) => Some(config.data_dir),
            Err(error) => {
                screen::say(format_args!(
                    "{error}\nso it is not known which user the relay is, and the key is yours: give it to that user (chown)"
                ));
                None
            }
        };
        let folder = config.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        let (file, named) = match out {
            Some(file) => {
                let whole = std::path::absolute(&file)?;
                let beside = std::path::absolute(&folder)?;
                let named = whole.strip_prefix(&beside).map_or_else(|_| whole.clone(), Path::to_owned);
                (file, named)
            }
            None => (folder.join(name), PathBuf::from(name)),
        };
        Ok(Self { file, named: named.display().to_string(), data_dir })
    }

    /// Gives a key that root made to the user who owns the relay's data: the relay works as that user. Returns the user's number if it was.
    fn give_away(&self) -> std::io::Result<Option<u32>> {
        let Some(data_dir) = self.data_dir.as_deref() else { return Ok(None) };
        let Ok(data) = std::fs::metadata(data_dir) else { return Ok(None) };
        // In a folder of root's it is root's: nobody could have put a link in its place.
        if !rustix::process::geteuid().is_root() || data.uid() == 0 || std::fs::symlink_metadata(&self.file)?.uid() != 0 {
            return Ok(None);
        }
        std::os::unix::fs::lchown(&self.file, Some(data.uid()), Some(data.gid()))?;
        Ok(Some(data.uid()))
    }
}
