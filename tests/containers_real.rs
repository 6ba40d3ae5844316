//! Promise: contexts come up, work and end in containers of Podman, Buildah and LXC, and where they do not, the
//! error has the tool's own words.
//!
//! Docker's are in `docker`, LXD's in `lxd`, those of pods in `kubectl`, systemd's in `systemd`. Debian has neither Incus
//! nor jexec: `containers` tests their words alone.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use econtext::{Buildah, Lxc, Podman, Router};

mod support;

use support::{
    FOREVER, SmallSystem, TempDir, check_inside, connect, error_of, isolated, needs, run,
};

/// What Podman and Buildah keep, which nobody else sees.
struct Store {
    dir: TempDir,
    /// Podman takes no longer path for it than 50 characters, so that it is in the working directory.
    run: PathBuf,
}

impl Store {
    fn new() -> Store {
        Store { dir: TempDir::new(), run: std::env::current_dir().unwrap().join("run") }
    }

    /// What stands in front of a tool's own words.
    fn args(&self) -> Vec<OsString> {
        let root = self.dir.path().join("root");
        let words: [&OsStr; 6] = [
            "--root".as_ref(),
            root.as_ref(),
            "--runroot".as_ref(),
            self.run.as_ref(),
            "--storage-driver".as_ref(),
            "vfs".as_ref(),
        ];
        words.map(OsString::from).into()
    }

    fn podman_args(&self) -> Vec<OsString> {
        let mut args = self.args();
        let more = ["--runtime", RUNC, "--cgroup-manager", "cgroupfs", "--events-backend", "none"];
        args.extend(more.map(OsString::from));
        args.extend(["--tmpdir".into(), self.dir.path().join("tmp").into()]);
        args
    }

    fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command.args(self.podman_args());
        command
    }

    fn buildah(&self) -> Command {
        let mut command = Command::new("buildah");
        command.args(self.args());
        command
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What it was asked for may not have come so far that it was made.
        let _ = fs::remove_dir_all(&self.run);
    }
}

/// The default, crun, wants one kind of cgroups only.
const RUNC: &str = "/usr/sbin/runc";

/// No network, and limits that a root without all rights may set, too.
const LIMITS: [&str; 3] =
    ["--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"];

#[test]
fn podmans_containers_and_images() {
    isolated(|| {
        needs("/usr/bin/podman");
        let (system, store) = (SmallSystem::new(), Store::new());
        let container = |name: &str| Podman::new(name).global_args(store.podman_args());
        let image = |name: &Path| {
            let name = name.to_str().unwrap();
            Podman::image(name).global_args(store.podman_args()).args(LIMITS)
        };

        let mut start = store.podman();
        start.args(["run", "--detach", "--name", "web"]).args(LIMITS).arg("--rootfs");
        run(start.arg(system.path()).args(FOREVER));
        let (router, context) = connect(container("web"));
        check_inside(&context, 0, "/");
        let pid: i64 = context.call("os:getpid", ()).unwrap();
        assert!(pid > 1, "{pid}");
        router.shutdown().unwrap();
        let (router, context) = connect(container("web").user("app").current_dir("/tmp"));
        check_inside(&context, 1234, "/tmp");
        router.shutdown().unwrap();
        let error = error_of(container("web").python("no-python"));
        assert!(error.starts_with(
            "podman.web: starting Python: podman ended before Python ran (exit status 127)"
        ));
        assert!(error.contains("exec: \"no-python\": executable file not found"), "{error}");
        run(store.podman().args(["rm", "--force", "--time=0", "web"]));

        // One of its own is gone when the context is.
        let (router, context) = connect(image(system.path()).args(["--rootfs"]));
        check_inside(&context, 0, "/");
        assert_eq!(context.call::<i64>("os:getpid", ()).unwrap(), 1);
        router.shutdown().unwrap();
        assert_eq!(run(store.podman().args(["ps", "--all", "--quiet"])), "");

        // Also where a function of it does not end.
        let router = Router::builder().shutdown_grace(Duration::from_millis(100)).build().unwrap();
        let context = router.connect(image(system.path()).args(["--rootfs"])).unwrap();
        context.call_no_reply("signal:pause", ()).unwrap();
        router.shutdown().unwrap();
        assert_eq!(run(store.podman().args(["ps", "--all", "--quiet"])), "");

        // What the image would run, which is not there, does not matter.
        let mut import = store.podman();
        import.args(["import", "--quiet", "--change", "ENTRYPOINT=[\"/no/such/program\"]"]);
        run(import.arg(system.archive(&store.dir)).arg("small"));
        let (router, context) = connect(image(Path::new("localhost/small")).user("1234:0"));
        check_inside(&context, 1234, "/");
        router.shutdown().unwrap();

        let text = "podman.web: starting Python: podman ended before Python ran (exit status 125); it printed: \
                    Error: no container with name or ID \"web\" found: no such container";
        assert_eq!(error_of(container("web")), text);
    });
}

