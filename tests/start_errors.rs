//! Promise: a start that fails says in one line what was started, how far it came, why it failed and what
//! the remote side printed; everybody who uses the context gets that line.

use std::path::Path;
use std::time::Duration;

use econtext::{Error, Local, Method, Pending, Router};

mod support;

use support::{Python, TempDir, for_each_kind_of_python, interpreters, isolated, script};

/// The error of a start, with `NAME` for the context's name.
#[track_caller]
fn error_of(method: impl Method) -> String {
    error_within(Duration::from_secs(30), method)
}

#[track_caller]
fn error_within(timeout: Duration, method: impl Method) -> String {
    let router = Router::builder().connect_timeout(timeout).build().unwrap();
    let Err(Error::Connect(error)) = router.connect(method) else { panic!("it did not fail") };
    router.shutdown().unwrap();
    let line = error.to_string();
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    let rest = line.strip_prefix(&error.context).unwrap_or_else(|| panic!("{line}"));
    let pid = error.context.strip_prefix("local").unwrap();
    assert!(pid.is_empty() || pid.strip_prefix('.').unwrap().parse::<u32>().is_ok(), "{line}");
    format!("NAME{rest}")
}

/// The error of an interpreter that is this shell script.
#[track_caller]
fn error_of_script(dir: &TempDir, body: &str) -> String {
    error_of(Local::new().python(script(dir, "python", body)))
}

/// The newest CPython.
fn newest() -> &'static Path {
    let is_python = |python: &&Python| python.name.starts_with("python3");
    &interpreters().iter().rfind(is_python).expect("a Python 3").path
}

#[test]
fn a_fixed_interpreter_that_cannot_be_started() {
    isolated(|| {
        let dir = TempDir::new();
        let error = error_of(Local::new().python("/no/such/python"));
        let text = "NAME: starting the process: cannot execute /no/such/python: \
                    No such file or directory (os error 2)";
        assert_eq!(error, text);

        let error = error_of(Local::new().python("no-such-python"));
        let text = "NAME: starting the process: no-such-python not found in PATH \
                    (/usr/local/bin:/usr/bin:/bin)";
        assert_eq!(error, text);

        let file = dir.file("plain", "#!/bin/sh\n");
        let error = error_of(Local::new().python(&file));
        let file = file.display();
        let text = format!(
            "NAME: starting the process: cannot execute {file}: Permission denied (os error 13)"
        );
        assert_eq!(error, text);

        let error = error_of(Local::new().current_dir("/no/such/dir"));
        let text = "NAME: starting the process: cannot change to /no/such/dir: \
                    No such file or directory (os error 2)";
        assert_eq!(error, text);

        let error = error_of(Local::new().env("A=B", "x"));
        let text = "NAME: starting the process: \"A=B\" cannot be an environment variable's name";
        assert_eq!(error, text);
    });
}

#[test]
fn a_search_names_all_candidates_and_how_each_fared() {
    isolated(|| {
        let dir = TempDir::new();
        let error = error_of(Local::new().python_candidates(["no-python", "/no/python3"]));
        let text = "NAME: starting Python: none of no-python, /no/python3 found (exit status 97)";
        assert_eq!(error, text);

        let plain = dir.file("plain", "#!/bin/sh\n");
        let stub = script(&dir, "stub", "echo please install me >&2; exit 9\n");
        let old = "import sys; sys.hexversion = 0x030502f0; exec(sys.argv[2])";
        let old = script(&dir, "old", &format!("exec {:?} -c '{old}' \"$@\"\n", newest()));
        let all = [Path::new("no-python"), &plain, &stub, &old];
        let error = error_of(Local::new().python_candidates(all));
        let [plain, stub, old] = [plain, stub, old].map(|path| path.display().to_string());
        let text = format!(
            "NAME: starting Python: no-python not found; {plain} may not be executed; \
             {stub} does not work (exit status 9); \
             {old} is too old (Python 2.7 or 3.6 and later is needed) (exit status 97)"
        );
        assert_eq!(error, text);

        let error = error_of(Local::new().python_candidates([""; 0]));
        assert_eq!(error, "NAME: starting Python: there is no candidate to try (exit status 97)");
    });
}

#[test]
fn a_fixed_interpreter_that_is_too_old_is_named_with_its_version() {
    isolated(|| {
        let dir = TempDir::new();
        let old = "import sys; sys.version_info = (3, 5, 2); exec(sys.argv[2])";
        let body = format!("exec {:?} -c '{old}' \"$@\"\n", newest());
        let python = dir.path().join("python");
        let text = format!(
            "NAME: sending the core: {} is Python 3.5, which is too old \
             (Python 2.7 or 3.6 and later is needed) (exit status 98)",
            python.display()
        );
        assert_eq!(error_of_script(&dir, &body), text);
    });
}

