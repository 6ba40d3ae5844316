//! A child of another user, through su.

use std::ffi::OsString;

use super::options::{Options, common_options, tool_options};
use super::prompt::PasswordQuestion;
use super::refusal::SU_TAKES;
use super::{Answers, Asks, Method, Plan, Tool, Way, check_user};
use crate::secret::Secret;

/// A context that su runs: of another user, of the same machine as its parent's. For su of Linux, which asks for
/// the password on stderr and reads it from its standard input; so nothing else is sent before Python runs,
/// which costs a round trip. Root is not asked.
///
/// Its argv is `su [-l] [-s SHELL] ARGS.. USER -c 'COMMAND..'`.
#[derive(Clone, Debug)]
pub struct Su {
    user: OsString,
    password: Option<Secret>,
    login: bool,
    shell: Option<OsString>,
    options: Options,
}

common_options!(Su);
tool_options!(Su, "su", su_path);

impl Default for Su {
    fn default() -> Self {
        Su::new()
    }
}

impl Su {
    /// A context of root's, named `su.root`; with [`user`](Su::user), `su.<user>`.
    pub fn new() -> Su {
        Su {
            user: "root".into(),
            password: None,
            login: false,
            shell: None,
            options: Options::default(),
        }
    }

    /// Whose context it is to be. Default: `root`.
    pub fn user(mut self, user: impl Into<OsString>) -> Self {
        self.user = user.into();
        self
    }

    /// The password of that user. It is written to su's standard input when su asks, once, whatever the words of
    /// the question, and its memory is overwritten when the last copy of this method and of the start is
    /// dropped. Without one, [`on_prompt`](crate::RouterBuilder::on_prompt) is asked.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::from(password.into()));
        self
    }

    /// Whether the shell is a login shell, with the user's environment and in the home directory: `-l`.
    /// Default: no.
    pub fn login(mut self, yes: bool) -> Self {
        self.login = yes;
        self
    }

    /// The shell that runs the command: `-s`. Default: the user's own.
    pub fn shell(mut self, path: impl Into<OsString>) -> Self {
        self.shell = Some(path.into());
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        check_user(&self.user)?;
        let mut words = vec![self.options.program("su")];
        words.extend(self.login.then(|| "-l".into()));
        words.extend(self.shell.iter().flat_map(|shell| ["-s".into(), shell.clone()]));
        words.extend(self.options.args.iter().cloned());
        words.extend([self.user.clone(), "-c".into()]);
        Ok(Tool::with_ways([Way::new(words).shell().asking(Asks::Stdio)]))
    }
}

impl Method for Su {
    fn plan(&self) -> Plan {
        let name = || format!("su.{}", self.user.to_string_lossy());
        let answers = Answers::for_tool(self.password.clone(), PasswordQuestion::Any, SU_TAKES);
        Plan { answers, ..self.options.plan(name, self.tool()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_one_word_for_the_users_shell() {
        let argv = |su: Su| su.plan().argv(0, &["python3".into(), "a b".into()]).unwrap();
        assert_eq!(argv(Su::new()), ["su", "root", "-c", "exec python3 'a b'"]);
        let su = Su::new().user("deploy").login(true).shell("/bin/sh").su_path("/bin/su");
        let words = argv(su.args(["-P"]));
        assert_eq!(words[..7], ["/bin/su", "-l", "-s", "/bin/sh", "-P", "deploy", "-c"]);
        assert_eq!(Su::new().plan().asks(0), Asks::Stdio);
    }

    #[test]
    fn a_user_that_would_be_an_option_is_refused() {
        for user in ["", "-c"] {
            assert!(Su::new().user(user).plan().argv(0, &[]).is_err(), "{user}");
        }
    }
}
