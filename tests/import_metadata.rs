//! Promise: `importlib.metadata` knows the distributions that are served, beside those that are installed.

mod support;

use support::{Run, TempDir, for_each_python, isolated};

const METADATA: &str = "Metadata-Version: 2.1\nName: Some.Thing\nVersion: 2.5\nSummary: of it\n\
    Requires-Dist: other (>=1)\nRequires-Dist: more; extra == 'x'\n\nLong text, na\u{ef}ve.\n";

fn thing(dir: &TempDir) {
    dir.file("some_thing/__init__.py", "def main(): return __name__\n");
    dir.file("some_thing-2.5.dist-info/METADATA", METADATA);
    dir.file(
        "some_thing-2.5.dist-info/entry_points.txt",
        "[console_scripts]\nsome = some_thing:main\n\n[plug.ins]\none = some_thing\n",
    );
    dir.file(
        "some_thing-2.5.dist-info/RECORD",
        "some_thing/__init__.py,sha256=abc,28\nsome_thing-2.5.dist-info/METADATA,,\n\
         some_thing-2.5.dist-info/entry_points.txt,,\nsome_thing-2.5.dist-info/RECORD,,\n\
         some_thing-2.5.dist-info/LICENSE,,\n",
    );
    dir.file("some_thing-2.5.dist-info/LICENSE", "free\n");
}

#[test]
fn served_distributions_are_found_by_one_request() {
    const CODE: &str = r#"
from importlib import metadata

def check():
    assert metadata.version('some.thing') == metadata.version('Some_Thing') == metadata.version('some-thing') == '2.5'
    found = metadata.metadata('some.thing')
    assert found['Name'] == 'Some.Thing' and found['Summary'] == 'of it'
    assert metadata.requires('some.thing') == ['other (>=1)', "more; extra == 'x'"]
    points = metadata.entry_points()
    points = points.select(group='plug.ins') if hasattr(points, 'select') else points['plug.ins']
    point, = [point for point in points if point.name == 'one']
    assert point.load().__name__ == 'some_thing'
    dist = metadata.distribution('some.thing')
    point, = [point for point in dist.entry_points if point.group == 'console_scripts']
    assert point.load()() == 'some_thing'
    files = dict((str(path), path) for path in metadata.files('some.thing'))
    assert len(files) == 5 and files['some_thing/__init__.py'].size == 28, files
    assert files['some_thing/__init__.py'].hash.value == 'abc'
    names = [dist.metadata['Name'] for dist in metadata.distributions()]
    assert names.count('Some.Thing') == 1 and names.count('old-style') == 1, names
    assert metadata.version('old_style') == '0.1' and metadata.requires('old-style') in (None, [])
    try:
        metadata.version('absent')
    except metadata.PackageNotFoundError:
        return 'fine'

def read():
    files = dict((str(path), path) for path in metadata.files('some.thing'))
    assert files['some_thing-2.5.dist-info/LICENSE'].read_text() == 'free\n'
    assert files['some_thing/__init__.py'].read_binary().startswith(b'def main')
    assert metadata.distribution('some.thing').read_text('LICENSE') == 'free\n'
    assert metadata.distribution('some.thing').read_text('absent') is None
    return 'fine'
"#;
    isolated(|| {
        let dir = TempDir::new();
        thing(&dir);
        for_each_python(|python| {
            if python.version < (3, 8) {
                return;
            }
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
                let metadata = "Metadata-Version: 1.0\nName: old-style\nVersion: 0.1\n";
                modules.data("", "old_style-0.1.dist-info/METADATA", metadata.as_bytes());
                modules.data("", "old_style-0.1.dist-info/RECORD", &b""[..]);
            });
            assert_eq!(run.text("app:check", ()), "fine");
            let requests = run.requests();
            let about: Vec<_> = requests.iter().filter(|name| name.contains('/')).collect();
            assert_eq!(about, ["+/"], "{requests:?}");
            assert_eq!(run.text("app:check", ()), "fine");
            assert_eq!(run.requests(), [""; 0]);
            assert_eq!(run.text("app:read", ()), "fine");
        });
    });
}

#[test]
fn what_is_installed_precedes_what_is_served() {
    const CODE: &str = r#"
import sys

def check(path):
    from importlib import metadata
    sys.path.append(path)
    assert metadata.version('some_thing') == '1.0', metadata.version('some_thing')
    assert metadata.version('another') == '3'
    names = [dist.metadata['Name'] for dist in metadata.distributions()]
    assert names.count('some-thing') == 1 and 'Some.Thing' not in names and 'another' in names, names
    here = [dist.metadata['Name'] for dist in metadata.distributions(path=[path])]
    assert here == ['some-thing'], here
    return 'fine'
"#;
    isolated(|| {
        let (dir, local) = (TempDir::new(), TempDir::new());
        thing(&dir);
        dir.file(
            "another-3.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: another\nVersion: 3\n",
        );
        let metadata = "Metadata-Version: 2.1\nName: some-thing\nVersion: 1.0\n";
        local.file("some_thing-1.0.dist-info/METADATA", metadata);
        for_each_python(|python| {
            if python.version < (3, 8) {
                return;
            }
            let run = Run::start(python, |modules| {
                modules.path(dir.path()).source("app", CODE);
            });
            assert_eq!(run.text("app:check", (local.path().to_str().unwrap(),)), "fine");
        });
    });
}

#[test]
fn what_is_installed_is_found_without_a_stream() {
    const CODE: &str = r#"
import atexit, os, sys
from importlib import metadata

def installed():
    try:
        assert metadata.version('installed') == '1.0'
        assert 'installed' in [dist.metadata['Name'] for dist in metadata.distributions()]
        try:
            metadata.version('absent')
        except metadata.PackageNotFoundError:
            return 'found'
    except BaseException as error:
        return repr(error)

def copied():
    ends = os.pipe()
    if not os.fork():
        os.write(ends[1], installed().encode())
        os._exit(0)
    os.close(ends[1])
    with open(ends[0]) as file:
        said = file.read()
    os.wait()
    return said

def check(path, first):
    sys.path.append(path)
    if first == 'asked':
        assert metadata.version('some.thing') == '2.5'
    said = copied()
    atexit.register(lambda: sys.stdout.write('at exit: %s\n' % installed()))
    return said
"#;
    isolated(|| {
        let (dir, local) = (TempDir::new(), TempDir::new());
        thing(&dir);
        let metadata = "Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n";
        local.file("installed-1.0.dist-info/METADATA", metadata);
        for_each_python(|python| {
            if python.version < (3, 8) {
                return;
            }
            for first in ["asked", "not asked"] {
                let run = Run::start(python, |modules| {
                    modules.path(dir.path()).source("app", CODE);
                });
                let path = local.path().to_str().unwrap();
                assert_eq!(run.text("app:check", (path, first)), "found", "{first}");
                run.context.shutdown().unwrap();
                let said = run.log.wait_for("what is found at exit", |record| {
                    record.message.starts_with("at exit: ")
                });
                assert_eq!(said.message, "at exit: found", "{first}");
            }
        });
    });
}
