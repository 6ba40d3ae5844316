//! Promise: what ssh asks is answered by whom it concerns, or ends the start at once with words.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use econtext::{ConnectError, Context, Error, Local, Prompt, PromptKind, Router, Ssh, Stage};

mod support;

use support::{
    Process, Prompts, Sshd, TempDir, User, descendants, fake_ssh, isolated, mkfifo, script,
};

const PASSWORD: &str = "correct horse 7";
/// What only a failure reaches.
const LONG: Duration = Duration::from_secs(20);

/// The ways of a server to ask for a password, and how its question begins and ends around `user@host`.
const WAYS: [(&str, &str, &str); 3] = [
    ("PasswordAuthentication yes", "", "'s password:"),
    ("UsePAM yes\nPasswordAuthentication yes", "", "'s password:"),
    ("UsePAM yes\nKbdInteractiveAuthentication yes", "(", ") Password:"),
];

/// A server where no key is taken.
fn without_keys(lines: &str) -> Sshd {
    Sshd::start_with(&format!("PubkeyAuthentication no\n{lines}"))
}

fn user_with_password() -> User {
    let user = User::new("/bin/sh");
    user.set_password(PASSWORD);
    user
}

fn asking(prompts: &Prompts) -> Router {
    Router::builder().on_prompt(prompts.handler()).build().unwrap()
}

fn uid(context: &Context) -> u32 {
    context.call("os:getuid", ()).unwrap()
}

/// Why a start fails.
fn failure(router: &Router, method: Ssh) -> ConnectError {
    match router.connect(method) {
        Err(Error::Connect(error)) => (*error).clone(),
        other => panic!("{other:?}"),
    }
}

/// The line that a person sees, without the name of the context.
fn line(router: &Router, method: Ssh) -> String {
    let error = failure(router, method);
    let line = error.to_string();
    line.strip_prefix(&format!("{}: ", error.context)).expect("the name comes first").to_string()
}

