//! Promise: a copy of a context has all that is imported there, and is a context of its own.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use econtext::{Context, Error, Exec, Local, Result, Value};

mod support;

use support::{
    Process, Python, Run, TempDir, for_each_kind_of_python, for_each_python, isolated, long, mkfifo,
};

fn start(python: &Python) -> Run {
    // A warning would be an exception.
    let local = Local::new().python(&python.path).env("PYTHONWARNINGS", "error");
    Run::start_with(local, econtext::Level::Info, |modules| {
        modules.source("work", include_str!("fork/work.py"));
        modules.source("unasked", "NAME = 'found'\n");
    })
}

/// Has the context start a copy of itself, for which its main thread may keep it waiting so long.
fn try_fork(context: &Context, name: &str, timeout_ms: i64) -> Result<Context> {
    let text = |text: &str| Value::Text(text.into());
    let plan = Value::Dict(vec![
        (text("name"), text(name)),
        (text("fork"), Value::Bool(true)),
        (text("stage"), Value::Bytes(Vec::new())),
        (text("timeout_ms"), Value::Int(timeout_ms)),
    ]);
    let way = Value::Tuple(vec![plan, Value::None]);
    context.call("econtext.parent:begin", (name, Value::List(vec![way])))
}

fn fork(context: &Context, name: &str) -> Context {
    try_fork(context, name, 3_000).unwrap_or_else(|error| panic!("{}", long(&error)))
}

fn call<T: econtext::FromValue>(context: &Context, target: &str) -> T {
    context.call(target, ()).unwrap_or_else(|error| panic!("{}", long(&error)))
}

#[test]
fn a_copy_has_what_was_done_and_its_own_from_then_on() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            run.context.call::<()>("work:load", ("before",)).unwrap();
            let copy = fork(&run.context, "copy");
            let (pid, ppid, session): (i32, i32, i32) = call(&copy, "work:who");
            let (above, ..): (i32, i32, i32) = call(&run.context, "work:who");
            assert_eq!((ppid, session), (above, pid));
            let load = |context: &Context, item: &str| -> Vec<String> {
                context.call("work:load", (item,)).unwrap()
            };
            assert_eq!(load(&copy, "below"), ["before", "below"]);
            assert_eq!(load(&run.context, "above"), ["before", "above"]);
            let again = fork(&copy, "again");
            assert_eq!(load(&again, "twice"), ["before", "below", "twice"]);
            let (_, ppid, _): (i32, i32, i32) = call(&again, "work:who");
            assert_eq!(ppid, pid);
        });
    });
}

#[test]
fn a_copy_imports_and_starts_contexts_and_so_does_the_original() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            // With a child of the original, of which the copy must know nothing.
            let (_, _): (i32, i32) = call(&run.context, "work:start_below");
            let copy = fork(&run.context, "copy");
            for context in [&copy, &run.context] {
                assert_eq!(call::<String>(context, "work:late"), "found");
                let (ppid, pid): (i32, i32) = call(context, "work:start_below");
                assert_eq!(ppid, pid);
            }
        });
    });
}

#[test]
fn copies_draw_random_numbers_of_their_own() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            call::<Vec<String>>(&run.context, "work:draws");
            let (one, two) = (fork(&run.context, "one"), fork(&run.context, "two"));
            let drawn = [&run.context, &one, &two].map(|it| call::<Vec<String>>(it, "work:draws"));
            let different: HashSet<_> = drawn.iter().flatten().collect();
            assert_eq!(different.len(), 6, "{drawn:?}");
        });
    });
}

#[test]
fn a_copy_shares_no_connection_with_the_original() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let (_, _): (i32, i32) = call(&run.context, "work:start_below");
            let sibling = fork(&run.context, "sibling");
            let copy = fork(&run.context, "copy");
            let of = |context| call::<Vec<String>>(context, "work:connections").into_iter();
            let copys: HashSet<_> = of(&copy).collect();
            for other in [&run.context, &sibling] {
                let shared: Vec<_> = of(other).filter(|it| copys.contains(it)).collect();
                assert!(shared.is_empty(), "{shared:?}");
            }
        });
    });
}

#[test]
fn a_copy_has_no_descriptors_of_starts_that_are_under_way_in_the_original() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            let (_, _): (i32, i32) = call(&run.context, "work:start_below");
            let count = |context: &Context| call::<Vec<String>>(context, "work:connections").len();
            let before = count(&fork(&run.context, "before"));
            run.context.call::<()>("work:starting", (4,)).unwrap();
            assert_eq!(count(&fork(&run.context, "after")), before);
        });
    });
}

#[test]
fn locks_that_another_thread_holds_do_not_stop_a_copy_and_it_logs_as_itself() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_python(|python| {
            let run = start(python);
            run.context.call::<()>("work:log", ("first",)).unwrap();
            let fifo = mkfifo(&dir, &python.name);
            if python.version < (3, 7) {
                run.context.call::<()>("work:grip", (&fifo,)).unwrap();
            }
            let copy = fork(&run.context, "copy");
            copy.call::<()>("work:log", ("from below",)).unwrap();
            for logger in ["work", "stdout"] {
                run.log.wait_for("what the copy says", |record| {
                    record.context != run.context.name()
                        && (&*record.logger, &*record.message) == (logger, "from below")
                });
            }
            if python.version < (3, 7) {
                run.context.call::<()>("work:let_go", (&fifo,)).unwrap();
            }
        });
    });
}

#[test]
fn ends_of_channels_stay_with_the_original() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            run.context.call::<()>("work:own", (true,)).unwrap();
            let copy = fork(&run.context, "copy");
            let reason = "this is a copy of the context that had it";
            assert_eq!(call::<Vec<String>>(&copy, "work:use"), [reason, reason, "through"]);
        });
    });
}

