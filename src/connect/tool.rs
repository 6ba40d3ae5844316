//! What runs a child's command: a program in front of it, in one of several ways.
//!
//! Invariant: a tool is data. Which of its ways are open depends on nothing but whether anybody could answer
//! a question; they are tried in their order, the next where one ended before Python ran.
//! Not here: the words of each tool (a file for each), and when the next way is taken (`start`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::command_line;
use super::target::Target;

/// The ways to run a tool, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    ways: Vec<Way>,
    kind: Kind,
    hint: Option<&'static str>,
}

/// Whose words are printed when it fails.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Those of a program of which nothing is known.
    Any,
    /// Those of ssh.
    Ssh(SshTarget),
}

/// How it is found out whom ssh takes the host for.
#[derive(Clone, Debug)]
pub(crate) struct SshTarget {
    /// `ssh -G`, which connects to nobody.
    pub(crate) argv: Vec<OsString>,
    /// What the program says itself.
    pub(crate) given: Target,
}

/// One way to run a tool.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    prefix: Vec<OsString>,
    asks: Asks,
    takes: Takes,
    when: When,
}

/// Where a tool asks its questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// It asks none.
    Nowhere,
    /// On its controlling terminal, beside the stream.
    Terminal,
    /// On stderr (busybox: on stdout), and it reads the answers from the stream: nothing else is sent before
    /// Python runs.
    Stdio,
}

/// How a tool takes the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Words,
    /// As one word, for a login shell that nobody knows.
    Line,
    /// As words that `sudo -i` quotes for the login shell, all but `$`.
    SudosLine,
}

/// When a way is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// There is an answer, or somebody to be asked.
    CanAsk,
    CannotAsk,
}

impl Tool {
    /// A tool that runs the words which follow these, and asks nothing. Without any, the command is a program
    /// of this machine.
    pub(crate) fn running<W: Into<OsString>>(prefix: impl IntoIterator<Item = W>) -> Tool {
        Tool::with_ways([Way::new(prefix)])
    }

    /// A tool with these ways, of which one at least is open to everybody.
    pub(crate) fn with_ways(ways: impl IntoIterator<Item = Way>) -> Tool {
        Tool { ways: ways.into_iter().collect(), kind: Kind::Any, hint: None }
    }

    pub(crate) fn kind(self, kind: Kind) -> Tool {
        Tool { kind, ..self }
    }

    /// What it needs, for the error of a start where it does not say so itself.
    pub(crate) fn with_hint(self, hint: &'static str) -> Tool {
        Tool { hint: Some(hint), ..self }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    /// The way of this number, from 0, among those that are open.
    pub(crate) fn way(&self, number: usize, can_ask: bool) -> Option<&Way> {
        self.ways.iter().filter(|way| way.is_open(can_ask)).nth(number)
    }

    pub(crate) fn ways(&self, can_ask: bool) -> usize {
        self.ways.iter().filter(|way| way.is_open(can_ask)).count()
    }

    /// A login shell runs the command, and with it scripts which may read what is meant for Python.
    pub(crate) fn has_shell(&self) -> bool {
        self.ways.iter().any(|way| way.takes != Takes::Words)
    }

    /// The program, for errors; nothing where the command itself is the program.
    pub(crate) fn program(&self) -> Option<String> {
        let program = Path::new(self.ways.first()?.prefix.first()?).file_name();
        Some(program.unwrap_or_default().to_string_lossy().into_owned())
    }

    pub(crate) fn ssh(&self) -> Option<&SshTarget> {
        match &self.kind {
            Kind::Ssh(target) => Some(target),
            Kind::Any => None,
        }
    }
}

impl Way {
    /// These words and then those of the command; asks nothing; is always open.
    pub(crate) fn new<W: Into<OsString>>(prefix: impl IntoIterator<Item = W>) -> Way {
        let prefix = prefix.into_iter().map(Into::into).collect();
        Way { prefix, asks: Asks::Nowhere, takes: Takes::Words, when: When::Always }
    }

    /// It takes the command as one word, which a login shell runs.
    pub(crate) fn shell(self) -> Way {
        Way { takes: Takes::Line, ..self }
    }

    /// It is `sudo -i`.
    pub(crate) fn through_sudos_shell(self) -> Way {
        Way { takes: Takes::SudosLine, ..self }
    }

    pub(crate) fn asking(self, asks: Asks) -> Way {
        Way { asks, ..self }
    }

    /// Open only where somebody can answer.
    pub(crate) fn if_answered(self) -> Way {
        Way { when: When::CanAsk, ..self }
    }

    /// Open only where nobody can.
    pub(crate) fn if_unanswered(self) -> Way {
        Way { when: When::CannotAsk, ..self }
    }

    fn is_open(&self, can_ask: bool) -> bool {
        match self.when {
            When::Always => true,
            When::CanAsk => can_ask,
            When::CannotAsk => !can_ask,
        }
    }

    pub(crate) fn asks(&self) -> Asks {
        self.asks
    }

    /// The words that run `command`.
    pub(crate) fn argv(&self, command: &[OsString]) -> Result<Vec<OsString>, String> {
        let mut argv = self.prefix.clone();
        match self.takes {
            Takes::Words => argv.extend_from_slice(command),
            Takes::Line => argv.push(command_line(command)?),
            Takes::SudosLine => argv.extend(without_dollars(&command_line(command)?)),
        }
        Ok(argv)
    }
}

/// A command that runs this command line, without a `$` in it: printf(1) makes the line.
fn without_dollars(line: &OsStr) -> [OsString; 3] {
    let mut eval = b"eval \"`printf %b '".to_vec();
    for &byte in line.as_bytes() {
        match byte {
            b'$' | b'\'' | b'\\' => eval.extend(format!("\\0{byte:03o}").bytes()),
            _ => eval.push(byte),
        }
    }
    eval.extend(b"'`\"");
    ["/bin/sh".into(), "-c".into(), OsString::from_vec(eval)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ways_are_those_that_are_open_in_their_order() {
        let tool = Tool::with_ways([
            Way::new(["a", "-n"]),
            Way::new(["a", "-t"]).asking(Asks::Terminal).if_answered(),
            Way::new(["a", "-q"]).shell().if_unanswered(),
        ]);
        let command: Vec<OsString> = vec!["x y".into(), "z".into()];
        let argv = |number, can_ask| tool.way(number, can_ask).unwrap().argv(&command).unwrap();
        assert_eq!((tool.ways(true), tool.ways(false)), (2, 2));
        assert_eq!(argv(0, true), ["a", "-n", "x y", "z"]);
        assert_eq!(argv(0, false), argv(0, true));
        assert_eq!(argv(1, true), ["a", "-t", "x y", "z"]);
        assert_eq!(argv(1, false), ["a", "-q", "exec 'x y' z"]);
        assert!(tool.way(2, true).is_none());
        assert_eq!(tool.way(1, true).unwrap().asks(), Asks::Terminal);
    }
}
