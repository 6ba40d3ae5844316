//! A child in a sandbox of bubblewrap's.

use std::ffi::OsString;
use std::path::PathBuf;

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context in a sandbox that bwrap(1) makes for it, which ordinary users may do where the system lets them make
/// user namespaces.
///
/// Its argv is `bwrap --bind ROOT / --dev /dev --proc /proc [--chdir DIR] ARGS.. -- COMMAND..`, with `--ro-bind`
/// if it is read-only; what `.args(..)` adds to that (`["--unshare-net", "--tmpfs", "/home"]`) is done in its
/// order. The environment is the parent's, as with bwrap itself.
#[derive(Clone, Debug)]
pub struct Bwrap {
    root: PathBuf,
    read_only: bool,
    current_dir: Option<OsString>,
    options: Options,
}

common_options!(Bwrap);
tool_options!(Bwrap, "bwrap", bwrap_path);

impl Bwrap {
    /// A context whose root is this directory, with a `/dev` and a `/proc` of its own; `/` for a sandbox with
    /// this machine's files. The name of the context is `bwrap.<root>`.
    pub fn new(root: impl Into<PathBuf>) -> Bwrap {
        Bwrap {
            root: root.into(),
            read_only: false,
            current_dir: None,
            options: Options::default(),
        }
    }

    /// Whether nothing can be written below the root. Default: no, what is written there stays.
    pub fn read_only(mut self, yes: bool) -> Self {
        self.read_only = yes;
        self
    }

    /// The working directory, a path in the sandbox: `--chdir`. Default: the parent's where there is one of that
    /// name, else the home directory, else the root.
    pub fn current_dir(mut self, dir: impl Into<OsString>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        let words = Words::of("bwrap", &self.options)
            .add([if self.read_only { "--ro-bind" } else { "--bind" }])
            .operand("a directory", &self.root)?
            .add(["/", "--dev", "/dev", "--proc", "/proc"])
            .option("--chdir", self.current_dir.as_ref())
            .add(&self.options.args);
        Ok(words.add(["--"]).tool())
    }
}

impl Method for Bwrap {
    fn plan(&self) -> Plan {
        self.options.plan(|| format!("bwrap.{}", self.root.display()), self.tool())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        assert_eq!(Bwrap::new("/").plan().name, "bwrap./");
        assert_eq!(words(Bwrap::new("/")), "bwrap --bind / / --dev /dev --proc /proc -- python3");
        let full = Bwrap::new("/srv/root").read_only(true).current_dir("/tmp");
        assert_eq!(
            words(full.args(["--tmpfs", "/tmp"])),
            "bwrap --ro-bind /srv/root / --dev /dev --proc /proc --chdir /tmp --tmpfs /tmp -- python3"
        );
    }
}
