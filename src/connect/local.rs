//! A child of this machine.

use std::ffi::OsString;
use std::path::PathBuf;

use super::options::{Options, common_options};
use super::runuser::RUNUSER;
use super::{Method, Plan, Tool, check_user};

/// A context on the machine of its parent (the program, or a context): a child process of that, in a session of its
/// own, with the environment and the working directory that the parent has then.
///
/// Its argv is `[nice -n N] [/sbin/runuser -u USER --] COMMAND..`.
#[derive(Clone, Default)]
pub struct Local {
    user: Option<OsString>,
    nice: Option<i32>,
    env: Vec<(OsString, OsString)>,
    current_dir: Option<PathBuf>,
    options: Options,
}

common_options!(Local);

impl Local {
    /// A local context with the first good interpreter, named `local.<process id>`.
    pub fn new() -> Local {
        Local::default()
    }

    /// Whose process it is to be, through `runuser`: for a program that runs as root. (`HOME` and the rest
    /// of the environment stay as they are; [`Sudo`](crate::Sudo) has an environment of its own.) Default: the
    /// program's own user.
    pub fn user(mut self, name: impl Into<OsString>) -> Self {
        self.user = Some(name.into());
        self
    }

    /// How nice it is to others, through `nice -n`: from 19, the nicest, to -20, which root alone may set.
    /// Counts from the program's own.
    pub fn nice(mut self, increment: i32) -> Self {
        self.nice = Some(increment);
        self
    }

    /// Sets an environment variable of the child, beside what it inherits.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let (name, value) = (name.into(), value.into());
        self.env.retain(|(other, _)| *other != name);
        self.env.push((name, value));
        self
    }

    /// The working directory of the child. Default: the parent's.
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    fn tool(&self) -> Tool {
        let mut prefix: Vec<OsString> = Vec::new();
        if let Some(increment) = self.nice {
            prefix.extend(["nice".into(), "-n".into(), increment.to_string().into()]);
        }
        if let Some(user) = &self.user {
            prefix.extend([RUNUSER.into(), "-u".into(), user.clone(), "--".into()]);
        }
        Tool::running(prefix)
    }
}

/// Shows the names of the environment variables, not their values, which may be secrets.
impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").field("plan", &self.plan()).finish()
    }
}

impl Method for Local {
    fn plan(&self) -> Plan {
        let tool = self.user.as_deref().map_or(Ok(()), check_user).map(|()| self.tool());
        Plan {
            name_has_pid: self.options.name.is_none(),
            env: self.env.clone(),
            current_dir: self.current_dir.clone(),
            ..self.options.plan(|| "local".into(), tool)
        }
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

    #[test]
    fn what_is_in_front_of_the_command() {
        let argv = |local: Local| local.plan().argv(0, &["python3".into()]).unwrap();
        assert_eq!(argv(Local::new()), ["python3"]);
        let both = argv(Local::new().nice(5).user("deploy"));
        assert_eq!(both, ["nice", "-n", "5", RUNUSER, "-u", "deploy", "--", "python3"]);
    }
}
