//! The one helper thread: what may block, so that the broker never does.
//!
//! It runs the user's log sink, writes stderr, and reads and compresses modules. It starts when it is
//! first needed. Its queues are bounded: log lines beyond 1 MiB a child are dropped, and counted in a
//! record of their own; module requests beyond 1,000 a child are refused. Modules go before log lines,
//! since an import waits for them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::log::{Level, LogRecord};
use crate::peer::Peer;
use crate::{Modules, pickle};

/// A child asks once for each thread that imports: beyond this it is not asking but attacking.
const MODULE_REQUESTS: usize = 1000;
/// The pickle of a name; no module has a longer one.
const REQUEST_BYTES: usize = 16 << 10;

/// The user's log sink.
pub(crate) type Sink = Box<dyn FnMut(&LogRecord) + Send>;

/// The helper thread's queues.
pub(crate) struct Helper {
    state: Mutex<State>,
    work: Condvar,
    modules: Modules,
    sink: Mutex<Sink>,
    level: Level,
    /// How many records the sink has taken.
    shown: AtomicU64,
    limits: pickle::Limits,
}

#[derive(Default)]
struct State {
    imports: VecDeque<(Arc<Peer>, Vec<u8>)>,
    log: VecDeque<(Arc<Peer>, Entry)>,
    thread: Option<JoinHandle<()>>,
    stopping: bool,
    stopped: bool,
}

/// Something to be shown.
pub(crate) enum Entry {
    /// The data of a `FORWARD_LOG` message.
    Forwarded(Vec<u8>),
    /// What the process that carries the stream printed.
    Printed(Vec<u8>),
    /// What the library says itself.
    Own(Level, String),
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Entry::Forwarded(data) | Entry::Printed(data) => data.len(),
            Entry::Own(_, message) => message.len(),
        }
    }

    /// How many lines are lost with it.
    fn lines(&self) -> u64 {
        match self {
            Entry::Forwarded(data) | Entry::Printed(data) => {
                data.iter().filter(|byte| **byte == b'\n').count().max(1) as u64
            }
            Entry::Own(..) => 1,
        }
    }
}

impl Helper {
    pub(crate) fn new(
        modules: Modules,
        sink: Sink,
        level: Level,
        limits: pickle::Limits,
    ) -> Helper {
        Helper {
            state: Mutex::default(),
            work: Condvar::new(),
            modules,
            sink: Mutex::new(sink),
            level,
            shown: AtomicU64::new(0),
            limits,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("held for the queues only")
    }

    /// Shows something of `peer`, later. Never blocks.
    pub(crate) fn log(self: &Arc<Self>, peer: &Arc<Peer>, entry: Entry) {
        if !peer.backlog.add(entry.bytes(), || entry.lines()) {
            return;
        }
        let mut state = self.lock();
        state.log.push_back((peer.clone(), entry));
        // Without a thread it waits for the next job: nobody waits for a line of the log.
        self.wake(state);
    }

    /// Answers a child's `GET_MODULE`, later. Never blocks.
    pub(crate) fn import(self: &Arc<Self>, peer: &Arc<Peer>, data: Vec<u8>) -> Result<(), String> {
        if data.len() > REQUEST_BYTES {
            return Err(format!("a module request of {} bytes", data.len()));
        }
        let mut state = self.lock();
        let waiting = state.imports.iter().filter(|(other, _)| other.id() == peer.id()).count();
        if waiting >= MODULE_REQUESTS {
            return Err(format!("{MODULE_REQUESTS} module requests at once"));
        }
        state.imports.push_back((peer.clone(), data));
        if self.wake(state) {
            return Ok(());
        }
        Err("no thread can be started to serve modules".into())
    }

    /// How many records have been shown: while this grows, the log's sink is not stuck.
    pub(crate) fn shown(&self) -> u64 {
        self.shown.load(Ordering::Relaxed)
    }

    /// Gives false where there is no thread, and none can be started; the next job tries again.
    fn wake(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> bool {
        if state.thread.is_none() && !state.stopping {
            let helper = self.clone();
            let thread = thread::Builder::new().name("econtext-helper".into());
            match thread.spawn(move || helper.run()) {
                Ok(thread) => state.thread = Some(thread),
                Err(_) => return false,
            }
        }
        self.work.notify_one();
        true
    }

    fn run(self: Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some((peer, data)) = state.imports.pop_front() {
                drop(state);
                self.serve(&peer, &data);
            } else if let Some((peer, entry)) = state.log.pop_front() {
                drop(state);
                self.show(&peer, entry);
            } else if state.stopping {
                state.stopped = true;
                self.work.notify_all();
                return;
            } else {
                state = self.work.wait(state).expect("see lock()");
                continue;
            }
            state = self.lock();
        }
    }

    fn serve(self: &Arc<Self>, peer: &Arc<Peer>, request: &[u8]) {
        crate::modules::serve(&self.modules, peer, request, &self.limits, |level, note| {
            if level >= self.level {
                self.log(peer, Entry::Own(level, note));
            }
        });
    }

    fn show(&self, peer: &Peer, entry: Entry) {
        let bytes = entry.bytes();
        let name = peer.name();
        let mut sink = match self.sink.lock() {
            Ok(sink) => sink,
            // It has panicked before, and said so; that does not end the log.
            Err(poisoned) => poisoned.into_inner(),
        };
        let mut show = |record: &LogRecord| {
            // A sink that panics has printed its panic; the thread and the next records go on.
            let _ = catch_unwind(AssertUnwindSafe(|| sink(record)));
            self.shown.fetch_add(1, Ordering::Relaxed);
        };
        let dropped = peer.backlog.take_dropped();
        if dropped > 0 {
            let message = format!("{dropped} lines dropped: the log's sink is too slow");
            show(&LogRecord::own(name, Level::Warning, message));
        }
        match entry {
            Entry::Forwarded(data) => {
                let message = pickle::decode(&data, &self.limits).ok();
                let shown = message.and_then(|it| LogRecord::from_message(name, it, &mut show));
                if shown.is_none() {
                    let message = "a log message that cannot be read was dropped".into();
                    show(&LogRecord::own(name, Level::Warning, message));
                }
            }
            Entry::Printed(bytes) => LogRecord::lines(name, "stderr", &bytes, &mut show),
            Entry::Own(level, message) => show(&LogRecord::own(name, level, message)),
        }
        if peer.backlog.remove(bytes) {
            peer.read_on();
        }
    }

    /// Does what is queued, then ends the thread. A sink that hangs is left behind after `patience`.
    pub(crate) fn stop(&self, patience: Duration) {
        let mut state = self.lock();
        state.stopping = true;
        self.work.notify_all();
        let Some(thread) = state.thread.take() else { return };
        if thread.thread().id() == thread::current().id() {
            return; // The sink itself dropped the last router: the thread ends when it returns.
        }
        let ended = self.work.wait_timeout_while(state, patience, |state| !state.stopped);
        let (state, _) = ended.expect("see lock()");
        let stopped = state.stopped;
        drop(state);
        if stopped {
            // The panics of the user's sink are caught; its own would have been printed.
            let _ = thread.join();
        }
    }
}
