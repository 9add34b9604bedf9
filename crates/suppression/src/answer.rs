//! The list as operators and the API ask it: off the threads that serve mail, and a change is answered when it is durable.

use std::sync::Arc;

use jiff::Timestamp;
use posthaste_spool::Spool;

use super::{Answer, Ask, List, Register, SuppressionRules};

/// Does what is asked; the error is one line for people.
pub async fn answer(register: &Arc<Register<Spool>>, rules: SuppressionRules, ask: Ask, now: Timestamp) -> Result<Answer, String> {
    let asked = register.clone();
    let performed = tokio::task::spawn_blocking(move || List::new(&asked, &rules).perform(&ask, now));
    let answer = performed.await.map_err(|e| e.to_string())?;
    if let Answer::Changed { .. } = answer {
        register.facts().sync().await.map_err(|e| e.to_string())?;
    }
    Ok(answer)
}
