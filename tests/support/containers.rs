//! What the tests of real tools for containers share.

use std::path::Path;
use std::process::{Command, Stdio};

use econtext::{Context, Method, Router};

use super::{is_root, skip};

/// A context, and a router that has no other.
#[track_caller]
pub fn connect(method: impl Method) -> (Router, Context) {
    let router = Router::new().unwrap();
    let context = router.connect(method).unwrap_or_else(|error| panic!("{error:?}"));
    (router, context)
}

/// What a person sees of a start that fails.
#[track_caller]
pub fn error_of(method: impl Method) -> String {
    let router = Router::new().unwrap();
    let Err(error) = router.connect(method) else { panic!("it did not fail") };
    router.shutdown().unwrap();
    error.to_string()
}

/// That it is in a [`SmallSystem`](super::SmallSystem), as this user, in this directory, apart from the network.
#[track_caller]
pub fn check_inside(context: &Context, uid: i64, current_dir: &str) {
    assert!(context.call::<bool>("os.path:exists", ("/etc/mark",)).unwrap());
    assert_eq!(context.call::<i64>("os:getuid", ()).unwrap(), uid);
    assert_eq!(context.call::<String>("os:getcwd", ()).unwrap(), current_dir);
    let interfaces: Vec<(i64, String)> = context.call("socket:if_nameindex", ()).unwrap();
    let names: Vec<_> = interfaces.into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["lo"]);
}

/// What a container runs that is to be there.
pub const FOREVER: [&str; 3] = ["python3", "-c", "import signal; signal.pause()"];

/// Runs a command that has to succeed; what it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).trim().to_string());
    assert!(output.status.success(), "{command:?}: {}\n{stdout}\n{stderr}", output.status);
    stdout
}

/// Ends the test here, left out, where there is no such program or nobody who may make its containers.
pub fn needs(program: &str) {
    if !is_root() {
        skip(program, "its containers are made by root here");
    }
    if !Path::new(program).exists() {
        skip(program, "it is not installed");
    }
}
