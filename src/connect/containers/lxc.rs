//! A child in a container of LXC's.

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context in a container of LXC's that runs, by lxc-attach(1). For LXD's `lxc exec`, see [`Lxd`](crate::Lxd).
///
/// Its argv is `lxc-attach --clear-env [--uid UID] [--gid GID] ARGS.. --name CONTAINER -- COMMAND..`. The
/// environment is the container's, without the parent's: it has a `PATH`, and no `HOME`.
#[derive(Clone, Debug)]
pub struct Lxc {
    container: String,
    uid: Option<u32>,
    gid: Option<u32>,
    options: Options,
}

common_options!(Lxc);
tool_options!(Lxc, "lxc-attach", lxc_attach_path);

impl Lxc {
    /// A context in the container of this name. The name of the context is `lxc.<container>`.
    pub fn new(container: impl Into<String>) -> Lxc {
        Lxc { container: container.into(), uid: None, gid: None, options: Options::default() }
    }

    /// The number, in the container, of the user whose process it is to be: `--uid`. Default: 0.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// The number, in the container, of the group: `--gid`. Default: 0.
    pub fn gid(mut self, gid: u32) -> Self {
        self.gid = Some(gid);
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        let words = Words::of("lxc-attach", &self.options)
            .add(["--clear-env"])
            .option("--uid", self.uid.map(|uid| uid.to_string()))
            .option("--gid", self.gid.map(|gid| gid.to_string()))
            .add(&self.options.args)
            .add(["--name"])
            .operand("a container", &self.container)?;
        Ok(words.add(["--"]).tool().with_hint(HINT))
    }
}

/// What it needs, which it does not say when it fails.
const HINT: &str = "a container that runs, and the rights of root or, for an unprivileged one, of the user \
                    who started it";

impl Method for Lxc {
    fn plan(&self) -> Plan {
        self.options.plan(|| format!("lxc.{}", self.container), self.tool())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        let plain = Lxc::new("web");
        assert_eq!(plain.plan().name, "lxc.web");
        assert_eq!(words(plain), "lxc-attach --clear-env --name web -- python3");
        let full = Lxc::new("web").uid(1000).gid(100).args(["--lxcpath", "/srv/lxc"]);
        assert_eq!(
            words(full),
            "lxc-attach --clear-env --uid 1000 --gid 100 --lxcpath /srv/lxc --name web -- python3"
        );
    }
}
