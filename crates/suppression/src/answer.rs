//! Questions of operators and of the API: answered on threads that serve no mail; a change is answered once it is durable.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_spool::{Spool, StoreError};

use super::{List, ListAnswer, ListRequest, Register, SuppressionRules};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The task that reads and changes the list panicked.
    #[error(transparent)]
    Panicked(#[from] tokio::task::JoinError),
    /// The change cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Does what is asked. A change is durable when this returns.
pub async fn answer(
    register: &Arc<Register<Spool>>,
    rules: SuppressionRules,
    request: ListRequest,
    now: Timestamp,
) -> Result<ListAnswer, AnswerError> {
    let list = register.clone();
    let performed = tokio::task::spawn_blocking(move || List::new(&list, &rules).perform(&request, now));
    let answer = performed.await?;
    if let ListAnswer::Changed { .. } = answer {
        register.facts().sync().await?;
    }
    Ok(answer)
}
