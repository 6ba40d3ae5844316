//! Promise: each method for containers and the like runs its tool with the documented words, and a context that
//! comes up behind them works; where it does not, one line says what the tool said.
//!
//! A stand-in for the tool writes down its words and runs the command, so that this needs none of the tools.
//! Real ones are in `containers_real`, `docker`, `kubectl`, `lxd`, `namespaces` and `systemd`.

use std::fs;
use std::path::Path;

use econtext::{
    Buildah, Bwrap, Chroot, Docker, Error, Incus, Jail, Kubectl, Lxc, Lxd, Method, Namespace,
    Nsenter, Podman, Router, Stage, SystemdRun,
};

mod support;

use support::{TempDir, interpreters, isolated, script};

/// The program and words of a stand-in, which runs what comes after the first word that is Python's path.
struct StandIn {
    dir: TempDir,
    python: &'static Path,
}

impl StandIn {
    fn new() -> StandIn {
        let python = &interpreters().last().expect("one at least").path;
        let dir = TempDir::new();
        let body = format!(
            "printf '%s\\n' \"$@\" >{:?}\n\
             while [ \"$1\" != {python:?} ]; do shift || exit 1; done\n\
             BEHIND=stand-in exec \"$@\"\n",
            dir.path().join("words"),
        );
        script(&dir, "tool", &body);
        StandIn { dir, python }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("tool")
    }

    /// Connects by way of the stand-in, which has to be told these words in front of the command.
    #[track_caller]
    fn check(&self, method: impl Method, name: &str, words: &[&str]) {
        let router = Router::new().unwrap();
        let context = router.connect(method).unwrap();
        assert_eq!(context.name(), name);
        let behind: String = context.call("os:getenv", ("BEHIND",)).unwrap();
        assert_eq!(behind, "stand-in");
        let is_terminal: Vec<bool> =
            (0..3).map(|fd| context.call("os:isatty", (fd,)).unwrap()).collect();
        assert_eq!(is_terminal, [false; 3]);
        router.shutdown().unwrap();
        let told = fs::read_to_string(self.dir.path().join("words")).unwrap();
        let told: Vec<&str> = told.lines().collect();
        let (before, command) = told.split_at(words.len());
        assert_eq!((before, &command[..2]), (words, &[self.python.to_str().unwrap(), "-c"][..]));
    }
}

#[test]
fn docker_and_podman_run_in_a_container_or_make_one_of_an_image() {
    isolated(|| {
        let it = StandIn::new();
        let docker = Docker::new("web").docker_path(it.path()).python(it.python);
        it.check(docker.clone(), "docker.web", &["exec", "--interactive", "web"]);
        let words = [
            "--tls",
            "exec",
            "--interactive",
            "--user",
            "app",
            "--workdir",
            "/srv",
            "-eA=b",
            "web",
        ];
        let docker = docker.global_args(["--tls"]).user("app").current_dir("/srv").args(["-eA=b"]);
        it.check(docker, "docker.web", &words);
        let image = Docker::image("python:3").docker_path(it.path()).python(it.python);
        let words = ["run", "--interactive", "--rm", "--entrypoint", "", "python:3"];
        it.check(image, "docker.python:3", &words);

        let podman = Podman::new("web").podman_path(it.path()).python(it.python);
        it.check(podman, "podman.web", &["exec", "--interactive", "web"]);
        let image =
            Podman::image("/root").args(["--rootfs"]).podman_path(it.path()).python(it.python);
        let words = ["run", "--interactive", "--rm", "--entrypoint", "", "--rootfs", "/root"];
        it.check(image, "podman./root", &words);
    });
}

#[test]
fn the_other_container_tools_are_told_to_run_it() {
    isolated(|| {
        let it = StandIn::new();
        let buildah = Buildah::new("c").buildah_path(it.path()).python(it.python).user("app");
        it.check(buildah, "buildah.c", &["run", "--user", "app", "c", "--"]);
        let kubectl = Kubectl::new("web-0").kubectl_path(it.path()).python(it.python);
        it.check(kubectl.clone(), "kubectl.web-0", &["exec", "--stdin", "web-0", "--"]);
        let words = [
            "exec",
            "--stdin",
            "--context",
            "x",
            "--namespace",
            "n",
            "--container",
            "app",
            "web-0",
            "--",
        ];
        let kubectl = kubectl.context("x").namespace("n").container("app");
        it.check(kubectl.name("pod"), "pod", &words);
        let lxc = Lxc::new("web").lxc_attach_path(it.path()).python(it.python).uid(7).gid(8);
        let words = ["--clear-env", "--uid", "7", "--gid", "8", "--name", "web", "--"];
        it.check(lxc, "lxc.web", &words);
        let words = [
            "exec",
            "--mode=non-interactive",
            "--user",
            "7",
            "--group",
            "8",
            "--cwd",
            "/",
            "web",
            "--",
        ];
        let lxd = Lxd::new("web").lxc_path(it.path()).python(it.python);
        it.check(lxd.uid(7).gid(8).current_dir("/"), "lxd.web", &words);
        let incus = Incus::new("web").incus_path(it.path()).python(it.python);
        it.check(incus.uid(7).gid(8).current_dir("/"), "incus.web", &words);
        let jail = Jail::new("www").jexec_path(it.path()).python(it.python).user("app");
        it.check(jail, "jail.www", &["-U", "app", "www"]);
    });
}

