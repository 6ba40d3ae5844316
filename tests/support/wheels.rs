//! Applications that this project did not write: wheels of pinned versions, from PyPI.
//!
//! Fetched once, by the pip of the newest interpreter that has one, into a directory whose name tells what is in
//! it: whoever changes the table gets another. A test asks for them before it is isolated, since inside pip would
//! not know how to reach its index.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::{env, fs, process};

use super::{Python, interpreters, is_isolated, leave_out};

/// An application with all that it needs, for each Python.
pub struct Application {
    pub name: &'static str,
    requirements: &'static [(Version, &'static str)],
}

type Version = (u32, u32);

const PY27: Version = (2, 7);
const PY36: Version = (3, 6);
const PY39: Version = (3, 9);
const PY313: Version = (3, 13);

/// The parts written in C come along: they are there to be refused.
pub const APPLICATIONS: &[Application] = &[
    Application {
        name: "django",
        requirements: &[
            (PY27, "Django==1.11.29 pytz==2025.2"),
            (
                PY36,
                "Django==3.2.25 asgiref==3.4.1 sqlparse==0.4.4 pytz==2025.2 typing-extensions==4.1.1",
            ),
            (PY39, "Django==4.2.23 asgiref==3.8.1 sqlparse==0.5.3 typing-extensions==4.14.1"),
            (PY313, "Django==5.2.4 asgiref==3.9.1 sqlparse==0.5.3"),
        ],
    },
    Application {
        name: "requests",
        requirements: &[
            (
                PY27,
                "requests==2.27.1 urllib3==1.26.20 certifi==2021.10.8 idna==2.10 chardet==4.0.0",
            ),
            (
                PY36,
                "requests==2.27.1 urllib3==1.26.20 certifi==2025.4.26 idna==3.10 charset-normalizer==2.0.12",
            ),
            (
                PY39,
                "requests==2.32.4 urllib3==2.5.0 certifi==2025.7.14 idna==3.10 charset-normalizer==3.4.2",
            ),
            (
                PY313,
                "requests==2.32.4 urllib3==2.5.0 certifi==2025.7.14 idna==3.10 charset-normalizer==3.4.2",
            ),
        ],
    },
    Application {
        name: "jinja2",
        requirements: &[
            (PY27, "Jinja2==2.11.3 MarkupSafe==1.1.1"),
            (PY36, "Jinja2==3.0.3 MarkupSafe==2.0.1"),
            (PY39, "Jinja2==3.1.6 MarkupSafe==3.0.2"),
            (PY313, "Jinja2==3.1.6 MarkupSafe==3.0.2"),
        ],
    },
    Application {
        name: "sqlalchemy",
        requirements: &[
            (
                PY27,
                "SQLAlchemy==1.4.49 pathlib2==2.3.7.post1 typing==3.10.0.0 six==1.16.0 importlib-metadata==2.1.3 zipp==1.2.0 configparser==4.0.2 \
                contextlib2==0.6.0.post1",
            ),
            (
                PY36,
                "SQLAlchemy==1.4.54 importlib-metadata==4.8.3 zipp==3.6.0 typing-extensions==4.1.1",
            ),
            (PY39, "SQLAlchemy==2.0.41 typing-extensions==4.14.1"),
            (PY313, "SQLAlchemy==2.0.41 typing-extensions==4.14.1"),
        ],
    },
    Application {
        name: "rich",
        requirements: &[
            (
                PY36,
                "rich==12.6.0 Pygments==2.14.0 commonmark==0.9.1 dataclasses==0.8 typing-extensions==4.1.1",
            ),
            (
                PY39,
                "rich==14.0.0 Pygments==2.19.2 markdown-it-py==3.0.0 mdurl==0.1.2 \
                typing-extensions==4.14.1",
            ),
            (PY313, "rich==14.0.0 Pygments==2.19.2 markdown-it-py==3.0.0 mdurl==0.1.2"),
        ],
    },
    Application {
        name: "click",
        requirements: &[
            (PY27, "click==7.1.2"),
            (PY36, "click==8.0.4 importlib-metadata==4.8.3 zipp==3.6.0 typing-extensions==4.1.1"),
            (PY39, "click==8.1.8"),
            (PY313, "click==8.2.1"),
        ],
    },
    Application {
        name: "yaml",
        requirements: &[
            (PY27, "PyYAML==5.4.1"),
            (PY36, "PyYAML==6.0.1"),
            (PY39, "PyYAML==6.0.2"),
            (PY313, "PyYAML==6.0.2"),
        ],
    },
    Application {
        name: "attrs",
        requirements: &[
            (PY27, "attrs==21.4.0"),
            (PY36, "attrs==22.2.0"),
            (PY39, "attrs==25.3.0"),
            (PY313, "attrs==25.3.0"),
        ],
    },
    Application {
        name: "boltons",
        requirements: &[
            (PY27, "boltons==23.0.0"),
            (PY36, "boltons==23.1.1"),
            (PY39, "boltons==25.0.0"),
            (PY313, "boltons==25.0.0"),
        ],
    },
    Application {
        name: "pytest",
        requirements: &[
            // `scandir`, which pathlib2 wants there, is no wheel: who serves this stands in for it.
            (
                PY27,
                "pytest==4.6.11 py==1.11.0 six==1.16.0 packaging==20.9 pyparsing==2.4.7 pluggy==0.13.1 \
                attrs==21.4.0 wcwidth==0.2.13 more-itertools==5.0.0 atomicwrites==1.4.0 \
                pathlib2==2.3.7.post1 typing==3.10.0.0 importlib-metadata==2.1.3 zipp==1.2.0 configparser==4.0.2 \
                contextlib2==0.6.0.post1 funcsigs==1.0.2",
            ),
            (
                PY36,
                "pytest==7.0.1 pluggy==1.0.0 iniconfig==1.1.1 packaging==21.3 pyparsing==3.0.9 \
                tomli==1.2.3 py==1.11.0 attrs==22.2.0 importlib-metadata==4.8.3 zipp==3.6.0 \
                typing-extensions==4.1.1",
            ),
            (
                PY39,
                "pytest==8.4.1 pluggy==1.6.0 iniconfig==2.1.0 packaging==25.0 Pygments==2.19.2 \
                exceptiongroup==1.3.0 tomli==2.2.1 typing-extensions==4.14.1",
            ),
            (
                PY313,
                "pytest==8.4.1 pluggy==1.6.0 iniconfig==2.1.0 packaging==25.0 Pygments==2.19.2",
            ),
        ],
    },
];

