//! A child of another user, through runuser.

use std::ffi::OsString;

use super::options::{Options, common_options, tool_options};
use super::{Method, Plan, Tool, check_user};

/// A context that runuser runs: of another user, where the parent is root's. With the user's groups and a session
/// of PAM's, and the environment as it is. Linux only; nothing is asked.
///
/// Its argv is `/sbin/runuser -u USER ARGS.. -- COMMAND..`.
#[derive(Clone, Debug)]
pub struct Runuser {
    user: OsString,
    options: Options,
}

common_options!(Runuser);
tool_options!(Runuser, "/sbin/runuser", runuser_path);

/// Where it is, or a link to it, on every Linux that has it; not in every `PATH`.
pub(super) const RUNUSER: &str = "/sbin/runuser";

impl Runuser {
    /// A context of this user's, named `runuser.<user>`.
    pub fn new(user: impl Into<OsString>) -> Runuser {
        Runuser { user: user.into(), options: Options::default() }
    }
}

impl Method for Runuser {
    fn plan(&self) -> Plan {
        let mut words = vec![self.options.program(RUNUSER), "-u".into(), self.user.clone()];
        words.extend(self.options.args.iter().cloned().chain(["--".into()]));
        let name = || format!("runuser.{}", self.user.to_string_lossy());
        self.options.plan(name, check_user(&self.user).map(|()| Tool::running(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_an_options_value() {
        let plan = Runuser::new("deploy").args(["-g", "www"]).runuser_path("/r").plan();
        let expected = ["/r", "-u", "deploy", "-g", "www", "--", "python3"];
        assert_eq!(plan.argv(0, &["python3".into()]).unwrap(), expected);
        assert_eq!(plan.name, "runuser.deploy");
    }
}
