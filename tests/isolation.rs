//! Promise: the check that nothing is left behind sees what is left behind.

use std::fs::{self, File};
use std::mem::forget;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

mod support;

use support::{TempDir, for_each_python, interpreters, isolated, isolated_report};

/// What the report of a body that should fail says.
fn report<F: FnOnce()>(body: F) -> String {
    isolated_report(body).expect_err("the body leaves something behind")
}

#[test]
fn a_body_that_tidies_up_passes() {
    isolated(|| {
        drop(File::open("/dev/null").unwrap());
        thread::spawn(|| {}).join().unwrap();
        assert!(Command::new("/bin/true").status().unwrap().success());
        TempDir::new().file("some/file", "content");
    });
}

#[test]
fn a_failing_body_fails_the_test_with_what_it_printed() {
    let report = report(|| {
        println!("on its stdout");
        panic!("the reason");
    });
    for part in ["on its stdout", "the reason", "--exact", "exit status: 1"] {
        assert!(report.contains(part), "{report}");
    }
}

#[test]
fn a_descriptor_left_open_is_named() {
    let report = report(|| forget(File::open("/dev/zero").unwrap()));
    assert!(report.contains(": /dev/zero\n") && report.contains("descriptor "), "{report}");
}

#[test]
fn a_descriptor_that_came_to_lead_elsewhere_is_named() {
    let report = report(|| {
        let zero = File::open("/dev/zero").unwrap();
        // SAFETY: replaces a descriptor that this process reads nothing from.
        unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&zero), 0) };
    });
    assert!(report.contains("descriptor 0: /dev/zero\n"), "{report}");
}

#[test]
fn a_thread_left_running_is_named() {
    let report = report(|| {
        thread::Builder::new().name("stays".to_string()).spawn(thread::park).map(drop).unwrap();
    });
    assert!(report.contains("thread ") && report.contains(": stays\n"), "{report}");
}

#[test]
fn a_process_left_running_is_named() {
    let report = report(|| forget(Command::new("/bin/sleep").arg("1000").spawn().unwrap()));
    assert!(report.contains("process: /bin/sleep 1000 (process "), "{report}");
}

#[test]
fn a_zombie_is_named() {
    let report = report(|| {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        drop(child.stdin.take());
        forget(child);
    });
    assert!(report.contains("process: [cat] (process ") && report.contains("a zombie"), "{report}");
}

#[test]
fn an_orphan_in_a_session_of_its_own_is_named() {
    let report = report(|| {
        let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & ";
        assert!(Command::new("/bin/sh").args(["-c", script]).status().unwrap().success());
    });
    assert!(report.contains("process: sleep 1000 (process "), "{report}");
}

#[test]
fn an_orphan_that_ends_is_nobodys_fault() {
    isolated(|| {
        let script = "(read line; exit 3) <&0 & ";
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).stdin(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let stdin = child.stdin.take();
        assert!(child.wait().unwrap().success());
        drop(stdin);
    });
}

#[test]
fn a_file_left_in_any_of_its_directories_is_named() {
    let report = report(|| {
        fs::write("in-cwd", "").unwrap();
        fs::write(std::env::temp_dir().join("in-tmp"), "").unwrap();
        fs::create_dir(Path::new(&std::env::var_os("HOME").unwrap()).join(".in-home")).unwrap();
    });
    for name in ["/cwd/in-cwd", "/tmp/in-tmp", "/home/.in-home"] {
        assert!(report.contains(name), "{report}");
    }
}

#[test]
fn a_body_that_kills_itself_fails_the_test() {
    let report = report(|| {
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) };
    });
    assert!(report.contains("the body ended with signal: 9"), "{report}");
}

#[test]
fn a_body_sees_nothing_of_our_environment() {
    isolated(|| {
        let names: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
        let known = ["PATH", "LANG", "HOME", "TMPDIR", "PYENV_ROOT", "RUST_BACKTRACE"];
        let is_known =
            |name: &&String| known.contains(&name.as_str()) || name.starts_with("ECONTEXT_TEST_");
        assert_eq!(names.iter().filter(|name| !is_known(name)).count(), 0, "{names:?}");
        let (cwd, home) = (std::env::current_dir().unwrap(), std::env::var("HOME").unwrap());
        assert_eq!(cwd.parent(), Path::new(&home).parent());
    });
}

#[test]
fn each_interpreter_is_what_its_name_says() {
    isolated(|| {
        for_each_python(|python| {
            let code = "import sys; print('%s%d.%d' % ((hasattr(sys, 'pypy_version_info') \
                        and 'pypy' or 'python',) + sys.version_info[:2]))";
            let output =
                Command::new(&python.path).env_clear().args(["-c", code]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), python.name);
        });
        // And an isolated body finds those that its test does.
        let mut versions: Vec<_> =
            interpreters().iter().map(|python| (&python.name, python.version)).collect();
        versions.dedup();
        assert_eq!(versions.len(), interpreters().len());
    });
}
