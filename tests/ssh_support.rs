//! Promise: the ssh servers, users, networks and stand-ins of the tests do what the tests build on, and go.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use econtext::Router;

mod support;

use support::{Process, Proxy, Side, Sshd, TempDir, User, fake_ssh, isolated, isolated_report};

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_server_runs_a_command_for_its_key() {
    isolated(|| {
        let sshd = Sshd::start();
        let output = sshd.command().arg("echo $((40 + 2))").output().unwrap();
        assert_eq!(text(&output), "42\n", "{}", sshd.log());
        sshd.wait_for("Accepted publickey for ");
        let stranger = sshd.make_key("stranger", "");
        let identity = format!("IdentityFile {}", stranger.display());
        let config = format!("{identity}\nUserKnownHostsFile {}", sshd.known_hosts().display());
        let path = sshd.file("strangers_config", config + "\nIdentitiesOnly yes\n");
        let mut command = Command::new("ssh");
        command.arg("-F").arg(&path).args(["-p", &sshd.port().to_string(), "-o", "BatchMode=yes"]);
        let output = command.args(["127.0.0.1", "echo"]).output().unwrap();
        assert_eq!(output.status.code(), Some(255));
        assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied (publickey)"));
        sshd.authorize(&stranger);
        assert!(command.output().unwrap().status.success());
    });
}

#[test]
fn a_server_carries_a_context() {
    isolated(|| {
        let sshd = Sshd::start();
        let router = Router::new().unwrap();
        let context = router.connect(sshd.ssh()).unwrap();
        let connection: String = context.call("os:getenv", ("SSH_CONNECTION",)).unwrap();
        assert!(connection.ends_with(&format!(" 127.0.0.1 {}", sshd.port())), "{connection}");
    });
}

#[test]
fn a_server_goes_with_its_sessions_and_what_they_have_started() {
    isolated(|| {
        let sshd = Sshd::start();
        let mut command = sshd.command();
        command.arg("setsid sh -c 'trap \"\" TERM HUP; echo $$; sleep 1000 | sleep 1000' & wait");
        let mut client = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(client.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        let (daemon, listener) = (Process::open(line.trim().parse().unwrap()), sshd.pid());
        drop(sshd);
        daemon.wait_end();
        assert!(Process::find(listener).is_none());
        assert_eq!(client.wait().unwrap().code(), Some(255));
    });
}

#[test]
fn the_lines_of_a_test_come_first_in_a_servers_configuration() {
    isolated(|| {
        let banner = TempDir::new();
        let banner = banner.file("banner", "Welcome.\n");
        let sshd = Sshd::start_with(&format!("Banner {}", banner.display()));
        let output = sshd.command().arg("true").output().unwrap();
        assert!(String::from_utf8_lossy(&output.stderr).contains("Welcome."), "{output:?}");
    });
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let report = isolated_report(|| drop(Sshd::start_with("NoSuchOption yes")));
    assert!(report.expect_err("it cannot start").contains("NoSuchOption"));
}

#[test]
fn a_user_logs_in_with_the_shell_that_it_was_made_with() {
    isolated(|| {
        let sshd = Sshd::start();
        let user = User::new("/bin/sh");
        user.write("~/.profile", "echo never read\n");
        let path = user.write("in/some/file", "content");
        let mut command = sshd.command();
        let output = command.args(["-l", user.name(), "id -un; pwd; cat in/some/file; echo >new"]);
        let expected = format!("{}\n{}\ncontent", user.name(), user.home().display());
        assert_eq!(text(&output.output().unwrap()), expected, "{}", sshd.log());
        assert!(user.home().join("new").exists() && path.exists());

        // More of them at once, and one that leaves a process.
        let others: Vec<_> = (0..3).map(|_| User::new("/bin/bash")).collect();
        let mut command = sshd.command();
        command.args(["-l", others[0].name(), "setsid sleep 1000 >&- 2>&- <&- & echo $!"]);
        let daemon = Process::open(text(&command.output().unwrap()).trim().parse().unwrap());
        let names: Vec<_> = others.iter().map(|user| user.name().to_string()).collect();
        drop(others);
        daemon.wait_end();
        for file in ["passwd", "group", "shadow", "subuid", "subgid"] {
            let lines = std::fs::read_to_string(format!("/etc/{file}")).unwrap_or_default();
            assert!(names.iter().all(|name| !lines.contains(&format!("{name}:"))), "{file}");
        }
    });
}

#[test]
fn a_user_has_a_password_when_it_is_set() {
    isolated(|| {
        let user = User::new("/bin/sh");
        let field = || {
            let shadow = std::fs::read_to_string("/etc/shadow").unwrap();
            let line = shadow.lines().find(|line| line.split(':').next() == Some(user.name()));
            line.unwrap().split(':').nth(1).unwrap().to_string()
        };
        assert_eq!(field(), "*");
        user.set_password("correct horse");
        assert!(field().starts_with('$'), "{}", field());
    });
}

/// Answers each line that comes with `name: ` and the line, and ends with the stream.
fn echo_server(listener: std::net::TcpListener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader};
        let (stream, _) = listener.accept().unwrap();
        // Else what is small waits for the acknowledgement of what was small before it.
        stream.set_nodelay(true).unwrap();
        let mut output = stream.try_clone().unwrap();
        output.write_all(b"hello\n").unwrap();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            for part in ["you said: ", &line, "\n"] {
                if output.write_all(part.as_bytes()).is_err() {
                    return;
                }
            }
        }
    })
}

