//! Promise: su starts a context with the password of its user, which it asks on the stream itself; what it says
//! when it refuses is one line.

use std::fs;
use std::path::PathBuf;

use econtext::{Context, Level, Local, Method, PromptKind, Router, Stage, Su};

mod support;

use support::{AsUser, Log, Prompts, TempDir, User, isolated, refusal, refusal_by, script};

const PASSWORD: &str = "correct horse 7";

/// One who runs su, and one with a password.
fn users(shell: &str) -> (User, User) {
    let (from, to) = (User::new("/bin/sh"), User::new(shell));
    to.set_password(PASSWORD);
    (from, to)
}

fn euid(context: &Context) -> u32 {
    context.info().unwrap().euid
}

#[test]
fn root_is_not_asked() {
    isolated(|| {
        let user = User::new("/bin/sh");
        let router = Router::new().unwrap();
        let context = router.connect(Su::new().user(user.name())).unwrap();
        assert_eq!((euid(&context), context.name()), (user.uid(), &*format!("su.{}", user.name())));
        router.shutdown().unwrap();
    });
}

#[test]
fn a_password_that_was_given_is_typed_once_for_any_shell_in_any_language() {
    isolated(|| {
        for (shell, language) in
            [("/bin/sh", "C"), ("/bin/bash", "de"), ("/bin/tcsh", "fr"), ("/usr/bin/fish", "zh_CN")]
        {
            let (from, to) = users(shell);
            let su = AsUser::su(&from).speaking(language);
            let router = Router::new().unwrap();
            let method = Su::new().user(to.name()).su_path(su.path()).password(PASSWORD);
            let context = router.start(method.login(true));
            // It waits with all that was queued behind it.
            let text: String = context.call("operator:mul", ("x", 300_000)).unwrap();
            assert_eq!((text.len(), euid(&context)), (300_000, to.uid()), "{shell} {language}");
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn who_is_asked_knows_what_for() {
    isolated(|| {
        let (from, to) = users("/bin/sh");
        let su = AsUser::su(&from);
        let prompts = Prompts::answering([PASSWORD]);
        let router = Router::builder().on_prompt(prompts.handler()).build().unwrap();
        let context = router.connect(Su::new().user(to.name()).su_path(su.path())).unwrap();
        assert_eq!(euid(&context), to.uid());
        assert_eq!(prompts.asked(), [(PromptKind::Password, "Password:".into(), 1)]);
        router.shutdown().unwrap();
    });
}

#[test]
fn a_refusal_is_one_line_that_says_why() {
    isolated(|| {
        let (from, to) = users("/bin/sh");
        let su = AsUser::su(&from);
        let router = Router::new().unwrap();
        let start = |user: &str| Su::new().user(user).su_path(su.path());
        let (stage, line) = refusal(&router, start(to.name()));
        assert_eq!(stage, Stage::Login);
        let needed =
            "\"Password:\" needs an answer: set .password(..) or Router::builder().on_prompt(..)";
        assert_eq!(line, needed);
        let refused = "the password was refused, or the account: \"su: Authentication failure\"; su takes that of the \
                       user that it changes to (exit status 1)";
        let wrong = refusal(&router, start(to.name()).password("wrong"));
        assert_eq!(wrong, (Stage::Login, refused.into()));
        let (stage, line) = refusal(&router, start("nobody-here").password("x"));
        assert_eq!(stage, Stage::Login);
        assert!(line.starts_with("no such user: \"su: user nobody-here does not exist"), "{line}");

        to.change("usermod", ["--shell", "/usr/sbin/nologin"]);
        let (stage, line) = refusal(&router, start(to.name()).password(PASSWORD));
        assert_eq!(stage, Stage::Login);
        let closed = "the account cannot be used: \"This account is currently not available.\"";
        assert!(line.starts_with(closed), "{line}");
        router.shutdown().unwrap();
    });
}

#[test]
fn a_refusal_in_another_language_is_quoted() {
    isolated(|| {
        let (from, to) = users("/bin/sh");
        let su = AsUser::su(&from).speaking("de");
        let router = Router::new().unwrap();
        let method = Su::new().user(to.name()).su_path(su.path()).password("wrong");
        let (stage, line) = refusal(&router, method);
        let expected = "su refused the answer to its question, or failed after it (exit status 1); \
                        it printed: su: Fehler bei Authentifizierung";
        assert_eq!((stage, &*line), (Stage::Login, expected));
        router.shutdown().unwrap();
    });
}

/// Prints its question in pieces, on this descriptor, reads one line, and runs the last word.
fn stub(dir: &TempDir, descriptor: u32) -> PathBuf {
    let body = format!(
        r#"
printf '%s\n' "$@" > "$0.argv"; tr '\0' '\n' < /proc/$$/environ > "$0.environ"
for word; do :; done
printf 'Pass' >&{descriptor}; printf 'word: ' >&{descriptor}
read -r password
[ "$password" = 'correct horse 7' ] || {{ echo 'su: incorrect password' >&2; exit 1; }}
ECONTEXT_MARK=through exec /bin/sh -c "$word"
"#
    );
    script(dir, "su", &body)
}

#[test]
fn the_argv_is_that_of_the_documentation() {
    isolated(|| {
        let dir = TempDir::new();
        let su = stub(&dir, 2);
        let router = Router::new().unwrap();
        let method = Su::new().user("deploy").login(true).shell("/bin/sh").args(["-P"]);
        let context = router.connect(method.su_path(&su).password(PASSWORD)).unwrap();
        let mark: String = context.call("os:getenv", ("ECONTEXT_MARK",)).unwrap();
        assert_eq!(mark, "through");
        let argv = fs::read_to_string(dir.path().join("su.argv")).unwrap();
        let words: Vec<_> = argv.lines().collect();
        assert_eq!(words[..6], ["-l", "-s", "/bin/sh", "-P", "deploy", "-c"]);
        assert_eq!(words.len(), 7);
        assert!(words[6].starts_with("exec /bin/sh -c 'for p do"), "{argv}");
        router.shutdown().unwrap();
    });
}

#[test]
fn a_su_that_asks_on_stdout_is_answered_too() {
    isolated(|| {
        let dir = TempDir::new();
        let su = stub(&dir, 1);
        let router = Router::new().unwrap();
        let method = || Su::new().su_path(&su);
        let context = router.connect(method().password(PASSWORD)).unwrap();
        assert_eq!(context.call::<i64>("operator:add", (1, 2)).unwrap(), 3);
        let (_, line) = refusal(&router, method().password("wrong"));
        assert!(line.starts_with("the password was refused, or the account: "), "{line}");
        router.shutdown().unwrap();
    });
}

#[test]
fn through_another_context_it_is_the_same() {
    isolated(|| {
        let (from, to) = users("/bin/bash");
        let (su, german) = (AsUser::su(&from), AsUser::su(&from).speaking("de"));
        let router = Router::new().unwrap();
        let parent = router.connect(Local::new()).unwrap();
        let start = |su: &AsUser| Su::new().user(to.name()).su_path(su.path());
        for su in [&su, &german] {
            let context = parent.connect(start(su).login(true).password(PASSWORD)).unwrap();
            let text: String = context.call("operator:mul", ("x", 300_000)).unwrap();
            assert_eq!((text.len(), euid(&context)), (300_000, to.uid()));
        }
        let said = |method: Su| refusal_by(parent.connect(method));
        let refused = "the password was refused, or the account: \"su: Authentication failure\"; su takes that of the \
                       user that it changes to (exit status 1)";
        assert_eq!(said(start(&su).password("wrong")), (Stage::Login, refused.into()));
        let (stage, line) = said(start(&german).password("wrong"));
        assert!(
            stage == Stage::Login
                && line.ends_with("; it printed: su: Fehler bei Authentifizierung"),
            "{line}"
        );
        let (stage, line) = said(start(&su));
        let needed =
            "\"Password:\" needs an answer: set .password(..) or Router::builder().on_prompt(..)";
        assert_eq!((stage, &*line), (Stage::Login, needed));

        let dir = TempDir::new();
        let busybox = stub(&dir, 1);
        let method = || Su::new().su_path(&busybox);
        let context = parent.connect(method().password(PASSWORD)).unwrap();
        assert_eq!(context.call::<i64>("operator:add", (1, 2)).unwrap(), 3);
        router.shutdown().unwrap();
    });
}

#[test]
fn a_password_is_on_the_stream_and_nowhere_else() {
    isolated(|| {
        let dir = TempDir::new();
        let su = stub(&dir, 2);
        let log = Log::default();
        let router = Router::builder().log_level(Level::Debug).on_log(log.sink()).build().unwrap();
        let method = || Su::new().su_path(&su).password(PASSWORD);
        let mut seen = format!("{:?} {:?}", method(), method().plan());
        let context = router.connect(method()).unwrap();
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{}/{file}", context.info().unwrap().pid);
            seen += &String::from_utf8_lossy(&fs::read(path).unwrap());
        }
        let wrong = PASSWORD.replace('7', "8");
        let error = router.connect(method().password(&wrong)).unwrap_err();
        seen += &format!("{error} {error:?}");
        router.shutdown().unwrap();
        log.records().iter().for_each(|record| seen += &format!("{record:?}"));
        for file in ["argv", "environ"] {
            seen += &fs::read_to_string(dir.path().join(format!("su.{file}"))).unwrap();
        }
        assert!(seen.contains("[secret]") && seen.contains("PATH="), "{seen}");
        assert!(!seen.contains(&PASSWORD[..10]), "{seen}");
    });
}
