//! Promise: every example does what its first lines say, and ends with the status that it should.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

mod support;

use support::{Python, Sshd, TempDir, for_each_kind_of_python, interpreters, isolated, script};

/// The example's program: cargo builds the examples with the tests.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not there: cargo build --examples", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    command
}

/// Its output; it has to succeed and to complain of nothing.
fn succeed(command: &mut Command) -> Vec<String> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    assert_eq!(lines_of(&output.stderr), [""; 0], "{command:?}");
    lines_of(&output.stdout)
}

/// What it prints on stderr; it has to fail, with this status.
fn fail(command: &mut Command, status: i32) -> (Output, Vec<String>) {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(status), "{command:?}: {output:?}");
    let stderr = lines_of(&output.stderr);
    (output, stderr)
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(String::from).collect()
}

/// The lines, where a `*` in an expected one stands for anything.
fn assert_lines(found: &[String], expected: &[&str]) {
    let fits = |line: &str, pattern: &str| {
        let mut parts = pattern.split('*');
        let mut rest = parts.next().and_then(|start| line.strip_prefix(start));
        for part in parts {
            rest = rest.and_then(|text| match part {
                "" => Some(""),
                part => text.split_once(part).map(|(_, after)| after),
            });
        }
        rest == Some("")
    };
    let all = found.len() == expected.len()
        && found.iter().zip(expected).all(|(line, pattern)| fits(line, pattern));
    assert!(all, "{found:#?}\nis not\n{expected:#?}");
}

fn any() -> &'static Python {
    interpreters().iter().rfind(|python| python.name.starts_with("python3")).unwrap()
}

#[test]
fn first_call() {
    isolated(|| {
        assert_eq!(succeed(&mut example("first_call")).len(), 9);
        for_each_kind_of_python(|python| {
            let found = succeed(example("first_call").arg(&python.path));
            let implementation = if python.name.starts_with("pypy") { "PyPy" } else { "CPython" };
            let (major, minor) = python.version;
            let expected = [
                &format!("local.*: {implementation} {major}.{minor}."),
                "os.getpid() gave *",
                "posixpath.join() gave /usr/lib/python",
                "json.dumps() gave [",
                "    1,*",
                "    2,*", // 2.7 leaves a blank at the end.
                "    3",
                "]",
                "math.sqrt() raised ValueError: *",
            ];
            assert!(found[0].starts_with("local.") && found[0].contains(&expected[0][8..]));
            assert_lines(&found[1..], &expected[1..]);
            let pid = |line: &str| line.rsplit(' ').next().unwrap().to_string();
            assert_eq!(pid(&found[0]), pid(&found[1]));
        });
    });
}

#[test]
fn an_error_that_ends_an_example_is_for_a_reader() {
    isolated(|| {
        let (_, said) = fail(example("first_call").arg("/no/such/python"), 1);
        assert_lines(
            &said,
            &[
                "Error: local: starting the process: cannot execute /no/such/python: No such file or directory (os error 2)",
            ],
        );
        let dir = TempDir::new();
        let broken = script(&dir, "broken", "echo Welcome\necho 'no space left' >&2\nexit 3");
        let (_, said) = fail(example("first_call").arg(broken), 1);
        assert_lines(
            &said,
            &[
                "Error: local.*: starting Python: the process ended (exit status 3)",
                "It printed:",
                "Welcome",
                "no space left",
            ],
        );
    });
}

#[test]
fn single_file() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("a.txt", "12345");
        dir.file("below/b.txt", "123");
        dir.file("below/script", "1");
        let output = example("single_file").arg(dir.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_lines(&lines_of(&output.stdout), &["           8 .txt", "           1 none"]);
        // What its Python prints is in the log, which is on stderr.
        let shown = format!(": stdout: looked through {}", dir.path().display());
        let log = lines_of(&output.stderr);
        assert!(log.len() == 1 && log[0].ends_with(&shown), "{log:?}");
    });
}