#[test]
fn a_copy_leaves_what_is_to_be_done_at_the_end_to_the_original() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            run.context.call::<()>("work:say_at_exit", ("of the original",)).unwrap();
            let copy = fork(&run.context, "copy");
            copy.call::<()>("work:say_at_exit", ("of the copy",)).unwrap();
            copy.shutdown().unwrap();
            run.context.shutdown().unwrap();
            run.log.wait_for("the last words", |it| it.message == "of the original");
            let words = run.log.records().into_iter().map(|it| it.message);
            let said: Vec<_> = words.filter(|it| it.starts_with("of the ")).collect();
            assert_eq!(said, ["of the copy", "of the original"]);
        });
    });
}

#[test]
fn a_copy_that_is_killed_is_reaped_and_one_whose_original_is_killed_ends() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let killed = fork(&run.context, "killed");
            let (pid, ..): (i32, i32, i32) = call(&killed, "work:who");
            assert_eq!(call::<Vec<i32>>(&run.context, "work:children"), [pid]);
            let error = killed.call::<()>("os:kill", (pid, 9)).unwrap_err();
            assert!(matches!(error, Error::Disconnected { .. }), "{error}");
            assert_eq!(call::<Vec<i32>>(&run.context, "work:children"), []);

            let copy = fork(&run.context, "copy");
            let (pid, above, _): (i32, i32, i32) = call(&copy, "work:who");
            let process = Process::open(pid);
            run.context.call::<()>("os:kill", (above, 9)).unwrap_err();
            process.wait_end();
            assert!(copy.call::<()>("os:getpid", ()).is_err());
        });
    });
}

#[test]
fn a_copy_waits_for_the_main_thread_and_not_for_ever() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            let run = start(python);
            call::<()>(&run.context, "work:children");
            let fifo = mkfifo(&dir, &python.name);
            let busy = run.context.call_async::<()>("work:wait_for", (&fifo,)).unwrap();
            let error = try_fork(&run.context, "copy", 20).unwrap_err();
            assert!(error.to_string().contains("the main thread was busy all the time"), "{error}");
            std::fs::write(&fifo, "").unwrap();
            busy.get().unwrap();
            assert_eq!(call::<Vec<i32>>(&run.context, "work:children"), []);
            fork(&run.context, "copy");
        });
    });
}

#[test]
fn a_copy_is_made_while_another_thread_prints_or_changes_the_filters_of_warnings() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            for upset in ["work:forget_filters", "work:hold_stdout"] {
                run.context.call::<()>(upset, ()).unwrap();
                let copy = fork(&run.context, "copy");
                copy.call::<()>("work:log", (upset,)).unwrap();
                run.log.wait_for("what the copy prints", |record| {
                    record.context != run.context.name()
                        && (&*record.logger, &*record.message) == ("stdout", upset)
                });
            }
        });
    });
}

#[test]
fn contexts_start_while_copies_are_made_and_the_copies_have_nothing_of_them() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            fork(&run.context, "first");
            for _ in 0..3 {
                let local = || Local::new().python(&python.path);
                let starts: Vec<_> = (0..8).map(|_| run.context.start(local())).collect();
                let copies: Vec<_> = thread::scope(|scope| {
                    let forks: Vec<_> =
                        (0..8).map(|_| scope.spawn(|| run.context.fork())).collect();
                    forks.into_iter().map(|it| it.join().unwrap().unwrap()).collect()
                });
                for context in &starts {
                    call::<i32>(context, "os:getpid");
                }
                let of = |context| call::<Vec<String>>(context, "work:connections").into_iter();
                let originals: HashSet<_> = of(&run.context).collect();
                for copy in &copies {
                    let shared: Vec<_> = of(copy).filter(|it| originals.contains(it)).collect();
                    assert!(shared.is_empty(), "{shared:?}");
                }
            }
        });
    });
}

#[test]
fn a_start_does_not_wait_for_ever_for_a_pipe_that_a_copy_of_the_users_has_too() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            run.context.call::<()>("work:copy_in_between", ()).unwrap();
            let local =
                Local::new().python(&python.path).connect_timeout(Duration::from_millis(300));
            let error = run.context.connect(local).unwrap_err();
            assert!(error.to_string().contains("it was not executed within "), "{error}");
            run.context.call::<()>("work:end_copies", ()).unwrap();
            run.context.connect(Local::new().python(&python.path)).unwrap();
        });
    });
}

#[test]
fn time_is_kept_after_a_long_wait_and_where_there_was_no_thread_for_it() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let days = 40 * 24 * 3600 * 1000;
            try_fork(&run.context, "patient", days).unwrap();
            let silent = Exec::new(["sh", "-c", "exec sleep 600"]);
            let silent = silent.connect_timeout(Duration::from_millis(200));
            let error = run.context.connect(silent).unwrap_err();
            assert!(error.to_string().contains("no answer within 200ms"), "{error}");
            let came = call::<Vec<String>>(&run.context, "work:timers_without_threads");
            assert_eq!(came, ["first", "second"]);
        });
    });
}

#[test]
fn a_process_that_is_only_said_to_have_ended_is_still_looked_after() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            let copy = fork(&run.context, "copy");
            call::<i32>(&run.context, "work:say_ended");
            let (pid, ..): (i32, i32, i32) = call(&copy, "work:who");
            copy.call::<()>("os:kill", (pid, 9)).unwrap_err();
            assert_eq!(call::<Vec<i32>>(&run.context, "work:children"), []);
        });
    });
}
