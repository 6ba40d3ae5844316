//! What crosses the wire: the values of the pickle subset.

use crate::CallError;

/// A Python value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    None,
    /// `CallError`
    Error(CallError),
}
