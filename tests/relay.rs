//! Promise: a context serves its children the modules that it has, and asks for what it lacks once.

use econtext::{FromValue, Modules, ToArgs};

mod support;

use support::{Python, Run, TempDir, interpreters, isolated, long};

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
            let names = ["app", "app.deep", "app.deep.leaf", "app.helper", "app.load"];
            assert_eq!(tree.sent(), names);
            assert!(tree.count(&[]) > 0);
            assert_eq!(tree.text(&[3], "app.load:name", "?"), "app.deep.leaf?");
            assert_eq!(tree.sent(), [""; 0]);
            assert!(tree.count(&[]) > 0);
        }
    });
}
