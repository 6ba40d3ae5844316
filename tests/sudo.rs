//! Promise: sudo starts a context with or without a password, on a terminal only where it has to be; what it says
//! when it refuses is one line.

use econtext::{Context, Local, PromptKind, Router, Stage, Sudo};

mod support;

use support::{AsUser, Process, Prompts, TempDir, User, isolated, refusal, refusal_by, script};

const PASSWORD: &str = "correct horse 7";

fn user() -> User {
    let user = User::new("/bin/sh");
    user.set_password(PASSWORD);
    user
}

/// What lets the user be anybody, with what else is to be set.
fn all(user: &User, defaults: &str) -> AsUser {
    let defaults =
        if defaults.is_empty() { String::new() } else { format!("Defaults {defaults}\n") };
    AsUser::sudo(user, &format!("{defaults}{} ALL=(ALL:ALL) ALL", user.name()))
}

fn euid(context: &Context) -> u32 {
    context.info().unwrap().euid
}

/// What is said of a wrong password.
const WRONG: &str = "the password was refused; sudo takes that of the user who runs it, unless it is configured \
                     otherwise";

#[test]
fn without_a_password_no_terminal_is_needed() {
    isolated(|| {
        let user = user();
        let sudo = AsUser::sudo(&user, &format!("{} ALL=(ALL) NOPASSWD: ALL", user.name()));
        let router = Router::new().unwrap();
        let context = router.connect(Sudo::new().sudo_path(sudo.path())).unwrap();
        assert_eq!((context.name(), euid(&context)), ("sudo.root", 0));
        assert!(context.call::<i64>("os:open", ("/dev/tty", 0)).is_err());
        router.shutdown().unwrap();
    });
}

#[test]
fn a_password_that_was_given_is_typed_once_whatever_sudo_is_set_to() {
    isolated(|| {
        let user = user();
        let settings = [
            "!use_pty",
            "use_pty",
            "pwfeedback",
            "pwfeedback, !use_pty",
            "requiretty",
            "log_output, iolog_dir=/run/sudo",
        ];
        for defaults in settings {
            for language in ["C", "de"] {
                let sudo = all(&user, defaults).speaking(language);
                let prompts = Prompts::default();
                let router = Router::builder().on_prompt(prompts.handler()).build().unwrap();
                let method = Sudo::new().sudo_path(sudo.path()).password(PASSWORD);
                let context =
                    router.connect(method).unwrap_or_else(|it| panic!("{defaults}: {it:?}"));
                assert_eq!((euid(&context), prompts.asked()), (0, vec![]), "{defaults}");
                // More than any buffer on the way holds.
                let text: String = context.call("operator:mul", ("x", 3_000_000)).unwrap();
                assert_eq!(text.len(), 3_000_000, "{defaults}");
                router.shutdown().unwrap();
            }
        }
    });
}

