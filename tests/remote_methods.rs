//! Promise: code in a context starts contexts of its own, as the program would do it, and calls functions there.

use std::fs;

use econtext::{
    Context, Error, Exec, ExitStatus, Function, Level, Local, Method, Router, Ssh, Sudo, Value,
};

mod support;

use support::{
    Python, Run, Sshd, TempDir, User, fake_ssh, for_each_kind_of_python, for_each_python, isolated,
    long, mkfifo, script,
};

fn start_with(local: Local) -> Run {
    Run::start_with(local, Level::Debug, |modules| {
        modules.source("work", include_str!("remote_methods/work.py"));
    })
}

fn start(python: &Python) -> Run {
    start_with(Local::new().python(&python.path))
}

/// Has the context start another, with this interpreter, and under this name.
fn start_below(run: &Run, python: &Python, name: &str) {
    let path = python.path.to_str().unwrap();
    assert_eq!(run.text("work:local", (name, path, name)), name);
}

/// The class of the exception of a call of a function in a context below, and its words.
fn failure(context: &Context, name: &str, target: &str, args: &[String]) -> (String, String) {
    context.call("work:attempt", (name, target, args.to_vec())).unwrap()
}

#[test]
fn values_and_errors_come_back_between_all_kinds_of_python() {
    isolated(|| {
        for_each_kind_of_python(|above| {
            let run = start(above);
            for_each_kind_of_python(|below| {
                let name = &*below.name;
                start_below(&run, below, name);
                let same = run.context.call::<bool>("work:exchange", (name,));
                assert!(same.unwrap_or_else(|error| panic!("{}", long(&error))), "{below}");
                let failed = failure(&run.context, name, "work:fail", &["\u{20ac}".into()]);
                assert_eq!(failed, ("CallError".into(), "\u{20ac}".into()), "{below}");
            });
        });
    });
}

#[test]
fn a_call_that_takes_too_long_to_wait_for_can_be_waited_for_again() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = start(python);
            start_below(&run, python, "below");
            let fifo = mkfifo(&dir, &python.name);
            let got = run.context.call("work:impatient", ("below", fifo));
            let (late, first, second): (String, String, String) = got.unwrap();
            assert_eq!((&*late, &*first, &*second), ("TimeoutError", "opened", "opened"));
        });
    });
}

#[test]
fn a_call_of_a_context_that_ends_fails_and_so_do_later_ones() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            start_below(&run, python, "below");
            for target in ["work:die", "os:getpid"] {
                let (class, words) = failure(&run.context, "below", target, &[]);
                assert_eq!(class, "StreamError");
                assert!(words.starts_with(&format!("below: call of {target}: ")), "{words}");
            }
        });
    });
}

#[test]
fn what_is_no_function_and_what_is_too_long_is_refused_before_it_is_sent() {
    isolated(|| {
        let router = Router::builder().max_message_bytes(1 << 20).build().unwrap();
        router.modules().source("work", include_str!("remote_methods/work.py"));
        let context = router.connect(Local::new()).unwrap();
        context.call::<()>("work:local", ("below", Value::None, "below")).unwrap();
        let (class, words) = failure(&context, "below", "work", &[]);
        assert_eq!(class, "ValueError");
        assert!(
            words.ends_with("is no function: module:function or module:Class.method"),
            "{words}"
        );
        let half = "x".repeat(600_000);
        let (class, words): (String, String) =
            context.call("work:double", ("below", half)).unwrap();
        assert_eq!(class, "StreamError");
        assert!(words.contains("is over the limit of 1048576"), "{words}");
        assert!(!context.call::<bool>("work:waits", ()).unwrap());
    });
}

