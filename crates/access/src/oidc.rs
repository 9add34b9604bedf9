//! Logins by an OpenID provider (OpenID Connect Core 1.0): the authorization code flow with PKCE.
//!
//! `client` asks the provider, `discovery` and `token` judge what it says, `claims` decides who somebody is here, and `kept` when to ask again.
//! Nobody is let in by what a browser says: it brings a code, and the provider says for it, to us alone, whose it is.

mod claims;
mod client;
mod discovery;
mod error;
mod kept;
mod settings;
mod token;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::Uri;
use jiff::Timestamp;
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet, EndpointSet, PkceCodeChallenge,
    PkceCodeVerifier, RedirectUrl, Scope, StandardRevocableToken, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse},
};
use rustls::ClientConfig;
use serde_json::{Map, Value};
use tokio::sync::{Mutex, MutexGuard, Semaphore};

pub use self::{
    claims::{ClaimRules, Identity},
    error::OidcError,
    settings::OidcSettings,
};
use self::{
    client::{Client, Exchanged, Tokens},
    discovery::Discovery,
    kept::Kept,
    token::{Expected, Keys, Unverified, verify},
};

/// Logins that are being finished at once; further ones are told to try again.
const FINISHING_MAX: usize = 16;
/// How long the provider's description of itself is good for.
const DISCOVERY_LASTS: Duration = Duration::from_secs(3600);
/// How long the provider's keys are good for. A key that is not among them is looked for sooner.
const KEYS_LAST: Duration = Duration::from_secs(3600);
/// The shortest time between two questions for the same: to a provider that is in trouble, or whose tokens name keys that it does not publish.
const PAUSE: Duration = Duration::from_secs(5);

/// A login that has begun.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes: the provider's own page.
    pub to: String,
    /// What comes back with the browser.
    pub state: String,
    /// What proves that an answer is about this login.
    pub proof: Proof,
}

/// What proves that an answer is about a login that began here. It never leaves the relay before the answer is there.
#[derive(Debug)]
pub struct Proof {
    nonce: String,
    verifier: PkceCodeVerifier,
}

impl Default for Proof {
    /// A new one, which nobody guesses.
    fn default() -> Self {
        let (_, verifier) = PkceCodeChallenge::new_random_sha256();
        Self { nonce: CsrfToken::new_random().into_secret(), verifier }
    }
}

/// The provider that people log in by. A reload makes a new one, which knows nothing yet.
pub struct Provider {
    settings: Arc<OidcSettings>,
    client: Client,
    finishing: Semaphore,
    discovery: Mutex<Kept<Discovery>>,
    keys: Mutex<Kept<Keys>>,
}

