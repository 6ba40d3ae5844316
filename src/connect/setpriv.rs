//! A child of another user, through setpriv.

use std::ffi::OsString;

use super::options::{Options, common_options, tool_options};
use super::{Method, Plan, Tool, check_user};

/// A context that setpriv runs: of another user, where the parent is root's, without PAM, and with whatever else
/// setpriv can take away. The environment stays as it is. Linux only; nothing is asked.
///
/// Its argv is `setpriv --reuid=USER --regid=GROUP --init-groups ARGS.. -- COMMAND..`.
#[derive(Clone, Debug)]
pub struct Setpriv {
    user: OsString,
    group: OsString,
    options: Options,
}

common_options!(Setpriv);
tool_options!(Setpriv, "setpriv", setpriv_path);

impl Setpriv {
    /// A context of this user's with this primary group, names or numbers: setpriv looks up the user's other
    /// groups, but not this one. Named `setpriv.<user>`.
    pub fn new(user: impl Into<OsString>, group: impl Into<OsString>) -> Setpriv {
        Setpriv { user: user.into(), group: group.into(), options: Options::default() }
    }
}

impl Method for Setpriv {
    fn plan(&self) -> Plan {
        let option = |name: &str, value: &OsString| {
            let mut option = OsString::from(name);
            option.push(value);
            option
        };
        let mut words = vec![self.options.program("setpriv")];
        words.extend([option("--reuid=", &self.user), option("--regid=", &self.group)]);
        words.push("--init-groups".into());
        words.extend(self.options.args.iter().cloned().chain(["--".into()]));
        let name = || format!("setpriv.{}", self.user.to_string_lossy());
        self.options.plan(name, check_user(&self.user).map(|()| Tool::running(words)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_group_are_in_one_word_with_their_options() {
        let plan = Setpriv::new("deploy", "www").args(["--no-new-privs"]).setpriv_path("/s").plan();
        let argv = plan.argv(0, &["python3".into()]).unwrap();
        let expected =
            "/s --reuid=deploy --regid=www --init-groups --no-new-privs -- python3".split(' ');
        assert_eq!(argv, expected.collect::<Vec<_>>());
        assert_eq!(plan.name, "setpriv.deploy");
    }
}
