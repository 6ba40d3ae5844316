//! The program's own place in the tree: what owns the broker, and where frames become answers.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::asker::Prompter;
use crate::bootstrap;
use crate::branch::Branch;
use crate::broker::{self, Events};
use crate::call::Answer;
use crate::channel::{ChannelTarget, Credit, Tx};
use crate::connect::{Carrier, Method, Plan};
use crate::end::End;
use crate::helper::{Entry, Helper, Sink};
use crate::link::{Link, Parts};
use crate::log::{self, Level, LogRecord};
use crate::mac::Key;
use crate::mailbox::Item;
use crate::modules::Modules;
use crate::peer::{Peer, RemoteInfo};
use crate::pickle;
use crate::router::{
    ADD_ROUTE, ALLOCATE_ID, CALL_FUNCTION, DEL_ROUTE, FIRST_REPLY_HANDLE, FORWARD_LOG, GET_MODULE,
    Gone, MASTER, PING, Routes, Verdict,
};
use crate::start::Start;
use crate::stream::{Outgoing, Patience};
use crate::text::escape;
use crate::tree::{Node, Tree};
use crate::wire::{self, Decoder, Frame, Header, Sealer};
use crate::{ConnectError, Context, Error, Prompt, Receiver, Result, RouterId, Sender, Value, sys};

/// The start of everything: owns the broker thread, connects contexts, serves modules.
///
/// Clones are the same router. When the last one is dropped, or at [`shutdown`](Router::shutdown),
/// every context is shut down; a [`Context`] does not keep its router alive.
#[derive(Clone)]
pub struct Router {
    owner: Arc<Owner>,
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

struct Owner {
    master: Arc<Master>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// How a [`Router`] is to behave; made by [`Router::builder`].
pub struct RouterBuilder {
    settings: Settings,
    sink: Sink,
    prompter: Option<Prompter>,
}

impl fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    log_level: Level,
    pub(crate) max_message_bytes: usize,
    pub(crate) channel_window_bytes: u64,
    protect_bytes: u32,
    unidirectional: bool,
    pub(crate) grace: Duration,
    connect_timeout: Duration,
}

/// How many bytes of a message are signed by default: every ordinary one whole.
const PROTECT_BYTES: u32 = 64 << 10;

/// Beyond it a child's poll(2), which takes milliseconds, would be out of range.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);

/// What a child is told of the grace period: it is to have ended all below it before it is ended itself. A
/// context says the same to its own children, in `parent.py`.
fn childs_grace(grace: Duration) -> Duration {
    let grace = grace.min(LONGEST_GRACE);
    grace.saturating_sub(Duration::from_millis(100)).max(grace / 2)
}

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
    /// other contexts go on, and the handler may call them. An answer that comes after the shutdown is dropped; the
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
        &self.owner.master.modules
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

/// What `ps` shows of a child: who started it, and from where.
fn process_name() -> String {
    let (user, host) = (sys::user_name(), sys::host_name());
    format!("econtext:{user}@{host}:{}", std::process::id())
}

/// What a handle of the program leads to.
#[derive(Clone)]
pub(crate) enum Target {
    /// Who a child says that it is, in its first frame.
    Hello,
    /// The same of a context that was started by another, when asked.
    Announced(u32),
    /// What a context reports of a child that it starts.
    Branch(Arc<Branch>),
    Answer(Arc<Answer>),
    Channel(ChannelTarget),
    Credit(Arc<Credit>),
}

/// The state that handles, broker and helper share.
pub(crate) struct Master {
    pub(crate) settings: Settings,
    pub(crate) limits: pickle::Limits,
    pub(crate) broker: Arc<broker::Handle>,
    routes: Mutex<Routes<Target>>,
    peers: Mutex<HashMap<u32, Arc<Peer>>>,
    /// Senders whose receiver is in a child, so that one receiver has one of them here.
    senders: Mutex<HashMap<(u32, u32), Weak<Tx>>>,
    /// Starts by contexts, until they are up or over.
    starting: Mutex<Vec<Arc<Branch>>>,
    pub(crate) helper: Arc<Helper>,
    modules: Modules,
    /// Children will be told of changed modules.
    renewing: AtomicBool,
    down: AtomicBool,
}

impl Master {
    /// Everything but the broker's thread, which gets what is given back beside it.
    fn new(
        settings: Settings,
        sink: Sink,
        prompter: Option<Prompter>,
    ) -> io::Result<(Arc<Master>, broker::Waker)> {
        let (broker, waker) = broker::Handle::new()?;
        let modules = Modules::default();
        let limits = pickle::Limits::for_messages_of(settings.max_message_bytes);
        let limits = pickle::Limits { router: Some(RouterId::new()), ..limits };
        let itself = Outgoing::ended(End::because("it is the program itself"));
        let itself = Arc::new(Peer::new(MASTER, "master".into(), itself, broker.clone()));
        itself.end(End::because("it is the program itself"));
        itself.gone(); // There is no process of it to wait for.
        let (level, unidirectional) = (settings.log_level, settings.unidirectional);
        let master = Master {
            settings,
            limits,
            broker,
            routes: Mutex::new(Routes::new(unidirectional)),
            peers: Mutex::new(HashMap::from([(MASTER, itself)])),
            senders: Mutex::default(),
            starting: Mutex::default(),
            helper: Arc::new(Helper::new(modules.clone(), sink, prompter, level, limits)),
            modules,
            renewing: AtomicBool::new(false),
            down: AtomicBool::new(false),
        };
        let master = Arc::new(master);
        let itself = Arc::downgrade(&master);
        master.modules.watch(move || {
            if let Some(master) = itself.upgrade() {
                master.modules_changed();
            }
        });
        Ok((master, waker))
    }

