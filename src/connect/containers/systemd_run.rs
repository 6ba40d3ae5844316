//! A child that systemd starts, here or in one of its containers.

use std::ffi::OsString;

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context that systemd runs as a service of its own, with limits and other properties, by systemd-run(1); with
/// [`machine`](SystemdRun::machine) in a container that machinectl(1) lists. (`machinectl shell` itself always
/// makes a terminal, which would change the stream.)
///
/// Its argv is `systemd-run --quiet --collect --wait --pipe [--user] [--machine NAME] [--uid USER] [--gid GROUP]
/// [--working-directory DIR] [--property NAME=VALUE].. ARGS.. -- COMMAND..`, where `--scope` stands for `--wait
/// --pipe` if it is to be a scope. That takes systemd 236 or later.
///
/// The environment is the service manager's, not the parent's. When the context ends, systemd ends what its
/// functions have left running, unless there is a property that says otherwise: `KillMode=process`. Of a user, group
/// or directory that is not there systemd-run says nothing: what its exit status means is in systemd.exec(5) (217: no
/// such user).
#[derive(Clone, Debug)]
pub struct SystemdRun {
    scope: bool,
    of_user: bool,
    machine: Option<String>,
    uid: Option<OsString>,
    gid: Option<OsString>,
    current_dir: Option<OsString>,
    properties: Vec<OsString>,
    options: Options,
}

common_options!(SystemdRun);
tool_options!(SystemdRun, "systemd-run", systemd_run_path);

impl Default for SystemdRun {
    fn default() -> Self {
        SystemdRun::new()
    }
}

impl SystemdRun {
    /// A context that this machine's service manager runs. Its name is `systemd-run.<process id>`, or
    /// `machine.<machine>`.
    pub fn new() -> SystemdRun {
        SystemdRun {
            scope: false,
            of_user: false,
            machine: None,
            uid: None,
            gid: None,
            current_dir: None,
            properties: Vec::new(),
            options: Options::default(),
        }
    }

    /// Whether it is to be a scope: a child of the program, with the parent's environment, which systemd
    /// only watches. Default: no, a service.
    pub fn scope(mut self, yes: bool) -> Self {
        self.scope = yes;
        self
    }

    /// Whether the user's service manager is to run it, not the system's: `--user`. Default: no.
    pub fn user_manager(mut self, yes: bool) -> Self {
        self.of_user = yes;
        self
    }

    /// The container whose service manager is to run it, with `USER@` in front if need be: `--machine`. systemd
    /// has to run there, too.
    pub fn machine(mut self, name: impl Into<String>) -> Self {
        self.machine = Some(name.into());
        self
    }

    /// Whose process it is to be, a name or a number: `--uid`. Default: the service manager's user.
    pub fn user(mut self, user: impl Into<OsString>) -> Self {
        self.uid = Some(user.into());
        self
    }

    /// The group, a name or a number: `--gid`. Default: the user's own.
    pub fn group(mut self, group: impl Into<OsString>) -> Self {
        self.gid = Some(group.into());
        self
    }

    /// The working directory: `--working-directory`. Default: the root, or the home directory for the user's own
    /// service manager; for a scope the program's.
    pub fn current_dir(mut self, dir: impl Into<OsString>) -> Self {
        self.current_dir = Some(dir.into());
        self
    }

    /// Adds a property, one of systemd.exec(5), systemd.resource-control(5) and so on: `MemoryMax=1G`.
    pub fn property(mut self, assignment: impl Into<OsString>) -> Self {
        self.properties.push(assignment.into());
        self
    }

    fn tool(&self) -> Tool {
        let kind: &[&str] = if self.scope { &["--scope"] } else { &["--wait", "--pipe"] };
        let words = Words::of("systemd-run", &self.options)
            .add(["--quiet", "--collect"])
            .add(kind)
            .add(self.of_user.then_some("--user"))
            .option("--machine", self.machine.as_ref())
            .option("--uid", self.uid.as_ref())
            .option("--gid", self.gid.as_ref())
            .option("--working-directory", self.current_dir.as_ref());
        let property = |words: super::Words, it| words.option("--property", Some(it));
        let words = self.properties.iter().fold(words, property);
        words.add(&self.options.args).add(["--"]).tool()
    }
}

impl Method for SystemdRun {
    fn plan(&self) -> Plan {
        let name = || match &self.machine {
            Some(machine) => format!("machine.{machine}"),
            None => "systemd-run".into(),
        };
        let name_has_pid = self.options.name.is_none() && self.machine.is_none();
        Plan { name_has_pid, ..self.options.plan(name, Ok(self.tool())) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        let start = "systemd-run --quiet --collect";
        assert_eq!(SystemdRun::new().plan().full_name(7), "systemd-run.7");
        assert_eq!(words(SystemdRun::new()), format!("{start} --wait --pipe -- python3"));
        let machine = SystemdRun::new().machine("web").user("app").group("www").current_dir("/srv");
        assert_eq!(machine.plan().full_name(7), "machine.web");
        assert_eq!(
            words(machine),
            format!(
                "{start} --wait --pipe --machine web --uid app --gid www --working-directory /srv -- \
                 python3"
            )
        );
        let scope = SystemdRun::new().scope(true).user_manager(true).property("MemoryMax=1G");
        assert_eq!(
            words(scope.property("CPUWeight=10").args(["--slice", "x"])),
            format!(
                "{start} --scope --user --property MemoryMax=1G --property CPUWeight=10 --slice x -- \
                 python3"
            )
        );
    }
}
