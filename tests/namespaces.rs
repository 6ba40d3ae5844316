//! Promise: contexts come up, work and end with another root directory, in the namespaces of another process, and in
//! a sandbox: the real chroot(1), nsenter(1) and bwrap(1).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use econtext::{Bwrap, Chroot, Context, Error, Namespace, Nsenter, Ssh};

mod support;

use support::{SmallSystem, connect, descendants, error_of, is_root, isolated, skip};

/// What only a [`SmallSystem`] has.
fn mark(context: &Context) -> bool {
    context.call("os.path:exists", ("/etc/mark",)).unwrap()
}

fn needs_root() {
    if !is_root() {
        skip("other roots and namespaces", "only root may enter them");
    }
}

const CHROOT: &str = "/usr/sbin/chroot";

#[test]
fn another_root_directory() {
    isolated(|| {
        needs_root();
        let system = SmallSystem::new();
        system.add_null();
        let (router, context) = connect(Chroot::new(system.path()).chroot_path(CHROOT));
        assert!(mark(&context));
        assert_eq!(context.call::<String>("os:getcwd", ()).unwrap(), "/");
        assert_eq!(context.info().unwrap().uid, 0);
        router.shutdown().unwrap();

        let app = Chroot::new(system.path()).chroot_path(CHROOT).user("app");
        let (router, context) = connect(app);
        assert!(mark(&context));
        let ids: Vec<i64> =
            ["os:getuid", "os:getgid"].map(|it| context.call(it, ()).unwrap()).into();
        assert_eq!(ids, [1234, 1234]);
        router.shutdown().unwrap();
    });
}

#[test]
fn a_root_that_cannot_be_is_told_in_chroots_words() {
    isolated(|| {
        needs_root();
        let error = error_of(Chroot::new("/no/such/root").chroot_path(CHROOT));
        let text = "chroot./no/such/root: starting Python: chroot ended before Python ran \
                    (exit status 125); it printed: /usr/sbin/chroot: cannot change root directory to '/no/such/root': \
                    No such file or directory";
        assert_eq!(error, text);
        let system = SmallSystem::new();
        let error = error_of(Chroot::new(system.path()).chroot_path(CHROOT).python("/no/python"));
        let text = "starting Python: chroot ended before Python ran (exit status 127); it printed: /usr/sbin/chroot: \
                    failed to run command '/no/python': No such file or directory";
        assert!(error.replace(['‘', '’'], "'").ends_with(text), "{error}");
    });
}

#[test]
fn a_root_without_terminals_is_told_where_one_is_needed() {
    isolated(|| {
        needs_root();
        let system = SmallSystem::new();
        system.add_null();
        let (router, context) = connect(Chroot::new(system.path()).chroot_path(CHROOT));
        let ssh = Ssh::new("web1").password("secret").ssh_path("/bin/sh");
        let error = context.connect(ssh).unwrap_err().to_string();
        let text = "cannot make a terminal (is /dev/pts mounted?): No such file or directory";
        assert!(error.ends_with(text), "{error}");
        router.shutdown().unwrap();
    });
}

/// A process in namespaces of its own.
struct Elsewhere {
    unshare: Child,
    pid: u32,
}

impl Elsewhere {
    /// `unshare` gets these words. Its host's name is `elsewhere`.
    fn start(words: &[&str]) -> Elsewhere {
        let mut command = Command::new("unshare");
        command.args(words).args(["--uts", "--fork", "--kill-child", "sh", "-c"]);
        command.arg("hostname elsewhere && echo ready && cat");
        let mut unshare = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = unshare.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{command:?}");
        let pid = *descendants(unshare.id() as i32).keys().next().expect("the shell");
        Elsewhere { unshare, pid: pid as u32 }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.unshare.stdin.take()); // cat ends, and the shell.
        let _ = self.unshare.wait();
    }
}

