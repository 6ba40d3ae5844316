//! Promise: programs that are written against the documented names compile, and do what they say.
//!
//! The names are those of the architecture: renaming one of them breaks programs outside of this project.

use std::collections::HashMap;
use std::time::Duration;

use econtext::{
    CallError, ConnectError, Context, Error, Event, HostKeys, Level, Local, LogRecord, Method,
    Pending, Prompt, PromptKind, Receiver, RemoteInfo, Router, Select, Sender, Ssh, Value,
};

mod support;

use support::{TempDir, interpreters, isolated};

const TAIL: &str = "def follow(sender, path):\n    for line in open(path):\n        \
    sender.send(line.rstrip())\n";
const DEPLOY: &str = "import os\n\ndef install(name):\n    return 'installed ' + name\n\n\
    if __name__ == '__main__':\n    os.abort()\n";
const RELEASE: &str = "def release(version, force=False):\n    return '%s %s' % (version, force)\n";

#[test]
fn the_users_view_is_a_program() {
    isolated(|| {
        let python = &interpreters().iter().find(|it| it.version >= (3, 6)).unwrap().path;
        let dir = TempDir::new();
        dir.file("app/load.py", "def average(minutes):\n    return minutes / 2.0\n");
        dir.file("log", "one\ntwo\n");
        let router = Router::new().unwrap();
        let web = router.connect(Local::new().python(python)).unwrap();

        let pid: i64 = web.call("os:getpid", ()).unwrap();
        assert_eq!(pid, i64::from(web.info().unwrap().pid));
        let status: i64 = web.call("os:system", ("true",)).unwrap();
        assert_eq!(status, 0);

        router.modules().path(dir.path());
        router.modules().source("tasks", RELEASE);
        router.modules().source("tail", TAIL);
        router.modules().main_script("deploy.py", DEPLOY);
        let second = Duration::from_secs(60);
        let busy: f64 = web.call_with_deadline(second, "app.load:average", (1,)).unwrap();
        assert_eq!(busy, 0.5);
        let out: String =
            web.function("tasks:release").arg("v2").kwarg("force", true).call().unwrap();
        assert_eq!(out, "v2 True");
        let done: String = web.call("__main__:install", ("x",)).unwrap();
        assert_eq!(done, "installed x");

        let hosts = (0..4)
            .map(|n| router.start(Local::new().python(python).name(format!("node{n}"))))
            .collect::<Vec<_>>();
        let mut replies = Select::new();
        for host in &hosts {
            replies.add(host.call_async::<String>("platform:node", ()).unwrap());
        }
        let mut seen = Vec::new();
        for reply in replies {
            assert_eq!(*reply.result().unwrap(), web.info().unwrap().host_name);
            seen.push(reply.context().to_string());
        }
        seen.sort();
        assert_eq!(seen, ["node0", "node1", "node2", "node3"]);

        let (sender, lines) = router.channel::<String>();
        let log = dir.path().join("log");
        let follow = web.call_async::<()>("tail:follow", (sender, log)).unwrap();
        let mut got = Vec::new();
        for line in lines.iter() {
            got.push(line.unwrap());
        }
        follow.get().unwrap();
        assert_eq!(got, ["one", "two"]);
        web.call::<()>("os:chdir", ("/",)).unwrap();
        router.shutdown().unwrap();
    });
}

