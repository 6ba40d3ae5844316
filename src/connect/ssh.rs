//! A child on another machine, over the user's own ssh.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::options::{Options, common_options};
use super::target::Target;
use super::{Answers, Asks, Kind, Method, Plan, SshTarget, Tool, Way};
use crate::bootstrap::texts::{SSH_ENVIRONMENT, SSH_OPTIONS};
use crate::secret::Secret;

/// A context on a machine that has an ssh server and a Python interpreter.
///
/// The stream is carried by the user's own ssh program, OpenSSH 7.4 or later, with the user's
/// configuration (ssh_config(5)), keys, agent and jump hosts. What in that configuration would get between
/// the program and its child is overruled, for this connection only: `RemoteCommand`, `RequestTTY`,
/// `StdinNull`, `SessionType`, `ForkAfterAuthentication`, `LocalCommand`, forwardings of ports and X11,
/// tunnels, `ControlMaster` and `ControlPath`, `Compression`, `LogLevel`, `BatchMode`.
///
/// ssh keeps its file of known hosts up to date as ever, on the machine where it runs: the parent's. Nothing else is
/// written on either side.
///
/// Its argv is `ssh ARGS.. [-F FILE] -o .. [-p PORT] [-l USER] -- HOST 'exec COMMAND..'`. The child is in the home
/// directory of the user, as ever with ssh.
#[derive(Clone, Debug)]
pub struct Ssh {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    identities: Vec<PathBuf>,
    config_file: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    host_keys: Option<HostKeys>,
    password: Option<Secret>,
    passphrase: Option<Secret>,
    compression: bool,
    keepalive: (Duration, u32),
    control_path: Option<PathBuf>,
    ssh_path: OsString,
    args: Vec<OsString>,
    options: Options,
}

common_options!(Ssh);

/// What to do about a host key that is not known yet; ssh_config(5), `StrictHostKeyChecking`. A key that is
/// known to be another one is refused by the first two.
///
/// A jump host's key is checked as the configuration says; where that asks, `AcceptNew` answers for jump hosts,
/// too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKeys {
    /// Refuse it.
    Enforce,
    /// Take it, and add it to the known hosts.
    AcceptNew,
    /// Take any, and remember none: whoever is between can be the server. For machines that live for
    /// minutes.
    Ignore,
}

impl Ssh {
    /// A context on `host`: a name that ssh knows, from its configuration or from DNS, or an address; with
    /// `user@` in front if need be. The name of the context is `ssh.<host>`, with the port where one is set.
    pub fn new(host: impl Into<String>) -> Ssh {
        Ssh {
            host: host.into(),
            user: None,
            port: None,
            identities: Vec::new(),
            config_file: None,
            known_hosts: None,
            host_keys: None,
            password: None,
            passphrase: None,
            compression: false,
            keepalive: (Duration::from_secs(15), 3),
            control_path: None,
            ssh_path: "ssh".into(),
            args: Vec::new(),
            options: Options::default(),
        }
    }

    /// Whom to log in as: `-l`. Default: what the configuration says, else the local user's name.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The port of the server: `-p`. Default: what the configuration says, else 22.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// A private key to log in with: `IdentityFile`; can be given several times. `~/` is the home directory of the
    /// environment. Keys of the agent and of the configuration are tried too, unless that says
    /// `IdentitiesOnly`.
    pub fn identity(mut self, file: impl Into<PathBuf>) -> Self {
        self.identities.push(file.into());
        self
    }

