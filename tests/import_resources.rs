//! Promise: the data files of served packages are read through the standard interfaces, each from the
//! version that asks the loader for them, and a file's size does not matter.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

mod support;

use support::{
    Python, Run, TempDir, for_each_kind_of_python, for_each_python, interpreters, isolated,
};

/// A package with data of several kinds, another in it, and one without `__init__.py`.
fn package(dir: &TempDir) {
    dir.file("pkg/__init__.py", "");
    dir.file(
        "pkg/mod.py",
        "import pkgutil\ndef data(): return pkgutil.get_data(__name__, 'data.bin')\n",
    );
    dir.file("pkg/data.bin", [0, 10, 13, 10, 26, 255]);
    dir.file("pkg/empty", "");
    dir.file("pkg/text/caf\u{e9}.txt", "na\u{ef}ve\n");
    dir.file("pkg/text/deep/er/a.txt", "a\n");
    dir.file("pkg/.hidden", "secret");
    dir.file("pkg/sub/__init__.py", "");
    dir.file("pkg/sub/x.txt", "x");
    dir.file("beside.txt", "not in a package");
    dir.file("space/name.txt", "served\n");
    dir.file("space/inner/__init__.py", "");
    dir.file("space/inner/y.txt", "y");
}

/// What is in that directory, in a zip file.
fn archive(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("all.zip");
    let is_python = |python: &&Python| python.name.starts_with("python3");
    let python = interpreters().iter().rfind(is_python).expect("a Python 3");
    let mut command = Command::new(&python.path);
    command.args(["-m", "zipfile", "-c"]).arg(&path).args(["pkg", "space", "beside.txt"]);
    assert!(command.current_dir(dir.path()).status().unwrap().success());
    path
}

#[test]
fn loaders_give_data_by_the_names_that_modules_show() {
    const CODE: &str = r#"
import errno, os, pkgutil, sys
import pkg.mod, pkg.sub, space.inner

BINARY = b'\x00\n\r\n\x1a\xff'

def check():
    assert pkgutil.get_data('pkg', 'data.bin') == BINARY
    assert pkgutil.get_data('pkg', 'empty') == b''
    assert pkgutil.get_data('pkg', 'text/deep/er/a.txt') == b'a\n'
    assert pkgutil.get_data('pkg.sub', 'x.txt') == pkgutil.get_data('pkg', 'sub/x.txt') == b'x'
    assert pkgutil.get_data('pkg.sub', '../data.bin') == BINARY
    assert pkgutil.get_data('space.inner', 'y.txt') == b'y'
    assert pkg.mod.data() == BINARY
    accented = b'text/caf\xc3\xa9.txt'
    accented = accented if str is bytes else accented.decode('utf-8')
    assert pkgutil.get_data('pkg', accented) == b'na\xc3\xafve\n'
    loader = pkg.__loader__
    for directory in os.path.dirname(pkg.__file__), pkg.__path__[0]:
        assert loader.get_data(os.path.join(directory, 'data.bin')) == BINARY
    assert b'import pkgutil' in loader.get_data(pkg.mod.__file__)
    for path in ('absent', 'text', 'text/', '', '.hidden', '../beside.txt', 'text/../../beside.txt', 'data.bin/x',
                 '../../../../../../etc/passwd', 'a\nb', 'data.bin\n1', 'x' * 5000, 'x/' * 3000, '\0'):
        path = os.path.join(os.path.dirname(pkg.__file__), path)
        try:
            loader.get_data(path)
        except IOError as error:
            assert error.errno == errno.ENOENT and error.filename == path, error
        else:
            raise AssertionError(path)
    if sys.version_info > (3,):
        for path in '/etc/passwd', '\udcff', pkg.__path__[0] + '/\udcff':
            try:
                loader.get_data(path)
            except FileNotFoundError:
                continue
            raise AssertionError(path)
    return 'fine'
"#;
    isolated(|| {
        let dir = TempDir::new();
        package(&dir);
        let archive = archive(&dir);
        for_each_python(|python| {
            for place in [dir.path(), &archive] {
                let run = Run::start(python, |modules| {
                    modules.path(place).source("app", CODE);
                });
                assert_eq!(run.text("app:check", ()), "fine");
            }
        });
    });
}

