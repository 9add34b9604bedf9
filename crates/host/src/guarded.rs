//! Panics in one step of a task, as errors.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use futures_util::FutureExt;

/// A step panicked, with this message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked(String);

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Panicked {}

/// Runs a step whose caller has something to give back, whatever happens to the step.
///
/// # Errors
/// The step panicked. What it held is dropped, and what it changed may be half done.
pub async fn guarded<T>(step: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(step).catch_unwind().await.map_err(|panic| Panicked::of(&*panic))
}

/// The same for a thread's step, which may block.
///
/// # Errors
/// The step panicked.
pub fn guarded_here<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    std::panic::catch_unwind(AssertUnwindSafe(step)).map_err(|panic| Panicked::of(&*panic))
}

impl Panicked {
    fn of(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string).or_else(|| panic.downcast_ref::<String>().cloned());
        Self(text.unwrap_or_else(|| "a panic without a message".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_step_is_an_error_with_its_message() {
        let said = async |panics: fn()| guarded(async move { panics() }).await.map_err(|panicked| panicked.to_string());
        assert_eq!(said(|| ()).await, Ok(()));
        assert_eq!(said(|| panic!("no {}", "route")).await, Err("no route".into()));
        assert_eq!(said(|| panic!("plain")).await, Err("plain".into()));
        assert_eq!(said(|| std::panic::panic_any(7)).await, Err("a panic without a message".into()));
        assert_eq!(guarded_here(|| 7), Ok(7));
        assert_eq!(guarded_here(|| panic!("no {}", "route")).map_err(|panicked| panicked.to_string()), Err::<(), _>("no route".into()));
    }
}