    /// The configuration to read instead of the user's and the system's: `-F`.
    pub fn config_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.config_file = Some(file.into());
        self
    }

    /// The file of known host keys, instead of the user's: `UserKnownHostsFile`.
    pub fn known_hosts(mut self, file: impl Into<PathBuf>) -> Self {
        self.known_hosts = Some(file.into());
        self
    }

    /// What to do about a host key that is not known yet. Default: what the configuration says.
    pub fn host_keys(mut self, policy: HostKeys) -> Self {
        self.host_keys = Some(policy);
        self
    }

    /// The password to log in with, for the host itself: a jump host that asks for one is answered by
    /// [`on_prompt`](crate::RouterBuilder::on_prompt). It is written to ssh's own terminal, once, and its
    /// memory is overwritten when the last copy of this method and of the start is dropped.
    ///
    /// When a password is asked for, ssh is asked (`ssh -G`) whom it connects to, so that it is known whose
    /// question is the host's.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret::from(password.into()));
        self
    }

    /// The passphrase of the private keys. An empty one passes over keys that have one. Kept and given as a
    /// password is.
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.passphrase = Some(Secret::from(passphrase.into()));
        self
    }

    /// Whether ssh compresses: `Compression`. Default: no, since it costs far more than the network of a
    /// data centre. For thin lines.
    pub fn compression(mut self, yes: bool) -> Self {
        self.compression = yes;
        self
    }

    /// How a silent peer is found: ssh asks for a sign of life each `interval`, and gives the connection up
    /// after `count` without an answer: `ServerAliveInterval`, in whole seconds and at least one, and
    /// `ServerAliveCountMax`, at least one. So a peer that says nothing is found within `interval` times `count`
    /// plus one. An ssh process that has been stopped for as long is given up likewise. Default: 15 s, 3 times.
    pub fn keepalive(mut self, interval: Duration, count: u32) -> Self {
        self.keepalive = (interval, count);
        self
    }

    /// The socket of an ssh that shares its connection: `ControlPath`. Without one there, or where the
    /// server takes no more sessions on it (`MaxSessions` of sshd_config(5), 10), a connection of its own
    /// is made. Default: a connection for each context, whatever the configuration says.
    pub fn control_path(mut self, socket: impl Into<PathBuf>) -> Self {
        self.control_path = Some(socket.into());
        self
    }

    /// The ssh program, a path or a name to be found in `PATH`. Default: `ssh`.
    pub fn ssh_path(mut self, program: impl Into<OsString>) -> Self {
        self.ssh_path = program.into();
        self
    }

    /// More arguments for ssh, before all others, so that of an option (`-o`) what is said here counts; what
    /// decides about terminals (`-t`) and the configuration (`-F`) are this method's own.
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    fn context_name(&self) -> String {
        let host = self.host.rsplit('@').next().unwrap_or_default();
        match self.port {
            Some(port) => format!("ssh.{host}:{port}"),
            None => format!("ssh.{host}"),
        }
    }

    /// Of what is said twice, the first counts for ssh.
    fn words(&self) -> Result<Words, String> {
        if self.host.is_empty() || self.host.starts_with('-') {
            return Err(format!("{:?} cannot be a host's name", self.host));
        }
        let mut words = Words(vec![self.ssh_path.clone()]);
        words.0.extend(self.args.iter().cloned());
        if let Some(file) = &self.config_file {
            words.pair("-F", file);
        }
        // Options that are younger than the oldest client; there they can do no harm. (The configuration
        // cannot have a list of its own beside this one.)
        words.option("IgnoreUnknown", "*");
        words.0.extend(["-T", "-x"].map(OsString::from));
        for (name, value) in SSH_OPTIONS {
            words.option(name, value);
        }
        words.option("Compression", if self.compression { "yes" } else { "no" });
        let (interval, count) = self.keepalive;
        words.option("ServerAliveInterval", interval.as_secs().max(1));
        words.option("ServerAliveCountMax", count.max(1));
        if let Some(timeout) = self.options.connect_timeout {
            // Less than our own, so that ssh can say what it waited for.
            words.option("ConnectTimeout", timeout.as_secs().saturating_sub(1).max(1));
        }
        match &self.control_path {
            Some(path) => words.path_option("ControlPath", path)?,
            None => words.option("ControlPath", "none"),
        }
        match self.host_keys {
            Some(HostKeys::Enforce) => words.option("StrictHostKeyChecking", "yes"),
            // Asked and answered by us, since `accept-new` is younger than the oldest client.
            Some(HostKeys::AcceptNew) => words.option("StrictHostKeyChecking", "ask"),
            Some(HostKeys::Ignore) => {
                words.option("StrictHostKeyChecking", "no");
                words.option("UserKnownHostsFile", "/dev/null");
                words.option("GlobalKnownHostsFile", "/dev/null");
                words.option("KnownHostsCommand", "none");
            }
            None => {}
        }
        if let Some(file) = &self.known_hosts {
            words.path_option("UserKnownHostsFile", file)?;
        }
        for file in &self.identities {
            words.path_option("IdentityFile", &expand_home(file))?;
        }
        if let Some(port) = self.port {
            words.pair("-p", port.to_string());
        }
        if let Some(user) = &self.user {
            words.pair("-l", user);
        }
        Ok(words)
    }

    fn tool(&self) -> Result<Tool, String> {
        let words = self.words()?;
        let finish = |change: &dyn Fn(&mut Words)| {
            let mut words = Words(words.0.clone());
            change(&mut words);
            words.pair("--", &self.host);
            words.0
        };
        let asking = finish(&|words| {
            words.option("BatchMode", "no");
            words.option("NumberOfPasswordPrompts", 3);
        });
        let silent = finish(&|words| words.option("BatchMode", "yes"));
        let ways = [
            Way::new(asking).shell().asking(Asks::Terminal).if_answered(),
            Way::new(silent).shell().if_unanswered(),
        ];
        let target = SshTarget {
            argv: finish(&|words| words.0.push("-G".into())),
            given: Target::given(self.user.as_deref(), &self.host),
        };
        Ok(Tool::with_ways(ways).kind(Kind::Ssh(target)))
    }
}

