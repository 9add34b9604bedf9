//! `posthaste run`

use std::{process::ExitCode, time::Duration};

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::At;

/// How long tasks that are still at work get once everything is on disk.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// Run the relay in the foreground.
#[derive(Args)]
pub struct Run {
    #[command(flatten)]
    at: At,
}

impl Run {
    /// Runs until told to stop.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.at.load()?;
        let filter = EnvFilter::builder().with_default_directive(config.run.log_level.into()).from_env_lossy();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        if let Some(threads) = config.threads {
            runtime.worker_threads(threads.get());
        }
        let runtime = runtime.enable_all().thread_name("relay").build()?;
        let done = runtime.block_on(crate::run::run(config, self.at.config));
        runtime.shutdown_timeout(LAST_MOMENT);
        done.map(|()| ExitCode::SUCCESS)
    }
}
