//! Promise: a context comes up in odd surroundings: whatever the working directory, the environment and
//! the descriptors are that it and the program have.

use std::fs;
use std::path::{Path, PathBuf};

use econtext::{Context, Error, Local, Router};

mod support;

use support::{
    Log, Python, TempDir, close_descriptors, for_each_kind_of_python, for_each_python,
    interpreters, isolated, keep_standard_descriptors, leave_out, program, script,
};

const TASKS: &str = r#"
import fcntl, os, sys

def echo(text):
    return text

def state():
    """What descriptors 0, 1 and 2 are, and whether output works, that of programs too."""
    kinds = [os.readlink('/proc/self/fd/%d' % fd).split(':')[0] for fd in range(3)]
    print('printed')
    sys.stderr.write('complained\n')
    return kinds, os.system('echo started; echo warned >&2')

def environment(*names):
    return [os.environ.get(name) for name in names]

def file_of(module):
    return getattr(__import__(module), '__file__', '')

def name_of(path):
    return os.path.basename(path)
"#;

fn router() -> Router {
    let router = Router::new().unwrap();
    router.modules().source("tasks", TASKS);
    router
}

/// A context is up when a served module works there.
fn check(context: &Context) {
    let text = "h\u{e9}\u{20ac}\u{1f600}";
    assert_eq!(context.call::<String>("tasks:echo", (text,)).unwrap(), text);
}

fn connect(router: &Router, local: Local) -> Context {
    let context = router.connect(local).unwrap();
    check(&context);
    context
}

/// A script that does something first, and then becomes Python.
fn after(dir: &TempDir, first: &str, python: &Python) -> PathBuf {
    script(dir, "python", &format!("{first}\nexec {} \"$@\"\n", python.path.display()))
}

