//! One context, and what is seen of it from outside.

use std::cell::Cell;

use econtext::{Context, Error, Level, Local, Modules, Router, ToArgs, Value};

use super::{Log, Python};

/// A router with one local context, whose log is kept.
pub struct Run {
    // Dropped before the router, as in a program.
    pub context: Context,
    pub router: Router,
    pub log: Log,
    /// How much of the log [`Run::requests`] has gone through.
    seen: Cell<usize>,
}

impl Run {
    /// Connects to `python`, with all that the library has to say in the log, after `serve` has
    /// registered modules.
    pub fn start(python: &Python, serve: impl FnOnce(&Modules)) -> Run {
        Run::start_with(Local::new().python(&python.path), Level::Debug, serve)
    }

    pub fn start_with(local: Local, level: Level, serve: impl FnOnce(&Modules)) -> Run {
        let log = Log::default();
        let router = Router::builder().log_level(level).on_log(log.sink()).build().unwrap();
        serve(router.modules());
        let context = router.connect(local).unwrap();
        Run { context, router, log, seen: Cell::new(0) }
    }

    /// Calls a function that returns text.
    pub fn text(&self, target: &str, args: impl ToArgs) -> String {
        self.context.call(target, args).unwrap_or_else(|error| panic!("{target}: {}", long(&error)))
    }

    /// The modules that the child has asked for since the last time, the library's own aside: `+name` if it
    /// was served, `-name` if there is none, `!name` if it was refused.
    pub fn requests(&self) -> Vec<String> {
        self.module_traffic().into_iter().filter(|name| !name.starts_with('>')).collect()
    }

    /// The modules that have come since the last time, sorted, whether they were asked for or not.
    pub fn arrivals(&self) -> Vec<String> {
        let traffic = self.module_traffic();
        let mut names: Vec<_> = traffic
            .iter()
            .filter_map(|name| name.strip_prefix(['+', '>']))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// What was asked for, as `requests` has it, and `>name` for what was sent without having been asked for.
    pub fn module_traffic(&self) -> Vec<String> {
        let end = format!("end of part {}", self.seen.get());
        self.context.call::<Value>("sys:stderr.write", (format!("{end}\n"),)).unwrap();
        self.log.wait_for("the end of this part", |record| record.message == end);
        let records = self.log.records();
        let new = &records[self.seen.replace(records.len())..];
        new.iter()
            .filter(|record| record.logger == "econtext")
            .filter_map(|record| {
                let (name, rest) = record.message.strip_prefix("module ")?.split_once(' ')?;
                let sign = match rest.split(' ').next()? {
                    "served:" => '+',
                    "pushed:" => '>',
                    "is" => '-',
                    _ => '!',
                };
                Some(format!("{sign}{name}"))
            })
            .filter(|name| !name[1..].starts_with("econtext."))
            .collect()
    }

    /// The messages of one logger so far.
    pub fn messages(&self, logger: &str) -> Vec<String> {
        let records = self.log.records().into_iter();
        records.filter(|record| record.logger == logger).map(|record| record.message).collect()
    }
}

/// An error with its traceback.
pub fn long(error: &Error) -> String {
    match error {
        Error::Call(call) => format!("{error}\n{}", call.traceback),
        _ => error.to_string(),
    }
}
