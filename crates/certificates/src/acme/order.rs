//! One order, from the account to the certificate on the disk.

use std::{fmt::Write, io, time::Duration};

use instant_acme::{Account, AuthorizationStatus, Error, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy};
use tokio::time::timeout;

use super::{
    answer::{Answerer, Closed},
    client::Https,
    store::{Kept, Store},
};
use crate::{Acme, AcmeNames, Pair, PairError};

/// How long an order may take from its beginning to its end.
const ORDER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the authority may take to look at the names, and again to make the certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(240));
/// How often an order is begun at most.
const TRIES: usize = 3;
/// Bytes of an authority's words that are repeated.
const WORDS_MAX: usize = 1000;

/// What an order needs.
pub(super) struct Order<'o> {
    pub(super) acme: &'o Acme,
    pub(super) store: &'o Store,
    pub(super) https: &'o Https,
    pub(super) names: &'o AcmeNames,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    /// Nobody could look whether the names lead here.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The authority could not be asked, or said no.
    #[error("{}", words(&.0.to_string()))]
    Asked(#[from] Error),
    /// The authority has looked at the names and did not find us.
    #[error("the authority did not find this host at these names: {}", words(.0))]
    NotFound(String),
    /// It wants another proof.
    #[error("the authority does not take the challenge of acme.challenge for {0}")]
    NoSuchChallenge(String),
    /// What it gave is of no use.
    #[error("the authority gave a certificate that is of no use: {0}")]
    Useless(#[from] PairError),
    /// It is for others.
    #[error("the authority gave a certificate for other names")]
    OtherNames,
    /// The disk.
    #[error("data_dir/acme: {0}")]
    Disk(#[from] io::Error),
    /// It took too long.
    #[error("not done within {ORDER_TIMEOUT:?}")]
    Late,
}

impl Order<'_> {
    /// Orders; the certificate is on the disk, for listeners to be found, when this returns.
    pub(super) async fn done(&self) -> Result<Pair, OrderError> {
        // Opened first: where that fails, the authority need not hear of it.
        let door = Answerer::open(self.acme.challenge, &self.acme.addresses)?;
        let ordered = timeout(ORDER_TIMEOUT, self.insisted(&door)).await;
        door.close().await;
        let (chain, key) = ordered.unwrap_or(Err(OrderError::Late))?;
        let pair = Pair::from_pem(&chain, &key)?;
        if !self.names.iter().all(|name| pair.is_for(name.as_str())) {
            return Err(OrderError::OtherNames);
        }
        let names = self.names.clone();
        self.on_disk(move |store| store.keep(&names, &format!("{key}{chain}"))).await?;
        Ok(pair)
    }

    /// Begins anew where that helps. An authority may refuse good nonces (RFC 8555 §6.5): each request is repeated for it, twice, and sometimes
    /// that is not enough. One that does not know our account any more gets to know a new one.
    async fn insisted(&self, door: &Answerer) -> Result<(String, String), OrderError> {
        for _ in 1..TRIES {
            match self.ordered(door).await {
                Err(OrderError::Asked(error)) if is(&error, "badNonce") => {}
                Err(OrderError::Asked(error)) if is(&error, "accountDoesNotExist") => self.on_disk(Store::forget_account).await?,
                done => return done,
            }
        }
        self.ordered(door).await
    }

    async fn ordered(&self, door: &Answerer) -> Result<(String, String), OrderError> {
        let account = self.account().await?;
        let identifiers: Vec<_> = self.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        self.show(&mut order, door).await?;
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

    /// Shows for each name that it leads here, unless the authority remembers that.
    async fn show(&self, order: &mut instant_acme::Order, door: &Answerer) -> Result<(), OrderError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = authorization.identifier().to_string();
            let challenge = authorization.challenge(door.challenge());
            let mut challenge = challenge.ok_or_else(|| OrderError::NoSuchChallenge(name.clone()))?;
            door.expect(&name, &challenge.token, &challenge.key_authorization())?;
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// The account with the authority: the one that is kept, or a new one.
    async fn account(&self) -> Result<Account, OrderError> {
        let contact: Vec<String> = self.acme.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let urls: Vec<&str> = contact.iter().map(String::as_str).collect();
        let builder = Account::builder_with_http(Box::new(self.https.clone()));
        let Some(Kept { contact: known, credentials }) = self.on_disk(Store::account).await? else {
            let wanted = NewAccount { contact: &urls, terms_of_service_agreed: self.acme.agree_terms, only_return_existing: false };
            let (account, credentials) = builder.create(&wanted, self.acme.directory.clone(), None).await?;
            tracing::info!(account = account.id(), directory = self.acme.directory, "a new ACME account");
            self.on_disk(move |store| store.keep_account(&Kept { contact, credentials })).await?;
            return Ok(account);
        };
        let account = builder.from_credentials(credentials).await?;
        if known != contact {
            account.update_contacts(&urls).await?;
            self.on_disk(move |store| store.keep_contact(contact)).await?;
        }
        Ok(account)
    }

    /// Does something that blocks where nothing else waits for it.
    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let store = self.store.clone();
        tokio::task::spawn_blocking(move || work(&store)).await.map_err(io::Error::other)?
    }
}

fn is(error: &Error, kind: &str) -> bool {
    let Error::Api(problem) = error else { return false };
    problem.r#type.as_deref().and_then(|t| t.strip_prefix("urn:ietf:params:acme:error:")) == Some(kind)
}

/// What the authority found at the names, as far as it says so.
async fn refusals(order: &mut instant_acme::Order) -> String {
    let mut said = String::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        for problem in authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref()) {
            let separator = if said.is_empty() { "" } else { "; " };
            let _ = write!(said, "{separator}{}: {}", authorization.identifier(), problem.detail.as_deref().unwrap_or("(no reason given)"));
        }
    }
    said
}

/// What an authority said, on one line of a length that a log bears.
fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
}
