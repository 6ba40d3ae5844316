//! Promise: applications that this project did not write run where nothing of them is installed.

use std::path::PathBuf;

mod support;

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
    /// and `sources`.
    fn check(&self, sources: &[(&str, &str)], check: impl Fn(&Run, &Python)) {
        let dir = TempDir::new();
        for (python, wheels) in &self.wheels {
            let bare = python.without_packages(&dir);
            let run = Run::start(&bare, |modules| {
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
            });
            let installed: Vec<String> = run.context.call("surroundings:installed", ()).unwrap();
            assert_eq!(installed, [""; 0], "{python}");
            run.requests();
            let before = run.log.records().len();
            check(&run, &bare);
            run.requests();
            let traffic = Traffic::of(&run.log.records()[before..]);
            println!("{} on {}: {traffic}", self.name, python.name);
        }
    }
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
        django.check(&sources, |run, _| {
            assert_eq!(run.text("work:work", ()), "found GRACE:10 ADA:5");
        });
    });
}

#[test]
fn jinja2_renders() {
    let jinja2 = Subject::new("jinja2");
    isolated(|| {
        jinja2.check(&[("work", include_str!("applications/use_jinja2.py"))], |run, _| {
            let expected = "<h1>A &amp; B</h1><li>1 &lt;x&gt;</li><li>2 y</li>";
            assert_eq!(run.text("work:work", ()), expected);
        });
    });
}

#[test]
fn sqlalchemy_maps_objects() {
    let sqlalchemy = Subject::new("sqlalchemy");
    isolated(|| {
        sqlalchemy.check(&[("work", include_str!("applications/use_sqlalchemy.py"))], |run, _| {
            assert_eq!(run.text("work:work", ()), "Grace:10 Ada:5");
        });
    });
}

#[test]
fn rich_draws_a_table() {
    let rich = Subject::new("rich");
    isolated(|| {
        rich.check(&[("work", include_str!("applications/use_rich.py"))], |run, _| {
            let (plain, coloured): (String, String) = run.context.call("work:work", ()).unwrap();
            for part in
                ["Orders", "│ Ada   │      5 │", "│ Grace │     10 │", "A title", "• an item"]
            {
                assert!(plain.contains(part), "{part} is not in {plain}");
            }
            assert!(!plain.contains("\x1b"), "{plain:?}");
            assert!(coloured.contains("\x1b[38;2;"), "{coloured:?}");
        });
    });
}

#[test]
fn click_runs_a_command() {
    let click = Subject::new("click");
    isolated(|| {
        click.check(&[("work", include_str!("applications/use_click.py"))], |run, _| {
            let work = |words: &[&str]| run.text("work:work", (words,));
            assert_eq!(work(&["greet", "--count", "2", "Ada"]), "0 Hello Ada\nHello Ada\n");
            let refused = work(&["greet", "--count", "9", "Ada"]);
            assert!(refused.starts_with("2 Usage: cli greet"), "{refused}");
        });
    });
}

#[test]
fn yaml_goes_there_and_back() {
    let yaml = Subject::new("yaml");
    isolated(|| {
        yaml.check(&[("work", include_str!("applications/use_yaml.py"))], |run, _| {
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
        attrs.check(&[("work", include_str!("applications/use_attrs.py"))], |run, _| {
            assert_eq!(run.text("work:work", ()), "Point(x=3, y=4) [('x', 3), ('y', 4)]");
        });
    });
}

#[test]
fn boltons_has_its_parts() {
    let boltons = Subject::new("boltons");
    isolated(|| {
        boltons.check(&[("work", include_str!("applications/use_boltons.py"))], |run, _| {
            let expected = "[1, 3] ['y'] [[0, 1], [2, 3], [4]] a_b_c [3, 1] 1:30:00 True";
            assert_eq!(run.text("work:work", ()), expected);
        });
    });
}

#[test]
fn pytest_runs_a_test_file_there() {
    let pytest = Subject::new("pytest");
    isolated(|| {
        pytest.check(&[("work", include_str!("applications/use_pytest.py"))], |run, _| {
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
        });
    });
}