/// What a program that a plan starts was given: its arguments, and the first stage without its first line. The
/// number in the loader, which is the length of the first stage, is cut out of the arguments.
fn recorded(dir: &TempDir) -> (Vec<String>, String) {
    let args = fs::read_to_string(dir.path().join("argv")).unwrap();
    let stdin = fs::read(dir.path().join("stdin")).unwrap();
    fs::remove_file(dir.path().join("argv")).unwrap();
    fs::remove_file(dir.path().join("stdin")).unwrap();
    let (before, rest) = args.split_once(";n=").unwrap();
    let (length, after) = rest.split_once(';').unwrap();
    let stage = std::str::from_utf8(&stdin[..length.parse::<usize>().unwrap()]).unwrap();
    let (head, stage) = stage.split_once('\n').unwrap();
    let core = head.strip_prefix("N,L='econtext:").unwrap().rsplit_once("',").unwrap().1;
    assert!(core.parse::<u32>().unwrap() > 5000, "{head}");
    let args = format!("{before};n=;{after}");
    (args.split_terminator('\0').map(String::from).collect(), stage.to_string())
}

#[test]
fn the_command_and_the_first_stage_are_those_that_the_program_composes() {
    isolated(|| {
        let dir = TempDir::new();
        let path = dir.path().display();
        let tool = script(
            &dir,
            "ssh",
            &format!(
                "case \" $* \" in *' -G '*) printf 'user me\\nhostname web\\n'; exit; esac\n\
                 printf '%s\\0' \"$@\" >{path}/argv\nhead -c 4000 >{path}/stdin\nexit 1\n"
            ),
        );
        fs::copy(&tool, dir.path().join("sudo")).unwrap();
        let tool = tool.to_str().unwrap();
        let router = Router::new().unwrap();
        let master = |method: &dyn Plans| {
            assert!(method.connect(&router).is_err());
            recorded(&dir)
        };
        for_each_python(|python| {
            let paths = format!("{path}:/usr/local/bin:/usr/bin:/bin");
            let run = start_with(Local::new().python(&python.path).env("PATH", paths));
            let fails = |method: &str| run.context.function("work:fails").arg(method);
            let below = |call: Function| {
                assert_eq!(call.call::<String>().unwrap(), "ConnectError");
                recorded(&dir)
            };
            let argv = || fails("argv").kwarg("prefix", [tool, "a b"]);
            let exec = || Exec::new([tool, "a b"]);
            assert_eq!(below(argv()), master(&exec()));
            let python = "/opt/py/bin/python3";
            assert_eq!(below(argv().kwarg("python", python)), master(&exec().python(python)));
            let candidates = ["~/my py", "python3"];
            let searching = below(argv().kwarg("python", candidates));
            assert_eq!(searching, master(&exec().python_candidates(candidates)));
            assert_eq!(
                below(fails("local").kwarg("python", tool)),
                master(&Local::new().python(tool))
            );

            let ssh = || Ssh::new("me@web").ssh_path(tool);
            assert_eq!(below(fails("ssh").kwarg("host", "me@web")), master(&ssh()));
            let home = std::env::var("HOME").unwrap();
            let options = fails("ssh")
                .kwarg("host", "web")
                .kwarg("user", "you")
                .kwarg("port", 2222)
                .kwarg("identity", "~/keys/100% mine")
                .kwarg("password", "hunter2")
                .kwarg("config_file", "/a b/config")
                .kwarg("args", ["-v"])
                .kwarg("python", "~me/my py/python");
            let same = Ssh::new("web")
                .ssh_path(tool)
                .user("you")
                .port(2222)
                .identity(format!("{home}/keys/100% mine"))
                .password("hunter2")
                .config_file("/a b/config")
                .args(["-v"])
                .python("~me/my py/python");
            assert_eq!(below(options), master(&same));

            let sudo = || fails("sudo").kwarg("user", "deploy").kwarg("args", ["-H"]);
            let same = || Sudo::new().user("deploy").args(["-H"]).sudo_path(tool);
            assert_eq!(below(sudo()), master(&same()));
            let untold = |(mut args, stage): (Vec<String>, String)| {
                let token = args.iter().position(|it| it == "-p").unwrap() + 1;
                assert!(args[token].len() == 18 && args[token].ends_with(": "), "{args:?}");
                args[token].clear();
                (args, stage)
            };
            let sudo = below(sudo().kwarg("password", "hunter2"));
            assert_eq!(untold(sudo), untold(master(&same().password("hunter2"))));
        });
    });
}

