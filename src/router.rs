//! What a program begins with: the public face of [`Master`], and what it can be set to.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::asker::Prompter;
use crate::broker;
use crate::connect::Method;
use crate::helper::Sink;
use crate::log::{self, Level, LogRecord};
use crate::master::Master;
use crate::modules::Modules;
use crate::tree::Tree;
use crate::{Context, Error, Prompt, Receiver, Result, Sender, sys};

/// The start of everything: owns the broker thread, connects contexts, serves modules.
///
/// Clones are the same router. When the last one is dropped, or at [`shutdown`](Router::shutdown),
/// every context is shut down; a [`Context`] does not keep its router alive.
#[derive(Clone)]
pub struct Router {
    pub(crate) owner: Arc<Owner>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

pub(crate) struct Owner {
    pub(crate) master: Arc<Master>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a [`Router`] is to behave; made by [`Router::builder`].
pub struct RouterBuilder {
    pub(crate) settings: Settings,
    pub(crate) sink: Sink,
    pub(crate) prompter: Option<Prompter>,
}

impl fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) log_level: Level,
    pub(crate) max_message_bytes: usize,
    pub(crate) channel_window_bytes: u64,
    pub(crate) protect_bytes: u32,
    pub(crate) unidirectional: bool,
    pub(crate) grace: Duration,
    pub(crate) connect_timeout: Duration,
}

/// How many bytes of a message are signed by default: every ordinary one whole.
const PROTECT_BYTES: u32 = 64 << 10;

impl RouterBuilder {
    /// What children log: records below this level stay there. Default: [`Level::Info`], the level of
    /// what they print. With [`Level::Debug`] the library says which modules each child asks for.
    pub fn log_level(mut self, level: Level) -> Self {
        self.settings.log_level = level;
        self
    }

    /// Where log records go instead of to stderr. Runs on the helper thread, one record at a time; a
    /// sink that is too slow loses records beyond 1 MiB a context, which is said in a record.
    ///
    /// That thread serves modules, too: a sink that waits for a call waits for ever if the function is
    /// in a module that is not there yet.
    pub fn on_log(mut self, sink: impl FnMut(&LogRecord) + Send + 'static) -> Self {
        self.sink = Box::new(sink);
        self
    }

    /// Who answers what programs that carry a context ask on a terminal: passwords, passphrases, host keys,
    /// one-time codes; what an option of the method answers is not asked. Default: nobody, so that such a
    /// question ends the start with an error that quotes it.
    ///
    /// Names need not be unique: [`Prompt::via`] says by way of which contexts the one is that asks. What a person types is
    /// shown by a terminal as it is: for passwords, that is the handler's to turn off.
    ///
    /// `None` gives up: the start fails. So does a handler that panics. A wrong answer is asked for again,
    /// with the [`attempt`](Prompt::attempt) counted. An answer has at most 1,023 bytes and no line ends.
    /// The answer's memory is overwritten after its use.
    ///
    /// Runs on a thread of its own, which is there while there is something to ask: one question at a time, in the
    /// order in which they come. While it waits for a person, or its turn, no deadline of that start passes; all
    /// other contexts go on, and the handler may call them. It must not wait for a start that asks, too: the turn of
    /// that question comes only when the handler has returned. An answer that comes after the shutdown is dropped; the
    /// shutdown does not wait for it longer than [`shutdown_grace`](RouterBuilder::shutdown_grace).
    pub fn on_prompt(
        mut self,
        handler: impl FnMut(&Prompt) -> Option<String> + Send + 'static,
    ) -> Self {
        self.prompter = Some(Box::new(handler));
        self
    }

