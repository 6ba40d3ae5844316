//! Promise: an ssh, a server or a link that stands still is found within the time that `keepalive` says, and
//! everything that waited is told.

use std::time::{Duration, Instant};

use econtext::{Error, Router, Select, Ssh};

mod support;

use support::{Network, Process, Sshd, descendants, isolated};

const INTERVAL: Duration = Duration::from_secs(1);
const COUNT: u32 = 2;

/// How the errors of a server that says nothing end.
const GONE: &str = "not responding.\" (exit status 255)";

/// A context whose calls and channel wait while `stall` makes it stand still: each ends for this reason.
/// Gives the remote process, which ends when its server notices.
fn everything_is_told(method: Ssh, stall: impl FnOnce(), reason: &str) -> Process {
    let router = Router::builder().shutdown_grace(Duration::from_millis(100)).build().unwrap();
    let context = router.connect(method.keepalive(INTERVAL, COUNT).name("still")).unwrap();
    let child = Process::open(context.info().unwrap().pid as i32);
    let (sender, receiver) = router.channel::<i64>();
    let calls = [
        context.call_async::<i64>("time:sleep", (1000,)).unwrap(),
        context.call_async::<i64>("operator:add", (1, 2)).unwrap(),
    ];
    // The sender is held by a call that is never answered.
    let with_sender = context.call_async::<()>("operator:eq", (sender, 1)).unwrap();
    let mut select = Select::new();
    for call in calls {
        select.add(call);
    }

    stall();
    let begin = Instant::now();
    for event in select {
        let Err(error) = event.into_result() else { panic!("an answer") };
        let error = error.to_string();
        assert!(error.starts_with("still: call of ") && error.ends_with(reason), "{error}");
    }
    let found = begin.elapsed();
    // More than is said, for a busy machine; far less than TCP takes.
    assert!(found < 5 * (COUNT + 1) * INTERVAL, "{found:?}");
    let error = with_sender.get().unwrap_err().to_string();
    assert!(error.ends_with(reason), "{error}");
    let error = receiver.recv().unwrap_err().to_string();
    assert!(error.contains(reason), "{error}");
    let error = context.call::<i64>("operator:add", (1, 2)).unwrap_err();
    assert!(matches!(error, Error::Disconnected { .. }), "{error}");
    assert!(!context.is_connected());
    router.shutdown().unwrap();
    child
}

/// The one process below `ancestor` whose description begins so.
fn process(ancestor: i32, start: &str) -> Process {
    let all = descendants(ancestor);
    let found: Vec<_> = all.iter().filter(|(_, line)| line.starts_with(start)).collect();
    let [(pid, _)] = found[..] else { panic!("{start}: {all:#?}") };
    Process::open(*pid)
}

#[test]
fn a_stopped_ssh() {
    isolated(|| {
        let sshd = Sshd::start();
        let stop = || process(std::process::id() as i32, "ssh ").stop();
        let reason = "disconnected: its process has been stopped by a signal for 2s";
        everything_is_told(sshd.ssh(), stop, reason).wait_end();
    });
}

#[test]
fn a_stopped_server() {
    isolated(|| {
        let sshd = Sshd::start();
        let stop = || process(sshd.pid(), "sshd: ").stop();
        let child = everything_is_told(sshd.ssh(), stop, GONE);
        drop(sshd);
        child.wait_end();
    });
}

#[test]
fn a_link_that_goes_down() {
    isolated(|| {
        let network = Network::new(["client", "server"]);
        network.link([("client", "192.0.2.1/30"), ("server", "192.0.2.2/30")]);
        let sshd = network.sshd("server", "192.0.2.2");
        let method = sshd.ssh_at("192.0.2.2").ssh_path(network.ssh_path("client"));
        let child = everything_is_told(method, || network.cut("client", "server"), GONE);
        drop(sshd);
        child.wait_end();
    });
}