#[test]
fn a_stub_that_fails_is_quoted() {
    isolated(|| {
        let dir = TempDir::new();
        let body = "echo first >&2; printf 'install \\033[1mme\\r\\n\\n' >&2; exit 9\n";
        let text = "NAME: starting Python: the process ended (exit status 9); \
                    it printed: install \\x1b[1mme";
        assert_eq!(error_of_script(&dir, body), text);
    });
}

#[test]
fn noise_before_the_first_marker_is_skipped_or_quoted() {
    isolated(|| {
        let dir = TempDir::new();
        let noise = "echo Welcome; echo EC; printf 'glued \\033[2J'\n";
        let comes_up = script(&dir, "up", &format!("{noise}exec {:?} \"$@\"\n", newest()));
        let router = Router::new().unwrap();
        let context = router.connect(Local::new().python(comes_up)).unwrap();
        assert_eq!(context.call::<i64>("operator:neg", (1,)).unwrap(), -1);
        router.shutdown().unwrap();

        let error = error_of_script(&dir, &format!("{noise}exit 3\n"));
        let text = "NAME: starting Python: the process ended (exit status 3); \
                    it printed: glued \\x1b[2J";
        assert_eq!(error, text);
    });
}

#[test]
fn noise_after_the_first_marker_is_quoted() {
    isolated(|| {
        let dir = TempDir::new();
        let error = error_of_script(&dir, "echo EC0; echo 'disk \\full'; cat >/dev/null; exit 3\n");
        let text = "NAME: sending the core: \"disk \\full\\n\" where the marker EC1 should be \
                    (exit status 3)";
        assert_eq!(error, text.replace("\\full", "\u{c}ull").replace('\u{c}', "\\x0c"));

        let error =
            error_of_script(&dir, "echo EC0; echo EC1; echo oops; cat >/dev/null & exit 3\n");
        let text = "NAME: starting the core: text where a frame should be: \"oops\\n\" \
                    (exit status 3)";
        assert_eq!(error, text);
    });
}

#[test]
fn a_child_that_ends_at_any_point_of_its_start_shows_how_far_it_came() {
    isolated(|| {
        let dir = TempDir::new();
        for (markers, stage) in [
            ("", "starting Python"),
            ("echo EC0; ", "sending the core"),
            ("echo EC0; echo EC1; ", "starting the core"),
        ] {
            for (end, status) in [
                ("exit 3", "exit status 3"),
                ("kill -9 $$", "killed by signal 9"),
                ("exit 0", "exit status 0"),
            ] {
                let error = error_of_script(&dir, &format!("{markers}{end}\n"));
                assert_eq!(error, format!("NAME: {stage}: the process ended ({status})"));
                let words = format!("echo the last words >&2; {markers}{end}\n");
                let error = error_of_script(&dir, &words);
                let text = format!(
                    "NAME: {stage}: the process ended ({status}); it printed: the last words"
                );
                assert_eq!(error, text);
            }
        }
    });
}

#[test]
fn a_bootstrap_that_fails_inside_says_what_failed() {
    const BREAK: &str = "
import os, zlib

def broken(*args):
    raise OSError(11, 'broken on purpose')

def damaged(*args):
    raise zlib.error('damaged on purpose')

def killed(*args):
    os.kill(os.getpid(), 9)

";
    let purpose = "[Errno 11] broken on purpose";
    isolated(|| {
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            // The word for OSError is another one in 2.7 and after 3.3.
            let kind = if python.version.0 == 2 { "OSError" } else { "BlockingIOError" };
            for (line, text) in [
                (
                    "os.fork = broken",
                    format!(
                        "sending the core: the first stage could not fork, or make a pipe: \
                         {purpose} (exit status 92)"
                    ),
                ),
                ("os.fork = killed", "sending the core: the process ended (killed by signal 9)".into()),
                (
                    "zlib.decompress = damaged",
                    "sending the core: the core arrived damaged: something ate or changed bytes on \
                     their way: damaged on purpose (exit status 94)"
                        .into(),
                ),
                (
                    "os.waitpid = broken",
                    format!(
                        "starting the core: the process ended (exit status 1); \
                         it printed: {kind}: {purpose}"
                    ),
                ),
                ("os.waitpid = killed", "starting the core: the process ended (killed by signal 9)".into()),
                (
                    "os.uname = broken",
                    format!(
                        "starting the core: the process ended (exit status 1); \
                         it printed: {kind}: {purpose}"
                    ),
                ),
                ("os.uname = killed", "starting the core: the process ended (killed by signal 9)".into()),
            ] {
                dir.file("sitecustomize.py", format!("{BREAK}{line}\n"));
                let local = Local::new().python(&python.path);
                let local = local.env("PYTHONPATH", dir.path()).env("PYTHONDONTWRITEBYTECODE", "1");
                assert_eq!(error_of(local), format!("NAME: {text}"), "{line}");
            }
        });
    });
}

