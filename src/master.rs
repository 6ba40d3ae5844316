//! The program's own place in the tree: the contexts, how they start and how they are lost.

mod arrivals;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use crate::asker::Prompter;
use crate::bootstrap;
use crate::branch::Branch;
use crate::broker;
use crate::call::Answer;
use crate::channel::{ChannelTarget, Credit, Tx};
use crate::connect::{Carrier, Plan};
use crate::end::End;
use crate::helper::{Entry, Helper, Sink};
use crate::link::{Link, Parts};
use crate::log::Level;
use crate::mac::Key;
use crate::modules::Modules;
use crate::peer::Peer;
use crate::pickle;
use crate::router::Settings;
use crate::routes::{ADD_ROUTE, CALL_FUNCTION, DEL_ROUTE, Gone, MASTER, Routes};
use crate::start::Start;
use crate::stream::{Outgoing, Patience};
use crate::tree::{Node, Tree};
use crate::wire::{Decoder, Sealer};
use crate::{ConnectError, RouterId, Value, sys};

/// Beyond it a child's poll(2), which takes milliseconds, would be out of range.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 3600);

/// What a child is told of the grace period: it is to have ended all below it before it is ended itself. A
/// context says the same to its own children, in `parent.py`.
fn childs_grace(grace: Duration) -> Duration {
    let grace = grace.min(LONGEST_GRACE);
    grace.saturating_sub(Duration::from_millis(100)).max(grace / 2)
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
    pub(crate) down: AtomicBool,
}

impl Master {
    /// Everything but the broker's thread, which gets what is given back beside it.
    pub(crate) fn new(
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
        let crate::router::RouterBuilder { settings, sink, prompter } =
            crate::router::Router::builder();
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
    pub(crate) fn start(&self, mut plan: Plan) -> Arc<Peer> {
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
            usize::try_from(settings.channel_window_bytes).unwrap_or(usize::MAX),
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

    pub(crate) fn tree(&self) -> Tree {
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

/// The contexts below one, in the order of their ids. No tree is deep: see `routes`.
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
    use crate::{Context, Exec, FromValue, Local, Method, Router};
    use std::os::fd::AsFd;
    use std::time::Instant;

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
    fn a_start_waits_while_what_was_queued_before_it_leaves_the_stream() {
        let master = Master::detached();
        let id = master.routes().add_child().unwrap();
        let (ours, theirs) = sys::socketpair().unwrap();
        sys::set_nonblocking(ours.as_fd()).unwrap();
        let sealer = Sealer::new(&Key::random().unwrap().derive(b"down"), 0);
        let out = Outgoing::new(Arc::new(ours), sealer, 1 << 20, 1 << 20, false);
        let parent = Peer::new(id, "parent".into(), out, master.broker.clone()).announced();
        parent.handed_over("parent"); // It is up.
        let parent = master.add_below(parent);
        parent.send(CALL_FUNCTION, 0, vec![7; 8 << 20], Patience::None).unwrap();
        let plan = Local::new().connect_timeout(Duration::from_secs(1)).plan();
        let child = master.start_below(&parent, plan);
        let branch = master.starting.lock().unwrap()[0].clone();
        let look = |seconds| branch.look(&master, Instant::now() + Duration::from_secs(seconds));
        assert!(look(0).is_some());
        for _ in 0..3 {
            sys::read(theirs.as_fd(), &mut [0; 1 << 16]).unwrap();
            parent.out.flush().unwrap();
            assert!(look(100).is_some() && child.ended().is_none());
        }
        assert!(look(100).is_none());
        let end = child.ended().unwrap().error(&child, "x").to_string();
        let why = "parent has not told within 11s what came of it: it hangs, or is cut off";
        assert_eq!(end, format!("parent > local: starting the process: {why}"));
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
