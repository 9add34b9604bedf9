//! One order, from the account to the certificate on disk.

use std::{fmt::Write, io, time::Duration};

use instant_acme::{Account, AuthorizationStatus, Error, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy};
use tokio::time::timeout;

use super::{
    answer::{Answerer, ListenError},
    client::Https,
    store::{AcmeStore, StoredAccount},
};
use crate::{Acme, AcmeNames, Pair, PairError};

/// How long an order may take from beginning to end.
const ORDER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the authority may take to verify the names, and again to make the certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(240));
/// How often an order is begun at most when the authority refuses a nonce or the account.
const TRIES: usize = 3;
/// Characters of an authority's text that are repeated.
const WORDS_MAX: usize = 1000;

/// One order.
pub(super) struct Order<'o> {
    pub(super) acme: &'o Acme,
    pub(super) store: &'o AcmeStore,
    pub(super) https: &'o Https,
    pub(super) names: &'o AcmeNames,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// The authority's checks cannot be answered.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The authority could not be asked, or refused.
    #[error("{}", words(&.0.to_string()))]
    Asked(#[from] Error),
    /// The authority's checks of the names failed.
    #[error("the authority did not find this host at these names: {}", words(.0))]
    NotFound(String),
    /// It does not offer the configured challenge.
    #[error("the authority does not accept the challenge set by acme.challenge for {0}")]
    NoSuchChallenge(String),
    /// Its certificate cannot be used.
    #[error("the authority gave a certificate that cannot be used: {0}")]
    Useless(#[from] PairError),
    /// Its certificate is for other names.
    #[error("the authority gave a certificate for other names")]
    OtherNames,
    /// The account or the certificate cannot be read or written.
    #[error("data_dir/acme: {0}")]
    Disk(#[from] io::Error),
    /// It took too long.
    #[error("not done within {ORDER_TIMEOUT:?}")]
    Late,
}

impl Order<'_> {
    /// Places the order. The certificate is on disk, where listeners find it, when this returns.
    pub(super) async fn done(&self) -> Result<Pair, OrderError> {
        // Opened first: if that fails, the authority is not asked at all.
        let answerer = Answerer::open(self.acme.challenge, &self.acme.addresses)?;
        let ordered = timeout(ORDER_TIMEOUT, self.ordered_with_retries(&answerer)).await;
        answerer.close().await;
        let (chain, key) = ordered.unwrap_or(Err(OrderError::Late))?;
        let pair = Pair::from_pem(&chain, &key)?;
        if !self.names.iter().all(|name| pair.is_for(name.as_str())) {
            return Err(OrderError::OtherNames);
        }
        let names = self.names.clone();
        self.on_disk(move |store| store.keep(&names, &format!("{key}{chain}"))).await?;
        Ok(pair)
    }

    /// Orders, and begins again where that helps. An authority may refuse good nonces (RFC 8555 §6.5): instant-acme repeats each request
    /// twice, and sometimes that is not enough. If the authority no longer knows our account, a new one is made.
    async fn ordered_with_retries(&self, answerer: &Answerer) -> Result<(String, String), OrderError> {
        for _ in 1..TRIES {
            match self.ordered(answerer).await {
                Err(OrderError::Asked(error)) if is(&error, "badNonce") => {}
                Err(OrderError::Asked(error)) if is(&error, "accountDoesNotExist") => self.on_disk(AcmeStore::forget_account).await?,
                done => return done,
            }
        }
        self.ordered(answerer).await
    }

    async fn ordered(&self, answerer: &Answerer) -> Result<(String, String), OrderError> {
        let account = self.account().await?;
        let identifiers: Vec<_> = self.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        self.prove(&mut order, answerer).await?;
        let ready = order.poll_ready(&PATIENCE).await;
        if !matches!(ready, Ok(OrderStatus::Ready)) {
            let why = refusals(&mut order).await;
            return Err(match ready {
                Err(error) if why.is_empty() => error.into(),
                _ if why.is_empty() => OrderError::NotFound("it does not say why".into()),
                _ => OrderError::NotFound(why),
            });
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok((chain, key))
    }

    /// Prepares the answer for each name that the authority has not verified before.
    async fn prove(&self, order: &mut instant_acme::Order, answerer: &Answerer) -> Result<(), OrderError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = authorization.identifier().to_string();
            let challenge = authorization.challenge(answerer.challenge());
            let mut challenge = challenge.ok_or_else(|| OrderError::NoSuchChallenge(name.clone()))?;
            answerer.expect(&name, &challenge.token, &challenge.key_authorization())?;
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// The account with the authority: the stored one, or a new one.
    async fn account(&self) -> Result<Account, OrderError> {
        let contact: Vec<String> = self.acme.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let urls: Vec<&str> = contact.iter().map(String::as_str).collect();
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        let Some(StoredAccount { contact: known, credentials }) = self.on_disk(AcmeStore::account).await? else {
            let wanted = NewAccount { contact: &urls, terms_of_service_agreed: self.acme.agree_terms, only_return_existing: false };
            let (account, credentials) = builder.create(&wanted, self.acme.directory.clone(), None).await?;
            tracing::info!(account = account.id(), directory = self.acme.directory, "a new ACME account");
            self.on_disk(move |store| store.keep_account(&StoredAccount { contact, credentials })).await?;
            return Ok(account);
        };
        let account = builder.from_credentials(credentials).await?;
        if known != contact {
            account.update_contacts(&urls).await?;
            self.on_disk(move |store| store.keep_contact(contact)).await?;
        }
        Ok(account)
    }

    /// Does blocking work on a thread for it.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&AcmeStore) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(io::Error::other)?
    }
}

fn is(error: &Error, kind: &str) -> bool {
    let Error::Api(problem) = error else { return false };
    problem.r#type.as_deref().and_then(|t| t.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
}

/// The authority's reasons for refusing names, as far as it gives any.
async fn refusals(order: &mut instant_acme::Order) -> String {
    let mut reasons = String::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        for problem in authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
            let separator = if reasons.is_empty() { "" } else { "; " };
            let _ =
                write!(reasons, "{separator}{}: {}", authorization.identifier(), problem.detail.as_deref().unwrap_or("(no reason given)"));
        }
    }
    reasons
}

/// An authority's text on one line, cut to a length fit for the log.
fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
}
