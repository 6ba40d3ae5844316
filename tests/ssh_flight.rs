//! Promise: a start over ssh waits for the network no more often than ssh itself has to, and once up a call
//! costs one round trip.
//!
//! Round trips are counted, not timed, by a proxy with 10 ms each way: see `Proxy::round_trips`. What ssh has
//! to do is measured beside it in the same way, since it differs between versions of OpenSSH:
//!
//! - a command that prints needs what ssh needs to log in, and one for the command and its output;
//! - a command that answers to its standard input needs one more. sshd takes no byte for a session before it
//!   has started the session's command (until then the window of its channel is zero), so ssh holds back what
//!   it has read from us until sshd says so. Nobody can save that one.
//!
//! A start takes as many as the second: the loader, the first stage, the core, the configuration and all
//! that is queued behind them leave together, as soon as ssh lets a byte pass.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use econtext::{Context, Router, Ssh};

mod support;

use support::{Proxy, Sshd, interpreters, isolated};

const DELAY: Duration = Duration::from_millis(10);

/// What a busy machine adds, it does not add each time.
const RUNS: usize = 3;

/// Its clients know the key of the server, wherever that is reached.
fn server() -> Sshd {
    let sshd = Sshd::start();
    let key = std::fs::read_to_string(sshd.known_hosts()).unwrap();
    let (_, key) = key.split_once(' ').unwrap();
    sshd.file("known_hosts", format!("* {key}"));
    sshd
}

fn proxy(sshd: &Sshd) -> Proxy {
    Proxy::start(sshd.port(), DELAY)
}

fn ssh(sshd: &Sshd, proxy: &Proxy) -> Ssh {
    sshd.ssh().port(proxy.port())
}

/// The newest, by its path.
fn python() -> &'static str {
    let found = interpreters().iter().rfind(|python| python.name.starts_with("python"));
    found.expect("a CPython").path.to_str().unwrap()
}

/// How many round trips there have been when OpenSSH's own client has the first line of what a command
/// prints, which has this on its standard input. Neither side ends before.
fn floor(sshd: &Sshd, command: &str, input: &str) -> u32 {
    let runs = (0..RUNS).map(|_| {
        let proxy = proxy(sshd);
        let mut client = Command::new("ssh");
        client.arg("-F").arg(sshd.config()).arg("-p").arg(proxy.port().to_string());
        client.args(["-T", "-o", "BatchMode=yes", "127.0.0.1", command]);
        let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(client.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "1\n", "{}", sshd.log());
        let count = proxy.round_trips();
        drop(stdin);
        assert!(client.wait().unwrap().success());
        count
    });
    runs.min().unwrap()
}

/// What ssh needs for a command that prints, and for one that answers.
fn floors(sshd: &Sshd) -> (u32, u32) {
    let python = python();
    let print = format!("exec {python} -uc 'import sys; print(1); sys.stdin.read()'");
    let answer = format!("exec {python} -uc 'import sys; print(sys.stdin.readline().strip())'");
    (floor(sshd, &print, ""), floor(sshd, &answer, "1\n"))
}

/// How many round trips a start takes, up to what `first` waits for.
fn start(sshd: &Sshd, with: impl Fn(Ssh) -> Ssh, first: impl Fn(&Context)) -> u32 {
    let runs = (0..RUNS).map(|_| {
        let (proxy, router) = (proxy(sshd), router());
        let context = router.start(with(ssh(sshd, &proxy)));
        first(&context);
        proxy.round_trips()
    });
    runs.min().unwrap()
}

fn router() -> Router {
    let router = Router::new().unwrap();
    router.modules().source("first", "def echo(value):\n    return value\n");
    router.modules().source("second", "def echo(value):\n    return value\n");
    router
}

fn call(context: &Context) {
    assert!(context.call::<u32>("os:getpid", ()).unwrap() > 1);
}

#[test]
fn a_start_and_its_first_call_are_one_flight() {
    isolated(|| {
        let sshd = server();
        let (print, answer) = floors(&sshd);
        assert_eq!(answer, print + 1);
        assert_eq!(start(&sshd, |ssh| ssh.python(python()), call), answer);
        // The search for an interpreter happens on the other side.
        assert_eq!(start(&sshd, |ssh| ssh, call), answer);
    });
}

#[test]
fn all_that_is_queued_behind_a_start_is_in_its_flight() {
    isolated(|| {
        let sshd = server();
        let (_, answer) = floors(&sshd);
        let many = |context: &Context| {
            let text = "x".repeat(1000);
            let call = |_| context.call_async::<usize>("builtins:len", (&text,)).unwrap();
            let pending: Vec<_> = (0..20).map(call).collect();
            assert!(pending.into_iter().all(|reply| reply.get().unwrap() == 1000));
        };
        assert_eq!(start(&sshd, |ssh| ssh.python(python()), many), answer);
    });
}

#[test]
fn a_call_is_one_round_trip_also_where_its_module_is_not_there_yet() {
    isolated(|| {
        let sshd = server();
        // Round trips of calls one after the other, once the context is up.
        let run = || {
            let (proxy, router) = (proxy(&sshd), router());
            let context = router.connect(ssh(&sshd, &proxy).python(python())).unwrap();
            let mut before = proxy.round_trips();
            let calls = ["os:getpid", "first:echo", "first:echo", "second:echo", "second:echo"];
            calls.map(|target| {
                match target {
                    "os:getpid" => call(&context),
                    _ => assert_eq!(context.call::<u32>(target, (7,)).unwrap(), 7),
                }
                let now = proxy.round_trips();
                now - std::mem::replace(&mut before, now)
            })
        };
        let runs: Vec<_> = (0..RUNS).map(|_| run()).collect();
        let least = [0, 1, 2, 3, 4].map(|at| runs.iter().map(|run| run[at]).min().unwrap());
        assert_eq!(least, [1, 1, 1, 1, 1]);
    });
}
