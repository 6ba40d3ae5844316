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
        .on_log(|record: &LogRecord| println!("{record}"))
        .on_prompt(|prompt: &Prompt| match prompt.kind {
            PromptKind::Password | PromptKind::Passphrase if prompt.attempt == 1 => None,
            PromptKind::HostKey => Some("yes".into()),
            _ => Some(format!("{} {}", prompt.context, prompt.text)),
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
            let ConnectError { context, stage, reason, printed, status, .. } = &*error;
            println!("{context} {stage} {reason} {printed} {status:?}");
        }
        Err(Error::Call(error)) => {
            let CallError { class, message, traceback, .. } = &*error;
            println!("{class} {message} {traceback}");
        }
        Err(Error::Disconnected { .. } | Error::Closed { .. } | Error::TimedOut { .. }) => {}
        Err(Error::Send { .. } | Error::Convert { .. } | Error::Shutdown) => {}
        Err(_) | Ok(()) => {}
    }
    context.shutdown()?;
    router.shutdown()
}