    /// One that nothing will ever arrive at, for tests of pure conversions.
    #[cfg(test)]
    pub(crate) fn detached() -> Arc<Master> {
        let RouterBuilder { settings, sink, prompter } = Router::builder();
        Master::new(settings, sink, prompter).expect("there are descriptors left").0
    }

    pub(crate) fn routes(&self) -> MutexGuard<'_, Routes<Target>> {
        self.routes.lock().expect("held for a look-up only")
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    pub(crate) fn peer(&self, id: u32) -> Option<Arc<Peer>> {
        self.peers.lock().expect("held for a look-up only").get(&id).cloned()
    }

    pub(crate) fn senders(&self) -> MutexGuard<'_, HashMap<(u32, u32), Weak<Tx>>> {
        self.senders.lock().expect("held for a look-up only")
    }

    /// A context that this program does not know, or no longer: whatever is sent to it is refused.
    pub(crate) fn unknown_peer(&self, id: u32, name: String) -> Arc<Peer> {
        self.ended_peer(id, name, End::because(format!("no route to context {id}")))
    }

    fn ended_peer(&self, id: u32, name: String, end: End) -> Arc<Peer> {
        let out = Outgoing::ended(end.clone());
        ended(Peer::new(id, name, out, self.broker.clone()), end)
    }

    /// Sends a value to a handle somewhere in the tree. What cannot be delivered is dropped: the
    /// context's end has been told to whoever waits.
    pub(crate) fn post(&self, context: u32, handle: u32, value: &Value) {
        if let (Some(peer), Ok(data)) = (self.peer(context), pickle::encode(value)) {
            let _ = peer.send(handle, 0, data, Patience::None);
        }
    }

    /// Starts a child. Its failures are the peer's end.
    fn start(&self, mut plan: Plan) -> Arc<Peer> {
        let name = plan.name.clone();
        let registered = {
            let mut routes = self.routes();
            routes.add_child().map(|id| (id, routes.add_reply(id, Target::Hello)))
        };
        let (id, hello_handle) = match registered {
            Ok(registered) => registered,
            Err(error) => {
                let end = not_started(&name, error.to_string());
                return self.ended_peer(NO_ID, name, end);
            }
        };
        plan.answers.ask = self.helper.can_ask();
        self.try_start(id, hello_handle, plan).unwrap_or_else(|end| {
            self.peers.lock().expect("held for a look-up only").remove(&id);
            self.routes().remove(id);
            self.ended_peer(id, name, end)
        })
    }