#[test]
fn an_interpreter_that_cannot_be_executed_again_is_named() {
    isolated(|| {
        let dir = TempDir::new();
        let line = "import os\ndef execv(*args): raise OSError(2, 'gone')\nos.execv = execv\n";
        dir.file("sitecustomize.py", line);
        let local = Local::new().python(newest()).env("PYTHONPATH", dir.path());
        let error = error_of(local.env("PYTHONDONTWRITEBYTECODE", "1"));
        let text = format!(
            "the interpreter could not be executed a second time: '{}': [Errno 2] gone \
             (exit status 93)",
            newest().display()
        );
        // Its other half may or may not have the core by then.
        let stages = ["sending the core", "starting the core"];
        let texts = stages.map(|stage| format!("NAME: {stage}: {text}"));
        assert!(texts.contains(&error), "{error}");
    });
}

#[test]
fn a_stream_that_ends_early_says_where() {
    isolated(|| {
        let dir = TempDir::new();
        let cut = |bytes| format!("head -c {bytes} | {:?} \"$@\"\n", newest());
        let text =
            "NAME: sending the core: the stream ended inside the first stage (exit status 95)";
        assert_eq!(error_of_script(&dir, &cut(100)), text);
        let error = error_of_script(&dir, &cut(4000));
        let text = "NAME: sending the core: the stream ended inside the core or the configuration: \
                    the stream ended after ";
        let rest = error.strip_prefix(text).unwrap_or_else(|| panic!("{error}"));
        assert!(rest.ends_with(" bytes of the core (exit status 96)"), "{error}");
    });
}

#[test]
fn a_start_that_takes_too_long_shows_how_far_it_came() {
    let short = Duration::from_millis(300);
    isolated(|| {
        let dir = TempDir::new();
        let hangs = |said: &str| {
            let python = script(&dir, "python", &format!("{said}; exec sleep 1000\n"));
            error_within(short, Local::new().python(python))
        };
        let text = "NAME: starting Python: no answer within 300ms; it printed: Password:";
        assert_eq!(hangs("printf 'Password: '"), text);
        assert_eq!(hangs("echo EC0"), "NAME: sending the core: no answer within 300ms");
        let text = "NAME: starting the core: no answer within 300ms; \
                    text where a frame should be: \"oops\\n\"";
        assert_eq!(hangs("echo EC0; echo EC1; echo oops"), text);
    });
}

#[test]
fn every_pending_and_later_operation_shows_why_the_start_failed() {
    isolated(|| {
        let dir = TempDir::new();
        let gate = support::mkfifo(&dir, "gate");
        let router = Router::new().unwrap();
        let late = script(&dir, "late", &format!("read line <{gate:?}\nexit 3\n"));
        let late = router.start(Local::new().python(late));
        let early = router.start(Local::new().python("/no/such/python").name("web"));
        let pending: Vec<Pending<()>> =
            (0..10).map(|_| late.call_async("os:getpid", ()).unwrap()).collect();
        late.call_no_reply("os:getpid", ()).unwrap();
        std::fs::File::options().write(true).open(&gate).unwrap();
        let late_text = format!("{late}: starting Python: the process ended (exit status 3)");
        for call in pending {
            assert_eq!(call.get().unwrap_err().to_string(), late_text);
        }
        let early_text = "web: starting the process: cannot execute /no/such/python: \
                          No such file or directory (os error 2)";
        for (context, text) in [(late, &late_text[..]), (early, early_text)] {
            for _ in 0..2 {
                let (sender, receiver) = router.channel::<i64>();
                let pending = context.call_async::<()>("os:write", (sender,)).unwrap();
                let errors = [
                    context.info().unwrap_err(),
                    context.wait_connected(Duration::from_secs(9)).unwrap_err(),
                    context.call::<()>("os:getpid", ()).unwrap_err(),
                    context.call_with_deadline::<()>(Duration::ZERO, "os:getpid", ()).unwrap_err(),
                    pending.get().unwrap_err(),
                    context.call_no_reply("os:getpid", ()).unwrap_err(),
                    context.function("os:getpid").call::<()>().unwrap_err(),
                    receiver.recv().unwrap_err(),
                ];
                for error in errors {
                    assert!(matches!(error, Error::Connect(_)), "{error:?}");
                    assert_eq!(error.to_string(), text);
                }
            }
            assert!(!context.is_connected());
            context.shutdown().unwrap();
        }
        router.shutdown().unwrap();
    });
}
