//! Measures what users feel, beside what this machine can do at best: start, call, bulk, memory.
//!
//! `cargo run --release --example measure [interpreter [quick]]`; under `taskset -c 0` for both ends on one
//! CPU. With `quick` it does a twentieth of all that, to see whether it works.
//! Each figure is the median of several runs. Nothing is judged here: compare with the lines beside it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use econtext::{Local, Router};

fn main() -> econtext::Result<()> {
    let python = std::env::args().nth(1).unwrap_or_else(|| "python3".into());
    let part = if std::env::args().nth(2).is_some_and(|word| word == "quick") { 20 } else { 1 };
    let times = |full: usize| full.div_ceil(part);
    let local = || Local::new().python(&python);

    let floor = median(times(21), || start_python(&python, 2));
    report("two starts of the interpreter, one after the other", ms(floor));
    let router = Router::new()?;
    router.modules().source("bulk", "def take(block):\n    return len(block)\n\n\nBLOCK = b'x' * (4 << 20)\n\n\ndef give():\n    return BLOCK\n");
    report("memory of the master without a context, kB", memory("self"));
    let start = median(times(21), || {
        let begin = Instant::now();
        let context = router.start(local());
        context.call::<u32>("os:getpid", ()).expect("a local context");
        let took = begin.elapsed();
        context.shutdown().expect("it ends");
        took
    });
    report("from nothing to the first result", ms(start));
    report(
        "the same, in times of the first line",
        format!("{:.2}", start.as_secs_f64() / floor.as_secs_f64()),
    );

    let context = router.connect(local())?;
    report("memory of a child (PSS), kB", pss(context.info()?.pid));
    report("memory of the master with one context, kB", memory("self"));
    let close = median(times(11), || {
        let context = router.connect(local()).expect("a local context");
        let begin = Instant::now();
        context.shutdown().expect("it ends");
        begin.elapsed()
    });
    report("close of a context", ms(close));

    let begin = Instant::now();
    let contexts: Vec<_> = (0..times(100)).map(|_| router.start(local())).collect();
    let replies: Vec<_> = contexts.iter().map(|it| it.call_async::<u32>("os:getpid", ())).collect();
    for reply in replies {
        reply?.get()?;
    }
    let hundred = begin.elapsed();
    report(&format!("{} contexts at once, connect and call", times(100)), ms(hundred));
    report(&format!("memory of the master with {} contexts, kB", times(100) + 1), memory("self"));
    report("its threads", fs::read_dir("/proc/self/task").map_or(0, |it| it.count()));
    for context in contexts {
        context.shutdown()?;
    }

    let call = median(times(11), || {
        let begin = Instant::now();
        for _ in 0..times(1000) {
            context.call::<u32>("os:getpid", ()).expect("a call");
        }
        begin.elapsed() / times(1000) as u32
    });
    report("a call, one after the other, us", us(call));
    let queued = median(times(5), || {
        let begin = Instant::now();
        let call = |_| context.call_async::<u32>("os:getpid", ()).expect("a call");
        let replies: Vec<_> = (0..times(20_000)).map(call).collect();
        for reply in replies {
            reply.get().expect("an answer");
        }
        begin.elapsed()
    });
    report(
        "calls issued without waiting, a second",
        (times(20_000) as f64 / queued.as_secs_f64()).round(),
    );

    let block = vec![7u8; 4 << 20];
    let rate = |took: Duration| times(64) as f64 * 4.194304 / took.as_secs_f64();
    let up = median(times(5), || {
        let begin = Instant::now();
        for _ in 0..times(64) {
            assert_eq!(
                context.call::<usize>("bulk:take", (block.as_slice(),)).expect("a call"),
                4 << 20
            );
        }
        begin.elapsed()
    });
    report("blocks of 4 MiB up as arguments, MB/s", rate(up).round());
    let down = median(times(5), || {
        let begin = Instant::now();
        for _ in 0..times(64) {
            assert_eq!(context.call::<Vec<u8>>("bulk:give", ()).expect("a call").len(), 4 << 20);
        }
        begin.elapsed()
    });
    report("blocks of 4 MiB down as results, MB/s", rate(down).round());

    router.shutdown()
}

fn report(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<55} {figure}");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn us(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e6)
}

fn median(runs: usize, mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..runs).map(|_| run()).collect();
    times.sort();
    times[runs / 2]
}

fn start_python(python: &str, times: usize) -> Duration {
    let begin = Instant::now();
    for _ in 0..times {
        let mut command = Command::new(python);
        let status = command.args(["-c", "pass"]).stdin(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{python} does not start");
    }
    begin.elapsed()
}

/// Resident memory of a process, in kB.
fn memory(pid: &str) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The same with what several processes share divided among them.
fn pss(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
