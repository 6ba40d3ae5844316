//! What `build.rs` does to Python: the result means the same, on the same lines. Every Python that is
//! found compares the syntax trees, over `bootstrap/` and a sample of its own standard library.

#[path = "../src/modules/lexer.rs"]
mod lexer;
#[path = "../src/modules/minify.rs"]
#[allow(dead_code)]
mod minify;
#[path = "../src/modules/shorten.rs"]
mod shorten;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn small(source: &str) -> String {
    String::from_utf8(minify::minify(source.as_bytes()).unwrap()).unwrap()
}

#[test]
fn comments_docstrings_and_spare_blanks_go_and_lines_stay() {
    let source = "#!/usr/bin/python\n'''Doc.\n\nMore.'''\nimport os  # why\n\n\nclass A(object):\n    \"Doc\"\n\n    \
                  def f(self, x = 1):\n        '''Doc'''\n        return x  +  - 1\n";
    let wanted =
        "\n\n\n\nimport os\n\n\nclass A(object):\n\n\n def f(self,x=1):\n\n  return x+-1\n";
    assert_eq!(small(source), wanted);
}

#[test]
fn a_suite_of_a_docstring_alone_becomes_pass() {
    assert_eq!(
        small("class E(Exception):\n    '''Doc\n    doc'''\nx = 1\n"),
        "class E(Exception):\n pass\n\nx=1\n"
    );
    assert_eq!(small("def f(): 'doc'\n"), "def f():pass\n");
    assert_eq!(small("def f(): 'doc'; return 1\n"), "def f():return 1\n");
    assert_eq!(small("'doc'\n"), "");
}

#[test]
fn a_string_after_a_docstring_does_not_become_one() {
    assert_eq!(small("def f():\n  'a'\n  'b'; 'c'\n  return 1\n"), "def f():\n\n\n return 1\n");
}

#[test]
fn a_string_that_is_used_is_no_docstring() {
    assert_eq!(small("def f():\n    'a'.x()\n"), "def f():\n 'a'.x()\n");
    assert_eq!(small("def f():\n    b'a'\n"), "def f():\n b'a'\n");
    assert_eq!(small("if x:\n    'a'\n"), "if x:\n 'a'\n");
}

#[test]
fn blanks_that_part_two_tokens_stay() {
    assert_eq!(small("return  1  if  x  else  .5\n"), "return 1 if x else.5\n");
    assert_eq!(small("x = 1 .real\n"), "x=1 .real\n");
    assert_eq!(small("x = '' 'a'\n"), "x='' 'a'\n");
    assert_eq!(small("return b'x' in 'y'\n"), "return b'x'in'y'\n");
}

#[test]
fn lines_that_go_on_go_on() {
    assert_eq!(
        small("x = 1 + \\\n    2\ny = (1,\n     # why\n     2)\n"),
        "x=1+\\\n2\ny=(1,\n\n2)\n"
    );
}

#[test]
fn an_encoding_cookie_and_a_byte_order_mark_stay() {
    let source = "\u{feff}#!/usr/bin/python\n# -*- coding: utf-8 -*-\n# why\nx = 'ä'\n";
    assert_eq!(small(source), "\u{feff}\n# -*- coding: utf-8 -*-\n\nx='ä'\n");
}

fn short(source: &str) -> String {
    String::from_utf8(shorten::shorten(source.as_bytes()).unwrap()).unwrap()
}

#[test]
fn plain_locals_get_short_names() {
    let source = "def f(name, *, size=0):\n    total, (last, _x) = 0, name\n    for part in name:\n        \
                  total += g(part, total=total).total\n    with x as file: pass\n    return total, last\n";
    let wanted = "def f(name, *, size=0):\n    a, (b, c) = 0, name\n    for d in name:\n        \
                  a += g(d, total=a).total\n    with x as e: pass\n    return a, b\n";
    assert_eq!(short(source), wanted);
}

#[test]
fn names_that_others_can_see_stay() {
    for body in [
        "global name; name = 1",
        "name = 1; return lambda: name",
        "name = 1; return [name for x in y]",
        "name = 1; exec('name')",
        "name = 1; return locals()",
        "import name; name = 1",
        "parameter = 1",
        "self.name = 1; g(name=1); name[0] = 1; name += 1",
        "name: int = 1",
        "__name = 1",
        "print(name == 1)",
    ] {
        let source = format!("def f(self, parameter=1):\n    {body}\n");
        assert_eq!(short(&source), source);
    }
    assert_eq!(short("name = 1\nclass A:\n    name = 1\n"), "name = 1\nclass A:\n    name = 1\n");
}

#[test]
fn real_pythons_see_the_same_program_on_the_same_lines() {
    let pythons = pythons();
    assert!(!pythons.is_empty(), "no Python found to compare with");
    let own = python_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("bootstrap"), usize::MAX);
    for python in &pythons {
        let mut files = own.clone();
        files.extend(python_files(&standard_library(python), SAMPLE));
        compare(python, &files);
    }
}

