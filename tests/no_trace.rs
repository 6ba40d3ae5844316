//! Promise: nothing is written to the disk of the child's machine, and nothing needs to be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use econtext::{Context, Local, Router};

mod support;

use support::{
    Python, TempDir, for_each_kind_of_python, for_each_python, isolated, leave_out, script,
};

const TASKS: &str = r#"
import errno, logging, os
from econtext.core import Receiver  # fetched when it is needed
import served.module

def work(sender):
    """Use whatever a context has: modules of its own, the log, output, threads, a channel."""
    print('printed')
    logging.getLogger('work').warning('logged')
    os.system('echo from a child')
    sender.send(served.module.value())
    sender.close()
    return sorted(__import__('json').loads('{"a": 1}'))

def fail():
    raise ValueError('with a traceback')

def write(path):
    """The number of the error, as its name."""
    try:
        open(path, 'w').close()
    except EnvironmentError as error:
        return errno.errorcode[error.errno]
"#;

fn router(package: &TempDir) -> Router {
    package.file("served/__init__.py", "");
    package.file("served/module.py", "def value():\n    return 7\n");
    let router = Router::builder().on_log(|_| ()).build().unwrap();
    router.modules().source("tasks", TASKS).path(package.path());
    router
}

fn use_all_of(router: &Router, context: &Context) {
    let (sender, items) = router.channel::<u8>();
    let work = context.call_async::<Vec<String>>("tasks:work", (sender,)).unwrap();
    assert_eq!(items.iter().collect::<Result<Vec<_>, _>>().unwrap(), [7]);
    assert_eq!(work.get().unwrap(), ["a"]);
    assert!(context.call::<()>("tasks:fail", ()).unwrap_err().to_string().contains("traceback"));
}

/// What runs Python where every file system is read-only, and without a home.
fn read_only(dir: &TempDir, python: &Python) -> PathBuf {
    let python = python.path.display();
    // The file systems of the kernel hold no files.
    let remount = r#"
while read -r _ _ _ _ point _; do
    case $point in /proc|/proc/*|/sys|/sys/*) ;;
    *) mount -o remount,bind,ro "$point" || exit 60;;
    esac
done </proc/self/mountinfo
unset HOME
"#;
    let inner = script(dir, "inner", &format!("{remount}exec {python} \"$@\"\n"));
    script(dir, "python", &format!("exec {} {} \"$@\"\n", UNSHARE.join(" "), inner.display()))
}

/// A mount namespace of its own; where an ordinary user may, one of its own users as well.
const UNSHARE: [&str; 3] = ["unshare", "--mount", "--map-root-user"];

fn can_unshare() -> bool {
    let mut command = Command::new(UNSHARE[0]);
    let output = command.args(&UNSHARE[1..]).args(["mount", "-o", "remount,bind,ro", "/"]).output();
    let failure = match output {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_string(),
        Err(error) => error.to_string(),
    };
    leave_out("a context on a read-only file system", &format!("no mount namespace: {failure}"));
    false
}

#[test]
fn a_context_works_where_no_file_can_be_written() {
    isolated(|| {
        if !can_unshare() {
            return;
        }
        let (package, dir) = (TempDir::new(), TempDir::new());
        let router = router(&package);
        for_each_python(|python| {
            let context = router.connect(Local::new().python(read_only(&dir, python))).unwrap();
            // Not even as root, in its home, its temporary directory or beside its library.
            let prefix = context.info().unwrap().prefix;
            for place in [dir.path(), Path::new("/tmp"), Path::new("/dev/shm"), &prefix] {
                let path = place.join("written");
                let error: String = context.call("tasks:write", (path,)).unwrap();
                assert_eq!(error, "EROFS", "{}", place.display());
            }
            use_all_of(&router, &context);
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn nothing_is_opened_for_writing_nor_made_nor_removed() {
    isolated(|| {
        let (package, dir) = (TempDir::new(), TempDir::new());
        let router = router(&package);
        let trace = dir.path().join("trace");
        if Command::new("strace").arg("-V").output().is_err() {
            return leave_out("the system calls of a context", "strace is not installed");
        }
        for_each_kind_of_python(|python| {
            let (to, real) = (trace.display(), python.path.display());
            // Calls that take a path; what succeeds of them.
            let strace = format!("exec strace -f -qq -z -e trace=%file -o {to} {real} \"$@\"\n");
            let traced = script(&dir, "python", &strace);
            let context = router.connect(Local::new().python(traced)).unwrap();
            use_all_of(&router, &context);
            context.shutdown().unwrap();

            let trace = fs::read_to_string(&trace).unwrap();
            let reads = trace.lines().filter(|line| line.contains("O_RDONLY")).count();
            assert!(reads > 10, "a trace of little:\n{trace}");
            let writes: Vec<_> = trace.lines().filter(|line| is_write(line)).collect();
            assert!(writes.is_empty(), "{}", writes.join("\n"));
        });
    });
}

/// Whether a line of strace shows something that the disk would keep.
fn is_write(line: &str) -> bool {
    const READERS: [&str; 13] = [
        "access",
        "chdir",
        "execve",
        "faccessat",
        "faccessat2",
        "fstatat64",
        "getcwd",
        "lstat",
        "newfstatat",
        "readlink",
        "readlinkat",
        "stat",
        "statx",
    ];
    // `1234  openat(AT_FDCWD, "/dev/null", O_RDWR|O_CLOEXEC) = 3`
    let Some((call, rest)) = line.split_once('(') else { return false };
    let call = call.rsplit(' ').next().unwrap();
    match call {
        "open" | "openat" => {
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"];
            writes.iter().any(|flag| rest.contains(flag))
                && !["\"/dev/null\"", "\"/dev/tty\""].iter().any(|file| rest.contains(file))
        }
        _ => !READERS.contains(&call) && !call.starts_with("statfs"),
    }
}

#[test]
fn a_served_package_leaves_no_byte_code_behind() {
    isolated(|| {
        let package = TempDir::new();
        let router = router(&package);
        for_each_python(|python| {
            // Its home, its temporary directory and the test's own are looked at after each test.
            let local = Local::new().python(&python.path).current_dir(package.path());
            let context = router.connect(local).unwrap();
            use_all_of(&router, &context);
            context.shutdown().unwrap();
            assert_eq!(files(package.path()), ["served/__init__.py", "served/module.py"]);
        });
    });
}

fn files(dir: &Path) -> Vec<String> {
    let mut found = vec![];
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
