//! What `make demo` shows: a context of this machine, or of `HOST` over ssh, calls, a served module, logs
//! and a stream.
//!
//! `demo [user@host[:port] [ssh_config]]`

use std::time::{Duration, Instant};

use econtext::{Context, Error, Level, Local, Router, Ssh};

const PRIMES: &str = r#"
import logging

def below(limit):
    sieve = bytearray([1]) * limit
    sieve[:2] = b'\0\0'
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            sieve[n * n::n] = bytearray(len(range(n * n, limit, n)))
    print('%d primes below %d' % (sum(sieve), limit))
    logging.getLogger('primes').warning('the largest is %d', sieve.rindex(b'\x01'))
    return sum(sieve)

def stream(sender, limit):
    for n in range(2, limit):
        if all(n % d for d in range(2, int(n ** 0.5) + 1)):
            sender.send(n)

def fail(path):
    return open(path).read()
"#;

fn connect(router: &Router) -> econtext::Result<Context> {
    let mut arguments = std::env::args().skip(1);
    let Some(host) = arguments.next() else { return router.connect(Local::new()) };
    let mut method = match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => Ssh::new(name).port(port),
        _ => Ssh::new(host),
    };
    if let Some(config) = arguments.next() {
        method = method.config_file(config);
    }
    router.connect(method)
}

fn main() -> econtext::Result<()> {
    println!("A router: the broker thread, and a log that is shown here.");
    let router = Router::builder()
        .log_level(Level::Info)
        .on_log(|record| println!("   log | {record}"))
        .build()?;
    router.modules().source("primes", PRIMES);

    println!("\nA context: Python, started and given its code over its standard input.");
    let begin = Instant::now();
    let context = connect(&router)?;
    let info = context.info()?;
    println!(
        "   {context} is {} {} ({}), process {}, after {:.1?}",
        info.implementation,
        info.version,
        info.executable.display(),
        info.pid,
        begin.elapsed()
    );

    println!("\nCalls of functions that are there: os.getpid and platform.platform.");
    let pid: u32 = context.call("os:getpid", ())?;
    let platform: String = context.call("platform:platform", ())?;
    println!("   {pid}, {platform}");
    let begin = Instant::now();
    for _ in 0..200 {
        context.call::<u32>("os:getpid", ())?;
    }
    println!("   200 more, one after the other: {:.1?} each", begin.elapsed() / 200);

    println!("\nA module that is part of this program; what it prints and logs comes back.");
    let count: u32 = context.call("primes:below", (1_000_000,))?;
    println!("   the result: {count}");

    println!("\nA stream of items, while the function runs.");
    let (sender, primes) = router.channel::<u64>();
    let done = context.call_async::<()>("primes:stream", (sender, 50))?;
    let mut line = String::from("  ");
    for prime in &primes {
        line += &format!(" {}", prime?);
    }
    println!("{line}"); // at once, as the log is shown by another thread
    done.get()?;

    println!("\nAn exception, with the lines of the module above in its traceback.");
    match context.call::<String>("primes:fail", ("/no/such/file",)) {
        Err(Error::Call(error)) => {
            println!("   {error}");
            error.traceback.lines().for_each(|line| println!("   | {line}"));
        }
        other => println!("   unexpectedly: {other:?}"),
    }

    println!("\nA timeout: the wait ends, the function runs on.");
    match context.call_with_deadline::<()>(Duration::from_millis(50), "time:sleep", (0.2,)) {
        Err(error) => println!("   {error}"),
        Ok(()) => println!("   unexpectedly it was in time"),
    }

    println!("\nShutdown: the process, its pipes and the thread are gone.");
    let begin = Instant::now();
    router.shutdown()?;
    println!("   after {:.1?}", begin.elapsed());
    Ok(())
}
