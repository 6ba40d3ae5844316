//! Promise: a start that fails below other contexts is told in the words that it has directly below the program.

use std::time::Duration;

use econtext::{Context, Docker, Error, Exec, Local, Method, Router, Ssh, Sudo};

mod support;

use support::{Python, TempDir, fake_ssh, for_each_kind_of_python, isolated, script};

/// The line of a start that fails, without the name of the context and those on the way to it.
#[track_caller]
fn line(started: econtext::Result<Context>) -> String {
    let error = started.unwrap_err();
    let Error::Connect(it) = &error else { panic!("{error:?}") };
    let begin = it.via.iter().map(|name| format!("{name} > ")).collect::<String>() + &it.context;
    let line = error.to_string();
    let rest = line.strip_prefix(&begin).and_then(|rest| rest.strip_prefix(": "));
    rest.unwrap_or_else(|| panic!("{line}")).to_owned()
}

struct Case(&'static str, Box<dyn Fn() -> Box<dyn Method>>, String);

/// A method of a box, so that a table can have several.
struct Boxed(Box<dyn Method>);

impl Method for Boxed {
    fn plan(&self) -> econtext::Plan {
        self.0.plan()
    }
}

/// What fails, and the beginning of the words for it.
fn cases(dir: &TempDir, python: &Python) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |what, method: Box<dyn Fn() -> Box<dyn Method>>, words: &str| {
        cases.push(Case(what, method, words.into()));
    };
    let path = std::env::var("PATH").unwrap();
    let spawn = "starting the process: ";
    add(
        "a tool that is missing",
        Box::new(|| Box::new(Docker::new("web").docker_path("no-such-docker"))),
        &format!("{spawn}no-such-docker not found in PATH ({path})"),
    );
    add(
        "a tool that is missing at its place",
        Box::new(|| Box::new(Sudo::new().sudo_path("/no/such/sudo"))),
        &format!("{spawn}cannot execute /no/such/sudo: No such file or directory (os error 2)"),
    );
    add(
        "an interpreter that is missing",
        Box::new(|| Box::new(Local::new().python("no-such-python"))),
        &format!("{spawn}no-such-python not found in PATH ({path})"),
    );
    let (file, absent) = (dir.file("text", "no program"), script(dir, "absent", ""));
    std::fs::write(&absent, "#!/no/such/interpreter\n").unwrap();
    let words =
        format!("{spawn}cannot execute {}: Permission denied (os error 13)", file.display());
    let tool = file.clone();
    add("what is no program", Box::new(move || Box::new(Exec::new([&tool]))), &words);
    let words = format!(
        "{spawn}cannot execute {}: No such file or directory (os error 2)",
        absent.display()
    );
    add(
        "a script without its interpreter",
        Box::new(move || Box::new(Exec::new([&absent]))),
        &words,
    );
    let here = python.path.clone();
    add(
        "a directory that is missing",
        Box::new(move || Box::new(Local::new().python(&here).current_dir("/no/such/dir"))),
        &format!("{spawn}cannot change to /no/such/dir: No such file or directory (os error 2)"),
    );
    let (here, words) = (
        python.path.clone(),
        format!("{spawn}cannot change to {}: Not a directory (os error 20)", file.display()),
    );
    add(
        "a directory that is none",
        Box::new(move || Box::new(Local::new().python(&here).current_dir(&file))),
        &words,
    );
    add(
        "a search that finds nothing",
        Box::new(|| Box::new(Local::new().python_candidates(["no-such-python", "/no/such"]))),
        "starting Python: none of no-such-python, /no/such found (exit status 97)",
    );
    let tool = script(dir, "tool", "echo 'no such thing' >&2; exit 3");
    add(
        "a tool that fails",
        Box::new(move || Box::new(Exec::new([&tool]))),
        "starting Python: tool ended before Python ran (exit status 3); it printed: no such thing",
    );
    let ssh =
        fake_ssh(dir, "say 'ssh: connect to host web1 port 22: Connection refused'\nexit 255");
    add(
        "ssh that cannot connect",
        Box::new(move || Box::new(Ssh::new("web1").ssh_path(&ssh))),
        "connecting: the connection was refused: \"ssh: connect to host web1 port 22: Connection refused\"; \
         does an ssh server listen there? (exit status 255)",
    );
    let hangs = script(dir, "hangs", "exec sleep 1000");
    add(
        "what does not answer",
        Box::new(move || Box::new(Exec::new([&hangs]).connect_timeout(Duration::from_millis(300)))),
        "starting Python: no answer within 300ms",
    );
    cases
}

#[test]
fn a_start_that_fails_has_the_same_words_at_each_depth() {
    isolated(|| {
        let dir = TempDir::new();
        let router = Router::builder().on_log(|_| {}).build().unwrap();
        for_each_kind_of_python(|python| {
            let parent = router.connect(Local::new().python(&python.path).name("parent")).unwrap();
            for Case(what, method, words) in cases(&dir, python) {
                let direct = line(router.connect(Boxed(method())));
                assert_eq!(direct, words, "{what}");
                assert_eq!(line(parent.connect(Boxed(method()))), direct, "{what}");
            }
            parent.shutdown().unwrap();
        });
    });
}