#[test]
fn standard_descriptors_that_a_login_program_closed_are_opened_again() {
    isolated(|| {
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        router.modules().source("tasks", TASKS);
        for_each_python(|python| {
            let dir = TempDir::new();
            // 0 and 1 are the stream.
            let local = Local::new().python(after(&dir, "exec 2>&-", python)).name(&python.name);
            let context = connect(&router, local);
            let (kinds, status): (Vec<String>, i32) = context.call("tasks:state", ()).unwrap();
            assert_eq!(
                (kinds, status),
                (["/dev/null", "pipe", "pipe"].map(String::from).into(), 0)
            );
            for (logger, line) in [
                ("stdout", "printed"),
                ("stderr", "complained"),
                ("stdout", "started"),
                ("stderr", "warned"),
            ] {
                log.wait_for(line, |record| {
                    (record.context == python.name, record.logger.as_str(), record.message.as_str())
                        == (true, logger, line)
                });
            }
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn a_program_that_has_closed_its_standard_descriptors_has_contexts_all_the_same() {
    isolated(|| {
        let log = Log::default();
        // The body's own are open again at its end: what is left then is looked at.
        let mine = [0, 1, 2].map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
        let kept = keep_standard_descriptors();
        close_descriptors(&[0, 1, 2]);
        // Nothing may panic here: nobody would see it.
        let result = (|| {
            let router = Router::builder().on_log(log.sink()).build()?;
            router.modules().source("tasks", TASKS);
            let context = router.connect(Local::new())?;
            let state: (Vec<String>, i32) = context.call("tasks:state", ())?;
            let own = [0, 1, 2].map(|fd| Path::new(&format!("/proc/self/fd/{fd}")).exists());
            router.shutdown()?;
            Ok::<_, Error>((state, own))
        })();
        drop(kept);
        let ((kinds, status), own) = result.unwrap();
        assert_eq!((kinds, status), (["/dev/null", "pipe", "pipe"].map(String::from).into(), 0));
        assert_eq!(own, [false; 3], "a stream has one of these numbers: println! would break it");
        assert_eq!(mine, [0, 1, 2].map(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap()));
    });
}

#[test]
fn a_working_directory_that_was_deleted_is_no_obstacle() {
    isolated(|| {
        let router = router();
        let home = std::env::current_dir().unwrap();
        for_each_python(|python| {
            let gone = TempDir::new().path().to_path_buf();
            fs::create_dir(&gone).unwrap();
            std::env::set_current_dir(&gone).unwrap();
            fs::remove_dir(&gone).unwrap();
            let searched = Local::new().python_candidates([&python.path]);
            for local in [Local::new().python(&python.path), searched] {
                let context = connect(&router, local);
                assert_eq!(context.info().unwrap().current_dir, None);
                context.shutdown().unwrap();
            }
            std::env::set_current_dir(&home).unwrap();
        });
    });
}

#[test]
fn an_unreadable_working_directory_is_no_obstacle() {
    isolated(|| {
        let router = router();
        // Root may read everything. So this is, with every Python, a root that has lost that power, and
        // nobody with those of the system, which are open to all.
        let every = || interpreters().iter().map(|python| python.path.clone()).collect::<Vec<_>>();
        let system =
            interpreters().iter().filter(|python| python.path.starts_with("/usr")).collect();
        let tries = match user_id() {
            0 => vec![
                ("setpriv --bounding-set=-dac_override,-dac_read_search", 0, every()),
                (
                    "setpriv --reuid=65534 --regid=65534 --clear-groups",
                    65534,
                    with_system_python(system),
                ),
            ],
            uid => vec![("", uid, every())],
        };
        for (become_user, uid, pythons) in tries {
            if pythons.is_empty() {
                leave_out("an unreadable working directory", "no Python in /usr to run as nobody");
            }
            for python in pythons {
                let dir = TempDir::new();
                let closed = dir.path().join("closed");
                fs::create_dir(&closed).unwrap();
                let (closed, python) = (closed.display(), python.display());
                let text =
                    format!("cd {closed} && chmod 0 . && exec {become_user} {python} \"$@\"\n");
                let context = connect(&router, Local::new().python(script(&dir, "python", &text)));
                let listing = context.call::<Vec<String>>("os:listdir", (".",)).unwrap_err();
                assert!(listing.to_string().contains("Permission denied"), "{listing}");
                assert_eq!(context.info().unwrap().uid, uid);
                context.shutdown().unwrap();
            }
        }
    });
}

/// The system's own `python3` too, which may be of a version that is also elsewhere.
fn with_system_python(pythons: Vec<&Python>) -> Vec<PathBuf> {
    let mut paths: Vec<_> = pythons.iter().map(|python| python.path.clone()).collect();
    let system = Path::new("/usr/bin/python3");
    if system.exists() {
        paths.push(system.to_path_buf());
    }
    paths
}

#[test]
fn files_of_the_working_directory_are_not_imported() {
    isolated(|| {
        let router = router();
        let dir = TempDir::new();
        let modules = [
            "select",
            "os",
            "zlib",
            "struct",
            "fcntl",
            "errno",
            "time",
            "itertools",
            "json",
            "codecs",
            "encodings",
            "io",
            "site",
            "hashlib",
            "pickle",
            "functools",
            "logging",
            "traceback",
            "threading",
            "socket",
            "_thread",
            "_pickle",
            "_struct",
            "econtext",
            "sitecustomize",
        ];
        for module in modules {
            dir.file(
                &format!("{module}.py"),
                "raise SystemError('a file of the working directory')\n",
            );
        }
        // Not linecache: 3.13 itself imports it before it runs the program of its command line.
        dir.file("only_here.py", "");
        for_each_python(|python| {
            let searched = Local::new().python_candidates([&python.path]);
            for local in [Local::new().python(&python.path), searched] {
                let context = connect(&router, local.current_dir(dir.path()));
                for module in ["json", "logging", "traceback", "threading"] {
                    let file: String = context.call("tasks:file_of", (module,)).unwrap();
                    assert!(!file.starts_with(dir.path().to_str().unwrap()), "{file}");
                }
                // What is there is not in the way either: the master is asked for it, and has none.
                let error = context.call::<String>("tasks:file_of", ("only_here",)).unwrap_err();
                assert!(error.to_string().contains("No module named"), "{error}");
                context.shutdown().unwrap();
            }
        });
    });
}

#[test]
fn every_locale_will_do() {
    isolated(|| {
        let router = router();
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            let python = python.path.display();
            for setting in [
                "export LANG=C",
                "unset LANG",
                "export LANG=C.UTF-8",
                "export LC_ALL=xx_YY.nowhere",
                "export LC_ALL=POSIX",
            ] {
                let text = format!("unset LANG LC_ALL\n{setting}\nexec {python} \"$@\"\n");
                let context = connect(&router, Local::new().python(script(&dir, "python", &text)));
                // Names of files are bytes, which a locale only shows in one way or the other.
                let path = PathBuf::from("/tmp/h\u{e9}\u{20ac}");
                let name: PathBuf = context.call("tasks:name_of", (path,)).unwrap();
                assert_eq!(name, Path::new("h\u{e9}\u{20ac}"), "{setting}");
                context.shutdown().unwrap();
            }
        });
    });
}

#[test]
fn variables_meant_for_python_do_no_harm() {
    isolated(|| {
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        router.modules().source("tasks", TASKS);
        let dir = TempDir::new();
        let startup = dir.file("startup.py", "raise SystemExit('executed')\n");
        let print = "import sys\nfor i in range(3000):\n    print('EC1 a site prints')\n    sys.stderr.write('EC0 a site complains\\n')\n";
        dir.file("loud/sitecustomize.py", print);
        dir.file(
            "eager/sitecustomize.py",
            "import logging, threading, socket, pickle, linecache, json\n",
        );
        dir.file("failing/sitecustomize.py", "raise ValueError('of the site')\n");
        let at = |name: &str| dir.path().join(name).into_os_string();
        let settings = [
            ("PYTHONSTARTUP", startup.clone().into_os_string()),
            ("PYTHONPATH", at("loud")),
            ("PYTHONPATH", at("eager")),
            ("PYTHONPATH", at("failing")),
            ("PYTHONPATH", "/no/such/directory:".into()),
            ("PYTHONSAFEPATH", "1".into()),
            ("PYTHONWARNINGS", "error".into()),
            ("PYTHONDEVMODE", "1".into()),
            ("PYTHONOPTIMIZE", "2".into()),
            ("PYTHONUNBUFFERED", "1".into()),
            ("PYTHONINSPECT", "1".into()),
            ("PYTHONVERBOSE", "1".into()),
            ("PYTHONIOENCODING", "ascii:strict".into()),
            ("PYTHONUTF8", "0".into()),
            ("PYTHONNOUSERSITE", "1".into()),
            ("PYTHONHASHSEED", "7".into()),
            ("PYTHONTRACEMALLOC", "5".into()),
            ("PYTHONPROFILEIMPORTTIME", "1".into()),
        ];
        for_each_kind_of_python(|python| {
            for (name, value) in &settings {
                let fixed = Local::new().python(&python.path);
                let searched = Local::new().python_candidates([&python.path]);
                // With these a probe without descriptors fails, whatever its interpreter.
                let probe_fails = ["PYTHONINSPECT", "PYTHONVERBOSE"].contains(name);
                let searched = (!probe_fails).then_some(searched);
                for local in [Some(fixed), searched].into_iter().flatten() {
                    let what = format!("{name}={}", value.to_string_lossy());
                    let context = router
                        .connect(local.env(name, value))
                        .unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    check(&context);
                    let seen: Vec<Option<String>> =
                        context.call("tasks:environment", (*name,)).unwrap();
                    assert_eq!(seen, [value.to_str().map(String::from)], "{what}");
                    context.shutdown().unwrap();
                }
            }
        });
    });
}

#[test]
fn a_wrong_pythonhome_is_an_error_that_shows_what_python_says() {
    isolated(|| {
        let router = router();
        for_each_kind_of_python(|python| {
            if python.name.starts_with("pypy") {
                return; // It has none.
            }
            let local = Local::new().env("PYTHONHOME", "/no/such/home");
            let error = router.connect(local.clone().python(&python.path)).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(": starting Python: "), "{text}");
            let Error::Connect(error) = error else { panic!("{error:?}") };
            let words = if python.version.0 == 2 { "site" } else { "encodings" };
            assert!(error.printed.contains(words), "{}", error.printed);
            // A search passes over it; 2.7 needs nothing of its home to answer the probe.
            let error = router.connect(local.python_candidates([&python.path])).unwrap_err();
            let does_not_work = format!("{} does not work (exit status ", python.path.display());
            let words = if python.version.0 == 2 { "module named site" } else { &does_not_work };
            assert!(error.to_string().contains(words), "{error}");
        });
    });
}

#[test]
fn a_stdin_that_does_not_block_is_waited_for() {
    isolated(|| {
        let router = router();
        let dir = TempDir::new();
        let newest = interpreters().iter().rfind(|python| python.name.starts_with("python"));
        for_each_python(|python| {
            let text = format!(
                "#!{} -S\nimport os, sys\nfor fd in (0, 1, 2):\n    os.set_blocking(fd, False)\nos.execv({:?}, sys.argv)\n",
                newest.unwrap().path.display(),
                python.path.display().to_string(),
            );
            let context = router.start(Local::new().python(program(&dir, "python", &text)));
            check(&context);
            let large = vec![7; 3 << 20];
            assert_eq!(context.call::<Vec<u8>>("tasks:echo", (large.as_slice(),)).unwrap(), large);
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn an_empty_or_missing_path_will_do_for_a_fixed_interpreter() {
    isolated(|| {
        let router = router();
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            let fixed = Local::new().python(&python.path);
            let without = Local::new().python(after(&dir, "unset PATH", python));
            let searched =
                Local::new().python_candidates(["python3", python.path.to_str().unwrap()]);
            for local in [fixed.env("PATH", ""), without, searched.env("PATH", "")] {
                let context = connect(&router, local);
                assert_eq!(context.info().unwrap().executable, python.path);
                context.shutdown().unwrap();
            }
        });
    });
}

#[test]
fn the_options_of_a_local_context_arrive() {
    isolated(|| {
        let router = router();
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            let local = Local::new()
                .python(&python.path)
                .name("h\u{e9} 'quoted' \"twice\" \\")
                .current_dir(dir.path())
                .env("GREETING", "first")
                .env("GREETING", "h\u{e9}llo = \"world\"\n")
                .env("EMPTY", "")
                .env("HOME", "/elsewhere");
            let context = connect(&router, local);
            assert_eq!(context.name(), "h\u{e9} 'quoted' \"twice\" \\");
            assert_eq!(context.info().unwrap().current_dir.as_deref(), Some(dir.path()));
            let names = ("GREETING", "EMPTY", "HOME", "LANG", "MISSING");
            let seen: Vec<Option<String>> = context.call("tasks:environment", names).unwrap();
            let seen: Vec<_> = seen.iter().map(Option::as_deref).collect();
            let lang = std::env::var("LANG").unwrap();
            assert_eq!(
                seen,
                [Some("h\u{e9}llo = \"world\"\n"), Some(""), Some("/elsewhere"), Some(&lang), None]
            );
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn options_that_cannot_be_are_refused_with_the_reason() {
    isolated(|| {
        let router = router();
        let file = TempDir::new();
        let path = file.file("a file", "");
        let local = || Local::new().name("here");
        for (local, reason) in [
            (
                local().current_dir("/no/such/directory"),
                "cannot change to /no/such/directory: No such file or directory (os error 2)"
                    .into(),
            ),
            (
                local().current_dir(&path),
                format!("cannot change to {}: Not a directory (os error 20)", path.display()),
            ),
            (local().env("A=B", "1"), "\"A=B\" cannot be an environment variable's name".into()),
            (local().env("", "1"), "\"\" cannot be an environment variable's name".into()),
            (local().env("A", "1\0"), "the value of \"A\" has a NUL byte in it".into()),
            (local().current_dir("/\0"), "\"/\\0\" has a NUL byte in it".into()),
        ] {
            let error = router.connect(local).unwrap_err();
            assert_eq!(error.to_string(), format!("here: starting the process: {reason}"));
        }
    });
}

fn user_id() -> u32 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid()
}