    fn try_start(
        &self,
        id: u32,
        hello_handle: u32,
        plan: Plan,
    ) -> std::result::Result<Arc<Peer>, End> {
        if self.is_down() {
            return Err(End::Shutdown);
        }
        let name = plan.name.clone();
        let fail = |reason| not_started(&name, reason);
        let key = Key::random().map_err(|error| fail(format!("making its key: {error}")))?;
        let settings = &self.settings;
        let timeout = plan.connect_timeout.unwrap_or(settings.connect_timeout);
        let start = Start::new(plan, process_name(), timeout);
        let launch = start.launch();
        let Carrier { process, stream, stderr, terminal } = start.spawn(&launch).map_err(fail)?;

        let socket = Arc::new(stream);
        let protect = settings.protect_bytes as usize;
        let sealer = Sealer::new(&key.derive(b"down"), protect);
        let max_message_bytes = settings.max_message_bytes;
        let out = Outgoing::new(
            socket.clone(),
            sealer,
            max_message_bytes,
            start.plan().may_need_another(),
        );
        if start.waits() {
            out.hold();
        }
        let name = start.plan().full_name(process.pid);
        let peer = Peer::new(id, name, out, self.broker.clone()).started_by(&start.plan().method);
        let peer = Arc::new(peer);
        self.peers.lock().expect("held for a look-up only").insert(id, peer.clone());

        let mut flight = launch.flight;
        flight.extend(bootstrap::configuration(&bootstrap::Config {
            context_id: id,
            parent_ids: &[MASTER],
            key: key.bytes(),
            name: peer.name(),
            log_level: settings.log_level.number(),
            max_message_bytes: u32::try_from(settings.max_message_bytes).unwrap_or(u32::MAX),
            protect_bytes: settings.protect_bytes,
            window_bytes: u32::try_from(settings.channel_window_bytes).unwrap_or(u32::MAX),
            grace_ms: childs_grace(settings.grace).as_millis() as u32,
            hello_handle,
            unidirectional: settings.unidirectional,
            has_main: self.modules.has_main(),
            always: &self.modules.taken_always(),
        }));
        peer.send_preamble(flight);
        let decoder = Decoder::new(&key.derive(b"up"), protect, max_message_bytes);
        let parts = Parts { peer: peer.clone(), process, socket, stderr, terminal, decoder };
        self.broker.add(Link::new(parts, start, settings.grace))?;
        Ok(peer)
    }

    /// Starts a child of a context. Its failures are the peer's end.
    pub(crate) fn start_below(self: &Arc<Self>, parent: &Arc<Peer>, mut plan: Plan) -> Arc<Peer> {
        plan.answers.ask = self.helper.can_ask();
        let name = plan.name.clone();
        let placed = {
            let mut routes = self.routes();
            let id = routes.add_below(parent.id());
            id.map(|id| {
                let peer = Peer::below(parent, id?, name.clone()).started_by(&plan.method);
                Some((routes.path(peer.id()), self.add_below(peer)))
            })
        };
        let never = || Peer::below(parent, NO_ID, name);
        let (path, peer) = match placed {
            Ok(Some(placed)) => placed,
            Ok(None) => {
                let end = parent.ended().unwrap_or_else(|| End::lost(parent, "it is gone"));
                let peer = never();
                let end = end.of_parent(parent, &peer);
                return ended(peer, end);
            }
            Err(error) => {
                let peer = never();
                let error = ConnectError::at_spawn(peer.name(), error.to_string());
                let end = End::Failed(Arc::new(ConnectError { via: parent.way(), ..error }));
                return ended(peer, end);
            }
        };
        let id = peer.id();
        let timeout = plan.connect_timeout.unwrap_or(self.settings.connect_timeout);
        let start = Start::new(plan, process_name(), timeout);
        let branch = Arc::new(Branch::new(self, parent, &peer, start));
        let handle = self.routes().add_receiver(
            Some(parent.id()),
            Target::Branch(branch.clone()),
            crate::channel::random,
        );
        peer.reports_to(handle);
        for module in crate::branch::MODULES {
            self.push(parent, module);
        }
        // Those on the way hear of it before anything of it comes by.
        for above in path.iter().filter(|above| **above != id) {
            self.post(*above, ADD_ROUTE, &route(id, parent.id()));
        }
        branch.begin(self);
        self.starting.lock().expect("held for a look-up only").push(branch);
        self.broker.look();
        // It may have ended before it could be told that this one is below it.
        let end = match parent.ended() {
            Some(end) => Some(end.of_parent(parent, &peer)),
            None => self.is_down().then_some(End::Shutdown),
        };
        if let Some(end) = end {
            self.lost(&peer, &end);
        }
        peer
    }

