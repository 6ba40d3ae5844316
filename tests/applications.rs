//! Promise: applications that this project did not write run where nothing of them is installed.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

mod support;

use econtext::Modules;
use support::{Application, Python, Run, TempDir, Traffic, isolated, long};

/// What a test needs of an application; taken before the test is isolated.
struct Subject {
    name: &'static str,
    wheels: Vec<(&'static Python, Vec<PathBuf>)>,
}

impl Subject {
    fn new(name: &'static str) -> Subject {
        Subject { name, wheels: Application::named(name).wheels() }
    }

    /// Calls `check` with a child of each Python, which has nothing installed and is served the application
    /// and `sources`; then with another, whose router was told before what the first had to ask for.
    ///
    /// What the code reaches at its top level comes along with the call. So the first child asks for what is in
    /// `late` alone, that which only shows when it is run, and the other for nothing. A `*` at the end stands for
    /// anything.
    fn check(&self, sources: &[(&str, &str)], late: &[&str], check: impl Fn(&Run, &Python)) {
        let dir = TempDir::new();
        for (python, wheels) in &self.wheels {
            let bare = python.without_packages(&dir);
            let serve = |modules: &Modules| {
                for (name, text) in sources {
                    modules.source(*name, *text);
                }
                for wheel in wheels {
                    modules.path(wheel);
                }
                modules.source("surroundings", include_str!("applications/surroundings.py"));
                if python.version == (2, 7) {
                    modules.source("scandir", include_str!("applications/scandir.py"));
                }
            };
            let run = Run::start(&bare, serve);
            let installed: Vec<String> = run.context.call("surroundings:installed", ()).unwrap();
            assert_eq!(installed, [""; 0], "{python}");
            let moved = traffic(&run, || check(&run, &bare));
            println!("{} on {}: {moved}", self.name, python.name);
            let is_late = |asked: &&String| {
                late.iter().any(|name| match name.strip_suffix('*') {
                    Some(start) => asked[1..].starts_with(start),
                    None => asked[1..] == **name,
                })
            };
            let early: Vec<_> = moved.requested.iter().filter(|asked| !is_late(asked)).collect();
            assert!(early.is_empty(), "{early:?} of {:?}", moved.requested);
            let learned = run.router.modules().learned();
            drop(run);

            let run = Run::start(&bare, |modules| {
                serve(modules);
                modules.preload(&learned);
            });
            let moved = traffic(&run, || check(&run, &bare));
            println!("{} on {}, told before: {moved}", self.name, python.name);
            assert_eq!(moved.requested, [""; 0]);
        }
    }
}

/// What `work` has moved.
fn traffic(run: &Run, work: impl FnOnce()) -> Traffic {
    let settle = || {
        run.requests();
        run.log.records().len()
    };
    let before = settle();
    work();
    let after = settle();
    Traffic::of(&run.log.records()[before..after])
}

#[test]
fn django_queries_a_database_in_memory() {
    let django = Subject::new("django");
    isolated(|| {
        let sources = [
            ("work", include_str!("applications/use_django.py")),
            ("shop.settings", include_str!("applications/shop_settings.py")),
            ("shop.models", include_str!("applications/shop_models.py")),
        ];
        django.check(&sources, &DJANGO_LATE, |run, _| {
            assert_eq!(run.text("work:work", ()), "found GRACE:10 ADA:5");
            assert_eq!(run.text("work:migrate", ()), "ada");
        });
    });
}

/// What it imports by names from the settings, inside of functions, and where it looks for migrations and
/// templates' tags.
const DJANGO_LATE: [&str; 16] = [
    "shop",
    "shop.settings",
    "shop.models",
    "django.urls",
    "django.utils.log",
    "django.utils.translation.trans_null",
    "django.views",
    "django.views.debug",
    "django.contrib",
    "django.contrib.*",
    "django.core.management*",
    "django.db.backends.*",
    "django.db.models.sql.compiler",
    "django.template.defaulttags",
    "django.template.loader_tags",
    "django.templatetags*",
];

#[test]
fn requests_makes_a_request() {
    let requests = Subject::new("requests");
    isolated(|| {
        let sources = [("work", include_str!("applications/use_requests.py"))];
        requests.check(&sources, &["idna", "certifi/*"], |run, _| {
            let answer =
                "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"asked\": \"yes\"}";
            let (port, server) = answer_once(answer);
            assert_eq!(run.text("work:work", (port,)), "200 yes");
            assert_eq!(server.join().unwrap(), "GET /path?q=a+b HTTP/1.1");
        });
    });
}

#[test]
fn requests_has_its_certificates() {
    let requests = Subject::new("requests");
    isolated(|| {
        let sources = [("work", include_str!("applications/use_requests.py"))];
        requests.check(&sources, &["idna", "certifi/*"], |run, python| {
            // Those before 3.7 have no interface for data files that certifi would know.
            if python.version >= (3, 7) {
                let (port, server) = answer_once("");
                let found = run.text("work:certificates", (port,));
                server.join().unwrap();
                let (is_file, count) = found.split_once(' ').unwrap();
                assert_eq!(is_file, "True");
                assert!(count.parse::<u32>().unwrap() > 100, "{count}");
            }
        });
    });
}

/// A server on a port of this machine that takes one connection, gives this answer and hangs up; its thread's
/// result is the first line that it was sent.
fn answer_once(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = move || {
        let mut client = BufReader::new(listener.accept().unwrap().0);
        let (mut first, mut line) = (Vec::new(), Vec::new());
        client.read_until(b'\n', &mut first).unwrap();
        while !answer.is_empty() && !matches!(&line[..], b"\r\n") {
            line.clear();
            client.read_until(b'\n', &mut line).unwrap();
        }
        client.get_mut().write_all(answer.as_bytes()).unwrap();
        String::from_utf8_lossy(&first).trim().to_string()
    };
    (port, thread::spawn(serve))
}

#[test]
fn jinja2_renders() {
    let jinja2 = Subject::new("jinja2");
    isolated(|| {
        jinja2.check(&[("work", include_str!("applications/use_jinja2.py"))], &[], |run, _| {
            let expected = "<h1>A &amp; B</h1><li>1 &lt;x&gt;</li><li>2 y</li>";
            assert_eq!(run.text("work:work", ()), expected);
        });
    });
}

#[test]
fn sqlalchemy_maps_objects() {
    let sqlalchemy = Subject::new("sqlalchemy");
    isolated(|| {
        sqlalchemy.check(
            &[("work", include_str!("applications/use_sqlalchemy.py"))],
            &SQLALCHEMY_LATE,
            |run, _| {
                assert_eq!(run.text("work:work", ()), "Grace:10 Ada:5");
            },
        );
    });
}

/// Its own way to break circles, and the dialect, whose name is in the address.
const SQLALCHEMY_LATE: [&str; 6] = [
    "sqlalchemy.sql.default_comparator",
    "sqlalchemy.events",
    "sqlalchemy.engine.default",
    "sqlalchemy.orm.dynamic",
    "sqlalchemy.orm.dependency",
    "sqlalchemy.dialects.sqlite",
];

#[test]
fn rich_draws_a_table() {
    let rich = Subject::new("rich");
    isolated(|| {
        rich.check(
            &[("work", include_str!("applications/use_rich.py"))],
            &["pygments.styles.monokai", "pygments.lexers.python"],
            |run, _| {
                let (plain, coloured): (String, String) =
                    run.context.call("work:work", ()).unwrap();
                for part in
                    ["Orders", "│ Ada   │      5 │", "│ Grace │     10 │", "A title", "• an item"]
                {
                    assert!(plain.contains(part), "{part} is not in {plain}");
                }
                assert!(!plain.contains("\x1b"), "{plain:?}");
                assert!(coloured.contains("\x1b[38;2;"), "{coloured:?}");
            },
        );
    });
}

#[test]
fn click_runs_a_command() {
    let click = Subject::new("click");
    isolated(|| {
        click.check(
            &[("work", include_str!("applications/use_click.py"))],
            &["click._textwrap"],
            |run, _| {
                let work = |words: &[&str]| run.text("work:work", (words,));
                assert_eq!(work(&["greet", "--count", "2", "Ada"]), "0 Hello Ada\nHello Ada\n");
                let refused = work(&["greet", "--count", "9", "Ada"]);
                assert!(refused.starts_with("2 Usage: cli greet"), "{refused}");
            },
        );
    });
}

#[test]
fn yaml_goes_there_and_back() {
    let yaml = Subject::new("yaml");
    isolated(|| {
        yaml.check(&[("work", include_str!("applications/use_yaml.py"))], &[], |run, _| {
            let found = run.text("work:work", ());
            let found = found.replace(" u'", " '");
            assert_eq!(found, "False 'a line\\nanother\\n' two: 2");
        });
    });
}

#[test]
fn attrs_makes_a_class() {
    let attrs = Subject::new("attrs");
    isolated(|| {
        attrs.check(&[("work", include_str!("applications/use_attrs.py"))], &[], |run, _| {
            assert_eq!(run.text("work:work", ()), "Point(x=3, y=4) [('x', 3), ('y', 4)]");
        });
    });
}

#[test]
fn boltons_has_its_parts() {
    let boltons = Subject::new("boltons");
    isolated(|| {
        boltons.check(&[("work", include_str!("applications/use_boltons.py"))], &[], |run, _| {
            let expected = "[1, 3] ['y'] [[0, 1], [2, 3], [4]] a_b_c [3, 1] 1:30:00 True";
            assert_eq!(run.text("work:work", ()), expected);
        });
    });
}

#[test]
fn pytest_runs_a_test_file_there() {
    let pytest = Subject::new("pytest");
    isolated(|| {
        pytest.check(
            &[("work", include_str!("applications/use_pytest.py"))],
            &["_pytest.*", "py.*", "/"],
            |run, _| {
                let file = include_bytes!("applications/checked_by_pytest.py").as_slice();
                let result = run.context.call("work:work", ("test_it.py", file));
                let (status, told, why): (u32, Vec<String>, String) =
                    result.unwrap_or_else(|error| panic!("{}", long(&error)));
                let expected = [
                    "test_passes passed",
                    "test_twice[a] passed",
                    "test_twice[bb] failed",
                    "test_is_skipped skipped",
                    "test_raises passed",
                ];
                assert_eq!((status, told), (1, expected.map(String::from).to_vec()));
                // It has rewritten the assertion.
                assert!(
                    why.contains("assert len(word) < 2") && why.contains("where 2 = len('bb')"),
                    "{why}"
                );
            },
        );
    });
}
