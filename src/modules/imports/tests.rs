//! Each form of an import, and what excludes one.

use super::*;

/// What `source` wants as the module `p.q.m` for a Python 3.9 on Linux: `a.b`, `p.q(x,y)`, `c*`.
fn wanted(source: &str) -> String {
    shown(&scan(source.as_bytes()).wanted("p.q.m", false, Some(&target([3, 9, 18], "linux"))))
}

/// The same without a target.
fn either(source: &str) -> String {
    shown(&scan(source.as_bytes()).wanted("p.q.m", false, None))
}

/// As the module `m`, which has no siblings.
fn with(source: &str, version: [u32; 3], platform: &str) -> String {
    shown(&scan(source.as_bytes()).wanted("m", false, Some(&target(version, platform))))
}

fn target(version: [u32; 3], platform: &str) -> Target {
    Target { version, platform: platform.to_owned() }
}

fn shown(wanted: &[Wanted]) -> String {
    let show = |wanted: &Wanted| {
        let names = match &wanted.names[..] {
            [] => String::new(),
            names => format!("({})", names.join(",")),
        };
        format!("{}{names}{}", wanted.module, if wanted.star { "*" } else { "" })
    };
    wanted.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// What is imported by `if condition: import yes` and its `else: import no`.
fn branch(before: &str, condition: &str, version: [u32; 3], platform: &str) -> String {
    let source = format!("{before}\nif {condition}:\n    import yes\nelse:\n    import no\n");
    with(&source, version, platform)
}

#[test]
fn every_form_of_an_import_is_found() {
    for (source, expected) in [
        ("import a", "a"),
        ("import a.b as c, d", "a.b d"),
        ("import a . b", "a.b"),
        ("import a.b.c as d,\\\n    e", "a.b.c e"),
        ("from a import b", "a(b)"),
        ("from a.b import c as d, e", "a.b(c,e)"),
        ("from a import (b as c, # why\n    d,\n)", "a(b,d)"),
        ("from a import *", "a*"),
        ("from . import x", "p.q(x)"),
        ("from .import x", "p.q(x)"),
        ("from .r import x", "p.q.r(x)"),
        ("from . r import x", "p.q.r(x)"),
        ("from .. import x", "p(x)"),
        ("from ..r.s import (a, b as c,)", "p.r.s(a,b)"),
        ("from .r import *", "p.q.r*"),
        ("from \\\n  .r \\\n  import x", "p.q.r(x)"),
        ("import a; import b; x = 1; from c import d", "a b c(d)"),
        ("try: import a\nexcept E: import b", "a b"),
        ("\u{feff}import a\r\nimport b\rimport c", "a b c"),
        ("\x0cimport a\n\x0c\nimport b", "a b"),
        ("import é", "é"),
        ("x = 1\nyield_from = x\nraise E from a", ""),
    ] {
        assert_eq!(wanted(source), expected, "{source:?}");
    }
}

#[test]
fn a_relative_import_counts_from_the_package() {
    let source = b"from . import a\nfrom .b import c\nfrom .. import d\nfrom ...e import f";
    let from = |module, is_package| shown(&scan(source).wanted(module, is_package, None));
    assert_eq!(from("p.q", true), "p.q(a) p.q.b(c) p(d)");
    assert_eq!(from("p.q.r", true), "p.q.r(a) p.q.r.b(c) p.q(d) p.e(f)");
    assert_eq!(from("p.q", false), "p(a) p.b(c)");
    assert_eq!(from("p", true), "p(a) p.b(c)");
    assert_eq!(from("p", false), "");
}

#[test]
fn imports_are_found_in_every_suite_that_runs() {
    let source = "\
if x:
    import a
    if y: import b
    elif z: import c
    else: import d
elif w:
    import e
else:
    import f
try:
    import g
except (E, F) as e:
    import h
except E: import i
else:
    import j
finally:
    import k
with x as y, z:
    import l
for x in y:
    import m
else:
    import n
while x:
    import o
class A(B, x=lambda: 1):
    import p
    class C: import q
match x:
    case {'a': 1}:
        import r
    case lambda_: import s
async with x:
    import t
if f(lambda x: x, y[1:2], {1: 2}): import u
if lambda: 1: import v
import w
";
    assert_eq!(wanted(source), "a b c d e f g h i j k l m n o p q r s t u v w");
}

#[test]
fn the_body_of_a_function_does_not_run() {
    let source = "\
def f(x: int = {1: 2}[1]) -> 'x':
    import a
    def g():
        import b
    class A:
        import c
    if x:
        import d
def f(): import a; import b
@decorator
async def f():
    import a
class A:
    def f(self):
        import a
    async def f(self): import a
    import b
if x:
    def f():
        import a
    import c
# import d
'import e'
'''
import f
'''
import g
";
    assert_eq!(wanted(source), "b c g");
}

#[test]
fn what_only_a_type_checker_reads_is_left_out() {
    for condition in [
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
        "t.TYPE_CHECKING",
        "(TYPE_CHECKING)",
        "not not TYPE_CHECKING",
        "TYPE_CHECKING and f(x)",
        "f(x)[1:2] and TYPE_CHECKING",
        "False",
        "0",
        "None",
        "TYPE_CHECKING or False",
    ] {
        assert_eq!(branch("", condition, [3, 9, 0], "linux"), "no", "{condition}");
        let source = format!("if {condition}: import yes\nelif x: import a\nelse: import no");
        assert_eq!(either(&source), "a no", "{condition}");
        assert_eq!(branch("", &format!("not ({condition})"), [3, 9, 0], "linux"), "yes");
    }
    for condition in ["True", "1", "TYPE_CHECKING or True", "not TYPE_CHECKING"] {
        assert_eq!(branch("", condition, [3, 9, 0], "linux"), "yes", "{condition}");
    }
    for condition in ["TYPE_CHECKING or x", "x", "x and True", "TYPE_CHECKING if x else y", "not x"]
    {
        assert_eq!(branch("", condition, [3, 9, 0], "linux"), "yes no", "{condition}");
    }
    let renamed = "from typing import TYPE_CHECKING as T";
    assert_eq!(branch(renamed, "T", [3, 9, 0], "linux"), "typing(TYPE_CHECKING) no");
    assert_eq!(wanted("while False:\n    import a\nelse:\n    import b"), "b");
}

#[test]
fn a_version_excludes_a_branch() {
    for (condition, two, three) in [
        ("sys.version_info >= (3,)", "no", "yes"),
        ("sys.version_info[0] >= 3", "no", "yes"),
        ("sys.version_info[0] == 2", "yes", "no"),
        ("sys.version_info.major == 2", "yes", "no"),
        ("sys.version_info.major != 2", "no", "yes"),
        ("sys.version_info.major <> 2", "no", "yes"),
        ("2 < sys.version_info[0]", "no", "yes"),
        ("(3, 0) <= sys.version_info", "no", "yes"),
        ("sys.version_info[:2] == (2, 7)", "yes", "no"),
        ("sys.version_info[0:2] <= (2, 7)", "yes", "no"),
        ("sys.version_info[:1] > (2,)", "no", "yes"),
        ("sys.version_info > (2, 7)", "yes", "yes"),
        ("sys.version_info > (2, 7, 18)", "yes", "yes"),
        ("sys.version_info == (2, 7, 18)", "no", "no"),
        ("sys.version_info > (3, 9, 18)", "no", "yes"),
        ("sys.version_info < (3, 9, 18, 'final', 0)", "yes", "yes no"),
        ("sys.version_info < (3, 9, 19, 'final', 0)", "yes", "yes"),
        ("sys.version_info < (3, 10)", "yes", "yes"),
        ("sys.version_info[0] in (2, 4)", "yes", "no"),
        ("sys.version_info[0] not in [2, 4]", "no", "yes"),
        ("sys.version_info[1] == 9", "no", "yes"),
        ("sys.version[0] == '2'", "yes", "no"),
        ("sys.version < '3'", "yes", "no"),
        ("sys.version[:3] == '3.9'", "no", "yes"),
        ("not sys.version_info < (3,)", "no", "yes"),
        ("not (sys.version_info < (3,) or False)", "no", "yes"),
        ("(sys.version_info[0]) == (3)", "no", "yes"),
        ("sys.version_info >= (3,) and x", "no", "yes no"),
        ("x and sys.version_info >= (3,)", "no", "yes no"),
        ("x or sys.version_info >= (3,)", "yes no", "yes"),
        ("(2,) < sys.version_info < (3,)", "yes no", "yes no"),
        ("sys.version_info >= 3", "yes no", "yes no"),
        ("sys.version_info >= x", "yes no", "yes no"),
        ("sys.version_info", "yes no", "yes no"),
        ("sys.version_info[3] == 'final'", "yes no", "yes no"),
        ("sys.version_info is (3,)", "yes no", "yes no"),
        ("sys.version_info[x] == 3", "yes no", "yes no"),
        ("x.version_info[0] == 3", "yes no", "yes no"),
        ("x.sys.version_info[0] == 3", "yes no", "yes no"),
        ("f(sys.version_info[0] == 3)", "yes no", "yes no"),
        ("sys.version_info[0] == 3 if x else y", "yes no", "yes no"),
        ("(x := sys.version_info[0] == 3)", "yes no", "yes no"),
        ("(sys.version_info[0] == 2, 1)", "yes no", "yes no"),
    ] {
        assert_eq!(branch("", condition, [2, 7, 18], "linux2"), two, "{condition} on 2.7");
        assert_eq!(branch("", condition, [3, 9, 18], "linux"), three, "{condition} on 3.9");
        let source = format!("if {condition}: import yes\nelse: import no");
        assert_eq!(either(&source), "yes no", "{condition} on either");
    }
}

#[test]
fn a_platform_excludes_a_branch() {
    for (condition, linux, mac) in [
        ("sys.platform == 'linux'", "yes", "no"),
        ("sys.platform != \"darwin\"", "yes", "no"),
        ("'darwin' == sys.platform", "no", "yes"),
        ("sys.platform.startswith('lin')", "yes", "no"),
        ("not sys.platform.startswith(('win', 'lin'))", "no", "yes"),
        ("sys.platform in ('linux', u'linux2')", "yes", "no"),
        ("sys.platform not in {'linux'}", "no", "yes"),
        ("sys.platform in ['darwin',]", "no", "yes"),
        ("sys.platform in ('linux')", "yes", "no"),
        ("'in' in sys.platform", "yes", "yes"),
        ("'win' in sys.platform", "no", "yes"),
        ("sys.platform[:3] == 'win'", "no", "no"),
        ("os.name == 'nt'", "no", "no"),
        ("os.name == 'posix'", "yes", "yes"),
        ("os.name in ('nt', 'dos')", "no", "no"),
        ("os.name == 'nt' or sys.platform == 'darwin'", "no", "yes"),
        ("os.name == 'posix' and sys.platform == r'darwin'", "no", "yes"),
        ("sys.platform == 'lin\\x75x'", "yes no", "yes no"),
        ("sys.platform == b'linux'", "yes no", "yes no"),
        ("sys.platform in names", "yes no", "yes no"),
        ("sys.platform in ('linux', name)", "yes no", "yes no"),
        ("sys.platform.startswith(x)", "yes no", "yes no"),
        ("sys.platform.lower() == 'linux'", "yes no", "yes no"),
        ("platform.system() == 'Windows'", "yes no", "yes no"),
    ] {
        assert_eq!(branch("", condition, [3, 9, 0], "linux"), linux, "{condition} on Linux");
        assert_eq!(branch("", condition, [3, 9, 0], "darwin"), mac, "{condition} on a Mac");
    }
}

#[test]
fn what_a_module_does_as_a_program_is_left_out() {
    let source = b"if __name__ == '__main__':\n    import a\nelse:\n    import b";
    assert_eq!(shown(&scan(source).wanted("m", false, None)), "b");
    assert_eq!(shown(&scan(source).wanted("__main__", false, None)), "a");
    assert_eq!(branch("__name__ = x", "__name__ == '__main__'", [3, 9, 0], "linux"), "yes no");
}

#[test]
fn what_follows_a_branch_gets_its_negation() {
    let source = "\
if sys.version_info[0] == 2:
    import a
elif sys.platform == 'win32':
    import b
elif x:
    import c
elif sys.version_info < (3, 8):
    import d
else:
    import e
import f
if x:
    if os.name == 'nt': import g
    else: import h
else:
    import i
";
    assert_eq!(with(source, [2, 7, 18], "linux"), "a f h i");
    assert_eq!(with(source, [2, 7, 18], "win32"), "a f h i");
    assert_eq!(with(source, [3, 7, 0], "win32"), "b f h i");
    assert_eq!(with(source, [3, 7, 0], "linux"), "c d f h i");
    assert_eq!(with(source, [3, 8, 0], "linux"), "c e f h i");
    assert_eq!(either(source), "a b c d e f g h i");
    // Of a loop and of `try` it is none.
    let source = "if True:\n  pass\nfor x in y: pass\nelse: import a";
    assert_eq!(wanted(source), "a");
}

#[test]
fn names_for_what_is_known_count_while_they_surely_mean_it() {
    let two = |before: &str, condition: &str| branch(before, condition, [2, 7, 18], "linux2");
    for (before, condition) in [
        ("from sys import version_info", "version_info < (3,)"),
        ("from sys import (platform, version_info as v)", "v[0] == 2"),
        ("from os import name", "name == 'posix'"),
        ("import sys as s, os", "s.version_info[0] == 2"),
        ("import os.path", "os.name == 'posix'"),
        ("PY2 = sys.version_info[0] == 2", "PY2"),
        ("PY2: bool = sys.version_info[0] == 2", "PY2"),
        ("PY3 = sys.version_info[0] == 3\nPY2 = not PY3", "PY2 and not PY3"),
        ("PY = sys.version_info[0]", "PY == 2"),
        ("x = PY2 = 1\nPY2 = sys.version_info[0] == 2", "PY2"),
        ("v = sys.version_info\nX = v[:2] < (3, 1)", "X"),
        ("DEBUG = False", "not DEBUG"),
        ("PY2 = sys.version_info[0] == 2\ndef f(): PY2 = x\nf(PY2=1)\nx.PY2 = y", "PY2"),
        ("try:\n    import sys\nexcept E: pass", "sys.version_info[0] == 2"),
    ] {
        let wanted = two(before, condition);
        assert!(wanted.ends_with("yes"), "{before:?} {condition}: {wanted}");
    }
    let flag = "PY2 = sys.version_info[0] == 2\n";
    for after in [
        "PY2 = x",
        "PY2 += 1",
        "if x: PY2 = y",
        "if x:\n    PY2 = sys.version_info[0] == 3",
        "x, PY2 = y",
        "x = PY2 = y",
        "(PY2) = y",
        "for PY2 in x: pass",
        "[PY2 for PY2 in x]",
        "with x as PY2: pass",
        "with x as (y, PY2): pass",
        "try: pass\nexcept E as PY2: pass",
        "try: pass\nexcept E, PY2: pass",
        "f(PY2 := x)",
        "import PY2",
        "import x as PY2",
        "from x import PY2",
        "from x import y as PY2",
        "from x import *",
        "def PY2(): pass",
        "async def PY2(): pass",
        "class PY2: pass",
        "del PY2",
        "def f():\n    global x, PY2\n    PY2 = 1",
        "def f(): global PY2; PY2 = 1",
        "globals()['PY2'] = x",
        "match x:\n    case PY2: pass",
        "PY2: int = x",
    ] {
        let wanted = two(&format!("{flag}{after}"), "PY2");
        assert!(wanted.ends_with("yes no"), "{after:?}: {wanted}");
    }
    for before in ["sys = x", "import x as sys", "from x import sys", "sys.version_info = x"] {
        let wanted = two(before, "sys.version_info[0] == 2");
        assert!(wanted.ends_with("yes no"), "{before:?}: {wanted}");
    }
    // The second time round it is another.
    let source = "FIRST = True\nfor x in y:\n    if not FIRST: import a\n    FIRST = False";
    assert_eq!(wanted(source), "a");
    assert_eq!(wanted("for x in y:\n    if sys.version_info[0] == 2: import a"), "");
    // Each twice the one before.
    let chain: String = (1..100).map(|n| format!("A{n} = A{} or A{0}\n", n - 1)).collect();
    assert_eq!(two(&format!("A0 = os.name == 'nt'\n{chain}"), "A99"), "yes no");
}

#[test]
fn a_call_with_a_literal_is_an_import() {
    for (source, expected) in [
        ("__import__('a')", "a"),
        ("x = __import__(\"a.b\", globals(), locals(), ['c'])", "a.b"),
        ("importlib.import_module('a.b').c = 1", "a.b"),
        ("f(import_module(u'a'))", "a"),
        ("x = import_module('.a', __package__)", "p.q.a"),
        ("x = import_module('..a', package=__package__)", "p.a"),
        ("if __import__('a'): pass", "a"),
        ("class A(__import__('a').B): pass", "a"),
        ("def f(x=__import__('a')): __import__('b')", "a"),
        ("f = lambda: __import__('a')", ""),
        ("__import__(name)", ""),
        ("__import__('a' + x)", ""),
        ("__import__('a', x, y, z, 1)", ""),
        ("__import__('a', level=1)", ""),
        ("import_module('.a', x)", ""),
        ("import_module('')", ""),
        ("import_module('a..b')", ""),
        ("x.import_module('a')", ""),
        ("__import__", ""),
        ("__import__(", ""),
    ] {
        assert_eq!(wanted(source), expected, "{source:?}");
    }
}

#[test]
fn python_2_looks_for_a_sibling_first() {
    let of = |source: &str, module, is_package, version| {
        let target = target(version, "linux2");
        shown(&scan(source.as_bytes()).wanted(module, is_package, Some(&target)))
    };
    let (two, three) = ([2, 7, 18], [3, 6, 15]);
    let source = "import a.b as c\nfrom d import e\nfrom .f import g\nfrom h import *";
    let expected = "p.q.a.b a.b p.q.d(e) d(e) p.q.f(g) p.q.h* h*";
    assert_eq!(of(source, "p.q.m", false, two), expected);
    assert_eq!(of(source, "p.q", true, two), expected);
    assert_eq!(of(source, "p.q.m", false, three), "a.b d(e) p.q.f(g) h*");
    assert_eq!(either(source), "a.b d(e) p.q.f(g) h*");
    assert_eq!(of("import a", "m", false, two), "a");
    assert_eq!(of("import a", "m", true, two), "m.a a");
    let source = "from __future__ import (print_function, absolute_import)\nimport a";
    assert_eq!(of(source, "m", true, two), "__future__(print_function,absolute_import) a");
}

#[test]
fn exports_are_the_literals_of_all() {
    for (source, expected) in [
        ("__all__ = ['a', \"b\",]", "a b"),
        ("__all__ = ('a', # why\n  'b')", "a b"),
        ("__all__ = 'a', 'b'", "a b"),
        ("__all__: list[str] = ['a']", "a"),
        ("__all__ = ['a'] + x.__all__ + ['b']", "a b"),
        ("__all__ = ['a']\n__all__ += ('b',)\nif x:\n    __all__ += ['c']", "a b c"),
        ("__all__ = ['a', b, 'c' + d, f('e'), 'g' if x else 'h', f'i', '\\x61']", "a"),
        ("__all__ = [x for x in ('a', 'b')]", ""),
        ("__all__ == ['a']", ""),
        ("x.__all__ = ['a']", ""),
        ("__all__[0] = 'a'", ""),
        ("def f(): __all__ = ['a']", ""),
    ] {
        assert_eq!(scan(source.as_bytes()).exports().join(" "), expected, "{source:?}");
    }
}

/// Something of everything that a scanner looks at.
const SAMPLE: &[u8] = b"\xef\xbb\xbfimport a.b as c, d; from ..e import (f, # \xff\n g as h,)\r\n\
if sys.version_info[:2] >= (3, 1) and not (TYPE_CHECKING or os.name in ('nt', \"x\")):\r\n\
\tfrom . import *\n\telif_ = lambda x: x[1:2]\nelif X.startswith('a'): import i\nelse:\n  \
class A:\n    def f(x=__import__('j')):\n      global k; import l\n    async def g(): pass\n\
__all__ = ['m'] + n\nfor o in p:\n with q as (r, s): k = t = f'{u}' \\\n  + '''v\n'''\n\
match w:\n case [x]: import y\n__all__ += 'z',\nsys.platform = x = (y := 1)\n";

#[test]
fn any_bytes_can_be_scanned() {
    let scan = |source: &[u8]| {
        let imports = scan(source);
        for target in [None, Some(&target([2, 7, 18], "linux2"))] {
            imports.wanted("p.q.m", false, target);
        }
        imports
    };
    let whole = scan(SAMPLE);
    assert_eq!(shown(&whole.wanted("p.q.m", false, None)), "a.b d p.e(f,g) p.q* i j y");
    assert_eq!(whole.exports(), ["m", "z"]);
    for cut in 0..=SAMPLE.len() {
        scan(&SAMPLE[..cut]);
        scan(&SAMPLE[cut..]);
    }
    for at in 0..SAMPLE.len() {
        for byte in 0..=255 {
            let mut changed = SAMPLE.to_vec();
            changed[at] = byte;
            scan(&changed);
        }
    }
    // Tokens without sense, of a generator whose seed is written here.
    let words: [&[u8]; 40] = [
        b"import",
        b"from",
        b"as",
        b"if",
        b"elif",
        b"else",
        b":",
        b"(",
        b")",
        b"[",
        b"]",
        b",",
        b".",
        b"...",
        b"*",
        b"=",
        b":=",
        b"+=",
        b"\n",
        b"\n  ",
        b"\n    ",
        b";",
        b"def",
        b"class",
        b"lambda",
        b"not",
        b"in",
        b"and",
        b"or",
        b"sys",
        b"version_info",
        b"(3,)",
        b"'x'",
        b"startswith",
        b"for",
        b"global",
        b"__all__",
        b"import_module",
        b"case",
        b"a",
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let mut source = Vec::new();
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            source.extend_from_slice(words[(state >> 33) as usize % words.len()]);
            source.push(b' ');
        }
        scan(&source);
    }
}

