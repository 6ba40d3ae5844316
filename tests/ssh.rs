//! Promise: over ssh a context is what it is at home, whatever the user's ssh configuration says.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use econtext::{HostKeys, Level, LogRecord, Router, Ssh};

mod support;

use support::{Log, Sshd, TempDir, interpreters, isolated, script};

/// A context with this method works, and its connection is quiet: both ways of the stream, its end.
fn works(method: Ssh) {
    let messages: Vec<_> = log_of(method).iter().map(|record| record.to_string()).collect();
    assert_eq!(messages, [""; 0]);
}

/// What is logged while a context with this method is used.
fn log_of(method: Ssh) -> Vec<LogRecord> {
    let log = Log::default();
    let router = Router::builder().log_level(Level::Info).on_log(log.sink()).build().unwrap();
    router.modules().source("served", "def double(data):\n    return data + data\n");
    let context = router.connect(method).unwrap_or_else(|error| panic!("{error:?}"));
    let block = vec![0xa5u8; 200_000];
    assert_eq!(context.call::<Vec<u8>>("served:double", (&block[..],)).unwrap().len(), 400_000);
    router.shutdown().unwrap();
    log.records()
}

#[test]
fn a_context_over_ssh() {
    isolated(|| {
        let sshd = Sshd::start();
        works(sshd.ssh());
        works(sshd.ssh().python(&interpreters()[0].path));

        let router = Router::new().unwrap();
        let context = router.connect(sshd.ssh()).unwrap();
        assert_eq!(context.name(), format!("ssh.127.0.0.1:{}", sshd.port()));
        let info = context.info().unwrap();
        assert_eq!(info.system, "Linux");
        assert_eq!(context.call::<u32>("os:getpid", ()).unwrap(), info.pid);
        router.shutdown().unwrap();
    });
}

#[test]
fn hostile_client_configuration_is_neutralised() {
    isolated(|| {
        let sshd = Sshd::start();
        // A port that is in use: a forward of it fails.
        let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let busy = busy.local_addr().unwrap().port();
        let settings = [
            "RemoteCommand echo hijacked".to_string(),
            "RequestTTY force".into(),
            "RequestTTY yes".into(),
            "StdinNull yes".into(),
            "SessionType none".into(),
            "SessionType subsystem".into(),
            "ForkAfterAuthentication yes".into(),
            "PermitLocalCommand yes\nLocalCommand echo local".into(),
            format!("LocalForward {busy} 127.0.0.1:9\nExitOnForwardFailure yes"),
            "DynamicForward 1\nRemoteForward 1 127.0.0.1:9\nExitOnForwardFailure yes".into(),
            "Tunnel ethernet".into(),
            "ForwardX11 yes".into(),
            format!(
                "ControlMaster auto\nControlPath {}\nControlPersist 600",
                sshd.config().with_file_name("shared").display()
            ),
            "Compression yes".into(),
            "LogLevel QUIET".into(),
            "LogLevel ERROR".into(),
            "BatchMode no\nNumberOfPasswordPrompts 0".into(),
            "IgnoreUnknown UseKeychain\nUseKeychain yes".into(),
            "EscapeChar x".into(),
        ];
        for (n, lines) in settings.iter().enumerate() {
            println!("{lines}");
            works(sshd.ssh().config_file(sshd.config_with(&format!("config{n}"), lines)));
        }
        let verbose = sshd.config_with("verbose", "LogVerbose *");
        for method in [sshd.ssh().config_file(verbose), sshd.ssh().args(["-vvv"])] {
            let log = log_of(method);
            assert!(log.iter().any(|record| record.message.starts_with("debug")), "{log:?}");
        }
    });
}

