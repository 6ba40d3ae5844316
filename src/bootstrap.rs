//! The command line and the preamble that start a child: bytes, and nothing that moves them.
//!
//! The command holds a loader only, which prints `EC0` and reads exactly the first stage; the first stage
//! reads exactly the core, and the core the configuration. So all three, and the frames behind them, leave
//! in one flight. The Python itself is in `bootstrap/`, minified by `build.rs`.
//!
//! Invariant: the two arguments that hold program text survive single quotes in any login shell: they
//! have no `'`, no `!` (csh), no newline (csh), no backtick and no `\\` (fish).

use std::ffi::{OsStr, OsString};

use crate::built::{CORE, FIRST_STAGE};

pub(crate) mod texts;

use texts::{CANDIDATES, HEAD, LOADER, READ, READ_PADDED, SEARCH};

/// What the loader prints before it reads the first stage; what is before it is a login program's.
pub(crate) const STARTED: &[u8] = b"EC0\n";

/// What the first stage prints when it has the core; frames follow.
pub(crate) const RECEIVED: &[u8] = b"EC1\n";

/// Which Python is to be the child.
#[derive(Clone, Debug)]
pub(crate) enum Interpreter {
    /// This one.
    Fixed(OsString),
    /// The first of these that runs and is new enough.
    Search(Vec<OsString>),
    /// What these words run.
    Argv(Vec<OsString>),
}

impl Default for Interpreter {
    fn default() -> Interpreter {
        Interpreter::Search(CANDIDATES.iter().map(OsString::from).collect())
    }
}

impl Interpreter {
    /// What [`exit_reason`] needs to know of it.
    pub(crate) fn candidates(&self) -> Vec<OsString> {
        match self {
            Interpreter::Fixed(path) => vec![path.clone()],
            Interpreter::Search(candidates) => candidates.clone(),
            Interpreter::Argv(words) => vec![words.join(OsStr::new(" "))],
        }
    }
}

/// How a child is started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The command, to be run as it is or quoted for a shell.
    pub(crate) argv: Vec<OsString>,
    /// What goes to its stdin: the first stage and the core. The configuration follows.
    pub(crate) flight: Vec<u8>,
}

impl Launch {
    /// The first stage alone: a context that starts others has the core.
    pub(crate) fn stage(&self) -> &[u8] {
        &self.flight[..self.flight.len() - CORE.len()]
    }
}

/// The launch of a child that `ps` shows as `name`.
pub(crate) fn launch(interpreter: &Interpreter, name: &str) -> Launch {
    launch_with(interpreter, name, READ)
}

/// The same, for a stream that begins with newlines, which are not for the child.
pub(crate) fn launch_padded(interpreter: &Interpreter, name: &str) -> Launch {
    launch_with(interpreter, name, READ_PADDED)
}

fn launch_with(interpreter: &Interpreter, name: &str, read: &str) -> Launch {
    let head = HEAD.replace("%s", &printable(name)).replace("%d", &CORE.len().to_string());
    let stage = head + FIRST_STAGE;
    let loader = LOADER.replace("%d", &stage.len().to_string()).replace("%s", read);
    let argv = match interpreter {
        Interpreter::Fixed(python) => vec![python.clone(), "-c".into(), loader.into()],
        Interpreter::Argv(words) => {
            words.iter().cloned().chain(["-c".into(), loader.into()]).collect()
        }
        Interpreter::Search(candidates) => {
            let shell = ["/bin/sh", "-c", SEARCH, &loader].map(OsString::from);
            shell.into_iter().chain(candidates.iter().cloned()).collect()
        }
    };
    let mut flight = stage.into_bytes();
    flight.extend_from_slice(CORE);
    Launch { argv, flight }
}

/// `name` as it can stand between quotes in the first stage and in argv[0]: other characters become `_`.
fn printable(name: &str) -> String {
    let fits = |c: char| (' '..='~').contains(&c) && !"'\"\\/".contains(c);
    name.chars().map(|c| if fits(c) { c } else { '_' }).collect()
}

