//! Promise: a start over ssh that fails says in one line which rung failed, why, and what to do; so does a
//! connection that is lost.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use econtext::{Error, HostKeys, Router, Ssh};

mod support;

use support::{
    Proxy, Sshd, TempDir, User, fake_ssh, interpreters, is_root, isolated, mkfifo, script, skip,
};

/// The line of a start that fails.
#[track_caller]
fn error_of(method: Ssh) -> String {
    let router = Router::new().unwrap();
    let line = fails(&router, method);
    router.shutdown().unwrap();
    line
}

#[track_caller]
fn fails(router: &Router, method: Ssh) -> String {
    let Err(Error::Connect(error)) = router.connect(method.name("web1")) else {
        panic!("it did not fail")
    };
    let line = error.to_string();
    assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
    line.strip_prefix("web1: ").unwrap_or_else(|| panic!("{line}")).into()
}

/// A client with nothing of the user's, for a server that is not OpenSSH's.
fn client(dir: &TempDir, host: &str, port: u16) -> Ssh {
    let config = "IdentityAgent none\nIdentityFile none\nGlobalKnownHostsFile /dev/null\n";
    let config = dir.file("config", config);
    Ssh::new(host).port(port).config_file(config).known_hosts("/dev/null")
}

/// Says this on each connection, and hangs up when it has heard something, or at once.
struct Server {
    port: u16,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(words: &'static [u8], listens: bool) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = thread::spawn(move || {
            loop {
                let (mut client, _) = listener.accept().unwrap();
                let mut heard = [0; 1 << 16];
                // The client's words, without which what follows would be a reset; or our own goodbye.
                let count = client.read(&mut heard).unwrap_or(0);
                if heard.starts_with(b"end") {
                    return;
                }
                let _ = client.write_all(words);
                if listens && count > 0 {
                    // Until its first packet is there.
                    let _ = client.read(&mut heard);
                }
            }
        });
        Server { port, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut last = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        last.write_all(b"end").unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// ssh in a network of its own, made by these commands.
fn in_own_network(dir: &TempDir, commands: &str) -> PathBuf {
    if !is_root() {
        skip("networks that lead nowhere", "needs root");
    }
    let inner =
        script(dir, "inner", &format!("PATH=$PATH:/usr/sbin:/sbin\n{commands}\nexec ssh \"$@\""));
    script(dir, "ssh-alone", &format!("exec unshare -n {} \"$@\"", inner.display()))
}

#[test]
fn a_host_that_is_unknown_refuses_or_cannot_be_reached() {
    isolated(|| {
        let dir = TempDir::new();
        // Longer than a label can be, so that no name server is asked.
        let host = format!("{}.invalid", "x".repeat(64));
        assert_eq!(
            error_of(client(&dir, &host, 22)),
            format!(
                "connecting: no such host: \"ssh: Could not resolve hostname {host}: \
                 Name or service not known\" (exit status 255)"
            )
        );
        assert_eq!(
            error_of(client(&dir, "127.0.0.1", 1)),
            "connecting: the connection was refused: \"ssh: connect to host 127.0.0.1 port 1: \
             Connection refused\"; does an ssh server listen there? (exit status 255)"
        );
        let alone = in_own_network(&dir, "");
        assert_eq!(
            error_of(client(&dir, "192.0.2.1", 22).ssh_path(alone)),
            "connecting: the host cannot be reached: \"ssh: connect to host 192.0.2.1 port 22: \
             Network is unreachable\" (exit status 255)"
        );
    });
}

#[test]
fn a_host_or_a_server_that_does_not_answer() {
    isolated(|| {
        let dir = TempDir::new();
        let limit = Duration::from_secs(2);
        // A neighbour whose address is known, and who is not there.
        let alone = in_own_network(
            &dir,
            "ip link add link0 type veth peer name link1 &&\n\
             ip link set link0 up && ip link set link1 up &&\n\
             ip address add 192.0.2.1/24 dev link0 &&\n\
             ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev link0 || exit 1",
        );
        let method = client(&dir, "192.0.2.2", 22).ssh_path(alone).connect_timeout(limit);
        assert_eq!(
            error_of(method),
            "connecting: the host does not answer: \"ssh: connect to host 192.0.2.2 port 22: \
             Connection timed out\" (exit status 255)"
        );
        // The kernel accepts for it.
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let method = client(&dir, "127.0.0.1", silent.local_addr().unwrap().port());
        assert_eq!(
            error_of(method.clone().connect_timeout(limit)),
            "connecting: the server accepts connections and says nothing: \"Connection timed out \
             during banner exchange\"; does an ssh server listen there? (exit status 255)"
        );
        let router = Router::builder().connect_timeout(limit).build().unwrap();
        assert_eq!(fails(&router, method), "connecting: not logged in within 2s");
        router.shutdown().unwrap();
    });
}

/// A remote interpreter that is this shell script.
fn remote(sshd: &Sshd, name: &str, body: &str) -> PathBuf {
    let path = sshd.file(name, format!("#!/bin/sh\n{body}\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    path
}

#[test]
fn each_later_stage_that_takes_for_ever() {
    isolated(|| {
        let limit = Duration::from_secs(3);
        let waits = "exec cat > /dev/null"; // For ever, or until the connection is gone.
        let sshd = Sshd::start_with(&format!("ForceCommand {waits}"));
        assert_eq!(
            error_of(sshd.ssh().connect_timeout(limit)),
            "starting Python: no answer within 3s: does a login script wait, or read standard input?"
        );
        let sshd = Sshd::start();
        let core = remote(&sshd, "core", &format!("echo EC0; {waits}"));
        assert_eq!(
            error_of(sshd.ssh().python(core).connect_timeout(limit)),
            "sending the core: no answer within 3s"
        );
        let hello = remote(&sshd, "hello", &format!("echo EC0; echo EC1; {waits}"));
        assert_eq!(
            error_of(sshd.ssh().python(hello).connect_timeout(limit)),
            "starting the core: no answer within 3s"
        );
    });
}

#[test]
fn a_login_that_takes_for_ever() {
    isolated(|| {
        if !is_root() {
            skip("a login that takes for ever", "needs root");
        }
        let slow = "AuthorizedKeysFile none\nAuthorizedKeysCommand /bin/sleep 1000\n\
                    AuthorizedKeysCommandUser root";
        let sshd = Sshd::start_with(slow);
        // ssh does not say how far it is before it is let in.
        assert_eq!(
            error_of(sshd.ssh().connect_timeout(Duration::from_secs(3))),
            "connecting: not logged in within 3s"
        );
    });
}

#[test]
fn what_is_no_ssh_server() {
    isolated(|| {
        let dir = TempDir::new();
        let server = Server::start(b"HTTP/1.1 400 Bad\0Request\r\n\r\n", false);
        let port = server.port;
        assert_eq!(
            error_of(client(&dir, "127.0.0.1", port)),
            format!(
                "connecting: what listens there is no ssh server: \"banner exchange: Connection to \
                 127.0.0.1 port {port}: invalid format\" (exit status 255)"
            )
        );
    });
}

#[test]
fn a_host_key_that_is_unknown_changed_or_revoked() {
    isolated(|| {
        let sshd = Sshd::start();
        let name = format!("[127.0.0.1]:{}", sshd.port());
        let unknown = || sshd.ssh().known_hosts("/dev/null");
        let advice =
            "ssh-keyscan(1) tells it, and .host_keys(HostKeys::AcceptNew) takes it as it comes";
        assert_eq!(
            error_of(unknown()),
            format!(
                "checking the host key: the host key is not known, and nobody confirmed it: \
                 \"Host key verification failed.\"; {advice} (exit status 255)"
            )
        );
        assert_eq!(
            error_of(unknown().host_keys(HostKeys::Enforce)),
            format!(
                "checking the host key: the host key is not known: \"No ED25519 host key is known \
                 for {name} and you have requested strict checking.\"; {advice} (exit status 255)"
            )
        );
        let other =
            std::fs::read_to_string(sshd.make_key("other", "").with_extension("pub")).unwrap();
        let other = sshd.file("changed", format!("# Comment\n{name} {other}"));
        for policy in [HostKeys::Enforce, HostKeys::AcceptNew] {
            assert_eq!(
                error_of(sshd.ssh().known_hosts(&other).host_keys(policy)),
                format!(
                    "checking the host key: the host key has changed: \"Host key for {name} has \
                     changed and you have requested strict checking.\"; the one that is known is in \
                     {}:2, to be removed if this was expected (exit status 255)",
                    other.display()
                )
            );
        }
        let known = std::fs::read_to_string(sshd.known_hosts()).unwrap();
        let revoked = sshd.file("revoked", format!("@revoked {known}"));
        assert_eq!(
            error_of(sshd.ssh().known_hosts(revoked)),
            format!(
                "checking the host key: the host key has been revoked: \"ED25519 host key for {name} \
                 was revoked and you have requested strict checking.\" (exit status 255)"
            )
        );
    });
}

/// The line of a refused login, and what is advised.
fn refused(methods: &str, advice: &str) -> String {
    format!(
        "logging in: the server refused the login: \"{}@127.0.0.1: Permission denied ({methods}).\"; \
         {advice} (exit status 255)",
        own_name()
    )
}

/// Whose name ssh gives when it is told none.
fn own_name() -> String {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// With this key only, or none.
fn with_identity(sshd: &Sshd, key: &Path) -> Ssh {
    let config = std::fs::read_to_string(sshd.config()).unwrap();
    let config = config.replace(sshd.key().to_str().unwrap(), key.to_str().unwrap());
    sshd.ssh().config_file(sshd.file("one-key", config))
}

const KEY: &str =
    "no key that ssh could use opens the account; one with a passphrase needs .passphrase(..)";
const EITHER: &str =
    "it takes a key of the account, with .passphrase(..) where it has one, or .password(..)";

#[test]
fn a_login_that_is_refused_names_the_methods_of_the_server() {
    isolated(|| {
        let ways = [
            ("", "publickey", KEY),
            ("PasswordAuthentication yes", "publickey,password", EITHER),
            ("PubkeyAuthentication no\nPasswordAuthentication yes", "password", EITHER),
            (
                "PubkeyAuthentication no\nKbdInteractiveAuthentication yes",
                "keyboard-interactive",
                EITHER,
            ),
            (
                "PasswordAuthentication yes\nKbdInteractiveAuthentication yes",
                "publickey,password,keyboard-interactive",
                EITHER,
            ),
        ];
        for (config, methods, advice) in ways {
            let sshd = Sshd::start_with(config);
            let none = with_identity(&sshd, Path::new("none"));
            assert_eq!(error_of(none), refused(methods, advice));
        }
        // The key is right, and not enough.
        let both = "AuthenticationMethods publickey,password\nPasswordAuthentication yes";
        let sshd = Sshd::start_with(both);
        assert_eq!(error_of(sshd.ssh()), refused("password", EITHER));
    });
}

#[test]
fn a_key_that_cannot_be_used_is_named() {
    isolated(|| {
        let sshd = Sshd::start();
        let key = sshd.make_key("open", "");
        sshd.authorize(&key);
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .unwrap();
        let trouble =
            format!("a key could not be used: \"Load key \"{}\": bad permissions\"", key.display());
        assert_eq!(error_of(with_identity(&sshd, &key)), refused("publickey", &trouble));
    });
}

#[test]
fn too_many_keys() {
    isolated(|| {
        let sshd = Sshd::start_with("MaxAuthTries 1");
        let wrong = sshd.make_key("wrong", "");
        assert_eq!(
            error_of(sshd.ssh().identity(wrong)),
            format!(
                "logging in: the server gave up after too many attempts: \"Received disconnect from \
                 127.0.0.1 port {}:2: Too many authentication failures\"; ssh offers each key that it \
                 has: .identity(..) with -o IdentitiesOnly=yes (Ssh::args) offers one (exit status 255)",
                sshd.port()
            )
        );
    });
}

#[test]
fn an_account_without_a_shell() {
    isolated(|| {
        let sshd = Sshd::start();
        let of = |shell: &str| {
            let user = User::new(shell);
            error_of(sshd.ssh().user(user.name())).replace(user.name(), "USER")
        };
        assert_eq!(
            of("/usr/sbin/nologin"),
            "starting Python: the account has no login shell: \"This account is currently not \
             available.\" (exit status 1)"
        );
        assert_eq!(
            of("/bin/false"),
            "starting Python: the login shell ended without a word; does it run commands at all? \
             (exit status 1)"
        );
        // sshd does not tell a client.
        assert_eq!(
            of("/no/such/shell"),
            format!(
                "logging in: the server refused the login: \"USER@127.0.0.1: Permission denied \
                 (publickey).\"; {KEY} (exit status 255)"
            )
        );
    });
}

#[test]
fn an_account_or_a_password_that_has_expired() {
    isolated(|| {
        let sshd = Sshd::start_with("UsePAM yes");
        let user = User::new("/bin/sh");
        let method = || sshd.ssh().user(user.name());
        user.change("chage", ["-d", "0"]);
        assert_eq!(
            error_of(method()),
            "logging in: the password has expired, and is to be changed first: \"Password change \
             required but no TTY available.\" (exit status 1)"
        );
        user.change("chage", ["-d", "-1", "-E", "1"]);
        assert_eq!(
            error_of(method()),
            "logging in: the account has expired: \"Your account has expired; please contact your \
             system administrator.\" (exit status 255)"
        );
    });
}

#[test]
fn a_shell_that_fails() {
    isolated(|| {
        let sshd = Sshd::start();
        let user = User::new("/bin/bash");
        let method = || sshd.ssh().user(user.name());
        user.write("~/.bashrc", "exit 3\n");
        assert_eq!(
            error_of(method()),
            "starting Python: the login shell ended without a word; does it run commands at all? \
             (exit status 3)"
        );
        user.write("~/.bashrc", "echo out of order >&2\nexit 3\n");
        assert_eq!(
            error_of(method()),
            "starting Python: the process ended (exit status 3); it printed: out of order"
        );
        // The words of a failed login, and they are not ssh's.
        user.write(
            "~/.bashrc",
            "echo 'git@example.com: Permission denied (publickey).' >&2\nexit 255\n",
        );
        assert_eq!(
            error_of(method()),
            "starting Python: the process ended (exit status 255); it printed: git@example.com: \
             Permission denied (publickey)."
        );
    });
}

#[test]
fn no_interpreter_or_one_that_is_too_old() {
    isolated(|| {
        let sshd = Sshd::start();
        assert_eq!(
            error_of(sshd.ssh().python_candidates(["no-python", "/no/python3"])),
            "starting Python: none of no-python, /no/python3 found (exit status 97)"
        );
        let line = error_of(sshd.ssh().python("/no/such/python"));
        let (reason, words) = line.split_once(": \"").unwrap_or_else(|| panic!("{line}"));
        assert_eq!(reason, "starting Python: the login shell does not find what it is to run");
        // In the words of whatever shell it is.
        assert!(words.contains("/no/such/python"), "{line}");
        assert!(words.ends_with("\" (exit status 127)"), "{line}");

        let newest = interpreters().iter().rfind(|it| it.name.starts_with("python3")).unwrap();
        let old = "import sys; sys.version_info = (3, 5, 2); exec(sys.argv[2])";
        let old = remote(&sshd, "old", &format!("exec {:?} -c '{old}' \"$@\"", newest.path));
        assert_eq!(
            error_of(sshd.ssh().python(&old)),
            format!(
                "sending the core: {} is Python 3.5, which is too old (Python 2.7 or 3.6 and later is \
                 needed) (exit status 98)",
                old.display()
            )
        );
    });
}

#[test]
fn a_server_that_is_busy_is_asked_again_and_then_given_up() {
    isolated(|| {
        let sshd = Sshd::start_with("MaxStartups 1:100:1");
        let mut held = TcpStream::connect((Ipv4Addr::LOCALHOST, sshd.port())).unwrap();
        held.read_exact(&mut [0; 4]).unwrap();
        let line = error_of(sshd.ssh().connect_timeout(Duration::from_secs(3)));
        let said = "connecting: the server hung up at once, as one does that is busy or bars this \
                    address: \"kex_exchange_identification: ";
        assert!(line.starts_with(said), "{line}");
        let (_, attempts) = line.split_once("\"; after ").unwrap_or_else(|| panic!("{line}"));
        let attempts = attempts.strip_suffix(" attempts (exit status 255)").unwrap();
        assert!(attempts.parse::<u32>().unwrap() > 1, "{line}");
        // Has refused each; a place that comes free is taken.
        let router = Router::new().unwrap();
        let context = router.start(sshd.ssh());
        let before = sshd.log().matches("past MaxStartups").count();
        while sshd.log().matches("past MaxStartups").count() == before {
            thread::yield_now();
        }
        drop(held);
        context.call::<u32>("os:getpid", ()).unwrap();
        router.shutdown().unwrap();
    });
}

#[test]
fn a_server_that_takes_no_sessions() {
    isolated(|| {
        let sshd = Sshd::start_with("MaxSessions 0");
        assert_eq!(
            error_of(sshd.ssh()),
            "starting Python: the server refused a session: \"channel 0: open failed: connect failed: \
             open failed\"; see MaxSessions in its sshd_config(5) (exit status 255)"
        );
    });
}

/// The line of a start whose connection is cut once the remote side has opened the fifo.
fn cut_at_fifo(sshd: &Sshd, fifo: &Path, method: impl FnOnce(Ssh) -> Ssh) -> String {
    let proxy = Proxy::start(sshd.port(), Duration::ZERO);
    let router = Router::new().unwrap();
    let known = sshd.config_with("proxied", &format!("HostKeyAlias [127.0.0.1]:{}", sshd.port()));
    let context =
        router.start(method(sshd.ssh().config_file(known)).port(proxy.port()).name("web1"));
    std::fs::read(fifo).unwrap();
    proxy.cut();
    let error = context.info().unwrap_err().to_string();
    router.shutdown().unwrap();
    error.replace(&proxy.port().to_string(), "PORT")
}

#[test]
fn a_connection_that_is_lost_in_each_stage() {
    isolated(|| {
        let dir = TempDir::new();
        // Before its first words; after them.
        let server = Server::start(b"SSH-2.0-x\r\n", true);
        let port = server.port;
        assert_eq!(
            error_of(client(&dir, "127.0.0.1", port)),
            format!(
                "logging in: the connection was lost before login was complete: \"Connection closed \
                 by 127.0.0.1 port {port}\" (exit status 255)"
            )
        );

        let sshd = Sshd::start();
        let fifo = mkfifo(&dir, "fifo");
        // Ends when its standard input does.
        let waits = format!("echo > {}; exec cat > /dev/null", fifo.display());
        let path = remote(&sshd, "python", &waits);
        let lost = "the connection was lost: \"Connection to 127.0.0.1 closed by remote host.\" \
                    (exit status 255)";
        let line = cut_at_fifo(&sshd, &fifo, |ssh| ssh.python(path));
        assert_eq!(line, format!("web1: starting Python: {lost}"));

        // Whether a marker has arrived when a real one is cut depends on the weather.
        for (stage, markers) in [("sending the core", "EC0"), ("starting the core", "EC0 EC1")] {
            let body = format!(
                "logged_in; printf '%s\\n' {markers}\n\
                 say 'Connection to 127.0.0.1 closed by remote host.'; exit 255"
            );
            let line = error_of(Ssh::new("web1").ssh_path(fake_ssh(&dir, &body)));
            assert_eq!(line, format!("{stage}: {lost}"));
        }
    });
}

#[test]
fn a_connection_that_is_lost_while_logging_in() {
    isolated(|| {
        if !is_root() {
            skip("a connection that is lost while logging in", "needs root");
        }
        let dir = TempDir::new();
        let fifo = mkfifo(&dir, "fifo");
        let sshd = Sshd::start_with(&format!(
            "AuthorizedKeysFile none\nAuthorizedKeysCommand /usr/bin/tee {}\nAuthorizedKeysCommandUser root",
            fifo.display()
        ));
        assert_eq!(
            cut_at_fifo(&sshd, &fifo, |ssh| ssh),
            "web1: logging in: the connection was lost before login was complete: \"Connection closed \
             by 127.0.0.1 port PORT\" (exit status 255)"
        );
    });
}

#[test]
fn a_connection_that_is_lost_in_a_call() {
    isolated(|| {
        let sshd = Sshd::start();
        let proxy = Proxy::start(sshd.port(), Duration::ZERO);
        let known =
            sshd.config_with("proxied", &format!("HostKeyAlias [127.0.0.1]:{}", sshd.port()));
        let router = Router::new().unwrap();
        let method = sshd.ssh().config_file(known).port(proxy.port()).name("web1");
        let context = router.connect(method).unwrap();
        let call = context.call_async::<i64>("time:sleep", (1000,)).unwrap();
        proxy.cut();
        assert_eq!(
            call.get().unwrap_err().to_string(),
            "web1: call of time:sleep: disconnected: the connection was lost: \"Connection to 127.0.0.1 \
             closed by remote host.\" (exit status 255)"
        );
        router.shutdown().unwrap();
    });
}

#[test]
fn an_ssh_that_is_not_there_or_refuses_its_options() {
    isolated(|| {
        let dir = TempDir::new();
        assert_eq!(
            error_of(Ssh::new("web1").ssh_path("/no/such/ssh")),
            "starting the process: cannot execute /no/such/ssh: No such file or directory (os error 2)"
        );
        assert_eq!(
            error_of(Ssh::new("web1").ssh_path("no-such-ssh")),
            "starting the process: no-such-ssh not found in PATH (/usr/local/bin:/usr/bin:/bin)"
        );
        let old = fake_ssh(
            &dir,
            "say 'command-line: line 0: Bad configuration option: stdinnull'; exit 255",
        );
        assert_eq!(
            error_of(Ssh::new("web1").ssh_path(old)),
            "starting the process: ssh does not know an option, perhaps because it is too old: \
             \"command-line: line 0: Bad configuration option: stdinnull\" (exit status 255)"
        );
        assert_eq!(
            error_of(client(&dir, "web1", 22).args(["-o", "NoSuchOption=1"])),
            "starting the process: ssh does not know an option, perhaps because it is too old: \
             \"command-line: line 0: Bad configuration option: nosuchoption\" (exit status 255)"
        );
        assert_eq!(
            error_of(Ssh::new("web1").config_file("/no/such/config")),
            "starting the process: ssh cannot read its configuration: \"Can't open user config file \
             /no/such/config: No such file or directory\" (exit status 255)"
        );
    });
}

#[test]
fn a_jump_host_that_fails_is_not_taken_for_the_host() {
    isolated(|| {
        let sshd = Sshd::start();
        let jump = |lines: &str| {
            let lines =
                format!("Host jump\nHostName 127.0.0.1\n{lines}\nHost inner\nProxyJump jump\n");
            error_of(Ssh::new("inner").config_file(sshd.config_with("jump", &lines)))
        };
        let way = "connecting: by way of a jump host or proxy command: ";
        assert_eq!(
            jump("Port 1"),
            format!(
                "{way}the connection was refused: \"ssh: connect to host 127.0.0.1 port 1: \
                 Connection refused\" (exit status 255)"
            )
        );
        assert_eq!(
            jump(&format!("Port {}\nUserKnownHostsFile /dev/null\nBatchMode yes", sshd.port())),
            format!(
                "{way}the host key is not known, and nobody confirmed it: \"Host key verification \
                 failed.\" (exit status 255)"
            )
        );
        let command =
            sshd.config_with("command", "ProxyCommand sh -c 'echo out of order >&2; exit 1'");
        assert_eq!(
            error_of(Ssh::new("inner").config_file(command)),
            format!("{way}it failed: \"out of order\" (exit status 255)")
        );
    });
}

/// What the vectors say of a transcript is what a user sees, and nothing is said twice.
#[test]
fn every_transcript_is_shown_as_one_line() {
    isolated(|| {
        let dir = TempDir::new();
        let mut seen = 0;
        for case in include_str!("vectors/ssh.txt").split("\n\n").filter(|it| it.starts_with("# "))
        {
            let Some((head, rest)) = case.split_once('\n') else { continue };
            let Some((printed, said)) = rest.rsplit_once("\n= ") else { continue };
            let said = said.trim_end();
            let [_, status, reached] = head.split(" | ").collect::<Vec<_>>()[..] else { panic!() };
            let is_in = printed.lines().any(|line| line.starts_with("Authenticated to "));
            let can_be = reached == "connecting" || is_in && reached == "starting Python";
            if !can_be || said == "nothing" || said.contains(" | retry | ") {
                continue; // What follows is something else, which tests of their own have.
            }
            dir.file("printed", format!("{printed}\n").replace('\n', "\r\n"));
            let printed = dir.path().join("printed");
            let body = format!("cat {} >&2; exit {status}", printed.display());
            let line = error_of(Ssh::new("web1").ssh_path(fake_ssh(&dir, &body)));
            let said = format!("{} (exit status {status})", said.replacen(" | ", ": ", 1));
            // fish marks the place, on the last line.
            let line = line.strip_suffix("; it printed: ^~~~~~~~^").unwrap_or(&line);
            match line.strip_suffix("...") {
                None => assert_eq!(line, said),
                Some(start) => assert!(said.starts_with(start), "{line}"),
            }
            seen += 1;
        }
        assert!(seen > 100, "{seen}");
    });
}
