mod archives;
mod closures;
mod data_files;
mod zip;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::built;

/// A directory that goes when the test ends.
struct Dir(PathBuf);

impl Dir {
    /// With these files, each holding its own path.
    fn new(files: &[&str]) -> Dir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir =
            std::env::temp_dir().join(format!("econtext-modules-{}-{count}", std::process::id()));
        let dir = Dir(dir);
        fs::create_dir_all(&dir.0).unwrap();
        for file in files {
            dir.write(file, file);
        }
        dir
    }

    fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn serving(dirs: &[&Dir]) -> Modules {
    let modules = Modules::default();
    for dir in dirs {
        modules.path(dir.path());
    }
    modules
}

#[track_caller]
fn module(modules: &Modules, name: &str) -> Module {
    match modules.find(name) {
        Found::Module(module) => {
            assert_eq!(module.name, name);
            module
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[track_caller]
fn text(modules: &Modules, name: &str) -> String {
    let compressed = module(modules, name).compressed;
    if compressed.is_empty() {
        return String::new(); // a package without `__init__.py`
    }
    let text = miniz_oxide::inflate::decompress_to_vec_zlib(&compressed).unwrap();
    String::from_utf8(text).unwrap()
}

#[track_caller]
fn children(modules: &Modules, name: &str) -> String {
    module(modules, name).pkg_present.expect("a package").join(" ")
}

#[track_caller]
fn refusal(modules: &Modules, name: &str) -> String {
    match modules.find(name) {
        Found::Refused(reason) => reason,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn modules_and_packages_are_found_in_a_directory() {
    let dir = Dir::new(&["one.py", "app/__init__.py", "app/load.py", "app/sub/__init__.py"]);
    let modules = serving(&[&dir]);
    let one = module(&modules, "one");
    assert_eq!(
        (one.pkg_present, &*one.path),
        (None, &*dir.path().join("one.py").to_string_lossy())
    );
    assert_eq!(text(&modules, "one"), "one.py");
    assert_eq!(text(&modules, "app"), "app/__init__.py");
    assert_eq!(text(&modules, "app.load"), "app/load.py");
    assert!(module(&modules, "app.sub").path.ends_with("app/sub/__init__.py"));
    for name in ["two", "app.two", "one.two", "app.load.two", "os"] {
        assert_eq!(modules.find(name), Found::Missing, "{name}");
    }
}

#[test]
fn the_children_of_a_package_are_its_modules_packages_and_directories_sorted() {
    let files = ["p/__init__.py", "p/z.py", "p/a/__init__.py", "p/data/x.txt", "p/not-a-name.py"];
    let dir = Dir::new(&files);
    for file in ["p/readme.txt", "p/__pycache__/z.pyc", "p/stale.pyc", "p/1st.py", "p/dir.d/x.py"] {
        dir.write(file, "");
    }
    let modules = serving(&[&dir]);
    modules.source("p.m", "").source("p.q.r", "").source("pp.x", "");
    assert_eq!(children(&modules, "p"), "1st a data m not-a-name q stale z");
    assert_eq!(children(&modules, "p.a"), "");
}

#[test]
fn what_is_registered_first_is_found_first() {
    let (first, second) = (Dir::new(&["x.py", "p/__init__.py"]), Dir::new(&[]));
    second.write("x.py", "second");
    second.write("y.py", "second");
    second.write("p/only_here.py", "");
    let modules = serving(&[&first]);
    modules.source("x", "embedded").source("y", "embedded").source("y", "again");
    modules.path(second.path());
    assert_eq!(text(&modules, "x"), "x.py");
    assert_eq!(text(&modules, "y"), "embedded");
    assert_eq!(modules.find("p.only_here"), Found::Missing);
}

#[test]
fn a_package_precedes_a_module_of_its_name() {
    let dir = Dir::new(&["x.py", "x/__init__.py", "y.py", "y/z.py"]);
    let modules = serving(&[&dir]);
    assert_eq!(text(&modules, "x"), "x/__init__.py");
    assert_eq!(text(&modules, "y"), "y.py");
    assert_eq!(modules.find("y.z"), Found::Missing);
}

#[test]
fn directories_without_init_merge_over_all_roots() {
    let (one, two) = (Dir::new(&["n/a.py", "n/deep/x.py"]), Dir::new(&["n/b.py", "n/deep/y.py"]));
    let modules = serving(&[&one, &two]);
    modules.source("n.c", "");
    assert_eq!(children(&modules, "n"), "a b c deep");
    assert_eq!(children(&modules, "n.deep"), "x y");
    assert_eq!(text(&modules, "n"), "");
    assert_eq!(module(&modules, "n").path, one.path().join("n").to_string_lossy());
    assert_eq!(text(&modules, "n.deep.y"), "n/deep/y.py");
    // A package with an `__init__.py` in a later root takes it all.
    let regular = Dir::new(&["n/__init__.py"]);
    modules.path(regular.path());
    assert_eq!(children(&modules, "n"), "c");
    assert_eq!(modules.find("n.b"), Found::Missing);
}

#[test]
fn what_extends_its_path_has_a_part_in_every_root() {
    const EXTENDS: &str =
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n";
    const DECLARES: &str = "__import__('pkg_resources').declare_namespace(__name__)\n";
    let dirs =
        [&["p/bare.py", "p/all.py"][..], &["p/one.py", "p/all.py", "p/q/x.py"], &["p/two.py"]];
    let [bare, one, two] = dirs.map(Dir::new);
    for dir in [&one, &two] {
        dir.write("p/__init__.py", EXTENDS);
        dir.write("p/q/__init__.py", DECLARES);
        dir.write("p/own/__init__.py", "# not by extend_path()\n");
    }
    two.write("p/q/y.py", "");
    two.write("p/own/unseen.py", "");
    let modules = serving(&[&bare, &one, &two]);
    assert_eq!(children(&modules, "p"), "all bare one own q two");
    assert_eq!(module(&modules, "p").path, one.path().join("p/__init__.py").to_string_lossy());
    for name in ["bare", "two", "q.x", "q.y"] {
        module(&modules, &format!("p.{name}"));
    }
    // Its own directory is the first, though another root is before it.
    assert_eq!(module(&modules, "p.all").path, one.path().join("p/all.py").to_string_lossy());
    assert_eq!(children(&modules, "p.q"), "x y");
    assert_eq!(children(&modules, "p.own"), "");
    for name in ["p.own.unseen", "p.three", "p.q.z"] {
        assert_eq!(modules.find(name), Found::Missing, "{name}");
    }
    // A closure may have a part, too.
    modules.finder(|name| (name == "p.q.z").then(|| ModuleSource::module("made", "")));
    assert_eq!(module(&modules, "p.q.z").path, "made");
    assert_eq!(
        (children(&modules, "p.q"), children(&modules, "p.own")),
        ("* x y".into(), "".into())
    );
}

#[test]
fn an_embedded_source_implies_its_packages() {
    let modules = Modules::default();
    modules.source("a.b.c", b"x = 1").source("s", String::from("x = 2")).source("e.__init__", "");
    assert_eq!((text(&modules, "a"), children(&modules, "a")), (String::new(), "b".to_owned()));
    assert_eq!(children(&modules, "a.b"), "c");
    assert_eq!(text(&modules, "a.b.c"), "x = 1");
    assert_eq!(module(&modules, "a.b.c").path, "a/b/c.py");
    assert_eq!(module(&modules, "s").pkg_present, None);
    assert_eq!(
        (children(&modules, "e"), &*module(&modules, "e").path),
        (String::new(), "e/__init__.py")
    );
}

#[test]
fn an_embedded_source_joins_a_package_on_disk() {
    let dir = Dir::new(&["app/__init__.py", "app/load.py", "lone.py"]);
    let modules = serving(&[&dir]);
    modules.source("app.extra", "extra").source("app.load", "later").source("lone.child", "child");
    assert_eq!(text(&modules, "app"), "app/__init__.py");
    assert_eq!(text(&modules, "app.extra"), "extra");
    assert_eq!(text(&modules, "app.load"), "app/load.py");
    assert_eq!(children(&modules, "lone"), "child");
    assert_eq!(text(&modules, "lone.child"), "child");
}

#[test]
fn source_goes_out_byte_for_byte() {
    for source in [
        &b"\xef\xbb\xbf# -*- coding: utf-8 -*-\r\nx = 1\r\n\x0c\r\n"[..],
        b"# coding: latin-1\nx = '\xe9'\n\x0cdef f():\r    pass\r",
        b"\xff\xfe\0 no Python at all",
        b"",
    ] {
        let dir = Dir::new(&[]);
        dir.write("disk.py", source);
        let modules = serving(&[&dir]);
        modules.source("embedded", source);
        let entries = [zip::stored("stored.py", source), zip::deflated("deflated.py", source)];
        modules.archive("a.zip", zip::zip(entries).bytes());
        let made = source.to_vec();
        modules.finder(move |_| Some(ModuleSource::module("", made.clone())));
        for name in ["disk", "embedded", "stored", "deflated", "made"] {
            let compressed = module(&modules, name).compressed;
            let text = miniz_oxide::inflate::decompress_to_vec_zlib(&compressed).unwrap();
            assert_eq!(text, source, "{name}");
        }
    }
}

#[test]
fn a_changed_file_is_read_again_and_an_unchanged_one_is_not() {
    let dir = Dir::new(&["x.py"]);
    let modules = serving(&[&dir]);
    let before = module(&modules, "x").compressed;
    assert!(Arc::ptr_eq(&before, &module(&modules, "x").compressed));
    dir.write("x.py", "longer than before");
    assert_eq!(text(&modules, "x"), "longer than before");
}

#[test]
fn a_directory_may_appear_after_it_was_registered() {
    let dir = Dir::new(&[]);
    let modules = Modules::default();
    modules.path(dir.path().join("later"));
    assert_eq!(modules.find("x"), Found::Missing);
    // A child asks for what may be there by then.
    assert_eq!(modules.searching().top(), ["*"]);
    dir.write("later/x.py", "here");
    assert_eq!((text(&modules, "x"), modules.searching().top()), ("here".into(), vec!["x".into()]));
}

#[test]
fn a_path_where_nothing_is_is_told_once() {
    let dir = Dir::new(&["x.py"]);
    let modules = serving(&[&dir]);
    let missing = dir.path().join("mistyped");
    modules.path(&missing);
    let mut finder = modules.searching();
    assert_eq!(finder.missing_paths(), [""; 0]);
    assert!(finder.has("x"));
    assert_eq!(finder.missing_paths(), [missing.to_str().unwrap()]);
    assert_eq!(finder.missing_paths(), [""; 0]);
    // What is registered later does not make it another.
    modules.source("y", "");
    let mut finder = modules.searching();
    assert!(finder.has("y"));
    assert_eq!(finder.missing_paths(), [""; 0]);
}

#[test]
fn links_are_followed() {
    let dir = Dir::new(&["real/x.py"]);
    std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("real/x.py"), dir.path().join("y.py")).unwrap();
    let modules = serving(&[&dir]);
    assert_eq!(text(&modules, "linked.x"), "real/x.py");
    assert_eq!(text(&modules, "y"), "real/x.py");
}

#[test]
fn compiled_files_are_refused_by_name() {
    let dir = Dir::new(&["x.pyc", "p/__init__.pyc", "ok.py", "ok.pyc"]);
    let modules = serving(&[&dir]);
    let wanted = format!(
        "{}: compiled Python without its source cannot be served",
        dir.path().join("x.pyc").display()
    );
    assert_eq!(refusal(&modules, "x"), wanted);
    assert!(refusal(&modules, "p").contains("p/__init__.pyc: compiled"));
    assert_eq!(text(&modules, "ok"), "ok.py");
}

#[test]
fn a_compiled_extension_is_refused_by_name_unless_its_source_is_beside_it() {
    let files = [
        "p/__init__.py",
        "p/fast.cpython-313-x86_64-linux-gnu.so",
        "p/stable.abi3.so",
        "p/plain.so",
        "p/windows.cp313-win_amd64.pyd",
        "p/both.cpython-313-darwin.so",
        "p/both.py",
        "p/faster.txt",
        "whole/__init__.abi3.so",
        "fast.so/x.py",
    ];
    let dir = Dir::new(&files);
    let packed = Modules::default();
    packed.archive("p.whl", zip::zip(files.map(|name| zip::stored(name, name))).bytes());
    for (modules, place) in
        [(serving(&[&dir]), dir.path().display().to_string()), (packed, "p.whl".into())]
    {
        assert_eq!(children(&modules, "p"), "both fast plain stable windows");
        for (name, file) in [
            ("p.fast", files[1]),
            ("p.stable", files[2]),
            ("p.plain", files[3]),
            ("p.windows", files[4]),
            ("whole", files[8]),
        ] {
            let reason = refusal(&modules, name);
            assert!(
                reason.starts_with(&format!(
                    "{place}/{file}: a compiled extension module cannot be served"
                )),
                "{reason}"
            );
            assert!(modules.searching().has(name));
        }
        assert_eq!(text(&modules, "p.both"), "p/both.py");
        // A name is never part of another, and a directory no file.
        for name in ["p.faster", "p.fas", "fast"] {
            assert_eq!(modules.find(name), Found::Missing, "{name}");
        }
    }
}

#[test]
fn the_names_at_the_top_are_those_of_all_roots() {
    let dir = Dir::new(&["x.py", "p/__init__.py", "n/y.py", "fast.so", "old.pyc", "not-a-name.py"]);
    dir.write("a.dist-info/METADATA", "");
    dir.write("__pycache__/x.pyc", "");
    std::os::unix::fs::symlink(dir.path().join("x.py"), dir.path().join("linked.py")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("n"), dir.path().join("linked_n")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
    let modules = serving(&[&dir]);
    modules.path("/no/such/directory").source("e.mbedded", "").data("d", "x.txt", b"");
    let top = ["*", "d", "e", "fast", "linked", "linked_n", "n", "not-a-name", "old", "p", "x"];
    assert_eq!(modules.searching().top(), top);
    assert_eq!(Modules::default().searching().top(), [""; 0]);
}

#[test]
fn one_search_sees_one_state_and_has_agrees_with_find() {
    let dir = Dir::new(&["p/__init__.py", "p/a.py", "broken.pyc"]);
    let modules = serving(&[&dir]);
    let mut finder = modules.searching();
    for (name, there) in [
        ("p", true),
        ("p.a", true),
        ("p.b", false),
        ("broken", true),
        ("q", false),
        ("q.r", false),
        ("p.a.b", false),
        ("econtext.importer", true),
        ("econtext.no", false),
        ("../p", false),
    ] {
        assert_eq!(finder.has(name), there, "{name}");
        assert_eq!(finder.find(name) != Found::Missing, there, "{name}");
    }
    dir.write("p/b.py", "");
    assert!(!finder.has("p.b") && modules.searching().has("p.b"));
}

#[test]
fn a_file_that_is_too_large_is_refused_by_name() {
    let dir = Dir::new(&["x.py"]);
    let file = fs::File::create(dir.path().join("x.py")).unwrap();
    file.set_len((64 << 20) + 1).unwrap(); // a hole, no bytes on the disk
    let reason = refusal(&serving(&[&dir]), "x");
    assert!(reason.ends_with("x.py: larger than 64 MiB, too large to be served"), "{reason}");
}

#[test]
fn names_that_are_no_module_never_reach_the_disk() {
    let dir = Dir::new(&["x.py", "p/__init__.py", "p/x.py", "__main__.py"]);
    let inner = dir.path().join("p");
    let modules = Modules::default();
    modules.path(&inner);
    let long = "x".repeat(5000);
    let deep = "x.".repeat(100_000) + "x";
    let (absolute, climbing) = (inner.join("x").display().to_string(), "..x");
    for name in
        ["", ".", "x.", ".x", "../x", "x/y", "x\0", "x y", "1x", climbing, &absolute, &long, &deep]
    {
        assert_eq!(modules.find(name), Found::Missing, "{name:.20}");
    }
}

#[test]
fn names_that_are_no_identifiers_are_found_as_python_finds_them() {
    let names =
        ["0001_initial", "my-mod", "two words", "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}", "#*"];
    let files = names.map(|name| format!("p/{name}.py"));
    let dir = Dir::new(&files.each_ref().map(|name| &**name));
    for file in ["p/__init__.py", "p/*.py", "p/a\nb.py", "p/a\\b.py", "p/\x7f.py", "p/.py"] {
        dir.write(file, "");
    }
    let packed = Modules::default();
    packed.archive("p.whl", zip::zip(files.each_ref().map(|name| zip::stored(name, name))).bytes());
    let embedded = Modules::default();
    for (name, file) in names.iter().zip(&files) {
        embedded.source(format!("p.{name}"), &**file);
    }
    for modules in [serving(&[&dir]), packed, embedded] {
        for (name, file) in names.iter().zip(&files) {
            assert_eq!(text(&modules, &format!("p.{name}")), *file);
        }
        let mut sorted = names;
        sorted.sort();
        assert_eq!(children(&modules, "p"), sorted.join(" "));
        for name in ["p.*", "p.a\nb", "p.a\\b", "p.\x7f"] {
            assert_eq!(modules.find(name), Found::Missing, "{name}");
        }
    }
}

#[test]
fn the_librarys_own_modules_cannot_be_replaced() {
    let dir = Dir::new(&["econtext/__init__.py", "econtext/channel.py", "econtext/mine.py"]);
    let modules = serving(&[&dir]);
    for (name, path, compressed) in built::MODULES {
        let found = module(&modules, name);
        assert_eq!((&*found.path, &*found.compressed), (*path, *compressed));
    }
    assert_eq!(modules.find("econtext.mine"), Found::Missing);
    assert_eq!(modules.find("econtext"), Found::Missing);
}

#[test]
fn the_main_script_is_served_up_to_its_guard_and_never_from_a_directory() {
    let dir = Dir::new(&["__main__.py"]);
    let modules = serving(&[&dir]);
    assert!(!modules.has_main());
    assert_eq!((text(&modules, "__main__"), module(&modules, "__main__").path), Default::default());
    let script = "def f():\n    pass\n\nif __name__ == '__main__':\n    f()\n";
    modules.main_script("deploy.py", script);
    assert!(modules.has_main());
    assert_eq!(text(&modules, "__main__"), "def f():\n    pass\n\n");
    assert_eq!(module(&modules, "__main__").path, "deploy.py");
    modules.main_script("work.py", "def f():\n    pass\nf()\n");
    assert!(
        refusal(&modules, "__main__").starts_with("work.py: line 3: the script would call f()")
    );
}

#[test]
#[should_panic(expected = "\"app/load.py\" cannot be the name of a module that is served")]
fn a_source_needs_the_name_of_a_module() {
    Modules::default().source("app/load.py", "");
}