/// What a child is told before its first frame; see `Router.__init__` in `bootstrap/econtext/core.py`.
#[derive(Clone)]
pub(crate) struct Config<'a> {
    /// Its own id.
    pub(crate) context_id: u32,
    /// The ids above it: the parent's first, the master's (0) last.
    pub(crate) parent_ids: &'a [u32],
    /// The stream's key, from which that of each direction is derived.
    pub(crate) key: &'a [u8; 20],
    /// Its name, say `local.123`.
    pub(crate) name: &'a str,
    /// The level below which it forwards no log records, in Python's numbers: 10, 20, 30, 40, 50.
    pub(crate) log_level: u32,
    /// How long the data of a message may be.
    pub(crate) max_message_bytes: u32,
    /// How much of the data of a frame its MAC covers.
    pub(crate) protect_bytes: u32,
    /// The credit of a channel.
    pub(crate) window_bytes: u32,
    /// How long shutdown may take when a function hangs.
    pub(crate) grace_ms: u32,
    /// The handle that its first frame goes to.
    pub(crate) hello_handle: u32,
    /// Whether contexts may send to their ancestors and descendants only.
    pub(crate) unidirectional: bool,
    /// Whether the master serves a `__main__`; where it does not, the child has an empty one.
    pub(crate) has_main: bool,
    /// The modules that it takes from the master even where it has them.
    pub(crate) always: &'a [String],
}

/// `config` as it travels: four bytes of length, then a pickled tuple.
///
/// Spelled out here rather than made a `Value` first, so that the key has one copy less.
pub(crate) fn configuration(config: &Config) -> Vec<u8> {
    let mut pickle = vec![0, 0, 0, 0, 0x80, 2, b'('];
    put_int(&mut pickle, config.context_id);
    pickle.extend_from_slice(b"](");
    for &id in config.parent_ids {
        put_int(&mut pickle, id);
    }
    pickle.extend_from_slice(&[b'e', b'U', 20]);
    pickle.extend_from_slice(config.key);
    put_text(&mut pickle, config.name);
    for number in [
        config.log_level,
        config.max_message_bytes,
        config.protect_bytes,
        config.window_bytes,
        config.grace_ms,
        config.hello_handle,
    ] {
        put_int(&mut pickle, number);
    }
    for flag in [config.unidirectional, config.has_main] {
        pickle.push(if flag { 0x88 } else { 0x89 });
    }
    pickle.extend_from_slice(b"](");
    for name in config.always {
        put_text(&mut pickle, name);
    }
    pickle.extend_from_slice(b"et.");
    let length = (pickle.len() - 4) as u32;
    pickle[..4].copy_from_slice(&length.to_be_bytes());
    pickle
}

/// Text as BINUNICODE.
fn put_text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend_from_slice(&(text.len() as u32).to_le_bytes());
    pickle.extend_from_slice(text.as_bytes());
}

/// An integer as LONG1, which unlike BININT has room for every u32.
fn put_int(pickle: &mut Vec<u8>, number: u32) {
    pickle.extend_from_slice(&[0x8a, 5]);
    pickle.extend_from_slice(&number.to_le_bytes());
    pickle.push(0);
}

/// Why a start ended with this exit status, as one line without the candidates' own words; `None` where
/// the status is not one of ours.
///
/// `printed` is what came on stderr: the first stage prints a line that says what failed, the search one
/// that says how each candidate fared.
pub(crate) fn exit_reason(code: i32, printed: &str, candidates: &[OsString]) -> Option<String> {
    let words = printed.lines().rev().find_map(|line| line.trim().strip_prefix("econtext: "));
    let reason = match code {
        NO_CANDIDATE => return Some(no_candidate(words.unwrap_or(""), candidates)),
        TOO_OLD => return Some(too_old(words.unwrap_or(""), candidates)),
        FORK_FAILED => "the first stage could not fork, or make a pipe".to_owned(),
        EXEC_FAILED => "the interpreter could not be executed a second time".to_owned(),
        CORE_DAMAGED => {
            "the core arrived damaged: something ate or changed bytes on their way".to_owned()
        }
        LOADER_EOF => "the stream ended inside the first stage".to_owned(),
        CORE_EOF => "the stream ended inside the core or the configuration".to_owned(),
        _ => return None,
    };
    Some(words.map_or(reason.clone(), |words| format!("{reason}: {words}")))
}

