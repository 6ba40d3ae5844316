//! A child that any other tool runs.

use std::ffi::OsString;
use std::path::Path;

use super::options::{Options, common_options};
use super::{Asks, Method, Plan, Tool, Way};

/// A context that a tool of your own choice runs: some words, and the command behind them.
///
/// ```no_run
/// # fn main() -> econtext::Result<()> {
/// # let router = econtext::Router::new()?;
/// use econtext::Exec;
/// let quiet = router.connect(Exec::new(["ionice", "-c", "idle"]))?;
/// # Ok(())
/// # }
/// ```
///
/// The tool's standard input and output have to be the command's own, byte for byte: no terminal, and no
/// words of the tool on stdout after the command has started. Where there is a
/// [prompt handler](crate::RouterBuilder::on_prompt), the tool has a controlling terminal, `/dev/tty`, on which
/// it may ask.
///
/// Its argv is `PREFIX.. COMMAND..`, with [`shell`](Exec::shell) `PREFIX.. 'COMMAND..'`.
#[derive(Clone, Debug)]
pub struct Exec {
    prefix: Vec<OsString>,
    shell: bool,
    options: Options,
}

common_options!(Exec);

impl Exec {
    /// A context that these words run, of which the first is the program. Its name is `exec.<program>`.
    pub fn new<I>(prefix: I) -> Exec
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let prefix = prefix.into_iter().map(Into::into).collect();
        Exec { prefix, shell: false, options: Options::default() }
    }

    /// Whether the tool takes the command as one word, which a shell will run: `["ssh", "web1"]`,
    /// `["su", "deploy", "-c"]`. The word is quoted so that sh and its kin, csh, tcsh and fish all
    /// understand it. Default: no, each word of the command is one of the tool's.
    pub fn shell(mut self, yes: bool) -> Self {
        self.shell = yes;
        self
    }

    fn tool(&self) -> Result<Tool, String> {
        if self.prefix.is_empty() {
            return Err("Exec::new(..) got no words: without a tool, use Local".into());
        }
        if self.prefix[0].is_empty() {
            return Err("Exec::new(..) got an empty word for the program".into());
        }
        let way = Way::new(&self.prefix);
        let way = if self.shell { way.shell() } else { way };
        let asking = way.clone().asking(Asks::Terminal).if_answered();
        Ok(Tool::with_ways([asking, way.if_unanswered()]))
    }
}

impl Method for Exec {
    fn plan(&self) -> Plan {
        let program = self.prefix.first().map(Path::new).and_then(Path::file_name);
        let name = || format!("exec.{}", program.unwrap_or_default().to_string_lossy());
        self.options.plan(name, self.tool())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_follows_as_words_or_as_one() {
        let command: Vec<OsString> = vec!["python3".into(), "a b".into()];
        let argv = |exec: Exec| exec.plan().argv(0, &command).unwrap();
        let exec = Exec::new(["/usr/bin/nice", "-n", "5"]);
        assert_eq!(exec.plan().name, "exec.nice");
        assert_eq!(argv(exec), ["/usr/bin/nice", "-n", "5", "python3", "a b"]);
        let exec = Exec::new(["sh", "-c"]).shell(true);
        assert_eq!(argv(exec), ["sh", "-c", "exec python3 'a b'"]);
    }

    #[test]
    fn empty_names_are_refused() {
        use crate::{Doas, Local, Runuser, Setpriv, Su, Sudo};
        let user = "\"\" cannot be a user's name";
        let cases: [(&dyn Method, &str); 10] = [
            (&Exec::new(["", "x"]), "Exec::new(..) got an empty word for the program"),
            (&Local::new().python(""), "python(..) got an empty name"),
            (&Local::new().python_argv([""]), "python_argv(..) got an empty word for the program"),
            (&Local::new().user(""), user),
            (&Sudo::new().user(""), user),
            (&Su::new().user(""), user),
            (&Doas::new().user(""), user),
            (&Runuser::new(""), user),
            (&Setpriv::new("", "www"), user),
            (&Local::new().env("A", "secret\0"), "the value of \"A\" has a NUL byte in it"),
        ];
        for (method, expected) in cases {
            assert_eq!(method.plan().argv(0, &["x".into()]).unwrap_err(), expected);
        }
    }

    #[test]
    fn no_words_are_no_tool() {
        let error = Exec::new([""; 0]).plan().argv(0, &["x".into()]).unwrap_err();
        assert_eq!(error, "Exec::new(..) got no words: without a tool, use Local");
    }
}
