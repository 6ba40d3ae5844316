//! Promise: a host whose key is not known is what the program's policy, or its prompt handler, says it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use econtext::{ConnectError, Error, HostKeys, PromptKind, Router, Ssh, Stage};

mod support;

use support::{Prompts, Sshd, TempDir, fake_ssh, isolated};

fn asking(prompts: &Prompts) -> Router {
    Router::builder().on_prompt(prompts.handler()).build().unwrap()
}

fn works(router: &Router, method: Ssh) {
    let context = router.connect(method).unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(context.call::<u32>("os:getpid", ()).unwrap(), context.info().unwrap().pid);
    context.shutdown().unwrap();
}

#[track_caller]
fn failure(router: &Router, method: Ssh) -> ConnectError {
    match router.connect(method) {
        Err(Error::Connect(error)) => {
            assert_eq!(error.stage, Stage::HostKey, "{error}");
            (*error).clone()
        }
        other => panic!("{other:?}"),
    }
}

/// A file of known hosts that knows none, of this name.
fn none_known(sshd: &Sshd, name: &str) -> PathBuf {
    sshd.file(name, "")
}

/// One that knows another key than the server's.
fn another_known(sshd: &Sshd, name: &str) -> PathBuf {
    let public = sshd.make_key(&format!("of {name}"), "").with_extension("pub");
    let key = fs::read_to_string(public).unwrap();
    sshd.file(name, format!("[127.0.0.1]:{} {key}", sshd.port()))
}

fn fingerprint(sshd: &Sshd) -> String {
    let public = sshd.config().with_file_name("host_key.pub");
    let output = Command::new("ssh-keygen").arg("-lf").arg(public).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    line.split(' ').nth(1).unwrap().to_string()
}

