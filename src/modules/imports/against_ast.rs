//! Promise: over all of Django, SQLAlchemy and the standard library (its own tests aside) the scanner finds
//! what Python's own parser finds.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use super::condition::Known;
use super::{Base, Import, Imports, Target, scan};

/// Beside the standard library, of the newest Python and of Python 2. Fetched once.
const PACKAGES: [&str; 2] = ["Django==5.2.4", "SQLAlchemy==2.0.41"];

#[test]
fn a_scan_finds_what_ast_finds() {
    let pythons = pythons();
    let Some(newest) = pythons.last() else {
        return leave_out("the scanner beside ast", "there is no Python under pyenv");
    };
    let mut total = Total::default();
    match wheels(newest) {
        Ok(directories) => total.compare(newest, &directories),
        Err(why) => leave_out(&format!("the scanner over {}", PACKAGES.join(" and ")), &why),
    }
    for python in pythons.iter().filter(|python| **python == *newest || python.version[0] == 2) {
        total.compare(python, std::slice::from_ref(&python.library));
    }
    println!(
        "{} imports in {} files, {} bytes; {} files do not parse; {} imports are excluded by a \
         condition, of which the scanner leaves in {}",
        total.imports, total.files, total.bytes, total.others, total.excluded, total.left_in
    );
    assert!(total.imports > 10_000 && total.excluded > total.left_in);
    assert!(total.differences.is_empty(), "{}", total.differences.join("\n"));
}

#[derive(Default)]
struct Total {
    files: usize,
    others: usize,
    bytes: usize,
    imports: usize,
    /// By a condition that is false for the Python that parses.
    excluded: usize,
    left_in: usize,
    differences: Vec<String>,
}

impl Total {
    fn compare(&mut self, python: &Python, directories: &[PathBuf]) {
        let found = python.run(
            Command::new(&python.path)
                .args(["-W", "ignore", "-c", include_str!("against_ast.py")])
                .args(directories),
        );
        let target = Target { version: python.version, platform: python.platform.clone() };
        let mut file: Option<(&str, Vec<Found>)> = None;
        for line in found.lines().chain(["end"]) {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                ["import", line, what, runs] => {
                    let found = Found { line: line.parse().unwrap(), what, runs: runs == "1" };
                    file.as_mut().expect("a file before its imports").1.push(found);
                    continue;
                }
                ["other", _] => self.others += 1,
                ["file", _] | ["end"] => {}
                _ => panic!("{line:?}"),
            }
            if let Some((path, imports)) = file.take() {
                self.file(path, &imports, &target);
            }
            file = (fields[0] == "file").then(|| (fields[1], vec![]));
        }
    }

    fn file(&mut self, path: &str, expected: &[Found], target: &Target) {
        let source = fs::read(path).unwrap();
        let imports = scan(&source);
        self.files += 1;
        self.bytes += source.len();
        self.imports += expected.len();
        let mut scanned = shown(&imports, None).into_iter().peekable();
        let mut differ = |line: usize, ast: &str, scanner: &str| {
            self.differences.push(format!("{path}:{line}: ast says {ast}, scanner says {scanner}"));
        };
        let mut last = 0;
        for found in expected {
            last = found.line;
            match scanned.next_if(|what| what == found.what) {
                Some(_) => {}
                None => {
                    differ(found.line, found.what, scanned.peek().map_or("nothing", |what| what))
                }
            }
        }
        for what in scanned {
            differ(last, "nothing", &what);
        }
        // What runs here is found for a target like this one; as the order is the same, one pass finds it.
        let here = shown(&imports, Some(target));
        let mut rest = here.iter();
        for found in expected.iter().filter(|found| found.runs) {
            if !rest.any(|what| what == found.what) {
                differ(found.line, found.what, "nothing for this target");
                break;
            }
        }
        let runs = expected.iter().filter(|found| found.runs).count();
        self.excluded += expected.len() - runs;
        self.left_in += here.len().saturating_sub(runs);
    }
}

struct Found<'a> {
    line: usize,
    what: &'a str,
    runs: bool,
}

