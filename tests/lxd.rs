//! Promise: contexts come up, work and end in an instance of a real LXD, and where they do not, the error has its
//! words.

use std::path::PathBuf;
use std::process::Command;

use econtext::Lxd;

mod support;

use support::{
    Daemon, SmallSystem, TempDir, check_inside, connect, error_of, isolated, needs, run, script,
};

/// What is the same for the daemon and its clients.
const SURROUNDINGS: [&str; 2] = ["LXD_DIR", "LXD_CONF"];

/// It only ends of its own when it is told by a client.
const LXD: &str = r#"
mount -t tmpfs none /run
mount -t tmpfs none /var/log
mkdir /var/log/lxd
export LXD_DIR="$PWD"
lxd < /dev/null &
read end || :
lxd shutdown
wait $!
"#;

/// An LXD of the test's own.
struct Server {
    daemon: Daemon,
}

impl Server {
    fn start() -> Server {
        let server = Server { daemon: Daemon::start(TempDir::new(), LXD) };
        run(server.command("lxd").args(["waitready", "--timeout=60"]));
        server
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        SURROUNDINGS.iter().for_each(|name| {
            command.env(name, self.daemon.dir().path());
        });
        command
    }

    /// Runs a command of LXD's, which has to succeed.
    #[track_caller]
    fn run(&self, words: &[&str]) {
        run(self.command("lxc").args(words));
    }

    /// Its client.
    fn client(&self) -> PathBuf {
        let dir = self.daemon.dir();
        let settings = SURROUNDINGS.map(|name| format!("{name}='{}'", dir.path().display()));
        script(dir, "lxc", &format!("{} exec lxc \"$@\"\n", settings.join(" ")))
    }
}

#[test]
fn lxds_instances() {
    isolated(|| {
        needs("/usr/bin/lxd");
        let (system, server) = (SmallSystem::new(), Server::start());
        system.add_init();
        let dir = TempDir::new();
        let metadata = format!("architecture: {}\ncreation_date: 1\n", std::env::consts::ARCH);
        dir.file("metadata.yaml", metadata);
        let metadata = dir.path().join("metadata.tar");
        run(Command::new("tar")
            .arg("-cf")
            .arg(&metadata)
            .arg("-C")
            .arg(dir.path())
            .arg("metadata.yaml"));
        let archive = system.archive(&dir);
        let [metadata, archive] = [&metadata, &archive].map(|it| it.to_str().unwrap());
        server.run(&["storage", "create", "default", "dir"]);
        server.run(&["image", "import", metadata, archive, "--alias=small"]);
        // Else it would need ids of other users.
        let privileged = ["--storage=default", "--config=security.privileged=true"];
        server.run(&[&["launch", "small", "econtext"], &privileged[..]].concat());

        let instance = |name: &str| Lxd::new(name).lxc_path(server.client());
        let (router, context) = connect(instance("econtext"));
        assert_eq!(context.name(), "lxd.econtext");
        check_inside(&context, 0, "/root");
        // More than any buffer on the way holds.
        let text: String = context.call("operator:mul", ("x", 3_000_000)).unwrap();
        assert_eq!(text.len(), 3_000_000);
        router.shutdown().unwrap();
        let app = instance("econtext").uid(1234).gid(1234).current_dir("/tmp");
        let (router, context) = connect(app);
        check_inside(&context, 1234, "/tmp");
        router.shutdown().unwrap();

        let missing = error_of(instance("econtext").python("no-python"));
        let text = "lxd.econtext: starting Python: lxc ended before Python ran (exit status 127); it printed: \
                    Error: Command not found";
        assert_eq!(missing, text);
        let hint = "lxc ended before Python ran; it needs an instance that runs, and a user who may speak to LXD: \
                    root or the group lxd (exit status 1); it printed: Error: Instance";
        let unknown = error_of(instance("other"));
        assert_eq!(unknown, format!("lxd.other: starting Python: {hint} not found"));
        server.run(&["stop", "--force", "econtext"]);
        let stopped = error_of(instance("econtext"));
        assert_eq!(stopped, format!("lxd.econtext: starting Python: {hint} is not running"));
        server.run(&["delete", "econtext"]);
    });
}