/// A method of any kind.
trait Plans {
    fn connect(&self, router: &Router) -> Result<Context, Error>;
}

impl<M: Method + Clone> Plans for M {
    fn connect(&self, router: &Router) -> Result<Context, Error> {
        router.connect(self.clone())
    }
}

#[test]
fn what_cannot_be_quoted_or_is_no_host_is_refused() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            let below = |method: &str, args: &[(&str, &str)]| {
                let mut call = run.context.function("work:words").arg(method);
                for (name, value) in args {
                    call = call.kwarg(name, *value);
                }
                call.call::<String>().unwrap()
            };
            for word in ["it's", "a!", "`x`", "a\nb", "a\\\\b", "end\\"] {
                let words = below("ssh", &[("host", "web"), ("python", word)]);
                assert!(words.contains("cannot be quoted for every login shell"), "{words}");
            }
            assert_eq!(below("ssh", &[("host", "-v")]), "'-v' cannot be a host's name");
            let words = below("ssh", &[("host", "web"), ("identity", "a\"b")]);
            assert!(words.contains("it has a quotation mark, a newline or ${ in it"), "{words}");
        });
    });
}

#[test]
fn an_argument_of_the_wrong_kind_is_refused_by_its_name() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            let said: Vec<String> = run
                .context
                .call("work:refused", ())
                .unwrap_or_else(|error| panic!("{}", long(&error)));
            assert_eq!(said, Vec::<String>::new());
        });
    });
}

#[test]
fn any_program_carries_a_context_and_what_it_says_is_in_the_error() {
    isolated(|| {
        let dir = TempDir::new();
        let broken = script(&dir, "broken", "echo starting\necho no such thing >&2\nexit 4\n");
        for_each_python(|python| {
            let run = start(python);
            let name: String =
                run.context.call("work:argv", ("below", vec!["nice", "-n", "5"])).unwrap();
            assert_eq!(name, "exec.nice");
            let niceness = run.context.call::<i32>("work:call", ("below", "os:nice", 0));
            let above: i32 = run.context.call("os:nice", (0,)).unwrap();
            assert_eq!(niceness.unwrap(), (above + 5).min(19));
            let prefix = [broken.to_str().unwrap()];
            let words: String = run
                .context
                .function("work:words")
                .arg("argv")
                .kwarg("prefix", prefix)
                .call()
                .unwrap();
            let expected = "exec.broken: starting Python: broken ended before Python ran \
                            (exit status 4); it printed: no such thing";
            assert_eq!(words, expected);
        });
    });
}

#[test]
fn ssh_is_told_the_password_that_was_given_and_nothing_else() {
    isolated(|| {
        let dir = TempDir::new();
        let ask = "ask \"$(cat \"${0%ssh}question\")\" || exit 9\n\
                   [ \"$answer\" = hunter2 ] || { say 'Permission denied.'; exit 255; }\n\
                   logged_in\nrun\n";
        let ssh = fake_ssh(&dir, ask);
        let paths = format!("{}:/usr/local/bin:/usr/bin:/bin", ssh.parent().unwrap().display());
        for_each_python(|python| {
            let run = start_with(Local::new().python(&python.path).env("PATH", &paths));
            let words = |question: &str, password: &str| -> String {
                dir.file("question", question);
                let call = run.context.function("work:words").arg("ssh").kwarg("host", "web1");
                call.kwarg("password", password).call().unwrap()
            };
            assert_eq!(words("deploy@web1's password: ", "hunter2"), "");
            assert_eq!(words("Password:", "hunter2"), "");
            let refused = words("Password: ", "guess");
            let expected = "ssh.web1: connecting: the process ended (exit status 255); it \
                            printed: Permission denied.";
            assert_eq!(refused, expected);
            let code = words("Verification code: ", "hunter2");
            let expected =
                "ssh.web1: logging in: \"Verification code:\" needs an answer: set on_prompt=";
            assert_eq!(code, expected);
        });
    });
}

