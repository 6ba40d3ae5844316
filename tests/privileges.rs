//! Promise: what runs a child in front of Python gets the documented words, and the child is whose it is to be.

use std::fs;

use econtext::{Context, Exec, Local, Router, Runuser, Setpriv, Stage};

mod support;

use support::{Prompts, TempDir, User, interpreters, isolated, refusal, script};

fn ids(context: &Context) -> (u32, u32) {
    let info = context.info().unwrap();
    let gid: u32 = context.call("os:getegid", ()).unwrap();
    (info.euid, gid)
}

/// Notes its words, marks the environment and runs what is behind `--`.
const STUB: &str = r#"
printf '%s\n' "$@" > "$0.argv"
while [ "$1" != -- ]; do shift; done
shift
ECONTEXT_MARK=through exec "$@"
"#;

#[test]
fn each_tool_gets_its_words_and_runs_the_command_behind_them() {
    isolated(|| {
        let dir = TempDir::new();
        let router = Router::new().unwrap();
        let check =
            |name: &str, method: &dyn Fn(&str) -> econtext::Result<Context>, words: &str| {
                let path = script(&dir, name, STUB);
                let context = method(path.to_str().unwrap()).unwrap();
                let mark: String = context.call("os:getenv", ("ECONTEXT_MARK",)).unwrap();
                assert_eq!(mark, "through");
                let argv = fs::read_to_string(dir.path().join(format!("{name}.argv"))).unwrap();
                let argv: Vec<_> = argv.lines().collect();
                let words: Vec<_> = words.split(' ').collect();
                assert_eq!(argv[..words.len()], words);
            };
        check(
            "runuser",
            &|path| router.connect(Runuser::new("deploy").args(["-g", "www"]).runuser_path(path)),
            "-u deploy -g www -- /bin/sh -c",
        );
        check(
            "setpriv",
            &|path| {
                let method = Setpriv::new("deploy", "www").args(["--no-new-privs"]);
                router.connect(method.setpriv_path(path).python("python3"))
            },
            "--reuid=deploy --regid=www --init-groups --no-new-privs -- python3 -c",
        );
        check(
            "exec",
            &|path| router.connect(Exec::new([path, "-a", "--"]).python_argv(["env", "python3"])),
            "-a -- env python3 -c",
        );
        router.shutdown().unwrap();
    });
}

#[test]
fn a_shell_gets_the_command_as_one_word() {
    isolated(|| {
        let router = Router::new().unwrap();
        let method = Exec::new(["sh", "-c"]).shell(true);
        let context = router.connect(method).unwrap();
        assert_eq!(context.name(), "exec.sh");
        assert_eq!(context.call::<i64>("operator:add", (1, 2)).unwrap(), 3);
        router.shutdown().unwrap();
    });
}

#[test]
fn root_becomes_another_without_being_asked() {
    isolated(|| {
        let user = User::new("/bin/sh");
        let (uid, gid) = (user.uid(), user.gid());
        let router = Router::new().unwrap();
        let runuser = router.connect(Runuser::new(user.name())).unwrap();
        assert_eq!(
            (ids(&runuser), runuser.name()),
            ((uid, gid), &*format!("runuser.{}", user.name()))
        );
        let setpriv = router.connect(Setpriv::new(user.name(), gid.to_string())).unwrap();
        assert_eq!(ids(&setpriv), (uid, gid));
        let local = router.connect(Local::new().user(user.name()).nice(3)).unwrap();
        assert_eq!(ids(&local), (uid, gid));
        let nice: i32 = local.call("os:nice", (0,)).unwrap();
        let ours: i32 = router.connect(Local::new()).unwrap().call("os:nice", (0,)).unwrap();
        assert_eq!(nice, ours + 3);
        router.shutdown().unwrap();
    });
}

