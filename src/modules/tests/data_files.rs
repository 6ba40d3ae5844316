//! Promise: the data files of what is served can be read and listed, in pieces of any size, from every kind
//! of root; nothing beside a package can, and of the roots only what describes distributions.

use super::zip::{deflated, stored, zip};
use super::*;

#[track_caller]
fn file(modules: &Modules, package: &str, path: &str) -> Data {
    match modules.searching().data(package, path) {
        Ok(Some(data @ Data::File { .. })) => data,
        Ok(Some(Data::Listing { .. })) => panic!("{package}/{path} is a directory"),
        Ok(None) => panic!("{package}/{path} is not there"),
        Err(reason) => panic!("{package}/{path}: {reason}"),
    }
}

/// Its text, read in pieces of two lengths, and what it says of its size and place.
#[track_caller]
fn read(modules: &Modules, package: &str, path: &str) -> (String, String) {
    let data = file(modules, package, path);
    let Data::File { shown, size, .. } = &data else { unreachable!() };
    let whole = data.read(0, 1 << 20).unwrap();
    assert_eq!(whole.len() as u64, *size);
    let mut pieces = Vec::new();
    for offset in (0..=*size).step_by(3) {
        pieces.extend(data.read(offset, 3).unwrap());
    }
    assert_eq!(pieces, whole);
    assert_eq!(data.read(size + 1, 3), Ok(Vec::new()));
    assert_eq!(data.read(u64::MAX, usize::MAX), Ok(Vec::new()));
    (String::from_utf8(whole).unwrap(), shown.clone())
}

#[track_caller]
fn listing(modules: &Modules, package: &str, path: &str) -> String {
    match modules.searching().data(package, path) {
        Ok(Some(Data::Listing { entries, .. })) => entries.join(" "),
        Ok(Some(Data::File { .. })) => panic!("{package}/{path} is a file"),
        Ok(None) => panic!("{package}/{path} is not there"),
        Err(reason) => panic!("{package}/{path}: {reason}"),
    }
}

#[track_caller]
fn nothing(modules: &Modules, package: &str, path: &str) {
    let found = modules.searching().data(package, path);
    assert!(matches!(found, Ok(None)), "{package:?} {path:?}");
}

/// The same files in a directory, an archive, and the program.
fn everywhere(files: &[(&str, &str)]) -> [(Modules, String, Option<Dir>); 3] {
    let dir = Dir::new(&[]);
    let (on_disk, packed, embedded) = <(Modules, Modules, Modules)>::default();
    for (name, text) in files {
        dir.write(name, text);
        let (package, rest) = name.split_once('/').unwrap();
        match name.strip_suffix(".py") {
            Some(module) => embedded.source(module.replace('/', "."), *text),
            None if package.ends_with("-info") => embedded.data("", name, text.as_bytes().to_vec()),
            None => embedded.data(package, rest, text.as_bytes().to_vec()),
        };
    }
    on_disk.path(dir.path());
    let entries = files.iter().enumerate().map(|(number, (name, text))| {
        if number % 2 == 0 { stored(name, text) } else { deflated(name, text) }
    });
    packed.archive("a.whl", zip(entries).bytes());
    let place = format!("{}/", dir.path().display());
    [
        (on_disk, place, Some(dir)),
        (packed, "a.whl/".to_owned(), None),
        (embedded, String::new(), None),
    ]
}

