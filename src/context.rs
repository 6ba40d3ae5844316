//! A Python process under the program's control, as a handle.

/// A Python process under the program's control.
#[derive(Clone, Debug)]
pub struct Context {}

impl Context {
    /// A context that belongs to no router, for tests of pure conversions.
    #[cfg(test)]
    pub(crate) fn detached() -> Context {
        Context {}
    }
}
