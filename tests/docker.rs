//! Promise: contexts come up, work and end in containers of a real Docker, and where they do not, the error has
//! its words.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use econtext::{Docker, Router};

mod support;

use support::{
    Daemon, FOREVER, SmallSystem, TempDir, check_inside, connect, error_of, isolated, needs, run,
};

/// A Docker of the test's own.
struct Engine {
    daemon: Daemon,
}

const DOCKERD: &str = r#"
mount -t tmpfs none /run
mkdir -p /etc/docker
mount -t tmpfs none /etc/docker
cgroup=$(basename "$PWD")
NOTIFY_SOCKET=$PWD/notify dockerd --host="unix://$PWD/socket" --data-root="$PWD/data" \
    --exec-root=/run/docker --pidfile=/run/docker.pid --cgroup-parent="/$cgroup" --storage-driver=vfs \
    --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false < /dev/null &
read end || :
kill $!
wait $!
for it in /sys/fs/cgroup/$cgroup /sys/fs/cgroup/*/$cgroup; do
    [ ! -d "$it" ] || rmdir "$it"
done
"#;

impl Engine {
    fn start() -> Engine {
        let dir = TempDir::new();
        let ready = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        ready.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let daemon = Daemon::start(dir, DOCKERD);
        let mut message = [0; 64];
        let told = ready.recv(&mut message).map(|count| &message[..count]);
        assert!(told.is_ok_and(|it| it.starts_with(b"READY=1")), "{}", daemon.log());
        Engine { daemon }
    }

    fn args(&self) -> [String; 2] {
        let socket = self.daemon.dir().path().join("socket");
        ["--host".into(), format!("unix://{}", socket.display())]
    }

    /// Runs a command of Docker's, which has to succeed; what it printed.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        run(Command::new(DOCKER).args(self.args()).args(words))
    }

    /// Waits until there are no containers. It may be that a client ends before the daemon has removed its own.
    #[track_caller]
    fn wait_for_none(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let left = self.run(&["ps", "--all"]);
            if left.lines().count() == 1 {
                return;
            }
            assert!(Instant::now() < deadline, "{left}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Debian's, as others may have other words.
const DOCKER: &str = "/usr/bin/docker";

#[test]
fn dockers_containers_and_images() {
    isolated(|| {
        needs("/usr/sbin/dockerd");
        let (system, engine) = (SmallSystem::new(), Engine::start());
        let ours = |it: Docker| it.docker_path(DOCKER).global_args(engine.args());
        let container = |name: &str| ours(Docker::new(name));
        let image = |name: &str| ours(Docker::image(name)).args(["--network=none"]);
        // What the image would run, which is not there, does not matter.
        let archive = system.archive(engine.daemon.dir());
        let entrypoint = "ENTRYPOINT [\"/no/such/program\"]";
        engine.run(&["import", "--change", entrypoint, archive.to_str().unwrap(), "small"]);

        let start = ["run", "--detach", "--name=web", "--network=none", "--entrypoint=", "small"];
        engine.run(&[&start[..], &FOREVER].concat());
        let (router, context) = connect(container("web"));
        assert_eq!(context.name(), "docker.web");
        check_inside(&context, 0, "/");
        let pid: i64 = context.call("os:getpid", ()).unwrap();
        assert!(pid > 1, "{pid}");
        // More than any buffer on the way holds.
        let text: String = context.call("operator:mul", ("x", 3_000_000)).unwrap();
        assert_eq!(text.len(), 3_000_000);
        router.shutdown().unwrap();
        let (router, context) = connect(container("web").user("app").current_dir("/tmp"));
        check_inside(&context, 1234, "/tmp");
        router.shutdown().unwrap();
        let error = error_of(container("web").python("no-python"));
        assert!(error.starts_with(
            "docker.web: starting Python: docker ended before Python ran (exit status 126)"
        ));
        assert!(error.contains("exec: \"no-python\": executable file not found"), "{error}");
        // Nothing is there but a heading and what the container runs.
        let processes = engine.run(&["top", "web", "-o", "pid,comm"]);
        assert_eq!(processes.lines().count(), 2, "{processes}");
        engine.run(&["rm", "--force", "web"]);

        // One of its own is gone when the context is.
        let (router, context) = connect(image("small").user("1234:0"));
        check_inside(&context, 1234, "/");
        assert_eq!(context.call::<i64>("os:getpid", ()).unwrap(), 1);
        router.shutdown().unwrap();
        engine.wait_for_none();

        // Also where a function of it does not end.
        let router = Router::builder().shutdown_grace(Duration::from_millis(100)).build().unwrap();
        let context = router.connect(image("small")).unwrap();
        context.call_no_reply("signal:pause", ()).unwrap();
        router.shutdown().unwrap();
        engine.wait_for_none();

        let text = "docker.web: starting Python: docker ended before Python ran (exit status 1); it printed: \
                    Error: No such container: web";
        assert_eq!(error_of(container("web")), text);
        let text = "docker.none: starting Python: docker ended before Python ran (exit status 125); it printed: \
                    docker: Error response from daemon: No such image: none:latest.";
        assert_eq!(error_of(image("none").args(["--pull=never"])), text);
    });
}
