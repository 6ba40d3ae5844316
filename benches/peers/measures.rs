//! What is measured: each section makes every contender do the same work, in turn.

use std::time::{Duration, Instant};

use crate::contender::{Contender, Kind};
use crate::environments::{Environments, target};
use crate::processes::{
    can_pin, cpu, cpu_with_ended, machine, peak, proportional, resident, switches, threads,
};
use crate::report::Report;
use crate::servers::{Place, Servers};

/// Their names, and what they do.
pub const SECTIONS: &[(&str, Section)] = &[
    ("start", start),
    ("calls", calls),
    ("chain", chain),
    ("bulk", bulk),
    ("fleet", fleet),
    ("memory", memory),
];

type Section = fn(&mut Bench);

pub struct Bench {
    environments: Environments,
    servers: Servers,
    report: Report,
    quick: bool,
    /// What the processors had done when this began.
    before: Result<[f64; 2], String>,
}

impl Bench {
    pub fn new(environments: Environments, quick: bool) -> Bench {
        let servers = Servers::start();
        let before = processors();
        Bench { environments, servers, report: Report::default(), quick, before }
    }

    /// Prints the table and writes the JSON lines; says who could not do all.
    pub fn finish(self) -> Result<Vec<Kind>, String> {
        print!("{}", self.report.table());
        let path = target().join("bench.jsonl");
        self.report.write_json(&path)?;
        println!("\nThe same in {}", path.display());
        // What the servers have used counts here once they have ended.
        drop(self.servers);
        let ([others, all], before) = (processors()?, self.before?);
        let others = ((others - before[0]) / (all - before[1]) * 100.0).max(0.0);
        println!("Other programs took {others:.0} % of this machine's processors meanwhile.");
        Ok(self.report.failed())
    }

    /// How often or how much, a fraction of it with `quick`.
    fn part(&self, full: usize) -> usize {
        if self.quick { full.div_ceil(50) } else { full }
    }

    fn spawn(&self, kind: Kind) -> Result<Contender, String> {
        Contender::spawn(&self.environments, kind, false)
    }

    /// Runs each contender once a round. One that fails is left out of what follows.
    fn rounds(
        &mut self,
        measure: &str,
        count: usize,
        mut each: impl FnMut(&mut Bench, Kind) -> Result<(), String>,
    ) {
        let mut able = self.environments.kinds();
        for _ in 0..count {
            able.retain(|kind| match each(self, *kind) {
                Ok(()) => true,
                Err(why) => {
                    self.report.leave_out(*kind, measure, &why);
                    false
                }
            });
        }
    }

    /// A program of each contender, connected.
    fn connected(&mut self, measure: &str, place: &Place, pinned: bool) -> Vec<Contender> {
        let mut all = vec![];
        self.rounds(measure, 1, |bench, kind| {
            let mut it = Contender::spawn(&bench.environments, kind, pinned)?;
            it.start(&place.words())?;
            all.push(it);
            Ok(())
        });
        all
    }

