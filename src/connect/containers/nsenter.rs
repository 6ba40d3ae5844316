//! A child in the namespaces of another process.

use super::super::options::{Options, common_options, tool_options};
use super::super::{Method, Plan, Tool};
use super::Words;

/// A context in the namespaces of a process of this machine, by nsenter(1): in a container of any kind, and by
/// the side of one that has no Python of its own. Only root may enter most of them.
///
/// Its argv is `nsenter --target PID --all [--setuid UID] [--setgid GID] ARGS.. -- COMMAND..`, or, in place of
/// `--all`, an option for each namespace: `--net`, say. The environment is the parent's, `HOME` too, as with
/// nsenter itself. Where the mount namespace is entered, the working directory is its root.
#[derive(Clone, Debug)]
pub struct Nsenter {
    pid: u32,
    only: Vec<Namespace>,
    uid: Option<u32>,
    gid: Option<u32>,
    options: Options,
}

/// What a process may have of its own: see namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Namespace {
    /// The cgroup that it sees as the root.
    Cgroup,
    /// System V's and POSIX's message queues, semaphores and shared memory.
    Ipc,
    /// The file systems and where they are.
    Mount,
    /// Interfaces, addresses, routes, ports.
    Net,
    /// The process ids.
    Pid,
    /// The ids of users and groups, and capabilities.
    User,
    /// The host's name.
    Uts,
}

common_options!(Nsenter);
tool_options!(Nsenter, "nsenter", nsenter_path);

impl Nsenter {
    /// A context in all namespaces of the process with this id. The name of the context is `nsenter.<pid>`.
    pub fn new(pid: u32) -> Nsenter {
        Nsenter { pid, only: Vec::new(), uid: None, gid: None, options: Options::default() }
    }

    /// Enters these namespaces, and no other. (nsenter knows the right order.)
    pub fn only(mut self, namespaces: impl IntoIterator<Item = Namespace>) -> Self {
        self.only = namespaces.into_iter().collect();
        self
    }

    /// The number, there, of the user whose process it is to be: `--setuid`. Default: the parent's own user, or
    /// 0 in a user namespace that is entered.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// The number, there, of the group: `--setgid`. Default: the parent's own, or 0 in a user namespace that is
    /// entered.
    pub fn gid(mut self, gid: u32) -> Self {
        self.gid = Some(gid);
        self
    }

    fn tool(&self) -> Tool {
        let namespaces: Vec<_> = match self.only[..] {
            [] => vec!["--all"],
            _ => self.only.iter().copied().map(Namespace::flag).collect(),
        };
        let words = Words::of("nsenter", &self.options)
            .add(["--target", &self.pid.to_string()])
            .add(namespaces);
        words
            .option("--setuid", self.uid.map(|uid| uid.to_string()))
            .option("--setgid", self.gid.map(|gid| gid.to_string()))
            .add(&self.options.args)
            .add(["--"])
            .tool()
    }
}

impl Namespace {
    fn flag(self) -> &'static str {
        match self {
            Namespace::Cgroup => "--cgroup",
            Namespace::Ipc => "--ipc",
            Namespace::Mount => "--mount",
            Namespace::Net => "--net",
            Namespace::Pid => "--pid",
            Namespace::User => "--user",
            Namespace::Uts => "--uts",
        }
    }
}

impl Method for Nsenter {
    fn plan(&self) -> Plan {
        self.options.plan(|| format!("nsenter.{}", self.pid), Ok(self.tool()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::words;
    use super::*;

    #[test]
    fn the_words() {
        assert_eq!(Nsenter::new(7).plan().name, "nsenter.7");
        assert_eq!(words(Nsenter::new(7)), "nsenter --target 7 --all -- python3");
        let some = Nsenter::new(7).only([Namespace::Net, Namespace::Uts]).uid(33).gid(34);
        let some = some.args(["--wdns", "/srv"]);
        assert_eq!(
            words(some),
            "nsenter --target 7 --net --uts --setuid 33 --setgid 34 --wdns /srv -- python3"
        );
    }
}
