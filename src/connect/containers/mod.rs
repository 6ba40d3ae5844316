//! A child in a container, a jail, a namespace, another root directory, or under a service manager: each method
//! puts a tool's words in front of the command.
//!
//! Invariant: the tool gets pipes and no terminal, and is told that it shall make none, where it might: one
//! would echo the stream and change its bytes. Its standard error is apart from the stream, so that what it has
//! to say is in the error. It asks nothing. A name that it would take for an option is refused.
//!
//! The environment of the child is what the tool gives it; `python_argv(["env", "LANG=C.UTF-8", "python3"])`
//! adds to it, whatever the tool.
//! Not here: how the words are run and what is made of the end (`connect`, `start`).

mod buildah;
mod bwrap;
mod chroot;
mod docker;
mod engine;
mod incus;
mod instance;
mod jail;
mod kubectl;
mod lxc;
mod lxd;
mod nsenter;
mod podman;
mod systemd_run;

pub use buildah::Buildah;
pub use bwrap::Bwrap;
pub use chroot::Chroot;
pub use docker::Docker;
pub use incus::Incus;
pub use jail::Jail;
pub use kubectl::Kubectl;
pub use lxc::Lxc;
pub use lxd::Lxd;
pub use nsenter::{Namespace, Nsenter};
pub use podman::Podman;
pub use systemd_run::SystemdRun;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::Tool;
use super::options::Options;

/// Words of a command, one after the other.
struct Words(Vec<OsString>);

impl Words {
    /// Begins with the tool, which is usually called this.
    fn of(usual: &str, options: &Options) -> Words {
        Words(vec![options.program(usual)])
    }

    fn add<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Words {
        self.0.extend(words.into_iter().map(Into::into));
        self
    }

    /// An option and its value, where there is one.
    fn option(self, flag: &str, value: Option<impl Into<OsString>>) -> Words {
        match value {
            Some(value) => self.add([flag.into(), value.into()]),
            None => self,
        }
    }

    /// What stands without a flag, which nobody shall take for one.
    fn operand(self, what: &str, value: impl AsRef<OsStr>) -> Result<Words, String> {
        let value = value.as_ref();
        let program = self.0[0].to_string_lossy();
        if value.is_empty() {
            return Err(format!("{program}: the name of {what} is empty"));
        }
        if value.as_bytes()[0] == b'-' {
            return Err(format!("{program} would take {value:?} for an option, not for {what}"));
        }
        Ok(self.add([value]))
    }

    fn tool(self) -> Tool {
        Tool::running(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Method;
    use super::*;

    /// The words of a method's only way in front of `python3`, joined by blanks.
    pub(super) fn words(method: impl Method) -> String {
        let plan = method.plan();
        assert_eq!(plan.ways(), 1);
        let argv = plan.argv(0, &["python3".into()]).unwrap();
        let words: Vec<_> = argv.into_iter().map(|word| word.into_string().unwrap()).collect();
        words.join(" ")
    }

    #[test]
    fn what_would_be_an_option_is_refused() {
        let error = |method: &dyn Method| method.plan().argv(0, &["python3".into()]).unwrap_err();
        let text = "docker would take \"--privileged\" for an option, not for a container";
        assert_eq!(error(&Docker::new("--privileged")), text);
        assert_eq!(error(&Docker::image("")), "docker: the name of an image is empty");
        let all: [&dyn Method; 9] = [
            &Podman::new("-x"),
            &Buildah::new("-x"),
            &Kubectl::new("-x"),
            &Lxc::new("-x"),
            &Lxd::new("-x"),
            &Incus::new("-x"),
            &Jail::new("-x"),
            &Chroot::new("-x"),
            &Bwrap::new("-x"),
        ];
        for method in all {
            assert!(error(method).contains("would take \"-x\" for an option"));
        }
    }
}
