//! What a Python source imports as soon as it is imported itself, without running it.
//!
//! Invariant: total and linear on any bytes. What is left out surely does not run on import: bodies of
//! functions, what only type checkers read, and what the target's version or platform excludes.
//! Not here: whether anything serves these modules, and where.

/// What the top-level code of a source may import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports {
    exports: Vec<String>,
}

/// What is known of the interpreter that will run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The first three of `sys.version_info`.
    pub(crate) version: [u32; 3],
    /// `sys.platform`; `os.name` is `posix`.
    pub(crate) platform: String,
}

/// A module that will be imported, if it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its absolute dotted name; its parents are imported with it.
    pub(crate) module: String,
    /// Of `from module import names`: each may be a submodule.
    pub(crate) names: Vec<String>,
    /// `from module import *`: what the module's [`Imports::exports`] name may be submodules.
    pub(crate) star: bool,
}

/// Finds the imports of a source. Of bytes that do not lex: those that stand before the error.
pub(crate) fn scan(_source: &[u8]) -> Imports {
    Imports::default()
}

impl Imports {
    /// What is imported, in the order of execution. `module` is the importing module's own dotted name.
    /// Without a `target` both sides of a version or platform test count. A relative import beyond the
    /// top is left out.
    pub(crate) fn wanted(
        &self,
        _module: &str,
        _is_package: bool,
        _target: Option<&Target>,
    ) -> Vec<Wanted> {
        Vec::new()
    }

    /// The string literals of the top-level `__all__`.
    pub(crate) fn exports(&self) -> &[String] {
        &self.exports
    }
}
