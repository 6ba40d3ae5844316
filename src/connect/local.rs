//! A child of this machine.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Answers, Method, Plan, Tool};
use crate::bootstrap::Interpreter;

/// A context on this machine: a child process of the program, in a session of its own, with the
/// program's environment.
#[derive(Clone, Debug)]
pub struct Local {
    plan: Plan,
}

impl Default for Local {
    fn default() -> Self {
        Local::new()
    }
}

impl Local {
    /// A local context with the first good interpreter of `python3`, `python`,
    /// `/usr/libexec/platform-python`, `python2.7` and `python2`, named `local.<process id>`.
    pub fn new() -> Local {
        Local {
            plan: Plan {
                name: "local".into(),
                name_has_pid: true,
                python: Interpreter::default(),
                tool: Tool::None,
                env: Vec::new(),
                current_dir: None,
                connect_timeout: None,
                keepalive: None,
                answers: Answers::default(),
            },
        }
    }

    /// The interpreter, a path or a name to be found in `PATH`: nothing is searched for, which saves one
    /// start of an interpreter.
    pub fn python(mut self, path: impl Into<OsString>) -> Self {
        self.plan.python = Interpreter::Fixed(path.into());
        self
    }

    /// The interpreters to be tried, in this order: the first that runs and is Python 2.7 or 3.6 or later
    /// is taken.
    pub fn python_candidates<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.plan.python = Interpreter::Search(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets an environment variable of the child, beside what it inherits.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.plan.env.retain(|(other, _)| *other != name);
        self.plan.env.push((name, value));
        self
    }

    /// The working directory of the child. Default: the program's.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.plan.current_dir = Some(dir.into());
        self
    }

    /// The name of the context, in errors and in the log.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        (self.plan.name, self.plan.name_has_pid) = (name.into(), false);
        self
    }
}

impl Method for Local {
    fn plan(&self) -> Plan {
        self.plan.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_values_of_the_environment() {
        let shown = format!("{:?}", Local::new().env("TOKEN", "hunter2"));
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }
}
