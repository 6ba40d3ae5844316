//! Promise: among its candidates a start finds the first good interpreter, and no candidate gets a byte
//! that is not for it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use econtext::{Context, Error, Local, Router};

mod support;

use support::{
    Log, Python, TempDir, for_each_kind_of_python, interpreters, isolated, program, script,
};

/// A directory of candidates, good and bad.
struct Candidates {
    dir: TempDir,
}

impl Candidates {
    fn new() -> Candidates {
        Candidates { dir: TempDir::new() }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("bin")
    }

    /// A shell script.
    fn stub(&self, name: &str, body: &str) {
        script(&self.dir, &format!("bin/{name}"), body);
    }

    /// What says of itself to be Python of that version, in its `sys.hexversion`.
    fn pretender(&self, name: &str, hexversion: &str) {
        let newest = newest().path.display();
        // `-Sc PROBE`: the same probe, with another number in the module that it takes it from.
        let lie = format!("import sys; sys.hexversion = {hexversion}; exec(sys.argv[1])");
        self.stub(name, &format!("test \"$1\" = -Sc || exit 50\nexec {newest} -Sc '{lie}' \"$2\""));
    }

    fn good(&self, name: &str, python: &Python) {
        fs::create_dir_all(self.path()).unwrap();
        symlink(&python.path, self.path().join(name)).unwrap();
    }

    /// A start that sees these, and what every script needs.
    fn local<const N: usize>(&self, candidates: [&str; N]) -> Local {
        let path = format!("{}:/usr/bin:/bin", self.path().display());
        Local::new().env("PATH", path).python_candidates(candidates)
    }
}

fn newest() -> &'static Python {
    interpreters().iter().rfind(|python| python.name.starts_with("python")).expect("a CPython")
}

/// The interpreter that was found, once it has shown that no byte of its stream is missing.
fn found(context: &Context) -> String {
    let text: String = context.call("tasks:echo", ("all of it",)).unwrap();
    assert_eq!(text, "all of it");
    let executable = context.info().unwrap().executable;
    executable.file_name().unwrap().to_str().unwrap().to_string()
}

fn router() -> Router {
    let router = Router::new().unwrap();
    router.modules().source("tasks", "def echo(text):\n    return text\n");
    router
}

#[test]
fn the_good_one_is_found_behind_all_kinds_of_bad_ones() {
    isolated(|| {
        let router = router();
        for_each_kind_of_python(|python| {
            let candidates = Candidates::new();
            candidates.stub("failing", "exit 3");
            candidates.stub("killed", "kill -9 $$");
            candidates.stub("telling", "echo EC0; echo EC1; echo 'use the app store' >&2; exit 1");
            candidates.stub("reading", "cat; head -c 100; exit 9");
            candidates.stub("stub", "echo 'Python was not found' >&2; exit 103");
            candidates.dir.file("bin/not_executable", "#!/bin/sh\nexit 0\n");
            fs::create_dir(candidates.path().join("directory")).unwrap();
            program(&candidates.dir, "bin/broken", "#!/no/such/interpreter\n");
            candidates.pretender("python2.6", "0x020609f0");
            candidates.pretender("python3.5", "0x030504f0");
            candidates.good("good", python);
            candidates.stub("never", "touch $HOME/it-ran-all-the-same");
            let local = candidates.local([
                "missing",
                "/no/such/python",
                "failing",
                "killed",
                "telling",
                "reading",
                "stub",
                "not_executable",
                "directory",
                "broken",
                "python2.6",
                "python3.5",
                "good",
                "never",
            ]);
            // All of the first call is behind the bootstrap before any candidate runs.
            let context = router.start(local);
            assert_eq!(found(&context), "good");
            context.shutdown().unwrap();
        });
    });
}

#[test]
fn versions_are_told_apart_where_support_begins_and_ends() {
    isolated(|| {
        let router = router();
        let candidates = Candidates::new();
        candidates.good("other", newest());
        let verdict = |hexversion: &str| {
            candidates.pretender("pretender", hexversion);
            let error = router.connect(candidates.local(["pretender"])).unwrap_err();
            let Error::Connect(error) = error else { panic!("{error:?}") };
            error.status.map(|status| status.to_string()).unwrap_or_default()
        };
        // A good one is executed a second time, without -S: then the pretender ends with 50.
        for (hexversion, status) in [
            ("0x02060900", "exit status 97"),
            ("0x020700f0", "exit status 50"),
            ("0x030000f0", "exit status 97"),
            ("0x030510f0", "exit status 97"),
            ("0x030600a1", "exit status 50"),
            ("0x030d00f0", "exit status 50"),
            ("0x031f00f0", "exit status 50"),
            ("0x040000f0", "exit status 50"),
        ] {
            assert_eq!(verdict(hexversion), status, "{hexversion}");
        }
    });
}

