//! Where children are started: here, and over ssh in several ways.
//!
//! The server, its keys and its clients' configuration are the bench's own. It compresses for nobody: both
//! peers ask for that by default, which would measure compression of random data.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::contender::PINNED_CPU;
use crate::environments::output;
use crate::support::{Proxy, Sshd};

/// What is between client and server where a round trip is to be seen: this long each way.
const DELAY: Duration = Duration::from_millis(10);

const FAR: &str = "ssh, round trip of 20 ms";

/// The servers, for as long as this lives.
pub struct Servers {
    ssh: Option<OverSsh>,
}

struct OverSsh {
    // Dropped in this order: what uses a server before it.
    shared: Shared,
    delayed: Proxy,
    server: Sshd,
    config: String,
}

/// A connection that others share: ssh's ControlMaster.
struct Shared {
    socket: String,
    config: String,
    port: u16,
}

impl Servers {
    pub fn start() -> Servers {
        let ssh = OverSsh::start();
        if let Err(why) = &ssh {
            println!("What goes over ssh is left out: {why}");
        }
        Servers { ssh: ssh.ok() }
    }

    pub fn places(&self) -> Vec<Place> {
        let mut places = vec![Place::local()];
        if let Some(ssh) = &self.ssh {
            let port = ssh.server.port();
            let over = |name: &str, port: u16, is_direct| Place {
                name: name.into(),
                words: vec!["ssh".into(), ssh.config.clone(), port.to_string()],
                is_direct,
            };
            let mut shared = over("ssh, open ControlMaster", port, false);
            shared.words.push(ssh.shared.socket.clone());
            let delayed = ssh.delayed.port();
            places.push(over("ssh", port, true));
            places.push(over(FAR, delayed, false));
            places.push(shared);
        }
        places
    }

    /// The place with a round trip that is to be seen, and what is between.
    pub fn far(&self) -> Option<(Place, &Proxy)> {
        let ssh = self.ssh.as_ref()?;
        Some((self.places().into_iter().find(Place::is_far)?, &ssh.delayed))
    }

    /// Puts the server and the sessions that it starts from now on on the one CPU, until this is dropped.
    pub fn pin(&self) -> Option<Pin> {
        self.ssh.as_ref().map(|ssh| Pin::new(ssh.server.pid()))
    }
}

impl OverSsh {
    fn start() -> Result<OverSsh, String> {
        output(Command::new("ssh").arg("-V"))?;
        if !Sshd::is_here() {
            return Err("there is no OpenSSH server".into());
        }
        let server = Sshd::start_with("Compression no");
        let delayed = Proxy::start(server.port(), DELAY);
        // The same host, whichever port it is reached at.
        let alias = format!("HostKeyAlias [127.0.0.1]:{}\nLogLevel ERROR", server.port());
        let config = server.config_with("bench_config", &alias).display().to_string();
        let shared = Shared::start(&config, &server)?;
        Ok(OverSsh { shared, delayed, server, config })
    }
}

impl Shared {
    fn start(config: &str, server: &Sshd) -> Result<Shared, String> {
        let socket = server.config().with_file_name("shared").display().to_string();
        let shared = Shared { socket, config: config.into(), port: server.port() };
        // `-f`: it goes to the background once it is logged in.
        shared.ssh(&["-M", "-N", "-f", "-o", "BatchMode=yes"])?;
        Ok(shared)
    }

    fn ssh(&self, options: &[&str]) -> Result<(), String> {
        let mut command = Command::new("ssh");
        command.args(["-F", &self.config, "-p", &self.port.to_string(), "-S", &self.socket]);
        // Not by pipes: what goes to the background would keep them.
        command.args(options).arg("127.0.0.1").stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.stderr(Stdio::null()).status().map_err(|error| error.to_string())?;
        status.success().then_some(()).ok_or_else(|| format!("{command:?}: {status}"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = self.ssh(&["-O", "exit"]) {
            eprintln!("{error}");
        }
    }
}

/// A server on one CPU; dropped, it is where it was.
pub struct Pin {
    pid: i32,
    before: String,
}

impl Pin {
    fn new(pid: i32) -> Pin {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let before = list.unwrap_or_default().trim().to_string();
        move_to(pid, PINNED_CPU);
        Pin { pid, before }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        move_to(self.pid, &self.before);
    }
}

fn move_to(pid: i32, cpus: &str) {
    if let Err(error) =
        output(Command::new("taskset").args(["-a", "-c", "-p", cpus, &pid.to_string()]))
    {
        eprintln!("{error}");
    }
}

/// Where a contender connects to.
#[derive(Clone)]
pub struct Place {
    pub name: String,
    /// What the contenders are told: `local`; or `ssh`, the configuration, the port, and where there is one
    /// the socket of a shared connection. For a chain `chain` and the number of its levels are in front.
    words: Vec<String>,
    is_direct: bool,
}

impl Place {
    pub fn local() -> Place {
        Place { name: "local".into(), words: vec!["local".into()], is_direct: true }
    }

    /// A chain of so many levels: the first is here, each other one a local child of the one before.
    pub fn chain(&self, levels: usize) -> Place {
        let below = std::iter::repeat_n("local", levels - 1);
        let names: Vec<&str> = [&*self.name].into_iter().chain(below).collect();
        let mut words = vec!["chain".into(), levels.to_string()];
        words.extend(self.words.iter().cloned());
        Place { name: format!("chain {}", names.join(", ")), words, is_direct: self.is_direct }
    }

    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }

    pub fn is_local(&self) -> bool {
        self.words.len() == 1
    }

    /// Whether there is a round trip to be seen.
    pub fn is_far(&self) -> bool {
        self.name == FAR
    }

    /// Nothing is between that would be measured instead of the contender.
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// What the plain tools do at a start.
    pub fn floor(&self) -> &'static str {
        match self.words[0].as_str() {
            "local" => "floor: python -S -E, first byte",
            "chain" => "floor: python -S -E each, first byte",
            _ => "floor: ssh python -c 'print(1)'",
        }
    }
}
