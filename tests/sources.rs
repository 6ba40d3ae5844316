//! Promise: a child imports from every kind of source by the same rules: a directory, a wheel, what the program
//! holds, and what it makes; a refusal reaches the importing code as an ImportError with its reason.

use std::process::Command;

use econtext::ModuleSource;

mod support;

use support::{Python, Run, TempDir, for_each_kind_of_python, for_each_python, isolated};

/// Packs what is in `from`, deflated, with a Python's own zipfile.
fn pack(python: &Python, from: &TempDir, to: &TempDir, name: &str) -> std::path::PathBuf {
    const PACK: &str = "
import os, sys, zipfile
archive = zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED)
for place, _, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(place, name)
        archive.write(path, os.path.relpath(path, sys.argv[1]))
archive.close()
";
    let packed = to.path().join(name);
    let mut command = Command::new(&python.path);
    command.args(["-c", PACK]).arg(from.path()).arg(&packed);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    packed
}

#[test]
fn a_package_may_have_parts_in_every_kind_of_source() {
    isolated(|| {
        let (on_disk, to_pack, packed) = (TempDir::new(), TempDir::new(), TempDir::new());
        on_disk.file("space/disk.py", "NAME = __name__\n");
        to_pack.file("space/packed.py", "from . import made\nNAME = made.NAME + '+packed'\n");
        to_pack.file("single.py", "# coding: latin-1\r\nNAME = u'\u{e9}'\r\n");
        for_each_python(|python| {
            let wheel = pack(python, &to_pack, &packed, &format!("{}.whl", python.name));
            let run = Run::start(python, |modules| {
                modules.path(on_disk.path()).path(&wheel);
                modules.finder(|name| match name {
                    "space.made" => Some(ModuleSource::module("made", "NAME = 'made'\n")),
                    "whole" => {
                        Some(ModuleSource::package("whole/__init__.py", "from .part import X\n"))
                    }
                    "whole.part" => Some(ModuleSource::module("whole/part.py", "X = 'part'\n")),
                    _ => None,
                });
                modules.source("space.embedded", "from space.packed import NAME\n");
                modules.source(
                    "uses",
                    "import space.disk, space.embedded, single, whole\n\
                     def names():\n    return ' '.join([space.disk.NAME, space.embedded.NAME, whole.X])\n\
                     def letters():\n    return ' '.join('%x' % ord(letter) for letter in single.NAME)\n\
                     def file():\n    return single.__file__\n\
                     def lacks():\n    import space.nothing\n",
                );
            });
            assert_eq!(run.text("uses:names", ()), "space.disk made+packed part");
            // UTF-8 for one letter, read as what the file says it is.
            assert_eq!(run.text("uses:letters", ()), "c3 a9");
            let file = run.text("uses:file", ());
            assert_eq!(file, format!("{}/single.py", wheel.display()));
            let error = run.context.call::<()>("uses:lacks", ()).unwrap_err().to_string();
            assert!(error.contains("No module named") && error.contains("nothing"), "{error}");
        });
    });
}

