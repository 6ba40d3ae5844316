//! Modules that a program makes when they are asked for.
//!
//! Invariant: a closure runs while what goes down a child's stream is held, so no call is made from within one.

use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::content::{Content, Held};

/// A module that a program makes when it is asked for: what [`Modules::finder`](crate::Modules::finder)'s
/// closure returns.
#[derive(Clone, Debug)]
pub struct ModuleSource {
    shown: String,
    text: Vec<u8>,
    pub(super) package: bool,
}

impl ModuleSource {
    /// A single module. `path_shown` is its file name for tracebacks.
    pub fn module(path_shown: impl Into<String>, text: impl Into<Vec<u8>>) -> ModuleSource {
        ModuleSource { shown: path_shown.into(), text: text.into(), package: false }
    }

    /// The `__init__.py` of a package, whose modules the same closure is then asked for. `path_shown` is
    /// its file name for tracebacks, with the `__init__.py`.
    pub fn package(path_shown: impl Into<String>, text: impl Into<Vec<u8>>) -> ModuleSource {
        ModuleSource { package: true, ..ModuleSource::module(path_shown, text) }
    }

    pub(super) fn content(self) -> Content {
        Content::Held(Held::new(Cow::Owned(self.text)).into(), self.shown)
    }
}

pub(super) type Closure = dyn Fn(&str) -> Option<ModuleSource> + Send + Sync;

thread_local! {
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a closure.
pub(crate) fn runs() -> bool {
    RUNS.get()
}

/// Asks for the module `name`. What goes wrong in the closure is why the module cannot be had.
pub(super) fn ask(closure: &Closure, name: &str) -> Result<Option<ModuleSource>, String> {
    let before = RUNS.replace(true);
    // It is shared by threads: a panic leaves it as it would leave what any of them calls.
    let made = catch_unwind(AssertUnwindSafe(|| closure(name)));
    RUNS.set(before);
    made.map_err(|panic| {
        let told = panic.downcast_ref::<String>().map(String::as_str);
        let told = told.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        format!("the program's finder panicked: {told}")
    })
}