#[test]
fn all_namespaces_of_a_process() {
    isolated(|| {
        needs_root();
        let elsewhere = Elsewhere::start(&["--mount", "--ipc", "--net", "--pid", "--mount-proc"]);
        let (router, context) = connect(Nsenter::new(elsewhere.pid));
        assert_eq!(context.info().unwrap().host_name, "elsewhere");
        // Its own /proc has the shell and cat before it.
        let pid: i64 = context.call("os:getpid", ()).unwrap();
        let init: String = context.call("os:readlink", ("/proc/1/ns/uts",)).unwrap();
        let own: String = context.call("os:readlink", ("/proc/self/ns/uts",)).unwrap();
        assert!(pid > 1 && init == own, "{pid} {init} {own}");
        let interfaces: Vec<(i64, String)> = context.call("socket:if_nameindex", ()).unwrap();
        assert_eq!(interfaces, [(1, "lo".to_string())]);
        assert_eq!(context.call::<String>("os:getcwd", ()).unwrap(), "/");
        router.shutdown().unwrap();
    });
}

#[test]
fn some_namespaces_of_a_process_and_a_user_there() {
    isolated(|| {
        needs_root();
        let elsewhere = Elsewhere::start(&["--net"]);
        let method = Nsenter::new(elsewhere.pid).only([Namespace::Net]).uid(1234).gid(1235);
        let (router, context) = connect(method);
        assert_ne!(context.info().unwrap().host_name, "elsewhere");
        let interfaces: Vec<(i64, String)> = context.call("socket:if_nameindex", ()).unwrap();
        assert_eq!(interfaces, [(1, "lo".to_string())]);
        let ids: Vec<i64> =
            ["os:getuid", "os:getgid"].map(|it| context.call(it, ()).unwrap()).into();
        assert_eq!(ids, [1234, 1235]);
        router.shutdown().unwrap();
    });
}

#[test]
fn a_user_namespace_of_a_process() {
    isolated(|| {
        needs_root();
        let elsewhere = Elsewhere::start(&["--user", "--map-root-user"]);
        let (router, context) = connect(Nsenter::new(elsewhere.pid));
        assert_eq!(context.info().unwrap().host_name, "elsewhere");
        let map: String = context.call("os:readlink", ("/proc/self/ns/user",)).unwrap();
        let theirs = std::fs::read_link(format!("/proc/{}/ns/user", elsewhere.pid)).unwrap();
        assert_eq!(map, theirs.to_str().unwrap());
        router.shutdown().unwrap();
        drop(elsewhere);
        // The kernel's greatest number is no process's.
        let error = error_of(Nsenter::new(4_194_305));
        // What cannot be found there depends on its version.
        let start = "nsenter.4194305: starting Python: nsenter ended before Python ran (exit status 1); \
                     it printed: nsenter: ";
        let is_told = error.starts_with(start) && error.contains("/proc/4194305/ns/");
        assert!(is_told && error.ends_with(": No such file or directory"), "{error}");
    });
}

#[test]
fn a_sandbox() {
    isolated(|| {
        needs_root();
        if !Path::new("/usr/bin/bwrap").exists() {
            skip("bwrap", "it is not installed");
        }
        let system = SmallSystem::new();
        let sandbox = Bwrap::new(system.path()).args(["--unshare-pid", "--unshare-net"]);
        let (router, context) = connect(sandbox.current_dir("/tmp"));
        assert!(mark(&context));
        assert_eq!(context.call::<String>("os:getcwd", ()).unwrap(), "/tmp");
        let pid: i64 = context.call("os:getpid", ()).unwrap();
        assert!(pid < 10, "{pid}");
        context.call::<()>("os:mkdir", ("/made",)).unwrap();
        assert!(system.path().join("made").is_dir());
        router.shutdown().unwrap();

        let (router, context) = connect(Bwrap::new(system.path()).read_only(true));
        let Err(Error::Call(error)) = context.call::<()>("os:mkdir", ("/made2",)) else {
            panic!("it is read-only")
        };
        assert_eq!(error.message, "[Errno 30] Read-only file system: '/made2'");
        router.shutdown().unwrap();

        let error = error_of(Bwrap::new("/no/such/root"));
        let text = "bwrap./no/such/root: starting Python: bwrap ended before Python ran (exit status 1); it printed: \
                    bwrap: Can't find source path /no/such/root: No such file or directory";
        assert_eq!(error, text);
    });
}
