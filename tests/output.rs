//! Promise: what a child and its own children print arrives in the log, line by line, or is counted.

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use econtext::{Level, Local, LogRecord, Router, Value};

mod support;

use support::{Log, Python, Run, TempDir, for_each_kind_of_python, for_each_python, isolated};

const PRINTS: &str = r#"# -*- coding: utf-8 -*-
from __future__ import print_function, unicode_literals
import os, subprocess, sys

def ways():
    print('print')
    sys.stdout.write('no ')
    sys.stdout.write('newline\n')
    sys.stdout.writelines(['li', 'nes\n'])
    os.system('echo system')
    subprocess.check_call(['echo', 'subprocess'])
    os.write(1, b'descriptor\n')
    sys.__stdout__.write('original\n')
    os.system('echo dev >/dev/stdout')
    with open('/dev/stdout', 'w') as file:
        file.write('opened\n')
    print('')
    print('last')

def forward(lines):
    from econtext import core
    core.router.log('stdout', 20, lines)

def errors():
    print('print', file=sys.stderr)
    sys.stderr.write('write\n')
    os.system('echo system >&2')
    os.write(2, b'descriptor\n')
    os.system('echo dev >/dev/stderr')
    with open('/dev/stderr', 'w') as file:
        file.write('opened\n')
    print('last', file=sys.stderr)

def odd_bytes():
    write = getattr(sys.stdout, 'buffer', sys.stdout).write
    write(b'\xff\xfe bad\n')
    write(b'\x1b[31mred\x1b[0m \x07\n')
    write(b'windows\r\n')
    write(b'over\rprinted\n')
    write(b'nul\x00tab\t\n')
    write(b'caf\xc3\xa9\n')
    sys.stdout.flush()
    print('caf\xe9')
    sys.stdout.write('caf\xe9 \u20ac\n')
    if str is not bytes:
        print('\udcff')
    print(str('native'), 1, None, b'bytes'.decode())

def stdio():
    assert not sys.stdin.isatty() and not sys.stdout.isatty() and not sys.stderr.isatty()
    assert sys.stdin.read() == '', 'something to read'
    assert (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()) == (0, 1, 2)
    assert sys.stdout is sys.__stdout__ and sys.stderr is sys.__stderr__
    assert sys.stdout.encoding.lower() == 'utf-8', sys.stdout.encoding
    assert not sys.stdout.closed
    sys.stdout.flush()
    try:
        (input if str is not bytes else raw_input)()
    except EOFError:
        pass
    else:
        raise AssertionError('no EOFError')
    subprocess.check_call(['sh', '-c', 'read line && exit 1; exit 0'])
    try:
        import faulthandler
    except ImportError:
        return
    faulthandler.dump_traceback()

def many(count, width):
    line = 'x' * width
    for number in range(count):
        sys.stdout.write('%07d %s\n' % (number, line))

def at_once(count, width):
    data = b''.join(('%07d %s\n' % (number, 'x' * width)).encode() for number in range(count))
    file = os.fdopen(os.dup(1), 'wb')
    file.write(data)
    file.close()

def one_line(length):
    os.system("head -c %d /dev/zero | tr '\\0' x; echo; echo done" % length)

def later(path):
    import threading, time
    def wait():
        while not os.path.exists(path):
            time.sleep(.01)
        print('from a thread')
    threading.Thread(target=wait).start()
    subprocess.Popen(['sh', '-c', 'until [ -e "$0" ]; do sleep .01; done; echo from a process', path])

def at_exit():
    import atexit
    def leave():
        print('leaving')
        os.system('echo system')
        sys.stdout.write('no newline')
    atexit.register(leave)

def unfinished():
    sys.stdout.write('out')
    sys.stderr.write('err')

def killed():
    import signal, time
    print('last words')
    os.system('echo of both')
    time.sleep(.2)
    os.kill(os.getpid(), signal.SIGKILL)

def threads():
    import threading
    def work(number):
        for _ in range(200):
            sys.stdout.write(str(number) * 100 + '\n')
    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]

def echo(value):
    return value
"#;

fn start(python: &Python) -> Run {
    Run::start(python, |modules| {
        modules.source("prints", PRINTS);
    })
}

/// Waits for the message, then gives back all of its logger.
fn until(log: &Log, logger: &str, last: &str) -> Vec<String> {
    log.wait_for(last, |record| record.logger == logger && record.message == last);
    let records = log.records().into_iter();
    records.filter(|record| record.logger == logger).map(|record| record.message).collect()
}

#[test]
fn every_way_to_print_arrives_line_by_line_and_in_order() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            run.context.call::<()>("prints:ways", ()).unwrap();
            assert_eq!(
                until(&run.log, "stdout", "last"),
                [
                    "print",
                    "no newline",
                    "lines",
                    "system",
                    "subprocess",
                    "descriptor",
                    "original",
                    "dev",
                    "opened",
                    "",
                    "last"
                ]
            );
            run.context.call::<()>("prints:errors", ()).unwrap();
            assert_eq!(
                until(&run.log, "stderr", "last"),
                ["print", "write", "system", "descriptor", "dev", "opened", "last"]
            );
            let record = run.log.wait_for("print", |record| record.message == "print");
            assert_eq!(record.level, Level::Info);
            assert_eq!(record.target(), format!("econtext.ctx.{}", run.context.name()));
        });
    });
}