    /// Under the lock of the routes, so that who loses the parent at this time finds this one, too.
    fn add_below(&self, peer: Peer) -> Arc<Peer> {
        let peer = Arc::new(peer);
        self.peers.lock().expect("held for a look-up only").insert(peer.id(), peer.clone());
        peer
    }

    /// A context has gone, and all below it.
    pub(crate) fn lost(&self, peer: &Arc<Peer>, end: &End) {
        let end_of = |other: &Peer| match other.id() == peer.id() {
            true => end.clone(),
            false => end.of_parent(peer, other),
        };
        // First of all: who registers for an answer when those that wait have been looked up is refused, then,
        // and so is who starts another context below.
        peer.end(end.clone());
        let ids = self.routes().subtree(peer.id());
        ids.into_iter().filter_map(|id| self.peer(id)).for_each(|it| it.end(end_of(&it)));
        let Gone { ids, targets, news } = self.routes().remove(peer.id());
        let gone: HashMap<u32, Arc<Peer>> = {
            let mut peers = self.peers.lock().expect("held for a look-up only");
            peers.remove(&peer.id());
            let below = ids.iter().filter_map(|id| Some((*id, peers.remove(id)?)));
            below.chain([(peer.id(), peer.clone())]).collect()
        };
        // Taken out before: what is told may look something up.
        for other in gone.values() {
            other.end(end_of(other));
            if let Some(handle) = other.reports() {
                self.routes().remove_handle(handle);
            }
        }
        for (id, target) in targets {
            target.end(&gone.get(&id).map_or_else(|| end.clone(), |other| end_of(other)));
        }
        for (child, id) in news {
            self.post(child, DEL_ROUTE, &route(id, MASTER));
        }
        // A direct child's process may be there still: the broker says when it has gone.
        gone.values().filter(|it| it.parent().is_some()).for_each(|it| it.gone());
    }

    /// Why a context ends that was asked to, if it was.
    pub(crate) fn leaving(&self, peer: &Peer) -> Option<End> {
        if self.is_down() {
            return Some(End::Shutdown);
        }
        let asked = peer.leaving()?;
        let end = End::shut_down(asked);
        Some(if asked.id() == peer.id() { end } else { end.of_parent(asked, peer) })
    }

    /// A context that another has started without our doing.
    fn announced(
        &self,
        child: &Arc<Peer>,
        target: u32,
        via: u32,
    ) -> std::result::Result<(), String> {
        let (handle, peer) = {
            let mut routes = self.routes();
            routes.announce(child.id(), target, via)?;
            let Some(parent) = self.peer(via) else {
                routes.remove(target); // It is being lost, and this with it.
                return Ok(());
            };
            let handle = routes.add_reply(target, Target::Announced(target));
            let peer = Peer::below(&parent, target, format!("context {target}")).announced();
            (handle, self.add_below(peer))
        };
        // Its parent may have been lost in between, by a thread that did not find it.
        if let Some(end) = peer.parent().and_then(|parent| parent.ended()) {
            self.lost(&peer, &end);
        }
        let text = |text: &str| Value::Text(text.into());
        let call = [text("econtext.core"), Value::None, text("hello"), Value::Tuple(Vec::new())];
        let call = call.into_iter().chain([Value::Dict(Vec::new())]).collect();
        if let Ok(data) = pickle::encode(&Value::Tuple(call)) {
            // Its end will be told in its own way.
            let _ = peer.send(CALL_FUNCTION, handle, data, Patience::None);
        }
        Ok(())
    }

