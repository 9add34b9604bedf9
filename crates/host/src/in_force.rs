//! Settings that a reload replaces.

use std::sync::Arc;

/// The settings of one part of the relay as they are in force now.
///
/// All parts' settings are swapped at once on a reload; this is one part's view of them, so that a part depends on its own settings only. Take
/// them once for each piece of work: two calls may fall on two sides of a reload.
pub struct InForce<T>(Arc<dyn Fn() -> Arc<T> + Send + Sync>);

impl<T: Send + Sync + 'static> InForce<T> {
    /// A view that asks `current` each time.
    pub fn new(current: impl Fn() -> Arc<T> + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }

    /// Settings that never change.
    pub fn fixed(settings: T) -> Self {
        let settings = Arc::new(settings);
        Self::new(move || settings.clone())
    }

    /// The settings now. Costs no allocation and never waits.
    pub fn get(&self) -> Arc<T> {
        (self.0)()
    }
}

impl<T> Clone for InForce<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> std::fmt::Debug for InForce<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InForce(…)")
    }
}
