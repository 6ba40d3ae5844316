//! OpenSSH servers of a test's own.
//!
//! Invariant: a server reads nothing of this machine's `/etc/ssh`, and its clients nothing of anybody's
//! `~/.ssh`: keys, configuration and known hosts of both sides are in a directory of the server's. It
//! listens on a loopback port that was free; when it is dropped, it and all its sessions are gone.
//!
//! Without root the server serves its own user only, which is enough for most tests.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use econtext::Ssh;

use super::processes::end_tree;
use super::python::pyenv_root;
use super::users::is_root;
use super::{TempDir, skip};

/// A server. What it accepts is one key, for any user that it can become.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    port: u16,
    child: Child,
    said: Arc<Said>,
    reader: Option<JoinHandle<()>>,
}

/// Mounts an open directory over `$2`, with `$1`, that was in it, in it, by way of `$3`; then becomes what
/// follows.
const OPEN_PYTHONS: &str = "mount --bind \"$1\" \"$3\"; mount -t tmpfs -o mode=755 none \"$2\"; \
    mkdir -p \"$1\"; mount --move \"$3\" \"$1\"; shift 3; exec \"$@\"";

/// What it has printed: whole lines.
#[derive(Debug, Default)]
struct Said {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

/// Longer than anything but a failure takes.
const PATIENCE: Duration = Duration::from_secs(30);

impl Sshd {
    /// Starts one; the test ends here, left out, where there is no OpenSSH.
    pub fn start() -> Sshd {
        Sshd::start_with("")
    }

    /// Starts one with these lines in front of its own `sshd_config`: of two that set the same, the first
    /// counts. Its own has keys as the only way in, and no PAM.
    pub fn start_with(config: &str) -> Sshd {
        Sshd::start_under::<&str>(&[], config)
    }

    /// As [`Sshd::start_with`], where all users can run each interpreter of the tests; the test ends here,
    /// left out, where this machine does not allow that.
    ///
    /// pyenv's are below the home of whoever installed it, which is often closed to others, and they run
    /// nowhere else. So this server has mounts of its own: an open directory over that home, and in it
    /// nothing but the interpreters.
    pub fn start_for_all_pythons(config: &str) -> Sshd {
        const UNSHARE: [&str; 2] = ["unshare", "--mount"];
        let is_closed = |dir: &&Path| {
            let mode = fs::metadata(dir).expect("it is there").permissions().mode();
            is_root() && mode & 0o1 == 0
        };
        let Some(root) = pyenv_root() else { return Sshd::start_with(config) };
        let Some(closed) = root.ancestors().filter(is_closed).last() else {
            return Sshd::start_with(config);
        };
        let mut attempt = Command::new(UNSHARE[0]);
        let output = attempt.args(&UNSHARE[1..]).args(["mount", "-t", "tmpfs", "none"]).arg(closed);
        let output = output.output().expect("unshare");
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            skip("all interpreters over ssh", &format!("no mounts of one's own: {}", why.trim()));
        }
        let hold = TempDir::new();
        let mut prefix: Vec<&OsStr> = UNSHARE.map(OsStr::new).into();
        prefix.extend(["sh", "-ec", OPEN_PYTHONS, "sh"].map(OsStr::new));
        prefix.extend([root.as_os_str(), closed.as_os_str(), hold.path().as_os_str()]);
        Sshd::start_under(&prefix, config)
    }

    /// As [`Sshd::start_with`], where `prefix` is a command that becomes the server, in surroundings that
    /// it has made for it.
    pub fn start_under<S: AsRef<OsStr>>(prefix: &[S], config: &str) -> Sshd {
        let Some(program) = program() else {
            skip("ssh", "there is no OpenSSH server");
        };
        if is_root() {
            // Where a server without root's rights has its root; the package makes it at boot only.
            fs::create_dir_all("/run/sshd").expect("/run/sshd");
        }
        let dir = TempDir::new();
        keygen(&dir.path().join("host_key"), "");
        keygen(&dir.path().join("key"), "");
        fs::copy(dir.path().join("key.pub"), dir.path().join("authorized_keys")).unwrap();
        // Between the look for a free port and its use another test may take it.
        let mut last = String::new();
        for _ in 0..10 {
            let port = free_port();
            match listen(prefix, program, &dir, port, config) {
                Ok((child, said, reader)) => {
                    let sshd = Sshd { dir, port, child, said, reader: Some(reader) };
                    sshd.write_client_files();
                    return sshd;
                }
                Err(printed) => last = printed,
            }
            if !last.contains("Address already in use") {
                break;
            }
        }
        panic!("the ssh server does not start; it printed:\n{last}");
    }

    /// Whether one can be started here.
    pub fn is_here() -> bool {
        program().is_some()
    }

    /// Its port, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process that listens.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// The configuration of its clients: the key, the known hosts, and nothing else. The port is not in
    /// it.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// Such a configuration with these lines in front, in a file of this name.
    pub fn config_with(&self, name: &str, lines: &str) -> PathBuf {
        self.file(name, format!("{lines}\n{}", self.client_config()))
    }

    /// A file that has its host key, as `127.0.0.1` and as `localhost`.
    pub fn known_hosts(&self) -> PathBuf {
        self.dir.path().join("known_hosts")
    }

