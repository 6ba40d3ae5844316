//! What the program knows of one context: its id and name, the stream that leads to it, how far it has come.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::backlog::Backlog;
use crate::broker;
use crate::channel::Tx;
use crate::end::End;
use crate::lead::Lead;
use crate::modules::{Modules, Shipment, Shipped, Target};
use crate::pickle;
use crate::routes::{LOAD_MODULE, MASTER, SHUTDOWN};
use crate::secret::Secret;
use crate::stream::{Outgoing, Patience, Refused, Sent};
use crate::tree::{self, Node, Traffic};
use crate::wire::Header;
use crate::{Level, Value};

/// What a name has in bytes, at most, that somebody else says: it is kept as long as the context.
const LONGEST_NAME: usize = 1000;

/// One context, shared by its handles and the broker.
pub(crate) struct Peer {
    id: u32,
    /// As far as it is known before it is up.
    name: String,
    full_name: OnceLock<String>,
    /// Of one that code in its parent has started: what it was called when it was handed to the program, which is
    /// not done before it is up. It has not said so itself yet: a name to show, nothing more.
    said: Option<OnceLock<String>>,
    /// How it was started.
    method: String,
    /// `None` for a direct child.
    parent: Option<Arc<Peer>>,
    /// The direct child whose stream leads here: itself, or the one above it.
    stream: u32,
    pub(crate) out: Arc<Outgoing>,
    /// Who reads the stream.
    pub(crate) lead: Arc<Lead>,
    broker: Arc<broker::Handle>,
    state: Mutex<State>,
    changed: Condvar,
    /// How many were sent.
    modules: AtomicU64,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    /// Its process, if there ever was one, has been reaped.
    gone: Mutex<bool>,
    left: Condvar,
    /// Where its parent reports of its start and its end, if we have that to do.
    reports: OnceLock<u32>,
    /// It was asked to shut down.
    leaving: AtomicBool,
    /// What of the logs that come by its stream waits for the helper thread.
    pub(crate) backlog: Arc<Backlog>,
    /// Senders that were passed in calls which nobody will answer.
    held: Mutex<Vec<Arc<Tx>>>,
    /// What has gone down its stream of modules. Whoever sends some holds it, so that others who need the
    /// same find them sent.
    shipped: Mutex<Shipped>,
}

#[derive(Debug)]
enum State {
    Starting,
    Up(Arc<RemoteInfo>),
    Ended(End),
}

impl Peer {
    /// A direct child, with a stream of its own.
    pub(crate) fn new(id: u32, name: String, out: Outgoing, broker: Arc<broker::Handle>) -> Peer {
        let (lead, backlog) = Default::default();
        Peer::with(id, name, None, id, (Arc::new(out), lead, backlog), broker)
    }

    /// A child of a context. `name` is what is known of its name.
    pub(crate) fn below(parent: &Arc<Peer>, id: u32, name: String) -> Peer {
        let Peer { out, lead, backlog, .. } = &**parent;
        let stream = (out.clone(), lead.clone(), backlog.clone());
        Peer::with(id, name, Some(parent.clone()), parent.stream, stream, parent.broker.clone())
    }

    fn with(
        id: u32,
        name: String,
        parent: Option<Arc<Peer>>,
        stream: u32,
        (out, lead, backlog): (Arc<Outgoing>, Arc<Lead>, Arc<Backlog>),
        broker: Arc<broker::Handle>,
    ) -> Peer {
        Peer {
            id,
            name,
            full_name: OnceLock::new(),
            said: None,
            method: String::new(),
            parent,
            stream,
            out,
            lead,
            broker,
            state: Mutex::new(State::Starting),
            changed: Condvar::new(),
            modules: AtomicU64::new(0),
            sent: Counter::default(),
            received: Counter::default(),
            gone: Mutex::new(false),
            left: Condvar::new(),
            reports: OnceLock::new(),
            leaving: AtomicBool::new(false),
            backlog,
            held: Mutex::default(),
            shipped: Mutex::default(),
        }
    }

    pub(crate) fn started_by(self, method: &str) -> Peer {
        Peer { method: method.into(), ..self }
    }

