//! Promise: a context over ssh comes up whatever the login shell of the other side is, and whatever its
//! login scripts do that leaves a command a chance.
//!
//! sshd runs a command by `<shell> -c <command>`. Of a shell's scripts, bash, zsh, csh, tcsh and fish read
//! one even then; sh, ksh and their kin read none (`ENV` is for interactive ones), and meet login scripts
//! where a site's own shell runs them first: here a script that is the user's shell.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use econtext::{Context, Error, ExitStatus, Level, LogRecord, Router, Stage};

mod support;

use support::{
    Log, Sshd, TempDir, User, for_each_kind_of_python, interpreters, is_root, isolated, leave_out,
    program,
};

const TASKS: &str = r#"
import os, sys

def check(text):
    return text, os.environ['SHELL'], sys.version_info[:2]

def parent():
    with open('/proc/%d/comm' % os.getppid()) as comm:
        return comm.read()

def note(path, word):
    with open(path, 'a') as file:
        file.write(word)
"#;

/// A shell, and how one says things in its language.
struct Shell {
    name: &'static str,
    path: PathBuf,
    /// What it reads before a command, in the home directory.
    script: Option<&'static str>,
    read_line: &'static str,
}

/// All that this machine has; the others are left out aloud.
fn shells(dir: &TempDir) -> Vec<Shell> {
    let ash = dir.path().join("ash");
    symlink("/bin/busybox", &ash).unwrap();
    let sh = "read line";
    let csh = "set line = \"$<\"";
    let all = [
        ("sh", "/bin/sh", None, sh),
        ("bash", "/bin/bash", Some(".bashrc"), sh),
        ("dash", "/bin/dash", None, sh),
        ("zsh", "/bin/zsh", Some(".zshenv"), sh),
        ("ksh", "/usr/bin/ksh", None, sh),
        ("mksh", "/bin/mksh", None, sh),
        ("csh", "/bin/csh", Some(".cshrc"), csh),
        ("tcsh", "/bin/tcsh", Some(".tcshrc"), csh),
        ("fish", "/usr/bin/fish", Some(".config/fish/config.fish"), "read line"),
        ("busybox ash", ash.to_str().unwrap(), None, sh),
    ];
    let mut found = Vec::new();
    for (name, path, script, read_line) in all {
        let path = PathBuf::from(path);
        if path.exists() {
            found.push(Shell { name, path, script, read_line });
        } else {
            leave_out(name, "there is no such shell");
        }
    }
    found
}

impl Shell {
    /// A user whose login script this is.
    fn user(&self, dir: &TempDir, script: &str) -> User {
        match self.script {
            Some(name) => {
                let user = User::new(&self.path);
                user.write(name, script);
                user
            }
            None => {
                let path = self.path.display();
                let body = format!("#!{path}\n. ~/.profile\nexec {path} \"$@\"\n");
                let user = User::new(program(dir, &format!("site {}", self.name), &body));
                user.write(".profile", script);
                user
            }
        }
    }
}

/// Starts a child for a user of each shell with this login script, all at once. Gives each to `each` once
/// it is up or has failed, with what was logged of it.
fn with_scripts(
    script: impl Fn(&Shell) -> String,
    each: impl Fn(&Shell, Result<Context, Error>, &Log),
) {
    let (dir, log) = (TempDir::new(), Log::default());
    // A server that does not refuse one of many.
    let (sshd, router) = (Sshd::start_with("MaxStartups 100"), router(&log));
    let shells = shells(&dir);
    let users: Vec<_> = shells.iter().map(|shell| shell.user(&dir, &script(shell))).collect();
    let start = |(shell, user): (&Shell, &User)| {
        router.start(sshd.ssh().user(user.name()).name(shell.name))
    };
    let starts: Vec<_> = shells.iter().zip(&users).map(start).collect();
    for (shell, context) in shells.iter().zip(starts) {
        each(shell, context.wait_connected(PATIENCE).map(|()| context), &log);
    }
    router.shutdown().unwrap();
    assert_no_chatter(&log);
}

/// Longer than many at once take on a busy machine, each of them twice.
const PATIENCE: Duration = Duration::from_secs(120);

fn router(log: &Log) -> Router {
    let builder = Router::builder().log_level(Level::Debug).on_log(log.sink());
    let router = builder.connect_timeout(PATIENCE).build().unwrap();
    router.modules().source("tasks", TASKS);
    router
}

/// Whether it works, to the last byte; gives the login shell's path and Python's version.
fn check(context: &Context) -> (PathBuf, (u32, u32)) {
    let text = "h\u{e9}\u{20ac}\u{1f600}";
    let called = context.call("tasks:check", (text,));
    let (same, shell, version): (String, PathBuf, _) =
        called.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(same, text);
    (shell, version)
}

/// What the log says of a second attempt.
fn second_attempts(log: &Log, name: &str) -> usize {
    log.records().iter().filter(|record| tells_of_a_second_attempt(record, name)).count()
}