#[test]
fn a_password_that_was_given_logs_in() {
    isolated(|| {
        let user = user_with_password();
        for (way, ..) in WAYS {
            let sshd = without_keys(way);
            let prompts = Prompts::default();
            let router = asking(&prompts);
            let method = sshd.ssh().user(user.name()).password(PASSWORD);
            assert_eq!(uid(&router.connect(method).unwrap()), user.uid(), "{way}");
            assert_eq!(prompts.asked(), []);
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_password_is_asked_for_until_it_is_right() {
    isolated(|| {
        let user = user_with_password();
        for (way, before, after) in WAYS {
            let sshd = without_keys(way);
            let prompts = Prompts::answering(["wrong", PASSWORD]);
            let router = asking(&prompts);
            let context = router.connect(sshd.ssh().user(user.name())).unwrap();
            assert_eq!(uid(&context), user.uid());
            let text = format!("{before}{}@127.0.0.1{after}", user.name());
            let asked = [1, 2].map(|attempt| (PromptKind::Password, text.clone(), attempt));
            assert_eq!(prompts.asked(), asked, "{way}");
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_wrong_password_is_told_once_and_tried_once() {
    isolated(|| {
        let user = user_with_password();
        // The last offers two ways, and the password is as wrong by the second.
        let both = "UsePAM yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication yes";
        for way in WAYS.map(|(way, ..)| way).into_iter().chain([both]) {
            let sshd = without_keys(way);
            let prompts = Prompts::default();
            let router = asking(&prompts);
            let method = sshd.ssh().user(user.name()).password("wrong");
            let line = line(&router, method);
            let start = "logging in: the password was refused: \"";
            assert!(line.starts_with(start), "{way}: {line}");
            let end = "assword:\" was asked after .password(..) was given";
            assert!(line.ends_with(end), "{way}: {line}");
            assert_eq!(prompts.asked(), []);
            router.shutdown().unwrap();
            sshd.wait_for(" [preauth]");
            let log = sshd.log();
            assert_eq!(log.lines().filter(|line| line.contains("Failed ")).count(), 1, "{log}");
        }
    });
}

#[test]
fn a_question_that_nobody_answers_ends_the_start() {
    isolated(|| {
        let user = user_with_password();
        let sshd = without_keys("PasswordAuthentication yes");
        let router = Router::new().unwrap();
        let question = format!("\"{}@127.0.0.1's password:\"", user.name());
        // A passphrase is there to answer with, and that is all.
        assert_eq!(
            line(&router, sshd.ssh().user(user.name()).passphrase("x")),
            format!(
                "logging in: {question} needs an answer: set .password(..) or \
                 Router::builder().on_prompt(..)"
            )
        );
        // Nothing at all: ssh does not ask.
        let error = failure(&router, sshd.ssh().user(user.name()));
        assert_eq!(error.stage, Stage::Login);
        assert!(error.to_string().contains("Permission denied (password)"), "{error}");
        assert!(!error.to_string().contains("needs an answer"), "{error}");
        router.shutdown().unwrap();

        let prompts = Prompts::default();
        let router = asking(&prompts);
        let line = line(&router, sshd.ssh().user(user.name()));
        assert_eq!(line, format!("logging in: {question} got no answer from on_prompt"));
        assert_eq!(prompts.asked().len(), 1);
        router.shutdown().unwrap();
    });
}

/// A server, a key with the passphrase `sesame` that it accepts, and a configuration without another key.
fn with_locked_key() -> (Sshd, PathBuf, Ssh) {
    let sshd = Sshd::start();
    let key = sshd.make_key("locked", "sesame");
    sshd.authorize(&key);
    let lines = format!(
        "IdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n",
        key.display(),
        sshd.known_hosts().display()
    );
    let method = sshd.ssh().config_file(sshd.file("locked_config", lines));
    (sshd, key, method)
}

#[test]
fn a_passphrase_unlocks_the_key() {
    isolated(|| {
        let (sshd, key, method) = with_locked_key();
        let question = format!("Enter passphrase for key '{}':", key.display());
        let prompts = Prompts::answering(["wrong", "sesame"]);
        let router = asking(&prompts);
        uid(&router.connect(method.clone().passphrase("sesame")).unwrap());
        assert_eq!(prompts.asked(), []);
        uid(&router.connect(method.clone()).unwrap());
        let asked = [1, 2].map(|attempt| (PromptKind::Passphrase, question.clone(), attempt));
        assert_eq!(prompts.asked(), asked);
        assert_eq!(
            line(&router, method.clone().passphrase("wrong")),
            format!("logging in: the passphrase for key '{}' is wrong", key.display())
        );
        router.shutdown().unwrap();

        let router = Router::new().unwrap();
        assert_eq!(
            line(&router, method.clone().password("sesame")),
            format!(
                "logging in: \"{question}\" needs an answer: set .passphrase(..) or \
                 Router::builder().on_prompt(..)"
            )
        );
        let error = failure(&router, method);
        assert_eq!(error.stage, Stage::Login);
        assert!(error.to_string().contains("(publickey)"), "{error}");
        // An empty one passes over the key, to the one of the server's configuration.
        uid(&router.connect(sshd.ssh().identity(&key).passphrase("")).unwrap());
        router.shutdown().unwrap();
    });
}

#[test]
fn a_password_that_has_expired_is_changed_by_the_handler() {
    isolated(|| {
        const NEW: &str = "battery staple 9";
        let user = user_with_password();
        user.change("chage", ["-d", "0"]);
        let sshd = without_keys("UsePAM yes\nKbdInteractiveAuthentication yes");
        let method = || sshd.ssh().user(user.name()).password(PASSWORD);
        let router = Router::new().unwrap();
        let ended = line(&router, method());
        assert!(ended.starts_with(&format!("logging in: \"({}@", user.name())), "{ended}");
        let end = "password:\" needs an answer: set Router::builder().on_prompt(..)";
        assert!(ended.ends_with(end), "{ended}");
        router.shutdown().unwrap();

        // Three questions, one after the other, beside the one that is answered by the option.
        let prompts = Prompts::answering([PASSWORD, NEW, NEW]);
        let router = asking(&prompts);
        assert_eq!(uid(&router.connect(method()).unwrap()), user.uid());
        let asked = prompts.asked();
        assert!(asked.iter().all(|(kind, _, attempt)| (*kind, *attempt) == (PromptKind::Other, 1)));
        let texts: Vec<_> = asked.iter().map(|(_, text, _)| text.as_str()).collect();
        let name = format!("({}@127.0.0.1) ", user.name());
        // The first says above the question why it asks.
        assert!(texts[0].starts_with(&name) && texts[0].lines().count() > 1, "{texts:?}");
        assert!(texts[0].ends_with("\nCurrent password:"), "{texts:?}");
        assert_eq!(
            texts[1..],
            ["New password:", "Retype new password:"].map(|it| name.clone() + it)
        );
        assert_eq!(uid(&router.connect(method().password(NEW)).unwrap()), user.uid());
        assert_eq!(prompts.asked().len(), 3);
        router.shutdown().unwrap();
    });
}

#[test]
fn several_questions_are_answered_in_turn() {
    isolated(|| {
        let dir = TempDir::new();
        let body = "ask '(deploy@web1) Password: ' && [ \"$answer\" = p ] || exit 9\n\
                    ask '(deploy@web1) Duo for deploy\n\n 1. Push\n\nPasscode or option (1-1): '\n\
                    [ \"$answer\" = 1 ] || exit 8\n\
                    ask '(deploy@web1) Colour?' && [ \"$answer\" = 'light blue' ] || exit 7\n\
                    logged_in; run";
        let ssh = fake_ssh(&dir, body);
        let prompts = Prompts::answering(["1", "light blue"]);
        let router = asking(&prompts);
        let context = router.connect(Ssh::new("web1").ssh_path(ssh).password("p")).unwrap();
        uid(&context);
        let duo = "(deploy@web1) Duo for deploy\n\n 1. Push\n\nPasscode or option (1-1):";
        let other = |text: &str| (PromptKind::Other, text.to_string(), 1);
        assert_eq!(prompts.asked(), [other(duo), other("(deploy@web1) Colour?")]);
        router.shutdown().unwrap();
    });
}

#[test]
fn an_answer_arrives_as_it_was_given_and_what_cannot_is_refused() {
    isolated(|| {
        let dir = TempDir::new();
        let body = "ask \"deploy@web1's password: \" && printf %s \"$answer\" > \"$ANSWER\"\n\
                    logged_in; run";
        let ssh = fake_ssh(&dir, &format!("ANSWER='{}'\n{body}", dir.path().join("it").display()));
        let router = Router::new().unwrap();
        // At a keyboard: interrupt, end of file, erase, kill, quote, stop, and a tab; the last is the
        // longest that ssh takes.
        let keys = "\u{3}\u{4}\u{7f}\u{15}\u{16}\u{1c}\u{13}\t \u{e9}\\'\"$`";
        for password in [keys, " ", "", &"x".repeat(1023)] {
            let method = Ssh::new("web1").ssh_path(&ssh).password(password);
            uid(&router.connect(method).unwrap());
            assert_eq!(std::fs::read_to_string(dir.path().join("it")).unwrap(), password);
        }
        for (password, why) in [
            ("a\nb", "it has the end of a line in it"),
            ("a\0b", "it has a NUL byte in it"),
            (&*"x".repeat(1024), "it has 1024 bytes, and at most 1023 are read"),
        ] {
            let said = line(&router, Ssh::new("web1").ssh_path(&ssh).password(password));
            assert_eq!(said, format!("logging in: the password cannot be typed: {why}"));
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn the_longest_answer_is_what_openssh_takes() {
    isolated(|| {
        let long = "p".repeat(1023);
        let (sshd, _, method) = with_locked_key();
        let key = sshd.make_key("long", &long);
        sshd.authorize(&key);
        let router = Router::new().unwrap();
        let config = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {}\n",
            key.display(),
            sshd.known_hosts().display()
        );
        let method = method.config_file(sshd.file("long_config", config));
        uid(&router.connect(method.passphrase(long)).unwrap());
        router.shutdown().unwrap();
    });
}

#[test]
fn the_password_is_not_for_a_jump_host() {
    isolated(|| {
        let (user, of_gate) = (user_with_password(), User::new("/bin/sh"));
        of_gate.set_password("of the gate");
        for (way, before, after) in [WAYS[0], WAYS[2]] {
            let (gate, target) = (without_keys(way), without_keys(way));
            let known =
                [&gate, &target].map(|it| std::fs::read_to_string(it.known_hosts()).unwrap());
            let known = target.file("both", known.concat());
            let lines = format!("UserKnownHostsFile {}\n", known.display());
            let config = target.config_with("jump_config", &lines);
            let jump = format!("{}@127.0.0.1:{}", of_gate.name(), gate.port());
            let method = || {
                let method = Ssh::new("localhost").port(target.port()).user(user.name());
                method.config_file(&config).args(["-J", &jump]).password(PASSWORD)
            };
            let question = format!("{before}{}@127.0.0.1{after}", of_gate.name());
            let router = Router::new().unwrap();
            assert_eq!(
                line(&router, method()),
                format!(
                    "logging in: \"{question}\" needs an answer, and .password(..) is for localhost \
                     alone: set Router::builder().on_prompt(..)"
                )
            );
            router.shutdown().unwrap();
            let prompts = Prompts::answering(["of the gate"]);
            let router = asking(&prompts);
            assert_eq!(uid(&router.connect(method()).unwrap()), user.uid());
            assert_eq!(prompts.asked(), [(PromptKind::Password, question, 1)]);
            router.shutdown().unwrap();
            assert!(!gate.log().contains("Failed "), "{}", gate.log());
        }
    });
}

#[test]
fn a_person_may_take_longer_than_a_start() {
    isolated(|| {
        let (_sshd, _, method) = with_locked_key();
        let dir = TempDir::new();
        let hangs = Ssh::new("web1").ssh_path(fake_ssh(&dir, "exec sleep 1000"));
        let ((asked, is_asked), (answer, answers)) = (channel(), channel::<Option<String>>());
        let handler = move |_: &Prompt| {
            asked.send(()).unwrap();
            answers.recv().unwrap()
        };
        let limit = Duration::from_secs(5);
        let router = Router::builder().on_prompt(handler).connect_timeout(limit).build().unwrap();
        let context = router.start(method);
        is_asked.recv().unwrap();
        // As long as a start may take passes after the question.
        assert_eq!(failure(&router, hangs).reason, "not logged in within 5s");
        answer.send(Some("sesame".into())).unwrap();
        uid(&context);
        router.shutdown().unwrap();
    });
}

#[test]
fn other_contexts_go_on_while_a_person_is_asked_and_the_handler_may_call_them() {
    isolated(|| {
        let dir = TempDir::new();
        let asks =
            Ssh::new("web1").ssh_path(fake_ssh(&dir, "ask 'Code: ' || exit 1; logged_in; run"));
        let ((asked, is_asked), (go, may_go)) = (channel(), channel::<Context>());
        // What is imported by a computed name is asked for.
        let load = |context: &Context, name: &str| -> Result<String, Error> {
            context.call_with_deadline(LONG, "work:load", (name,))
        };
        let handler = move |_: &Prompt| {
            asked.send(()).unwrap();
            load(&may_go.recv().unwrap(), "second").ok()
        };
        let router = Router::builder().on_prompt(handler).build().unwrap();
        let modules = router.modules();
        modules.source("work", "def load(name):\n    return __import__(name).__name__\n");
        modules.source("first", "").source("second", "");
        let other = router.connect(Local::new()).unwrap();
        let context = router.start(asks);
        is_asked.recv().unwrap();
        assert_eq!(load(&other, "first").unwrap(), "first");
        go.send(other).unwrap();
        uid(&context);
        router.shutdown().unwrap();
    });
}

#[test]
fn a_handler_that_panics_has_given_up() {
    isolated(|| {
        let (_sshd, key, method) = with_locked_key();
        let handler = |_: &Prompt| std::panic::resume_unwind(Box::new("as wanted"));
        let router = Router::builder().on_prompt(handler).build().unwrap();
        let question = format!("\"Enter passphrase for key '{}':\"", key.display());
        let expected = format!("logging in: {question} got no answer from on_prompt");
        // It is asked again by the next.
        for _ in 0..2 {
            assert_eq!(line(&router, method.clone()), expected);
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn a_shutdown_does_not_wait_for_a_person() {
    isolated(|| {
        let (_sshd, _, method) = with_locked_key();
        let ((asked, is_asked), (answer, answers)) = (channel(), channel::<Option<String>>());
        let handler = move |_: &Prompt| {
            asked.send(()).unwrap();
            answers.recv().unwrap()
        };
        let grace = Duration::from_millis(100);
        let router = Router::builder().on_prompt(handler).shutdown_grace(grace).build().unwrap();
        let (context, another) = (router.start(method.clone()), router.start(method));
        is_asked.recv().unwrap();
        router.shutdown().unwrap();
        for context in [context, another] {
            assert!(matches!(context.info(), Err(Error::Shutdown)), "{:?}", context.info());
        }
        answer.send(Some("sesame".into())).unwrap();
        drop(router);
        // The second is not asked for any more: the handler is dropped with the thread.
        assert!(is_asked.recv().is_err());
    });
}

#[test]
fn a_server_that_does_not_wait_for_a_person_ends_the_start() {
    isolated(|| {
        let sshd = without_keys("PasswordAuthentication yes\nLoginGraceTime 1");
        let ((asked, is_asked), (answer, answers)) = (channel(), channel::<Option<String>>());
        let handler = move |_: &Prompt| {
            asked.send(()).unwrap();
            answers.recv().unwrap()
        };
        let router = Router::builder().on_prompt(handler).build().unwrap();
        let context = router.start(sshd.ssh());
        is_asked.recv().unwrap();
        // ssh does not see it while it reads an answer.
        let sessions = descendants(sshd.pid()).into_keys().filter_map(Process::find);
        sessions.collect::<Vec<_>>().iter().for_each(Process::wait_end);
        answer.send(Some("late".into())).unwrap();
        match context.info() {
            Err(Error::Connect(error)) => {
                assert!(error.to_string().contains("Connection closed"), "{error}");
                assert!(!error.to_string().contains("refused"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn a_start_with_a_password_returns_before_ssh_says_whom_it_connects_to() {
    isolated(|| {
        let dir = TempDir::new();
        let (may_ask, may_tell) = (mkfifo(&dir, "may-ask"), mkfifo(&dir, "may-tell"));
        let told = dir.path().join("told");
        let body = format!(
            "read x <{}; ask \"deploy@web1's password: \"; [ \"$answer\" = sesame ] || exit 1\n\
             logged_in; run",
            may_ask.display(),
        );
        let inner = fake_ssh(&dir, &body);
        let outer = format!(
            "case \" $* \" in *' -G '*) read x <{}; echo >{} ;; esac\nexec {} \"$@\"",
            may_tell.display(),
            told.display(),
            inner.display(),
        );
        let ssh = script(&dir, "slow-to-tell", &outer);
        let router = Router::new().unwrap();
        let context = router.start(Ssh::new("alias").ssh_path(ssh).password("sesame"));
        assert!(!told.exists() && !context.is_connected());
        std::fs::write(may_ask, "\n").unwrap();
        std::fs::write(may_tell, "\n").unwrap();
        context.call::<u32>("os:getpid", ()).unwrap();
        assert!(told.exists());
        router.shutdown().unwrap();
    });
}
