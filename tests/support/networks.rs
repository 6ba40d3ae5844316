//! Networks of a test's own: hosts that reach each other where there is a link between them, and nowhere else.
//!
//! Invariant: each host is a network namespace of this machine, which has no more than loopback and the links that
//! it was given; nothing is forwarded. When the network is dropped they are gone. What a test that was killed has left
//! is removed by the next one that makes a network.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use econtext::Ssh;

use super::users::is_root;
use super::{Sshd, TempDir, script, skip};

/// Some hosts.
#[derive(Debug)]
pub struct Network {
    /// Where its programs for the hosts are.
    dir: TempDir,
    hosts: Vec<String>,
}

impl Network {
    /// Makes hosts with these names, of a few letters each; the test ends here, left out, where this machine
    /// does not allow that.
    pub fn new<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Network {
        if !is_root() {
            skip("networks of one's own", "needs root");
        }
        remove_stale();
        let mut network = Network { dir: TempDir::new(), hosts: Vec::new() };
        for host in hosts {
            let name = namespace(host);
            made(ip(&["netns", "add", &name]));
            network.hosts.push(host.into());
            set(&["-n", &name, "link", "set", "lo", "up"]);
        }
        network
    }

    /// Links two hosts. Each has this address there, as in `192.0.2.1/30`; the interface is `to-<other host>`.
    pub fn link(&self, ends: [(&str, &str); 2]) {
        let [(a, _), (b, _)] = ends;
        let [to_a, to_b] = [a, b].map(|host| format!("to-{host}"));
        let [in_a, in_b] = [a, b].map(namespace);
        let add = ["-n", &in_a, "link", "add", &to_b, "type", "veth", "peer", "name", &to_a];
        made(ip(&[&add[..], &["netns", &in_b]].concat()));
        for ((_, address), (name, device)) in ends.into_iter().zip([(in_a, to_b), (in_b, to_a)]) {
            set(&["-n", &name, "address", "add", address, "dev", &device]);
            set(&["-n", &name, "link", "set", &device, "up"]);
        }
    }

    /// Takes down a host's end of a link.
    pub fn cut(&self, host: &str, other: &str) {
        set(&["-n", &namespace(host), "link", "set", &format!("to-{other}"), "down"]);
    }

    /// How many bytes have come over a link, as the host has it.
    pub fn received(&self, host: &str, other: &str) -> u64 {
        let (host, device) = (namespace(host), format!("to-{other}:"));
        let output = ip(&["netns", "exec", &host, "cat", "/proc/net/dev"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let counts = text.lines().find_map(|line| line.trim().strip_prefix(&device));
        let bytes = counts.and_then(|counts| counts.split_whitespace().next());
        bytes.and_then(|it| it.parse().ok()).unwrap_or_else(|| panic!("{device} {output:?}"))
    }

    /// An ssh server on a host, at this address of the host's: see [`Sshd::ssh_at`].
    pub fn sshd(&self, host: &str, address: &str) -> Sshd {
        let prefix = ["/usr/sbin/ip", "netns", "exec", &namespace(host)];
        Sshd::start_under(&prefix, &format!("ListenAddress {address}"))
    }

    /// ssh as it is run on this host, for a client that is on none.
    pub fn ssh_path(&self, host: &str) -> PathBuf {
        let body = format!("exec /usr/sbin/ip netns exec {} ssh \"$@\"\n", namespace(host));
        script(&self.dir, &format!("ssh-on-{host}"), &body)
    }
}

impl Sshd {
    /// As [`Sshd::ssh`], for clients that reach it at this address.
    pub fn ssh_at(&self, address: &str) -> Ssh {
        self.reached(address, "config-elsewhere", "")
    }

    /// The same, for what takes this long each way. (The kernel's own delays, netem, are not in every kernel.)
    pub fn far_ssh_at(&self, address: &str, delay_ms: u32) -> Ssh {
        let program = self.file("delay.py", include_str!("delay.py"));
        let program = program.display();
        let lines = format!("ProxyCommand python3 {program} {delay_ms} %h %p");
        self.reached(address, "config-far", &lines)
    }

    fn reached(&self, address: &str, name: &str, lines: &str) -> Ssh {
        let alias = format!("HostKeyAlias [127.0.0.1]:{}\n{lines}", self.port());
        Ssh::new(address).port(self.port()).config_file(self.config_with(name, &alias))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            let output = ip(&["netns", "delete", &namespace(host)]);
            assert!(output.status.success() || std::thread::panicking(), "{host}: {output:?}");
        }
    }
}

/// What the names of such namespaces start with; the process that made them follows.
const PREFIX: &str = "econtext-";

fn namespace(host: &str) -> String {
    format!("{PREFIX}{}-{host}", std::process::id())
}

fn remove_stale() {
    let output = ip(&["netns", "list"]);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let maker = || name.strip_prefix(PREFIX)?.split_once('-')?.0.parse::<u32>().ok();
        if maker().is_some_and(|it| !Path::new(&format!("/proc/{it}")).exists()) {
            // Another test may have been faster.
            ip(&["netns", "delete", name]);
        }
    }
}

fn ip(words: &[&str]) -> Output {
    let mut command = Command::new("ip");
    command.env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin").args(words);
    command.output().unwrap_or_else(|error| panic!("iproute2: {command:?}: {error}"))
}

/// Ends the test here, left out, where this machine has no such thing.
fn made(output: Output) {
    if !output.status.success() {
        skip("networks of one's own", String::from_utf8_lossy(&output.stderr).trim());
    }
}

#[track_caller]
fn set(words: &[&str]) {
    let output = ip(words);
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