    /// A child says that a context below it has gone.
    fn withdrawn(&self, child: &Arc<Peer>, target: u32) -> std::result::Result<(), String> {
        if self.routes().may_withdraw(child.id(), target)? {
            if let Some(peer) = self.peer(target) {
                let end = self.leaving(&peer);
                let unasked = || End::lost(&peer, "its parent lost it");
                self.lost(&peer, &end.unwrap_or_else(unasked));
            }
        }
        Ok(())
    }

    pub(crate) fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Sends what a call of a function in `module` needs and the child has not got yet.
    pub(crate) fn push(&self, peer: &Arc<Peer>, module: &str) {
        // A context below has it from its parent's cache, which has it from the direct child's.
        let child = peer.parent().map(|_| self.peer(peer.stream()));
        let Some(peer) = child.as_ref().map_or(Some(peer), Option::as_ref) else { return };
        let say = |level, note| self.own(peer, level, note);
        peer.push(&self.modules, module, self.limits.message, &say);
    }

    /// Has the children told that other modules are served now: once for all changes up to then. The helper
    /// thread does it, since the change may have been made where modules are being sent.
    fn modules_changed(self: &Arc<Self>) {
        let master = Arc::downgrade(self);
        if !self.children().is_empty() && !self.renewing.swap(true, Ordering::AcqRel) {
            self.helper.run(move || {
                let Some(master) = master.upgrade() else { return };
                master.renewing.store(false, Ordering::Release);
                for peer in master.children() {
                    let limit = master.limits.message;
                    peer.ship(&master.modules, limit, &|_, _| {}, |shipment| shipment.renew());
                }
            });
        }
    }

    fn tree(&self) -> Tree {
        let mut peers: Vec<_> = {
            let peers = self.peers.lock().expect("held for a look-up only");
            peers.values().filter(|peer| peer.id() != MASTER).cloned().collect()
        };
        peers.sort_by_key(|peer| peer.id());
        let mut below: HashMap<u32, Vec<Arc<Peer>>> = HashMap::new();
        for peer in peers {
            let parent = peer.parent().map_or(MASTER, |parent| parent.id());
            below.entry(parent).or_default().push(peer);
        }
        let children = nodes(&mut below, MASTER);
        Tree { children }
    }

    fn children(&self) -> Vec<Arc<Peer>> {
        let peers = self.peers.lock().expect("held for a look-up only");
        let is_child = |peer: &&Arc<Peer>| peer.id() != MASTER && peer.parent().is_none();
        peers.values().filter(is_child).cloned().collect()
    }

    /// Says something of the library's own in the log.
    pub(crate) fn own(&self, peer: &Arc<Peer>, level: Level, message: String) {
        if level >= self.settings.log_level {
            self.helper.log(peer, Entry::Own(level, message));
        }
    }
}

impl Events for Master {
    fn frame(&self, peer: &Arc<Peer>, frame: Frame) -> std::result::Result<(), String> {
        let Frame { header, data } = frame;
        let verdict = self.routes().arrive(peer.id(), &header);
        if !matches!(verdict, Verdict::Drop(_)) {
            let below = Some(header.src).filter(|src| *src != peer.id());
            let source = below.and_then(|src| self.peer(src));
            source.as_ref().unwrap_or(peer).count(|it| &it.received, data.len());
        }
        if !peer.is_up() && !matches!(verdict, Verdict::Deliver(Target::Hello)) {
            return Err("the first frame does not say who the child is".into());
        }
        match verdict {
            Verdict::Deliver(target) => self.deliver(peer, target, &header, data)?,
            Verdict::Service(service) => self.serve(peer, service, &header, data)?,
            Verdict::Forward(child) => self.forward(peer, child, &header, data),
            Verdict::Refuse(reason) => self.refuse(peer, &header, reason),
            Verdict::Drop(reason) => self.own(peer, Level::Warning, reason),
        }
        Ok(())
    }