#[test]
fn who_is_not_root_or_nobody_is_told_so() {
    isolated(|| {
        let user = User::new("/bin/sh");
        let router = Router::new().unwrap();
        let (stage, line) = refusal(&router, Runuser::new("nobody-here"));
        assert_eq!(stage, Stage::Login);
        assert!(line.starts_with("no such user: \"runuser: user nobody-here does not "), "{line}");
        let (_, line) = refusal(&router, Setpriv::new("nobody-here", "0"));
        assert!(line.starts_with("no such user: \"setpriv: failed to parse reuid: "), "{line}");
        let dir = TempDir::new();
        let become_user =
            format!("setpriv --reuid={} --regid={} --init-groups", user.uid(), user.gid());
        for tool in ["runuser", "setpriv"] {
            let line = format!("PATH=$PATH:/sbin {become_user} {tool} \"$@\"");
            let path = script(&dir, tool, &line);
            let (stage, line) = match tool {
                "runuser" => refusal(&router, Runuser::new("root").runuser_path(&path)),
                _ => refusal(&router, Setpriv::new("root", "0").setpriv_path(&path)),
            };
            assert_eq!(stage, Stage::Login);
            assert!(line.starts_with("it has no right to change the user: "), "{line}");
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn a_tool_that_fails_is_named_and_quoted() {
    isolated(|| {
        let dir = TempDir::new();
        let router = Router::new().unwrap();
        let broken = script(&dir, "broken", "echo 'no such container: web' >&2; exit 125");
        let (stage, line) = refusal(&router, Exec::new([&broken]));
        let expected =
            "broken ended before Python ran (exit status 125); it printed: no such container: web";
        assert_eq!((stage, &*line), (Stage::Python, expected));
        let (stage, line) = refusal(&router, Exec::new(["no-such-tool"]));
        assert!(
            stage == Stage::Spawn && line.starts_with("no-such-tool not found in PATH"),
            "{line}"
        );
        // What is wrong with Python is said in the same words as without a tool.
        let (stage, line) = refusal(&router, Exec::new(["env"]).python_candidates(["nothing"]));
        assert_eq!((stage, &*line), (Stage::Python, "nothing not found (exit status 97)"));
        router.shutdown().unwrap();
    });
}

#[test]
fn a_tool_may_ask_on_its_terminal_where_there_is_a_handler() {
    isolated(|| {
        let dir = TempDir::new();
        let body = "printf 'Code: ' > /dev/tty || exit; read -r code < /dev/tty; [ $code = 42 ] && exec \"$@\"";
        let tool = script(&dir, "tool", body);
        let prompts = Prompts::answering(["42"]);
        let router = Router::builder().on_prompt(prompts.handler()).build().unwrap();
        let context = router.connect(Exec::new([&tool])).unwrap();
        assert_eq!(context.call::<i64>("operator:add", (1, 2)).unwrap(), 3);
        assert_eq!(prompts.asked()[0].1, "Code:");
        router.shutdown().unwrap();
        let router = Router::new().unwrap();
        let (_, line) = refusal(&router, Exec::new([&tool]));
        assert!(line.contains("/dev/tty"), "{line}");
        router.shutdown().unwrap();
    });
}

#[test]
fn an_interpreter_may_be_several_words_on_every_method() {
    isolated(|| {
        for python in interpreters() {
            let words =
                ["env".into(), "ECONTEXT_MARK=a b".into(), python.path.clone().into_os_string()];
            let router = Router::new().unwrap();
            let exec = Exec::new(["sh", "-c"]).shell(true).python_argv(&words);
            let contexts = [router.connect(Local::new().python_argv(&words)), router.connect(exec)];
            for context in contexts {
                let context = context.unwrap();
                let mark: String = context.call("os:getenv", ("ECONTEXT_MARK",)).unwrap();
                assert_eq!(mark, "a b", "{python}");
            }
            router.shutdown().unwrap();
        }
        let router = Router::new().unwrap();
        let (stage, line) = refusal(&router, Local::new().python_argv([""; 0]));
        assert_eq!((stage, &*line), (Stage::Spawn, "python_argv(..) got no words"));
        router.shutdown().unwrap();
    });
}
