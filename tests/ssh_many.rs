//! Promise: a hundred starts at once, against one server with its default limits, all come up or say why; what
//! they used is given back.

use std::time::Instant;

use econtext::{Error, Router};

mod support;

use support::{Sshd, interpreters, isolated};

#[test]
fn a_hundred_starts_at_once() {
    isolated(|| {
        // Beyond ten connections that are not logged in yet it drops some, beyond a hundred all.
        let sshd = Sshd::start_with("MaxStartups 10:30:100");
        let router = Router::new().unwrap();
        let python = &interpreters()[0].path;
        let begin = Instant::now();
        let contexts: Vec<_> = (0..100)
            .map(|n| router.start(sshd.ssh().python(python).name(format!("n{n}"))))
            .collect();
        let replies: Vec<_> =
            contexts.iter().map(|it| it.call_async::<u32>("os:getpid", ()).unwrap()).collect();
        let results: Vec<_> = replies.into_iter().map(|reply| reply.get()).collect();
        println!("after {:.1?}", begin.elapsed());
        let failed: Vec<&Error> = results.iter().filter_map(|it| it.as_ref().err()).collect();
        let dropped = sshd.log().matches("drop connection").count();
        println!("{dropped} connections dropped, {failed:?}");
        assert!(failed.is_empty(), "{failed:?}");
        router.shutdown().unwrap();
    });
}
