//! One function on many machines: results as they come, errors by host, the exit status for scripts.
//!
//! `cargo run --example hosts -- [-F ssh_config] [user@]host[:port] ...`

use std::process::ExitCode;

use econtext::{Router, Select, Ssh};

const FACTS: &str = r#"
import os, platform, sys

def summary():
    version = '.'.join(map(str, sys.version_info[:3]))
    return '%s, Python %s, load %.2f' % (platform.node(), version, os.getloadavg()[0])
"#;

fn main() -> econtext::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1).peekable();
    let config = arguments.next_if_eq("-F").and_then(|_| arguments.next());
    let hosts: Vec<String> = arguments.collect();
    if hosts.is_empty() {
        eprintln!("usage: hosts [-F ssh_config] [user@]host[:port] ...");
        return Ok(ExitCode::from(2));
    }

    let router = Router::new()?;
    router.modules().source("facts", FACTS);
    let contexts: Vec<_> = hosts
        .iter()
        .map(|host| {
            let mut method = match host.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
                Some((name, Ok(port))) => Ssh::new(name).port(port),
                _ => Ssh::new(host),
            };
            if let Some(config) = &config {
                method = method.config_file(config);
            }
            router.start(method.name(host)) // returns at once: all connect side by side
        })
        .collect();

    let mut replies = Select::new();
    for context in &contexts {
        // Travels with the start; a host that cannot be reached shows here, in its own reply.
        replies.add(context.call_async::<String>("facts:summary", ())?);
    }
    let mut failed = 0;
    for reply in replies {
        match reply.result() {
            Ok(summary) => println!("{}: {summary}", reply.context()),
            Err(error) => {
                failed += 1;
                eprintln!("{error}"); // begins with the host's name
            }
        }
    }
    router.shutdown()?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