/// Each import as the Python beside this file writes it.
fn shown(imports: &Imports, target: Option<&Target>) -> Vec<String> {
    let runs = imports.running(Known { module: "m", target });
    let show = |import: &Import| {
        let dots = match import.base {
            Base::Top => 0,
            Base::Package(up) => up + 1,
        };
        let names = match &import.names[..] {
            _ if import.star => "*".to_owned(),
            [] => String::new(),
            names => format!("({})", names.join(",")),
        };
        format!("{}{}{names}", ".".repeat(dots), import.module)
    };
    let runs = |import: &&Import| import.guard.is_none_or(|guard| runs[guard]);
    imports.imports.iter().filter(runs).map(show).collect()
}

#[derive(PartialEq)]
struct Python {
    version: [u32; 3],
    platform: String,
    path: PathBuf,
    library: PathBuf,
}

/// The CPythons that pyenv keeps, oldest first.
fn pythons() -> Vec<Python> {
    let root = Command::new("pyenv").arg("root").output().map(|output| output.stdout);
    let root = String::from_utf8(root.unwrap_or_default()).unwrap_or_default();
    let entries = fs::read_dir(Path::new(root.trim()).join("versions")).into_iter().flatten();
    let mut pythons: Vec<Python> =
        entries.flatten().filter_map(|entry| Python::at(entry.path().join("bin/python"))).collect();
    pythons.sort_by_key(|python| python.version);
    pythons
}

impl Python {
    fn at(path: PathBuf) -> Option<Python> {
        const DESCRIBE: &str = "import os, sys; print('%d %d %d' % sys.version_info[:3]); \
                                print(sys.platform); print(os.path.dirname(os.__file__))";
        let output = clean(Command::new(&path).args(["-c", DESCRIBE])).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut lines = text.lines();
        let mut numbers = lines.next()?.split(' ').map(|number| number.parse().ok());
        let version = [numbers.next()??, numbers.next()??, numbers.next()??];
        let (platform, library) = (lines.next()?.to_owned(), PathBuf::from(lines.next()?));
        Some(Python { version, platform, path, library })
    }

    fn run(&self, command: &mut Command) -> String {
        let output = clean(command).output().expect("it ran a moment ago");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {}\n{said}", self.path.display(), output.status);
        String::from_utf8(output.stdout).expect("it writes UTF-8")
    }
}

/// A command that no developer's settings for Python reach.
fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PYTHON"))
    {
        command.env_remove(name);
    }
    command.stdin(Stdio::null())
}

/// The packages, unpacked in a directory of their own; or why they are not there.
fn wheels(python: &Python) -> Result<Vec<PathBuf>, String> {
    const UNPACK: &str = "import glob, sys, zipfile\n\
        for path in glob.glob(sys.argv[1] + '/*.whl'): zipfile.ZipFile(path).extractall(sys.argv[1])";
    let name = format!("scanned-{}", PACKAGES.join("-").replace("==", "-"));
    let directory = target().join("wheels").join(name);
    if directory.is_dir() {
        return Ok(vec![directory]);
    }
    let unfinished = directory.with_extension(format!("{}.unfinished", std::process::id()));
    let mut pip = Command::new(&python.path);
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--retries", "1", "--only-binary=:all:", "--dest"]).arg(&unfinished).args(PACKAGES);
    let output = clean(&mut pip).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("they cannot be fetched: {}", said.lines().last().unwrap_or_default()));
    }
    python.run(Command::new(&python.path).args(["-c", UNPACK]).arg(&unfinished));
    // Another process may have been faster; what it has is the same.
    if fs::rename(&unfinished, &directory).is_err() {
        fs::remove_dir_all(&unfinished).map_err(|error| error.to_string())?;
    }
    Ok(vec![directory])
}

/// Notes that something is not tested here, as `tests/support` does.
fn leave_out(what: &str, why: &str) {
    let all = env::var_os("ECONTEXT_TEST_ALL").is_some_and(|value| value == "1");
    assert!(!all, "{what} would be left out: {why}");
    let directory = target().join("tmp");
    fs::create_dir_all(&directory).unwrap();
    let list = fs::File::options().append(true).create(true).open(directory.join("left-out"));
    std::io::Write::write_all(&mut list.unwrap(), format!("{what}: {why}\n").as_bytes()).unwrap();
}

fn target() -> PathBuf {
    let named = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    Path::new(env!("CARGO_MANIFEST_DIR")).join(named)
}
