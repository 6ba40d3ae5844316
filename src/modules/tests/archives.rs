//! Promise: a wheel or another zip file is as good as a directory; what is wrong with one is said with its
//! name and the entry's, whatever its bytes are.

use std::process::{Command, Stdio};

use super::zip::{Entry, deflated, stored, zip};
use super::*;

fn held(bytes: Vec<u8>) -> Modules {
    let modules = Modules::default();
    modules.archive("app.whl", bytes);
    modules
}

#[test]
fn modules_packages_and_their_children_are_found_in_an_archive() {
    let entries =
        ["one.py", "app/__init__.py", "app/load.py", "app/sub/__init__.py", "n/deep/x.py"];
    let mut entries: Vec<Entry> = entries.iter().map(|name| deflated(name, name)).collect();
    entries.extend([stored("two.py", "two.py"), stored("empty/", ""), stored("app/x.pyc", "")]);
    entries.push(stored("app/fast.cpython-313-x86_64-linux-gnu.so", ""));
    let dir = Dir::new(&[]);
    dir.write("app.whl", zip(entries).bytes());
    let modules = Modules::default();
    let file = dir.path().join("app.whl");
    modules.path(&file);
    let shown = |inner: &str| format!("{}/{inner}", file.display());
    for (name, path) in [
        ("one", "one.py"),
        ("two", "two.py"),
        ("app", "app/__init__.py"),
        ("app.load", "app/load.py"),
        ("app.sub", "app/sub/__init__.py"),
        ("n.deep.x", "n/deep/x.py"),
    ] {
        assert_eq!(text(&modules, name), path, "{name}");
        assert_eq!(module(&modules, name).path, shown(path));
    }
    assert_eq!(children(&modules, "app"), "fast load sub x");
    assert_eq!((children(&modules, "n"), children(&modules, "empty")), ("deep".into(), "".into()));
    assert_eq!(module(&modules, "n").path, shown("n"));
    assert_eq!(modules.searching().top(), ["app", "empty", "n", "one", "two"]);
    assert_eq!(
        refusal(&modules, "app.x"),
        shown("app/x.pyc") + ": compiled Python without its source cannot be served"
    );
    assert!(refusal(&modules, "app.fast").starts_with(&shown("app/fast.cpython-313-x")));
    for name in ["three", "app.three", "one.two", "app.load.two"] {
        assert_eq!(modules.find(name), Found::Missing, "{name}");
    }
}

#[test]
fn directories_without_init_merge_over_roots_of_all_kinds() {
    let dir = Dir::new(&["n/on_disk.py", "n/both.py"]);
    let modules = serving(&[&dir]);
    modules.archive("n.zip", zip([stored("n/packed.py", "p"), stored("n/both.py", "p")]).bytes());
    modules.source("n.embedded", "");
    assert_eq!(children(&modules, "n"), "both embedded on_disk packed");
    modules.finder(|name| (name == "n.made").then(|| ModuleSource::module("made", "made")));
    assert_eq!(children(&modules, "n"), "* both embedded on_disk packed");
    assert_eq!((text(&modules, "n.packed"), text(&modules, "n.made")), ("p".into(), "made".into()));
    assert_eq!(text(&modules, "n.both"), "n/both.py");
    // A package with an `__init__.py` in an archive takes it all, too.
    modules.archive("regular.zip", zip([stored("n/__init__.py", "whole")]).bytes());
    assert_eq!((text(&modules, "n"), children(&modules, "n")), ("whole".into(), "embedded".into()));
    assert_eq!(modules.find("n.on_disk"), Found::Missing);
}

#[test]
fn packages_that_extend_their_path_merge_over_roots_of_all_kinds() {
    const INIT: &str = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n";
    let dir = Dir::new(&["p/on_disk.py"]);
    dir.write("p/__init__.py", INIT);
    let archive = || zip([deflated("p/__init__.py", INIT), stored("p/packed.py", "p")]).bytes();
    for first in 0..3 {
        let modules = Modules::default();
        for kind in [0, 1, 2, 0, 1, 2].into_iter().skip(first).take(3) {
            match kind {
                0 => modules.path(dir.path()),
                1 => modules.archive("p.whl", archive()),
                _ => modules.source("p", INIT).source("p.embedded", ""),
            };
        }
        assert_eq!(children(&modules, "p"), "embedded on_disk packed");
        assert_eq!(text(&modules, "p"), INIT);
        assert_eq!(text(&modules, "p.on_disk"), "p/on_disk.py");
        assert_eq!(text(&modules, "p.packed"), "p");
    }
}