    /// Lets each do `count` of what the command says, in each of its ways, in several rounds; `figure` makes
    /// what is told of the count and the seconds.
    fn in_turn(
        &mut self,
        contenders: &mut Vec<Contender>,
        (measure, unit): (&str, &'static str),
        (command, count): (&'static str, usize),
        rounds: usize,
        figure: impl Fn(f64, f64) -> f64,
    ) {
        let count = self.part(count);
        for _ in 0..self.part(rounds) {
            contenders.retain_mut(|it| {
                for (label, command, divisor) in it.kind.ways(command) {
                    let count = count.div_ceil(divisor);
                    match it.ask(&[command, &count.to_string()]) {
                        Ok(answer) => {
                            self.report.add(measure, unit, label, figure(count as f64, answer[0]));
                        }
                        Err(why) => {
                            self.report.leave_out(it.kind, measure, &why);
                            return false;
                        }
                    }
                }
                true
            });
        }
    }
}

/// Seconds that the processors have spent on none of the processes of this bench, and in all.
fn processors() -> Result<[f64; 2], String> {
    let [used, idle] = machine()?;
    Ok([used - cpu_with_ended(std::process::id())?, used + idle])
}

/// Nothing to first result, and what a module of one's own adds.
fn start(bench: &mut Bench) {
    for place in bench.servers.places() {
        let measure = |what: &str| format!("{}: {what}", place.name);
        let whole = measure("whole program to the first result");
        let first = measure("first child to its first result");
        let further = measure("further child to its first result");
        let module = measure("first call of a module of one's own");
        let rounds = bench.part(if place.is_local() { 21 } else { 11 });
        bench.rounds(&place.name, rounds, |bench, kind| {
            let begin = Instant::now();
            let mut it = bench.spawn(kind)?;
            let seconds = it.start(&place.words())?;
            let all = begin.elapsed().as_secs_f64();
            let mut ms = |what: &str, label: &str, seconds: f64| {
                bench.report.add(what, "ms", label, seconds * 1e3);
            };
            if kind == Kind::Plain {
                for what in [&first, &further] {
                    ms(what, place.floor(), seconds);
                }
                if place.is_local() {
                    let seconds = it.ask(&["two"])?[0];
                    for what in [&first, &further] {
                        ms(what, "floor: python -c pass, twice", seconds);
                    }
                }
                return Ok(());
            }
            if place.is_local() {
                ms(&whole, kind.name(), all);
            }
            ms(&first, kind.name(), seconds);
            ms(&module, kind.name(), it.ask(&["module"])?[0]);
            ms(&further, kind.name(), it.start(&place.words())?);
            Ok(())
        });
    }
}

/// One call after the other, and many without waiting.
fn calls(bench: &mut Bench) {
    let us = |count: f64, seconds: f64| seconds / count * 1e6;
    for place in bench.servers.places().into_iter().filter(Place::is_direct) {
        for pinned in [true, false] {
            if pinned && !can_pin() {
                println!("one CPU for all: left out, as there is no taskset");
                continue;
            }
            let cpus = if pinned { "all on one CPU" } else { "any CPU" };
            let measure = |what: &str| format!("{}, {cpus}: {what}", place.name);
            let round_trip = measure("call, round trip");
            let _pin = pinned.then(|| bench.servers.pin());
            let mut all = bench.connected(&round_trip, &place, pinned);
            bench.in_turn(&mut all, (&round_trip, "us"), ("calls", 1000), 11, us);
            if pinned && place.is_local() {
                cpu_of_calls(bench, &mut all, &measure("CPU of a call"));
            }
            if !pinned {
                let queued = measure("20,000 calls without waiting");
                let rate = |count: f64, seconds: f64| count / seconds;
                bench.in_turn(&mut all, (&queued, "calls/s"), ("queued", 20_000), 5, rate);
            }
        }
    }
}

/// Children of children: local ones of each depth, and two behind ssh; ssh alone, to compare with.
fn chain(bench: &mut Bench) {
    let mut chains: Vec<Place> = (1..=4).map(|levels| Place::local().chain(levels)).collect();
    let places = bench.servers.places();
    let ssh = places.iter().find(|place| place.is_direct() && !place.is_local());
    chains.extend(ssh.into_iter().flat_map(|ssh| [ssh.chain(1), ssh.chain(3)]));
    for place in &chains {
        let first = format!("{}: first one to the result of its last", place.name);
        let further = format!("{}: further one to the result of its last", place.name);
        bench.rounds(&place.name, bench.part(11), |bench, kind| {
            let mut it = bench.spawn(kind)?;
            let seconds = it.start(&place.words())?;
            let (label, again) = match kind {
                Kind::Plain => (place.floor(), seconds),
                _ => (kind.name(), it.start(&place.words())?),
            };
            bench.report.add(&first, "ms", label, seconds * 1e3);
            bench.report.add(&further, "ms", label, again * 1e3);
            Ok(())
        });
    }
    for place in &chains {
        let measure = format!("{}: call of its last, round trip", place.name);
        let mut all = bench.connected(&measure, place, false);
        let us = |count: f64, seconds: f64| seconds / count * 1e6;
        bench.in_turn(&mut all, (&measure, "us"), ("calls", 1000), 11, us);
    }
}

/// The kernel counts hundredths of a second: enough calls to make many of them.
fn cpu_of_calls(bench: &mut Bench, all: &mut [Contender], measure: &str) {
    let count = bench.part(20_000);
    for _ in 0..bench.part(3) {
        for it in all.iter_mut().filter(|it| it.kind != Kind::Plain) {
            match cpu_used(it, &["calls", &count.to_string()]) {
                Ok(used) => {
                    for (end, seconds) in ["master", "child"].into_iter().zip(used) {
                        let (measure, us) =
                            (format!("{measure}, {end}"), seconds / count as f64 * 1e6);
                        bench.report.add(&measure, "us", it.kind.name(), us);
                    }
                }
                Err(why) => bench.report.leave_out(it.kind, measure, &why),
            }
        }
    }
}

/// Seconds of CPU for a command, in the program and in its child.
fn cpu_used(it: &mut Contender, words: &[&str]) -> Result<[f64; 2], String> {
    let count = |it: &Contender| Ok::<_, String>([cpu(it.pid())?, cpu(it.child_pid)?]);
    let before = count(it)?;
    it.ask(words)?;
    let after = count(it)?;
    Ok([after[0] - before[0], after[1] - before[1]])
}

/// Random data in blocks of 4 MiB.
fn bulk(bench: &mut Bench) {
    let rate = |count: f64, seconds: f64| count * 4.194304 / seconds;
    for place in bench.servers.places().into_iter().filter(Place::is_direct) {
        let mut all = bench.connected(&place.name, &place, false);
        for command in ["up", "down"] {
            let measure = format!("{}: 64 x 4 MiB {command}", place.name);
            bench.in_turn(&mut all, (&measure, "MB/s"), (command, 64), 5, rate);
        }
    }
}

/// Many local children at once, and what the program is then.
fn fleet(bench: &mut Bench) {
    let count = bench.part(100);
    let measure = format!("{count} local children at once, connect and call");
    bench.rounds(&measure, bench.part(3), |bench, kind| {
        let mut it = bench.spawn(kind)?;
        for (label, command, _) in kind.ways("fleet") {
            let seconds = it.ask(&[command, &count.to_string()])?[0];
            bench.report.add(&measure, "s", label, seconds);
        }
        if kind == Kind::Plain {
            Ok(())
        } else {
            program(bench, &it, &format!("master with {count} children"))
        }
    });
}

/// Memory, the close of a context, and what is awake while nothing happens.
fn memory(bench: &mut Bench) {
    let local = Place::local();
    // The end of a start is not idle yet.
    let settle = Duration::from_millis(if bench.quick { 50 } else { 1000 });
    let idle = settle * 4;
    let with_one = |bench: &mut Bench, kind: Kind| {
        if kind == Kind::Plain {
            return Ok(());
        }
        let mut it = bench.spawn(kind)?;
        it.start(&local.words())?;
        program(bench, &it, "master with one child")?;
        let memory = proportional(it.child_pid)?;
        bench.report.add("child: memory (PSS)", "kB", kind.name(), memory);
        let count = || Ok::<_, String>(switches(it.pid())? + switches(it.child_pid)?);
        std::thread::sleep(settle);
        let before = count()?;
        std::thread::sleep(idle);
        let seconds = idle.as_secs_f64();
        let awake = (count()? - before) / seconds;
        bench.report.add("idle: wake-ups of master and child", "1/s", kind.name(), awake);
        let seconds = it.ask(&["close"])?[0];
        bench.report.add("local: close of a context", "ms", kind.name(), seconds * 1e3);
        Ok(())
    };
    bench.rounds("memory", bench.part(5), with_one);

    let sends =
        [("send", 4 << 20, "calls without waiting"), ("stream", 128 << 10, "items of a channel")];
    for (command, size, what) in sends {
        let measure = format!("master: most memory for 256 MiB, as {what}, {} kB each", size >> 10);
        let count = bench.part((256 << 20) / size).to_string();
        let send = |bench: &mut Bench, kind: Kind| {
            for (label, command, _) in kind.ways(command) {
                let mut it = bench.spawn(kind)?;
                it.start(&local.words())?;
                it.ask(&[command, &count, &size.to_string()])?;
                bench.report.add(&measure, "kB", label, peak(it.pid())?);
            }
            Ok(())
        };
        bench.rounds(&measure, bench.part(3), send);
    }
}

fn program(bench: &mut Bench, it: &Contender, what: &str) -> Result<(), String> {
    let report = &mut bench.report;
    report.add(&format!("{what}: memory (RSS)"), "kB", it.kind.name(), resident(it.pid())?);
    report.add(&format!("{what}: threads"), "threads", it.kind.name(), threads(it.pid())?);
    Ok(())
}