    fn printed(&self, peer: &Arc<Peer>, bytes: &[u8]) {
        self.helper.log(peer, Entry::Printed(bytes.to_vec()));
    }

    fn asked(&self, peer: &Arc<Peer>, attempt: u32, prompt: Prompt) {
        let (broker, id) = (self.broker.clone(), peer.id());
        self.helper.prompt(peer, prompt, move |answer| broker.answer(id, attempt, answer));
    }

    fn wants_target(&self, peer: &Arc<Peer>, attempt: u32, plan: Plan) {
        let (broker, id) = (self.broker.clone(), peer.id());
        self.helper.run_for(peer, move || broker.target(id, attempt, plan.find_target()));
    }

    fn note(&self, peer: &Arc<Peer>, level: Level, note: String) {
        self.own(peer, level, note);
    }

    fn shown(&self) -> u64 {
        self.helper.shown()
    }

    fn look(&self, now: Instant) -> Option<Instant> {
        let starting = {
            let mut starting = self.starting.lock().expect("held for a look-up only");
            starting.retain(|branch| branch.is_starting());
            starting.clone()
        };
        starting.iter().filter_map(|branch| branch.look(self, now)).min()
    }

    fn ended(&self, peer: &Arc<Peer>, end: End) {
        self.lost(peer, &end);
    }

    fn stopped(&self) {
        self.down.store(true, Ordering::Release);
        let peers: Vec<_> = {
            let mut peers = self.peers.lock().expect("held for a look-up only");
            peers.drain().map(|(_, peer)| peer).collect()
        };
        for peer in peers {
            peer.end(End::Shutdown);
            peer.gone();
        }
        self.starting.lock().expect("held for a look-up only").clear();
        let waiting = self.routes().remove_all();
        for target in waiting {
            target.end(&End::Shutdown);
        }
    }
}

impl Master {
    fn serve(
        &self,
        peer: &Arc<Peer>,
        service: u32,
        header: &Header,
        data: Vec<u8>,
    ) -> std::result::Result<(), String> {
        let answer = |value: &Value| match header.reply_to {
            0 => {}
            reply_to => self.post(header.src, reply_to, value),
        };
        let told = match service {
            GET_MODULE => return self.helper.import(peer, data),
            FORWARD_LOG => {
                let source = self.peer(header.src).unwrap_or_else(|| peer.clone());
                self.helper.log(&source, Entry::Forwarded(data));
                Ok(())
            }
            PING => {
                answer(&Value::None);
                Ok(())
            }
            ALLOCATE_ID => {
                let block = self.routes().allocate(peer.id());
                block.map(|block| {
                    let ends = [block.start, block.end].map(|id| Value::Int(id.into()));
                    answer(&Value::Tuple(ends.to_vec()));
                })
            }
            ADD_ROUTE => {
                self.pair(peer, &data).and_then(|(target, via)| self.announced(peer, target, via))
            }
            DEL_ROUTE => {
                self.pair(peer, &data).and_then(|(target, _)| self.withdrawn(peer, target))
            }
            other => unreachable!("the router has no service {other}"),
        };
        if let Err(reason) = told {
            answer(&Value::Dead(Some(reason.clone())));
            self.own(peer, Level::Warning, reason);
        }
        Ok(())
    }

    /// What a context says of itself, and its name.
    pub(crate) fn hello(&self, data: &[u8]) -> std::result::Result<(RemoteInfo, String), String> {
        if data.len() > HELLO_BYTES {
            return Err(format!("its first frame has {} bytes", data.len()));
        }
        let hello = pickle::decode(data, &self.limits)
            .map_err(|error| format!("its first frame cannot be read: {error}"))?;
        let unclear = || "its first frame does not say who the child is".into();
        RemoteInfo::from_hello(hello).ok_or_else(unclear)
    }

