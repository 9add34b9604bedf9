//! What of the monitoring a user may see: all of it with the right to "monitor", else what is about the user and its streams.

use std::sync::Arc;

use posthaste_access::users::Right;
use posthaste_mail::Name;

use crate::{auth::Principal, problem::BoxedRefusal};

/// What a user may see. The rest is answered like what does not exist.
#[derive(Clone, Debug)]
pub(crate) enum Sight {
    /// Everything.
    All,
    /// What is about a user and its streams.
    Own {
        /// The user.
        user: Arc<str>,
        /// The streams that the configuration gives to it by name.
        streams: Vec<Name>,
    },
}

impl Principal {
    /// What it may see.
    ///
    /// # Errors
    /// It may see nothing.
    pub(crate) fn sight(&self) -> Result<Sight, BoxedRefusal> {
        self.may_by(&[Right::Read, Right::Monitor, Right::Admin])?;
        let user = &self.0;
        Ok(match user.alone || user.has(Right::Monitor) || user.has(Right::Admin) {
            true => Sight::All,
            false => Sight::Own { user: user.name.clone(), streams: user.own_streams().cloned().collect() },
        })
    }
}

impl Sight {
    /// Whether it sees what is about this key, as findings write it: `stream:news`, `stream_provider:news/google`, `provider:google`.
    pub(crate) fn sees(&self, key: &str) -> bool {
        let Self::Own { user, .. } = self else { return true };
        match key.split_once(':') {
            Some(("user", name)) => name == &**user,
            Some(("stream", stream)) => self.sees_stream(stream),
            Some(("stream_provider", pair)) => pair.rsplit_once('/').is_some_and(|(stream, _)| self.sees_stream(stream)),
            _ => false,
        }
    }

    /// Whether it sees what is about a stream.
    pub(crate) fn sees_stream(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Own { streams, .. } => streams.iter().any(|stream| stream.as_str() == name),
        }
    }

    /// Whether it sees everything.
    pub(crate) fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_sees_what_is_about_itself_and_its_streams() {
        let own = Sight::Own { user: "shop".into(), streams: vec![Name::new("news").unwrap()] };
        for key in ["user:shop", "stream:news", "stream_provider:news/google"] {
            assert!(own.sees(key) && Sight::All.sees(key), "{key}");
        }
        for key in ["user:other", "stream:letters", "stream_provider:letters/google", "provider:google", "lane:ip1/google", "relay", "news"]
        {
            assert!(!own.sees(key) && Sight::All.sees(key), "{key}");
        }
    }
}