#[test]
fn a_terminal_is_there_for_those_who_want_one_and_no_password() {
    isolated(|| {
        let user = user();
        let lines = format!("Defaults requiretty\n{} ALL=(ALL) NOPASSWD: ALL", user.name());
        for language in ["C", "de"] {
            let sudo = AsUser::sudo(&user, &lines).speaking(language);
            let router = Router::new().unwrap();
            let context = router.connect(Sudo::new().sudo_path(sudo.path())).unwrap();
            assert_eq!(euid(&context), 0);
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_password_is_asked_for_until_it_is_right() {
    isolated(|| {
        let user = user();
        for defaults in ["pwfeedback", "!pwfeedback"] {
            let sudo = all(&user, defaults);
            let prompts = Prompts::answering(["wrong", PASSWORD]);
            let router = Router::builder().on_prompt(prompts.handler()).build().unwrap();
            let context = router.connect(Sudo::new().sudo_path(sudo.path())).unwrap();
            assert_eq!(euid(&context), 0);
            let asked = prompts.asked();
            let kinds: Vec<_> = asked.iter().map(|(kind, _, attempt)| (*kind, *attempt)).collect();
            assert_eq!(kinds, [(PromptKind::Password, 1), (PromptKind::Password, 2)]);
            assert_eq!(asked[0].1, "sudo password:");
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn a_refusal_is_one_line_that_says_why() {
    isolated(|| {
        let user = user();
        let router = Router::new().unwrap();
        let sudo = all(&user, "!requiretty");
        let start = |sudo: &AsUser| Sudo::new().sudo_path(sudo.path());
        assert_eq!(
            refusal(&router, start(&sudo)),
            (
                Stage::Login,
                "it wants a password: \"sudo: a password is required\"; set .password(..) or \
                 Router::builder().on_prompt(..) (exit status 1)"
                    .into()
            )
        );
        let wrong = refusal(&router, start(&sudo).password("wrong"));
        assert_eq!(wrong, (Stage::Login, WRONG.into()));
        let (stage, line) = refusal(&router, start(&sudo).user("nobody-here").password(PASSWORD));
        assert_eq!(
            (stage, &*line),
            (Stage::Login, "no such user: \"sudo: unknown user nobody-here\" (exit status 1)")
        );

        let nobody = AsUser::sudo(&user, "");
        let (stage, line) = refusal(&router, start(&nobody).password(PASSWORD));
        assert_eq!(stage, Stage::Login);
        assert!(line.starts_with(&format!("the user may not use it: \"{}", user.name())), "{line}");

        let one = AsUser::sudo(&user, &format!("{} ALL=(ALL) NOPASSWD: /bin/true", user.name()));
        let (stage, line) = refusal(&router, start(&one).password(PASSWORD));
        assert_eq!(stage, Stage::Login);
        assert!(line.starts_with("the user may not run the command: \"Sorry, user "), "{line}");
        assert!(line.contains("/bin/sh has to be allowed"), "{line}");

        let (_, line) =
            refusal(&router, start(&sudo).python("/nowhere/python3").password(PASSWORD));
        assert!(line.ends_with("it printed: sudo: /nowhere/python3: command not found"), "{line}");
        router.shutdown().unwrap();
    });
}

#[test]
fn a_refusal_in_another_language_is_quoted() {
    isolated(|| {
        let user = user();
        let router = Router::new().unwrap();
        let sudo = all(&user, "!requiretty").speaking("de");
        let start = || Sudo::new().sudo_path(sudo.path());
        let (_, line) = refusal(&router, start());
        let expected = "sudo ended before Python ran (exit status 1); it printed: sudo: Ein Passwort ist notwendig";
        assert_eq!(line, expected);
        let wrong = refusal(&router, start().password("wrong"));
        assert_eq!(wrong, (Stage::Login, WRONG.into()));
        let prompts = Prompts::answering(["wrong", "wrong", "wrong"]);
        let asking = Router::builder().on_prompt(prompts.handler()).build().unwrap();
        let (stage, line) = refusal(&asking, start());
        assert_eq!(stage, Stage::Login);
        let start = "sudo refused the answer to its question, or failed after it; on_prompt was asked \
                     3 times (exit status 1); it printed: sudo: 3 ";
        assert!(line.starts_with(start), "{line}");
        asking.shutdown().unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn a_login_shell_runs_the_command_in_the_users_home() {
    isolated(|| {
        for shell in ["/bin/sh", "/bin/bash", "/bin/tcsh", "/usr/bin/fish", "/bin/zsh"] {
            let other = User::new(shell);
            let sudo = AsUser::sudo(&other, &format!("{} ALL=(ALL) NOPASSWD: ALL", other.name()));
            let router = Router::new().unwrap();
            let method = Sudo::new().sudo_path(sudo.path()).user(other.name()).login(true);
            let context = router.connect(method).unwrap_or_else(|it| panic!("{shell}: {it:?}"));
            assert_eq!(euid(&context), other.uid());
            let home: String = context.call("os:getcwd", ()).unwrap();
            assert_eq!(home, other.home().to_str().unwrap(), "{shell}");
            router.shutdown().unwrap();
        }
    });
}

#[test]
fn nothing_is_left_of_sudo_when_the_context_is_gone() {
    isolated(|| {
        let user = user();
        let sudo = all(&user, "use_pty");
        let router = Router::new().unwrap();
        let method = Sudo::new().sudo_path(sudo.path()).password(PASSWORD);
        let context = router.connect(method).unwrap();
        let child = Process::open(context.info().unwrap().pid as i32);
        router.shutdown().unwrap();
        assert!(!child.is_running());
    });
}

#[test]
fn through_another_context_it_is_the_same() {
    isolated(|| {
        let user = user();
        let prompts = Prompts::answering(["wrong", PASSWORD]);
        let router = Router::builder().on_prompt(prompts.handler()).build().unwrap();
        let parent = router.connect(Local::new()).unwrap();
        for defaults in ["!use_pty", "pwfeedback", "requiretty"] {
            let sudo = all(&user, defaults);
            let method = Sudo::new().sudo_path(sudo.path()).password(PASSWORD);
            let context = parent.connect(method).unwrap();
            let text: String = context.call("operator:mul", ("x", 3_000_000)).unwrap();
            assert_eq!((text.len(), euid(&context), prompts.asked()), (3_000_000, 0, vec![]));
        }
        let sudo = all(&user, "!use_pty");
        let start = || Sudo::new().sudo_path(sudo.path());
        assert_eq!(euid(&parent.connect(start()).unwrap()), 0);
        assert_eq!(prompts.asked().len(), 2);
        let (stage, line) = refusal_by(parent.connect(start().password("wrong")));
        assert_eq!(stage, Stage::Login);
        assert_eq!(line, WRONG);
        let nobody = refusal_by(parent.connect(start().user("nobody-here").password(PASSWORD)));
        let line = "no such user: \"sudo: unknown user nobody-here\" (exit status 1)";
        assert_eq!(nobody, (Stage::Login, line.into()));
        router.shutdown().unwrap();

        let router = Router::new().unwrap();
        let parent = router.connect(Local::new()).unwrap();
        let (stage, line) = refusal_by(parent.connect(start()));
        assert_eq!(stage, Stage::Login);
        assert!(
            line.starts_with("it wants a password: \"sudo: a password is required\"; "),
            "{line}"
        );
        let lines = format!("Defaults requiretty\n{} ALL=(ALL) NOPASSWD: ALL", user.name());
        let sudo = AsUser::sudo(&user, &lines);
        let context = parent.connect(Sudo::new().sudo_path(sudo.path())).unwrap();
        assert_eq!(euid(&context), 0);
        router.shutdown().unwrap();
    });
}

/// Asks as sudo-rs 0.2 does, in French: brackets and words around the prompt, a blank that does not break, stars for
/// what is typed, which it takes back.
const SUDO_RS: &str = r#"
printf '%s\n' "$@" '' >> "$0.argv"
while [ "$1" != -- ]; do
    [ "$1" = -n ] && { echo 'sudo: interactive authentication is required' >&2; exit 1; }
    [ "$1" = -p ] && prompt=$2
    shift
done
shift
printf '[sudo: %s] Mot de passe\302\240: ' "$prompt" > /dev/tty
read -r password < /dev/tty
printf '*****\b\b\b\b\b\033[0K\n' > /dev/tty
[ "$password" = 'correct horse 7' ] || {
    echo 'sudo: Authentication failed, try again.' >&2
    printf '[sudo: %s] Mot de passe\302\240: ' "$prompt" > /dev/tty
    read -r it < /dev/tty
    exit 1
}
ECONTEXT_MARK=through exec "$@"
"#;

#[test]
fn sudo_rs_may_write_what_it_likes_around_the_prompt() {
    isolated(|| {
        let dir = TempDir::new();
        let sudo = script(&dir, "sudo", SUDO_RS);
        let router = Router::new().unwrap();
        let method = || Sudo::new().user("deploy").sudo_path(&sudo);
        let context = router.connect(method().password(PASSWORD)).unwrap();
        assert_eq!(context.name(), "sudo.deploy");
        let mark: String = context.call("os:getenv", ("ECONTEXT_MARK",)).unwrap();
        assert_eq!(mark, "through");
        let argv = std::fs::read_to_string(dir.path().join("sudo.argv")).unwrap();
        let runs: Vec<Vec<_>> = argv.split("\n\n").map(|run| run.lines().collect()).collect();
        assert_eq!(runs[0][..5], ["-u", "deploy", "-n", "--", "/bin/sh"]);
        assert_eq!((runs[1][..3].to_vec(), runs[1][4]), (vec!["-u", "deploy", "-p"], "--"));
        let (_, line) = refusal(&router, method().password("wrong"));
        let printed = "it printed: sudo: Authentication failed, try again.";
        assert_eq!(line, format!("{WRONG}; {printed}"));
        let (_, line) = refusal(&router, method());
        assert!(line.starts_with("it wants a password: \"sudo: interactive auth"), "{line}");
        router.shutdown().unwrap();
    });
}
