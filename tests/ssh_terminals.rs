//! Promise: ssh has a terminal only where there is an answer to a question, and nothing but questions is on
//! it.

use std::fs;
use std::path::PathBuf;

use econtext::{HostKeys, Router, Ssh};

mod support;

use support::{Prompts, Sshd, descendants, isolated};

/// The ssh processes of this one.
fn clients() -> Vec<i32> {
    let is_ssh = |line: &String| line.starts_with("ssh -");
    let all = descendants(std::process::id() as i32).into_iter();
    all.filter(|(_, line)| is_ssh(line)).map(|(pid, _)| pid).collect()
}

/// The number of its controlling terminal; 0 is none.
fn terminal(pid: i32) -> i64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.split(' ').nth(4).unwrap().parse().unwrap()
}

/// What of a process's descriptors are terminals.
fn open_terminals(pid: i32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let files = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    files.filter(|file| file.starts_with("/dev/pts") || file.ends_with("ptmx")).collect()
}

/// Starts a context; looks at its ssh.
#[track_caller]
fn has_terminal(router: &Router, method: Ssh) -> bool {
    let context = router.connect(method).unwrap();
    let pids = clients();
    assert_eq!(pids.len(), 1, "{pids:?}");
    // Data and stderr are never on it.
    assert_eq!(open_terminals(pids[0]), [""; 0].map(PathBuf::from));
    let ours = open_terminals(std::process::id() as i32).len();
    let has_terminal = terminal(pids[0]) != 0;
    assert_eq!(ours, if has_terminal { 2 } else { 0 });
    assert_eq!(context.call::<u32>("os:getpid", ()).unwrap(), context.info().unwrap().pid);
    context.shutdown().unwrap();
    assert_eq!(open_terminals(std::process::id() as i32).len(), 0);
    has_terminal
}

#[test]
fn a_terminal_is_made_only_where_there_may_be_an_answer() {
    isolated(|| {
        let sshd = Sshd::start();
        let router = Router::new().unwrap();
        assert!(!has_terminal(&router, sshd.ssh()));
        assert!(!has_terminal(&router, sshd.ssh().host_keys(HostKeys::Enforce)));
        assert!(!has_terminal(&router, sshd.ssh().host_keys(HostKeys::Ignore)));
        for method in [
            sshd.ssh().password("x"),
            sshd.ssh().passphrase("x"),
            sshd.ssh().host_keys(HostKeys::AcceptNew),
        ] {
            assert!(has_terminal(&router, method));
        }
        router.shutdown().unwrap();
        let router = Router::builder().on_prompt(Prompts::default().handler()).build().unwrap();
        assert!(has_terminal(&router, sshd.ssh()));
        router.shutdown().unwrap();
    });
}

#[test]
fn starts_that_fail_at_a_question_leave_no_terminal() {
    isolated(|| {
        let sshd = Sshd::start();
        let key = sshd.make_key("locked", "sesame");
        sshd.authorize(&key);
        let router = Router::new().unwrap();
        let starts: Vec<_> =
            (0..10).map(|_| router.start(sshd.ssh().identity(&key).passphrase("wrong"))).collect();
        for context in starts {
            let error = context.info().unwrap_err().to_string();
            assert!(error.ends_with("' is wrong"), "{error}");
            context.shutdown().unwrap();
        }
        assert_eq!(open_terminals(std::process::id() as i32).len(), 0);
        assert_eq!(clients(), []);
        router.shutdown().unwrap();
    });
}
