//! The processes below one, out of `/proc`.

use std::collections::BTreeMap;
use std::fs;

/// All processes that descend from `ancestor`, zombies included: their ids, and what they are.
pub fn descendants(ancestor: i32) -> BTreeMap<i32, String> {
    let all: Vec<Process> = fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| Process::read(entry.ok()?.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut found = BTreeMap::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            found.insert(process.pid, process.describe());
            parents.push(process.pid);
        }
    }
    found
}

struct Process {
    pid: i32,
    parent: i32,
    name: String,
    state: char,
}

impl Process {
    /// `None` where there is none any more.
    fn read(pid: i32) -> Option<Process> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // `12 (name) S 1 ..`, where a name may hold anything, `) ` too.
        let (start, rest) = stat.rsplit_once(") ")?;
        let (_, name) = start.split_once('(')?;
        let mut fields = rest.split(' ');
        let state = fields.next()?.chars().next()?;
        Some(Process { pid, parent: fields.next()?.parse().ok()?, name: name.to_string(), state })
    }

    fn describe(&self) -> String {
        let Process { pid, parent, name, state } = self;
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments: Vec<_> = command
            .split(|&byte| byte == 0)
            .map(|argument| String::from_utf8_lossy(argument).escape_debug().to_string())
            .collect();
        let mut line: String = arguments.join(" ").trim_end().chars().take(200).collect();
        if line.is_empty() {
            line = format!("[{name}]");
        }
        let zombie = if *state == 'Z' { ", a zombie" } else { "" };
        format!("{line} (process {pid} of {parent}{zombie})")
    }
}
