//! Promise: a start that code in a context asks for is made again where that may help, asks whom it was told to ask,
//! and leaves nothing behind where it fails or nobody waits for it any more.

use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::Duration;

use econtext::{Context, Function, Level, Local, Router, Value};

mod support;

use support::{
    Process, Python, Run, TempDir, fake_ssh, for_each_kind_of_python, for_each_python, isolated,
    long, mkfifo, script,
};

/// A context that finds this directory's programs first.
fn start(python: &Python, dir: &TempDir) -> Run {
    let paths = format!("{}:/usr/local/bin:/usr/bin:/bin", dir.path().display());
    let local = Local::new().python(&python.path).env("PATH", paths);
    Run::start_with(local, Level::Debug, |modules| {
        modules.source("starts", include_str!("remote_starts/starts.py"));
    })
}

fn text(call: Function) -> String {
    call.call().unwrap_or_else(|error| panic!("{}", long(&error)))
}

/// An ssh whose n-th run does the n-th of these; the runs are counted anew after each call of this.
fn in_turn(dir: &TempDir, bodies: &[&str]) {
    let runs = dir.file("runs", "");
    let cases: String = (1..).zip(bodies).map(|(n, body)| format!("{n}) {body} ;;\n")).collect();
    let runs = runs.display();
    fake_ssh(dir, &format!("echo >>{runs}\ncase $(wc -l <{runs}) in\n{cases}esac"));
}

fn runs(dir: &TempDir) -> usize {
    std::fs::read_to_string(dir.path().join("runs")).unwrap().lines().count()
}

/// Starts a context over ssh, of which a function is called: how often that ran, or why it did not.
fn counted(context: &Context, dir: &TempDir) -> String {
    let notes = dir.file("notes", "");
    text(context.function("starts:count").arg(&*notes.to_string_lossy()))
}

const BUSY: &str = "say 'kex_exchange_identification: Connection closed by remote host' \
                    'Connection closed by 192.0.2.1 port 22'; exit 255";
const EATS: &str = "logged_in; head -c 2000 >/dev/null; run";

/// How long what would never end is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn a_module_starts_contexts_while_it_is_imported() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start_with(Local::new().python(&python.path), Level::Info, |modules| {
                let start = "import sys\nfrom econtext import parent\n\
                             try:\n    parent.local('/nonexistent')\nexcept parent.ConnectError:\n    \
                             WORDS = '%s' % sys.exc_info()[1]\n\
                             PID = parent.local(sys.executable).call('os:getpid')\n\
                             def told(): return WORDS, PID\n";
                modules.source("starts_one", start);
            });
            let told = run.context.call_with_deadline(DEADLINE, "starts_one:told", ());
            let (words, pid): (String, u32) =
                told.unwrap_or_else(|error| panic!("{}", long(&error)));
            assert!(words.contains("/nonexistent"), "{words}");
            assert!(pid > 1);
        });
    });
}

#[test]
fn a_start_ends_in_time_while_another_thread_imports() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            if python.version >= (3, 0) {
                return; // each module has a lock of its own
            }
            let run = start(python, &dir);
            run.router.modules().source(
                "waits_for_a_fifo",
                "import os, starts\nstarts.starts_begun.set()\nopen(os.environ['FIFO']).close()\n",
            );
            let fifo = mkfifo(&dir, &python.name);
            let call = run.context.function("starts:while_another_imports").arg(fifo);
            let (said, left): (String, Vec<String>) =
                call.timeout(DEADLINE).call().unwrap_or_else(|error| panic!("{}", long(&error)));
            let words = "there was no process within 0.1s: does another thread import something?";
            assert!(said.contains(words), "{said}");
            assert_eq!(left, Vec::<String>::new(), "{said}");
        });
    });
}

#[test]
fn a_start_in_a_context_that_is_shutting_down_says_so() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = start(python, &dir);
            let fifo = mkfifo(&dir, &python.name);
            let _call = run.context.call_async::<Value>("starts:start_late", (&*fifo,)).unwrap();
            let reader = thread::spawn(move || {
                let mut told = File::open(fifo).unwrap();
                run.context.shutdown().unwrap();
                let mut said = String::new();
                told.read_to_string(&mut said).unwrap();
                said
            });
            let said = reader.join().unwrap();
            let expected = "ConnectError: local: the context is shutting down";
            assert_eq!(said, expected);
        });
    });
}

