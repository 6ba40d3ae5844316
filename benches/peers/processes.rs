//! What the kernel counts for each process, read from `/proc`: the same for every contender.

use std::fs;
use std::process::{Command, Stdio};

/// Resident memory in kB.
pub fn resident(pid: u32) -> Result<f64, String> {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The most that was ever resident, in kB.
pub fn peak(pid: u32) -> Result<f64, String> {
    field(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// Resident memory in kB, with what several processes share divided among them.
pub fn proportional(pid: u32) -> Result<f64, String> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

pub fn threads(pid: u32) -> Result<f64, String> {
    field(&format!("/proc/{pid}/status"), "Threads:")
}

/// How often the threads of a process have been put to sleep or aside so far.
pub fn switches(pid: u32) -> Result<f64, String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| error.to_string())?;
    tasks
        .flatten()
        .map(|task| {
            let path = task.path().join("status");
            let path = path.to_string_lossy();
            let own = field(&path, "voluntary_ctxt_switches:")?;
            Ok(own + field(&path, "nonvoluntary_ctxt_switches:")?)
        })
        .sum()
}

/// Seconds of CPU that a process has used, in the kernel too, to a hundredth.
pub fn cpu(pid: u32) -> Result<f64, String> {
    ticks(pid, 2)
}

/// The same with all the processes below it that have ended.
pub fn cpu_with_ended(pid: u32) -> Result<f64, String> {
    ticks(pid, 4)
}

fn ticks(pid: u32, fields: usize) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // What follows the name, which may hold anything: the state, then ten numbers, then these.
    let rest = text.rsplit(')').next().unwrap_or_default();
    let ticks = rest.split_whitespace().skip(11).take(fields).map(str::parse::<f64>);
    let ticks: Vec<f64> = ticks.flatten().collect();
    if ticks.len() == fields { Ok(ticks.iter().sum::<f64>() / 100.0) } else { Err(path) }
}

/// Seconds of CPU that all processes have used so far, and that they have not.
pub fn machine() -> Result<[f64; 2], String> {
    let text = fs::read_to_string("/proc/stat").map_err(|error| error.to_string())?;
    let first = text.lines().next().unwrap_or_default();
    let ticks = first.split_whitespace().skip(1).map(str::parse::<f64>);
    // user, nice, system, idle, iowait, irq, softirq; what follows went to other machines, or is in these.
    match ticks.flatten().take(7).collect::<Vec<f64>>()[..] {
        [user, nice, system, idle, iowait, irq, softirq] => {
            let used = user + nice + system + irq + softirq;
            Ok([used / 100.0, (idle + iowait) / 100.0])
        }
        _ => Err("/proc/stat cannot be read".into()),
    }
}

/// Whether processes can be put on one CPU.
pub fn can_pin() -> bool {
    let mut taskset = Command::new("taskset");
    taskset.args(["-c", crate::contender::PINNED_CPU, "true"]).stderr(Stdio::null());
    taskset.status().is_ok_and(|status| status.success())
}

fn field(path: &str, name: &str) -> Result<f64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let number = text.lines().find_map(|line| line.strip_prefix(name));
    let number = number.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| format!("{path} has no {name}"))
}
