//! Promise: doas starts a context with or without a password, on a terminal only where it has to be; what it says
//! when it refuses is one line.

use econtext::{Context, Doas, Local, PromptKind, Router, Stage};

mod support;

use support::{AsUser, Prompts, TempDir, User, isolated, refusal, refusal_by, script};

const PASSWORD: &str = "correct horse 7";

fn user() -> User {
    let user = User::new("/bin/sh");
    user.set_password(PASSWORD);
    user
}

fn euid(context: &Context) -> u32 {
    context.info().unwrap().euid
}

#[test]
fn without_a_password_no_terminal_is_needed() {
    isolated(|| {
        let user = user();
        let doas = AsUser::doas(&user, &format!("permit nopass {}", user.name()));
        let router = Router::new().unwrap();
        let context = router.connect(Doas::new().doas_path(doas.path())).unwrap();
        assert_eq!((context.name(), euid(&context)), ("doas.root", 0));
        assert!(context.call::<i64>("os:open", ("/dev/tty", 0)).is_err());
        router.shutdown().unwrap();
    });
}

#[test]
fn a_password_is_given_or_asked_for() {
    isolated(|| {
        let user = user();
        let doas = AsUser::doas(&user, &format!("permit {}", user.name()));
        let prompts = Prompts::answering([PASSWORD]);
        let router = Router::builder().on_prompt(prompts.handler()).build().unwrap();
        let method = || Doas::new().doas_path(doas.path());
        let context = router.connect(method().password(PASSWORD)).unwrap();
        assert_eq!((euid(&context), prompts.asked()), (0, vec![]));
        let text: String = context.call("operator:mul", ("x", 3_000_000)).unwrap();
        assert_eq!(text.len(), 3_000_000);
        let context = router.connect(method()).unwrap();
        let asked = prompts.asked();
        let question = format!("doas ({}@", user.name());
        assert!(
            asked[0].1.starts_with(&question) && asked[0].1.ends_with("password:"),
            "{asked:?}"
        );
        assert_eq!((euid(&context), asked.len(), asked[0].0), (0, 1, PromptKind::Password));
        router.shutdown().unwrap();
    });
}

#[test]
fn a_refusal_is_one_line_that_says_why() {
    isolated(|| {
        let user = user();
        let doas = AsUser::doas(&user, &format!("permit {} as root", user.name()));
        let router = Router::new().unwrap();
        let start = || Doas::new().doas_path(doas.path());
        let line = |doas| {
            let (stage, line) = refusal(&router, doas);
            assert_eq!(stage, Stage::Login, "{line}");
            line
        };
        assert_eq!(
            line(start()),
            "it wants a password: \"doas: Authentication required\"; set .password(..) or \
             Router::builder().on_prompt(..) (exit status 1)"
        );
        assert_eq!(
            line(start().password("wrong")),
            "the password was refused, or the account: \"doas: Authentication failed\"; doas takes that of the user \
             who runs it (exit status 1)"
        );
        assert_eq!(
            line(start().user("nobody").password(PASSWORD)),
            "the user may not use it: \"doas: Operation not permitted\", or not run the command \
             (exit status 1)"
        );
        assert_eq!(
            line(start().user("nobody-here").password(PASSWORD)),
            "no such user: \"doas: unknown user\" (exit status 1)"
        );
        router.shutdown().unwrap();
    });
}

#[test]
fn through_another_context_it_is_the_same() {
    isolated(|| {
        let user = user();
        let doas = AsUser::doas(&user, &format!("permit {} as root", user.name()));
        let router = Router::new().unwrap();
        let parent = router.connect(Local::new()).unwrap();
        let start = || Doas::new().doas_path(doas.path());
        let context = parent.connect(start().password(PASSWORD)).unwrap();
        let text: String = context.call("operator:mul", ("x", 3_000_000)).unwrap();
        assert_eq!((text.len(), euid(&context)), (3_000_000, 0));
        let (stage, line) = refusal_by(parent.connect(start()));
        assert_eq!(stage, Stage::Login);
        assert!(
            line.starts_with("it wants a password: \"doas: Authentication required\"; "),
            "{line}"
        );
        let (_, line) = refusal_by(parent.connect(start().password("wrong")));
        assert!(line.starts_with("the password was refused, or the account: "), "{line}");
        router.shutdown().unwrap();
    });
}

/// Asks in its own words where it may, and runs the command.
const STUB: &str = r#"
printf '%s\n' "$@" '' >> "$0.argv"
while [ "$1" != -- ]; do
    [ "$1" = -n ] && { echo 'doas: Legitimation erforderlich' >&2; exit 1; }
    shift
done
shift
printf '\rdoas (me@web1) Passwort: ' > /dev/tty; read -r password < /dev/tty; printf '\n' > /dev/tty
[ "$password" = 'correct horse 7' ] || exit 1
ECONTEXT_MARK=through exec "$@"
"#;

#[test]
fn the_argv_is_that_of_the_documentation_and_the_question_of_any_language() {
    isolated(|| {
        let dir = TempDir::new();
        let doas = script(&dir, "doas", STUB);
        let router = Router::new().unwrap();
        let method = Doas::new().user("deploy").args(["-L"]).doas_path(&doas).password(PASSWORD);
        let context = router.connect(method).unwrap();
        let mark: String = context.call("os:getenv", ("ECONTEXT_MARK",)).unwrap();
        assert_eq!(mark, "through");
        let argv = std::fs::read_to_string(dir.path().join("doas.argv")).unwrap();
        let runs: Vec<Vec<_>> = argv.split("\n\n").map(|run| run.lines().collect()).collect();
        assert_eq!(runs[0][..6], ["-u", "deploy", "-L", "-n", "--", "/bin/sh"]);
        assert_eq!(runs[1][..5], ["-u", "deploy", "-L", "--", "/bin/sh"]);
        router.shutdown().unwrap();
    });
}
