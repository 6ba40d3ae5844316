//! What a Python source imports as soon as it is imported itself, without running it.
//!
//! Invariant: total and linear on any bytes. What is left out surely does not run on import: bodies of
//! functions, what only type checkers read, and what the target's version or platform excludes.
//! Not here: whether anything serves these modules, and where.

mod condition;
mod statements;

use condition::{Condition, Known};
use statements::Scanner;

/// What the top-level code of a source may import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports {
    /// In the order of execution.
    imports: Vec<Import>,
    /// Each stands behind its parent.
    guards: Vec<Guard>,
    exports: Vec<String>,
    /// Whether a name of [`EXTENDING`] is there.
    extends: bool,
    /// Whether `from __future__ import absolute_import` is there.
    absolute: bool,
}

/// One `import x` or `from x import ..`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Import {
    base: Base,
    /// May be empty behind a package, as in `from . import x`.
    module: String,
    names: Vec<String>,
    star: bool,
    guard: Option<usize>,
}

/// What a name of a module counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Top,
    /// The package that the source is in, or one so many above it.
    Package(usize),
}

/// What an import depends on, beside the guard's parent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guard {
    parent: Option<usize>,
    condition: Condition,
    /// What the condition must be for the import to run.
    holds: bool,
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
pub(crate) fn scan(source: &[u8]) -> Imports {
    Scanner::new(source).scan()
}

impl Imports {
    /// What is imported, in the order of execution. `module` is the importing module's own dotted name.
    /// Without a `target` both sides of a version or platform test count. A relative import beyond the
    /// top is left out.
    pub(crate) fn wanted(
        &self,
        module: &str,
        is_package: bool,
        target: Option<&Target>,
    ) -> Vec<Wanted> {
        let package = if is_package { module } else { parent(module).unwrap_or_default() };
        let has_siblings = !package.is_empty()
            && !self.absolute
            && target.is_some_and(|target| target.version[0] == 2);
        let runs = self.running(Known { module, target });
        let mut wanted = Vec::new();
        for import in &self.imports {
            if import.guard.is_some_and(|guard| !runs[guard]) {
                continue;
            }
            let mut want = |module| {
                let (names, star) = (import.names.clone(), import.star);
                wanted.push(Wanted { module, names, star });
            };
            match import.base {
                Base::Top => {
                    if has_siblings {
                        want(format!("{package}.{}", import.module));
                    }
                    want(import.module.clone());
                }
                Base::Package(up) => {
                    let base = (0..up).try_fold(package, |package, _| parent(package));
                    match base.filter(|base| !base.is_empty()) {
                        None => {}
                        Some(base) if import.module.is_empty() => want(base.to_owned()),
                        Some(base) => want(format!("{base}.{}", import.module)),
                    }
                }
            }
        }
        wanted
    }

    /// Of each guard, whether what it guards may run.
    fn running(&self, known: Known) -> Vec<bool> {
        let mut runs: Vec<bool> = Vec::with_capacity(self.guards.len());
        for guard in &self.guards {
            let parent = guard.parent.is_none_or(|parent| runs[parent]);
            runs.push(parent && guard.condition.holds(known) != Some(!guard.holds));
        }
        runs
    }

    /// The string literals of the top-level `__all__`.
    pub(crate) fn exports(&self) -> &[String] {
        &self.exports
    }

    /// Whether the package whose source this is has modules in all directories that bear its name, not only in
    /// its own.
    pub(crate) fn extends(&self) -> bool {
        self.extends
    }
}

/// The functions that put such directories into the `__path__` of a package: of `pkgutil`, of `pkg_resources`.
const EXTENDING: [&[u8]; 2] = [b"extend_path", b"declare_namespace"];

/// The package that a module is in, if it is in one.
fn parent(module: &str) -> Option<&str> {
    module.rsplit_once('.').map(|(parent, _)| parent)
}

#[cfg(test)]
mod against_ast;
#[cfg(test)]
mod tests;
