//! The one helper thread: what may block, so that the broker never does.
//!
//! It runs the user's log sink, writes stderr, and reads and compresses the modules that children ask for (a caller's
//! own thread, those that go ahead of its call). It starts when it is first needed. Its queues are bounded: log lines
//! beyond 1 MiB a child are dropped, and counted in a record of their own; module requests beyond 1,000 a child are
//! refused. Modules go first, since an import waits for them, log lines last. Of modules each child has one in turn,
//! so that none waits for all that another asks for; and an ended one has none.
//! Not here: the user's prompt handler (`asker`), which waits for a person.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::asker::{Asker, Prompter};
use crate::log::{Level, LogRecord, Of};
use crate::peer::Peer;
use crate::secret::Secret;
use crate::{Modules, Prompt, Value, pickle};

/// A child asks once for each thread that imports: beyond this it is not asking but attacking.
const MODULE_REQUESTS: usize = 1000;
/// The pickle of a name; no module has a longer one.
const REQUEST_BYTES: usize = 16 << 10;

/// The user's log sink.
pub(crate) type Sink = Box<dyn FnMut(&LogRecord) + Send>;

type Job = Box<dyn FnOnce() + Send>;

/// The helper thread's queues.
pub(crate) struct Helper {
    state: Mutex<State>,
    work: Condvar,
    modules: Modules,
    sink: Mutex<Sink>,
    asker: Option<Arc<Asker>>,
    level: Level,
    /// How many records the sink has taken.
    shown: AtomicU64,
    limits: pickle::Limits,
}

