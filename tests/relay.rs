//! Promise: a context serves its children the modules that it has, and asks for what it lacks once.

use std::fs;
use std::path::PathBuf;

use econtext::{FromValue, Modules, ToArgs};

mod support;

use support::{Process, Python, Run, TempDir, interpreters, isolated, long, mkfifo};

/// A context below which others are started by hand, by `support/tree.py`.
struct Tree {
    run: Run,
}

impl Tree {
    /// The context 1, with one child for each of `below`: 2, 3...
    fn start(top: &Python, below: &[&Python], serve: impl FnOnce(&Modules)) -> Tree {
        let run = Run::start(top, |modules| {
            modules.source("tree", include_str!("support/tree.py"));
            serve(modules);
        });
        let tree = Tree { run };
        for (id, python) in (2..).zip(below) {
            tree.add(&[], id, python);
        }
        tree.run.requests();
        tree
    }

    fn here<T: FromValue>(&self, target: &str, args: impl ToArgs) -> T {
        let result = self.run.context.call(target, args);
        result.unwrap_or_else(|error| panic!("{target}: {}", long(&error)))
    }

    /// Starts a child of the context that `path` leads to.
    fn add(&self, path: &[u32], id: u32, python: &Python) -> i32 {
        self.here("tree:start", (path, id, python.path.to_str().unwrap()))
    }

    fn hold(self, below: &[&[u32]]) -> Tree {
        for path in below {
            assert_eq!(self.text(path, "task:attempt", "task"), "task");
        }
        self.here::<()>("tree:hold", ());
        self.here::<()>("tree:push", ("", "", [""; 0], ["*"]));
        self.count(&[]);
        self
    }

    fn words(&self, target: &str, args: impl ToArgs) -> Vec<String> {
        self.here(target, args)
    }

    /// Has a module arrive from above, where requests are held: it announces `related`.
    fn push(&self, name: &str, source: &str, related: &[&str]) {
        self.here::<()>("tree:push", (name, source, related));
    }

    fn text(&self, path: &[u32], target: &str, argument: &str) -> String {
        self.here("tree:call", (path, target, argument))
    }

    /// What the program has sent since the last time, asked for or not, in the order of the alphabet.
    fn sent(&self) -> Vec<String> {
        let traffic = self.run.module_traffic();
        let mut names: Vec<_> = traffic.iter().map(|name| name[1..].to_string()).collect();
        names.sort();
        names
    }

    /// How many requests the children of that context have made since the last time.
    fn count(&self, path: &[u32]) -> u32 {
        self.here("tree:count", (path,))
    }
}

/// Four versions, each once in each place.
fn mixtures() -> Vec<[&'static Python; 4]> {
    let wanted = [(2, 7), (3, 13), (3, 6), (3, 9)];
    let find = |version| interpreters().iter().find(move |python| python.version == version);
    let found: Vec<_> = wanted.into_iter().filter_map(find).collect();
    (0..found.len()).map(|at| std::array::from_fn(|n| found[(at + n) % found.len()])).collect()
}

/// Imports what it is told to.
const TASK: &str = r#"
import sys, threading
from econtext import core
core.load('econtext.failure')
NAME = __name__

def attempt(name):
    try:
        __import__(name)
        return sys.modules[name].NAME
    except ImportError:
        return '%s: %s' % (name, sys.exc_info()[1])

def announce(name):
    sys.stdout.write('going to import %s\n' % name)
    return attempt(name)

