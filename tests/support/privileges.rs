//! Programs that change the user, as an ordinary user runs them, with settings of a test's own.
//!
//! Invariant: nothing of this machine's `/etc` is touched. The program sees its settings by mounts of its own,
//! which are gone with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use econtext::{Context, Error, Method, Router, Stage};

use super::{TempDir, User, script, skip};

/// A program to be given as `sudo_path`, `su_path` or `doas_path`.
#[derive(Debug)]
pub struct AsUser {
    dir: TempDir,
    tool: &'static str,
    uid: u32,
    gid: u32,
    mounts: String,
    language: &'static str,
}

/// `/etc` with everything that is in it, as links to it at `$hold`.
const OPEN_ETC: &str = "mount --bind /etc \"$hold\"; mount -t tmpfs -o mode=755 none /etc; \
    for it in \"$hold\"/* \"$hold\"/.[!.]*; do ln -s \"$it\" /etc; done; ";

impl AsUser {
    /// sudo, with these lines in its settings. It remembers no password.
    pub fn sudo(user: &User, sudoers: &str) -> AsUser {
        let door = AsUser::new(user, "sudo");
        let lines = format!("Defaults timestamp_timeout=0, lecture=never\n{sudoers}\n");
        let file = door.dir.file("sudoers.d/test", lines);
        fs::set_permissions(file, fs::Permissions::from_mode(0o440)).expect("our own");
        let mounts = format!(
            "mount --bind {}/sudoers.d /etc/sudoers.d; mount -t tmpfs -o mode=711 none /run/sudo; ",
            door.dir.path().display()
        );
        // It makes the directory when it is first used.
        fs::create_dir_all("/run/sudo").expect("root may");
        AsUser { mounts, ..door }.written()
    }

    /// doas, with this as its settings.
    pub fn doas(user: &User, settings: &str) -> AsUser {
        let door = AsUser::new(user, "doas");
        door.dir.file("doas.conf", format!("{settings}\n"));
        let dir = door.dir.path().display();
        fs::create_dir(door.dir.path().join("etc")).expect("a fresh one");
        let mounts = format!(
            "hold={dir}/etc; {OPEN_ETC}rm -f /etc/doas.conf; cp {dir}/doas.conf /etc/doas.conf; "
        );
        AsUser { mounts, ..door }.written()
    }

    pub fn su(user: &User) -> AsUser {
        AsUser::new(user, "su").written()
    }

    fn new(user: &User, tool: &'static str) -> AsUser {
        let found = ["/usr/bin", "/bin"].iter().any(|dir| Path::new(dir).join(tool).exists());
        if !found {
            skip(tool, "it is not installed");
        }
        let attempt = Command::new("unshare").args(["--mount", "true"]).output().expect("unshare");
        if !attempt.status.success() {
            let why = String::from_utf8_lossy(&attempt.stderr);
            skip(tool, &format!("no mounts of one's own: {}", why.trim()));
        }
        let (uid, gid, mounts) = (user.uid(), user.gid(), String::new());
        AsUser { dir: TempDir::new(), tool, uid, gid, mounts, language: "C" }
    }

    /// The same with messages in this language.
    pub fn speaking(self, language: &'static str) -> AsUser {
        AsUser { language, ..self }.written()
    }

    fn written(self) -> AsUser {
        let AsUser { dir, tool, uid, gid, mounts, language } = &self;
        let become_user = format!("setpriv --reuid={uid} --regid={gid} --init-groups --");
        let body = format!(
            "export LANGUAGE={language} LC_ALL=C.UTF-8\n\
             exec unshare --mount /bin/sh -ec '{mounts}exec {become_user} {tool} \"$@\"' sh \"$@\"\n"
        );
        script(dir, tool, &body);
        self
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path().join(self.tool)
    }
}

/// How far a start comes that fails, and the line that a person sees, without the name of the context.
pub fn refusal(router: &Router, method: impl Method) -> (Stage, String) {
    refusal_by(router.connect(method))
}

/// The same of what a start gave.
pub fn refusal_by(started: econtext::Result<Context>) -> (Stage, String) {
    match started {
        Err(Error::Connect(error)) => {
            let line = error.to_string();
            let way: String = error.via.iter().map(|name| format!("{name} > ")).collect();
            let prefix = format!("{way}{}: {}: ", error.context, error.stage);
            (error.stage, line.strip_prefix(&prefix).expect("these are first").to_string())
        }
        other => panic!("{other:?}"),
    }
}
