//! Promise: what a child's interpreter has is taken from there, and what nobody can have is not asked for.

use std::fs;

mod support;

use support::{Run, TempDir, for_each_python, isolated};

#[test]
fn the_standard_library_costs_no_request() {
    const IMPORT: &str = r#"
import sys

COMMON = '''abc argparse ast asyncore base64 bisect calendar cgi cmd code codecs collections contextlib copy csv
    ctypes datetime decimal difflib dis doctest email.mime.text encodings.idna errno fcntl fnmatch fractions
    functools getpass glob grp gzip hashlib heapq hmac imp inspect io itertools json logging logging.handlers
    logging.config mimetypes multiprocessing multiprocessing.pool numbers operator os.path pickle pkgutil
    platform pprint pwd pydoc random re resource sched select shelve shlex shutil signal smtplib socket sqlite3
    ssl stat string struct subprocess syslog tarfile telnetlib tempfile textwrap threading time timeit token
    tokenize traceback types unittest uuid warnings weakref xml.dom.minidom xml.etree.ElementTree
    xml.sax.saxutils zipfile zipimport zlib'''.split()
NEW = '''asyncio concurrent.futures configparser contextvars copyreg dataclasses enum html http.client http.server
    importlib.metadata importlib.resources ipaddress lzma pathlib queue secrets selectors socketserver statistics
    tracemalloc typing urllib.request venv zoneinfo'''.split()
OLD = '''BaseHTTPServer ConfigParser Cookie HTMLParser Queue SocketServer StringIO UserDict __builtin__ cPickle
    cStringIO commands copy_reg httplib md5 new sets sha thread urllib urllib2 urlparse xmlrpclib'''.split()

def everything():
    for name in COMMON + (NEW if sys.version_info > (3,) else OLD):
        try:
            __import__(name)
        except ImportError:  # not in this version, or not built
            pass

def early():
    import subprocess, logging, json
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("imports", IMPORT);
            });
            run.context.call::<()>("imports:early", ()).unwrap();
            assert_eq!(run.module_traffic(), [">imports"]);
            run.context.call::<()>("imports:everything", ()).unwrap();
            let requests = run.requests();
            // What a version lacks cannot be told from a module of the user's.
            let gone = ["asyncore", "cgi", "imp", "telnetlib", "md5", "contextvars", "dataclasses"];
            let tried = ["ElementC14N", "_xmlrpclib", "_elementtree"]; // Python 2.7 and PyPy
            let also = ["importlib.metadata", "importlib.resources", "zoneinfo", "sqlite3", "lzma"];
            let unexpected: Vec<_> = requests
                .iter()
                .filter(|name| {
                    !gone.iter().chain(&tried).chain(&also).any(|known| name[1..] == **known)
                })
                .collect();
            assert!(unexpected.is_empty(), "{unexpected:?} of {requests:?}");
        });
    });
}

#[test]
fn what_the_interpreter_has_is_not_fetched_even_where_we_serve_it() {
    isolated(|| {
        let (served, installed) = (TempDir::new(), TempDir::new());
        let which = |name| format!("def which(): return {name:?}\n");
        for (dir, name) in [(&served, "served"), (&installed, "installed")] {
            dir.file("both.py", which(name));
            dir.file("pkg/__init__.py", "");
            dir.file("pkg/both.py", which(name));
            dir.file(&format!("pkg/only_{name}.py"), which(name));
            dir.file(&format!("space/only_{name}.py"), which(name));
        }
        served.file("json.py", "raise RuntimeError('the wrong one')\n");
        served.file("app_user.py", "import json, both, pkg.both, pkg.only_installed\n\
            def which(): return json.dumps([both.which(), pkg.both.which()])\n\
            def missing():\n    try:\n        import pkg.only_served\n    except ImportError:\n        \
            return 'missing'\n\
            def space():\n    import space.only_installed, space.only_served\n    \
            return space.only_installed.which() + space.only_served.which()\n");
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.path(served.path());
            });
            let path = installed.path().to_str().unwrap();
            run.context.call::<()>("sys:path.insert", (0, path)).unwrap();
            assert_eq!(run.text("app_user:which", ()), "[\"installed\", \"installed\"]");
            // A package that is installed is whole.
            assert_eq!(run.text("app_user:missing", ()), "missing");
            assert_eq!(run.requests(), [""; 0]);
        });
        // Nothing was compiled there.
        for dir in [&served, &installed] {
            let entries = fs::read_dir(dir.path())
                .unwrap()
                .chain(fs::read_dir(dir.path().join("pkg")).unwrap());
            let names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert!(
                !names.iter().any(|name| name.ends_with(".pyc") || name == "__pycache__"),
                "{names:?}"
            );
        }
    });
}