    /// It was started without the program's doing.
    pub(crate) fn announced(self) -> Peer {
        Peer { said: Some(OnceLock::new()), ..self.started_by("remote") }
    }

    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        let said = || self.said.as_ref().and_then(OnceLock::get);
        self.full_name.get().or_else(said).unwrap_or(&self.name)
    }

    /// Its whole name is known; only the first counts.
    pub(crate) fn set_name(&self, name: String) {
        let _ = self.full_name.set(name);
    }

    /// It came to the program as a value, with this name.
    pub(crate) fn handed_over(&self, name: &str) {
        if let Some(said) = self.said.as_ref().filter(|_| name.len() <= LONGEST_NAME) {
            let _ = said.set(name.into()); // Of several the first.
        }
    }

    /// What its parent reports of it comes to this handle.
    pub(crate) fn reports_to(&self, handle: u32) {
        let _ = self.reports.set(handle); // There is one.
    }

    pub(crate) fn reports(&self) -> Option<u32> {
        self.reports.get().copied()
    }

    /// The names of the contexts on the way to it, the direct child first, and its own.
    pub(crate) fn way(&self) -> Vec<String> {
        let above = std::iter::successors(Some(self), |it| it.parent.as_deref());
        let mut way: Vec<_> = above.map(|it| it.name().to_owned()).collect();
        way.reverse();
        way
    }

    /// Those on the way to it alone.
    pub(crate) fn via(&self) -> Vec<String> {
        self.parent.as_ref().map_or_else(Vec::new, |parent| parent.way())
    }

    /// The first on the way to it that is not up yet, if that is not itself.
    pub(crate) fn waits_for(&self) -> Option<&Peer> {
        let above = std::iter::successors(self.parent.as_deref(), |it| it.parent.as_deref());
        above.filter(|it| !it.is_up()).last()
    }

    /// `None` for a direct child.
    pub(crate) fn parent(&self) -> Option<&Arc<Peer>> {
        self.parent.as_ref()
    }

    /// The direct child whose stream leads here.
    pub(crate) fn stream(&self) -> u32 {
        self.stream
    }

    /// Sends one pickled value to a handle of this context, on the program's own authority.
    pub(crate) fn send(
        &self,
        handle: u32,
        reply_to: u32,
        data: Vec<u8>,
        patience: Patience,
    ) -> Result<(), Refused> {
        if self.parent.is_some() {
            // Its end is not that of the stream.
            if let Some(end) = self.ended() {
                return Err(Refused::Ended(end));
            }
        }
        let header = Header { dst: self.id, src: MASTER, auth: MASTER, handle, reply_to };
        self.count(|it| &it.sent, data.len());
        let sent = self.out.send(&header, data, patience)?;
        self.after(sent);
        Ok(())
    }

    /// Sends one pickled value that leaves no copy behind.
    pub(crate) fn send_secret(&self, handle: u32, data: &Secret) -> Result<(), Refused> {
        let header = Header { dst: self.id, src: MASTER, auth: MASTER, handle, reply_to: 0 };
        self.count(|it| &it.sent, data.bytes().len());
        let sent = self.out.send_secret(&header, data)?;
        self.after(sent);
        Ok(())
    }

    /// Counts a message of its own and of those above it.
    pub(crate) fn count(&self, of: impl Fn(&Peer) -> &Counter, bytes: usize) {
        for peer in std::iter::successors(Some(self), |it| it.parent.as_deref()) {
            of(peer).add(bytes);
        }
    }

    /// What there is to see of it.
    pub(crate) fn node(&self, children: Vec<Node>) -> Node {
        let is_up = self.is_up();
        Node {
            id: self.id,
            name: self.name().into(),
            method: self.method.clone(),
            state: match is_up {
                _ if self.leaving().is_some() => tree::State::Leaving,
                true => tree::State::Connected,
                false => tree::State::Starting,
            },
            sent: self.sent.read(),
            received: self.received.read(),
            modules: self.modules.load(Ordering::Relaxed),
            queued_bytes: self.parent.is_none().then(|| self.out.queued()),
            children,
        }
    }

    /// Sends another context's frame down the stream that leads here, for this one or one below; gives whether it
    /// was taken.
    pub(crate) fn pass_on(&self, header: &Header, data: Vec<u8>) -> bool {
        let sent = self.out.pass_on(header, data);
        sent.map(|sent| self.after(sent)).is_some()
    }

    fn after(&self, sent: Sent) {
        match sent {
            Sent::Done => {}
            Sent::Queued => self.broker.write(self.stream),
            Sent::Unread => self.broker.break_off(self.stream, "it does not read its answers"),
        }
    }

    /// Sends what a call of a function in `module` needs. Reads files, where nobody did before. Gives when it
    /// has been sent, be it by another thread.
    pub(crate) fn push(
        &self,
        modules: &Modules,
        module: &str,
        limit: usize,
        say: &dyn Fn(Level, String),
    ) {
        // Also where another thread is about to send it: the call must not overtake it.
        if !self.shipped().covers(module, modules.version()) && self.ended().is_none() {
            self.ship(modules, limit, say, |shipment| shipment.push(module));
        }
    }

    /// Sends modules: `load` says which.
    pub(crate) fn ship(
        &self,
        modules: &Modules,
        limit: usize,
        say: &dyn Fn(Level, String),
        load: impl FnOnce(&mut Shipment),
    ) {
        let send = |data| {
            self.modules.fetch_add(1, Ordering::Relaxed);
            // Who asked may be gone: everybody knows it.
            let _ = self.send(LOAD_MODULE, 0, data, Patience::None);
        };
        let mut shipped = self.shipped();
        load(&mut Shipment::new(modules, &mut shipped, self.target(), limit, &send, say));
    }

    fn shipped(&self) -> MutexGuard<'_, Shipped> {
        // Nothing of the user's runs under it that could panic: a closure's panic is caught.
        self.shipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has said of its interpreter, if it is up.
    fn target(&self) -> Option<Target> {
        match &*self.state.lock().expect("held for a store only") {
            State::Up(info) => info.target(),
            State::Starting | State::Ended(_) => None,
        }
    }

    /// An import there keeps all others waiting, as before Python 3.3.
    pub(crate) fn has_one_import_lock(&self) -> bool {
        self.target().is_some_and(|it| it.version[0] == 2)
    }

    /// Its log has room again: the broker may read on.
    pub(crate) fn read_on(&self) {
        self.broker.look();
    }

    /// Starts the graceful shutdown of the child. A stream that has ended needs none.
    pub(crate) fn send_shutdown(&self) {
        self.leaving.store(true, Ordering::Release);
        let none = pickle::encode(&Value::None).expect("None can be encoded");
        let _ = self.send(SHUTDOWN, 0, none, Patience::None);
    }

    /// Which was asked to shut down: itself, or one above it.
    pub(crate) fn leaving(&self) -> Option<&Peer> {
        let mut above = std::iter::successors(Some(self), |it| it.parent.as_deref());
        above.find(|it| it.leaving.load(Ordering::Acquire))
    }

    /// Sends what starts the child, before anything else.
    pub(crate) fn send_preamble(&self, bytes: Vec<u8>) {
        if self.out.send_raw(bytes) == Sent::Queued {
            self.broker.write(self.id);
        }
    }

    /// The child has said who it is.
    pub(crate) fn up(&self, info: RemoteInfo) {
        if self.parent.is_none() {
            self.out.connected();
        }
        let mut state = self.state.lock().expect("held for a store only");
        if matches!(*state, State::Starting) {
            *state = State::Up(Arc::new(info));
            self.changed.notify_all();
        }
    }

    /// The child is gone; only the first end counts.
    pub(crate) fn end(&self, end: End) {
        if self.parent.is_none() {
            self.out.end(end.clone());
        }
        let mut state = self.state.lock().expect("held for a store only");
        if !matches!(*state, State::Ended(_)) {
            *state = State::Ended(end.clone());
            self.changed.notify_all();
        }
        drop(state);
        self.let_go(&end);
    }

    pub(crate) fn is_up(&self) -> bool {
        match *self.state.lock().expect("held for a store only") {
            State::Up(_) => true,
            State::Starting => self.said.as_ref().is_some_and(|said| said.get().is_some()),
            State::Ended(_) => false,
        }
    }

    /// Waits until the child is up or gone: `Ok(None)` at the deadline.
    pub(crate) fn wait_up(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<Arc<RemoteInfo>>, End> {
        let mut state = self.state.lock().expect("held for a store only");
        loop {
            match &*state {
                State::Up(info) => return Ok(Some(info.clone())),
                State::Ended(end) => return Err(end.clone()),
                State::Starting => {}
            }
            state = match deadline {
                None => self.changed.wait(state).expect("held for a store only"),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(None);
                    }
                    self.changed.wait_timeout(state, left).expect("held for a store only").0
                }
            };
        }
    }

    /// Why the child is gone, if it is.
    pub(crate) fn ended(&self) -> Option<End> {
        match &*self.state.lock().expect("held for a store only") {
            State::Ended(end) => Some(end.clone()),
            State::Starting | State::Up(_) => None,
        }
    }

    /// Keeps senders alive until the child is gone.
    pub(crate) fn keep(&self, senders: Vec<Arc<Tx>>) {
        if senders.is_empty() {
            return;
        }
        let mut held = self.held.lock().expect("held for a push only");
        held.extend(senders);
        drop(held);
        // The child may have gone before they were noted.
        if let Some(end) = self.ended() {
            self.let_go(&end);
        }
    }

    fn let_go(&self, end: &End) {
        let held = std::mem::take(&mut *self.held.lock().expect("held for a push only"));
        held.into_iter().for_each(|sender| sender.lost(end));
    }

    /// Nothing is left of its process.
    pub(crate) fn gone(&self) {
        *self.gone.lock().expect("held for a store only") = true;
        self.left.notify_all();
    }

    /// Waits until nothing is left of its process.
    pub(crate) fn wait_gone(&self) {
        let gone = self.gone.lock().expect("held for a store only");
        drop(self.left.wait_while(gone, |gone| !*gone).expect("held for a store only"));
    }

    /// The same, for so long at most: whether it has gone.
    pub(crate) fn wait_gone_for(&self, limit: Duration) -> bool {
        let gone = self.gone.lock().expect("held for a store only");
        *self.left.wait_timeout_while(gone, limit, |gone| !*gone).expect("held for a store only").0
    }
}