    /// The two ids of a message about a route.
    fn pair(&self, peer: &Arc<Peer>, data: &[u8]) -> std::result::Result<(u32, u32), String> {
        let unclear = || {
            let what = "dropped a message about a route that cannot be read";
            format!("{what}, that context {} announced", peer.id())
        };
        let value = pickle::decode(data, &self.limits).map_err(|_| unclear())?;
        let Value::Tuple(ids) = value else { return Err(unclear()) };
        match ids[..] {
            [Value::Int(target), Value::Int(via)] => {
                let ids = u32::try_from(target).ok().zip(u32::try_from(via).ok());
                ids.ok_or_else(unclear)
            }
            _ => Err(unclear()),
        }
    }

    /// Passes a frame on to another child, unread.
    fn forward(&self, peer: &Arc<Peer>, child: u32, header: &Header, data: Vec<u8>) {
        let Some(to) = self.peer(child) else {
            let reason = format!("context 0 has no route to context {}", header.dst);
            return self.refuse(peer, header, reason);
        };
        let bytes = data.len();
        // The end of whom it is for is told to whoever has dealt with it.
        if to.pass_on(header, data) {
            self.peer(header.dst).unwrap_or(to).count(|it| &it.sent, bytes);
        } else {
            let reason = format!("context {} does not read what it is sent", header.dst);
            self.refuse_at(peer, header, reason, Level::Warning);
        }
    }

    fn refuse(&self, peer: &Arc<Peer>, header: &Header, reason: String) {
        // To who has gone there are late grants.
        let is_late = header.handle >= FIRST_REPLY_HANDLE && header.reply_to == 0;
        let level = if is_late { Level::Debug } else { Level::Warning };
        self.refuse_at(peer, header, reason, level);
    }

    fn refuse_at(&self, peer: &Arc<Peer>, header: &Header, reason: String, level: Level) {
        if header.reply_to != 0 {
            self.post(header.src, header.reply_to, &Value::Dead(Some(reason.clone())));
        }
        self.own(peer, level, reason);
    }

    /// The process that carries a context's stream printed this.
    pub(crate) fn printed_by(&self, peer: &Arc<Peer>, bytes: &[u8]) {
        self.helper.log(peer, Entry::Printed(bytes.to_vec()));
    }

    fn deliver(
        &self,
        peer: &Arc<Peer>,
        target: Target,
        header: &Header,
        data: Vec<u8>,
    ) -> std::result::Result<(), String> {
        let cost = wire::cost(data.len()) as u64;
        let item = Item { data, from: header.src, control: header.reply_to, cost };
        match target {
            Target::Hello => peer.up(self.hello(&item.data)?.0),
            // One that was started by a context, which has looked at the first frame.
            Target::Announced(id) => match (self.peer(id), self.hello(&item.data)) {
                (Some(below), Ok((info, name))) => {
                    below.set_name(escape(&name));
                    below.up(info);
                }
                (Some(below), Err(reason)) => self.lost(&below, &End::lost(&below, reason)),
                (None, _) => {}
            },
            Target::Branch(branch) => {
                let report = pickle::decode(&item.data, &self.limits);
                let unclear = |error| format!("a report of a start cannot be read: {error}");
                let report = report.unwrap_or_else(|error| Value::Dead(Some(unclear(error))));
                branch.arrived(report, item.control);
            }
            Target::Answer(answer) => answer.arrived(item, |peer| self.leaving(peer)),
            Target::Channel(channel) => match channel.arrived(item) {
                // The stream is that of others, too.
                Err(reason) if header.src != peer.id() => {
                    let reason = format!("dropped a message of context {}: {reason}", header.src);
                    self.refuse(peer, header, reason);
                }
                result => result?,
            },
            Target::Credit(credit) => credit.arrived(pickle::decode(&item.data, &self.limits)),
        }
        Ok(())
    }
}

