//! The version that a text of JSON names.

use serde::Deserialize;
use serde_json::Value;

/// The version that JSON bytes name as `v`. None: they are no JSON object, and damaged. Some(None): they name none.
pub(crate) fn of(bytes: &[u8]) -> Option<Option<Value>> {
    #[derive(Deserialize)]
    struct Any {
        v: Option<Value>,
    }
    serde_json::from_slice::<Any>(bytes).ok().map(|any| any.v)
}