/// The words for the line `econtext: Python 3.5 is too old`.
fn too_old(line: &str, candidates: &[OsString]) -> String {
    match line.strip_suffix(" is too old") {
        Some(version) => format!("{} is {version}, which is too old ({NEEDED})", names(candidates)),
        None => format!("{} is too old ({NEEDED})", names(candidates)),
    }
}

/// The words for the line `econtext: python3:98 python:127` of the search.
fn no_candidate(line: &str, candidates: &[OsString]) -> String {
    if candidates.is_empty() {
        return "there is no candidate to try".to_owned();
    }
    // Names may hold blanks, so each is looked up rather than split off.
    let mut rest = line;
    let (mut missing, mut forbidden, mut old, mut broken) = (vec![], vec![], vec![], vec![]);
    for candidate in candidates {
        let name = candidate.to_string_lossy();
        let status = rest.split_once(&format!("{name}:")).map(|(_, after)| {
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            rest = &after[digits..];
            after[..digits].parse().unwrap_or(0)
        });
        match status {
            None | Some(127) => missing.push(name.into_owned()),
            Some(126) => forbidden.push(name.into_owned()),
            Some(TOO_OLD) => old.push(name.into_owned()),
            Some(status) => broken.push(format!("{name} does not work (exit status {status})")),
        }
    }
    let mut parts = vec![];
    match &missing[..] {
        [] => {}
        [name] => parts.push(format!("{name} not found")),
        names => parts.push(format!("none of {} found", names.join(", "))),
    }
    parts.extend(forbidden.iter().map(|name| format!("{name} may not be executed")));
    parts.extend(broken);
    parts.extend(old.iter().map(|name| format!("{name} is too old ({NEEDED})")));
    parts.join("; ")
}

fn names(candidates: &[OsString]) -> String {
    match candidates {
        [] => "the interpreter".to_owned(),
        names => {
            names.iter().map(OsStr::new).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(", ")
        }
    }
}

const NEEDED: &str = "Python 2.7 or 3.6 and later is needed";

// The exit statuses; the head of `bootstrap/first_stage.py` has the same table.
const FORK_FAILED: i32 = 92;
const EXEC_FAILED: i32 = 93;
const CORE_DAMAGED: i32 = 94;
const LOADER_EOF: i32 = 95;
const CORE_EOF: i32 = 96;
const NO_CANDIDATE: i32 = 97;
const TOO_OLD: i32 = 98;

#[cfg(test)]
mod tests {
    use super::*;

    fn os(names: &[&str]) -> Vec<OsString> {
        names.iter().map(OsString::from).collect()
    }

    /// The command for an ssh server.
    fn command(launch: &Launch) -> String {
        crate::connect::command_line(&launch.argv).unwrap().into_string().unwrap()
    }

    #[test]
    fn the_command_is_at_most_411_bytes_with_the_search() {
        let command = command(&launch(&Interpreter::default(), "econtext:root@host:12345"));
        assert!(command.len() <= 411, "{} bytes: {command}", command.len());
    }

    /// For `make size`, which reads these lines.
    #[test]
    fn sizes() {
        let name = "econtext:root@host:12345";
        let searching = launch(&Interpreter::default(), name);
        let fixed = launch(&Interpreter::Fixed("/usr/bin/python3".into()), name);
        println!("size: command {}", command(&searching).len());
        println!("size: command with a fixed interpreter {}", command(&fixed).len());
        println!("size: first stage {}", searching.flight.len() - CORE.len());
        println!("size: core, compressed {}", CORE.len());
        for (module, _, packed) in crate::built::MODULES {
            println!("size: {module}, compressed, when it is needed {}", packed.len());
        }
    }

    #[test]
    fn the_readme_says_how_large_the_core_is() {
        let words = format!("{} kB of", (CORE.len() + 500) / 1000);
        let found = include_str!("../README.md").matches(&words).count();
        assert_eq!(found, 2, "the core has {} bytes, {words} compressed Python", CORE.len());
    }