def crowd(name):
    """Import it in many threads at once."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(attempt(name))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ' '.join(sorted(set(results)))

def report(path):
    """Write how an import ended that nobody answers, and what came instead."""
    result = crowd('never')
    with open(path, 'w') as file:
        file.write('%s (%s)' % (result, (core.importer.modules.get('never') or '??')[1]))

def forget(name):
    from econtext.core import importer
    importer.invalidate_caches()
    return attempt(name)

def again(name):
    module = sys.modules[name]
    try:
        from importlib import reload
    except ImportError:
        from imp import reload
    return reload(module).NAME

def fetch(name):
    """What the parent sends for a name."""
    import zlib
    from econtext.core import importer
    found = importer.fetch(name)
    importer.modules.pop(name, None)
    return found and [found[0], len(found[2] and zlib.decompress(found[2])), len(found[3])]

def ask(begin, number):
    """Ask for so many names that nobody has, and go on."""
    from econtext import core
    for at in range(begin, begin + number):
        core.router.send(core.router.parent, core.GET_MODULE, core.text('absent_%d' % at), core.LOAD_MODULE)

def nonsense(_):
    from econtext import core
    send = lambda data: core.router.stream.send(core.router.parent, core.GET_MODULE, data, core.LOAD_MODULE)
    name = core.dumps(core.text('some_name'), 2)
    for data in [b'', b'.', b'garbage', b'N.', name[:-5], b'\x80\x02', b'\x80\x02X', b'\x80\x02X\xff\xff\xff\x7fx.',
                 b'\x80\x02X\3\0\0\0\xed\xa0\x80.', b'\x80\x02X\2\0\0\0\xff\xfe.', b'\x80\x05\x95' + b'\0' * 9,
                 core.dumps([core.text('x')], 2), core.dumps(5, 2), core.dumps(core.text('y' * 5000), 2), b'\x80\x02' + b'(' * 9999, b'x' * 100000,
                 b'cos\n_exit\n(K\7tR.']:
        send(data)
    return attempt('task')
"#;

const APP: [(&str, &str); 4] = [
    ("app/__init__.py", ""),
    ("app/load.py", "from . import helper\ndef name(x):\n    return helper.NAME + x\n"),
    ("app/helper.py", "from app.deep import leaf\nNAME = leaf.__name__\n"),
    ("app/deep/leaf.py", ""),
];

fn app() -> TempDir {
    let dir = TempDir::new();
    for (path, text) in APP {
        dir.file(path, text);
    }
    dir
}

#[test]
fn the_second_grandchild_costs_no_request_for_what_the_first_had() {
    isolated(|| {
        let dir = app();
        for [top, left, right, _] in mixtures() {
            let tree = Tree::start(top, &[left, right], |modules| {
                modules.path(dir.path());
            });
            assert_eq!(tree.text(&[2], "app.load:name", "!"), "app.deep.leaf!");
            // Each asked for the importer, the package and the module; the rest came with these.
            assert_eq!(tree.run.requests(), ["+app", "+app.load"]);
            assert_eq!(tree.count(&[]), 3);
            assert_eq!(tree.text(&[3], "app.load:name", "?"), "app.deep.leaf?");
            assert_eq!(tree.sent(), [""; 0]);
            assert_eq!(tree.count(&[]), 3);
        }
    });
}

/// Two children of a context that holds what it would ask for; they have the importer and the module `task`.
fn held(top: &Python, below: &[&Python]) -> Tree {
    let tree = Tree::start(top, below, |modules| {
        modules.source("task", TASK);
    });
    tree.hold(&[&[2], &[3]])
}

/// The same with one below the other.
fn held_chain(top: &Python, below: [&Python; 2]) -> Tree {
    let tree = Tree::start(top, &below[..1], |modules| {
        modules.source("task", TASK);
    });
    tree.add(&[2], 3, below[1]);
    tree.hold(&[&[2], &[2, 3]])
}

#[test]
fn many_that_ask_at_once_are_one_request() {
    isolated(|| {
        for [top, left, right, _] in mixtures() {
            let tree = held(top, &[left, right]);
            tree.here::<()>("tree:begin", (2, "task:crowd", "slow"));
            tree.here::<()>("tree:begin", (3, "task:crowd", "slow"));
            tree.here::<()>("tree:wait_for_requests", (2,));
            assert_eq!(tree.words("tree:held", (1,)), ["slow"]);
            tree.push("slow", "NAME = __name__\n", &[]);
            assert_eq!(tree.words("tree:finish", ()), ["slow", "slow"]);
            assert_eq!(tree.text(&[2], "task:attempt", "slow"), "slow");
            assert_eq!(tree.count(&[]), 2);
        }
    });
}

#[test]
fn what_was_announced_comes_without_being_asked_for() {
    isolated(|| {
        for [top, left, right, _] in mixtures() {
            let tree = held(top, &[left, right]);
            tree.push("first", "NAME = 'first'\n", &["second", "third", "first"]);
            tree.push("second", "NAME = 'second'\n", &["fourth"]);
            tree.text(&[2], "task:attempt", "first");
            assert_eq!(tree.text(&[2], "task:attempt", "second"), "second");
            // These are on their way.
            tree.here::<()>("tree:begin", (2, "task:announce", "fourth"));
            tree.here::<()>("tree:begin", (3, "task:announce", "third"));
            tree.here::<()>("tree:wait_for_words", ("going to import fourth",));
            tree.here::<()>("tree:wait_for_words", ("going to import third",));
            tree.push("third", "NAME = 'third'\n", &[]);
            tree.push("fourth", "NAME = 'fourth'\n", &[]);
            assert_eq!(tree.words("tree:finish", ()), ["fourth", "third"]);
            // The right one asked for `third`, which was announced to its parent, but not to it.
            assert_eq!(tree.count(&[]), 2);
            assert_eq!(tree.here::<Vec<String>>("tree:held", (0,)), [""; 0]);
        }
    });
}

#[test]
fn an_absent_name_is_one_request_until_somebody_wants_to_know_again() {
    isolated(|| {
        for [top, left, right, _] in mixtures() {
            let tree = held(top, &[left, right]);
            let absent = "No module named ";
            tree.here::<()>("tree:begin", (2, "task:attempt", "gone"));
            assert_eq!(tree.words("tree:held", (1,)), ["gone"]);
            tree.here::<()>("tree:push", ("gone",));
            assert!(tree.words("tree:finish", ())[0].contains(absent));
            assert!(tree.text(&[3], "task:attempt", "gone").contains(absent));
            assert_eq!(tree.words("tree:held", (0,)), [""; 0]);
            // It is there now.
            tree.here::<()>("tree:begin", (3, "task:forget", "gone"));
            assert_eq!(tree.words("tree:held", (1,)), ["gone"]);
            tree.push("gone", "NAME = 'come'\n", &[]);
            assert_eq!(tree.words("tree:finish", ()), ["come"]);
            // Where other roots are served, the children forget what was absent.
            tree.here::<()>("tree:push", ("other",));
            for id in [2, 3] {
                assert!(tree.text(&[id], "task:attempt", "other").contains(absent));
            }
            tree.here::<()>("tree:push", ("", "", [""; 0], ["some"]));
            tree.count(&[]);
            assert!(tree.text(&[2], "task:attempt", "other").contains(absent));
            assert_eq!(tree.count(&[]), 0, "the child knows what the roots have");
            tree.here::<()>("tree:push", ("", "", [""; 0], ["other"]));
            tree.here::<()>("tree:begin", (2, "task:attempt", "other"));
            assert_eq!(tree.words("tree:held", (1,)), ["other"]);
            tree.push("other", "NAME = 'other'\n", &[]);
            assert_eq!(tree.words("tree:finish", ()), ["other"]);
            assert_eq!(tree.text(&[3], "task:attempt", "other"), "other");
            assert_eq!(tree.words("tree:held", (0,)), [""; 0]);
        }
    });
}

#[test]
fn a_module_that_is_reloaded_is_the_one_of_now() {
    isolated(|| {
        let dir = TempDir::new();
        for [top, left, right, _] in mixtures() {
            dir.file("changing.py", "NAME = 'old'\n");
            let tree = Tree::start(top, &[left, right], |modules| {
                modules.path(dir.path()).source("task", TASK);
            });
            for id in [2, 3] {
                assert_eq!(tree.text(&[id], "task:attempt", "changing"), "old");
            }
            tree.sent();
            for text in ["new", "newer"] {
                dir.file("changing.py", format!("NAME = '{text}'\n"));
                for id in [2, 3] {
                    assert_eq!(tree.text(&[id], "task:again", "changing"), text);
                    assert_eq!(tree.run.requests(), ["+changing"]);
                }
            }
        }
    });
}

#[test]
fn a_chain_of_three_is_served_like_one() {
    isolated(|| {
        let dir = app();
        dir.file("app/\u{e9}t\u{e9}.py", "NAME = 'summer'\n");
        for [top, middle, last, other] in mixtures() {
            let tree = Tree::start(top, &[middle], |modules| {
                modules.path(dir.path()).source("task", TASK);
            });
            tree.add(&[2], 3, last);
            tree.add(&[2, 3], 4, other);
            tree.sent();
            assert_eq!(tree.text(&[2, 3, 4], "app.load:name", "!"), "app.deep.leaf!");
            assert_eq!(tree.sent(), ["app", "app.deep", "app.deep.leaf", "app.helper", "app.load"]);
            tree.count(&[2, 3]);
            for path in [&[2, 3][..], &[2], &[2, 3, 4]] {
                assert_eq!(tree.text(path, "app.load:name", "?"), "app.deep.leaf?");
            }
            assert_eq!(tree.sent(), [""; 0]);
            assert_eq!(tree.count(&[2, 3]), 0);
            if other.version.0 == 3 {
                let name = "app.\u{e9}t\u{e9}";
                assert_eq!(tree.text(&[2, 3, 4], "task:attempt", name), "summer");
            }
            let core: (Option<bool>, usize, usize) =
                tree.here("tree:call", ([2, 3, 4], "task:fetch", "econtext.core"));
            assert!(core.1 > 10_000, "{core:?}");
            tree.here::<()>("tree:call", ([2, 3], "tree:stop", 4));
            tree.here::<()>("tree:call", ([2], "tree:stop", 3));
        }
    });
}

#[test]
fn data_files_are_passed_on_and_not_kept() {
    isolated(|| {
        let dir = app();
        dir.file("app/small.txt", "small\n");
        dir.file("app/large.txt", "x".repeat(2 << 20));
        for [top, left, right, _] in mixtures() {
            let tree = Tree::start(top, &[left, right], |modules| {
                modules.path(dir.path()).source("task", TASK);
            });
            for id in [2, 3] {
                let fetch = |name: &str| -> Option<(Option<Vec<String>>, usize, usize)> {
                    tree.here("tree:call", ([id], "task:fetch", name))
                };
                assert_eq!(tree.text(&[id], "task:attempt", "task"), "task");
                tree.sent();
                assert_eq!(fetch("app/small.txt"), Some((None, 6, 0)));
                let (_, first, further) = fetch("app/large.txt").unwrap();
                assert_eq!((1 + further) * first, 2 << 20);
                assert_eq!(fetch(&format!("app/large.txt\n{first}")).unwrap().1, first);
                assert_eq!(fetch("app/absent.txt"), None);
                assert!(fetch("app/").unwrap().0.unwrap().contains(&"small.txt".to_string()));
                assert_eq!(tree.run.requests().len(), if id == 2 { 5 } else { 3 });
                assert_eq!(tree.words("tree:files", ()), ["app/absent.txt"]);
            }
        }
    });
}

#[test]
fn a_child_that_asks_for_nonsense_costs_little_and_is_alone() {
    isolated(|| {
        for [top, left, right, _] in mixtures() {
            let tree = held(top, &[left, right]);
            assert_eq!(tree.text(&[2], "task:nonsense", ""), "task");
            assert_eq!(tree.here::<Vec<String>>("tree:held", (0,)), [""; 0]);
            tree.here::<()>("tree:call", ([2], "task:ask", 0, 5000));
            tree.here::<()>("tree:wait_for_requests", (5000,));
            // The other one's request waits behind those that are not refused.
            tree.here::<()>("tree:begin", (3, "task:attempt", "wanted"));
            tree.here::<()>("tree:wait_for_requests", (5001,));
            assert_eq!(tree.words("tree:held", (500,)).len(), 500);
            tree.here::<()>("tree:push_absent", (0, 1000));
            assert!(tree.words("tree:held", (501,)).contains(&"wanted".to_string()));
            tree.push("wanted", "NAME = 'wanted'\n", &[]);
            assert_eq!(tree.words("tree:finish", ()), ["wanted"]);
            for begin in [5000, 6000] {
                tree.count(&[]);
                tree.here::<()>("tree:call", ([2], "task:ask", begin, 1000));
                tree.here::<()>("tree:wait_for_requests", (1000,));
                tree.here::<()>("tree:push_absent", (begin, 1000));
            }
            let [modules, told, waiting]: [usize; 3] = tree.here("tree:kept", ());
            assert!(modules < 1100 && told < 1100 && waiting < 10, "{modules} {told} {waiting}");
        }
    });
}

/// A chain of three whose last waits for a module that does not come; and what it will write.
fn waiting(top: &Python, below: [&Python; 2], dir: &TempDir) -> (Tree, PathBuf) {
    let tree = held_chain(top, below);
    let path = mkfifo(dir, &format!("report-{}-{}", top.name, below[0].name));
    let path_text = path.to_str().unwrap();
    tree.here::<()>("tree:begin", (2, "tree:call", [3], "task:report", path_text));
    assert_eq!(tree.words("tree:held", (1,)), ["never"]);
    (tree, path)
}

const ENDED: &str = "never: never cannot be loaded: the stream to the parent has ended";

#[test]
fn imports_below_a_context_that_is_killed_end() {
    isolated(|| {
        let dir = TempDir::new();
        for [top, middle, last, _] in mixtures() {
            let (tree, path) = waiting(top, [middle, last], &dir);
            tree.here::<()>("tree:kill", (2,));
            assert_eq!(fs::read_to_string(path).unwrap(), format!("{ENDED} (?)"));
        }
    });
}

#[test]
fn imports_below_a_context_whose_stream_ends_are_told() {
    isolated(|| {
        let dir = TempDir::new();
        for [top, middle, last, _] in mixtures() {
            let (tree, path) = waiting(top, [middle, last], &dir);
            Process::open(tree.run.context.info().unwrap().pid as i32).signal(9);
            assert_eq!(fs::read_to_string(path).unwrap(), format!("{ENDED} (<never!>)"));
        }
    });
}

#[test]
fn a_child_that_has_gone_is_asked_for_no_more() {
    isolated(|| {
        for [top, left, right, _] in mixtures() {
            let tree = held(top, &[left, right]);
            tree.here::<()>("tree:begin", (2, "task:attempt", "slow"));
            tree.here::<()>("tree:begin", (3, "task:attempt", "slow"));
            tree.here::<()>("tree:wait_for_requests", (2,));
            assert_eq!(tree.words("tree:held", (1,)), ["slow"]);
            tree.here::<()>("tree:kill", (2,));
            tree.push("slow", "NAME = __name__\n", &["next"]);
            tree.push("next", "NAME = __name__\n", &[]);
            assert_eq!(tree.words("tree:finish", ()), ["", "slow"]);
            assert_eq!(tree.text(&[3], "task:attempt", "next"), "next");
            assert_eq!(tree.count(&[]), 2);
        }
    });
}

#[test]
fn what_is_known_of_distributions_comes_with_their_list() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("some-1.0.dist-info/METADATA", "Name: some\nVersion: 1.0\n");
        dir.file("some-1.0.dist-info/RECORD", "");
        for [top, left, right, _] in mixtures() {
            let tree = Tree::start(top, &[left, right], |modules| {
                modules.path(dir.path()).source("task", TASK);
            });
            for id in [2, 3] {
                assert_eq!(tree.text(&[id], "task:attempt", "task"), "task");
                tree.count(&[]);
                for name in ["/", "/some-1.0.dist-info/METADATA", "/some-1.0.dist-info/RECORD"] {
                    let found: (Option<Vec<String>>, usize, usize) =
                        tree.here("tree:call", ([id], "task:fetch", name));
                    assert!(found.0.is_some() == (name == "/"), "{name}: {found:?}");
                }
                assert_eq!(tree.count(&[]), 1);
            }
            let requests = tree.run.requests();
            assert_eq!(requests.iter().filter(|name| *name == "+/").count(), 1, "{requests:?}");
        }
    });
}

#[test]
fn what_arrives_before_a_call_is_passed_on_before_it() {
    isolated(|| {
        for [top, left, right, _] in mixtures() {
            let tree = held(top, &[left, right]);
            tree.here::<()>("tree:push", ("", "", [""; 0], ["some"]));
            // LOAD_MODULE, CALL_FUNCTION
            assert_eq!(tree.here::<Vec<u32>>("tree:order", ("late",)), [107, 101]);
            assert_eq!(tree.words("tree:held", (1,)), ["late"]);
            tree.push("late", "NAME = __name__\n", &[]);
            assert_eq!(tree.words("tree:finish", ()), ["late"]);
        }
    });
}
