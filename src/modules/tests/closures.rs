//! Promise: a closure serves modules and packages by the rules that hold for directories; what goes wrong
//! in it ends an import and nothing else.

use super::*;

fn names(asked: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut asked.lock().unwrap())
}

#[test]
fn a_closure_makes_modules_and_packages() {
    let modules = Modules::default();
    modules.finder(|name| match name {
        "one" => Some(ModuleSource::module("made of one", "one = 1\r\n")),
        "app" => Some(ModuleSource::package("made/app/__init__.py", "")),
        "app.load" => Some(ModuleSource::module("made/app/load.py", b"\xef\xbb\xbfload = 1\n")),
        _ => None,
    });
    assert_eq!(text(&modules, "one"), "one = 1\r\n");
    assert_eq!(
        (module(&modules, "one").pkg_present, &*module(&modules, "one").path),
        (None, "made of one")
    );
    assert_eq!((children(&modules, "app"), text(&modules, "app")), ("*".into(), "".into()));
    assert_eq!(text(&modules, "app.load"), "\u{feff}load = 1\n");
    for name in ["two", "app.two", "one.two"] {
        assert_eq!(modules.find(name), Found::Missing, "{name}");
    }
    assert_eq!(modules.searching().top(), ["*"]);
}

#[test]
fn a_closure_is_asked_in_its_turn_and_only_for_what_it_may_have() {
    let dir = Dir::new(&["first.py", "regular/__init__.py"]);
    let last = Dir::new(&["mine.py", "last.py", "space/x.py"]);
    let modules = serving(&[&dir]);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asks = asked.clone();
    modules.finder(move |name| {
        asks.lock().unwrap().push(name.to_owned());
        name.starts_with("mine").then(|| ModuleSource::package(name, name))
    });
    modules.path(last.path());
    for (name, wanted) in [
        ("first", &[][..]),
        ("regular.x", &[]),
        ("last", &["last"]),
        ("mine", &["mine"]),
        ("mine.sub.x", &["mine", "mine.sub", "mine.sub.x"]),
        ("space.y", &["space", "space.y"]),
        ("no.such", &["no"]),
        ("../x", &[]),
        ("__main__", &[]),
        ("econtext.x", &[]),
    ] {
        modules.find(name);
        assert_eq!(names(&asked), wanted, "{name}");
    }
    assert_eq!(text(&modules, "mine"), "mine");
}

#[test]
fn one_search_asks_a_closure_once() {
    let modules = Modules::default();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asks = asked.clone();
    modules.finder(move |name| {
        asks.lock().unwrap().push(name.to_owned());
        Some(ModuleSource::package("", ""))
    });
    let mut finder = modules.searching();
    for name in ["a.b", "a", "a.b.c", "a.b"] {
        assert!(finder.has(name) && finder.find(name) != Found::Missing);
    }
    assert_eq!(names(&asked), ["a", "a.b", "a.b.c"]);
}

#[test]
fn a_panic_in_a_closure_is_why_the_module_cannot_be_had() {
    let modules = Modules::default();
    modules.finder(|name| match name {
        "text" => panic!("out of luck"),
        "words" => panic!("out of {name}"),
        "other" => std::panic::panic_any(7),
        _ => None,
    });
    for (name, told) in
        [("text", "out of luck"), ("words", "out of words"), ("other", "no message")]
    {
        assert_eq!(refusal(&modules, name), format!("the program's finder panicked: {told}"));
    }
    assert_eq!(modules.find("else"), Found::Missing);
}

#[test]
fn a_closure_may_register_what_it_is_asked_for() {
    let modules = Modules::default();
    let same = modules.clone();
    modules.finder(move |name| {
        same.source(name, "registered");
        None
    });
    // A search is one over the state at its beginning.
    assert_eq!(modules.find("x"), Found::Missing);
    assert_eq!(text(&modules, "x"), "registered");
}