/// Fails unless `python` finds each file's minified form equal to the file.
fn compare(python: &Path, files: &[PathBuf]) {
    let dir = std::env::temp_dir().join(format!("econtext-minify-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let mut list = String::new();
    for (number, file) in files.iter().enumerate() {
        // What does not lex here must not compile there either.
        let text = match minify::minify(&fs::read(file).unwrap()) {
            Ok(text) => text,
            Err(error) => format!("({error}").into_bytes(),
        };
        let minified = dir.join(format!("{number}.py"));
        let shortened = dir.join(format!("{number}.short.py"));
        fs::write(&shortened, shorten::shorten(&text).unwrap_or_default()).unwrap();
        fs::write(&minified, text).unwrap();
        list += &format!("{}\n{}\n{}\n", file.display(), minified.display(), shortened.display());
    }
    fs::write(dir.join("list"), list).unwrap();
    let output = Command::new(python)
        .env_clear()
        .args(["-W", "ignore", "-c", COMPARE])
        .arg(dir.join("list"))
        .output()
        .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {}\n{out}{err}", python.display(), output.status);
    println!("{}: {out}", python.display());
}

/// Prints each file that differs. Compares the trees without docstrings, and the lines of all their nodes;
/// with names shortened, the bytecode and all that belongs to it but the names of plain locals.
const COMPARE: &str = r#"
import ast, io, sys
text = type(u'')
def is_string(node):
    if not isinstance(node, ast.Expr): return False
    value = getattr(node.value, 's', None) if sys.version_info < (3, 8) else getattr(node.value, 'value', None)
    return isinstance(value, (str, text))
def shape(source):
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, getattr(ast, 'AsyncFunctionDef', ast.Module))):
            while node.body and is_string(node.body[0]): del node.body[0]
            if not node.body and not isinstance(node, ast.Module): node.body = [ast.Pass()]
    compile(source, 'x', 'exec')
    return ast.dump(tree), [node.lineno for node in ast.walk(tree) if hasattr(node, 'lineno') and not isinstance(node, ast.Pass)]
def same(a, b):
    if isinstance(a, frozenset): return a == b
    if not isinstance(a, type(same.__code__)): return type(a) is type(b) and repr(a) == repr(b)
    count = a.co_argcount + getattr(a, 'co_kwonlyargcount', 0) + bool(a.co_flags & 4) + bool(a.co_flags & 8)
    def rest(c):
        return c.co_code, c.co_names, c.co_flags, c.co_argcount, c.co_cellvars, c.co_freevars, c.co_varnames[:count], len(set(c.co_varnames)), c.co_name
    return rest(a) == rest(b) and len(a.co_consts) == len(b.co_consts) and all(map(same, a.co_consts, b.co_consts))
def code(name): return compile(open(name, 'rb').read(), 'x', 'exec')
names = io.open(sys.argv[1], encoding='utf-8').read().splitlines()
count = bad = 0
for old, new, short in zip(names[::3], names[1::3], names[2::3]):
    source = open(old, 'rb').read()
    try: wanted = shape(source)
    except (SyntaxError, ValueError): continue
    except RuntimeError: continue
    count += 1
    try: got = shape(open(new, 'rb').read())
    except SyntaxError as error: got = str(error), None
    if got != wanted:
        bad += 1
        print('%s differs%s: %s' % (old, ' in lines' if got[0] == wanted[0] else '', got[0][:200] if got[1] is None else ''))
    elif not same(code(new), code(short)):
        bad += 1
        print('%s differs with shorter names' % old)
print('%d files compared' % count)
sys.exit(bad > 0 or count < 1)
"#;

/// How many files of each standard library are compared.
const SAMPLE: usize = 25;

/// The Python files below `dir`, or about `count` of them, evenly.
fn python_files(dir: &Path, count: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name() != Some(OsStr::new("site-packages")) {
                dirs.push(path);
            } else if path.extension() == Some(OsStr::new("py")) {
                files.push(path);
            }
        }
    }
    files.sort();
    let step = (files.len() / count).max(1);
    files.into_iter().step_by(step).collect()
}

fn standard_library(python: &Path) -> PathBuf {
    let code = "import os; print(os.path.dirname(os.__file__))";
    let output = Command::new(python).env_clear().args(["-c", code]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The Pythons that can be a child, on PATH and of pyenv.
fn pythons() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    let versions = fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(versions.map(|version| version.path().join("bin")));
    let names = ["python2.7", "python3", "python", "pypy3"];
    let candidates = dirs.iter().flat_map(|dir| names.map(|name| dir.join(name)));
    // Links and wrappers that lead to the same interpreter count once.
    let code = "import os, sys; v = sys.version_info
if v[:2] == (2, 7) or v >= (3, 6): print(os.path.realpath(sys.executable))";
    let found: BTreeSet<PathBuf> = candidates
        .filter_map(|python| Command::new(python).env_clear().args(["-c", code]).output().ok())
        .filter_map(|output| Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim())))
        .filter(|python| python.is_file())
        .collect();
    found.into_iter().collect()
}
