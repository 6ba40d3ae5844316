//! The options that every method has, and the plan that they begin.

use std::ffi::OsString;
use std::time::Duration;

use super::{Answers, Plan, Tool};
use crate::bootstrap::Interpreter;

/// What [`common_options`] and [`tool_options`] set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) python: Interpreter,
    pub(crate) connect_timeout: Option<Duration>,
    /// The tool, where it is not the one that is found by its usual name.
    pub(crate) program: Option<OsString>,
    /// What the tool is to have beside the method's own words.
    pub(crate) args: Vec<OsString>,
}

impl Options {
    /// The tool, which is usually called this.
    pub(crate) fn program(&self, usual: &str) -> OsString {
        self.program.clone().unwrap_or_else(|| usual.into())
    }

    /// A plan that runs `tool`; `name` is that of the context where none was set.
    pub(crate) fn plan(&self, name: impl FnOnce() -> String, tool: Result<Tool, String>) -> Plan {
        let usual = name();
        Plan {
            method: usual.split('.').next().unwrap_or_default().into(),
            name: self.name.clone().unwrap_or(usual),
            name_has_pid: false,
            is_copy: false,
            python: self.python.clone(),
            tool,
            env: Vec::new(),
            current_dir: None,
            connect_timeout: self.connect_timeout,
            keepalive: None,
            answers: Answers::default(),
        }
    }
}

/// Gives a method with a field `options` their setters.
macro_rules! common_options {
    ($method:ty) => {
        impl $method {
            /// The interpreter there, a path or a name to be found in `PATH` (over ssh and in a login
            /// shell `~/` is the home directory there): nothing is searched for, which saves one start
            /// of an interpreter.
            pub fn python(mut self, path: impl Into<std::ffi::OsString>) -> Self {
                self.options.python = crate::bootstrap::Interpreter::Fixed(path.into());
                self
            }

            /// The interpreters to be tried, in this order: the first that runs and is Python 2.7 or 3.6
            /// or later is taken. Default: `python3`, `python`, `/usr/libexec/platform-python`,
            /// `python2.7` and `python2`.
            pub fn python_candidates<I>(mut self, names: I) -> Self
            where
                I: IntoIterator,
                I::Item: Into<std::ffi::OsString>,
            {
                let names = names.into_iter().map(Into::into).collect();
                self.options.python = crate::bootstrap::Interpreter::Search(names);
                self
            }

            /// The words that run the interpreter, where a program in front of it has to prepare
            /// something: `["scl", "enable", "rh-python38", "--", "python"]`,
            /// `["env", "LC_ALL=C.UTF-8", "python3"]`. Python's own arguments follow.
            pub fn python_argv<I>(mut self, words: I) -> Self
            where
                I: IntoIterator,
                I::Item: Into<std::ffi::OsString>,
            {
                let words = words.into_iter().map(Into::into).collect();
                self.options.python = crate::bootstrap::Interpreter::Argv(words);
                self
            }

            /// The name of the context, in errors and in the log.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.options.name = Some(name.into());
                self
            }

            /// How long the start may take, up to the child's first frame and over all attempts; the clock
            /// stands still while [`on_prompt`](crate::RouterBuilder::on_prompt) is asked. Default: what
            /// [`RouterBuilder::connect_timeout`](crate::RouterBuilder::connect_timeout) says, 30 s.
            pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.options.connect_timeout = Some(timeout);
                self
            }
        }
    };
}
pub(crate) use common_options;

/// Gives a method that has [`common_options`] and runs a tool the setters of the tool's path and arguments.
macro_rules! tool_options {
    ($method:ty, $program:literal, $path:ident) => {
        impl $method {
            /// More arguments for the tool, `ARGS..` in the argv above.
            pub fn args<I>(mut self, args: I) -> Self
            where
                I: IntoIterator,
                I::Item: Into<std::ffi::OsString>,
            {
                self.options.args.extend(args.into_iter().map(Into::into));
                self
            }

            #[doc = concat!(
                "The program, a path or a name to be found in `PATH`. Default: `", $program, "`."
            )]
            pub fn $path(mut self, program: impl Into<std::ffi::OsString>) -> Self {
                self.options.program = Some(program.into());
                self
            }
        }
    };
}
pub(crate) use tool_options;
