//! Whose figures are kept apart from all others, whatever else there is.

use std::sync::Arc;

use posthaste_tallies::Kept;

use super::Settings;

impl Settings {
    /// What the configuration names: providers, streams, sources and users.
    pub(crate) fn kept(&self) -> Arc<Kept> {
        let config = &self.config;
        let hosts = config.routes.iter().flat_map(|(_, route)| &route.hosts).map(|hop| hop.host.to_string());
        Arc::new(Kept {
            providers: self.api.known_providers.iter().cloned().chain(hosts).map(Into::into).collect(),
            streams: config.streams.keys().map(|name| name.as_str().into()).collect(),
            sources: config.sources.keys().map(|name| name.as_str().into()).collect(),
            users: config.users.keys().map(|name| (&**name).into()).collect(),
        })
    }
}