/// Every other documented name, used as it is documented. It is enough that this compiles.
#[allow(dead_code, reason = "it is there to be compiled")]
fn the_other_names(method: impl Method, value: Value) -> econtext::Result<()> {
    let router = Router::builder()
        .log_level(Level::Info)
        .on_log(|record: &LogRecord| println!("{} {record}", record.context_id))
        .on_prompt(|prompt: &Prompt| match prompt.kind {
            PromptKind::Password | PromptKind::Passphrase if prompt.attempt == 1 => None,
            PromptKind::HostKey => Some("yes".into()),
            _ => Some(format!("{:?} {} {}", prompt.via, prompt.context, prompt.text)),
        })
        .max_message_bytes(1 << 20)
        .unidirectional(true)
        .shutdown_grace(Duration::from_secs(1))
        .build()?;
    let local = Local::new()
        .python("python3")
        .python_candidates(["python3", "python"])
        .env("A", "b")
        .current_dir("/")
        .name("x");
    let ssh = Ssh::new("web1")
        .user("deploy")
        .port(22)
        .identity("~/.ssh/deploy")
        .config_file("config")
        .known_hosts("known_hosts")
        .host_keys(HostKeys::Enforce)
        .host_keys(HostKeys::AcceptNew)
        .host_keys(HostKeys::Ignore)
        .password("secret")
        .passphrase("secret")
        .compression(true)
        .keepalive(Duration::from_secs(15), 3)
        .connect_timeout(Duration::from_secs(30))
        .control_path("socket")
        .ssh_path("ssh")
        .args(["-v"])
        .python("python3")
        .python_candidates(["python3"])
        .name("x");
    let _context: Context = router.start(ssh);
    let context: Context = router.connect(local)?;
    let started: Context = router.start(method);
    let (_id, _name): (u32, &str) = (context.id(), context.name());
    let _info: RemoteInfo = context.info()?;
    let _up: bool = started.is_connected();
    started.wait_connected(Duration::from_secs(1))?;
    context.call_no_reply("os:getpid", ())?;
    let function = context.function("os:getpid").arg(1).kwarg("a", 2);
    let pending: Pending<i64> = function.timeout(Duration::from_secs(1)).call_async()?;
    let _context: &Context = pending.context();
    let _result: econtext::Result<i64> = pending.get_timeout(Duration::from_secs(1));
    context.function("os:getpid").call_no_reply()?;

    enum Either {
        Number(i64),
        Text(String),
    }
    let (sender, receiver): (Sender<String>, Receiver<String>) = router.channel();
    let mut select = Select::new();
    let key = select.add_as(pending, Either::Number);
    select.add_as(&receiver, Either::Text);
    let mut outer = Select::new();
    outer.add(select);
    if let Some(event) = outer.recv_timeout(Duration::from_secs(1))? {
        let event: Event<Either> = event;
        let _same: bool = event.key() == key;
        match event.into_result()? {
            Either::Number(_) | Either::Text(_) => {}
        }
    }
    let _event: Option<Event<Either>> = outer.recv();
    sender.send("x".into())?;
    let _item: String = receiver.recv()?;
    let _item: Option<String> = receiver.try_recv()?;
    let _item: String = receiver.recv_timeout(Duration::from_secs(1))?;

    let _map: HashMap<String, Option<Vec<u8>>> = context.call("m:f", vec![value.clone()])?;
    if let Value::Object { class, args, kwargs, state, items, entries } = value {
        drop((class, args, kwargs, state, items, entries));
    }
    match context.call::<()>("m:f", ("x", 1, 2.0, b"bytes", [1u8, 2], &[3u8][..], u8::MAX)) {
        Err(Error::Connect(error)) => {
            let ConnectError { context, via, stage, reason, printed, status, .. } = &*error;
            println!("{via:?} {context} {stage} {reason} {printed} {status:?}");
        }
        Err(Error::Call(error)) => {
            let CallError { class, message, traceback, .. } = &*error;
            let (via, hint) = (error.via.join(" > "), &error.hint);
            println!("{via} {class} {message} {traceback} {hint}");
        }
        Err(Error::Disconnected { context, via, .. }) => println!("{via:?} {context}"),
        Err(Error::Closed { .. } | Error::TimedOut { .. }) => {}
        Err(Error::Send { .. } | Error::Convert { .. } | Error::Shutdown) => {}
        Err(_) | Ok(()) => {}
    }
    context.shutdown()?;
    router.shutdown()
}

