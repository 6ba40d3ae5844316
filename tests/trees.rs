//! Promise: a context can be the parent of others, at any depth, and they are called as any other.

use std::fs;
use std::time::Duration;

use econtext::{Context, Error, Exec, Local, Router, State, Sudo};

mod support;

use support::{Log, TempDir, interpreters, isolated, mkfifo, script};

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
fn contexts_of_one_name_are_told_apart_by_where_they_are() {
    isolated(|| {
        let log = Log::default();
        let router = Router::builder().on_log(log.sink()).build().unwrap();
        router.modules().source("mine", "def fail():\n    raise ValueError('no')\n\nsay = print\n");
        let local = |name: &str| Local::new().python(python()).name(name);
        for rack in ["rack1", "rack2"] {
            let parent = router.connect(local(rack)).unwrap();
            let web = parent.connect(local("web")).unwrap();
            web.call::<()>("mine:say", (rack,)).unwrap();
            let record = log.wait_for(rack, |it| it.message == rack);
            assert_eq!((&*record.context, record.context_id), ("web", web.id()));
            let said = |result: econtext::Result<()>| result.unwrap_err().to_string();
            let call = |what| format!("{rack} > web: call of {what}");
            let text = format!("{}: ValueError: no", call("mine:fail"));
            assert_eq!(said(web.call("mine:fail", ())), text);
            let text = format!("expected i64, got str 'web' from the {}", "call of builtins:str");
            let converted = web.call::<i64>("builtins:str", ("web",)).unwrap_err().to_string();
            assert_eq!(converted, format!("{text} in {rack} > web"));
            let none = Duration::ZERO;
            let text = format!("{}: no answer within 0ns", call("time:sleep"));
            assert_eq!(said(web.call_with_deadline(none, "time:sleep", (0.1,))), text);
            let text =
                format!("{}: disconnected: the child ended: exit status 3", call("os:_exit"));
            assert_eq!(said(web.call("os:_exit", (3,))), text);
            match web.info() {
                Err(Error::Disconnected { context, via, .. }) => {
                    assert_eq!((&*context, via), ("web", vec![rack.to_string()]));
                }
                other => panic!("{other:?}"),
            }
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn who_waits_for_a_context_is_told_which_one_above_it_is_not_up() {
    isolated(|| {
        let dir = TempDir::new();
        let router = Router::new().unwrap();
        let mute = script(&dir, "mute", "exec cat >/dev/null");
        let mute = router.start(Local::new().python(mute).name("mute"));
        let behind = mute.start(Local::new().python(python()).name("behind"));
        let words = |context: &Context| {
            context.wait_connected(Duration::from_millis(20)).unwrap_err().to_string()
        };
        assert_eq!(words(&mute), "mute: connecting: no answer within 20ms");
        let text = "mute > behind: connecting, behind mute, which is not up: no answer within 20ms";
        assert_eq!(words(&behind), text);
        let call = behind.call_with_deadline::<u32>(Duration::from_millis(20), "os:getpid", ());
        let text =
            "mute > behind: call of os:getpid, behind mute, which is not up: no answer within 20ms";
        assert_eq!(call.unwrap_err().to_string(), text);
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

#[test]
fn the_time_that_a_start_has_begins_when_its_parent_is_up() {
    isolated(|| {
        let (dir, router) = (TempDir::new(), Router::new().unwrap());
        let goes_on = mkfifo(&dir, "goes_on");
        let text = format!("read line < {}; exec \"$@\"", goes_on.display());
        let parent = router.start(Exec::new(["/bin/sh", "-c", &text, "-"]));
        // Its first way fails, and there is another one as long as there is time.
        let asks = "for word; do [ $word = -n ] && exit 1; done; while [ $1 != -- ]; do shift; done; shift; exec \"$@\"";
        let timeout = Duration::from_secs(1);
        let sudo = Sudo::new().password("x").sudo_path(script(&dir, "sudo", asks));
        let child = parent.start(sudo.connect_timeout(timeout));
        // Longer than that.
        std::thread::sleep(timeout * 2);
        fs::write(goes_on, "\n").unwrap();
        child.call::<i64>("os:getpid", ()).unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn only_who_has_children_has_the_code_for_it_and_the_core_is_sent_once() {
    isolated(|| {
        let router = Router::new().unwrap();
        router.modules().source(
            "known",
            "import sys\nfrom econtext import core\n\n\
             def of_parents():\n    \
                 return [name for name in ('parent', 'start', 'routes') if 'econtext.' + name in sys.modules]\n\n\
             def core_bytes():\n    return len(core.core_source)\n",
        );
        for python in interpreters() {
            let local = || Local::new().python(&python.path);
            let parent = router.connect(local()).unwrap();
            let of_parents = || parent.call::<Vec<String>>("known:of_parents", ()).unwrap();
            assert_eq!(of_parents(), Vec::<String>::new(), "{python}");
            let first = parent.connect(local()).unwrap();
            assert_eq!(of_parents(), ["parent", "start", "routes"], "{python}");
            assert_eq!(first.call::<Vec<String>>("known:of_parents", ()).unwrap(), [""; 0]);
            // The first has brought the modules; of a further one there is the plan, and not the core.
            let core: u64 = parent.call("known:core_bytes", ()).unwrap();
            let sent = || {
                let node = router.tree().children.into_iter().find(|it| it.id == parent.id());
                node.unwrap().sent.bytes
            };
            let before = sent();
            parent.connect(local()).unwrap();
            let took = sent() - before;
            assert!((1000..core).contains(&took), "{took} bytes, and the core has {core}");
            parent.shutdown().unwrap();
        }
        router.shutdown().unwrap();
    });
}