#[test]
fn a_context_logs_in_over_ssh_with_a_password() {
    isolated(|| {
        let sshd = Sshd::start_with("PubkeyAuthentication no\nPasswordAuthentication yes");
        let user = User::new("/bin/sh");
        user.set_password("correct horse 7");
        for_each_kind_of_python(|python| {
            let run = start(python);
            let ssh = |password: &str| -> String {
                let call = run.context.function("work:ssh_uid").kwarg("host", "127.0.0.1");
                let call = call.kwarg("user", user.name()).kwarg("port", sshd.port());
                let call = call.kwarg("config_file", sshd.config()).kwarg("password", password);
                call.call().unwrap()
            };
            assert_eq!(ssh("correct horse 7"), user.uid().to_string());
            let refused = ssh("guess");
            assert!(refused.contains(": the password was refused"), "{refused}");
        });
    });
}

/// As sudo: it wants a password, and says what it was told to ask with.
const SUDO: &str = r#"silent= prompt=
while [ "$1" != -- ]; do
    case $1 in
    -n) silent=1 ;;
    -p) prompt=$2; shift ;;
    -u) [ "$2" = deploy ] || exit 7; shift ;;
    esac
    shift
done
shift
[ "$silent" ] && { echo 'sudo: a password is required' >&2; exit 1; }
exec 3<>/dev/tty
for attempt in 1 2 3; do
    printf '%s' "[sudo: $prompt] Passwort: " >&3
    IFS= read -r answer <&3
    printf '\n' >&3
    [ "$answer" = hunter2 ] && { exec 3>&-; exec "$@"; }
    echo 'Das hat nicht funktioniert.' >&3
done
echo 'sudo: 3 Fehlversuche' >&2
exit 1
"#;

#[test]
fn sudo_asks_nothing_first_and_is_then_told_the_password_once() {
    isolated(|| {
        let dir = TempDir::new();
        script(&dir, "sudo", SUDO);
        let paths = format!("{}:/usr/local/bin:/usr/bin:/bin", dir.path().display());
        for_each_python(|python| {
            let run = start_with(Local::new().python(&python.path).env("PATH", &paths));
            let sudo = || run.context.function("work:words").arg("sudo").kwarg("user", "deploy");
            let words = |call: Function| call.call::<String>().unwrap();
            assert_eq!(words(sudo().kwarg("password", "hunter2")), "");
            let refused = words(sudo().kwarg("password", "guess"));
            assert_eq!(refused, "sudo.deploy: logging in: the password was refused");
            let none = "sudo.deploy: logging in: it wants a password: \"sudo: a password is \
                        required\"; set password= or on_prompt= (exit status 1)";
            assert_eq!(words(sudo()), none);
        });
    });
}

#[test]
fn sudo_starts_a_context_of_another_user() {
    isolated(|| {
        let user = User::new("/bin/sh");
        for_each_kind_of_python(|python| {
            let run = start(python);
            let uid: u32 = run.context.call("work:sudo_uid", (user.name(),)).unwrap();
            assert_eq!(uid, user.uid());
        });
    });
}

#[test]
fn what_goes_wrong_in_a_start_is_its_failure_and_leaves_no_child() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let (said, children): (Vec<String>, i32) =
                run.context.call("work:broken_plans", ()).unwrap();
            assert_eq!(said, ["ConnectError", "ConnectError", "LookupError"]);
            assert_eq!(children, 0);
        });
    });
}

#[test]
fn a_terminal_that_does_not_become_the_controlling_one_does_not_stop_a_start() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            assert!(run.context.call::<bool>("work:without_terminal", ()).unwrap());
        });
    });
}