#[test]
fn files_are_read_and_listed_in_every_kind_of_root() {
    for (modules, place, _dir) in everywhere(
        &[
            ("p/__init__.py", "init = 1\n"),
            ("p/m.py", "m = 1\n"),
            ("p/some data.txt", "some data"),
            ("p/more.txt", "more data than before"),
            ("p/sub/__init__.py", ""),
            ("p/sub/in/deep.txt", "deep"),
            ("p/static/v1.2/a.css", "a {}"),
            ("p/.hidden", "hidden"),
            ("p/static/.git/config", "hidden"),
            ("n/x.txt", "x"),
        ]
        .into_iter()
        // The program cannot register what cannot be seen.
        .filter(|(name, _)| !name.contains("/."))
        .collect::<Vec<_>>(),
    ) {
        for (package, path, text) in [
            ("p", "some data.txt", "some data"),
            ("p", "more.txt", "more data than before"),
            ("p", "m.py", "m = 1\n"),
            ("p", "__init__.py", "init = 1\n"),
            ("p", "sub/__init__.py", ""),
            ("p", "sub/in/deep.txt", "deep"),
            ("p.sub", "in/deep.txt", "deep"),
            ("p", "static/v1.2/a.css", "a {}"),
            ("n", "x.txt", "x"),
        ] {
            let shown = format!("{place}{}/{path}", package.replace('.', "/"));
            assert_eq!(read(&modules, package, path), (text.to_owned(), shown));
        }
        let whole = "__init__.py m.py more.txt some data.txt static/ sub/__init__.py";
        assert_eq!(listing(&modules, "p", ""), whole);
        assert_eq!(listing(&modules, "p", "sub/"), "__init__.py in/");
        assert_eq!(listing(&modules, "p.sub", ""), "__init__.py in/");
        assert_eq!(listing(&modules, "p", "static/"), "v1.2/");
        assert_eq!(listing(&modules, "p", "static/v1.2/"), "a.css");
        assert_eq!(listing(&modules, "n", ""), "x.txt");
        for (package, path) in [
            ("p", "no.txt"),
            ("p", "no/"),
            ("p", "sub"),
            ("p", "more.txt/"),
            ("p", "more.txt/x"),
            ("p.m", ""),
            ("p.m", "more.txt"),
            ("no", ""),
            ("no", "x"),
            ("p.no", "x"),
            ("", "p/m.py"),
        ] {
            nothing(&modules, package, path);
        }
    }
}

#[test]
fn no_path_leads_out_of_a_package_or_to_what_is_hidden() {
    let dir =
        Dir::new(&["secret.txt", "p/__init__.py", "p/.env", "p/.git/config", "p/d/x.txt", "x.py"]);
    dir.write("a.dist-info/METADATA", "Name: a");
    let outside = dir.path().join("secret.txt").display().to_string();
    let absolute = outside.clone() + "/";
    let long = "x".repeat(100_000);
    let deep = "d/".repeat(100_000);
    let packed = Modules::default();
    packed.archive(
        "a.whl",
        zip([
            "secret.txt",
            "p/__init__.py",
            "p/.env",
            "p/.git/config",
            "p/d/x.txt",
            "a.dist-info/METADATA",
        ]
        .map(|name| stored(name, name)))
        .bytes(),
    );
    for modules in [serving(&[&dir]), packed] {
        for path in [
            "../secret.txt",
            "d/../../secret.txt",
            "d/..",
            "..",
            "../",
            ".",
            "./",
            "./d/x.txt",
            "d/./x.txt",
            "/",
            "//",
            "d//x.txt",
            "/d/x.txt",
            "d/x.txt//",
            ".env",
            ".git/",
            ".git/config",
            "d/\0",
            "d/x.txt\0",
            &outside,
            &absolute,
            &long,
            &deep,
        ] {
            for package in [
                "p", "", "p.d", ".", "..", "p.", "/", "p/d", "\0", "p/..", "__main__", "econtext",
                "x",
            ] {
                nothing(&modules, package, path);
            }
        }
        for path in [
            "secret.txt",
            "x.py",
            "p/d/x.txt",
            "p/",
            "a.dist-info/../secret.txt",
            "a.dist-info/../p/__init__.py",
            "a.dist-info",
            ".dist-info/",
            "x/.dist-info/",
        ] {
            nothing(&modules, "", path);
        }
        assert_eq!(listing(&modules, "p", ""), "__init__.py d/");
        assert_eq!(listing(&modules, "", ""), "a.dist-info/");
    }
}