fn tells_of_a_second_attempt(record: &LogRecord, name: &str) -> bool {
    record.context == name && record.message.contains("by a second attempt")
}

/// The log is told a little later than who waits for the context.
fn assert_a_second_attempt(log: &Log, name: &str) {
    log.wait_for(&format!("the attempt of {name}"), |it| tells_of_a_second_attempt(it, name));
    assert_eq!(second_attempts(log, name), 1, "{name}");
}

/// What ssh says of an ordinary connection is nobody's business.
fn assert_no_chatter(log: &Log) {
    for record in log.records() {
        let is_chatter = ["Authenticated to ", "Transferred: ", "Bytes per second: "];
        let is_chatter = is_chatter.iter().any(|words| record.message.contains(words));
        assert!(!is_chatter, "{record:?}");
    }
}

#[test]
fn each_login_shell_starts_a_child_by_search_and_by_path() {
    isolated(|| {
        let (dir, log) = (TempDir::new(), Log::default());
        let (sshd, router) = (Sshd::start_for_all_pythons(""), router(&log));
        for shell in shells(&dir) {
            let user = User::new(&shell.path);
            let ssh = || sshd.ssh().user(user.name()).name(shell.name);
            let mut starts = vec![(None, router.start(ssh()))];
            for_each_kind_of_python(|python| {
                starts.push((Some(python.version), router.start(ssh().python(&python.path))));
            });
            for (version, context) in starts {
                let (path, actual) = check(&context);
                assert_eq!(path, shell.path);
                assert_eq!(actual, version.unwrap_or(actual), "{}", shell.name);
                // No shell waits in memory for its end.
                let parent: String = context.call("tasks:parent", ()).unwrap();
                assert!(parent.starts_with("sshd"), "{}: {parent}", shell.name);
                context.shutdown().unwrap();
            }
            assert_eq!(second_attempts(&log, shell.name), 0, "{}", shell.name);
        }
        router.shutdown().unwrap();
        assert_no_chatter(&log);
    });
}

#[test]
fn every_python_is_a_child_over_ssh() {
    isolated(|| {
        let log = Log::default();
        let (sshd, router) = (Sshd::start_for_all_pythons("MaxStartups 100"), router(&log));
        // Without root it is one's own account.
        let user = is_root().then(|| User::new("/bin/sh"));
        let starts = interpreters().iter().map(|python| {
            let ssh = sshd.ssh().python(&python.path).name(&python.name);
            let ssh = user.iter().fold(ssh, |ssh, user| ssh.user(user.name()));
            (python, router.start(ssh))
        });
        for (python, context) in starts.collect::<Vec<_>>() {
            assert_eq!(check(&context).1, python.version, "{python}");
            let info = context.info().unwrap();
            assert_eq!(Path::new(&info.executable), python.path, "{python}");
            assert_eq!(user.as_ref().map_or(info.uid, User::uid), info.uid, "{python}");
        }
        router.shutdown().unwrap();
        assert_no_chatter(&log);
    });
}

#[test]
fn login_scripts_may_print_what_they_like() {
    isolated(|| {
        // Much, and to the last byte before the marker; also what looks like a part of it.
        let script = "echo Welcome, EC and E\n\
                      sh -c 'echo complaint >&2'\n\
                      sh -c 'head -c 100000 /dev/zero | tr \"\\0\" \"\\377\"'\n\
                      printf 'no newline E'\n";
        with_scripts(
            |_| script.to_string(),
            |shell, context, log| {
                let context = context.unwrap_or_else(|error| panic!("{}: {error}", shell.name));
                check(&context);
                assert_eq!(second_attempts(log, shell.name), 0, "{}", shell.name);
            },
        );
    });
}

#[test]
fn login_scripts_may_read_a_line_of_standard_input() {
    isolated(|| {
        with_scripts(
            |shell| format!("{}\n", shell.read_line),
            |shell, context, log| {
                let context = context.unwrap_or_else(|error| panic!("{}: {error}", shell.name));
                check(&context);
                assert_a_second_attempt(log, shell.name);
            },
        );
    });
}

#[test]
fn login_scripts_may_read_much_of_standard_input() {
    isolated(|| {
        with_scripts(
            |_| "head -c 3000 >/dev/null\n".to_string(),
            |shell, context, log| {
                let context = context.unwrap_or_else(|error| panic!("{}: {error}", shell.name));
                check(&context);
                assert_a_second_attempt(log, shell.name);
            },
        );
    });
}

#[test]
fn what_is_queued_behind_a_start_that_is_made_twice_arrives_once() {
    isolated(|| {
        let log = Log::default();
        let (sshd, router) = (Sshd::start_for_all_pythons(""), router(&log));
        let user = User::new("/bin/bash");
        // The line is the first of the program, the rest is from its middle.
        for (script, name) in [("read line", "line"), ("head -c 2000 >/dev/null", "bytes")] {
            user.write(".bashrc", format!("{script}\n"));
            for_each_kind_of_python(|python| {
                let name = format!("{name} {}", python.name);
                let ssh = sshd.ssh().user(user.name()).python(&python.path).name(&name);
                let context = router.start(ssh);
                let path = user.home().join(&name);
                let note = |word| context.call_async::<()>("tasks:note", (&path, word)).unwrap();
                let pending = ["one ", "two ", "three"].map(note);
                pending.into_iter().for_each(|reply| reply.get().unwrap());
                assert_a_second_attempt(&log, &name);
                assert_eq!(std::fs::read_to_string(&path).unwrap(), "one two three");
            });
        }
    });
}