const DELAY: Duration = Duration::from_millis(10);

/// A client of a server behind a proxy.
fn behind_a_proxy() -> (Proxy, std::thread::JoinHandle<()>, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port(), DELAY);
    let server = echo_server(listener);
    let client = std::net::TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    client.set_nodelay(true).unwrap();
    (proxy, server, client)
}

fn read_line(client: &std::net::TcpStream) -> String {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while std::io::Read::read(&mut &*client, &mut byte).unwrap() == 1 && byte != *b"\n" {
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn a_proxy_counts_how_often_a_client_waits_for_an_answer() {
    isolated(|| {
        let (proxy, server, mut client) = behind_a_proxy();
        let start = Instant::now();
        assert_eq!(read_line(&client), "hello");
        assert_eq!(proxy.round_trips(), 0, "{:?}", proxy.chunks());
        for (count, line) in ["one", "two"].into_iter().enumerate() {
            writeln!(client, "{line}").unwrap();
            assert_eq!(read_line(&client), format!("you said: {line}"));
            assert_eq!(proxy.round_trips(), count as u32 + 1, "{:?}", proxy.chunks());
        }
        assert!(start.elapsed() >= 4 * DELAY);
        // Ten that do not wait for each other are one.
        for _ in 0..10 {
            client.write_all(b"at once\n").unwrap();
        }
        for _ in 0..10 {
            assert_eq!(read_line(&client), "you said: at once");
        }
        assert_eq!(proxy.round_trips(), 3, "{:?}", proxy.chunks());
        assert_eq!(proxy.bytes(Side::Client), 8 + 10 * 8);
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_line(&client), "");
        server.join().unwrap();
    });
}

#[test]
fn a_proxy_carries_much_in_order_and_no_slower_for_its_delay() {
    isolated(|| {
        const BYTES: usize = 32 << 20;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port(), DELAY);
        let sent: Vec<u8> = (0..BYTES).map(|at| (at ^ (at >> 8)) as u8).collect();
        let receiver = std::thread::spawn(move || {
            let mut all = Vec::new();
            std::io::Read::read_to_end(&mut listener.accept().unwrap().0, &mut all).unwrap();
            all
        });
        let mut client = std::net::TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let start = Instant::now();
        client.write_all(&sent).unwrap();
        drop(client);
        assert!(receiver.join().unwrap() == sent);
        // One chunk for each delay would take five seconds.
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(proxy.bytes(Side::Client), BYTES);
        assert_eq!(proxy.round_trips(), 0);
    });
}

#[test]
fn a_proxy_that_is_cut_ends_its_connections_and_one_that_is_frozen_holds_them() {
    isolated(|| {
        let (proxy, server, mut client) = behind_a_proxy();
        assert_eq!(read_line(&client), "hello");
        proxy.freeze();
        client.write_all(b"held\n").unwrap();
        proxy.wait_for_bytes(Side::Client, 5);
        client.set_read_timeout(Some(10 * DELAY)).unwrap();
        assert!(std::io::Read::read(&mut &client, &mut [0]).is_err());
        client.set_read_timeout(None).unwrap();
        proxy.thaw();
        assert_eq!(read_line(&client), "you said: held");
        proxy.cut();
        assert_eq!(read_line(&client), "");
        server.join().unwrap();
    });
}

#[test]
fn a_stand_in_says_what_it_is_told_and_runs_the_command() {
    isolated(|| {
        let dir = TempDir::new();
        let ssh = fake_ssh(&dir, "logged_in\nask 'Password: ' || say 'no terminal'\nrun");
        let output = Command::new(&ssh).args(["-T", "web1", "echo \"$((40 + 2))\""]).output();
        let output = output.unwrap();
        assert_eq!(text(&output), "42\n");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with("Authenticated to web1 "), "{stderr}");
        assert!(stderr.ends_with("no terminal\r\n"), "{stderr}");
        // script(1) gives it a terminal.
        let line = format!("{} web1 'echo $answer' 2>/dev/null", ssh.display());
        let ssh = fake_ssh(&dir, "ask 'Password: ' && export answer\nrun");
        assert!(ssh.exists());
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
        let shown = text(&child.wait_with_output().unwrap());
        assert!(shown.contains("Password: "), "{shown:?}");
        assert!(shown.ends_with("hunter2\r\n"), "{shown:?}");
    });
}