    /// The private key that it accepts; the public one is beside it.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    /// Makes a file beside the others.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.dir.file(name, content)
    }

    /// Makes a private key beside the others that it does not accept, with a passphrase or `""`.
    pub fn make_key(&self, name: &str, passphrase: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        keygen(&path, passphrase);
        path
    }

    /// From now on it accepts this key too.
    pub fn authorize(&self, key: &Path) {
        let list = self.dir.path().join("authorized_keys");
        let added = fs::read_to_string(key.with_extension("pub")).expect("made by make_key");
        let before = fs::read_to_string(&list).expect("made at the start");
        fs::write(list, before + &added).expect("made at the start");
    }

    /// A context on it, as whoever runs the test.
    pub fn ssh(&self) -> Ssh {
        Ssh::new("127.0.0.1").port(self.port).config_file(self.config())
    }

    /// OpenSSH's own client for it, up to and with the host: the remote command is to be added.
    pub fn command(&self) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.config()).arg("-p").arg(self.port.to_string());
        command.args(["-o", "BatchMode=yes", "127.0.0.1"]);
        command
    }

    /// What it has printed so far, for a failure's message.
    pub fn log(&self) -> String {
        self.said.text.lock().unwrap().0.clone()
    }

    /// Waits until it has printed a line that has this in it; gives the first such line.
    ///
    /// # Panics
    ///
    /// When it does not: shows what it printed instead.
    pub fn wait_for(&self, part: &str) -> String {
        match self.said.line(part) {
            Ok(line) => line,
            Err(all) => panic!("the ssh server does not print {part:?} but\n{all}"),
        }
    }

    fn write_client_files(&self) {
        let key = fs::read_to_string(self.dir.path().join("host_key.pub")).expect("just made");
        let key = key.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let names = format!("[127.0.0.1]:{0},[localhost]:{0}", self.port);
        self.file("known_hosts", format!("{names} {key}\n"));
        self.file("config", self.client_config());
    }

    fn client_config(&self) -> String {
        format!(
            "Host *\n\
             IdentityFile {}\n\
             IdentitiesOnly yes\n\
             IdentityAgent none\n\
             UserKnownHostsFile {}\n\
             GlobalKnownHostsFile /dev/null\n\
             UpdateHostKeys no\n",
            self.key().display(),
            self.known_hosts().display()
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        end_tree(self.pid());
        let ended = self.child.wait();
        let read = self.reader.take().expect("only taken here").join();
        if !std::thread::panicking() {
            ended.expect("it is our child");
            read.expect("it does not panic");
        } else {
            // Said where the test's own output is shown.
            eprintln!("the ssh server printed:\n{}", self.log());
        }
    }
}

/// OpenSSH's server, which is not in the `PATH` of ordinary users.
fn program() -> Option<&'static str> {
    const PATHS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/lib/ssh/sshd"];
    PATHS.into_iter().find(|path| Path::new(path).exists())
}

/// Starts a server and waits until it listens; fails with what it printed before it ended.
fn listen<S: AsRef<OsStr>>(
    prefix: &[S],
    program: &str,
    dir: &TempDir,
    port: u16,
    config: &str,
) -> Result<(Child, Arc<Said>, JoinHandle<()>), String> {
    let path = dir.path().display();
    let config = format!(
        "{config}\n\
         Port {port}\n\
         ListenAddress 127.0.0.1\n\
         HostKey {path}/host_key\n\
         AuthorizedKeysFile {path}/authorized_keys\n\
         StrictModes no\n\
         PidFile none\n\
         UsePAM no\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin yes\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         UseDNS no\n\
         LogLevel VERBOSE\n"
    );
    let config = dir.file("sshd_config", config);
    let words = prefix.iter().map(AsRef::as_ref).chain([OsStr::new(program)]);
    let words: Vec<_> = words.collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["-D", "-e", "-f"]).arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = child.stderr.take().expect("piped");
    let said = Arc::new(Said::default());
    let for_reader = Arc::clone(&said);
    let reader = std::thread::spawn(move || for_reader.read(stderr));
    match said.line("Server listening on ") {
        Ok(_) => Ok((child, said, reader)),
        Err(printed) => {
            end_tree(child.id() as i32);
            child.wait().expect("it is our child");
            reader.join().expect("it does not panic");
            Err(printed)
        }
    }
}
impl Said {
    fn read(&self, stderr: ChildStderr) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while stderr.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            // Its lines end like a terminal's.
            let text = String::from_utf8_lossy(&line).trim_end().to_string();
            self.text.lock().unwrap().0.push_str(&(text + "\n"));
            self.more.notify_all();
            line.clear();
        }
        self.text.lock().unwrap().1 = true;
        self.more.notify_all();
    }

    /// The first line that has `part` in it; fails with all that was printed.
    fn line(&self, part: &str) -> Result<String, String> {
        let find = |text: &str| text.lines().find(|line| line.contains(part)).map(String::from);
        let text = self.text.lock().unwrap();
        let missing = |(text, ended): &mut (String, bool)| !*ended && find(text).is_none();
        let (text, _) = self.more.wait_timeout_while(text, PATIENCE, missing).unwrap();
        find(&text.0).ok_or_else(|| text.0.clone())
    }
}

fn keygen(path: &Path, passphrase: &str) {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-C", "a test's", "-N", passphrase, "-f"]).arg(path);
    let output = command.stdin(Stdio::null()).output().expect("ssh-keygen");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// One that nothing listens at, at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("bound").port()
}