#[test]
fn links_are_followed_and_those_that_lead_nowhere_are_not_listed() {
    let dir = Dir::new(&["p/__init__.py", "p/real.txt", "other/__init__.py", "other/x.txt"]);
    for (target, link) in [
        ("real.txt", "p/linked.txt"),
        ("../other", "p/linked"),
        ("nowhere", "p/dangling"),
        ("round", "p/round"),
    ] {
        std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
    }
    let modules = serving(&[&dir]);
    assert_eq!(listing(&modules, "p", ""), "__init__.py linked/__init__.py linked.txt real.txt");
    assert_eq!(read(&modules, "p", "linked.txt").0, "p/real.txt");
    assert_eq!(read(&modules, "p", "linked/x.txt").0, "other/x.txt");
    nothing(&modules, "p", "dangling");
}

#[test]
fn what_describes_distributions_is_seen_in_all_roots() {
    let files =
        [("a-1.dist-info/METADATA", "Name: a"), ("a-1.dist-info/licenses/L", "l"), ("p/x.py", "")];
    for (modules, place, _dir) in everywhere(&files) {
        modules.archive(
            "b.egg",
            zip([stored("b.egg-info/PKG-INFO", "Name: b"), stored("c.egg-info", "")]).bytes(),
        );
        assert_eq!(listing(&modules, "", ""), "a-1.dist-info/ b.egg-info/");
        assert_eq!(listing(&modules, "", "a-1.dist-info/"), "METADATA licenses/");
        let shown = place + "a-1.dist-info/METADATA";
        assert_eq!(read(&modules, "", "a-1.dist-info/METADATA"), ("Name: a".to_owned(), shown));
        assert_eq!(read(&modules, "", "a-1.dist-info/licenses/L").0, "l");
        assert_eq!(read(&modules, "", "b.egg-info/PKG-INFO").0, "Name: b");
        nothing(&modules, "", "c.egg-info");
    }
    assert_eq!(listing(&Modules::default(), "", ""), "");
}

#[test]
fn a_package_without_init_has_the_data_of_all_its_parts() {
    let (one, two) = (Dir::new(&["n/a.txt", "n/both.txt"]), Dir::new(&["n/both.txt", "n/d/c.txt"]));
    two.write("n/both.txt", "second");
    let modules = Modules::default();
    modules.data("n", "early.txt", &b"early"[..]);
    modules.path(one.path()).path(two.path());
    modules.data("n", "early.txt", &b"late"[..]).data("n", "both.txt", &b"late"[..]);
    modules.archive(
        "c.zip",
        zip([deflated("n/packed.txt", "packed"), stored("n/d/__init__.py", "")]).bytes(),
    );
    assert_eq!(listing(&modules, "n", ""), "a.txt both.txt d/__init__.py early.txt packed.txt");
    for (path, text) in [
        ("early.txt", "early"),
        ("both.txt", "n/both.txt"),
        ("packed.txt", "packed"),
        ("d/c.txt", "n/d/c.txt"),
    ] {
        assert_eq!(read(&modules, "n", path).0, text);
    }
}

#[test]
fn a_package_that_extends_its_path_has_the_data_of_all_its_parts() {
    const INIT: &str = "import pkg_resources\npkg_resources.declare_namespace(__name__)\n";
    let dir = Dir::new(&["p/both.txt", "p/a.txt"]);
    dir.write("p/__init__.py", INIT);
    let modules = serving(&[&dir]);
    let entries =
        [("p/__init__.py", "# packed"), ("p/both.txt", "packed"), ("p/d/c.txt", "packed")];
    modules.archive("c.zip", zip(entries.map(|(name, text)| stored(name, text))).bytes());
    assert_eq!(listing(&modules, "p", ""), "__init__.py a.txt both.txt d/");
    for (path, text) in [("__init__.py", INIT), ("both.txt", "p/both.txt"), ("d/c.txt", "packed")] {
        assert_eq!(read(&modules, "p", path).0, text);
    }
}

