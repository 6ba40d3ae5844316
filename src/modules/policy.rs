//! What the user has decided about modules by their names.
//!
//! A name stands for that module and for all that is in it.

use std::collections::HashSet;
use std::sync::{MutexGuard, PoisonError};

use super::{Finder, Modules, is_module_name};

impl Modules {
    /// Serves only these modules, what is in them, and the packages that lead to them, of which nothing else
    /// than the `__init__.py`. Without a list, everything that was registered. A data file counts as the module
    /// that it would be by its name: `app/tasks/a.txt` is in `app.tasks`.
    ///
    /// # Panics
    ///
    /// If one cannot be the name of a module.
    pub fn allow<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> &Self {
        let names = module_names(names);
        self.change(|sources| sources.policy.allow.extend(names))
    }

    /// Never serves these modules nor what is in them, whatever [`allow`](Modules::allow) says.
    ///
    /// # Panics
    ///
    /// If one cannot be the name of a module.
    pub fn deny<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> &Self {
        let names = module_names(names);
        self.change(|sources| sources.policy.deny.extend(names))
    }

    /// Takes these modules, and what is in them, from the program even where the interpreter has some of that
    /// name: `["yaml"]`. For contexts that are started later. What the program does not serve is taken from the
    /// interpreter all the same.
    ///
    /// # Panics
    ///
    /// If one cannot be the name of a module.
    pub fn always<S: Into<String>>(&self, names: impl IntoIterator<Item = S>) -> &Self {
        let names = module_names(names);
        self.change(|sources| sources.policy.always.extend(names))
    }

    /// Sends these ahead with the first module that a context gets, and what their code imports: for imports
    /// that only show when they are run, by names that are computed or inside of functions, and for data files
    /// (`package/file`). Each costs a round trip otherwise.
    ///
    /// `list` is plain text with one name a line, as [`learned`](Modules::learned) gives it; empty lines and
    /// those that begin with `#` count nothing. Names that are not served are passed over.
    pub fn preload(&self, list: impl AsRef<str>) -> &Self {
        let names: Vec<String> = names_in(list.as_ref()).map(str::to_owned).collect();
        self.change(|sources| sources.policy.preload.extend(names))
    }

    /// What contexts had to ask for so far, as a list for [`preload`](Modules::preload) in a later run: one name a
    /// line, in the order in which they were first asked for, behind what was on the preload list already; of those
    /// behind it at most 1 MiB.
    pub fn learned(&self) -> String {
        let preload = self.sources().policy.preload.clone();
        let learned = self.learning();
        let mut seen = HashSet::new();
        let names = preload.iter().chain(&learned.order).filter(|name| seen.insert(name.as_str()));
        names.flat_map(|name| [name.as_str(), "\n"]).collect()
    }

    /// Sends at most about this many bytes of compressed modules ahead of one call or with one answer: once they
    /// have gone, nothing more is added to what is due by then, and the rest is asked for when it is imported.
    /// Default: 8 MiB. With 0 nothing is sent but what a call or an import names.
    pub fn push_limit_bytes(&self, bytes: usize) -> &Self {
        self.change(|sources| sources.policy.push_bytes = bytes)
    }

    /// The state of the sources: another after each change.
    pub(crate) fn version(&self) -> u64 {
        self.shared.sources.read().unwrap_or_else(PoisonError::into_inner).version
    }

    /// Why a module that a context did not find has not come from here; nothing where it could.
    pub(crate) fn why_missing(&self, name: &str) -> Option<String> {
        let mut finder = self.searching();
        let policy = finder.policy();
        if policy.denies(name) {
            return Some("Router::modules().deny(..) keeps it from being served".into());
        }
        if !policy.permits(name) {
            return Some("Router::modules().allow(..) does not name it".into());
        }
        let advice = "it is not on that machine, and not in what Router::modules() serves: add it by \
                      .source(..) or .path(..)";
        (!finder.has(name)).then(|| advice.into())
    }

    /// What [`always`](Modules::always) was told.
    pub(crate) fn taken_always(&self) -> Vec<String> {
        self.sources().policy.always.clone()
    }

    /// Notes that a child had to ask for this.
    pub(super) fn learn(&self, name: &str) {
        self.learning().add(name);
    }

    fn learning(&self) -> MutexGuard<'_, Learned> {
        self.shared.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Finder<'_> {
    pub(super) fn policy(&self) -> &Policy {
        &self.sources.policy
    }

