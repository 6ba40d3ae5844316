//! The Pythons of the contenders, and the servers that they connect to: all under the target directory.
//!
//! Children run in a bare virtual environment, in which no contender is installed; the peers themselves in
//! another, made once from PyPI. Both are made anew when what they have is not what is wanted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::contender::Kind;
use crate::support;

const MITOGEN: &str = "0.3.54";
const EXECNET: &str = "2.1.2";

#[derive(Clone)]
pub struct Environments {
    /// The interpreter of all children.
    pub child_python: String,
    /// The interpreter of the peers, if they are installed.
    peers_python: Option<String>,
    own_program: String,
    python_version: String,
}

impl Environments {
    /// Finds and makes them. With `offline` nothing is installed.
    pub fn new(python: Option<PathBuf>, offline: bool) -> Result<Environments, String> {
        let python = python.unwrap_or_else(usual_python);
        let version = version(&python)?;

        let child_python = bare(&python)?;

        let full = target().join("bench-venv");
        let peers_python = full.join("bin/python3");
        let ask_peers = "import sys, mitogen, execnet\n\
            from importlib.metadata import version\n\
            print(version('mitogen'), version('execnet'), sys.version)";
        let wanted = format!("{MITOGEN} {EXECNET} {version}");
        let mut peers = Ok(());
        if output(Command::new(&peers_python).args(["-c", ask_peers])).as_ref() != Ok(&wanted) {
            peers = match offline {
                true => Err("not installed, and with quick nothing is".to_string()),
                false => {
                    make_environment(&python, &full, &[]).and_then(|()| install(&peers_python))
                }
            };
        }
        if let Err(why) = &peers {
            println!("Mitogen {MITOGEN} and execnet {EXECNET} are left out: {why}");
        }
        let own_program = std::env::current_exe().map_err(|error| error.to_string())?;
        Ok(Environments {
            child_python,
            peers_python: peers.is_ok().then(|| peers_python.display().to_string()),
            own_program: own_program.display().to_string(),
            python_version: version.split(' ').next().unwrap_or_default().into(),
        })
    }

    /// The same, with children of another Python.
    pub fn with_children_of(&self, python: &Path) -> Result<Environments, String> {
        Ok(Environments { child_python: bare(python)?, ..self.clone() })
    }

    /// Those that can be run here.
    pub fn kinds(&self) -> Vec<Kind> {
        let is_peer = |kind| matches!(kind, Kind::Mitogen | Kind::Execnet);
        let able = |kind: &Kind| self.peers_python.is_some() || !is_peer(*kind);
        Kind::ALL.into_iter().filter(able).collect()
    }

    /// The command that starts a contender.
    pub fn command(&self, kind: Kind) -> Vec<String> {
        let words: Vec<&str> = match (kind, &self.peers_python) {
            (Kind::Mitogen | Kind::Execnet, Some(python)) => {
                let script = if kind == Kind::Mitogen { MITOGEN_WORK } else { EXECNET_WORK };
                vec![python, "-B", script, &self.child_python]
            }
            _ => vec![&self.own_program, "work", kind.name(), &self.child_python],
        };
        words.into_iter().map(String::from).collect()
    }

    /// On what all this runs. With a load that is not near nothing the figures are of little worth.
    pub fn describe(&self) -> String {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let models = cpus.lines().filter_map(|it| it.strip_prefix("model name")?.split_once(": "));
        let models: Vec<&str> = models.map(|(_, model)| model).collect();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let mut ssh = Command::new("ssh");
        // It tells its version on stderr.
        let ssh = ssh.arg("-V").stdin(Stdio::null()).output();
        let ssh = ssh.map(|it| String::from_utf8_lossy(&it.stderr).trim().to_string());
        let (count, model) = (models.len(), models.first().unwrap_or(&"a processor"));
        let own = env!("CARGO_PKG_VERSION");
        format!(
            "{count} x {model}, Linux {}, load average {}; Python {}; {}\n\
             econtext {own}, Mitogen {MITOGEN}, execnet {EXECNET}",
            kernel.trim(),
            load.split(' ').next().unwrap_or_default(),
            self.python_version,
            ssh.unwrap_or_else(|_| "no ssh".into())
        )
    }
}

/// The target directory of this build.
pub fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("cargo makes it there")
}

/// 3.13, for figures that can be compared, or the newest.
fn usual_python() -> PathBuf {
    let all = support::interpreters();
    let usual = all.iter().find(|python| python.name == "python3.13");
    let newest = all.iter().rfind(|python| python.name.starts_with("python3"));
    usual.or(newest).map_or_else(|| "python3".into(), |python| python.path.clone())
}

fn version(python: &Path) -> Result<String, String> {
    output(Command::new(python).args(["-c", "import sys; print(sys.version)"]))
}

/// The interpreter of a virtual environment in which nothing is.
fn bare(python: &Path) -> Result<String, String> {
    let name = python.file_name().unwrap_or_default().to_string_lossy();
    let bare = target().join(format!("bench-child-{name}"));
    let child_python = bare.join("bin/python3");
    if version(&child_python) != Ok(version(python)?) {
        make_environment(python, &bare, &["--without-pip"])?;
    }
    Ok(child_python.display().to_string())
}

fn make_environment(python: &Path, at: &Path, options: &[&str]) -> Result<(), String> {
    let mut venv = Command::new(python);
    output(venv.args(["-m", "venv", "--clear"]).args(options).arg(at)).map(drop)
}

fn install(python: &Path) -> Result<(), String> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args([format!("mitogen=={MITOGEN}"), format!("execnet=={EXECNET}")]);
    output(&mut pip).map(drop)
}

/// What a command prints; how it failed in one line.
pub fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.trim().lines().next_back().unwrap_or_default();
        return Err(format!("{program}: {}: {last}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

const MITOGEN_WORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/mitogen_work.py");
const EXECNET_WORK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/execnet_work.py");
