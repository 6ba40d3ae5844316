//! One contender: a program that is given commands and answers with numbers.
//!
//! Invariant: it is asked one thing at a time, and its process has ended when this is dropped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::environments::Environments;

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    Econtext,
    Mitogen,
    Execnet,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Plain, Kind::Econtext, Kind::Mitogen, Kind::Execnet];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Econtext => "econtext",
            Kind::Mitogen => "mitogen",
            Kind::Execnet => "execnet",
        }
    }

    /// The ways in which it does what the command asks for: how that is called in the table, the command that
    /// it is given, and the part of the work that is enough to know how fast it is.
    pub fn ways(self, command: &'static str) -> Vec<(&'static str, &'static str, usize)> {
        let as_asked = |label| vec![(label, command, 1)];
        let call = (self.name(), command, 1);
        match (self, command) {
            (Kind::Plain, "calls") => as_asked("floor: a byte through cat"),
            (Kind::Plain, "up" | "down") => as_asked("floor: cat"),
            (Kind::Plain, "fleet") => as_asked("floor: python -c pass"),
            (Kind::Plain, _) => vec![],
            (Kind::Econtext, "up") => vec![call, ("econtext, channel", "channel_up", 1)],
            (Kind::Econtext, "down") => vec![call, ("econtext, channel", "channel_down", 1)],
            (Kind::Mitogen, "up") => vec![call, ("mitogen, raw message", "raw_up", 1)],
            (Kind::Mitogen, "down") => vec![call, ("mitogen, raw message", "raw_down", 1)],
            (Kind::Mitogen, "stream") => vec![("mitogen, raw message", "raw_up", 1)],
            (Kind::Execnet, "calls") => {
                vec![("execnet, item", "calls", 1), ("execnet, remote_exec", "remote_exec", 4)]
            }
            (Kind::Execnet, "queued") => vec![
                ("execnet, item", "queued", 1),
                ("execnet, remote_exec", "remote_exec_queued", 10),
            ],
            (kind, _) => as_asked(kind.name()),
        }
    }
}

/// A contender's process.
pub struct Contender {
    pub kind: Kind,
    /// The process of the latest child, once there is one.
    pub child_pid: u32,
    process: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// Nothing that is asked for takes so long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(180);

impl Contender {
    /// Starts it: `pinned` is on one CPU, with all the processes that it starts.
    pub fn spawn(of: &Environments, kind: Kind, pinned: bool) -> Result<Contender, String> {
        let mut words: Vec<String> = vec![];
        if pinned {
            words.extend(["taskset", "-c", PINNED_CPU].map(String::from));
        }
        words.extend(of.command(kind));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Whoever runs this may have an agent, and settings for Python.
        let settings = std::env::vars_os().map(|(name, _)| name);
        for name in settings.filter(|name| name.to_string_lossy().starts_with("PYTHON")) {
            command.env_remove(name);
        }
        command.env_remove("SSH_AUTH_SOCK");
        let mut process = command.spawn().map_err(|error| format!("{}: {error}", words[0]))?;
        let stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let stdin = process.stdin.take();
        Ok(Contender { kind, child_pid: 0, process, stdin, lines })
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives a command with its words; returns the numbers that it answers with, the first of which is
    /// seconds.
    pub fn ask(&mut self, words: &[&str]) -> Result<Vec<f64>, String> {
        let stdin = self.stdin.as_mut().expect("it is there until the drop");
        writeln!(stdin, "{}", words.join("\t")).map_err(|error| error.to_string())?;
        let line =
            self.lines.recv_timeout(PATIENCE).map_err(|_| format!("{words:?}: no answer"))?;
        let numbers = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let numbers = numbers.map(|text| text.split(", ").map(str::parse::<f64>));
        match numbers.map(Iterator::collect::<Result<Vec<f64>, _>>) {
            Some(Ok(numbers)) if numbers.first().is_some_and(|it| *it > 0.0) => Ok(numbers),
            _ => Err(line),
        }
    }

    /// Connects it; returns how long that took, up to the first result.
    pub fn start(&mut self, place: &[&str]) -> Result<f64, String> {
        let answer = self.ask(&[&["start"], place].concat())?;
        self.child_pid = answer.get(1).copied().unwrap_or_default() as u32;
        Ok(answer[0])
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // Its stdout ends with it.
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(20)) {
            eprintln!("{}: {line}", self.kind.name());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// As taskset wants to be told.
pub const PINNED_CPU: &str = "0";
