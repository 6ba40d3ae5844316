//! Promise: what a context reports of those that it has started may be a lie; it ends those, and nothing else.

use econtext::{Context, Error, Local, Router};

mod support;

use support::{interpreters, isolated};

/// Has a context report what is not so of its child.
const LIAR: &str = r"
from econtext import core

def report(id, kind, *news):
    core.router.defer(lambda: core.router.routes.children[id].start.report(str(kind), *news))

def lie(id, which):
    report(id, *{
        'stalled': ('failed', 1, b'', u'stalled', None),
        'up again': ('up', 1, b''),
        'asked': ('asked', b'Password: ', True),
        'signal': ('lost', None, -2 ** 31),
        'long': ('lost', u'\x1b[2J' + u'x' * (1 << 20), None),
        'unknown': (u'\x1b[2J',),
        'short': ('lost',),
    }[str(which)])
";

fn local() -> Local {
    Local::new().python(&interpreters().iter().find(|it| it.version >= (3, 6)).unwrap().path)
}

/// How a wait for the child ends when its parent has told this.
fn reason(parent: &Context, which: &str) -> String {
    let child = parent.connect(local().name("child")).unwrap();
    let waiting = child.call_async::<()>("time:sleep", (1000,)).unwrap();
    parent.call::<()>("liar:lie", (child.id(), which)).unwrap();
    match waiting.get() {
        Err(Error::Disconnected { context, reason, .. }) => {
            assert_eq!(context, "child");
            reason
        }
        other => panic!("{which}: {other:?}"),
    }
}

#[test]
fn a_report_that_cannot_be_true_ends_the_child_that_it_is_of() {
    isolated(|| {
        let router = Router::builder().on_log(|_| {}).build().unwrap();
        router.modules().source("liar", LIAR);
        let parent = router.connect(local().name("parent")).unwrap();
        let beside = router.connect(local()).unwrap();
        let unread = "a report of parent cannot be read: ";
        for (which, kind) in [
            ("stalled", "failed"),
            ("up again", "up"),
            ("asked", "asked"),
            ("unknown", "\\x1b[2J"),
            ("short", "lost"),
        ] {
            assert_eq!(reason(&parent, which), format!("{unread}{kind}"), "{which}");
        }
        assert_eq!(reason(&parent, "signal"), "the child ended: ended, exit status unknown");
        let long = reason(&parent, "long");
        assert!(long.len() < 1100 && long.starts_with("\\x1b[2Jxxx"), "{long}");
        for context in [&parent, &beside] {
            context.call::<()>("os:getpid", ()).unwrap();
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn the_program_itself_is_no_context_to_wait_for() {
    isolated(|| {
        let router = Router::builder().on_log(|_| {}).build().unwrap();
        let source = "from econtext import core\ndef top():\n    return core.Context(0, 'top')\n";
        router.modules().source("liar", source);
        let top: Context = router.connect(local()).unwrap().call("liar:top", ()).unwrap();
        let error = top.info().unwrap_err();
        assert!(error.to_string().contains("it is the program itself"), "{error}");
        router.shutdown().unwrap();
    });
}