#[test]
fn what_nothing_looks_after_yet_ends_with_its_context() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let router =
                Router::builder().shutdown_grace(Duration::from_millis(200)).build().unwrap();
            router.modules().source("starts", include_str!("remote_starts/starts.py"));
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            let fifo = mkfifo(&dir, &python.name);
            let call = context.call_async::<()>("starts:start_and_stop_there", (&*fifo,)).unwrap();
            let pid = std::fs::read_to_string(fifo).unwrap();
            let process = Process::open(pid.trim().parse().unwrap());
            assert!(process.is_running());
            context.shutdown().unwrap();
            process.wait_end();
            assert!(call.get().is_err());
        });
    });
}

#[test]
fn a_program_that_a_signal_interrupts_leaves_nothing_behind() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = start(python, &dir);
            let (count, left, loose): (usize, Vec<String>, usize) = run
                .context
                .call("starts:storm", ())
                .unwrap_or_else(|error| panic!("{}", long(&error)));
            assert!(count > 0);
            assert_eq!((left, loose), (Vec::new(), 0), "{python}");
        });
    });
}

#[test]
fn what_a_login_script_ate_is_sent_again_also_to_a_server_that_is_busy_then() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = start(python, &dir);
            in_turn(&dir, &[EATS, BUSY, EATS]);
            assert_eq!(counted(&run.context, &dir), "1");
            assert_eq!(runs(&dir), 3);
            run.log.wait_for("a word about it", |record| {
                record.message.starts_with("a login script reads standard input")
            });
        });
    });
}

#[test]
fn a_script_that_reads_all_there_is_is_waited_for_once() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            let run = start(python, &dir);
            in_turn(&dir, &["logged_in; timeout 1 cat >/dev/null; run", "logged_in; run"]);
            assert_eq!(counted(&run.context, &dir), "1");
            assert_eq!(runs(&dir), 2);
        });
    });
}

#[test]
fn what_is_eaten_twice_and_a_server_that_stays_busy_are_errors() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            let run = start(python, &dir);
            in_turn(&dir, &[EATS, "logged_in; say gone; exit 3", "exit 9"]);
            let expected = "ssh.web1: starting Python: the process ended; the second attempt, since a \
                            login script seems to have read what the first one sent (exit status 3); \
                            it printed: gone";
            assert_eq!(counted(&run.context, &dir), expected);
            assert_eq!(runs(&dir), 2);
            // Until the time is over, which is short.
            in_turn(&dir, &[BUSY; 20]);
            let timeout = run.context.function("starts:words").arg("ssh").kwarg("host", "web1");
            let error = text(timeout.kwarg("timeout", 1.5));
            assert!(
                error.starts_with("ssh.web1: connecting: the server hung up at once"),
                "{error}"
            );
            assert!(error.contains("; after ") && (2..5).contains(&runs(&dir)), "{error}");
            let status: Vec<String> = run.context.call("starts:left", ()).unwrap();
            assert_eq!(status, Vec::<String>::new());
        });
    });
}

#[test]
fn a_start_that_takes_too_long_says_how_far_it_came() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = start(python, &dir);
            let words = |body: &str| {
                fake_ssh(&dir, body);
                let call = run.context.function("starts:words").arg("ssh").kwarg("host", "web1");
                text(call.kwarg("timeout", 0.5))
            };
            let connecting = words("exec sleep 60");
            assert_eq!(connecting, "ssh.web1: connecting: not logged in within 0.5s");
            let expected = "ssh.web1: starting Python: no answer within 0.5s: does a login script \
                            wait, or read standard input?; it printed: moment";
            assert_eq!(words("logged_in; say moment; exec sleep 60"), expected);
            let core = words("logged_in; printf 'EC0\\n'; exec sleep 60");
            assert_eq!(core, "ssh.web1: sending the core: no answer within 0.5s");
        });
    });
}

