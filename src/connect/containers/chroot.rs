//! A child with another root directory.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context whose root is a directory of this machine, by chroot(1): an image that is being built, say. Only
/// root may do so.
///
/// Its argv is `chroot [--userspec USER] ARGS.. DIR COMMAND..`. The environment is the parent's, `HOME` too, as with
/// chroot itself. The working directory is the new root.
#[derive(Clone, Debug)]
pub struct Chroot {
    dir: PathBuf,
    user: Option<OsString>,
    options: Options,
}

common_options!(Chroot);
tool_options!(Chroot, "chroot", chroot_path);

impl Chroot {
    /// A context whose root is this directory. The name of the context is `chroot.<directory>`.
    pub fn new(dir: impl Into<PathBuf>) -> Chroot {
        Chroot { dir: dir.into(), user: None, options: Options::default() }
    }

    /// Whose process it is to be, a name there or a number, with `:group` if need be: `--userspec`. Default:
    /// root.
    pub fn user(mut self, user: impl Into<OsString>) -> Self {
        self.user = Some(user.into());
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        let words = Words::of("chroot", &self.options).option("--userspec", self.user.as_ref());
        Ok(words.add(&self.options.args).operand("a directory", &self.dir)?.tool())
    }
}

impl Method for Chroot {
    fn plan(&self) -> Plan {
        self.options.plan(|| format!("chroot.{}", self.dir.display()), self.tool())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        assert_eq!(Chroot::new("/srv/root").plan().name, "chroot./srv/root");
        assert_eq!(words(Chroot::new("/srv/root")), "chroot /srv/root python3");
        let full = Chroot::new("/srv/root").user("app:app").args(["--groups", "adm"]);
        assert_eq!(words(full), "chroot --userspec app:app --groups adm /srv/root python3");
    }
}
