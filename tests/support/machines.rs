//! Machines for contexts that start others: an ssh server each, with settings of sudo's of its own.
//!
//! Invariant: nothing of this machine's `/etc` is touched. A server's sessions see the settings by mounts that
//! the server has to itself, and that go with it.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use econtext::Ssh;

use super::users::is_root;
use super::{Sshd, TempDir, User, skip};

/// An ssh server, in whose sessions sudo has settings of the test's.
#[derive(Debug)]
pub struct Machine {
    sshd: Sshd,
    /// Dropped after the server that shows it.
    _settings: TempDir,
}

/// What sudo remembers of who was asked is the machine's own, too.
const MOUNTS: &str = "mount --bind \"$1\" /etc/sudoers.d; mount -t tmpfs -o mode=711 none /run/sudo; \
    shift; exec \"$@\"";

impl Machine {
    /// Starts one with these lines of sudoers(5), and these in front of those of its `sshd_config`; the test
    /// ends here, left out, where this machine does not allow that.
    pub fn start(sudoers: &str, config: &str) -> Machine {
        if !is_root() || !Path::new("/etc/sudoers.d").exists() {
            skip("sudo behind ssh", "needs root, and sudo");
        }
        // sudo makes it when it is first used.
        fs::create_dir_all("/run/sudo").expect("root may");
        let settings = TempDir::new();
        let lines = format!("Defaults timestamp_timeout=0, lecture=never\n{sudoers}\n");
        let file = settings.file("sudoers.d/test", lines);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).expect("our own");
        let dir = file.parent().expect("just made").to_str().expect("made by TempDir");
        let prefix = ["unshare", "--mount", "sh", "-ec", MOUNTS, "sh", dir];
        Machine { sshd: Sshd::start_under(&prefix, config), _settings: settings }
    }
}

impl Deref for Machine {
    type Target = Sshd;

    fn deref(&self) -> &Sshd {
        &self.sshd
    }
}

impl Sshd {
    /// As [`Sshd::ssh`], for a client that `user` runs, which has files of its own for this, in that home.
    pub fn ssh_of(&self, user: &User) -> Ssh {
        self.ssh().config_file(self.config_of(user, ""))
    }

    /// The configuration of such a client, with these lines in front.
    pub fn config_of(&self, user: &User, lines: &str) -> std::path::PathBuf {
        let dir = format!("ssh-to-{}", self.port());
        let copy = |path: &Path, name: &str| {
            user.write(&format!("{dir}/{name}"), fs::read(path).expect("made at the start"))
        };
        let key = copy(&self.key(), "key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("our own");
        let known = copy(&self.known_hosts(), "known_hosts");
        let config = fs::read_to_string(self.config()).expect("made at the start");
        let config = config.replace(&self.key().display().to_string(), &key.display().to_string());
        let config =
            config.replace(&self.known_hosts().display().to_string(), &known.display().to_string());
        user.write(&format!("{dir}/config"), format!("{lines}\n{config}"))
    }
}
