//! Measures the first calls of code that imports a whole application of PyPI: see [`subjects`].
//!
//! `make bench-modules`, or `cargo bench --bench modules -- [quick] [NAME ..]`. Beside this library's children
//! stand Mitogen's, and, as the floor, an interpreter that has the same files on its own disk and compiles them.
//! All read the same files: this library from the wheels, the others unpacked in one directory. What is timed is
//! the first call, its imports included, on a child that is up: the first of a program, the next, and one whose
//! program was told what the first had asked for; or the same call in the interpreter that is. Every round runs
//! each contender once. With `quick` there is one round, and nothing is installed.
//!
//! The contenders are those of `peers`, next door.

#[path = "../peers/contender.rs"]
#[allow(dead_code, reason = "the other bench uses it all")]
mod contender;
#[path = "../peers/econtext_work.rs"]
mod econtext_work;
#[path = "../peers/environments.rs"]
#[allow(dead_code, reason = "the other bench uses it all")]
mod environments;
#[path = "../peers/plain_work.rs"]
mod plain_work;
#[path = "../peers/servers.rs"]
#[allow(dead_code, reason = "the other bench uses it all")]
mod servers;
mod subjects;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
#[path = "../peers/work.rs"]
mod work;

use std::process::ExitCode;

use contender::{Contender, Kind};
use environments::{Environments, target};
use servers::{Place, Servers};
use subjects::{Layout, SUBJECTS, Subject};
use support::Side;
use table::{Child, Row, Table};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", "econtext", python] => return econtext_work::run(python),
        ["work", "plain", python] => return plain_work::run(python),
        _ => {}
    }
    let quick = words.iter().any(|word| word == "quick");
    let wanted: Vec<_> = words.iter().filter(|word| *word != "quick").collect();
    if let Some(unknown) = wanted.iter().find(|word| !SUBJECTS.iter().any(|it| it.name == **word)) {
        let names: Vec<_> = SUBJECTS.iter().map(|it| it.name).collect();
        eprintln!("modules [quick] [NAME ..]: {}; not {unknown}", names.join(", "));
        return ExitCode::from(2);
    }
    let is_wanted =
        |subject: &&Subject| wanted.is_empty() || wanted.iter().any(|name| *name == subject.name);
    match measure(SUBJECTS.iter().filter(is_wanted), quick) {
        Ok(is_whole) => ExitCode::from(u8::from(!is_whole)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether this library could do all.
fn measure<'a>(subjects: impl Iterator<Item = &'a Subject>, quick: bool) -> Result<bool, String> {
    let environments = Environments::new(None, quick)?;
    println!("{}", environments.describe());
    let servers = Servers::start();
    let mut table = Table::default();
    for subject in subjects {
        eprintln!("measuring: {}", subject.title());
        let Some(Layout { python, wheels, own, all }) = subject.prepare()? else { continue };
        let environments = environments.with_children_of(&python.path)?;
        let bench = Bench { environments, servers: &servers, subject, wheels, own, all };
        table.begin(&subject.title());
        let mut able = bench.environments.kinds();
        able.retain(|kind| *kind != Kind::Execnet);
        for round in 0..if quick { 1 } else { ROUNDS } {
            // One that fails is left out of what follows.
            able.retain(|kind| match bench.once(*kind, round < 2, &mut table) {
                Ok(()) => true,
                Err(why) => {
                    table.leave_out(*kind, &why);
                    false
                }
            });
        }
        print!("{}", table.block());
    }
    let path = target().join("bench-modules.jsonl");
    table.write_json(&path)?;
    println!("\nThe same in {}", path.display());
    Ok(!table.failed(Kind::Econtext))
}

const ROUNDS: usize = 5;

struct Bench<'a> {
    environments: Environments,
    servers: &'a Servers,
    subject: &'a Subject,
    wheels: Vec<String>,
    own: String,
    all: String,
}

impl Bench<'_> {
    /// One contender's figures of one round.
    fn once(&self, kind: Kind, is_counted: bool, table: &mut Table) -> Result<(), String> {
        if kind == Kind::Plain {
            return self.floor(table);
        }
        self.timed(kind, table)?;
        if is_counted { self.counted(kind, table) } else { Ok(()) }
    }

    fn floor(&self, table: &mut Table) -> Result<(), String> {
        let mut it = Contender::spawn(&self.environments, Kind::Plain, false)?;
        let seconds = it.ask(&["first", &self.all, self.subject.target])?[0];
        table.floor(seconds);
        Ok(())
    }

    /// The children of one program, one after the other, here and far away.
    fn timed(&self, kind: Kind, table: &mut Table) -> Result<(), String> {
        let far = self.servers.places().into_iter().find(Place::is_far);
        for place in [Some(Place::local()), far].into_iter().flatten() {
            let mut it = self.spawn(kind)?;
            for &child in Child::of(kind) {
                self.start(&mut it, child, &place)?;
                let seconds = it.ask(&["first", self.subject.target])?[0];
                table.time(Row { kind, child }, place.is_local(), seconds);
            }
        }
        Ok(())
    }

    /// What goes over the line, between a client and a server.
    fn counted(&self, kind: Kind, table: &mut Table) -> Result<(), String> {
        let Some((place, proxy)) = self.servers.far() else { return Ok(()) };
        let mut it = self.spawn(kind)?;
        let mut modules = [0.0, 0.0];
        if kind == Kind::Econtext {
            it.ask(&["count"])?;
            self.serve(&mut it)?;
        }
        for &child in Child::of(kind) {
            self.start(&mut it, child, &place)?;
            let before = (proxy.round_trips(), proxy.bytes(Side::Client));
            it.ask(&["first", self.subject.target])?;
            let round_trips = f64::from(proxy.round_trips() - before.0);
            let bytes = (proxy.bytes(Side::Client) - before.1) as f64;
            let [_, requested, sent] = it.ask(&["counted"])?[..] else {
                return Err("three numbers are wanted".into());
            };
            let counts = [round_trips, bytes, requested - modules[0], sent - modules[1]];
            modules = [requested, sent];
            table.count(Row { kind, child }, counts);
        }
        Ok(())
    }

    fn start(&self, it: &mut Contender, child: Child, place: &Place) -> Result<(), String> {
        if child == Child::Foreseen {
            it.ask(&["learn"])?;
        }
        it.start(&place.words()).map(drop)
    }

    fn spawn(&self, kind: Kind) -> Result<Contender, String> {
        let mut it = Contender::spawn(&self.environments, kind, false)?;
        self.serve(&mut it)?;
        Ok(it)
    }

    fn serve(&self, it: &mut Contender) -> Result<(), String> {
        let paths = match it.kind {
            Kind::Econtext => [std::slice::from_ref(&self.own), &self.wheels].concat(),
            _ => vec![self.all.clone()],
        };
        paths.iter().try_for_each(|path| it.ask(&["serve", path]).map(drop))
    }
}