    /// Which state of the sources it searches.
    pub(super) fn version(&self) -> u64 {
        self.sources.version
    }
}

/// What children have asked for, each name once.
#[derive(Default)]
pub(super) struct Learned {
    names: HashSet<String>,
    order: Vec<String>,
    bytes: usize,
}

impl Learned {
    fn add(&mut self, name: &str) {
        // A finder may have any name that a child thinks of.
        let bytes = self.bytes + name.len() + 1;
        if bytes <= LEARNED_BYTES && !self.names.contains(name) {
            self.bytes = bytes;
            self.names.insert(name.to_owned());
            self.order.push(name.to_owned());
        }
    }
}

#[derive(Clone)]
pub(super) struct Policy {
    /// If there are any, only these are served.
    pub(super) allow: Vec<String>,
    /// Never served.
    pub(super) deny: Vec<String>,
    /// Taken from the program even where the interpreter has them.
    pub(super) always: Vec<String>,
    /// Sent with the first module, whether anything imports them or not; data files, too.
    pub(super) preload: Vec<String>,
    /// How much one call or one request may send ahead.
    pub(super) push_bytes: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        let (allow, deny, always, preload) = Default::default();
        Policy { allow, deny, always, preload, push_bytes: PUSH_BYTES }
    }
}

impl Policy {
    fn denies(&self, name: &str) -> bool {
        self.deny.iter().any(|denied| is_in(name, denied))
    }

    /// Whether a module may be served. The packages that lead to one that is allowed may.
    pub(super) fn permits(&self, name: &str) -> bool {
        let is_allowed = |allowed: &String| is_in(name, allowed) || is_in(allowed, name);
        !self.denies(name) && (self.allow.is_empty() || self.allow.iter().any(is_allowed))
    }

    /// Whether everything in it may be served, too, as far as it is not denied.
    pub(super) fn permits_content(&self, name: &str) -> bool {
        let is_allowed = |allowed: &String| is_in(name, allowed);
        !self.denies(name) && (self.allow.is_empty() || self.allow.iter().any(is_allowed))
    }
}

/// Whether `name` is `package` or something in it.
fn is_in(name: &str, package: &str) -> bool {
    name.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
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

/// The names in a list as [`Modules::preload`](super::Modules::preload) takes it.
pub(super) fn names_in(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Some times what the largest frameworks need at start, compressed.
const PUSH_BYTES: usize = 8 << 20;
/// Some times the names of all modules of the largest frameworks.
const LEARNED_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_what_is_in_it() {
        let mut policy = Policy::default();
        assert!(policy.permits("anything.at.all"));
        policy.deny = module_names(["app.secrets"]);
        assert!(policy.permits("app") && policy.permits("app.secrets_not"));
        assert!(!policy.permits("app.secrets") && !policy.permits("app.secrets.key"));
        policy.allow = module_names(["app", "lib.deep.part"]);
        for (name, permitted) in [
            ("app", true),
            ("app.tasks", true),
            ("app.secrets", false),
            ("application", false),
            ("lib", true),
            ("lib.deep", true),
            ("lib.deep.part.more", true),
            ("lib.other", false),
        ] {
            assert_eq!(policy.permits(name), permitted, "{name}");
        }
        assert!(
            policy.permits_content("app.tasks") && policy.permits_content("lib.deep.part.more")
        );
        assert!(!policy.permits_content("app.secrets") && !policy.permits_content("lib.deep"));
    }

    #[test]
    fn what_is_learned_has_an_end() {
        let modules = Modules::default();
        modules.preload("told.before");
        for number in 0..LEARNED_BYTES / 1000 * 2 {
            modules.learn(&format!("{number:0999}"));
            modules.learn(&format!("{:0999}", 0));
        }
        let learned = modules.learned();
        assert_eq!(learned.len(), "told.before\n".len() + LEARNED_BYTES / 1000 * 1000);
        assert!(learned.starts_with(&format!("told.before\n{:0999}\n{:0999}\n", 0, 1)));
    }

    #[test]
    fn a_list_is_plain_text() {
        let list = "# learned\n\napp.tasks\n  app/data file.txt \r\n#app.not\n";
        assert_eq!(names_in(list).collect::<Vec<_>>(), ["app.tasks", "app/data file.txt"]);
    }
}
