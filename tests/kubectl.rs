//! Promise: contexts come up, work and end by way of a real kubectl, which is told the cluster, namespace, pod and
//! container; where they do not, the error has its words.
//!
//! The cluster is an API server of the test's own, which executes here what is to be executed in a container.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use econtext::{Kubectl, Router};

mod support;

use support::{TempDir, connect, error_of, interpreters, isolated, process_of, skip};

struct Cluster {
    dir: TempDir,
    server: Child,
    printed: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    fn start() -> Cluster {
        let dir = TempDir::new();
        let mut command = Command::new("python3");
        command.arg(dir.file("api_server.py", include_str!("kubectl/api_server.py")));
        let mut server =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let mut printed = BufReader::new(server.stdout.take().unwrap()).lines();
        let port = printed.next().expect("its port").unwrap();
        let settings = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - {{name: here, cluster: {{server: 'http://127.0.0.1:{port}'}}}}\n\
             - {{name: nowhere, cluster: {{server: 'http://127.0.0.1:1'}}}}\n\
             contexts:\n\
             - {{name: prod, context: {{cluster: here}}}}\n\
             - {{name: test, context: {{cluster: nowhere}}}}\n\
             current-context: test\n"
        );
        dir.file("config", settings);
        Cluster { dir, server, printed }
    }

    /// A pod's container, of the cluster that kubectl would use by itself.
    fn pod(&self, name: &str) -> Kubectl {
        let option = |flag: &str, name: &str| {
            let path: PathBuf = self.dir.path().join(name);
            format!("--{flag}={}", path.display())
        };
        let files = [option("kubeconfig", "config"), option("cache-dir", "cache")];
        Kubectl::new(name).namespace("shop").container("app").args(files)
    }

    /// What it was asked to execute next.
    fn executed(&mut self) -> String {
        self.printed.next().expect("it runs").unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        self.server.wait().unwrap();
    }
}

#[test]
fn a_container_of_a_pod() {
    isolated(|| {
        if !["/usr/local/bin/kubectl", "/usr/bin/kubectl"].iter().any(|it| Path::new(it).exists()) {
            skip("kubectl", "it is not installed");
        }
        let mut cluster = Cluster::start();
        let python = &interpreters().last().expect("one at least").path;
        let web = cluster.pod("web-0").context("prod").python(python);
        let (router, context) = connect(web.clone());
        assert_eq!(context.name(), "kubectl.web-0");
        // More than any buffer on the way holds, both ways.
        let text = "x".repeat(3_000_000);
        let twice: String = context.call("operator:mul", (text, 2)).unwrap();
        assert_eq!(twice.len(), 6_000_000);
        let process = process_of(&context);
        router.shutdown().unwrap();
        process.wait_end();
        let executed = cluster.executed();
        let start = format!(
            "[\"/api/v1/namespaces/shop/pods/web-0/exec\", [[\"command\", [\"{}\", \"-c\", ",
            python.display()
        );
        assert!(executed.starts_with(&start), "{executed}");
        // And no terminal.
        let end = "[\"container\", [\"app\"]], [\"stderr\", [\"true\"]], [\"stdin\", [\"true\"]], [\"stdout\", [\"true\"]]]]";
        assert!(executed.ends_with(end), "{executed}");

        // Also where a function of it does not end.
        let router = Router::builder().shutdown_grace(Duration::from_millis(100)).build().unwrap();
        let context = router.connect(web.clone()).unwrap();
        let process = process_of(&context);
        context.call_no_reply("signal:pause", ()).unwrap();
        router.shutdown().unwrap();
        process.wait_end();

        let ended = "starting Python: kubectl ended before Python ran (exit status 1); it printed:";
        let none = error_of(cluster.pod("none").context("prod"));
        let text = "Error from server (NotFound): pods \"none\" not found";
        assert_eq!(none, format!("kubectl.none: {ended} {text}"));
        let missing = error_of(web.clone().python("no-python"));
        let text = "error: [Errno 2] No such file or directory: 'no-python'";
        assert_eq!(missing, format!("kubectl.web-0: {ended} {text}"));
        let missing = error_of(web.python_candidates(["no-python"]));
        let text = "kubectl.web-0: starting Python: no-python not found (exit status 97)";
        assert!(missing.starts_with(text), "{missing}");
        let text = "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?";
        assert_eq!(error_of(cluster.pod("web-0")), format!("kubectl.web-0: {ended} {text}"));
    });
}