/// Counts messages.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: usize) {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Traffic {
        let [messages, bytes] = [&self.messages, &self.bytes].map(|it| it.load(Ordering::Relaxed));
        Traffic { messages, bytes }
    }
}

/// Who a child is, as it said in its first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RemoteInfo {
    /// Python's version, say `3.11.7`.
    pub version: String,
    /// `CPython` or `PyPy`.
    pub implementation: String,
    /// The interpreter, `sys.executable`.
    pub executable: PathBuf,
    /// `sys.platform`, say `linux`.
    pub platform: String,
    /// The name of the operating system, of uname(2): `Linux`.
    pub system: String,
    /// Its release, of uname(2).
    pub release: String,
    /// The hardware, of uname(2): `x86_64`.
    pub machine: String,
    /// The host name, of uname(2).
    pub host_name: String,
    /// The real user id.
    pub uid: u32,
    /// The effective user id.
    pub euid: u32,
    /// The process id.
    pub pid: u32,
    /// The working directory, or `None` where it has been deleted.
    pub current_dir: Option<PathBuf>,
    /// The encoding of file names, `sys.getfilesystemencoding()`.
    pub encoding: String,
    /// `sys.prefix`: of a virtual environment its directory.
    pub prefix: PathBuf,
}

impl RemoteInfo {
    /// What it means for which branches of a module run.
    fn target(&self) -> Option<Target> {
        let mut numbers = self.version.split('.').map(|number| number.parse().ok());
        let mut number = || numbers.next()?;
        let version = [number()?, number()?, number()?];
        Some(Target { version, platform: self.platform.clone() })
    }