#[test]
fn a_package_that_extends_its_path_has_parts_in_two_wheels() {
    const EXTENDS: &str =
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n";
    const EITHER: &str = "try:\n    __import__('pkg_resources').declare_namespace(__name__)\n\
         except ImportError:\n    __path__ = __import__('pkgutil').extend_path(__path__, __name__)\n";
    isolated(|| {
        let (one, two, packed) = (TempDir::new(), TempDir::new(), TempDir::new());
        for dir in [&one, &two] {
            dir.file("backparts/__init__.py", EXTENDS);
            dir.file("backparts/deep/__init__.py", EITHER);
        }
        one.file("backparts/one.py", "NAME = 'one'\n");
        one.file("backparts/deep/lower.py", "NAME = 'lower'\n");
        two.file("backparts/two/__init__.py", "from backparts.one import NAME\nNAME += ' two'\n");
        two.file("backparts/two/x.txt", "x");
        two.file("backparts/deep/upper.py", "from . import lower\nNAME = lower.NAME + ' upper'\n");
        const PROGRAM: &str = "
def names():
    import backparts.two, backparts.deep.upper
    return backparts.two.NAME + ' ' + backparts.deep.upper.NAME
def listed():
    import pkgutil, backparts.deep
    names = [entry[1] for package in (backparts, backparts.deep) for entry in pkgutil.iter_modules(package.__path__)]
    return ' '.join(names + [pkgutil.get_data('backparts.two', 'x.txt').decode()])
def lacks():
    import backparts.nothing
";
        for_each_kind_of_python(|python| {
            let wheels = [(&one, "one"), (&two, "two")].map(|(dir, name)| {
                pack(python, dir, &packed, &format!("{name}-{}.whl", python.name))
            });
            let run = Run::start(python, |modules| {
                modules.path(&wheels[0]).path(&wheels[1]).source("uses", PROGRAM);
            });
            assert_eq!(run.text("uses:names", ()), "one two lower upper");
            assert_eq!(run.text("uses:listed", ()), "deep one two lower upper x");
            let error = run.context.call::<()>("uses:lacks", ()).unwrap_err().to_string();
            assert!(error.contains("No module named") && error.contains("nothing"), "{error}");
        });
    });
}

#[test]
fn a_package_falls_back_where_its_compiled_half_is_refused() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("fast/__init__.py", "try:\n    from fast._speedups import f\nexcept ImportError as error:\n    WHY = str(error)\n    def f(): return 'pure'\n");
        dir.file("fast/_speedups.cpython-313-x86_64-linux-gnu.so", "\u{7f}ELF");
        let program = "import fast\ndef pure(): return fast.f()\ndef why(): return fast.WHY\n";
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("uses", program);
            });
            assert_eq!(run.text("uses:pure", ()), "pure");
            let why = run.text("uses:why", ());
            let file = dir.path().join("fast/_speedups.cpython-313-x86_64-linux-gnu.so");
            let wanted =
                format!("{}: a compiled extension module cannot be served", file.display());
            assert!(why.starts_with(&wanted), "{why}");
        });
    });
}

#[test]
fn what_goes_wrong_with_a_source_is_an_import_error_that_says_so() {
    isolated(|| {
        let dir = TempDir::new();
        dir.file("broken.whl", "this is no archive");
        for_each_kind_of_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("tries", "def imports(name):\n    try: __import__(name)\n    except ImportError as error: return str(error)\n");
                modules.finder(|name| if name == "unlucky" { panic!("out of luck") } else { None });
                modules.path(dir.path().join("broken.whl"));
            });
            let unlucky = run.text("tries:imports", ("unlucky",));
            assert!(unlucky.contains("the program's finder panicked: out of luck"), "{unlucky}");
            let broken = run.text("tries:imports", ("anything",));
            assert!(broken.contains("broken.whl: not a zip archive"), "{broken}");
        });
    });
}

#[test]
fn data_files_come_from_every_kind_of_source() {
    isolated(|| {
        let (on_disk, to_pack, packed) = (TempDir::new(), TempDir::new(), TempDir::new());
        on_disk.file("ondisk/__init__.py", "");
        on_disk.file("ondisk/d/x.txt", "on disk\r\n");
        to_pack.file("inwheel/__init__.py", "");
        to_pack.file("inwheel/d/x.txt", "in a wheel");
        for_each_python(|python| {
            let wheel = pack(python, &to_pack, &packed, &format!("{}.whl", python.name));
            let run = Run::start(python, |modules| {
                modules.path(on_disk.path()).path(&wheel);
                modules.source("held.__init__", "").data("held", "d/x.txt", &b"held"[..]);
                modules.source("reads", "import pkgutil\ndef data(name):\n    return pkgutil.get_data(str(name), 'd/x.txt').decode()\n");
            });
            for (package, text) in
                [("ondisk", "on disk\r\n"), ("inwheel", "in a wheel"), ("held", "held")]
            {
                assert_eq!(run.text("reads:data", (package,)), text);
            }
        });
    });
}

