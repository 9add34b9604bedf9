//! The settings of channels, of the heartbeat and of the daily report.

use posthaste_channels::Settings;
use posthaste_config::Config;

use super::{SettingsError, tls::tls_configs};

pub(super) fn channels(config: &Config) -> Result<Settings, SettingsError> {
    let with_tls = config.alarms.iter().map(|(name, channel)| {
        let tls = tls_configs(&channel.roots, "alarm.NAME.roots")?;
        Ok((name.clone(), (channel.clone(), tls)))
    });
    let heartbeat = config.heartbeat.as_ref().map(|beat| tls_configs(&beat.roots, "heartbeat.roots").map(|tls| (beat.clone(), tls)));
    let report = config.report.as_ref().map(|report| tls_configs(&report.roots, "report.roots").map(|tls| (report.clone(), tls)));
    Ok(Settings {
        node: config.node.clone(),
        hostname: config.hostname.clone(),
        channels: with_tls.collect::<Result<_, SettingsError>>()?,
        heartbeat: heartbeat.transpose()?,
        report: report.transpose()?,
    })
}
