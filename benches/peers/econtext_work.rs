//! This library as a contender.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use econtext::{Context, Level, Local, LogRecord, Pending, Router, Sender, Ssh};

use crate::support::Traffic;
use crate::work::{Answer, check, count, random, serve};

/// Answers commands until stdin ends. `python` is the interpreter of the children.
pub fn run(python: &str) -> ExitCode {
    let router = match Router::new() {
        Ok(router) => router,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    router.modules().source("bulk", include_str!("bulk.py"));
    router.modules().source("econtext_stream", include_str!("econtext_stream.py"));
    let counted = Counted::default();
    let mut work = Work { router, python, contexts: vec![], block: vec![], counted };
    serve(|name, words| work.command(name, words))
}

struct Work<'a> {
    router: Router,
    python: &'a str,
    contexts: Vec<Context>,
    block: Vec<u8>,
    counted: Counted,
}

impl Work<'_> {
    fn command(&mut self, name: &str, words: &[&str]) -> Answer {
        if name == "start" {
            return self.start(words);
        }
        if name == "fleet" {
            return self.fleet(count(words, 0)?);
        }
        if let ("serve", [directory]) = (name, words) {
            let begin = Instant::now();
            self.router.modules().path(directory);
            return Ok(vec![begin.elapsed().as_secs_f64()]);
        }
        if name == "learn" {
            let begin = Instant::now();
            let modules = self.router.modules();
            modules.preload(modules.learned());
            return Ok(vec![begin.elapsed().as_secs_f64()]);
        }
        if name == "count" {
            return self.count();
        }
        if name == "close" {
            let context = self.contexts.pop().ok_or("there is no context")?;
            let begin = Instant::now();
            context.shutdown()?;
            return Ok(vec![begin.elapsed().as_secs_f64()]);
        }
        let context = self.contexts.last().ok_or("there is no context")?;
        if self.block.is_empty() && matches!(name, "up" | "down" | "channel_up" | "channel_down") {
            self.block = random(4 << 20)?;
            context.call::<()>("bulk:give", ())?;
            context.call::<()>("econtext_stream:open_receiver", ())?;
        }
        match name {
            "channel_up" => return channel_up(context, &self.block, count(words, 0)?),
            "channel_down" => return channel_down(&self.router, context, count(words, 0)?),
            "stream" => return channel_up(context, &random(count(words, 1)?)?, count(words, 0)?),
            _ => {}
        }
        let begin = Instant::now();
        match name {
            "module" => {
                context.call::<usize>("bulk:take", (b"",))?;
            }
            "first" => context.call::<()>(words.first().ok_or("a function is missing")?, ())?,
            "counted" => return Ok(self.counted.numbers()),
            "calls" => {
                for _ in 0..count(words, 0)? {
                    context.call::<u32>("os:getpid", ())?;
                }
            }
            "queued" => {
                let call = |_| context.call_async::<u32>("os:getpid", ());
                get((0..count(words, 0)?).map(call))?;
            }
            "up" => {
                for _ in 0..count(words, 0)? {
                    let taken = context.call::<usize>("bulk:take", (self.block.as_slice(),))?;
                    check(taken, self.block.len())?;
                }
            }
            "down" => {
                for _ in 0..count(words, 0)? {
                    let block = context.call::<Vec<u8>>("bulk:give", ())?;
                    check(block.len(), self.block.len())?;
                }
            }
            "send" => {
                let block = random(count(words, 1)?)?;
                let call = |_| context.call_async::<usize>("bulk:take", (block.as_slice(),));
                get((0..count(words, 0)?).map(call))?;
            }
            _ => return Err(format!("cannot: {name}").into()),
        }
        Ok(vec![begin.elapsed().as_secs_f64()])
    }

    /// The start and the first call, which travel together.
    fn start(&mut self, place: &[&str]) -> Answer {
        let begin = Instant::now();
        let (levels, place) = match place {
            ["chain", levels, place @ ..] => (levels.parse()?, place),
            place => (1, place),
        };
        let mut context = match place {
            ["local"] => self.router.start(self.local()),
            ["ssh", config, port, shared @ ..] => {
                let mut ssh = Ssh::new("127.0.0.1").config_file(config).port(port.parse()?);
                if let [socket] = shared {
                    ssh = ssh.control_path(socket);
                }
                self.router.start(ssh.python(self.python))
            }
            _ => return Err(format!("cannot: start {}", place.join(" ")).into()),
        };
        for _ in 1..levels {
            let next = context.start(self.local());
            self.contexts.push(std::mem::replace(&mut context, next));
        }
        let pid = context.call::<u32>("os:getpid", ())?;
        let took = begin.elapsed();
        self.contexts.push(context);
        Ok(vec![took.as_secs_f64(), f64::from(pid)])
    }

    fn local(&self) -> Local {
        Local::new().python(self.python)
    }

    /// From now on what goes each way is counted, by a log that has all of it: nothing to be timed.
    fn count(&mut self) -> Answer {
        let begin = Instant::now();
        let log = self.counted.log();
        self.router = Router::builder().log_level(Level::Debug).on_log(log).build()?;
        Ok(vec![begin.elapsed().as_secs_f64()])
    }

    fn fleet(&mut self, count: usize) -> Answer {
        let begin = Instant::now();
        let start = |_| self.router.start(self.local());
        let contexts: Vec<Context> = (0..count).map(start).collect();
        get(contexts.iter().map(|context| context.call_async::<u32>("os:getpid", ())))?;
        let took = begin.elapsed();
        self.contexts.extend(contexts);
        Ok(vec![took.as_secs_f64()])
    }
}

/// The modules that have gone each way.
#[derive(Default)]
struct Counted(Arc<Mutex<Vec<LogRecord>>>);

impl Counted {
    fn log(&self) -> impl FnMut(&LogRecord) + Send + use<> {
        let records = self.0.clone();
        move |record| {
            records.lock().unwrap_or_else(PoisonError::into_inner).push(record.clone());
        }
    }

    /// No time, requests, modules sent.
    fn numbers(&self) -> Vec<f64> {
        let traffic = Traffic::of(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let served = traffic.requested.iter().filter(|name| name.starts_with('+')).count();
        vec![1.0, traffic.requested.len() as f64, (served + traffic.pushed.len()) as f64]
    }
}

/// Items of a channel whose receiver is in the child.
fn channel_up(context: &Context, block: &[u8], count: usize) -> Answer {
    let sender: Sender<&[u8]> = context.call("econtext_stream:open_receiver", ())?;
    let begin = Instant::now();
    let total = context.call_async::<usize>("econtext_stream:total", ())?;
    for _ in 0..count {
        sender.send(block)?;
    }
    drop(sender);
    check(total.get()?, count * block.len())?;
    Ok(vec![begin.elapsed().as_secs_f64()])
}

/// Items of a channel whose receiver is here.
fn channel_down(router: &Router, context: &Context, count: usize) -> Answer {
    let (sender, items) = router.channel::<Vec<u8>>();
    let begin = Instant::now();
    let flood = context.call_async::<()>("econtext_stream:flood", (sender, count))?;
    let mut total = 0;
    for item in &items {
        total += item?.len();
    }
    flood.get()?;
    check(total, count * (4 << 20))?;
    Ok(vec![begin.elapsed().as_secs_f64()])
}

/// Issues all calls, then waits for each answer.
fn get<T: econtext::FromValue>(
    calls: impl Iterator<Item = econtext::Result<Pending<T>>>,
) -> econtext::Result<()> {
    let waiting = calls.collect::<econtext::Result<Vec<_>>>()?;
    waiting.into_iter().try_for_each(|pending| pending.get().map(drop))
}