#[test]
fn a_line_of_source_is_what_the_compiler_takes_for_one() {
    const CODE: &str = r#"
import inspect, linecache, traceback, ends

def check():
    assert inspect.getsource(ends.f) == 'def f():\n    return 1 // 0\n', inspect.getsource(ends.f)
    assert inspect.getsource(ends.g) == 'def g(): return 2 // 0\n', inspect.getsource(ends.g)
    for function in ends.f, ends.g:
        try:
            function()
        except ZeroDivisionError:
            assert '// 0' in traceback.format_exc().split('in %s' % function.__name__)[1], traceback.format_exc()
    assert linecache.getline(ends.__file__, 2) == '\x0c\n'
    try:
        import wrong
    except SyntaxError as error:
        assert error.lineno == 4 and error.text.strip() == 'def def', (error.lineno, error.text)
        return 'fine'
"#;
    isolated(|| {
        let dir = TempDir::new();
        let above = "# coding: utf-8\n\x0c\nA = u'a\u{85}\u{2028}\u{1d}\x0bb'\r\n";
        dir.file(
            "ends.py",
            format!("{above}def f():\n    return 1 // 0\r\ndef g(): return 2 // 0"),
        );
        dir.file("wrong.py", format!("{above}def def\n\nB = 1\n"));
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:check", ()), "fine");
        });
    });
}

#[test]
fn a_wrong_encoding_is_a_syntax_error_in_its_file() {
    const CODE: &str = r#"
import linecache, sys

def check(directory):
    for name, line in ('unknown', 0), ('binary', 0), ('undeclared', 2):
        for attempt in range(2):
            try:
                __import__(name)
            except SyntaxError as error:
                assert error.filename == '%s/%s.py' % (directory, name), (name, error.filename)
                assert error.lineno in (line, line or 1), (name, error.lineno)
            else:
                raise AssertionError(name)
            assert name not in sys.modules
        if sys.version_info > (3,):
            assert linecache.getlines('%s/%s.py' % (directory, name)) == []
    return 'fine'
"#;
    isolated(|| {
        let dir = TempDir::new();
        dir.file("unknown.py", "# coding: no-such\nA = 1\n");
        dir.file("binary.py", "# coding: hex\nA = 1\n");
        dir.file("undeclared.py", b"A = 1\nB = '\xe9'\n");
        let path = dir.path().to_str().unwrap();
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:check", (path,)), "fine");
        });
    });
}

#[test]
fn python_2_reads_a_source_as_if_from_a_file() {
    const CODE: &str = r#"
import sys

def check():
    import second, marked, nul, plain
    assert (second.A, marked.A, plain.A) == (u'\xe9', u'\xe9', 1) and (nul.A, nul.B) == (1, 2)
    for name, line in ('late', 1), ('later', 3), ('text', 2):
        try:
            __import__(name)
        except SyntaxError as error:
            assert error.lineno == line and "'\\xe9'" in str(error), error
        else:
            raise AssertionError(name)
    try:
        import gone
    except ImportError as error:
        assert 'gone' in str(error) and 'gone' not in sys.modules, error
        return 'fine'
"#;
    isolated(|| {
        let dir = TempDir::new();
        dir.file("second.py", b"#!python\n# vim: set fileencoding=latin-1 :\nA = u'\xe9'\n");
        dir.file("marked.py", "\u{feff}A = u'\u{e9}'\n");
        dir.file("nul.py", b"A = 1\n\0 rest\nB = 2\0 rest\n\n\0\0\0");
        dir.file("plain.py", "A = 1\r\n");
        dir.file("late.py", b"# \xe9\n# coding: latin-1\n");
        dir.file("later.py", b"#\n#\n# coding: latin-1, \xe9\n");
        dir.file("text.py", b"A = 'coding: latin-1'\nB = u'\xe9'\n");
        dir.file("gone.py", "import sys\ndel sys.modules[__name__]\n");
        for_each_python(|python| {
            if python.version.0 > 2 {
                return;
            }
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:check", ()), "fine");
        });
    });
}