#[test]
fn the_tools_for_namespaces_roots_and_services_are_told_to_run_it() {
    isolated(|| {
        let it = StandIn::new();
        let chroot = Chroot::new("/srv").chroot_path(it.path()).python(it.python).user("app:app");
        it.check(chroot, "chroot./srv", &["--userspec", "app:app", "/srv"]);
        let nsenter = Nsenter::new(7).nsenter_path(it.path()).python(it.python);
        it.check(nsenter.clone(), "nsenter.7", &["--target", "7", "--all", "--"]);
        let nsenter = nsenter.only([Namespace::Net, Namespace::User]).uid(7).gid(8);
        let words = ["--target", "7", "--net", "--user", "--setuid", "7", "--setgid", "8", "--"];
        it.check(nsenter, "nsenter.7", &words);
        let bwrap = Bwrap::new("/").bwrap_path(it.path()).python(it.python).read_only(true);
        let words =
            ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--chdir", "/", "--"];
        it.check(bwrap.current_dir("/"), "bwrap./", &words);

        let common = ["--quiet", "--collect"];
        let service = SystemdRun::new().systemd_run_path(it.path()).python(it.python);
        let machine = service.clone().machine("web").user("app").property("MemoryMax=1G");
        let words = [
            &common[..],
            &["--wait", "--pipe", "--machine", "web", "--uid", "app"],
            &["--property", "MemoryMax=1G", "--"],
        ];
        it.check(machine, "machine.web", &words.concat());
        let words = [&common[..], &["--scope", "--user", "--"]].concat();
        it.check(service.scope(true).user_manager(true).name("scope"), "scope", &words);
    });
}

/// The error of a start, a line; it failed before there was a Python.
#[track_caller]
fn error_of(method: impl Method) -> String {
    let router = Router::new().unwrap();
    let Err(Error::Connect(error)) = router.connect(method) else { panic!("it did not fail") };
    router.shutdown().unwrap();
    assert!(error.stage <= Stage::Python, "{error}");
    error.to_string()
}

#[test]
fn a_tool_that_is_missing_or_fails_is_told_in_a_line() {
    isolated(|| {
        let error = error_of(Docker::new("web").docker_path("no-such-docker"));
        let text = "docker.web: starting the process: no-such-docker not found in PATH \
                    (/usr/local/bin:/usr/bin:/bin)";
        assert_eq!(error, text);
        let text = "kubectl.-x: starting the process: kubectl would take \"-x\" for an option, not for a pod";
        assert_eq!(error_of(Kubectl::new("-x")), text);

        let dir = TempDir::new();
        let tool =
            script(&dir, "tool", "echo a warning >&2; echo 'Error: no such thing' >&2; exit 1\n");
        let text = "docker.web: starting Python: tool ended before Python ran (exit status 1); it printed: \
                    Error: no such thing";
        assert_eq!(error_of(Docker::new("web").docker_path(&tool)), text);
        let text = "lxc.web: starting Python: tool ended before Python ran; it needs a container that runs, and \
                    the rights of root or, for an unprivileged one, of the user who started it \
                    (exit status 1); it printed: Error: no such thing";
        assert_eq!(error_of(Lxc::new("web").lxc_attach_path(&tool)), text);
        let helpful = "echo docker: no such image >&2; echo \"Run 'docker run --help' for more\" >&2; exit 125\n";
        let helpful = script(&dir, "helpful", helpful);
        let text = "docker.x: starting Python: helpful ended before Python ran (exit status 125); it printed: \
                    docker: no such image";
        assert_eq!(error_of(Docker::image("x").docker_path(&helpful)), text);
        let silent = script(&dir, "silent", "exit 1\n");
        let text = "lxd.web: starting Python: silent ended before Python ran; it needs an instance that \
                    runs, and a user who may speak to LXD: root or the group lxd (exit status 1)";
        assert_eq!(error_of(Lxd::new("web").lxc_path(&silent)), text);
        let text = "incus.web: starting Python: silent ended before Python ran; it needs an instance that \
                    runs, and a user who may speak to it: root or the group incus-admin (exit status 1)";
        assert_eq!(error_of(Incus::new("web").incus_path(&silent)), text);

        let missing = script(&dir, "missing", "echo Error: Command not found >&2; exit 127\n");
        let text = "lxd.web: starting Python: missing ended before Python ran (exit status 127); it printed: \
                    Error: Command not found";
        assert_eq!(error_of(Lxd::new("web").lxc_path(&missing)), text);
        // Where it is known what is missing, no tool is suspected.
        let runs = script(
            &dir,
            "runs",
            "while [ \"$1\" != /bin/sh ]; do shift || exit 1; done; exec \"$@\"\n",
        );
        let lxd = Lxd::new("web").lxc_path(&runs).python_candidates(["no-python"]);
        let text = "lxd.web: starting Python: no-python not found (exit status 97)";
        assert_eq!(error_of(lxd), text);
    });
}