#[test]
fn bytes_that_are_no_text_are_made_harmless() {
    isolated(|| {
        for_each_python(|python| {
            for lang in ["C.UTF-8", "C"] {
                let local = Local::new().python(&python.path).env("LANG", lang);
                let run = Run::start_with(local, Level::Info, |modules| {
                    modules.source("prints", PRINTS);
                });
                run.context.call::<()>("prints:odd_bytes", ()).unwrap();
                let lines = until(&run.log, "stdout", "native 1 None bytes");
                let mut expected = vec![
                    "\u{fffd}\u{fffd} bad",
                    "\\x1b[31mred\\x1b[0m \\x07",
                    "windows",
                    "over\\rprinted",
                    "nul\\x00tab\\t",
                    "caf\u{e9}",
                    "caf\u{e9}",
                    "caf\u{e9} \u{20ac}",
                    "\\udcff",
                    "native 1 None bytes",
                ];
                if python.version.0 == 2 {
                    expected.remove(8);
                }
                assert_eq!(lines, expected);
            }
        });
    });
}

#[test]
fn the_standard_files_are_what_programs_expect() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            run.context.call::<()>("prints:stdio", ()).unwrap();
            if python.version.0 > 2 {
                let wanted = |record: &LogRecord| {
                    record.logger == "stderr" && record.message.contains("in stdio")
                };
                run.log.wait_for("the stack", wanted);
            }
        });
    });
}

#[test]
fn ten_megabytes_at_once_arrive_whole() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            for (target, count, width) in
                [("prints:at_once", 100_000, 92), ("prints:many", 20_000, 5)]
            {
                let (all, is_all) = mpsc::channel();
                let mut next = 0;
                // An ordinary sink: it keeps up, with some work for each line.
                let router = Router::builder().on_log(move |record| match &*record.logger {
                    "stdout" => {
                        assert_eq!(record.message[..7].parse::<u32>().unwrap(), next);
                        next += 1;
                        if next == count {
                            all.send(Ok(())).unwrap();
                        }
                    }
                    _ => all.send(Err(record.message.clone())).unwrap(),
                });
                let router = router.build().unwrap();
                router.modules().source("prints", PRINTS);
                let context = router.connect(Local::new().python(&python.path)).unwrap();
                context.call::<()>(target, (count, width)).unwrap();
                is_all.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
            }
        });
    });
}

#[test]
fn empty_lines_in_one_message_are_shown_in_bounded_memory() {
    const LINES: usize = 2_000_000;
    isolated(|| {
        let shown = Arc::new(AtomicUsize::new(0));
        let count = shown.clone();
        let sink = move |_: &LogRecord| {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let grace = Duration::from_secs(60);
        let router = Router::builder().on_log(sink).shutdown_grace(grace).build().unwrap();
        router.modules().source("prints", PRINTS);
        let context = router.connect(Local::new()).unwrap();
        context.call::<()>("prints:forward", (vec![b'\n'; LINES],)).unwrap();
        router.shutdown().unwrap();
        assert_eq!(shown.load(Ordering::Relaxed), LINES);
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
        assert!(kib < 64 << 10, "{kib} KiB");
    });
}

#[test]
fn a_line_without_end_comes_in_parts() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            run.context.call::<()>("prints:one_line", (3_000_000,)).unwrap();
            let lines = until(&run.log, "stdout", "done");
            assert_eq!(lines.iter().map(String::len).sum::<usize>(), 3_000_004);
            assert!(lines.len() > 2 && lines.iter().all(|line| line.len() < 200_000));
        });
    });
}

#[test]
fn output_arrives_after_the_call_has_returned() {
    isolated(|| {
        let dir = TempDir::new();
        for_each_kind_of_python(|python| {
            let run = start(python);
            let file = dir.path().join("go");
            run.context.call::<()>("prints:later", (file.to_str().unwrap(),)).unwrap();
            dir.file("go", "");
            for line in ["from a thread", "from a process"] {
                run.log
                    .wait_for(line, |record| record.message == line && record.logger == "stdout");
            }
            std::fs::remove_file(&file).unwrap();
        });
    });
}

#[test]
fn what_is_printed_on_the_way_out_arrives() {
    isolated(|| {
        for_each_python(|python| {
            let run = start(python);
            run.context.call::<()>("prints:at_exit", ()).unwrap();
            run.context.shutdown().unwrap();
            run.router.shutdown().unwrap();
            assert_eq!(run.messages("stdout"), ["leaving", "system", "no newline"]);

            let run = start(python);
            run.context.call::<()>("prints:unfinished", ()).unwrap();
            run.router.shutdown().unwrap();
            assert_eq!(run.messages("stdout"), ["out"]);
            assert_eq!(run.messages("stderr"), ["err"]);
        });
    });
}