    /// The largest message, in bytes, in either direction. Default: 128 MiB. A larger one is refused
    /// where it is made; a child that announces one all the same is disconnected. At least 1 MiB, which
    /// holds every message of the library's own (log lines, exceptions).
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_message_bytes = bytes.clamp(1 << 20, u32::MAX as usize);
        self
    }

    /// How many bytes the sender of a channel may be ahead of its receiver. Default: 256 KiB.
    pub fn channel_window_bytes(mut self, bytes: usize) -> Self {
        self.settings.channel_window_bytes = bytes.clamp(1024, 1 << 30) as u64;
        self
    }

    /// How many bytes of each message are signed, in both directions. Default: 64 KiB, so that every
    /// ordinary message is signed whole; the bulk of larger ones rests on the integrity of the pipe or
    /// ssh stream that carries it.
    pub fn protect_bytes(mut self, bytes: usize) -> Self {
        self.settings.protect_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self
    }

    /// Children may talk to their ancestors and descendants only, not to each other. Default: false.
    pub fn unidirectional(mut self, yes: bool) -> Self {
        self.settings.unidirectional = yes;
        self
    }

    /// How long a child may take to shut down before it is ended. Default: 5 s.
    pub fn shutdown_grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// How long a start may take. Default: 30 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Starts the broker thread. Fails where the system has no more descriptors or threads.
    pub fn build(self) -> Result<Router> {
        let no_more = |error: io::Error| Error::Send {
            what: "starting the broker".into(),
            reason: sys::describe(&error),
        };
        let (master, waker) =
            Master::new(self.settings, self.sink, self.prompter).map_err(no_more)?;
        let handle = master.broker.clone();
        let events = master.clone();
        let thread = std::thread::Builder::new()
            .name("econtext-broker".into())
            .spawn(move || broker::run(&handle, waker, &*events))
            .map_err(no_more)?;
        Ok(Router { owner: Arc::new(Owner { master, thread: Mutex::new(Some(thread)) }) })
    }
}

impl Router {
    /// A router with the defaults of [`builder`](Router::builder).
    pub fn new() -> Result<Router> {
        Router::builder().build()
    }

    /// A router with settings.
    pub fn builder() -> RouterBuilder {
        RouterBuilder {
            settings: Settings {
                log_level: Level::Info,
                max_message_bytes: 128 << 20,
                channel_window_bytes: 256 << 10,
                protect_bytes: PROTECT_BYTES,
                unidirectional: false,
                grace: Duration::from_secs(5),
                connect_timeout: Duration::from_secs(30),
            },
            sink: Box::new(log::write_to_stderr),
            prompter: None,
        }
    }

    /// Starts a context and waits until it is up. Errs with [`Error::Connect`], which says how far the
    /// start came and what the remote side printed, or with [`Error::Shutdown`].
    pub fn connect(&self, method: impl Method) -> Result<Context> {
        let context = self.start(method);
        context.info()?;
        Ok(context)
    }

    /// Starts a context and returns at once. Calls and channel messages queue behind the start and leave
    /// together with it; a start that fails shows its error on each of them, also where no process could be
    /// started. Where a start needs a second attempt, they go with that again; only what a network that stood
    /// still for 10 s had delivered all the same may then run twice.
    pub fn start(&self, method: impl Method) -> Context {
        let master = &self.owner.master;
        Context::new(master.clone(), master.start(method.plan()))
    }

    /// A channel whose receiving end is here. The sender can be passed to a context in the arguments of
    /// a call. It ends when its last [`Sender`] is gone (those in the arguments of a call that is not
    /// answered yet count), or when either end closes it.
    pub fn channel<T>(&self) -> (Sender<T>, Receiver<T>) {
        crate::channel::channel(&self.owner.master)
    }

    /// The Python modules that contexts can import.
    pub fn modules(&self) -> &Modules {
        self.owner.master.modules()
    }

    /// The contexts as they are now: how they were started, how far they have come, what has passed.
    pub fn tree(&self) -> Tree {
        self.owner.master.tree()
    }

    /// Shuts down all contexts and ends the broker thread; waits until that is done, at most the grace
    /// period and a little more. What still waits gets [`Error::Shutdown`]. Doing it again does nothing.
    pub fn shutdown(&self) -> Result<()> {
        self.owner.shutdown();
        Ok(())
    }
}

impl Owner {
    fn shutdown(&self) {
        self.master.down.store(true, Ordering::Release);
        self.master.broker.stop();
        // Under the lock, so that a second caller waits as well.
        let mut thread = self.thread.lock().expect("a panic of the broker is not passed on");
        if let Some(thread) = thread.take() {
            // The broker's own panic has been printed; everybody was told by its `stopped`.
            let _ = thread.join();
        }
        drop(thread);
        self.master.helper.stop(self.master.settings.grace);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shutdown();
    }
}