#[test]
fn embedded_data_joins_a_package_on_disk_or_makes_one() {
    let dir = Dir::new(&["app/__init__.py", "app/x.txt", "lone.py"]);
    let modules = serving(&[&dir]);
    modules.data("app", "x.txt", &b"later"[..]).data("app", "t/new.txt", b"new");
    modules.data("made.here", "x.txt", Vec::from("made"));
    assert_eq!(listing(&modules, "app", ""), "__init__.py t/ x.txt");
    assert_eq!(
        (read(&modules, "app", "x.txt").0, read(&modules, "app", "t/new.txt").0),
        ("app/x.txt".into(), "new".into())
    );
    assert_eq!(
        (children(&modules, "made"), children(&modules, "made.here")),
        ("here".into(), "".into())
    );
    assert_eq!(read(&modules, "made.here", "x.txt").0, "made");
    assert_eq!(listing(&modules, "made", ""), "here/");
}

#[test]
fn a_package_made_by_a_closure_has_its_own_file_and_what_is_embedded() {
    let modules = Modules::default();
    modules.finder(|name| (name == "made").then(|| ModuleSource::package("made!", "text")));
    modules.data("made", "x.txt", &b"x"[..]);
    assert_eq!(listing(&modules, "made", ""), "__init__.py x.txt");
    assert_eq!(read(&modules, "made", "__init__.py"), ("text".to_owned(), "made!".to_owned()));
}

#[test]
fn a_large_entry_is_read_in_pieces_in_any_order_by_many_at_once() {
    let numbers = (0..1_000_000_u32).flat_map(|number| number.wrapping_mul(number).to_le_bytes());
    let text: Vec<u8> = numbers.collect();
    let modules = Modules::default();
    modules.archive(
        "a.zip",
        zip([stored("p/__init__.py", ""), deflated("p/x.bin", &text), stored("p/y.bin", &text)])
            .bytes(),
    );
    const PIECE: usize = 1 << 20;
    for name in ["x.bin", "y.bin"] {
        std::thread::scope(|scope| {
            for first in 0..6 {
                let (modules, text) = (&modules, &text);
                scope.spawn(move || {
                    let data = file(modules, "p", name);
                    let pieces = text.len().div_ceil(PIECE);
                    for piece in (0..pieces).map(|piece| (piece + first) % pieces) {
                        let offset = piece * PIECE;
                        let wanted = &text[offset..text.len().min(offset + PIECE)];
                        assert!(
                            data.read(offset as u64, PIECE).unwrap() == wanted,
                            "piece {piece}"
                        );
                    }
                });
            }
        });
    }
}

#[test]
fn what_is_wrong_with_a_packed_file_is_said_when_it_is_read() {
    let mut damaged = deflated("p/x.txt", "x".repeat(1000));
    damaged.crc ^= 1;
    let mut encrypted = stored("p/y.txt", "y");
    encrypted.flags = 1;
    let mut bomb = deflated("p/z.txt", "z");
    bomb.size = 4_000_000_000;
    let modules = Modules::default();
    modules.archive("a.zip", zip([damaged, encrypted, bomb]).bytes());
    let data = file(&modules, "p", "x.txt");
    assert_eq!(data.read(0, 999).map(|text| text.len()), Ok(999));
    let wanted = "a.zip/p/x.txt: damaged: it does not inflate to what it should";
    assert_eq!(data.read(999, 10), Err(wanted.to_owned()));
    for (path, wanted) in [
        ("y.txt", "a.zip/p/y.txt: encrypted, and cannot be served"),
        ("z.txt", "a.zip/p/z.txt: its sizes contradict each other"),
    ] {
        let reason = modules.searching().data("p", path).err();
        assert_eq!(reason.as_deref(), Some(wanted));
    }
}