#[test]
fn what_was_printed_before_a_kill_arrives() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            let error = run.context.call::<()>("prints:killed", ()).unwrap_err();
            assert!(error.to_string().ends_with("the child ended: killed by signal 9"), "{error}");
            assert_eq!(until(&run.log, "stdout", "of both"), ["last words", "of both"]);
        });
    });
}

#[test]
fn lines_of_threads_do_not_mix() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let run = start(python);
            run.context.call::<()>("prints:threads", ()).unwrap();
            run.requests();
            let lines = run.messages("stdout");
            assert_eq!(lines.len(), 1600);
            for line in lines {
                assert!(
                    line.len() == 100 && line.bytes().all(|byte| byte == line.as_bytes()[0]),
                    "{line}"
                );
            }
        });
    });
}

#[test]
fn a_sink_that_panics_gets_the_next_record() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            std::panic::set_hook(Box::new(|_| {}));
            let log = Log::default();
            let mut keep = log.sink();
            let router = Router::builder().on_log(move |record| {
                assert!(record.message != "print", "the sink's own");
                keep(record);
            });
            let router = router.build().unwrap();
            router.modules().source("prints", PRINTS);
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            context.call::<()>("prints:ways", ()).unwrap();
            assert_eq!(until(&log, "stdout", "last").len(), 10);
            let _ = std::panic::take_hook();
        });
    });
}

#[test]
fn a_sink_that_blocks_stops_nothing_and_loses_what_it_must_aloud() {
    const LINES: u64 = 100_000;
    isolated(|| {
        for_each_kind_of_python(|python| {
            let (open, gate) = mpsc::channel::<()>();
            let (all, is_all) = mpsc::channel();
            let blocked = Arc::new(AtomicBool::new(false));
            let is_blocked = blocked.clone();
            let (mut lines, mut dropped) = (0, 0);
            let router = Router::builder().on_log(move |record| {
                if record.logger == "stdout" {
                    lines += 1;
                    if !is_blocked.swap(true, Ordering::SeqCst) {
                        let _ = gate.recv();
                    }
                }
                let count =
                    record.message.strip_suffix(" lines dropped: the log's sink is too slow");
                dropped += count.map_or(0, |count| count.parse::<u64>().unwrap());
                if lines + dropped >= LINES {
                    all.send((lines, dropped)).unwrap();
                }
            });
            let router = router.build().unwrap();
            router.modules().source("prints", PRINTS);
            let context = router.connect(Local::new().python(&python.path)).unwrap();
            // Imported before, for the helper that would serve it is going to be stuck.
            context.call::<Value>("prints:echo", (1,)).unwrap();
            context.call::<()>("prints:at_once", (LINES, 92)).unwrap();
            assert!(blocked.load(Ordering::SeqCst));
            for number in 0..100u32 {
                assert_eq!(context.call::<u32>("prints:echo", (number,)).unwrap(), number);
            }
            open.send(()).unwrap();
            let (lines, dropped) = is_all.recv_timeout(Duration::from_secs(30)).unwrap();
            assert!(lines >= 5000 && dropped > 0, "{lines} lines, {dropped} dropped");
            assert_eq!(lines + dropped, LINES);
        });
    });
}

#[test]
fn a_sink_that_hangs_does_not_delay_shutdown_beyond_the_grace() {
    isolated(|| {
        let python = support::interpreters().last().unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let router = Router::builder()
            .shutdown_grace(Duration::from_millis(600))
            .on_log(move |record| {
                if record.logger == "stdout" {
                    let _ = gate.recv();
                }
            })
            .build()
            .unwrap();
        router.modules().source("prints", PRINTS);
        let context = router.connect(Local::new().python(&python.path)).unwrap();
        context.call::<()>("prints:ways", ()).unwrap();
        let start = Instant::now();
        router.shutdown().unwrap();
        assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
        drop(open); // Every wait of the sink ends, and its thread with it.
    });
}

/// Not a test but the program that the next one starts.
#[test]
fn a_program_without_a_sink() {
    let Some(python) = env::var_os("ECONTEXT_TEST_PROGRAM") else { return };
    let router = Router::new().unwrap();
    router.modules().source("prints", PRINTS);
    let context = router.connect(Local::new().python(python).name("web1")).unwrap();
    context.call::<()>("prints:ways", ()).unwrap();
    router.shutdown().unwrap();
}

#[test]
fn the_log_goes_to_stderr_by_default() {
    isolated(|| {
        for_each_kind_of_python(|python| {
            let mut program = Command::new(env::current_exe().unwrap());
            program.args(["--exact", "a_program_without_a_sink", "--nocapture"]);
            let output = program.env("ECONTEXT_TEST_PROGRAM", &python.path).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{stderr}");
            let lines: Vec<_> = stderr.lines().collect();
            assert_eq!(lines.len(), 11, "{stderr}");
            let (time, rest) = lines[1].split_once(' ').unwrap();
            assert_eq!(rest, "INFO econtext.ctx.web1: stdout: no newline");
            let digits = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c });
            assert_eq!(digits.collect::<String>(), "00:00:00");
            let stdout = String::from_utf8(output.stdout).unwrap();
            assert!(!stdout.contains("newline"), "{stdout}");
        });
    });
}