#[test]
fn bytes_before_an_archive_a_comment_and_64_bits_are_no_matter() {
    let entries = || [deflated("x.py", "x = 1"), stored("p/__init__.py", "p = 1")];
    for wide in [false, true] {
        for before in [&b""[..], b"#!/usr/bin/env python3\n"] {
            for comment in [&b""[..], b"PK\x05\x06 is how it ends", &[b'.'; 0xffff]] {
                let mut zip = zip(entries());
                (zip.wide, zip.before, zip.comment) = (wide, before.into(), comment.into());
                let modules = held(zip.bytes());
                assert_eq!(
                    (text(&modules, "x"), text(&modules, "p")),
                    ("x = 1".into(), "p = 1".into())
                );
            }
        }
    }
}

#[test]
fn what_is_wrong_with_an_entry_is_said_with_its_name() {
    let text = "x = 1\n".repeat(100);
    type Damage = fn(&mut Entry);
    let of = |change: Damage, mut entry: Entry| {
        change(&mut entry);
        let modules = held(zip([entry, stored("y.py", "fine")]).bytes());
        assert_eq!(super::text(&modules, "y"), "fine");
        refusal(&modules, "x")
    };
    let deflated = || deflated("x.py", &text);
    let stored = || stored("x.py", &text);
    let damaged = "app.whl/x.py: damaged: its checksum is wrong";
    assert_eq!(of(|x| x.crc ^= 1, stored()), damaged);
    let cases: [(Damage, Entry, &str); 9] = [
        (|x: &mut Entry| x.crc ^= 1, deflated(), "does not inflate to what it should"),
        (|x| x.size -= 1, deflated(), "does not inflate to what it should"),
        (|x| x.size += 1, deflated(), "does not inflate to what it should"),
        (|x| x.packed.truncate(9), deflated(), "does not inflate"),
        (|x| x.size = 65 << 20, deflated(), "its sizes contradict each other"),
        (|x| x.size += 1, stored(), "its sizes contradict each other"),
        (|x| x.flags = 1, stored(), "encrypted, and cannot be served"),
        (|x| x.method = 12, stored(), "compressed with method 12, which is not supported"),
        (|x| x.shift = 1, stored(), "no such entry is where it should be"),
    ];
    for (change, entry, wanted) in cases {
        let reason = of(change, entry);
        assert!(reason.starts_with("app.whl/x.py: ") && reason.ends_with(wanted), "{reason}");
    }
}

#[test]
fn an_entry_within_another_is_refused() {
    // The second is stored whole in the first, and the directory says where.
    let inner = zip([stored("y.py", "inner")]).bytes();
    let outer = stored("x.py", &inner);
    let mut hidden = stored("y.py", "inner");
    hidden.shift = -(inner.len() as i64);
    let modules = held(zip([outer, hidden]).bytes());
    assert_eq!(refusal(&modules, "x"), "app.whl/x.py: overlaps what follows it");
}

#[test]
fn a_source_above_64_mib_is_refused_and_not_inflated() {
    let text = vec![b'#'; (64 << 20) + 1];
    let reason = refusal(&held(zip([deflated("x.py", &text)]).bytes()), "x");
    assert_eq!(reason, "app.whl/x.py: larger than 64 MiB, too large to be served");
}

#[test]
fn names_that_lead_out_of_an_archive_are_not_in_it() {
    let names =
        ["/a.py", "../b.py", "p/../c.py", "./d.py", "p//e.py", "p/f\0.py", "/", "", "p/./g/"];
    let modules = held(zip(names.map(|name| stored(name, ""))).bytes());
    assert_eq!(modules.searching().top(), [""; 0]);
}

#[test]
fn what_is_no_archive_says_so_to_whoever_asks_for_what_may_be_in_it() {
    let dir = Dir::new(&["x.py", "no.whl", "shared/part.py"]);
    dir.write(
        "shared/__init__.py",
        "__path__ = __import__('pkgutil').extend_path(__path__, __name__)",
    );
    let modules = serving(&[&dir]);
    modules.path(dir.path().join("no.whl"));
    modules.source("behind", "");
    assert_eq!(text(&modules, "x"), "x.py");
    let file = dir.path().join("no.whl").display().to_string();
    let wanted = format!("{file}: not a zip archive, or one that is cut off");
    assert_eq!(refusal(&modules, "other"), wanted);
    assert_eq!(refusal(&modules, "behind"), wanted);
    assert_eq!(modules.searching().top(), ["*", "behind", "shared", "x"]);
    // It might have everything; that is no reason to send reasons ahead for every name.
    let mut finder = modules.searching();
    for (name, there) in [
        ("x", true),
        ("behind", true),
        ("other", false),
        ("os.path", false),
        ("x.y", false),
        ("shared", true),
        ("shared.part", true),
        ("shared.other", false),
    ] {
        assert_eq!(finder.has(name), there, "{name}");
    }
    // Nothing is remembered of it once there is another file.
    dir.write("no.whl", zip([stored("other.py", "at last")]).bytes());
    assert_eq!((text(&modules, "other"), text(&modules, "behind")), ("at last".into(), "".into()));
    dir.write("no.whl", zip([deflated("other.py", "changed again")]).bytes());
    assert_eq!(text(&modules, "other"), "changed again");
    fs::remove_file(dir.path().join("no.whl")).unwrap();
    assert_eq!(modules.find("other"), Found::Missing);
}