#[test]
fn a_candidate_that_hangs_ends_with_the_start() {
    isolated(|| {
        let short = Duration::from_millis(300);
        let router = Router::builder().connect_timeout(short).build().unwrap();
        let candidates = Candidates::new();
        candidates.stub("hanging", "sleep 1000; exit 1");
        candidates.good("good", newest());
        let error = router.connect(candidates.local(["hanging", "good"])).unwrap_err().to_string();
        assert!(error.ends_with(": starting Python: no answer within 300ms"), "{error}");
        router.shutdown().unwrap();
    });
}

#[test]
fn what_candidates_print_reaches_neither_the_stream_nor_the_log() {
    isolated(|| {
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        router.modules().source("tasks", "def echo(text):\n    return text\n");
        let candidates = Candidates::new();
        candidates
            .stub("loud", "echo EC0\nyes loud | head -c 1000000\nyes >&2 | head -n 9\nexit 1");
        candidates.good("good", newest());
        let context = router.connect(candidates.local(["loud", "good"])).unwrap();
        assert_eq!(found(&context), "good");
        router.shutdown().unwrap();
        assert_eq!(log.records(), []);
    });
}

#[test]
fn the_order_of_the_candidates_decides() {
    isolated(|| {
        let router = router();
        let candidates = Candidates::new();
        candidates.good("one", newest());
        candidates.good("two", newest());
        for order in [["one", "two"], ["two", "one"]] {
            let context = router.connect(candidates.local(order)).unwrap();
            assert_eq!(found(&context), order[0]);
            context.shutdown().unwrap();
        }
    });
}

#[test]
fn the_default_candidates_are_tried_in_their_order() {
    isolated(|| {
        let router = router();
        let candidates = Candidates::new();
        let local = || Local::new().env("PATH", candidates.path());
        // The third of the five is a fixed path, which a system has or has not.
        let platform = Path::new("/usr/libexec/platform-python").exists();
        for better in
            ["python2", "python2.7", "python", "python3"].split_at(2 * usize::from(platform)).1
        {
            candidates.good(better, newest());
            let context = router.connect(local()).unwrap();
            assert_eq!(found(&context), *better);
            context.shutdown().unwrap();
        }
    });
}

#[test]
fn a_candidate_may_be_a_path_with_blanks_quotes_and_stars() {
    isolated(|| {
        let router = router();
        for_each_kind_of_python(|python| {
            let dir = TempDir::new();
            for name in ["my python", "it's", "a \"b\" $HOME `id` *", "-x\n!\\", "b\u{e4}r"] {
                let path = dir.path().join(name);
                symlink(&python.path, &path).unwrap();
                let searched =
                    Local::new().python_candidates([dir.path().join("none *"), path.clone()]);
                for local in [searched, Local::new().python(&path)] {
                    let context = router.connect(local).unwrap();
                    assert_eq!(found(&context), name);
                    context.shutdown().unwrap();
                }
            }
        });
    });
}

#[test]
fn a_fixed_interpreter_is_looked_for_in_the_path_that_the_child_gets() {
    isolated(|| {
        let router = router();
        let candidates = Candidates::new();
        candidates.good("mine", newest());
        let context = router.connect(candidates.local([]).python("mine")).unwrap();
        assert_eq!(found(&context), "mine");
        let error = router.connect(Local::new().python("mine")).unwrap_err().to_string();
        let path = std::env::var("PATH").unwrap();
        assert_eq!(error, format!("local: starting the process: mine not found in PATH ({path})"));
    });
}

#[test]
fn without_any_candidate_the_error_says_so() {
    isolated(|| {
        let error = router().connect(Local::new().python_candidates([""; 0])).unwrap_err();
        let error = error.to_string();
        let (_, reason) = error.split_once(": ").unwrap();
        assert_eq!(reason, "starting Python: there is no candidate to try (exit status 97)");
    });
}