#[test]
fn importlib_resources_reads_them() {
    const CODE: &str = r#"
import sys, warnings
import pkg.sub, space
warnings.simplefilter('ignore')

BINARY = b'\x00\n\r\n\x1a\xff'

def legacy():
    from importlib import resources
    if not hasattr(resources, 'open_binary'):
        return
    with resources.open_binary('pkg', 'data.bin') as file:
        assert file.read() == BINARY
    with resources.open_text('pkg.sub', 'x.txt') as file:
        assert file.read() == 'x'
    assert resources.read_binary(pkg, 'empty') == b''
    assert resources.read_text(pkg.sub, 'x.txt') == 'x'
    with resources.path('pkg', 'data.bin') as path:
        assert path.read_bytes() == BINARY
    assert not path.exists()
    assert resources.is_resource('pkg', 'data.bin')
    assert not resources.is_resource('pkg', 'text') and not resources.is_resource('pkg', 'absent')
    expected = ['__init__.py', 'data.bin', 'empty', 'mod.py', 'sub', 'text']
    assert sorted(resources.contents('pkg')) == expected, sorted(resources.contents('pkg'))
    assert resources.read_binary('space', 'name.txt') == b'served\n'
    try:
        resources.open_binary('pkg', 'absent')
    except FileNotFoundError:
        pass
    else:
        raise AssertionError

def fails(kind, function, *args):
    try:
        function(*args)
    except kind as error:
        assert error.filename and error.strerror, error
    else:
        raise AssertionError((kind, function, args))

def files():
    from importlib import resources
    root = resources.files('pkg')
    assert root.is_dir() and not root.is_file() and root.name == 'pkg'
    assert sorted(path.name for path in root.iterdir()) == ['__init__.py', 'data.bin', 'empty', 'mod.py', 'sub', 'text']
    deep = root.joinpath('text', 'deep/er', 'a.txt')
    assert deep == root / 'text' / 'deep' / 'er/a.txt' and deep.name == 'a.txt'
    assert deep.is_file() and not deep.is_dir()
    assert deep.read_text() == 'a\n' and deep.read_bytes() == b'a\n'
    with deep.open() as file:
        assert list(file) == ['a\n']
    with deep.open('rb') as file:
        assert file.read(1) == b'a' and file.seek(0) == 0 and file.read() == b'a\n'
    with (root / 'text' / 'caf\xe9.txt').open('r', encoding='latin-1', newline='') as file:
        assert file.read() == 'na\xc3\xafve\n'
    assert (root / 'text' / 'caf\xe9.txt').read_text(encoding='utf-8') == 'na\xefve\n'
    assert (root / 'text').is_dir() and (root / 'text/deep').is_dir() and (root / 'sub').is_dir()
    for absent in 'absent', 'absent/below', '.hidden', '../beside.txt', '../../x', 'text/absent', 'text/../absent':
        assert not (root / absent).exists() and not (root / absent).is_file() and not (root / absent).is_dir(), absent
        fails(FileNotFoundError, (root / absent).read_bytes)
        fails(FileNotFoundError, (root / absent).open, 'rb')
        fails(FileNotFoundError, lambda: list((root / absent).iterdir()))
    for below in 'data.bin/below', 'data.bin/further/below', 'text/deep/er/a.txt/x':
        assert not (root / below).exists()
        fails(NotADirectoryError, (root / below).read_bytes)
        fails(NotADirectoryError, (root / below).open)
        fails(NotADirectoryError, lambda: list((root / below).iterdir()))
    for directory in root, root / 'text', root / 'sub', root / 'text/deep', resources.files('space'):
        fails(IsADirectoryError, directory.read_bytes)
        fails(IsADirectoryError, directory.read_text)
        fails(IsADirectoryError, directory.open)
    fails(NotADirectoryError, lambda: list((root / 'data.bin').iterdir()))
    inner = resources.files('pkg.sub')
    for path in inner / '..' / 'data.bin', inner.joinpath('../data.bin'), root / 'text/../sub/../data.bin':
        assert path.is_file() and path.name == 'data.bin' and path.read_bytes() == BINARY
    assert inner.joinpath('..').is_dir() and sorted(inner.joinpath('..').iterdir(), key=str)
    accented = root / 'text' / 'caf\xe9.txt'
    with accented.open('r', -1, 'latin-1', 'strict', '') as file:
        assert file.read() == 'na\xc3\xafve\n'
    assert accented.read_text('ascii', 'replace') == 'na\ufffd\ufffdve\n'
    for mode in 'w', 'wb', 'a', 'r+':
        try:
            deep.open(mode)
        except ValueError:
            continue
        raise AssertionError(mode)
    try:
        from importlib.resources.abc import Traversable
    except ImportError:
        from importlib.abc import Traversable
    assert isinstance(deep, Traversable) and isinstance(root, Traversable)
    with resources.as_file(deep) as path:
        assert path.read_text() == 'a\n' and path.name.endswith('a.txt')
    assert not path.exists()
    space_root = resources.files('space')
    assert (space_root / 'name.txt').read_text() == 'served\n'
    assert sorted(path.name for path in space_root.iterdir()) == ['inner', 'name.txt']
    if sys.version_info >= (3, 12):
        with resources.as_file(root / 'text') as path:
            assert (path / 'deep' / 'er' / 'a.txt').read_text() == 'a\n'
            assert sorted(each.name for each in path.iterdir()) == ['caf\xe9.txt', 'deep']
        assert not path.exists()
        assert (resources.files('pkg.mod') / 'data.bin').read_bytes() == BINARY
        assert (resources.files(pkg.mod) / 'sub' / 'x.txt').read_text() == 'x'

def check():
    if sys.version_info >= (3, 7):
        legacy()
    if sys.version_info >= (3, 10):
        import pkg.mod
        files()
    return 'fine'
"#;
    isolated(|| {
        let dir = TempDir::new();
        package(&dir);
        // Not the directory, in which some versions would find the files themselves.
        let archive = archive(&dir);
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(&archive).source("app", CODE);
            });
            assert_eq!(run.text("app:check", ()), "fine");
        });
    });
}