#[test]
fn a_login_script_may_read_all_that_is_there() {
    isolated(|| {
        let log = Log::default();
        let (sshd, router) = (Sshd::start(), router(&log));
        let user = User::new("/bin/bash");
        // Nothing is left of the first attempt, so Python waits, and of the second nothing but newlines
        // is eaten.
        user.write(".bashrc", "timeout 1 cat >/dev/null\n");
        check(&router.connect(sshd.ssh().user(user.name()).name("bash")).unwrap());
        assert_a_second_attempt(&log, "bash");
    });
}

#[test]
fn sshds_own_login_script_may_print_and_take_time() {
    isolated(|| {
        let log = Log::default();
        let (sshd, router) = (Sshd::start(), router(&log));
        let user = User::new("/bin/sh");
        // Its output is that of the session.
        user.write(".ssh/rc", "echo out; echo complaint >&2; echo >ran; sleep 1; false\n");
        check(&router.connect(sshd.ssh().user(user.name()).name("sh")).unwrap());
        assert!(user.home().join("ran").exists());
        assert_eq!(second_attempts(&log, "sh"), 0);
    });
}

#[test]
fn login_scripts_may_take_three_seconds() {
    isolated(|| {
        let start = Instant::now();
        with_scripts(
            |_| "sleep 3\n".to_string(),
            |shell, context, log| {
                let context = context.unwrap_or_else(|error| panic!("{}: {error}", shell.name));
                check(&context);
                assert!(start.elapsed() >= Duration::from_secs(3), "{}: not read", shell.name);
                assert_eq!(second_attempts(log, shell.name), 0, "{}", shell.name);
            },
        );
    });
}

#[test]
fn login_scripts_may_fail_where_the_shell_goes_on() {
    isolated(|| {
        // The shells of a site's own script end at what they cannot read in it: that is the next test's.
        let script = |shell: &Shell| match shell.script {
            Some(_) => "/no/such/program\nif then (\n".to_string(),
            None => "/no/such/program\nfalse\n".to_string(),
        };
        with_scripts(script, |shell, context, _| {
            check(&context.unwrap_or_else(|error| panic!("{}: {error}", shell.name)));
        });
        // csh, tcsh and fish leave only the script.
        with_scripts(
            |_| "exit 3\n".to_string(),
            |shell, context, _| match shell.name {
                "csh" | "tcsh" | "fish" => drop(check(&context.unwrap())),
                _ => assert_ended(shell, &context.unwrap_err(), ""),
            },
        );
    });
}

#[test]
fn a_login_script_that_ends_the_shell_is_told_with_its_words() {
    isolated(|| {
        let script = "exec sh -c 'echo out; echo closed for repairs >&2; exit 3'\n";
        with_scripts(
            |_| script.to_string(),
            |shell, context, _| {
                assert_ended(shell, &context.unwrap_err(), "out\nclosed for repairs");
            },
        );
    });
}

/// A shell that ended with status 3 instead of running the command.
fn assert_ended(shell: &Shell, error: &Error, printed: &str) {
    let Error::Connect(error) = error else { panic!("{}: {error}", shell.name) };
    assert_eq!(error.stage, Stage::Python, "{error}");
    assert_eq!(error.status, Some(ExitStatus::Code(3)), "{error}");
    assert_eq!(error.printed, printed, "{error}");
    let start = format!("{}: starting Python: ", shell.name);
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(error.to_string().contains(printed.lines().last().unwrap_or("")), "{error}");
}

#[test]
fn a_banner_and_a_message_of_the_day_are_no_matter() {
    isolated(|| {
        let (dir, log) = (TempDir::new(), Log::default());
        // What ssh itself, a prompt or a child might say.
        let banner = "Authenticated to nothing.\n\
                      Permission denied (publickey,password).\n\
                      EC0\nEC1\n\
                      root@127.0.0.1's password: ";
        let banner = dir.file("banner", banner);
        let config = format!(
            "Banner {}\nPrintMotd yes\nPrintLastLog yes\nUsePAM {}\n",
            banner.display(),
            if is_root() { "yes" } else { "no" }
        );
        let (sshd, router) = (Sshd::start_with(&config), router(&log));
        let user = is_root().then(|| User::new("/bin/sh"));
        let ssh = user.iter().fold(sshd.ssh(), |ssh, user| ssh.user(user.name()));
        let context = router.connect(ssh).unwrap();
        check(&context);
        router.shutdown().unwrap();
        assert_no_chatter(&log);
    });
}