#[derive(Default)]
struct State {
    /// The children that wait for modules, the next first, each with its requests.
    imports: VecDeque<(Arc<Peer>, VecDeque<Vec<u8>>)>,
    /// What a start waits for.
    jobs: VecDeque<(Option<Arc<Peer>>, Job)>,
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
        prompter: Option<Prompter>,
        level: Level,
        limits: pickle::Limits,
    ) -> Helper {
        Helper {
            state: Mutex::default(),
            work: Condvar::new(),
            modules,
            sink: Mutex::new(sink),
            asker: prompter.map(Asker::new),
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
        match state.imports.iter_mut().find(|(other, _)| Arc::ptr_eq(other, peer)) {
            Some((_, requests)) if requests.len() >= MODULE_REQUESTS => {
                return Err(format!("{MODULE_REQUESTS} module requests at once"));
            }
            Some((_, requests)) => requests.push_back(data),
            None => state.imports.push_back((peer.clone(), [data].into())),
        }
        if self.wake(state) {
            return Ok(());
        }
        Err("no thread can be started to serve modules".into())
    }

    /// Whether there is a prompt handler.
    pub(crate) fn can_ask(&self) -> bool {
        self.asker.is_some()
    }

    /// Asks the prompt handler: see [`Asker::ask`]. Where there is none it tells `None` at once.
    pub(crate) fn prompt(
        &self,
        peer: &Arc<Peer>,
        prompt: Prompt,
        reply: impl FnOnce(Option<Secret>) + Send + 'static,
    ) {
        match &self.asker {
            Some(asker) => asker.ask(peer, prompt, reply),
            None => reply(None),
        }
    }

    /// Runs something that may take its time for `peer`, later; not for one that has ended. Without
    /// a thread nobody does: the start ends at its deadline.
    pub(crate) fn run_for(self: &Arc<Self>, peer: &Arc<Peer>, job: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        state.jobs.push_back((Some(peer.clone()), Box::new(job)));
        self.wake(state);
    }

    /// Runs something that may take its time, later. Without a thread nobody does.
    pub(crate) fn run(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let mut state = self.lock();
        state.jobs.push_back((None, Box::new(job)));
        self.wake(state);
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
            match thread.spawn(move || helper.work()) {
                Ok(thread) => state.thread = Some(thread),
                Err(_) => return false,
            }
        }
        self.work.notify_one();
        true
    }

    fn work(self: Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some((peer, mut requests)) = state.imports.pop_front() {
                if peer.ended().is_some() {
                    continue;
                }
                let data = requests.pop_front();
                if !requests.is_empty() {
                    state.imports.push_back((peer.clone(), requests));
                }
                drop(state);
                if let Some(data) = data {
                    self.serve(&peer, &data);
                }
            } else if let Some((peer, job)) = state.jobs.pop_front() {
                let stopping = state.stopping;
                drop(state);
                if !stopping && peer.is_none_or(|peer| peer.ended().is_none()) {
                    job();
                }
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
        let say = |level, note| {
            if level >= self.level {
                self.log(peer, Entry::Own(level, note));
            }
        };
        let name = match pickle::decode(request, &self.limits) {
            Ok(Value::Text(name)) => name,
            Ok(Value::Bytes(name)) => String::from_utf8_lossy(&name).into_owned(),
            Ok(_) | Err(_) => {
                return say(Level::Error, "a request for a module without a name".into());
            }
        };
        peer.ship(&self.modules, self.limits.message, &say, |shipment| shipment.answer(&name));
    }

    fn show(&self, peer: &Peer, entry: Entry) {
        let bytes = entry.bytes();
        let of = Of { id: peer.id(), name: peer.name() };
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
            show(&LogRecord::own(of, Level::Warning, message));
        }
        match entry {
            Entry::Forwarded(data) => {
                let message = pickle::decode(&data, &self.limits).ok();
                let shown = message.and_then(|it| LogRecord::from_message(of, it, &mut show));
                if shown.is_none() {
                    let message = "a log message that cannot be read was dropped".into();
                    show(&LogRecord::own(of, Level::Warning, message));
                }
            }
            Entry::Printed(bytes) => LogRecord::lines(of, "stderr", &bytes, &mut show),
            Entry::Own(level, message) => show(&LogRecord::own(of, level, message)),
        }
        if peer.backlog.remove(bytes) {
            peer.read_on();
        }
    }

    /// Does what is queued, then ends the threads. A sink or prompt handler that hangs is left behind after
    /// `patience`.
    pub(crate) fn stop(&self, patience: Duration) {
        let begun = Instant::now();
        self.stop_thread(patience);
        if let Some(asker) = &self.asker {
            asker.stop(patience.saturating_sub(begun.elapsed()));
        }
    }

    fn stop_thread(&self, patience: Duration) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asker::tests::{patient, prompt};
    use crate::end::End;
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(20);

    fn serving(modules: Modules, prompter: Option<Prompter>, sink: Sink) -> Arc<Helper> {
        let limits = pickle::Limits::for_messages_of(1 << 20);
        Arc::new(Helper::new(modules, sink, prompter, Level::Info, limits))
    }

    fn peer() -> Arc<Peer> {
        let (broker, _) = crate::broker::Handle::new().expect("there are descriptors left");
        let out = crate::stream::Outgoing::ended(End::Shutdown);
        Arc::new(Peer::new(1, "ssh.web1".into(), out, broker))
    }

    #[test]
    fn children_have_modules_in_turn_and_ended_ones_none() {
        let ((asked, is_asked), (go, may_go)) = (channel(), channel());
        let (asked, may_go) = (Mutex::new(asked), Mutex::new(may_go));
        let modules = Modules::default();
        modules.finder(move |name| {
            asked.lock().unwrap().send(name.to_owned()).expect("the test waits");
            may_go.lock().unwrap().recv().expect("the test says so");
            None
        });
        let helper = serving(modules, None, Box::new(|_| {}));
        let (greedy, modest, third, ended) = (peer(), peer(), peer(), peer());
        let import = |peer: &Arc<Peer>, name: &str| {
            helper.import(peer, pickle::encode(&Value::Text(name.into())).unwrap()).unwrap();
        };
        import(&greedy, "g0");
        assert_eq!(is_asked.recv_timeout(LONG).unwrap(), "g0");
        import(&ended, "e1");
        for (peer, names) in
            [(&greedy, &["g1", "g2", "g3"][..]), (&modest, &["m1", "m2"]), (&third, &["t1"])]
        {
            names.iter().for_each(|name| import(peer, name));
        }
        ended.end(End::Shutdown);
        for expected in ["g1", "m1", "t1", "g2", "m2", "g3"] {
            go.send(()).unwrap();
            assert_eq!(is_asked.recv_timeout(LONG).unwrap(), expected);
        }
        go.send(()).unwrap();
        helper.stop(LONG);
        assert!(is_asked.try_recv().is_err());
    }

    #[test]
    fn modules_and_the_log_do_not_wait_for_a_person() {
        let (prompter, is_asked, go) = patient();
        let ((found, is_found), (shown, is_shown)) = (channel(), channel());
        let found = Mutex::new(found);
        let modules = Modules::default();
        modules.finder(move |name| {
            found.lock().unwrap().send(name.to_owned()).expect("the test waits");
            None
        });
        let sink = move |record: &LogRecord| shown.send(record.message.clone()).expect("it waits");
        let helper = serving(modules, Some(prompter), Box::new(sink));
        let (tell, told) = channel();
        helper.prompt(&peer(), prompt("x"), move |answer| {
            tell.send(answer.is_some()).expect("the test waits");
        });
        is_asked.recv_timeout(LONG).unwrap();
        helper.import(&peer(), pickle::encode(&Value::Text("m".into())).unwrap()).unwrap();
        helper.log(&peer(), Entry::Own(Level::Info, "line".into()));
        assert_eq!(is_found.recv_timeout(LONG).unwrap(), "m");
        assert_eq!(is_shown.recv_timeout(LONG).unwrap(), "line");
        go.send(()).unwrap();
        assert!(told.recv_timeout(LONG).unwrap());
        helper.stop(LONG);
    }

    #[test]
    fn nobody_is_asked_where_there_is_no_handler() {
        let helper = serving(Modules::default(), None, Box::new(|_| {}));
        let (tell, told) = channel();
        helper.prompt(&peer(), prompt("x"), move |answer| {
            tell.send(answer.is_none()).expect("the test waits");
        });
        assert!(told.try_recv().unwrap());
    }
}
