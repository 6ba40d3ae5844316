//! Promise: a start that is made again sends what it had sent, once more and whole; one that only takes its time is
//! not made again, and nobody is troubled twice.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use econtext::{Context, Level, Prompt, Router, Ssh};

mod support;

use support::{Log, Sshd, TempDir, fake_ssh, isolated};

/// A call that leaves a line in a file; gives how many are there.
fn note(context: &Context, dir: &TempDir) -> usize {
    let path = dir.path().join("notes");
    let command = format!("echo x >>{}", path.display());
    assert_eq!(context.call::<i64>("os:system", (command,)).unwrap(), 0);
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn a_python_that_takes_long_to_start_gets_each_call_once() {
    isolated(|| {
        let dir = TempDir::new();
        // Longer than an attempt waits for the sign that the core is there: which it is.
        dir.file("sitecustomize.py", "import time\ntime.sleep(11)\n");
        let sshd = Sshd::start_with(&format!("SetEnv PYTHONPATH={}", dir.path().display()));
        let log = Log::default();
        let router = Router::builder().log_level(Level::Debug).on_log(log.sink()).build().unwrap();
        let context = router.start(sshd.ssh());
        assert_eq!(note(&context, &dir), 1);
        assert_eq!(note(&context, &dir), 2);
        router.shutdown().unwrap();
        let again = log.records().iter().any(|record| record.message.contains("attempt"));
        assert!(!again, "{:?}", log.records());
    });
}

/// A stand-in whose n-th run does the n-th of these.
fn in_turn(dir: &TempDir, bodies: &[&str]) -> Ssh {
    let runs = dir.path().join("runs");
    let cases: String = (1..).zip(bodies).map(|(n, body)| format!("{n}) {body} ;;\n")).collect();
    let runs = runs.display();
    let body = format!("echo >>{runs}\ncase $(wc -l <{runs}) in\n{cases}esac");
    Ssh::new("web1").ssh_path(fake_ssh(dir, &body))
}

const BUSY: &str = "say 'kex_exchange_identification: Connection closed by remote host' \
                    'Connection closed by 192.0.2.1 port 22'; exit 255";

#[test]
fn what_was_eaten_is_sent_again_also_to_a_server_that_is_busy_then() {
    isolated(|| {
        let dir = TempDir::new();
        let eats = "logged_in; head -c 2000 >/dev/null; run";
        let method = in_turn(&dir, &[eats, BUSY, BUSY, eats]);
        let router = Router::builder().on_log(|_| {}).build().unwrap();
        let context = router.start(method);
        assert_eq!(note(&context, &dir), 1);
        router.shutdown().unwrap();
    });
}

#[test]
fn a_start_without_a_limit_is_made_again_too() {
    isolated(|| {
        let dir = TempDir::new();
        // Reads all there is, and ends: Python waits for what does not come.
        let method = in_turn(&dir, &["logged_in; timeout 1 cat >/dev/null; run", "logged_in; run"]);
        let router = Router::builder().on_log(|_| {}).build().unwrap();
        let context = router.start(method.connect_timeout(Duration::MAX));
        assert_eq!(note(&context, &dir), 1);
        router.shutdown().unwrap();
    });
}

#[test]
fn a_person_is_not_asked_again_for_a_server_that_is_busy() {
    isolated(|| {
        let dir = TempDir::new();
        let method = in_turn(&dir, &[&format!("ask 'Code: '; {BUSY}"), "ask 'Code: '; exit 1"]);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let handler = move |prompt: &Prompt| {
            noted.lock().unwrap().push(prompt.attempt);
            Some("123456".into())
        };
        let router = Router::builder().on_prompt(handler).build().unwrap();
        let error = router.connect(method).unwrap_err().to_string();
        assert!(error.contains("closed by remote host"), "{error}");
        assert_eq!(*asked.lock().unwrap(), [1]);
        router.shutdown().unwrap();
    });
}

#[test]
fn text_on_the_terminal_after_the_login_is_no_question() {
    isolated(|| {
        let dir = TempDir::new();
        let text = "printf 'rekeying.. ' >/dev/tty";
        for body in [format!("{text}; logged_in; run"), format!("logged_in; {text}; run")] {
            let method = Ssh::new("web1").ssh_path(fake_ssh(&dir, &body)).password("x");
            let router = Router::new().unwrap();
            let context = router.connect(method).unwrap();
            // As long as it takes for a text to count as a question, and longer.
            context.call::<()>("time:sleep", (0.7,)).unwrap();
            context.call::<u32>("os:getpid", ()).unwrap();
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn lines_without_end_on_stderr_do_not_stop_other_contexts() {
    isolated(|| {
        let dir = TempDir::new();
        let body = "logged_in; (exec yes '' >&2) & run";
        let router = Router::builder().on_log(|_| {}).build().unwrap();
        let noisy = router.connect(Ssh::new("web1").ssh_path(fake_ssh(&dir, body))).unwrap();
        let other = router.connect(econtext::Local::new()).unwrap();
        let begin = Instant::now();
        for _ in 0..50 {
            other.call_async::<u32>("os:getpid", ()).unwrap().get().unwrap();
        }
        // It took seconds for one call when each pass looked at each line at length.
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}");
        noisy.shutdown().unwrap();
        router.shutdown().unwrap();
    });
}