#[test]
fn buildahs_working_containers() {
    isolated(|| {
        needs("/usr/bin/buildah");
        let (system, store) = (SmallSystem::new(), Store::new());
        let name = run(store.buildah().args(["from", "scratch"]));
        run(store.buildah().args(["copy", "--quiet", &name]).arg(system.path()).arg("/"));
        let args = ["--isolation=oci", "--network=none", "--runtime", RUNC];
        let container = |name: &str| Buildah::new(name).global_args(store.args()).args(args);
        let (router, context) = connect(container(&name));
        check_inside(&context, 0, "/");
        context.call::<()>("os:mkdir", ("/made",)).unwrap();
        router.shutdown().unwrap();
        let (router, context) = connect(container(&name).user("app").current_dir("/made"));
        check_inside(&context, 1234, "/made");
        router.shutdown().unwrap();
        let error = error_of(container("none"));
        let text = "buildah.none: starting Python: buildah ended before Python ran (exit status 125); it printed: \
                    Error: reading build container \"none\": container not known";
        assert_eq!(error, text);
        run(store.buildah().args(["rm", &name]));
    });
}

/// A container of LXC's that runs.
struct LxcContainer {
    dir: TempDir,
    monitor: Child,
}

impl LxcContainer {
    fn start(system: &SmallSystem) -> LxcContainer {
        let dir = TempDir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let config =
            format!("lxc.rootfs.path = dir:{}\nlxc.net.0.type = empty\n", system.path().display());
        let config = dir.file("config", config);
        let mut command = Command::new("lxc-execute");
        command.args(["--name", "web", "--rcfile"]).arg(config).arg("--lxcpath").arg(dir.path());
        command.arg("--").args(FOREVER);
        let monitor = command.stdin(Stdio::null()).spawn().unwrap();
        let container = LxcContainer { dir, monitor };
        run(container.command("lxc-wait").args(["--state=RUNNING", "--timeout=30"]));
        container
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command.args(["--name", "web", "--lxcpath"]).arg(self.dir.path());
        command
    }

    fn args(&self) -> [PathBuf; 2] {
        ["--lxcpath".into(), self.dir.path().into()]
    }
}

impl Drop for LxcContainer {
    fn drop(&mut self) {
        let _ = self.command("lxc-stop").arg("--kill").status();
        let _ = self.monitor.wait();
    }
}

#[test]
fn lxcs_containers() {
    isolated(|| {
        needs("/usr/bin/lxc-attach");
        let system = SmallSystem::new();
        let web = LxcContainer::start(&system);
        let (router, context) = connect(Lxc::new("web").args(web.args()));
        check_inside(&context, 0, "/");
        let home: Option<String> = context.call("os:getenv", ("HOME",)).unwrap();
        assert_eq!(home, None);
        router.shutdown().unwrap();
        let (router, context) = connect(Lxc::new("web").uid(1234).gid(1234).args(web.args()));
        check_inside(&context, 1234, "/");
        router.shutdown().unwrap();
        let error = error_of(Lxc::new("other").args(web.args()));
        assert!(
            error.contains("; it needs a container that runs, and the rights of root"),
            "{error}"
        );
        assert!(error.contains("; it printed: lxc-attach: other: "), "{error}");
    });
}
