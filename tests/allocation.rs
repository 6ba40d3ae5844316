//! Promise: what code in a context starts by itself has ids that nobody else has, is known to the program at once,
//! can be called and have children as any other, and is forgotten when it goes.

use std::time::Duration;

use econtext::{Context, Error, Local, Pending, Router};

mod support;

use support::{Log, Python, for_each_kind_of_python, interpreters, isolated};

const STARTER: &str = r#"
import os
from econtext import core, parent

def start(python, name):
    return parent.local(python, name)

def start_two(python):
    return [parent.local(python, name) for name in ('one', 'two')]

def end():
    os._exit(3)

@core.takes_router
def known(router):
    """The contexts below, and those of ids that were given and not used."""
    return sorted(router.routes.via), sorted(sum((child.blocks for child in router.routes.children.values()), []))
"#;

fn path(python: &Python) -> &str {
    python.path.to_str().unwrap()
}

/// A router, its log, and a chain of so many contexts.
fn chain(python: &Python, depth: usize) -> (Router, Log, Vec<Context>) {
    let log = Log::default();
    // One that loses its parent in the middle of a call takes so long to end.
    let grace = Duration::from_secs(1);
    let router = Router::builder().on_log(log.sink()).shutdown_grace(grace).build().unwrap();
    router.modules().source("starter", STARTER);
    let mut chain: Vec<Context> = Vec::new();
    for _ in 0..depth {
        let local = Local::new().python(&python.path);
        chain.push(match chain.last() {
            None => router.connect(local).unwrap(),
            Some(last) => last.connect(local).unwrap(),
        });
    }
    (router, log, chain)
}

fn parent_pid(context: &Context) -> u32 {
    context.call("os:getppid", ()).unwrap()
}

fn pid(context: &Context) -> u32 {
    context.info().unwrap().pid
}

#[test]
fn what_a_context_starts_is_called_from_the_top_and_goes_as_any_other() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            for depth in 1..=3 {
                let (router, log, chain) = chain(python, depth);
                let last = chain.last().unwrap();
                let started: Context = last.call("starter:start", (path(python), "mine")).unwrap();
                // At once, whether it has said so itself or not.
                assert_eq!(started.name(), "mine");
                assert!(started.is_connected());
                let tree = router.tree().to_string();
                let shown = format!("mine (remote, id {}): connected", started.id());
                assert!(tree.contains(&shown), "{tree}");
                assert_eq!(started.info().unwrap().version, last.info().unwrap().version);
                assert_eq!(parent_pid(&started), pid(last));

                // It starts one itself, in the program's doing and in its own.
                let below = started.connect(Local::new().python(&python.path)).unwrap();
                assert_eq!(parent_pid(&below), pid(&started));
                let own: Context = started.call("starter:start", (path(python), "own")).unwrap();
                assert_eq!(parent_pid(&own), pid(&started));

                let waits: Pending<()> = own.call_async("time:sleep", (1000,)).unwrap();
                let error = started.call::<()>("starter:end", ()).unwrap_err();
                assert!(matches!(error, Error::Disconnected { .. }), "{error}");
                for gone in [&started, &below, &own] {
                    assert!(gone.call::<()>("os:getpid", ()).is_err());
                    assert!(!gone.is_connected());
                }
                assert!(waits.get().is_err());
                // The news of all that has gone comes by in front of the last one's answer.
                for context in chain.iter().rev() {
                    let (known, _): (Vec<u32>, Vec<(u32, u32)>) =
                        context.call("starter:known", ()).unwrap();
                    let alive: Vec<u32> = chain.iter().map(Context::id).collect();
                    assert!(known.iter().all(|id| alive.contains(id)), "{known:?}");
                }
                let warnings = log.records();
                assert!(warnings.iter().all(|it| it.logger != "econtext"), "{warnings:#?}");
                router.shutdown().unwrap();
            }
        });
    });
}

#[test]
fn nobody_has_the_id_of_another() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let (router, _, chain) = chain(python, 3);
            let beside = chain[0].connect(Local::new().python(&python.path)).unwrap();
            let other = router.connect(Local::new().python(&python.path)).unwrap();
            let parents: Vec<&Context> = chain.iter().chain([&beside, &other]).collect();
            let starts = parents.iter().map(|context| {
                context.call_async::<Vec<Context>>("starter:start_two", (path(python),)).unwrap()
            });
            let starts: Vec<Pending<_>> = starts.collect();
            let started: Vec<Vec<Context>> =
                starts.into_iter().map(|it| it.get().unwrap()).collect();
            for two in &started[2..] {
                // Both are of one block, of which nothing went to others below.
                assert_eq!(two[0].id() + 1, two[1].id());
            }
            for (parent, two) in parents.iter().zip(&started) {
                assert!(two.iter().all(|it| parent_pid(it) == pid(parent)), "{parent}");
            }
            let named = router.connect(Local::new().python(&python.path)).unwrap();
            let all = parents.into_iter().chain(started.iter().flatten()).chain([&named]);
            let mut ids: Vec<u32> = all.map(Context::id).collect();
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count);
            router.shutdown().unwrap();
        });
    });
}

#[test]
fn each_context_on_the_way_notes_the_block_of_who_asked() {
    isolated(|| {
        let (router, _, chain) = chain(&interpreters()[0], 3);
        let blocks = |context: &Context| {
            let (_, blocks): (Vec<u32>, Vec<(u32, u32)>) =
                context.call("starter:known", ()).unwrap();
            blocks
        };
        let python = path(&interpreters()[0]);
        let started: Context = chain[2].call("starter:start", (python, "x")).unwrap();
        for above in &chain[..2] {
            let [(first, end)] = blocks(above)[..] else { panic!("{:?}", blocks(above)) };
            assert_eq!((first, end - first), (started.id(), 16));
        }
        // Its own it keeps as what is free.
        assert_eq!(blocks(&chain[2]), []);
        router.shutdown().unwrap();
    });
}

#[test]
fn one_that_does_not_come_up_leaves_nothing() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let (router, _, chain) = chain(python, 2);
            let error =
                chain[1].call::<Context>("starter:start", ("/no/such/python", "no")).unwrap_err();
            assert!(error.to_string().contains("/no/such/python"), "{error}");
            for context in chain.iter().rev() {
                let (known, _): (Vec<u32>, Vec<(u32, u32)>) =
                    context.call("starter:known", ()).unwrap();
                assert!(known.iter().all(|id| *id == chain[1].id()), "{known:?}");
            }
            router.shutdown().unwrap();
        });
    });
}