impl Application {
    pub fn named(name: &str) -> &'static Application {
        let known = APPLICATIONS.iter().find(|application| application.name == name);
        known.unwrap_or_else(|| panic!("{name} is not in the table"))
    }

    /// The interpreters of this machine for which there are wheels, and those; the ones whose wheels cannot
    /// be had are left out aloud.
    pub fn wheels(&self) -> Vec<(&'static Python, Vec<PathBuf>)> {
        let wheels = |python: &'static Python| {
            let is_cpython = python.name.starts_with("python");
            let is_for = |(version, _): &&(Version, _)| is_cpython && *version == python.version;
            let (version, requirements) = self.requirements.iter().find(is_for)?;
            let directory = match fetched(*version) {
                Ok(directory) => directory,
                Err(why) if !is_isolated() => {
                    leave_out(&format!("{} on {}", self.name, python.name), &why);
                    return None;
                }
                Err(_) => return None,
            };
            Some((python, requirements.split(' ').map(|it| wheel(&directory, it)).collect()))
        };
        interpreters().iter().filter_map(wheels).collect()
    }
}

/// The file of a requirement; it is there.
fn wheel(directory: &Path, requirement: &str) -> PathBuf {
    let (name, version) = requirement.split_once("==").expect("it is pinned");
    let start = format!("{}-{version}-", name.replace('-', "_").to_lowercase());
    let entries =
        fs::read_dir(directory).expect("it was there").map(|entry| entry.expect("an entry"));
    let is_wanted = |path: &PathBuf| {
        let file = path.file_name().expect("a file").to_string_lossy().to_lowercase();
        file.starts_with(&start) && file.ends_with(".whl")
    };
    let found = entries.map(|entry| entry.path()).find(is_wanted);
    found.unwrap_or_else(|| panic!("{requirement} is not in {}", directory.display()))
}