/// The same error in the words of code in a context.
fn in_python(error: &str) -> String {
    [
        ("Router::builder().on_prompt(..)", "on_prompt="),
        (".password(..)", "password="),
        (".passphrase(..)", "passphrase="),
        (".identity(..)", "identity="),
        (".python(..)", "python="),
        ("(Ssh::args)", "in args="),
        (".host_keys(HostKeys::AcceptNew)", "-o StrictHostKeyChecking=accept-new in args="),
        (".host_keys(..)", "-o StrictHostKeyChecking=.. in args="),
    ]
    .iter()
    .fold(error.into(), |error: String, (ours, theirs)| error.replace(ours, theirs))
}

/// Asserts that a start fails in the same way wherever it is asked for.
#[track_caller]
fn same_failure(run: &Run, router: &Router, method: impl Method, call: Function) {
    let Err(Error::Connect(error)) = router.connect(method) else { panic!("it did not fail") };
    let (shown, context, stage, reason, printed, status): (
        String,
        String,
        String,
        String,
        String,
        Option<i32>,
    ) = call.call().unwrap_or_else(|error| panic!("{}", long(&error)));
    assert_eq!(shown, in_python(&error.to_string()), "{:?}", run.context.info());
    assert_eq!((context, stage), (error.context.clone(), error.stage.to_string()));
    assert_eq!((reason, printed), (in_python(&error.reason), error.printed.clone()));
    let expected = error.status.map(|status| match status {
        ExitStatus::Code(code) => code,
        ExitStatus::Signal(signal) => -signal,
        ExitStatus::Unknown => panic!("{error}"),
    });
    assert_eq!(status, expected, "{error}");
}

#[test]
fn what_ssh_says_is_explained_as_the_program_does() {
    const FAILURES: [&str; 30] = [
        "say 'ssh: Could not resolve hostname web1: Name or service not known'; exit 255",
        "say 'ssh: connect to host web1 port 22: Connection refused'; exit 255",
        "say 'ssh: connect to host web1 port 22: Strange weather'; exit 255",
        "say 'Host key verification failed.'; exit 255",
        "say 'No ED25519 host key is known for web1 and you have requested strict checking.' \
         'Host key verification failed.'; exit 255",
        "say '@@@@@@@@@@@' 'Offending ED25519 key in /home/me/.ssh/known_hosts:3' 'Host key for web1 \
         has changed and you have requested strict checking.' 'Host key verification failed.'; exit 255",
        "say 'me@web1: Permission denied (publickey,password).'; exit 255",
        "say 'Load key \"/a\": bad permissions' 'me@web1: Permission denied (publickey).'; exit 255",
        "say 'me@web1: Permission denied (publickey).'; exit 255",
        "say 'me@web1: Permission denied (hostbased).'; exit 255",
        "say 'Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures' \
         'Disconnected from 192.0.2.1 port 22'; exit 255",
        "say 'me@gate: Permission denied (publickey).' 'kex_exchange_identification: Connection closed by \
         remote host' 'Connection closed by UNKNOWN port 65535'; exit 255",
        "say 'gate is shut' 'kex_exchange_identification: read: Broken pipe'; exit 255",
        "say 'command-line line 0: Bad configuration option: nonsense'; exit 255",
        "say 'usage: ssh [-46AaCf] [-B bind_interface]' '           [-b bind_address]'; exit 255",
        "say 'Warning: Permanently added web1 to the list of known hosts.' 'Connection closed by 192.0.2.1 \
         port 22'; exit 255",
        "logged_in; say 'Connection to web1 closed by remote host.' 'Transferred: sent 1, received 2 bytes, \
         in 0.1 seconds' 'Bytes per second: sent 1.0, received 2.0'; exit 255",
        "logged_in; say 'exec request failed on channel 0'; exit 255",
        "logged_in; echo 'This account is currently not available.'; exit 1",
        "logged_in; exit 1",
        "logged_in; say 'fish: Unknown command: exec' '   ^~~^'; exit 127",
        "logged_in; say 'bash: line 1: /bin/sh: Permission denied'; exit 126",
        "logged_in; say '/no/shell: No such file or directory'; exit 1",
        "logged_in; say 'motd' 'and more'; exit 1",
        "say 'motd' 'and more \u{1b}[2J'; exit 3",
        "logged_in; printf 'EC0\\nno room left'; exit 1",
        "logged_in; say 'econtext: python3:98 python:127 /usr/libexec/platform-python:1 python2.7:126'; exit 97",
        "logged_in; say 'econtext: Python 3.5 is too old'; exit 98",
        "logged_in; say 'econtext: [Errno 11] no processes'; exit 92",
        "logged_in; say 'half a line'; printf 'of it' >&2; kill -9 $$",
    ];
    isolated(|| {
        let dir = TempDir::new();
        let ssh = fake_ssh(&dir, ". \"${0%ssh}body\"");
        let paths = format!("{}:/usr/local/bin:/usr/bin:/bin", dir.path().display());
        let router = Router::new().unwrap();
        for_each_kind_of_python(|python| {
            let run = start_with(Local::new().python(&python.path).env("PATH", &paths));
            for body in FAILURES {
                dir.file("body", body);
                let call = run.context.function("work:failure").arg("ssh").kwarg("host", "web1");
                same_failure(&run, &router, Ssh::new("web1").ssh_path(&ssh), call);
            }
        });
    });
}