#[test]
fn a_namespace_that_is_in_part_local_has_both_parts() {
    const CODE: &str = r#"
import sys

def check(path):
    sys.path.append(path)
    import space
    from importlib import resources
    root = resources.files('space')
    assert (root / 'name.txt').read_text() == 'local\n'
    assert (root / 'inner' / 'y.txt').read_text() == 'y'
    assert root.joinpath('inner', 'z.txt').read_text() == 'z'
    assert root.joinpath('only/w.txt').read_text() == 'w'
    assert sorted(path.name for path in root.iterdir()) == ['inner', 'name.txt', 'only']
    assert sorted(path.name for path in (root / 'inner').iterdir()) == ['__init__.py', 'y.txt', 'z.txt']
    assert root.is_dir() and not root.is_file() and not (root / 'absent').is_file()
    return 'fine'
"#;
    isolated(|| {
        let (dir, local) = (TempDir::new(), TempDir::new());
        package(&dir);
        local.file("space/name.txt", "local\n");
        local.file("space/inner/z.txt", "z");
        local.file("space/only/w.txt", "w");
        for_each_python(|python| {
            if python.version < (3, 10) {
                return;
            }
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            let path = local.path().to_str().unwrap();
            assert_eq!(run.text("app:check", (path,)), "fine");
        });
    });
}

#[test]
fn a_large_file_comes_in_pieces_and_is_not_kept() {
    const CODE: &str = r#"
import hashlib, pkgutil, sys
import pkg
from econtext.core import importer

SIZE = 24 << 20

def expected():
    return b''.join(b'%015d\n' % number for number in range(SIZE // 16))

def kept():
    return [name for name in importer.modules if name.startswith('pkg/')] + [name for name in importer.coming]

def check():
    whole = expected()
    data = pkgutil.get_data('pkg', 'large')
    assert data == whole, len(data)
    assert not kept(), kept()
    del data
    from econtext import resources
    with resources.open_file('pkg/large', 'x') as file:
        assert file.read(16) == whole[:16] and file.read(3 << 20) == whole[16:16 + (3 << 20)]
        assert file.seek(-16, 2) == SIZE - 16 and file.read() == whole[-16:] and file.read() == b''
        assert file.seek(5 << 20) == file.tell() == 5 << 20
        assert file.read(100) == whole[5 << 20:][:100]
        assert file.seek(-50, 1) and file.read(50) == whole[(5 << 20) + 50:][:50]
        assert not file.seek(0) and next(iter(file)) == whole[:16]
        assert file.seek(SIZE + 5) and file.read(1) == b''
    assert not kept(), kept()
    with resources.open_file('pkg/large', 'x') as file:
        for number in range(3):  # the next ones are on their way
            file.read(1 << 20)
    assert not kept(), kept()
    return 'fine'
"#;
    isolated(|| {
        let dir = TempDir::new();
        dir.file("pkg/__init__.py", "");
        let lines = (0..(24 << 20) / 16).map(|number| format!("{number:015}\n"));
        dir.file("pkg/large", lines.collect::<String>());
        for_each_kind_of_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:check", ()), "fine");
        });
    });
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    const CODE: &str = r#"
import errno, pkgutil
import pkg

def check(path):
    said = []
    for attempt in range(2):
        try:
            pkgutil.get_data('pkg', 'large')
        except IOError as error:
            assert error.errno == errno.EIO and error.filename == path + '/pkg/large', error
            said.append(error.strerror)
    assert said[0] == said[1]
    return said[0]
"#;
    isolated(|| {
        let dir = TempDir::new();
        dir.file("pkg/__init__.py", "");
        fs::File::create(dir.path().join("pkg/large")).unwrap().set_len(5 << 30).unwrap();
        for_each_kind_of_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            let path = dir.path().to_str().unwrap();
            let reason = run.text("app:check", (path,));
            assert_eq!(reason, format!("{path}/pkg/large: 5368709120 bytes, more than 4294967296"));
        });
    });
}

#[test]
fn a_file_that_is_not_there_leaves_nothing_on_stderr() {
    const CODE: &str = r#"
import errno, gc, pkgutil, pkg

def check():
    try:
        pkgutil.get_data('pkg', 'absent')
    except IOError as error:
        assert error.errno == errno.ENOENT, error
    gc.collect()
    return 'fine'
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("pkg.__init__", "").source("app", CODE);
            });
            assert_eq!(run.text("app:check", ()), "fine");
            assert_eq!(run.requests(), ["-pkg/absent"]); // waits until stderr is here
            let said = run.messages("stderr");
            assert_eq!(said.len(), 1, "{said:?}");
        });
    });
}