fn lines(file: &Path) -> usize {
    fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn each_policy_on_a_known_an_unknown_and_a_changed_key() {
    isolated(|| {
        let sshd = Sshd::start();
        let router = Router::new().unwrap();
        for policy in [HostKeys::Enforce, HostKeys::AcceptNew, HostKeys::Ignore] {
            println!("{policy:?}");
            let method = || sshd.ssh().host_keys(policy);
            works(&router, method());

            let file = none_known(&sshd, &format!("none {policy:?}"));
            let unknown = || method().known_hosts(&file);
            match policy {
                HostKeys::Enforce => {
                    let error = failure(&router, unknown());
                    assert!(error.printed.contains("host key is known for"), "{error:?}");
                    assert_eq!(lines(&file), 0);
                }
                HostKeys::AcceptNew => {
                    works(&router, unknown());
                    assert_eq!(lines(&file), 1);
                    works(&router, unknown().host_keys(HostKeys::Enforce));
                }
                _ => {
                    works(&router, unknown());
                    assert_eq!(lines(&file), 0);
                }
            }

            let file = another_known(&sshd, &format!("another {policy:?}"));
            let changed = || method().known_hosts(&file);
            match policy {
                HostKeys::Enforce | HostKeys::AcceptNew => {
                    let error = failure(&router, changed());
                    let said = "REMOTE HOST IDENTIFICATION HAS CHANGED";
                    assert!(error.printed.contains(said), "{error:?}");
                }
                _ => works(&router, changed()),
            }
            assert_eq!(lines(&file), 1);
        }
        router.shutdown().unwrap();
    });
}

#[test]
fn the_handler_sees_the_fingerprint_and_decides() {
    isolated(|| {
        let sshd = Sshd::start();
        let fingerprint = fingerprint(&sshd);
        let file = none_known(&sshd, "unknown");
        let method = || sshd.ssh().known_hosts(&file);

        let prompts = Prompts::answering(["no", "perhaps"]);
        let router = asking(&prompts);
        let refused = failure(&router, method());
        assert!(refused.to_string().contains("Host key verification failed"), "{refused}");
        // Neither yes nor no is asked again, with the fingerprint; and then it gives up.
        let given_up = failure(&router, method());
        assert!(given_up.reason.contains(&fingerprint), "{given_up}");
        assert!(given_up.reason.ends_with("\" got no answer from on_prompt"), "{given_up}");
        router.shutdown().unwrap();
        assert_eq!(lines(&file), 0);
        let asked = prompts.asked();
        assert_eq!(asked.iter().map(|it| it.2).collect::<Vec<_>>(), [1, 1, 2]);
        for (kind, text, _) in &asked {
            assert_eq!(*kind, PromptKind::HostKey);
            assert!(text.starts_with("The authenticity of host '[127.0.0.1]:"), "{text}");
            assert!(text.contains("\nED25519 key fingerprint is ") && text.contains(&fingerprint));
            assert!(text.ends_with("(yes/no/[fingerprint])?"), "{text}");
        }

        // The fingerprint itself is as good as a yes.
        let prompts = Prompts::answering([fingerprint]);
        let router = asking(&prompts);
        works(&router, method());
        works(&router, method());
        assert_eq!((prompts.asked().len(), lines(&file)), (1, 1));
        router.shutdown().unwrap();
    });
}

#[test]
fn a_key_that_nobody_knows_ends_the_start() {
    isolated(|| {
        let sshd = Sshd::start();
        let fingerprint = fingerprint(&sshd);
        let file = none_known(&sshd, "unknown");
        let router = Router::new().unwrap();
        // ssh asks, as there is a terminal, and nobody has an answer to this.
        let error = failure(&router, sshd.ssh().known_hosts(&file).password("x"));
        assert!(error.reason.starts_with("\"The authenticity of host '["), "{error}");
        assert!(error.reason.contains(&fingerprint), "{error}");
        let end = "needs an answer: set .host_keys(..) or Router::builder().on_prompt(..)";
        assert!(error.reason.ends_with(end), "{error}");
        // ssh does not ask.
        let error = failure(&router, sshd.ssh().known_hosts(&file));
        assert!(error.to_string().contains("Host key verification failed"), "{error}");
        assert_eq!(lines(&file), 0);
        router.shutdown().unwrap();
    });
}

/// How clients before 8.0 ask, and insist.
const OLD_QUESTION: &str = "ask \"The authenticity of host 'web1 (192.0.2.1)' can't be established.\n\
     ECDSA key fingerprint is SHA256:abc.\n\
     Are you sure you want to continue connecting (yes/no)? \"\n\
     while [ \"$answer\" != yes ]; do\n\
     [ \"$answer\" = no ] && { say 'Host key verification failed.'; exit 255; }\n\
     ask \"Please type 'yes' or 'no': \" || exit 255\n\
     done\n";

#[test]
fn an_old_clients_question_is_understood() {
    isolated(|| {
        let dir = TempDir::new();
        let ssh = fake_ssh(&dir, &format!("{OLD_QUESTION}logged_in; run"));
        let method = || Ssh::new("web1").ssh_path(&ssh);
        let router = Router::new().unwrap();
        works(&router, method().host_keys(HostKeys::AcceptNew));
        router.shutdown().unwrap();

        let prompts = Prompts::answering(["perhaps", "yes", "no"]);
        let router = asking(&prompts);
        works(&router, method());
        failure(&router, method());
        let text = "The authenticity of host 'web1 (192.0.2.1)' can't be established.\n\
                    ECDSA key fingerprint is SHA256:abc.\n\
                    Are you sure you want to continue connecting (yes/no)?";
        let asked = [1, 2, 1].map(|attempt| (PromptKind::HostKey, text.to_string(), attempt));
        assert_eq!(prompts.asked(), asked);
        router.shutdown().unwrap();
    });
}

#[test]
fn the_key_of_an_address_that_has_another_is_not_new() {
    isolated(|| {
        let dir = TempDir::new();
        let body = "ask \"Warning: the ECDSA host key for 'web1' differs from the key for the IP \
                    address '192.0.2.1'\nAre you sure you want to continue connecting (yes/no)? \"\n\
                    logged_in; run";
        let method = Ssh::new("web1").ssh_path(fake_ssh(&dir, body));
        let router = Router::new().unwrap();
        let error = failure(&router, method.host_keys(HostKeys::AcceptNew));
        assert!(error.reason.starts_with("\"Warning: the ECDSA host key for 'web1' differs"));
        router.shutdown().unwrap();
    });
}

#[test]
fn the_keys_of_a_jump_host_and_of_what_is_behind_it_are_both_new() {
    isolated(|| {
        let (gate, target) = (Sshd::start(), Sshd::start());
        target.authorize(&gate.key());
        let file = none_known(&target, "unknown");
        let lines_of_config = format!(
            "Host gate\nHostName 127.0.0.1\nPort {}\nIdentityFile {}\n\
             Host *\nStrictHostKeyChecking ask\nUserKnownHostsFile {}\n",
            gate.port(),
            gate.key().display(),
            file.display()
        );
        let config = target.config_with("jump_config", &lines_of_config);
        let method = || target.ssh().config_file(&config).args(["-J", "gate"]);
        let router = Router::new().unwrap();
        works(&router, method().host_keys(HostKeys::AcceptNew));
        assert_eq!(lines(&file), 2);
        works(&router, method().host_keys(HostKeys::Enforce));
        router.shutdown().unwrap();

        fs::write(&file, "").unwrap();
        let prompts = Prompts::answering(["yes", "yes"]);
        let router = asking(&prompts);
        works(&router, method());
        let texts: Vec<_> = prompts.asked().into_iter().map(|(_, text, _)| text).collect();
        assert_eq!(texts.len(), 2);
        for (text, server) in texts.iter().zip([&gate, &target]) {
            let host = format!("The authenticity of host '[127.0.0.1]:{}", server.port());
            assert!(text.starts_with(&host) && text.contains(&fingerprint(server)), "{text}");
        }
        router.shutdown().unwrap();
    });
}