    #[test]
    fn the_program_texts_survive_the_quotes_of_every_login_shell() {
        let launch = launch(&Interpreter::default(), "x");
        for text in &launch.argv[2..4] {
            let text = text.to_str().unwrap();
            assert!(!text.contains(['\'', '!', '\n', '`']) && !text.contains("\\\\"), "{text}");
            assert!(text.chars().all(|c| (' '..='~').contains(&c)), "{text}");
        }
        assert_eq!(launch.argv[2], SEARCH);
    }

    #[test]
    fn the_loader_reads_exactly_the_first_stage() {
        let launch =
            launch(&Interpreter::Fixed("/usr/bin/python3".into()), "econtext:a/b'c\"\\d\u{e9}\n");
        assert_eq!(launch.argv[..2], os(&["/usr/bin/python3", "-c"]));
        let stage = launch.flight.len() - CORE.len();
        assert!(launch.argv[2].to_str().unwrap().contains(&format!("n={stage};")));
        let head = format!("N,L='econtext:a_b_c__d__',{}\n", CORE.len());
        assert!(launch.flight.starts_with(head.as_bytes()));
    }

    #[test]
    fn the_statuses_are_those_of_the_first_stage() {
        let source = include_str!("../bootstrap/first_stage.py");
        let table: Vec<i32> = source
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split_once("  ")?.0.parse().ok())
            .collect();
        let ours =
            [FORK_FAILED, EXEC_FAILED, CORE_DAMAGED, LOADER_EOF, CORE_EOF, NO_CANDIDATE, TOO_OLD];
        assert_eq!(table, ours);
        for code in [FORK_FAILED, EXEC_FAILED, TOO_OLD] {
            assert!(source.contains(&format!("leave({code}, ")), "{code}");
        }
        for code in [CORE_EOF, CORE_DAMAGED] {
            assert!(
                source.contains(&format!("x = {code}\n"))
                    || source.contains(&format!("x, b = {code}, "))
            );
        }
        assert!(LOADER.contains(&format!("os._exit({LOADER_EOF})")));
        assert!(
            SEARCH.contains(&format!("exit({TOO_OLD}*"))
                && SEARCH.ends_with(&format!("exit {NO_CANDIDATE}"))
        );
        for code in ours {
            assert!(exit_reason(code, "", &[]).is_some());
        }
        assert_eq!(exit_reason(1, "", &[]), None);
    }

    #[test]
    fn a_search_without_a_find_names_the_candidates_and_how_each_fared() {
        let reason = |printed: &str, names: &[&str]| exit_reason(97, printed, &os(names)).unwrap();
        assert_eq!(
            reason(
                "motd\necontext: python3:127 python:127 python2.7:127\n",
                &["python3", "python", "python2.7"]
            ),
            "none of python3, python, python2.7 found"
        );
        assert_eq!(
            reason("econtext: python3:98", &["python3"]),
            "python3 is too old (Python 2.7 or 3.6 and later is needed)"
        );
        assert_eq!(
            reason("econtext: my py:126 python:1 py:127\n", &["my py", "python", "py"]),
            "py not found; my py may not be executed; python does not work (exit status 1)"
        );
        assert_eq!(reason("", &["a", "b"]), "none of a, b found");
        assert_eq!(reason("econtext:\n", &[]), "there is no candidate to try");
    }

    #[test]
    fn the_configuration_is_a_length_and_a_pickle() {
        let key = &[7; 20];
        let config = Config {
            context_id: 3,
            parent_ids: &[1, 0],
            key,
            name: "local.1",
            log_level: 20,
            max_message_bytes: 128 << 20,
            protect_bytes: u32::MAX,
            window_bytes: 1 << 18,
            grace_ms: 5000,
            hello_handle: 1000,
            unidirectional: false,
            has_main: true,
            always: &["yaml".into()],
        };
        let bytes = configuration(&config);
        assert_eq!(bytes[..4], ((bytes.len() - 4) as u32).to_be_bytes());
        assert!(bytes[4..].starts_with(
            b"\x80\x02(\x8a\x05\x03\0\0\0\0](\x8a\x05\x01\0\0\0\0\x8a\x05\0\0\0\0\0eU\x14\x07"
        ));
        assert!(bytes.ends_with(b"\x89\x88](X\x04\0\0\0yamlet."));
    }
}
