//! Promise: a context can be the parent of others, at any depth, and they are called as any other.

use econtext::{Context, Local, Router};

mod support;

use support::{interpreters, isolated};

fn python() -> &'static std::path::Path {
    &interpreters().iter().find(|it| it.version >= (3, 6)).unwrap().path
}

#[test]
fn a_context_starts_a_child_which_is_called() {
    isolated(|| {
        let router = Router::new().unwrap();
        let parent = router.connect(Local::new().python(python())).unwrap();
        let child = parent.connect(Local::new().python(python())).unwrap();
        let ppid: i64 = child.call("os:getppid", ()).unwrap();
        assert_eq!(ppid, i64::from(parent.info().unwrap().pid));
        child.shutdown().unwrap();
        parent.call::<()>("os:getpid", ()).unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn a_chain_of_ten_is_called_at_each_level_and_goes_with_its_first() {
    isolated(|| {
        let router = Router::new().unwrap();
        router
            .modules()
            .source("mine", "import os\n\ndef names(depth):\n    return 'level %d' % depth\n");
        let mut chain: Vec<Context> = Vec::new();
        for level in 0..10 {
            let local = Local::new().python(python()).name(format!("level{level}"));
            let next = match chain.last() {
                None => router.start(local),
                Some(last) => last.start(local),
            };
            chain.push(next);
        }
        for (level, context) in chain.iter().enumerate() {
            let name: String = context.call("mine:names", (level,)).unwrap();
            assert_eq!(name, format!("level {level}"));
        }
        let pids: Vec<i64> = chain.iter().map(|it| it.info().unwrap().pid.into()).collect();
        for pair in 1..10 {
            let ppid: i64 = chain[pair].call("os:getppid", ()).unwrap();
            assert_eq!(ppid, pids[pair - 1]);
        }
        chain[0].shutdown().unwrap();
        assert!(chain.iter().all(|it| !it.is_connected()));
        router.shutdown().unwrap();
    });
}
