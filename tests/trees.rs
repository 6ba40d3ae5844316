//! Promise: a context can be the parent of others, at any depth, and they are called as any other.

use econtext::{Context, Local, Router, State};

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

#[test]
fn the_tree_shows_who_is_there_and_what_has_passed() {
    isolated(|| {
        let router = Router::new().unwrap();
        assert_eq!(router.tree().to_string(), "master");
        router.modules().source("mine", "def f():\n    return b'x' * 5000\n");
        let local = |name: &str| Local::new().python(python()).name(name);
        let first = router.connect(local("first")).unwrap();
        let below = first.connect(local("below")).unwrap();
        let second = router.connect(local("second")).unwrap();
        below.call::<Vec<u8>>("mine:f", ()).unwrap();
        let tree = router.tree();
        let names: Vec<_> = tree.children.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
        let node = &tree.children[0];
        assert_eq!(
            (node.id, node.method.as_str(), node.state),
            (first.id(), "local", State::Connected)
        );
        let [child] = &node.children[..] else { panic!("{tree}") };
        assert_eq!((child.id, child.queued_bytes), (below.id(), None));
        assert!(child.received.bytes > 5000 && child.received.bytes < 10_000, "{tree}");
        // What passes through a context counts there, too.
        assert!(node.received.bytes > child.received.bytes && node.modules > 0, "{tree}");
        assert!(tree.children[1].received.bytes < 1000, "{tree}");
        assert_eq!(tree.to_string().lines().count(), 4, "{tree}");
        second.shutdown().unwrap();
        below.shutdown().unwrap();
        let tree = router.tree();
        assert!(tree.children.len() == 1 && tree.children[0].children.is_empty(), "{tree}");
    });
}

#[test]
fn a_copy_has_the_modules_of_its_parent_and_an_end_of_its_own() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source(
            "slow",
            "import os\nLOADED_BY = os.getpid()\n\ndef loaded_by():\n    return LOADED_BY\n",
        );
        for python in interpreters() {
            let parent = router.connect(Local::new().python(&python.path)).unwrap();
            let pid: u32 = parent.call("slow:loaded_by", ()).unwrap();
            let copies = [(); 2].map(|()| parent.fork().unwrap());
            for copy in &copies {
                let found: (u32, u32, u32) = (
                    copy.call("slow:loaded_by", ()).unwrap(),
                    copy.call("os:getppid", ()).unwrap(),
                    copy.call("os:getpid", ()).unwrap(),
                );
                assert_eq!(found, (pid, pid, copy.info().unwrap().pid));
                assert_eq!(copy.name(), format!("fork.{}", found.2));
            }
            copies[0].shutdown().unwrap();
            let again: u32 = copies[1].fork().unwrap().call("slow:loaded_by", ()).unwrap();
            assert_eq!((again, parent.call("os:getpid", ()).unwrap()), (pid, pid));
            parent.shutdown().unwrap();
            assert!(!copies[1].is_connected());
        }
        router.shutdown().unwrap();
    });
}