/// Of a context that never came to be.
const NO_ID: u32 = u32::MAX;

/// One that has ended before anything was sent to it.
fn ended(peer: Peer, end: End) -> Arc<Peer> {
    peer.end(end);
    peer.gone();
    Arc::new(peer)
}

/// The end of a child of which no process could be started.
fn not_started(name: &str, reason: String) -> End {
    End::Failed(Arc::new(ConnectError::at_spawn(name, reason)))
}

/// The first frame of a child has names and paths; more is an attempt to fill the program's memory.
const HELLO_BYTES: usize = 64 << 10;

/// The contexts below one, in the order of their ids. No tree is deep: see `router`.
fn nodes(below: &mut HashMap<u32, Vec<Arc<Peer>>>, parent: u32) -> Vec<Node> {
    let children = below.remove(&parent).unwrap_or_default();
    children.into_iter().map(|peer| peer.node(nodes(below, peer.id()))).collect()
}

/// A message about a route.
fn route(target: u32, via: u32) -> Value {
    Value::Tuple([target, via].map(|id| Value::Int(id.into())).to_vec())
}

impl Target {
    fn end(self, end: &End) {
        match self {
            // Those that it starts end with it.
            Target::Hello | Target::Announced(_) | Target::Branch(_) => {}
            Target::Answer(answer) => answer.end(end),
            Target::Channel(channel) => channel.end(end),
            Target::Credit(credit) => credit.end(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exec, FromValue, Local};

    #[test]
    fn a_start_without_an_id_fails_with_words_and_leaves_nothing() {
        let router = Router::new().unwrap();
        let parent = router.start(Exec::new(["sh", "-c", "cat >/dev/null"]).name("parent"));
        router.owner.master.routes().use_up_ids();
        let reason = "starting the process: no ids are left for contexts: \
                      this Router has used all 2^32; a new one starts again";
        for (start, via) in
            [(router.start(Local::new()), ""), (parent.start(Local::new()), "parent > ")]
        {
            let error = start.info().unwrap_err().to_string();
            assert_eq!(error, format!("{via}local: {reason}"));
        }
        assert_eq!(router.tree().to_string().lines().count(), 2);
        router.shutdown().unwrap();
    }

    #[test]
    fn a_context_that_code_has_started_is_up_and_has_its_name_once_it_is_handed_over() {
        let master = Master::detached();
        let (id, block) = {
            let mut routes = master.routes();
            let id = routes.add_child().unwrap();
            (id, routes.allocate(id).unwrap())
        };
        let out = Outgoing::ended(End::Shutdown);
        let child = master.add_below(Peer::new(id, "ours".into(), out, master.broker.clone()));
        master.announced(&child, block.start, id).unwrap();
        let handle = |id| Context::with_id(&master, id, None);
        let shown = |context: &Context| (context.name().to_owned(), context.is_connected());
        assert_eq!(shown(&handle(block.start)), (format!("context {}", block.start), false));
        let say = |id, name: &str| {
            let value = Value::Context { id, name: name.into(), router: None };
            shown(&Context::from_value(value, &handle(id)).unwrap())
        };
        // What is too long to be kept is not, and what is a terminal's stays text.
        assert!(!say(block.start, &"x".repeat(1 << 20)).1);
        for name in ["local.7\x1b[m", "another"] {
            assert_eq!(say(block.start, name), ("local.7\\x1b[m".into(), true));
        }
        handle(block.start).wait_connected(Duration::ZERO).unwrap();
        let tree = master.tree().to_string();
        let expected = format!("local.7\\x1b[m (remote, id {}): connected", block.start);
        assert!(tree.contains(&expected), "{tree}");
        // Of one that the program starts nobody else says so.
        assert_eq!(say(id, "theirs"), ("ours".into(), false));
        // The last word is its own.
        handle(block.start).peer().set_name("local.8".into());
        assert_eq!(say(block.start, "another"), ("local.8".into(), true));
    }
}