impl Provider {
    /// The provider of these settings, which must show a certificate that `tls` trusts.
    pub fn new(settings: Arc<OidcSettings>, tls: &ClientConfig) -> Self {
        Self {
            client: Client::new(tls, settings.timeout),
            settings,
            finishing: Semaphore::new(FINISHING_MAX),
            discovery: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// What is configured of it.
    pub fn settings(&self) -> &Arc<OidcSettings> {
        &self.settings
    }

    /// Begins a login.
    ///
    /// # Errors
    /// The provider cannot be asked where its login is.
    pub async fn begin(&self, now: Instant) -> Result<Begun, OidcError> {
        let discovery = self.discovery(now).await?;
        let client = self.known_as(&discovery)?;
        let proof = Proof::default();
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&proof.verifier);
        let scopes = self.settings.scopes.iter().cloned().map(Scope::new);
        let asked = client.authorize_url(CsrfToken::new_random).add_scopes(scopes).set_pkce_challenge(challenge);
        let (to, state) = asked.add_extra_param("nonce", &proof.nonce).url();
        Ok(Begun { to: to.into(), state: state.into_secret(), proof })
    }

    /// Who came back with this code. `issuer`: who gave it, if the browser says so (RFC 9207). `clock` is read again after each answer.
    ///
    /// # Errors
    /// That is not proved, or it is somebody who may not open the page.
    pub async fn finish(
        &self,
        code: &str,
        issuer: Option<&str>,
        proof: Proof,
        clock: impl Fn() -> (Instant, Timestamp),
    ) -> Result<Identity, OidcError> {
        let _turn = self.finishing.try_acquire().map_err(|_| OidcError::Busy)?;
        let discovery = self.discovery(clock().0).await?;
        discovery.gave(issuer).map_err(OidcError::Code)?;
        let client = self.known_as(&discovery)?;
        let asked = client.exchange_code(AuthorizationCode::new(code.to_owned())).set_pkce_verifier(proof.verifier);
        let Exchanged { id_token, access_token } = self.client.exchange(asked).await?;
        let mut claims = self.verified(&id_token, &proof.nonce, &discovery, &clock).await?;
        if let Some(more) = discovery.userinfo_endpoint.as_ref().filter(|_| self.settings.rules.misses(&claims)) {
            // OpenID Connect Core §5.4: with a code, claims of scopes come from here. §5.3.2: they may be another's.
            match self.client.read::<Map<String, Value>>(more, Some(&access_token)).await {
                Ok(more) if more.get("sub") != claims.get("sub") => {
                    return Err(OidcError::Token("the UserInfo endpoint speaks of somebody else".into()));
                }
                Ok(more) => more.into_iter().for_each(|(name, value)| {
                    claims.entry(name).or_insert(value);
                }),
                // What is missing is no more than a name.
                Err(why) if self.settings.rules.tells(&claims) => tracing::debug!("the page: of the UserInfo endpoint: {why}"),
                Err(why) => return Err(OidcError::Provider(why)),
            }
        }
        self.settings.rules.identity(&claims)
    }

    /// The claims of an ID token that is right.
    async fn verified(
        &self,
        token: &str,
        nonce: &str,
        discovery: &Discovery,
        clock: &impl Fn() -> (Instant, Timestamp),
    ) -> Result<Map<String, Value>, OidcError> {
        let expected = Expected { issuer: &self.settings.issuer, client: &self.settings.client, nonce };
        let mut kept = self.keys.lock().await;
        let keys = self.keys(&mut kept, &discovery.jwks_uri, clock().0).await?;
        match verify(token, &keys, &expected, clock().1) {
            Ok(claims) => return Ok(claims),
            Err(Unverified::Wrong(why)) => return Err(OidcError::Token(why)),
            Err(Unverified::UnknownKey) => kept.doubt(),
        }
        let keys = self.keys(&mut kept, &discovery.jwks_uri, clock().0).await?;
        drop(kept);
        verify(token, &keys, &expected, clock().1).map_err(|unverified| match unverified {
            Unverified::Wrong(why) => OidcError::Token(why),
            Unverified::UnknownKey => OidcError::Provider("its token is signed by a key that it does not publish".into()),
        })
    }

    /// The relay as the provider's client.
    fn known_as(&self, discovery: &Discovery) -> Result<AsClient, OidcError> {
        let s = &self.settings;
        let odd = |error: oauth2::url::ParseError| OidcError::Provider(format!("an address that it names is none: {error}"));
        let client = oauth2::Client::new(ClientId::new(s.client.clone()))
            .set_auth_uri(AuthUrl::new(discovery.authorization_endpoint.to_string()).map_err(odd)?)
            .set_token_uri(TokenUrl::new(discovery.token_endpoint.to_string()).map_err(odd)?)
            .set_redirect_uri(RedirectUrl::new(s.redirect()).map_err(odd)?)
            .set_auth_type(if discovery.takes_basic() { AuthType::BasicAuth } else { AuthType::RequestBody });
        Ok(match &s.secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.reveal().to_owned())),
            None => client,
        })
    }

    async fn discovery(&self, now: Instant) -> Result<Arc<Discovery>, OidcError> {
        let mut kept: MutexGuard<'_, Kept<Discovery>> = self.discovery.lock().await;
        if kept.is_due(now, DISCOVERY_LASTS, PAUSE) {
            let read = match self.settings.discovery().parse::<Uri>() {
                Ok(address) => self.client.read(&address, None).await,
                Err(error) => Err(error.to_string()),
            };
            kept.heard(read.and_then(|said| Discovery::of(said, &self.settings.issuer)), now);
        }
        kept.value().map_err(OidcError::Provider)
    }

    async fn keys(&self, kept: &mut Kept<Keys>, address: &Uri, now: Instant) -> Result<Arc<Keys>, OidcError> {
        if kept.is_due(now, KEYS_LAST, PAUSE) {
            kept.heard(self.client.read(address, None).await.map(Keys::of), now);
        }
        kept.value().map_err(OidcError::Provider)
    }
}

/// The relay as a client whose provider has told its addresses: of the login, and of the tokens.
type AsClient = oauth2::Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("settings", &self.settings).finish_non_exhaustive()
    }
}