    /// Reads a child's first frame: who it is, and its name.
    pub(crate) fn from_hello(hello: Value) -> Option<(RemoteInfo, String)> {
        let Value::Tuple(fields) = hello else { return None };
        let mut fields = fields.into_iter();
        let mut next = move || fields.next();
        let (version, implementation) = (text(next()?)?, text(next()?)?);
        let (executable, platform) = (path(next()?)?, text(next()?)?);
        let Value::Tuple(uname) = next()? else { return None };
        let [system, release, machine] = <[Value; 3]>::try_from(uname).ok()?;
        let info = RemoteInfo {
            version,
            implementation,
            executable,
            platform,
            system: text(system)?,
            release: text(release)?,
            machine: text(machine)?,
            host_name: text(next()?)?,
            uid: number(next()?)?,
            euid: number(next()?)?,
            pid: number(next()?)?,
            current_dir: match next()? {
                Value::None => None,
                other => Some(path(other)?),
            },
            encoding: text(next()?)?,
            prefix: path(next()?)?,
        };
        Some((info, text(next()?)?))
    }
}

/// Python 2 sends `str`, which arrives as bytes.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}

fn path(value: Value) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    match value {
        Value::Text(text) => Some(text.into()),
        Value::Bytes(bytes) => Some(std::ffi::OsString::from_vec(bytes).into()),
        // An embedded interpreter may not know its own executable.
        Value::None => Some(PathBuf::new()),
        _ => None,
    }
}

fn number(value: Value) -> Option<u32> {
    match value {
        Value::Int(number) => u32::try_from(number).ok(),
        _ => None,
    }
}
