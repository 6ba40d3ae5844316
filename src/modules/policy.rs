//! What the user has decided about modules by their names.

use super::is_module_name;

#[derive(Clone, Default)]
pub(super) struct Policy {
    /// Taken from the program even where the interpreter has them.
    pub(super) always: Vec<String>,
}

/// The names, each of which has to be one of a module: a mistake in the program is told at once.
pub(super) fn module_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Vec<String> {
    let check = |name: S| {
        let name = name.into();
        assert!(is_module_name(&name), "{name:?} cannot be the name of a module");
        name
    };
    names.into_iter().map(check).collect()
}