/// The directory with the wheels of all applications for this Python, or why there is none. Tried once.
fn fetched(version: Version) -> Result<PathBuf, String> {
    static TRIED: Mutex<Option<HashMap<Version, Result<PathBuf, String>>>> = Mutex::new(None);
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let tried = tried.get_or_insert_default();
    tried.entry(version).or_insert_with(|| fetch(version)).clone()
}

fn fetch(version: Version) -> Result<PathBuf, String> {
    let mut all: Vec<&str> = APPLICATIONS
        .iter()
        .flat_map(|application| application.requirements)
        .filter(|(other, _)| *other == version)
        .flat_map(|(_, requirements)| requirements.split(' '))
        .collect();
    all.sort_unstable();
    all.dedup();
    let mut hasher = DefaultHasher::new();
    all.hash(&mut hasher);
    let (major, minor) = version;
    let name = format!("{major}.{minor}-{:016x}", hasher.finish());
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("wheels");
    let directory = base.join(&name);
    if directory.is_dir() {
        return Ok(directory);
    }
    if is_isolated() {
        return Err("it was not fetched before".into());
    }
    fs::create_dir_all(&base).map_err(|error| format!("{}: {error}", base.display()))?;
    let unfinished = base.join(format!(".{name}-{}", process::id()));
    let done = download(version, &all, &unfinished).and_then(|()| {
        // Another process may have been faster; what it has is the same.
        let renamed = fs::rename(&unfinished, &directory);
        renamed.or_else(|error| if directory.is_dir() { Ok(()) } else { Err(error.to_string()) })
    });
    if unfinished.is_dir() {
        fs::remove_dir_all(&unfinished).map_err(|error| error.to_string())?;
    }
    done.map(|()| directory)
}

fn download(version: Version, requirements: &[&str], into: &Path) -> Result<(), String> {
    let has_pip = |python: &&Python| run(python, &["-m", "pip", "--version"]).is_ok();
    let python = interpreters().iter().rev().find(has_pip).ok_or("no interpreter here has pip")?;
    // The last number matters to some: theirs begin with 3.6.1.
    let version = format!("{}.{}.99", version.0, version.1);
    let mut words =
        vec!["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir"];
    words.extend(["--retries", "1", "--only-binary=:all:", "--no-deps", "--implementation", "cp"]);
    words.extend(["--python-version", &version]);
    if version.starts_with('2') {
        words.extend(["--abi", "cp27mu", "--abi", "none"]);
    }
    // Of one architecture, whatever this machine is: that code is not executed.
    for tag in [
        "manylinux1_x86_64",
        "manylinux2010_x86_64",
        "manylinux2014_x86_64",
        "manylinux_2_17_x86_64",
    ] {
        words.extend(["--platform", tag]);
    }
    let shown = into.to_string_lossy();
    words.extend(["--dest", &shown]);
    words.extend(requirements);
    run(python, &words).map_err(|why| format!("it cannot be fetched from PyPI: {why}"))
}

fn run(python: &Python, words: &[&str]) -> Result<(), String> {
    let mut command = Command::new(&python.path);
    command.args(words).stdin(Stdio::null());
    let settings = env::vars_os().map(|(name, _)| name);
    for name in settings.filter(|name| name.to_string_lossy().starts_with("PYTHON")) {
        command.env_remove(name);
    }
    let output = command.output().map_err(|error| format!("{python}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    if output.status.success() { Ok(()) } else { Err(line.trim().to_string()) }
}