#[test]
fn what_sudo_and_interpreters_say_is_explained_as_the_program_does() {
    isolated(|| {
        let dir = TempDir::new();
        let sudo = script(&dir, "sudo", ". \"${0%sudo}body\"\n");
        let python = script(&dir, "python", ". \"${0%python}body\"\n");
        let paths = format!("{}:/usr/local/bin:/usr/bin:/bin", dir.path().display());
        let router = Router::new().unwrap();
        for_each_kind_of_python(|kind| {
            let run = start_with(Local::new().python(&kind.path).env("PATH", &paths));
            let call =
                |method: &str| run.context.function("work:failure").arg(method).kwarg("name", "x");
            for body in [
                "echo 'sudo: a password is required' >&2; exit 1",
                "echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1",
                "echo 'me is not in the sudoers file.  This incident will be reported.' >&2; exit 1",
                "echo 'Sorry, user me is not allowed to execute /bin/sh as root on web1.' >&2; exit 1",
                "echo 'sudo: unknown user nobody1' >&2; echo 'sudo: error initializing audit plugin \
                 sudoers_audit' >&2; exit 1",
                "echo 'sudo: Ein Passwort ist notwendig' >&2; exit 1",
                "(: <>/dev/tty) 2>/dev/null || exit 1; printf 'Code: ' >/dev/tty; sleep 30",
            ] {
                dir.file("body", body);
                let method = Sudo::new().sudo_path(&sudo).name("x");
                same_failure(&run, &router, method, call("sudo"));
            }
            for body in [
                "echo 'Fatal Python error' >&2; exit 1",
                "printf 'EC0\\nhello'; exit 0",
                "echo 'econtext: Python 3.4 is too old' >&2; exit 98",
                "kill -15 $$",
                "echo \"Try 'python --help' for more.\" >&2; exit 2",
            ] {
                dir.file("body", body);
                let method = || Local::new().name("x");
                let below = || call("local");
                same_failure(
                    &run,
                    &router,
                    method().python(&python),
                    below().kwarg("python", &*python.to_string_lossy()),
                );
                let words = ["/no/python", &python.to_string_lossy()];
                same_failure(
                    &run,
                    &router,
                    method().python_candidates(words),
                    below().kwarg("python", words),
                );
                let exec = Exec::new(["env"]).name("x").python(&python);
                let below = call("argv").kwarg("prefix", ["env"]);
                same_failure(
                    &run,
                    &router,
                    exec,
                    below.kwarg("python", &*python.to_string_lossy()),
                );
            }
        });
    });
}
