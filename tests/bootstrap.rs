//! Promise: any Python from 2.7 on comes up as a context, and says truly who it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use econtext::{Context, Local, RemoteInfo, Router};

mod support;

use support::{
    Log, Python, TempDir, descendants, for_each_kind_of_python, for_each_python, interpreters,
    isolated, leave_out, script,
};

#[test]
fn each_python_comes_up_at_a_fixed_path_and_says_who_it_is() {
    isolated(|| {
        let router = Router::new().unwrap();
        for_each_python(|python| {
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            check_info(&context, python, &python.path);
            check_process(&context, python);
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn each_python_is_found_by_the_search() {
    isolated(|| {
        let router = Router::new().unwrap();
        for_each_python(|python| {
            let bin = TempDir::new();
            let found = bin.path().join("good");
            symlink(&python.path, &found).unwrap();
            let local = Local::new().env("PATH", bin.path()).python_candidates(["bad", "good"]);
            let context = router.connect(local).unwrap();
            check_info(&context, python, &found);
            check_process(&context, python);
            context.shutdown().unwrap();
        });
    });
}

/// Compares what the context says of itself with what can be known here.
fn check_info(context: &Context, python: &Python, executable: &Path) {
    let info: RemoteInfo = context.info().unwrap();
    let asked = ask(executable, "[sys.getfilesystemencoding(), sys.prefix] + list(os.uname())");
    let [encoding, prefix, system, _, release, _, machine] = &asked[..] else {
        panic!("{asked:?}")
    };
    let (major, minor) = python.version;
    assert!(info.version.starts_with(&format!("{major}.{minor}.")), "{info:?}");
    let is_pypy = python.name.starts_with("pypy");
    assert_eq!(info.implementation, if is_pypy { "PyPy" } else { "CPython" });
    assert_eq!(info.executable, executable);
    assert_eq!(info.prefix, Path::new(prefix));
    assert_eq!(&info.encoding, encoding);
    assert!(info.platform.starts_with("linux"), "{info:?}"); // 2.7: linux2
    assert_eq!([&info.system, &info.release, &info.machine], [system, release, machine]);
    assert_eq!(info.host_name, host_name());
    assert_eq!((info.uid, info.euid), (user_id(), user_id()));
    assert_eq!(info.current_dir, std::env::current_dir().ok());
    assert_eq!(context.name(), format!("local.{}", info.pid));
    assert!(context.is_connected());
    assert_eq!(context.call::<u32>("os:getpid", ()).unwrap(), info.pid);
}

/// It is a child of ours, `ps` shows its name, and the first stage has left no process behind.
fn check_process(context: &Context, python: &Python) {
    let info = context.info().unwrap();
    let pid = info.pid as i32;
    assert!(descendants(std::process::id() as i32).contains_key(&pid));
    assert_eq!(descendants(pid), [].into());
    let name = format!("econtext:{}@{}:{}", user_name(), host_name(), std::process::id());
    let executable = info.executable.to_str().unwrap();
    let (directory, _) = executable.rsplit_once('/').unwrap();
    let expected = match python.name.starts_with("pypy") {
        true => vec![executable.to_string(), "-".to_string(), name],
        false => vec![format!("{directory}/{name}")],
    };
    assert_eq!(arguments(pid), expected);
}

#[test]
fn the_name_and_the_executable_are_those_of_python_itself_too() {
    isolated(|| {
        let router = Router::new().unwrap();
        router
            .modules()
            .source("who", "import sys\n\n\ndef says():\n    return sys.executable, sys.prefix\n");
        for_each_kind_of_python(|python| {
            let local = Local::new().python(&python.path).name("web 1");
            let context = router.connect(local).unwrap();
            assert_eq!((context.name(), context.to_string().as_str()), ("web 1", "web 1"));
            let info = context.info().unwrap();
            let said: (PathBuf, PathBuf) = context.call("who:says", ()).unwrap();
            assert_eq!(said, (info.executable, info.prefix));
            context.shutdown().unwrap();
        });
    });
}

/// What one Python has compiled means nothing to another.
#[test]
fn an_interpreter_that_takes_another_for_itself_becomes_that_one() {
    isolated(|| {
        let router = Router::new().unwrap();
        let is_cpython = |python: &&Python| python.name.starts_with("python3");
        let other = interpreters().iter().rfind(is_cpython).expect("a Python 3");
        for_each_python(|python| {
            let dir = TempDir::new();
            let lie = format!("import sys\nsys.executable = {:?}\n", other.path);
            dir.file("sitecustomize.py", lie);
            let local = Local::new().python(&python.path).env("PYTHONPATH", dir.path());
            let local = local.env("PYTHONDONTWRITEBYTECODE", "1");
            let context = router.connect(local).unwrap();
            let info = context.info().unwrap();
            let (major, minor) = other.version;
            assert!(info.version.starts_with(&format!("{major}.{minor}.")), "{info:?}");
            assert_eq!(info.executable, other.path);
            assert_eq!(context.call::<u32>("os:getpid", ()).unwrap(), info.pid);
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn a_virtual_environment_stays_one() {
    isolated(|| {
        let router = Router::new().unwrap();
        for_each_python(|python| {
            let base = TempDir::new();
            let venv = base.path().join("venv");
            if !make_venv(python, &venv, base.path()) {
                return;
            }
            let executable = venv.join("bin/python");
            let [packages] = &ask(&executable, PACKAGES)[..] else {
                panic!("{} has no packages", venv.display())
            };
            assert!(Path::new(packages).starts_with(&venv), "{packages}");
            fs::write(Path::new(packages).join("installed.py"), "def here():\n    return 'yes'\n")
                .unwrap();
            let fixed = Local::new().python(&executable);
            let searched = Local::new().env("PATH", venv.join("bin")).python_candidates(["python"]);
            for local in [fixed, searched] {
                let context = router.connect(local).unwrap();
                let info = context.info().unwrap();
                assert_eq!(info.prefix, venv);
                assert_eq!(info.executable, executable);
                assert_eq!(context.call::<String>("installed:here", ()).unwrap(), "yes");
                context.shutdown().unwrap();
            }
        });
    });
}

/// Where a virtual environment's own packages are.
const PACKAGES: &str =
    "[path for path in sys.path if path.startswith(sys.prefix) and path.endswith('-packages')]";

/// False where that is impossible here, which is said.
fn make_venv(python: &Python, venv: &Path, home: &Path) -> bool {
    let mut command = if python.version.0 == 2 {
        let mut command = Command::new("virtualenv");
        command.args(["--quiet", "--no-download", "--no-pip", "--no-setuptools", "--no-wheel"]);
        command.arg("--python").arg(&python.path).env("HOME", home);
        command
    } else {
        let mut command = Command::new(&python.path);
        command.args(["-m", "venv", "--without-pip"]);
        command
    };
    match command.arg(venv).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) if python.version.0 > 2 => panic!("{command:?}: {output:?}"),
        _ => {
            let what = format!("a virtual environment of {}", python.name);
            leave_out(&what, "no virtualenv that can make one (apt-get install virtualenv)");
            false
        }
    }
}

/// Reads stdin until the text of its first argument has arrived, before anything is printed, and then
/// runs the command that follows, through pipes of the size in its second argument.
const RELAY: &str = r"
import fcntl, os, subprocess, sys, threading

awaited, size, command = sys.argv[1].encode(), int(sys.argv[2]), sys.argv[3:]

def pipe():
    ends = os.pipe()
    fcntl.fcntl(ends[0], 1031, size)  # F_SETPIPE_SZ
    return ends

def copy(source, target, data=b''):
    while True:
        while data:
            data = data[os.write(target, data):]
        data = os.read(source, 65536)
        if not data:
            return os.close(target)

data = b''
while awaited not in data:
    part = os.read(0, 65536)
    if not part:
        sys.exit('the stream ended after %r' % data)
    data += part
(stdin, to_child), (from_child, stdout) = pipe(), pipe()
child = subprocess.Popen(command, stdin=stdin, stdout=stdout)
os.close(stdin), os.close(stdout)
up = threading.Thread(target=copy, args=(0, to_child, data))
up.daemon = True
up.start()
copy(from_child, 1)
sys.exit(child.wait())
";

/// An interpreter, as far as its caller can tell: the relay around `python`.
fn relay(dir: &TempDir, awaited: &str, pipe_bytes: usize, python: &Python) -> PathBuf {
    let relay = dir.file("relay.py", RELAY);
    let newest = interpreters().iter().rfind(|python| python.name.starts_with("python")).unwrap();
    let [newest, relay, real] =
        [&newest.path, &relay, &python.path].map(|path| path.to_str().unwrap());
    script(dir, "python", &format!("exec {newest} -S {relay} {awaited} {pipe_bytes} {real} \"$@\""))
}

#[test]
fn all_up_to_the_first_call_leaves_without_waiting_for_an_answer() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source("tasks", "def first():\n    return 'done'\n");
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            // The interpreter is not even started before the call is there.
            let context = router.start(Local::new().python(relay(&dir, "first", 65536, python)));
            let reply = context.call_async::<String>("tasks:first", ()).unwrap();
            assert_eq!(reply.get().unwrap(), "done");
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn a_start_through_pipes_of_4_kib_works() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source("upper", "def upper(text):\n    return text.upper()\n");
        let text = "x".repeat(1 << 20);
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            let context = router.start(Local::new().python(relay(&dir, "upper", 4096, python)));
            let upper: String = context.call("upper:upper", (text.as_str(),)).unwrap();
            assert_eq!(upper, text.to_uppercase());
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn a_login_that_prints_a_megabyte_first_is_no_obstacle() {
    isolated(|| {
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            let noise = "head -c 1000000 /dev/zero | tr '\\0' 'E'";
            let real = python.path.display();
            let text = format!("{noise}\n{noise} >&2\nexec {real} \"$@\"\n");
            let noisy = script(&dir, "python", &text);
            let context = router.connect(Local::new().python(noisy)).unwrap();
            assert!(context.call::<u32>("os:getpid", ()).is_ok());
            context.shutdown().unwrap();
        });
    });
}

/// Every shell that may be somebody's login shell: the command, and the Debian package.
const SHELLS: [(&str, &[&str]); 10] = [
    ("sh", &["sh"]),
    ("bash", &["bash"]),
    ("dash", &["dash"]),
    ("zsh", &["zsh"]),
    ("ksh", &["ksh"]),
    ("mksh", &["mksh"]),
    ("csh", &["csh"]),
    ("tcsh", &["tcsh"]),
    ("fish", &["fish"]),
    ("busybox", &["busybox", "sh"]),
];

#[test]
fn the_command_line_survives_every_login_shell() {
    isolated(|| {
        let router = Router::new().unwrap();
        let [search, loader] = program_texts(&router);
        for text in [&search, &loader] {
            let forbidden = |c: char| !(' '..='~').contains(&c) || "'!`".contains(c);
            assert!(!text.contains(forbidden) && !text.contains("\\\\"), "{text}");
        }
        let good = &interpreters().last().unwrap().path;
        let newest = interpreters().iter().rfind(|python| python.name.starts_with("python"));
        let bin = TempDir::new();
        symlink(good, bin.path().join("python2")).unwrap();
        symlink(&newest.unwrap().path, bin.path().join("py")).unwrap();
        script(&bin, "python", "exit 1");
        for (name, shell) in SHELLS {
            let Some(path) = in_path(shell[0]) else {
                leave_out(&format!("the command line in {name}"), "it is not installed");
                continue;
            };
            // As sshd runs it: the login shell, -c, the command. The loader is the start's own, since
            // it knows the length of the first stage.
            let dir = TempDir::new();
            let stored = dir.file("search", &search);
            let shell = [&[path.to_str().unwrap()], &shell[1..]].concat().join(" ");
            let command = format!(
                "HOME={1}\nPATH={0}:$PATH\nexport HOME PATH\nexec {shell} -c \"exec /bin/sh -c '$(cat {2})' '$2' python3.nowhere python py python2\"\n",
                bin.path().display(),
                dir.path().display(), // fish makes files in it
                stored.display(),
            );
            let login = script(&dir, "login", &command);
            let context = router.connect(Local::new().python(login)).unwrap_or_else(|error| {
                panic!("{name}: {error:?}");
            });
            let executable = context.info().unwrap().executable;
            assert_eq!(executable, bin.path().join("py"), "{name}");
            context.shutdown().unwrap();
        }
    });
}

/// The two arguments that hold programs, as the shell of a search has them.
fn program_texts(router: &Router) -> [String; 2] {
    let dir = TempDir::new();
    let seen = dir.path().join("seen");
    let spy = format!("test -e {0} || cat /proc/$PPID/cmdline >{0}\nexit 1\n", seen.display());
    let spy = script(&dir, "spy", &spy);
    router.connect(Local::new().python_candidates([&spy])).unwrap_err();
    let seen = fs::read(seen).unwrap();
    let words: Vec<_> = seen.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    let [shell, c, search, loader, candidate, _] = &words[..] else { panic!("{words:?}") };
    assert_eq!(
        [shell.as_ref(), c.as_ref(), candidate.as_ref()],
        ["/bin/sh", "-c", spy.to_str().unwrap()]
    );
    [search.to_string(), loader.to_string()]
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap();
    path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.exists())
}

#[test]
fn every_file_of_bootstrap_compiles_without_a_warning_in_every_python() {
    isolated(|| {
        let files = python_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("bootstrap"));
        assert!(files.iter().any(|path| path.ends_with("econtext/core.py")), "{files:?}");
        let check = "import sys\nfor path in sys.argv[1:]:\n    with open(path, 'rb') as file:\n        compile(file.read(), path, 'exec', 0, True)\n";
        for_each_python(|python| {
            let mut command = Command::new(&python.path);
            let output = command.args(["-W", "error", "-c", check]).args(&files).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && stderr.is_empty(), "{stderr}");
        });
    });
}

fn python_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(python_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "py") {
            files.push(path);
        }
    }
    files
}

/// The items of a list, an expression, as this interpreter prints them.
fn ask(python: &Path, expression: &str) -> Vec<String> {
    let program = format!("import os, sys\nsys.stdout.write('\\n'.join({expression}))");
    let output = Command::new(python).args(["-c", &program]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(String::from).collect()
}

fn arguments(pid: i32) -> Vec<String> {
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    command.trim_end_matches('\0').split('\0').map(String::from).collect()
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_string()
}

fn user_name() -> String {
    printed_by("id", "-un")
}

fn user_id() -> u32 {
    printed_by("id", "-u").parse().unwrap()
}

fn printed_by(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}
