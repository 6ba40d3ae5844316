//! Streaming: follows a log file in a context, line by line, until a line says `end`.
//!
//! `cargo run --example follow FILE`

use econtext::{Local, Router};

const TAIL: &str = r#"
import time

def follow(sender, path):
    """Send each line of the file `path`, those of the future too, until one says `end`."""
    with open(path, 'rb') as log:
        rest, count = b'', 0
        while True:
            chunk = log.read(65536)
            if not chunk:
                time.sleep(0.05)
            lines = (rest + chunk).split(b'\n')
            rest = lines.pop()
            for line in lines:
                sender.send(line)  # waits while the program is far behind
                count += 1
                if line == b'end':
                    return count
"#;

fn main() -> econtext::Result<()> {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: follow FILE");
        std::process::exit(2);
    };
    let router = Router::new()?;
    router.modules().source("tail", TAIL);
    let context = router.connect(Local::new())?;

    // The sender goes along in the arguments; the channel ends when the function returns.
    let (sender, lines) = router.channel::<String>();
    let follow = context.call_async::<u64>("tail:follow", (sender, path))?;
    for line in &lines {
        println!("{}", line?);
    }
    println!("-- {} lines", follow.get()?);
    router.shutdown()
}
