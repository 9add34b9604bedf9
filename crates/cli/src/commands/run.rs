//! `posthaste run`

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Args;
use posthaste_relay::starting::{Step, Unit};
use rustix::process::{Resource, Rlimit, setrlimit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _};

use super::{At, take_owners_rights};
use crate::{
    progress::{self, Parts},
    screen,
};

/// How long tasks that are still running get to finish once everything is on disk.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// Run the relay in the foreground.
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    at: At,
    /// Make time pass this many times as fast, for a rehearsal against a sink. Affects days, retries and warm-up, not sockets. A sink that
    /// DNS leads to on loopback is reached with `dns.private_addresses = true` alone.
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    rehearse: Option<u32>,
}

impl Run {
    /// Runs until a signal stops it.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if let Err(error) = posthaste_host::malloc::settle() {
            screen::say(format_args!(
                "the relay will use more memory than it needs, because it cannot run itself again with other settings of malloc: {error}"
            ));
        }
        self.at.says_which();
        let path = self.at.file()?;
        let config = self.at.load()?;
        let owner = take_owners_rights(&config)?;
        // A core file would hold keys and mail. The limit can always be lowered.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        posthaste_host::clock::set_speed(self.rehearse, &config.data_dir).with_context(|| config.data_dir.display().to_string())?;
        if let Some(times) = self.rehearse {
            screen::say(format_args!("this is a rehearsal: time passes {times} times as fast. Do not use it for real mail."));
        }
        let (filter, handle) = reload::Layer::new(verbosity(config.run.log_level));
        let progress = Parts::new("opening the spool and the delivery log");
        let beside = progress.bar();
        let text = tracing_subscriber::fmt::layer().with_writer(move || screen::diagnostic(beside.clone())).with_ansi(false);
        tracing_subscriber::registry().with(filter).with(text).init();
        if let Some(owner) = owner {
            tracing::info!(
                user = owner.uid(),
                "started by root, but the data belong to another user: the relay works with that user's rights"
            );
        }
        // Fails only at the program's end, when the subscriber is gone.
        let set = move |level| drop(handle.reload(verbosity(level)));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = config.threads {
            runtime.worker_threads(threads.get());
        }
        let runtime = runtime.enable_all().thread_name("relay").build()?;
        let starting = move |step: Step| progress.tell(step.what, step.done, step.of, unit(step.unit));
        let done = runtime.block_on(posthaste_relay::run::run(config, path, Box::new(set), Box::new(starting), posthaste_web::router));
        runtime.shutdown_timeout(LAST_MOMENT);
        done?;
        Ok(ExitCode::SUCCESS)
    }
}

fn unit(unit: Unit) -> progress::Unit {
    match unit {
        Unit::Bytes => progress::Unit::Bytes,
        Unit::Messages => progress::Unit::Messages,
    }
}

/// RUST_LOG takes precedence over the configuration. Unless it asks for them, the TLS library's own words are left out: the delivery log tells of
/// each failure with host and message, in a mail operator's words.
fn verbosity(level: LevelFilter) -> EnvFilter {
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let is_asked_for = std::env::var("RUST_LOG").is_ok_and(|asked| asked.contains("rustls"));
    let quiet = ["rustls=off", "rustls_platform_verifier=off"].into_iter().filter(|_| !is_asked_for);
    quiet.map(|directive| directive.parse().expect("a directive")).fold(filter, EnvFilter::add_directive)
}