#[test]
fn what_is_denied_is_no_data_either() {
    let dir = Dir::new(&[
        "app/__init__.py",
        "app/x.txt",
        "app/secrets/__init__.py",
        "app/secrets/key.py",
        "app/other.py",
        "app/other.pyc",
        "app/__pycache__/other.cpython-313.pyc",
    ]);
    let modules = serving(&[&dir]);
    modules.deny(["app.secrets", "app.other"]);
    assert_eq!(read(&modules, "app", "x.txt").0, "app/x.txt");
    assert_eq!(listing(&modules, "app", ""), "__init__.py x.txt");
    for (package, path) in [
        ("app", "secrets/key.py"),
        ("app", "secrets/"),
        ("app", "secrets/__init__.py"),
        ("app", "other.py"),
        ("app", "other.pyc"),
        ("app", "__pycache__/other.cpython-313.pyc"),
        ("app", "__pycache__/"),
        ("app.__pycache__", "other.cpython-313.pyc"),
        ("app.__pycache__", ""),
        ("app.secrets", ""),
        ("app.secrets", "key.py"),
    ] {
        nothing(&modules, package, path);
    }
}

#[test]
fn of_what_merely_leads_to_what_is_allowed_only_the_code_is_served() {
    for (modules, _, _dir) in everywhere(&[
        ("app/__init__.py", "app"),
        ("app/tasks.py", "tasks"),
        ("app/secrets.py", "secrets"),
        ("app/x.txt", "x"),
        ("app/secret/__init__.py", "secret"),
        ("app/secret/key.txt", "key"),
        ("app/lib/__init__.py", "lib"),
        ("app/lib/x.txt", "x"),
        ("app/lib/part/__init__.py", "part"),
        ("app/lib/part/data/y.txt", "y"),
        ("n/x.txt", "x"),
    ]) {
        modules.allow(["app.tasks", "app.lib.part"]);
        for (package, path, text) in [
            ("app", "__init__.py", "app"),
            ("app", "tasks.py", "tasks"),
            ("app", "lib/__init__.py", "lib"),
            ("app.lib", "__init__.py", "lib"),
            ("app", "lib/part/data/y.txt", "y"),
            ("app.lib.part", "data/y.txt", "y"),
        ] {
            assert_eq!(read(&modules, package, path).0, text, "{package} {path}");
        }
        for (package, path) in [
            ("app", "secrets.py"),
            ("app", "x.txt"),
            ("app", "secret/"),
            ("app", "secret/__init__.py"),
            ("app", "secret/key.txt"),
            ("app.secret", "key.txt"),
            ("app", "lib/x.txt"),
            ("app.lib", "x.txt"),
            ("n", "x.txt"),
            ("n", ""),
        ] {
            nothing(&modules, package, path);
        }
        assert_eq!(listing(&modules, "app", ""), "__init__.py lib/__init__.py tasks.py");
        assert_eq!(listing(&modules, "app", "lib/"), "__init__.py part/__init__.py");
        assert_eq!(listing(&modules, "app.lib.part", ""), "__init__.py data/");
    }
}

#[test]
fn data_needs_the_name_of_a_file() {
    for (package, path) in [
        ("app", ""),
        ("app", "x/"),
        ("app", "../x"),
        ("app", "/x"),
        ("app", ".x"),
        ("app", "a//b"),
        ("app", "__pycache__/a.pyc"),
        ("", "x.txt"),
        ("", "a.dist-info"),
        ("", "app/x.txt"),
        ("app/x", "y"),
        ("econtext", "x"),
        ("__main__", "x"),
    ] {
        let modules = Modules::default();
        let register = std::panic::AssertUnwindSafe(|| {
            modules.data(package, path, b"");
        });
        assert!(std::panic::catch_unwind(register).is_err(), "{package:?} {path:?}");
    }
}
