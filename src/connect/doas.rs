//! A child of another user, through doas.

use std::ffi::OsString;

use super::options::{Options, common_options, tool_options};
use super::prompt::PasswordQuestion;
use super::refusal::DOAS_TAKES;
use super::{Answers, Asks, Method, Plan, Tool, Way, check_user};
use crate::secret::Secret;

/// A context that doas runs: of another user, of the same machine as its parent's. For doas of OpenBSD, and
/// opendoas.
///
/// doas is run with `-n` first, where it asks nothing; where it wants a password, it is run again with a terminal
/// of its own, beside the stream.
///
/// Its argv is `doas -u USER ARGS.. -n -- COMMAND..`, then the same without `-n`.
#[derive(Clone, Debug)]
pub struct Doas {
    user: OsString,
    password: Option<Secret>,
    options: Options,
}

common_options!(Doas);
tool_options!(Doas, "doas", doas_path);

impl Default for Doas {
    fn default() -> Self {
        Doas::new()
    }
}

impl Doas {
    /// A context of root's, named `doas.root`; with [`user`](Doas::user), `doas.<user>`.
    pub fn new() -> Doas {
        Doas { user: "root".into(), password: None, options: Options::default() }
    }

    /// Whose context it is to be: `-u`. Default: `root`.
    pub fn user(mut self, user: impl Into<OsString>) -> Self {
        self.user = user.into();
        self
    }

    /// The password of the user who runs doas. It is written to doas' own terminal, once, whatever the words of
    /// the question, and its memory is overwritten when the last copy of this method and of the start is
    /// dropped. Without one, [`on_prompt`](crate::RouterBuilder::on_prompt) is asked.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::from(password.into()));
        self
    }

    fn tool(&self) -> Tool {
        let mut words = vec![self.options.program("doas"), "-u".into(), self.user.clone()];
        words.extend(self.options.args.iter().cloned());
        let way =
            |last: &[&str]| Way::new(words.iter().cloned().chain(last.iter().map(OsString::from)));
        Tool::with_ways([way(&["-n", "--"]), way(&["--"]).asking(Asks::Terminal).if_answered()])
    }
}

impl Method for Doas {
    fn plan(&self) -> Plan {
        let name = || format!("doas.{}", self.user.to_string_lossy());
        let answers = Answers::for_tool(self.password.clone(), PasswordQuestion::Any, DOAS_TAKES);
        Plan { answers, ..self.options.plan(name, check_user(&self.user).map(|()| self.tool())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doas_asks_nothing_first_and_then_on_a_terminal_if_there_is_an_answer() {
        let argv = |doas: &Doas, way| doas.plan().argv(way, &["python3".into()]).unwrap();
        let doas = Doas::new().user("deploy").args(["-C", "/c"]).doas_path("/d");
        assert_eq!(argv(&doas, 0), ["/d", "-u", "deploy", "-C", "/c", "-n", "--", "python3"]);
        assert_eq!(doas.plan().ways(), 1);
        let doas = Doas::new().password("x");
        assert_eq!(doas.plan().ways(), 2);
        assert_eq!(argv(&doas, 1), ["doas", "-u", "root", "--", "python3"]);
        assert_eq!(doas.plan().asks(1), Asks::Terminal);
    }
}