#[test]
fn what_stands_before_an_error_counts() {
    assert_eq!(wanted("import a\nimport b\n'c\nimport d"), "a b");
    assert_eq!(wanted("import a\nx = (\nimport d"), "a");
    assert_eq!(wanted("import a\n\0"), "a");
}

#[test]
fn depth_and_length_cost_no_more_than_their_bytes() {
    let mut deep = String::new();
    for depth in 0..2_500 {
        deep += &format!("{}if x:\n", " ".repeat(depth));
    }
    deep += &format!("{}import a\nimport b", " ".repeat(2_500));
    assert_eq!(wanted(&deep), "a b");
    let tabs: String = (0..2_500).map(|depth| "\t".repeat(depth) + "class A:\n").collect();
    assert_eq!(wanted(&format!("{tabs}{}import a", "\t".repeat(2_500))), "a");
    for open in ["(", "[", "{"] {
        let close = open.replace('(', ")").replace('[', "]").replace('{', "}");
        let nested = open.repeat(100_000) + &close.repeat(100_000);
        for before in ["", "x = ", "__all__ = ", "sys.version_info == ", "x in "] {
            let source = format!("{before}{nested}\nif {before}{nested}: import a\nimport b");
            let expected = if before == "x = " || before == "__all__ = " { "b" } else { "a b" };
            assert_eq!(wanted(&source), expected);
        }
    }
    let nots = format!("if {}x: import a", "not ".repeat(100_000));
    assert_eq!(wanted(&nots), "a");
    // Any of these, at a cost that grows as the square, would take minutes.
    const BYTES: usize = 1 << 18;
    for pattern in [
        "(",
        "[(",
        "import a\n",
        "import a,",
        "from . import a,",
        ".",
        "from ...",
        "a.",
        "if x:",
        "if ",
        "for ",
        "as ",
        "as (",
        "lambda:",
        "not ",
        "x=",
        "x or ",
        "globals()\n",
        "global a\n",
        ";",
        "__import__(",
        "import_module('a',",
        "0a",
        "\"",
        "'''",
        "f'{",
        "\\\n",
        "\n ",
        "#\n",
        "a:=",
        "if 1:a\n",
        "elif os.name=='nt':import a\n",
        "A=True\n",
        "case ",
        "__all__+='a',\n",
        "\r",
        "@",
        "1_",
        "1.",
        "\x0c",
        "\t",
        "\u{e9}",
        "x[",
        "0x",
        "1e+",
        "in ",
        "sys.platform in ",
        "else:",
    ] {
        let source = format!("0{}", pattern.repeat(BYTES / pattern.len()));
        scan(source.as_bytes()).wanted("p.m", false, None);
    }
    let flags: String = (0..20_000).map(|n| format!("a{n}=True\n")).collect();
    scan(format!("{flags}{}", "globals()\n".repeat(20_000)).as_bytes());
    scan("(".repeat(1 << 20).as_bytes());
    scan("if sys.platform == 'x': import a; b = c\n".repeat((1 << 20) / 40).as_bytes());
}

#[test]
fn what_extends_a_path_is_told_by_its_words() {
    for (source, extends) in [
        ("from pkgutil import extend_path as e\n__path__ = e(__path__, __name__)", true),
        ("__path__ = __import__('pkgutil').extend_path(__path__, __name__)", true),
        (
            "try:\n    import pkg_resources as p\n    p.declare_namespace(__name__)\nexcept ImportError: pass",
            true,
        ),
        ("'extend_path(__path__, __name__)' # declare_namespace(__name__)", false),
        ("def later():\n    pkgutil.extend_path(__path__, __name__)", false),
        ("__path__.append('x')", false),
    ] {
        assert_eq!(scan(source.as_bytes()).extends(), extends, "{source}");
    }
}
