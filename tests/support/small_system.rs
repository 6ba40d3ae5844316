//! A directory that can be somebody's root: a shell, a Python, and the libraries of both.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::containers::run;
use super::{Python, TempDir, interpreters, script};

/// A small system of its own: `/bin/sh`, `python3` in the `PATH`, users `root` and `app` (1234, group 1234). Copies,
/// so that what is done there is done to nothing else.
#[derive(Debug)]
pub struct SmallSystem(TempDir);

impl SmallSystem {
    pub fn new() -> SmallSystem {
        let system = SmallSystem(TempDir::new());
        // Other users have to pass through it.
        fs::set_permissions(system.path(), fs::Permissions::from_mode(0o755)).expect("our own");
        for dir in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "usr/bin", "var"] {
            fs::create_dir_all(system.path().join(dir)).expect("a directory in a fresh one");
        }
        system.0.file("etc/passwd", "root:x:0:0:root:/:/bin/sh\napp:x:1234:1234::/tmp:/bin/sh\n");
        system.0.file("etc/group", "root:x:0:\napp:x:1234:\n");
        system.0.file("etc/mark", "a small system\n");
        let is_cpython = |python: &&Python| python.name.starts_with("python3");
        let python = &interpreters().iter().rfind(is_cpython).expect("a Python 3").path;
        let mut copy = Command::new(python);
        copy.args(["-c", COPY]).arg(system.path()).stdin(Stdio::null());
        let output = copy.output().expect("an interpreter runs");
        assert!(output.status.success(), "{copy:?}: {}", String::from_utf8_lossy(&output.stderr));
        symlink(python, system.path().join("usr/bin/python3")).expect("a fresh directory");
        system
    }

    /// Gives it the one device that Python cannot do without, where nobody mounts a `/dev`: root may.
    pub fn add_null(&self) {
        let mut mknod = Command::new("mknod");
        mknod.args(["-m", "666"]).arg(self.path().join("dev/null")).args(["c", "1", "3"]);
        assert!(mknod.status().expect("mknod").success(), "{mknod:?}");
    }

    /// Gives it a `/sbin/init`, which does nothing until it is killed.
    pub fn add_init(&self) {
        let init = "exec python3 -c 'import signal; signal.pause()'\n";
        fs::create_dir(self.path().join("sbin")).expect("a fresh one");
        script(&self.0, "sbin/init", init);
    }

    /// All of it as a tar file in another directory.
    pub fn archive(&self, dir: &TempDir) -> PathBuf {
        let archive = dir.path().join("system.tar");
        let mut tar = Command::new("tar");
        run(tar.arg("-cf").arg(&archive).arg("-C").arg(self.path()).arg("."));
        archive
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Copies a shell, the interpreter that runs this, its modules but those that nobody misses, and the libraries that
/// they need, each to where it is.
const COPY: &str = r#"
import os, re, shutil, subprocess, sys, sysconfig
root = sys.argv[1]

def copy(path):
    os.makedirs(root + os.path.dirname(path), exist_ok=True)
    shutil.copy(path, root + path)

library = sysconfig.get_path('stdlib')
shutil.copytree(library, root + library, ignore=lambda path, names: {
    name for name in names
    if name in ('__pycache__', 'test', 'tests', 'idlelib', 'site-packages', 'ensurepip', 'lib2to3')
    or name.startswith('config-')
})
programs = [os.path.realpath(sys.executable), '/bin/sh']
for program in programs:
    copy(program)
modules = os.path.join(library, 'lib-dynload')
programs += [os.path.join(modules, name) for name in os.listdir(modules)]
# It fails where one of them is no program, and says all the same what the others need.
needed = subprocess.run(['ldd'] + programs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
for path in set(re.findall(r'(/\S+) \(0x', needed)):
    copy(path)
if not os.path.lexists(root + sys.executable):
    copy(sys.executable)
"#;