/// The names of trees, and of the methods that change the user.
#[allow(dead_code, reason = "it is there to be compiled")]
fn the_names_of_trees(router: &Router, context: &Context) -> econtext::Result<()> {
    use econtext::{Doas, Exec, Node, Runuser, Setpriv, State, Su, Sudo, Traffic, Tree};
    let sudo = Sudo::new().user("root").password("secret").preserve_env(true).set_home(true);
    let sudo = sudo.login(true).group("wheel").selinux_role("r").selinux_type("t").args(["-k"]);
    let _context: Context = context.start(sudo.sudo_path("sudo").python("python3").name("x"));
    let su = Su::new().user("root").password("secret").login(true).shell("/bin/sh").su_path("su");
    let _context: Context = context.connect(su.python_candidates(["python3"]))?;
    let doas = Doas::new().user("root").password("secret").doas_path("doas").args(["-L"]);
    context.start(doas.python_argv(["env", "A=b", "python3"]));
    context.start(Runuser::new("deploy").args(["-g", "www"]).runuser_path("runuser"));
    context.start(Setpriv::new("deploy", "www").args(["--no-new-privs"]).setpriv_path("setpriv"));
    context.start(Exec::new(["nice", "-n", "5"]).connect_timeout(Duration::from_secs(60)));
    context.start(Local::new().user("deploy").nice(5));
    let tree: Tree = router.tree();
    for node in &tree.children {
        let Node { id, name, method, state, sent, received, modules, .. } = node;
        let Traffic { messages, bytes, .. } = *sent;
        let is_up = *state == State::Connected;
        println!("{id} {name} {method} {is_up} {messages} {bytes} {received} {modules} {node}");
    }
    println!("{tree}");
    Ok(())
}

/// The names of the methods for containers and the like.
#[allow(dead_code, reason = "it is there to be compiled")]
fn the_names_of_containers(router: &Router) {
    use econtext::Namespace::{Cgroup, Ipc, Mount, Net, Pid, User, Uts};
    use econtext::{
        Buildah, Bwrap, Chroot, Docker, Incus, Jail, Kubectl, Lxc, Lxd, Nsenter, Podman, SystemdRun,
    };
    let docker = Docker::new("web").docker_path("docker").global_args(["--tls"]).user("app");
    router.start(docker.current_dir("/").args(["--env", "A=b"]).python("python3").name("x"));
    router.start(Docker::image("python:3").python_candidates(["python3"]));
    let podman = Podman::new("web").podman_path("podman").global_args(["--remote"]).user("app");
    router.start(podman.current_dir("/").args(["--env", "A=b"]).python_argv(["env", "python3"]));
    router.start(Podman::image("python:3").connect_timeout(Duration::from_secs(60)));
    let buildah = Buildah::new("c").buildah_path("buildah").global_args(["--debug"]).user("app");
    router.start(buildah.current_dir("/").args(["--no-pivot"]));
    let kubectl = Kubectl::new("web-0").kubectl_path("kubectl").context("x").namespace("n");
    router.start(kubectl.container("app").args(["--quiet"]));
    router.start(Lxc::new("web").lxc_attach_path("lxc-attach").uid(1).gid(1).args(["--quiet"]));
    router.start(Lxd::new("web").lxc_path("lxc").uid(1).gid(1).current_dir("/").args(["-q"]));
    router.start(Incus::new("web").incus_path("incus").uid(1).gid(1).current_dir("/").args(["-q"]));
    router.start(Jail::new("www").jexec_path("jexec").user("app").args(["-l"]));
    router.start(Chroot::new("/srv").chroot_path("chroot").user("app").args(["--groups", "1"]));
    let nsenter = Nsenter::new(1).nsenter_path("nsenter").uid(1).gid(1).args(["--no-fork"]);
    router.start(nsenter.only([Cgroup, Ipc, Mount, Net, Pid, User, Uts]));
    let bwrap = Bwrap::new("/").bwrap_path("bwrap").read_only(true).current_dir("/");
    router.start(bwrap.args(["--unshare-net"]));
    let service = SystemdRun::new().systemd_run_path("systemd-run").machine("web").user("app");
    let service = service.group("app").current_dir("/").property("MemoryMax=1G").args(["-E", "A"]);
    router.start(service.scope(true).user_manager(true));
}