/// Asks for the answers of `answers`, one after the other, in turn.
const ASKS: &str = r#"while IFS= read -r line <&4; do
    printf '%b' "$line" >"${0%ssh}line"
    ask "$(cat "${0%ssh}line"; printf x)" || exit 9
    printf '%s\n' "$answer" >>"${0%ssh}told"
done 4<"${0%ssh}questions"
logged_in
run
"#;

#[test]
fn what_nobody_gave_an_answer_for_on_prompt_is_asked_by_the_thread_that_waits() {
    isolated(|| {
        let dir = TempDir::new();
        let told = dir.path().join("told");
        // `$(..)` takes newlines at the end away, and `x` is not to be asked.
        let asks = ASKS
            .replace(r#"ask "$(cat "${0%ssh}line"; printf x)""#, r#"ask "$(cat "${0%ssh}line") ""#);
        fake_ssh(&dir, &asks);
        let host = "The authenticity of host 'web1 (192.0.2.1)' can't be established.\\r\\nED25519 key \
                    fingerprint is SHA256:abc.\\r\\nAre you sure you want to continue connecting (yes/no)?";
        let questions = [
            host,
            "Please type 'yes' or 'no':",
            "Enter passphrase for key '/a':",
            "Enter passphrase for key '/a':",
            "me@gate's password:",
            "deploy@web1's password:",
            "Your code\\033[2J:",
        ];
        dir.file("questions", questions.join("\n") + "\n");
        for_each_python(|python| {
            let run = start(python, &dir);
            let _ = std::fs::remove_file(&told);
            let answers = ["no way", "yes", "first", "second", "gates", "hunter2", "123 456"];
            let asked: Vec<(String, String, String, u32, bool)> = run
                .context
                .call("starts:asked", (answers,))
                .unwrap_or_else(|error| panic!("{}", long(&error)));
            assert_eq!(std::fs::read_to_string(&told).unwrap(), answers.join("\n") + "\n");
            let host = host.replace("\\r\\n", "\n");
            let expected = [
                ("host key", &*host, 1),
                ("host key", &*host, 2),
                ("passphrase", questions[2], 1),
                ("passphrase", questions[2], 2),
                ("password", questions[4], 1),
                ("password", questions[5], 1),
                ("other", "Your code\\x1b[2J:", 1),
            ];
            for (asked, (kind, text, attempt)) in asked.iter().zip(expected) {
                let expected = ("ssh.web1".into(), kind.into(), text.into(), attempt, true);
                assert_eq!(*asked, expected);
            }
            assert_eq!(asked.len(), expected.len());
            let secrets = ["hunter2", "123 456", "gates", "second"];
            let leak = run
                .log
                .records()
                .into_iter()
                .find(|record| secrets.iter().any(|secret| record.message.contains(secret)));
            assert!(leak.is_none(), "{leak:?}");
        });
    });
}

#[test]
fn a_prompt_that_is_not_answered_ends_the_start_and_so_does_what_the_handler_raises() {
    isolated(|| {
        let dir = TempDir::new();
        fake_ssh(&dir, "ask 'Code: ' || exit 9\nask 'Code: '; exit 7");
        for_each_python(|python| {
            let run = start(python, &dir);
            let ends = |kind: &str| -> (String, String) {
                let ended = run.context.call("starts:handled", (kind,));
                ended.unwrap_or_else(|error| panic!("{}", long(&error)))
            };
            let error =
                |words: &str| ("ConnectError".into(), format!("ssh.web1: logging in: {words}"));
            assert_eq!(ends("none"), error("\"Code:\" got no answer from on_prompt"));
            let unfit = "the answer to \"Code:\" cannot be typed: it has the end of a line in it";
            assert_eq!(ends("two lines"), error(unfit));
            assert_eq!(ends("raises"), ("KeyError".into(), "'nobody'".into()));
            let left: Vec<String> = run.context.call("starts:left", ()).unwrap();
            assert_eq!(left, Vec::<String>::new());
        });
    });
}

#[test]
fn sudos_question_is_asked_on_with_its_own_words() {
    const SUDO: &str = r#"while [ "$1" != -- ]; do
    case $1 in
    -n) echo 'sudo: a password is required' >&2; exit 1 ;;
    -p) prompt=$2; shift ;;
    esac
    shift