#[test]
fn follow_shows_lines_while_the_file_grows_until_one_says_end() {
    isolated(|| {
        let dir = TempDir::new();
        let path = dir.file("the.log", "old\nhalf of ");
        let mut log = File::options().append(true).open(&path).unwrap();
        let mut child = example("follow").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
        let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut next = || shown.next().unwrap().unwrap();
        assert_eq!(next(), "old");
        // Each is there before the next is written.
        for (written, line) in [("a line\n", "half of a line"), ("second\n", "second"), ("\n", "")]
        {
            log.write_all(written.as_bytes()).unwrap();
            assert_eq!(next(), line);
        }
        log.write_all(b"third\nend\nnobody sees this\n").unwrap();
        assert_eq!([next(), next(), next()], ["third", "end", "-- 6 lines"]);
        assert!(shown.next().is_none());
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn follow_says_why_it_cannot() {
    isolated(|| {
        let (_, said) = fail(&mut example("follow"), 2);
        assert_eq!(said, ["usage: follow FILE"]);
        let (output, said) = fail(example("follow").arg("/no/such/file"), 1);
        assert!(output.stdout.is_empty(), "{output:?}");
        let reason = "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'";
        assert!(said[0].starts_with("Error: local."), "{said:?}");
        assert!(said[0].ends_with(&format!(": call of tail:follow: {reason}")), "{said:?}");
        assert_eq!(said[1], "Traceback (most recent call last):");
        assert_eq!(said.last().unwrap(), reason);
        assert!(
            said.iter().any(|line| line.contains("\"tail.py\", line 6, in follow")),
            "{said:?}"
        );
    });
}

#[test]
fn fleet() {
    isolated(|| {
        let mut found = succeed(&mut example("fleet"));
        found.sort();
        let expected: Vec<_> =
            (0..8).map(|n| format!("worker{n}: {:.3}", f64::from(n).sqrt())).collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn fleet_goes_on_where_one_start_fails() {
    isolated(|| {
        let good: &Path = &any().path;
        let dir = TempDir::new();
        let bad = script(&dir, "bad", "echo 'no such host' >&2; exit 255");
        let pythons: [&Path; 4] = [good, "/no/such/python".as_ref(), &bad, good];
        let (output, mut said) = fail(example("fleet").args(pythons), 1);
        said.sort();
        assert_lines(
            &said,
            &[
                "worker1: starting the process: cannot execute /no/such/python: No such file or directory (os error 2)",
                "worker2: starting Python: the process ended (exit status 255); it printed: no such host",
            ],
        );
        let mut found = lines_of(&output.stdout);
        found.sort();
        assert_eq!(found, ["worker0: 0.000", "worker3: 1.732"]);
    });
}

/// Runs the demo, on a context that is called `name`.
fn demonstrate(demo: &mut Command, name: &str) {
    let found = succeed(demo);
    let log = |line: &String| line.starts_with("   log | ");
    // When these come, beside the result of the call, is for the helper thread to decide.
    let mut logged: Vec<_> = found.iter().filter(|line| log(line)).cloned().collect();
    // So is which of them comes first: output goes another way than records do.
    logged.sort();
    assert_lines(
        &logged,
        &[
            &format!("   log | INFO econtext.ctx.{name}: stdout: 78498 primes below 1000000"),
            &format!("   log | WARNING econtext.ctx.{name}: primes: the largest is 999983"),
        ],
    );
    let told: Vec<_> = found.iter().filter(|line| !log(line)).cloned().collect();
    let carets = told.iter().filter(|line| line.contains('^')).count(); // from 3.11 on
    let told: Vec<_> = told.into_iter().filter(|line| !line.contains('^')).collect();
    assert!(carets <= 1);
    assert_lines(
        &told,
        &[
            "A router: the broker thread, and a log that is shown here.",
            "",
            "A context: Python, started and given its code over its standard input.",
            &format!("   {name} is *"),
            "",
            "Calls of functions that are there: os.getpid and platform.platform.",
            "   *, Linux-*",
            "   200 more, one after the other: * each",
            "",
            "A module that is part of this program; what it prints and logs comes back.",
            "   the result: 78498",
            "",
            "A stream of items, while the function runs.",
            "   2 3 5 7 11 13 17 19 23 29 31 37 41 43 47",
            "",
            "An exception, with the lines of the module above in its traceback.",
            &format!(
                "   {name}: call of primes:fail: FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'"
            ),
            "   | Traceback (most recent call last):",
            "   |   File \"primes.py\", line 20, in fail",
            "   |     return open(path).read()",
            "   | FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'",
            "",
            "A timeout: the wait ends, the function runs on.",
            &format!("   {name}: call of time:sleep: no answer within 50ms"),
            "",
            "Shutdown: the process, its pipes and the thread are gone.",
            "   after *",
        ],
    );
}

#[test]
fn demo() {
    isolated(|| demonstrate(&mut example("demo"), "local.*"));
}

#[test]
fn demo_over_ssh() {
    isolated(|| {
        let sshd = Sshd::start();
        let host = format!("127.0.0.1:{}", sshd.port());
        let arguments = [OsString::from(&host), sshd.config().into()];
        demonstrate(example("demo").args(&arguments), &format!("ssh.{host}"));

        // What `make static` builds, for which `make test` sees to it where there is a musl.
        let test = std::env::current_exe().unwrap();
        let musl = format!("{}-unknown-linux-musl/static/examples/demo", std::env::consts::ARCH);
        let path = test.ancestors().nth(3).unwrap().join(musl);
        if path.exists() {
            demonstrate(
                Command::new(path).stdin(Stdio::null()).args(&arguments),
                &format!("ssh.{host}"),
            );
        }
    });
}

#[test]
fn hosts() {
    isolated(|| {
        let sshd = Sshd::start();
        let host = format!("127.0.0.1:{}", sshd.port());
        let other = format!("localhost:{}", sshd.port());
        let hosts = || {
            let mut command = example("hosts");
            command.arg("-F").arg(sshd.config());
            command
        };
        let mut found = succeed(hosts().args([&host, &other]));
        found.sort();
        let lines = [&host, &other].map(|host| format!("{host}: *, Python *.*.*, load *"));
        assert_lines(&found, &lines.each_ref().map(String::as_str));

        // Nothing listens there; the results of the others come all the same.
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (output, said) = fail(hosts().args([&refused.to_string(), &host]), 1);
        assert_lines(&lines_of(&output.stdout), &[&lines[0]]);
        assert_lines(&said, &[&format!("{refused}: connecting: *Connection refused*")]);

        let (_, said) = fail(&mut example("hosts"), 2);
        assert_lines(&said, &["usage: hosts [-F ssh_config] [user@]host[:port] ..."]);
    });
}

#[test]
fn application() {
    const MAKE: &str = "import sys, zipfile\n\
        wheel = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)\n\
        wheel.writestr('greeting/__init__.py', 'def greet(name):\\n\
        \x20   from greeting import words\\n\
        \x20   return words.HELLO + name\\n')\n\
        wheel.writestr('greeting/words.py', 'HELLO = \"Hello \"\\n')\n\
        wheel.close()";
    isolated(|| {
        let dir = TempDir::new();
        let wheel = dir.path().join("greeting-1.0-py3-none-any.whl");
        let made = Command::new(&any().path).args(["-c", MAKE]).arg(&wheel).status().unwrap();
        assert!(made.success());
        let learned = dir.path().join("learned");
        for _ in 0..2 {
            let mut command = example("application");
            command.arg("-l").args([&learned, &wheel]).args(["--", "greeting:greet", "Ada"]);
            assert_lines(&succeed(&mut command), &["Hello Ada"]);
            // Imported where only the run of the function shows it; the second time it was known.
            assert_eq!(fs::read_to_string(&learned).unwrap(), "greeting.words\n");
        }
        let (_, said) = fail(&mut example("application"), 2);
        assert_lines(
            &said,
            &["usage: application [-H host] [-l FILE] wheel ... -- module:function [argument ...]"],
        );
    });
}

#[test]
fn tree() {
    isolated(|| {
        let mut found = succeed(&mut example("tree"));
        found[..3].sort(); // They come as they are ready.
        let line = "(local, id *): connected, sent *, received *, * modules";
        let expected = [
            "first: *, a child of *".into(),
            "second: *, a child of *".into(),
            "third: *, a child of *".into(),
            "local.*: *, a child of *".into(),
            "master".into(),
            format!("└─ first {line}"),
            format!("   └─ second {line}"),
            format!("      └─ third {line}"),
            "         └─ local.* (remote, id 4): connected, sent *, received *, * modules".into(),
            "master".into(),
            format!("└─ first {line}"),
        ];
        assert_lines(&found, &expected.iter().map(String::as_str).collect::<Vec<_>>());
    });
}

#[test]
fn each_example_has_a_test() {
    let own = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples.rs"));
    let own = own.unwrap();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut examples: Vec<PathBuf> =
        fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    examples.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    assert!(examples.len() > 4, "{examples:?}");
    for path in examples {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(own.contains(&format!("example(\"{name}\")")), "{name} is not run by a test");
    }
}