#[test]
fn what_a_packages_list_does_not_name_is_not_asked_for() {
    const TRY: &str = r#"
import pkg.sub.leaf

def missing(name):
    try:
        __import__(name)
    except ImportError:
        return 'missing'
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("tries", TRY).source("pkg.sub.leaf", "").source("plain", "");
            });
            let missing = |name: &str| assert_eq!(run.text("tries:missing", (name,)), "missing");
            missing("plain.x");
            run.requests();
            for name in ["pkg.absent", "pkg.sub.absent", "pkg.sub.leaf.absent", "pkg.os", "plain.x"]
            {
                missing(name);
            }
            for name in ["msvcrt", "_winapi", "org.python", "java.lang", "thread_", "econtext_"] {
                missing(name);
            }
            // Asked for along with `plain`, for which nobody had to wait: it may be told late.
            let mut requests = run.requests();
            requests.retain(|request| request != "-plain.x");
            assert_eq!(requests, [""; 0]);
        });
    });
}

#[test]
fn a_served_module_may_have_a_half_with_an_underscore() {
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("fast", "from _fast import name\n");
                modules.source("_fast", "def name():\n    return __name__\n");
            });
            assert_eq!(run.text("fast:name", ()), "_fast");
            assert_eq!(run.text("_fast:name", ()), "_fast");
        });
    });
}

#[test]
fn a_computed_name_with_dots_is_asked_for_at_once() {
    const WORK: &str = r#"
import importlib, sys
def work(name):
    word = importlib.import_module(name).WORD
    return word if sys.modules['pkg'].ASKED and sys.modules['pkg.sub'].ASKED else 'one after the other'
"#;
    // Whether the last of the name was asked for before this runs.
    const PACKAGE: &str = "from econtext.core import importer\n\
                           ASKED = 'pkg.sub.leaf' in importer.coming.union(importer.modules)\n";
    isolated(|| {
        for_each_python(|python| {
            if python.version < (3, 0) {
                return; // Nothing tells there what an import is part of.
            }
            let run = Run::start(python, |modules| {
                modules.source("work", WORK).source("pkg", PACKAGE).source("pkg.sub", PACKAGE);
                modules.source("pkg.sub.leaf", "WORD = 'here'\n");
            });
            assert_eq!(run.text("work:work", ("pkg.sub.leaf",)), "here");
            assert_eq!(run.requests(), ["+pkg", "+pkg.sub", "+pkg.sub.leaf"]);
        });
    });
}

#[test]
fn what_was_looked_for_is_not_asked_for_again_when_it_is_imported() {
    const WORK: &str = r#"
import importlib, pkgutil
try:
    import importlib.util
except ImportError:
    pass

def work(name):
    if hasattr(importlib, 'util'):
        importlib.util.find_spec(name)
    else:  # 2.7
        pkgutil.find_loader(name)
    return __import__(name).WORD
"#;
    isolated(|| {
        for_each_python(|python| {
            let run = Run::start(python, |modules| {
                modules.source("work", WORK);
                modules
                    .source("pkg.__init__", "WORD = 'package'\n")
                    .source("mod", "WORD = 'module'\n");
            });
            assert_eq!(run.text("work:work", ("pkg",)), "package");
            assert_eq!(run.text("work:work", ("mod",)), "module");
            assert_eq!(run.requests(), ["+pkg", "+mod"]);
        });
    });
}
