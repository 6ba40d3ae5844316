//! A child in a jail of FreeBSD's.

use std::ffi::OsString;

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context in a jail of FreeBSD's that runs, by jexec(8).
///
/// Its argv is `jexec [-U USER] ARGS.. JAIL COMMAND..`. The environment is the parent's, as with jexec itself;
/// `.args(["-l"])` clears it.
#[derive(Clone, Debug)]
pub struct Jail {
    jail: String,
    user: Option<OsString>,
    options: Options,
}

common_options!(Jail);
tool_options!(Jail, "jexec", jexec_path);

impl Jail {
    /// A context in the jail of this name or number. The name of the context is `jail.<jail>`.
    pub fn new(jail: impl Into<String>) -> Jail {
        Jail { jail: jail.into(), user: None, options: Options::default() }
    }

    /// Whose process it is to be, the name of a user in the jail: `-U`. Default: the parent's own user.
    pub fn user(mut self, user: impl Into<OsString>) -> Self {
        self.user = Some(user.into());
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        let words = Words::of("jexec", &self.options)
            .option("-U", self.user.as_ref())
            .add(&self.options.args);
        Ok(words.operand("a jail", &self.jail)?.tool())
    }
}

impl Method for Jail {
    fn plan(&self) -> Plan {
        self.options.plan(|| format!("jail.{}", self.jail), self.tool())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        assert_eq!(Jail::new("www").plan().name, "jail.www");
        assert_eq!(words(Jail::new("www")), "jexec www python3");
        assert_eq!(words(Jail::new("7").user("app").args(["-l"])), "jexec -U app -l 7 python3");
    }
}