#[test]
fn an_archive_that_changes_during_a_search_is_not_read_at_old_places() {
    let dir = Dir::new(&[]);
    dir.write("a.zip", zip([stored("x.py", "x"), stored("y.py", "y")]).bytes());
    let modules = Modules::default();
    modules.path(dir.path().join("a.zip"));
    let mut finder = modules.searching();
    assert!(finder.has("x") && finder.has("y"));
    dir.write("a.zip", zip([stored("another.py", "longer"), stored("y.py", "z")]).bytes());
    let Found::Refused(reason) = finder.find("y") else { panic!("read at an old place") };
    assert!(reason.ends_with("a.zip/y.py: the archive changed while it was read"), "{reason}");
}

/// Everything that can be asked of an archive.
fn ask_all(bytes: Vec<u8>) -> Result<(), String> {
    let modules = held(bytes);
    let mut finder = modules.searching();
    for name in finder.top() {
        finder.find(&name);
    }
    for (package, path) in [("p", "d.txt"), ("p", ""), ("", ""), ("", "a.dist-info/METADATA")] {
        if let Some(data @ Data::File { .. }) = finder.data(package, path)? {
            data.read(0, 3)?;
            data.read(3, 1 << 20)?;
        }
    }
    match finder.find("p.x") {
        Found::Refused(reason) => Err(reason),
        Found::Module(_) | Found::Missing => Ok(()),
    }
}

#[test]
fn a_zip_cut_or_changed_anywhere_gives_a_result_or_a_reason() {
    for wide in [false, true] {
        let mut zip = zip([
            deflated("p/x.py", "x = 1\n".repeat(20)),
            stored("p/__init__.py", ""),
            deflated("p/d.txt", "data\n".repeat(20)),
            stored("a.dist-info/METADATA", "Name: a\n"),
        ]);
        zip.wide = wide;
        let whole = zip.bytes();
        ask_all(whole.clone()).unwrap();
        for length in 0..whole.len() {
            let reason = ask_all(whole[..length].to_vec()).unwrap_err();
            assert!(reason.starts_with("app.whl: not a zip archive"), "{length}: {reason}");
        }
        let mut said = 0;
        for at in 0..whole.len() {
            for byte in
                [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1, whole[at] ^ 0x80, whole[at].wrapping_add(1)]
            {
                let mut changed = whole.clone();
                changed[at] = byte;
                if let Err(reason) = ask_all(changed) {
                    assert!(reason.starts_with("app.whl"), "{at}: {reason}");
                    said += 1;
                }
            }
        }
        assert!(said > whole.len(), "{said} of {} bytes told", whole.len());
    }
}

#[test]
fn what_pythons_own_zipfile_writes_is_read() {
    const WRITE: &str = "
import sys, zipfile
for number, how in enumerate([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]):
    with zipfile.ZipFile('%s/%d.zip' % (sys.argv[1], number), 'w', how) as archive:
        archive.comment = b'why not'
        for name in ['__init__.py', 'x.py', 'sub/__init__.py', 'long.py', 'empty.txt']:
            text = '' if name == 'empty.txt' else 'name = %r\\n' % name
            archive.writestr('p%d/%s' % (number, name), text * (9999 if name == 'long.py' else 1))
        with archive.open('p%d/streamed.py' % number, 'w', force_zip64=True) as entry:
            entry.write(b'streamed = 1\\n')
";
    let dir = Dir::new(&[]);
    let mut python = Command::new("python3");
    python.args(["-I", "-c", WRITE]).arg(dir.path()).stdin(Stdio::null());
    match python.output() {
        Err(error) => return eprintln!("left out: python3: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{python:?}: {}: {said}", output.status);
        }
    }
    let modules = Modules::default();
    modules.path(dir.path().join("0.zip")).path(dir.path().join("1.zip"));
    for package in ["p0", "p1"] {
        assert_eq!(children(&modules, package), "long streamed sub x");
        assert_eq!(text(&modules, package), "name = '__init__.py'\n");
        assert_eq!(text(&modules, &format!("{package}.sub")), "name = 'sub/__init__.py'\n");
        assert_eq!(text(&modules, &format!("{package}.streamed")), "streamed = 1\n");
        assert_eq!(text(&modules, &format!("{package}.long")), "name = 'long.py'\n".repeat(9999));
        let data = modules.searching().data(package, "empty.txt").unwrap().unwrap();
        assert!(matches!(data, Data::File { size: 0, .. }));
        assert_eq!(data.read(0, 10), Ok(Vec::new()));
    }
}