struct Words(Vec<OsString>);

impl Words {
    /// A path as a value of ssh_config(5), where blanks part values and `%` begins a token.
    fn path_option(&mut self, name: &str, path: &Path) -> Result<(), String> {
        let bytes = path.as_os_str().as_bytes();
        let has_variable = bytes.windows(2).any(|pair| pair == b"${");
        if has_variable || bytes.iter().any(|byte| b"\"\n".contains(byte)) {
            return Err(format!(
                "{path:?} cannot be told to ssh: it has a quotation mark, a newline or ${{ in it"
            ));
        }
        let mut option = format!("{name}=\"").into_bytes();
        for &byte in bytes {
            option.push(byte);
            if byte == b'%' {
                option.push(byte);
            }
        }
        option.push(b'"');
        self.pair("-o", OsString::from_vec(option));
        Ok(())
    }

    fn option(&mut self, name: &str, value: impl std::fmt::Display) {
        self.pair("-o", format!("{name}={value}"));
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.push(flag.into());
        self.0.push(value.into());
    }
}

/// ssh takes `~` from the user database; whoever writes it means `HOME`.
fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.into(),
    }
}

impl Method for Ssh {
    fn plan(&self) -> Plan {
        Plan {
            env: SSH_ENVIRONMENT.map(|(name, value)| (name.into(), value.into())).to_vec(),
            keepalive: Some(self.keepalive),
            answers: Answers {
                password: self.password.clone(),
                passphrase: self.passphrase.clone(),
                accept_host_key: self.host_keys == Some(HostKeys::AcceptNew),
                ..Answers::default()
            },
            ..self.options.plan(|| self.context_name(), self.tool())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(ssh: Ssh) -> Vec<String> {
        let words = ssh.plan().argv(0, &["ls".into()]).unwrap();
        words.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn what_the_user_says_is_first_and_the_host_is_last() {
        let words = words(Ssh::new("web").args(["-v"]).port(2222).user("me"));
        assert_eq!(words[..2], ["ssh", "-v"]);
        assert_eq!(words[words.len() - 3..], ["--", "web", "exec ls"]);
    }

    #[test]
    fn a_host_that_would_be_an_option_is_refused() {
        for host in ["", "-oProxyCommand=x"] {
            assert!(Ssh::new(host).tool().is_err(), "{host}");
        }
    }

    #[test]
    fn paths_are_quoted_as_the_configuration_wants_it() {
        let ssh = Ssh::new("web").known_hosts("/my hosts/100%").control_path("/tmp/%C");
        let words = words(ssh);
        assert!(words.contains(&"UserKnownHostsFile=\"/my hosts/100%%\"".into()), "{words:?}");
        assert!(words.contains(&"ControlPath=\"/tmp/%%C\"".into()), "{words:?}");
        let error = Ssh::new("web").known_hosts("a\"b").tool().unwrap_err();
        assert_eq!(
            error,
            "\"a\\\"b\" cannot be told to ssh: it has a quotation mark, a newline or ${ in it"
        );
    }

    #[test]
    fn the_name_says_host_and_port() {
        assert_eq!(Ssh::new("me@web").plan().name, "ssh.web");
        assert_eq!(Ssh::new("web").port(2222).plan().name, "ssh.web:2222");
        assert_eq!(Ssh::new("web").name("first").plan().name, "first");
    }
}