/// What ssh would do, by its own account, with a context's arguments and this configuration.
fn effective(sshd: &Sshd, lines: &str) -> String {
    let dir = TempDir::new();
    let told = dir.path().join("told");
    let client = script(
        &dir,
        "ssh",
        &format!("printf '%s\\0' \"$@\" > {}; exec ssh \"$@\"", told.display()),
    );
    works(sshd.ssh().ssh_path(client).config_file(sshd.config_with("hostile", lines)));
    let told = std::fs::read_to_string(told).unwrap();
    let options = told.split('\0').take_while(|word| *word != "--");
    let output =
        Command::new("ssh").args(options).args(["-G", "--", "127.0.0.1"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_option_that_is_overruled_is_overruled() {
    isolated(|| {
        let sshd = Sshd::start();
        for (hostile, set, overruled) in [
            ("RemoteCommand x", "remotecommand x", "remotecommand none"),
            ("RequestTTY force", "requesttty force", "requesttty false"),
            ("StdinNull yes", "stdinnull yes", "stdinnull no"),
            ("SessionType none", "sessiontype none", "sessiontype default"),
            (
                "ForkAfterAuthentication yes",
                "forkafterauthentication yes",
                "forkafterauthentication no",
            ),
            ("PermitLocalCommand yes", "permitlocalcommand yes", "permitlocalcommand no"),
            ("ClearAllForwardings no", "clearallforwardings no", "clearallforwardings yes"),
            ("Tunnel ethernet", "tunnel ethernet", "tunnel false"),
            ("ForwardX11 yes", "forwardx11 yes", "forwardx11 no"),
            ("ControlMaster auto", "controlmaster auto", "controlmaster false"),
            ("ControlPath /tmp/x", "controlpath /tmp/x", ""),
            ("Compression yes", "compression yes", "compression no"),
            ("LogLevel QUIET", "loglevel QUIET", "loglevel VERBOSE"),
            ("BatchMode no", "batchmode no", "batchmode yes"),
            ("VisualHostKey yes", "visualhostkey yes", "visualhostkey no"),
            ("ServerAliveInterval 0", "serveraliveinterval 0", "serveraliveinterval 15"),
            ("ServerAliveCountMax 99", "serveralivecountmax 99", "serveralivecountmax 3"),
        ] {
            let found = effective(&sshd, hostile);
            let has = |line: &str| found.lines().any(|it| it.eq_ignore_ascii_case(line));
            // Of what is none by default ssh says nothing.
            let is_none = overruled.ends_with(" none") || overruled.is_empty();
            assert!(!has(set) && (is_none || has(overruled)), "{hostile}:\n{found}");
        }
    });
}

#[test]
fn a_client_of_openssh_7_4_is_told_nothing_that_it_does_not_know() {
    isolated(|| {
        let sshd = Sshd::start();
        let dir = TempDir::new();
        // Refuses what 7.4 would refuse, and is ssh else.
        let client = script(
            &dir,
            "ssh",
            "ignore=\nnext=\n\
             for word do\n\
             case $next in -o)\n\
             case $word in\n\
             IgnoreUnknown=*) ignore=yes ;;\n\
             Compression=*|BatchMode=*|ServerAlive*=*|ConnectTimeout=*|ControlPath=*|ControlMaster=*) ;;\n\
             StrictHostKeyChecking=yes|StrictHostKeyChecking=no|StrictHostKeyChecking=ask) ;;\n\
             StrictHostKeyChecking=*) echo \"unsupported option ${word#*=}\" >&2; exit 255 ;;\n\
             UserKnownHostsFile=*|GlobalKnownHostsFile=*|ClearAllForwardings=yes) ;;\n\
             PermitLocalCommand=no|Tunnel=no|LogLevel=VERBOSE|NumberOfPasswordPrompts=*) ;;\n\
             VisualHostKey=no) ;;\n\
             *) [ $ignore ] || { echo \"Bad configuration option: ${word%%=*}\" >&2; exit 255; }\n\
             esac\n\
             esac\n\
             next=$word\n\
             done\n\
             exec ssh \"$@\"\n",
        );
        let method = || sshd.ssh().ssh_path(&client);
        works(method());
        for policy in [HostKeys::Enforce, HostKeys::AcceptNew, HostKeys::Ignore] {
            works(method().host_keys(policy));
        }
        works(method().known_hosts(sshd.known_hosts()).connect_timeout(Duration::from_secs(9)));
    });
}

#[test]
fn jump_hosts_and_the_agent_are_the_users_own() {
    isolated(|| {
        let (bastion, target) = (Sshd::start(), Sshd::start());
        let lines = format!(
            "Host bastion\nHostName localhost\nPort {}\nIdentityFile {}\nUserKnownHostsFile {}\n\
             Host inner\nHostName 127.0.0.1\nPort {}\nProxyJump bastion\n",
            bastion.port(),
            bastion.key().display(),
            bastion.known_hosts().display(),
            target.port(),
        );
        let config = target.config_with("jump", &lines);
        works(Ssh::new("inner").config_file(&config));
        bastion.wait_for("Accepted publickey");
        target.wait_for("Accepted publickey");

        let socket = target.file("agent", "").with_file_name("agent.socket");
        let mut agent = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the agent's socket", || socket.exists());
        let key = target.make_key("of-the-agent", "");
        target.authorize(&key);
        let added =
            Command::new("ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).status();
        assert!(added.unwrap().success());
        let lines = format!(
            "Host *\nIdentityAgent {}\nIdentityFile none\nUserKnownHostsFile {}\n",
            socket.display(),
            target.known_hosts().display()
        );
        works(target.ssh().config_file(target.file("agent-config", lines)));
        agent.kill().unwrap();
        agent.wait().unwrap();
    });
}

/// For what has no event.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
#[test]
fn a_shared_connection_is_used_where_it_is_asked_for() {
    isolated(|| {
        let sshd = Sshd::start();
        let dir = TempDir::new();
        let socket = dir.path().join("100% shared");
        let told = socket.to_str().unwrap().replace('%', "%%");
        let mut master = sshd.command();
        let mut master =
            master.args(["-N", "-M", "-S", &told]).stdin(Stdio::null()).spawn().unwrap();
        sshd.wait_for("Accepted publickey");
        wait_until("the socket", || socket.exists());
        let router = Router::new().unwrap();
        let contexts: Vec<_> =
            (0..12).map(|_| router.start(sshd.ssh().control_path(&socket))).collect();
        for context in &contexts {
            context.call::<u32>("os:getpid", ()).unwrap();
        }
        // Ten fit on the shared connection, the others had to make their own.
        let accepted = sshd.log().matches("Accepted publickey").count();
        assert_eq!(accepted, 3, "{}", sshd.log());
        router.shutdown().unwrap();
        master.kill().unwrap();
        master.wait().unwrap();
    });
}