done
shift
exec 3<>/dev/tty
for attempt in 1 2; do
    printf '%s' "$prompt" >&3
    IFS= read -r answer <&3
    printf '\n' >&3
    [ "$answer" = hunter2 ] && { exec 3>&-; exec "$@"; }
    echo 'Sorry, try again.' >&3
done
exit 1
"#;
    isolated(|| {
        let dir = TempDir::new();
        script(&dir, "sudo", SUDO);
        for_each_python(|python| {
            let run = start(python, &dir);
            let asked: Vec<(String, String, u32)> = run
                .context
                .call("starts:sudo_asked", (["guess", "hunter2"],))
                .unwrap_or_else(|error| panic!("{}", long(&error)));
            let expected = [
                ("password".into(), "sudo password:".into(), 1),
                ("password".into(), "Sorry, try again.\nsudo password:".into(), 2),
            ];
            assert_eq!(asked, expected);
        });
    });
}

#[test]
fn a_wait_that_a_signal_ends_leaves_no_process_and_no_descriptor() {
    isolated(|| {
        let dir = TempDir::new();
        fake_ssh(&dir, "logged_in; run");
        script(&dir, "slow", "logged_in() { :; }\nexec sleep 60\n");
        for_each_python(|python| {
            let run = start(python, &dir);
            let (interrupted, left): (usize, Vec<String>) = run
                .context
                .call("starts:interrupted", ())
                .unwrap_or_else(|error| panic!("{}", long(&error)));
            assert!(interrupted > 0);
            assert_eq!(left, Vec::<String>::new(), "{python}");
            let routes: Vec<u32> = run.context.call("starts:routes", ()).unwrap();
            assert_eq!(routes.len(), 1, "that which was up before");
            // Nor does the program know of more.
            let tree = run.router.tree();
            assert_eq!((tree.children.len(), tree.children[0].children.len()), (1, 1), "{tree}");
        });
    });
}

#[test]
fn a_local_context_has_the_environment_and_the_directory_that_it_is_given() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            let run = start(python, &dir);
            let place = dir.path().canonicalize().unwrap();
            let (word, path, cwd): (String, String, String) = run
                .context
                .call("starts:placed", (&*place.to_string_lossy(),))
                .unwrap_or_else(|error| panic!("{}", long(&error)));
            assert_eq!(word, "\u{e9}lan vital");
            assert!(path.starts_with(&*dir.path().to_string_lossy()), "{path}");
            assert_eq!(cwd, place.to_string_lossy());
        });
    });
}

#[test]
fn a_context_that_is_shut_down_ends_and_so_do_its_calls() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            let run = start(python, &dir);
            let (said, left): (Vec<String>, Vec<String>) = run
                .context
                .call("starts:shut_down", ())
                .unwrap_or_else(|error| panic!("{}", long(&error)));
            assert_eq!(said, ["StreamError", "StreamError"]);
            assert_eq!(left, Vec::<String>::new());
        });
    });
}

#[test]
fn the_reference_has_the_signatures_of_the_functions() {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let reference = words(&include_str!("../src/remote.rs").replace("//!", ""));
    let source = include_str!("../bootstrap/econtext/methods.py");
    let parent = include_str!("../bootstrap/econtext/parent.py");
    for name in ["local", "ssh", "sudo", "argv"] {
        let begin = format!("\ndef {name}(");
        let (_, rest) = source.split_once(&*begin).expect(name);
        let (arguments, _) = rest.split_once("):\n").unwrap();
        let signature = format!(" parent.{name}({}) ", words(arguments));
        assert!(reference.contains(&signature), "src/remote.rs has no {signature}");
        assert!(parent.contains(&begin), "{name} is not one of econtext.parent's");
    }
    for name in ["context", "stage", "reason", "printed", "status"] {
        assert!(reference.contains(&format!("`{name}`")), "{name} of ConnectError");
    }
}
