//! Promise: a hundred starts at once, against one server with its default limits, all come up or say why; what
//! they used is given back (descriptors, and terminals with them, are what every test is checked for).

use std::time::Duration;

use econtext::{Error, HostKeys, Level, Router};

mod support;

use support::{Log, Sshd, interpreters, isolated};

#[test]
fn a_hundred_starts_at_once() {
    isolated(|| {
        // Beyond ten connections that are not logged in yet it drops some, beyond a hundred all: the default.
        let sshd = Sshd::start_with("MaxStartups 10:30:100");
        let log = Log::default();
        let router = Router::builder()
            .log_level(Level::Debug)
            .on_log(log.sink())
            // For a busy machine: all of it runs here.
            .connect_timeout(Duration::from_secs(200))
            .build()
            .unwrap();
        let contexts: Vec<_> = (0..100)
            .map(|n| {
                let method = sshd.ssh().python(&interpreters()[0].path).name(format!("n{n}"));
                // Every second one has a terminal, on which it might ask.
                let policy = if n % 2 == 0 { HostKeys::Enforce } else { HostKeys::AcceptNew };
                router.start(method.host_keys(policy))
            })
            .collect();
        let replies: Vec<_> =
            contexts.iter().map(|it| it.call_async::<u32>("os:getpid", ()).unwrap()).collect();
        let results: Vec<_> = replies.into_iter().map(|reply| reply.get()).collect();
        let failed: Vec<&Error> = results.iter().filter_map(|it| it.as_ref().err()).collect();
        assert!(failed.is_empty(), "{failed:?}");

        // Each connection that was dropped has a second attempt, and there is none without a reason.
        let records = log.records();
        let attempts = records.iter().filter(|it| it.message.contains("another attempt")).count();
        let log = sshd.log();
        let refused =
            log.matches("drop connection").count() + log.matches("beginning MaxStartups").count();
        assert!((attempts == 0) == (refused == 0), "{attempts} attempts after:\n{log}");
        let logins = log.matches("Accepted publickey").count();
        assert_eq!(logins, 100);
        router.shutdown().unwrap();
    });
}
