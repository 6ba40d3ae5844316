//! A Python process under the program's control, as a handle.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, Function, Limit, Pending};
use crate::connect::Plan;
use crate::end::End;
use crate::master::Master;
use crate::peer::Peer;
use crate::text::escape;
use crate::{
    Error, FromValue, Method, RemoteInfo, Result, RouterId, ToArgs, ToValue, Value, pickle,
};

/// How long a context may take, beyond the grace period, to end a child and to tell that: a parent that is hung,
/// say, must not hang the program.
const PARENT_ENDS_IT: Duration = Duration::from_secs(2);

/// A Python process under the program's control.
///
/// Clones are the same context. It does not keep its [`Router`](crate::Router) alive, and dropping it does
/// not end the process: [`shutdown`](Context::shutdown) does. In an argument or an item of a channel it is a
/// context there, too; of its own router's alone.
#[derive(Clone)]
pub struct Context {
    master: Arc<Master>,
    peer: Arc<Peer>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({}, {:?})", self.id(), self.name())
    }
}

/// Its name.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl PartialEq for Context {
    fn eq(&self, other: &Context) -> bool {
        Arc::ptr_eq(&self.master, &other.master) && self.id() == other.id()
    }
}

impl Eq for Context {}

impl Context {
    pub(crate) fn new(master: Arc<Master>, peer: Arc<Peer>) -> Context {
        Context { master, peer }
    }

    /// The handle of a context that came as a number, with the name that came along.
    pub(crate) fn with_id(master: &Arc<Master>, id: u32, name: Option<String>) -> Context {
        // The name is in the words of a child.
        let name = name.map(|name| escape(&name));
        if let Some(peer) = master.peer(id) {
            name.iter().for_each(|name| peer.handed_over(name));
            return Context::new(master.clone(), peer);
        }
        let name = name.unwrap_or_else(|| format!("context {id}"));
        Context::new(master.clone(), master.unknown_peer(id, name))
    }

    /// A context that does not exist, for tests of pure conversions.
    #[cfg(test)]
    pub(crate) fn detached() -> Context {
        Context::with_id(&Master::detached(), 99, None)
    }

    pub(crate) fn master(&self) -> &Arc<Master> {
        &self.master
    }

    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Its name behind those on the way to it, for errors.
    pub(crate) fn place(&self) -> String {
        self.peer.way().join(" > ")
    }

    pub(crate) fn limits(&self) -> &pickle::Limits {
        &self.master.limits
    }

    /// Whether what has ids of this router can be from here.
    pub(crate) fn may_have_sent(&self, router: Option<RouterId>) -> bool {
        router.is_none() || router == self.limits().router
    }

    /// Its number, unique in the tree and never used again.
    pub fn id(&self) -> u32 {
        self.peer.id()
    }

    /// Its name, as in errors and in the log. One that code in another context has started has the name that it
    /// was handed over by until it has said its own.
    pub fn name(&self) -> &str {
        self.peer.name()
    }

    /// Who it is, as it said when it came up. Waits until it is up; errs as
    /// [`wait_connected`](Context::wait_connected) does.
    pub fn info(&self) -> Result<RemoteInfo> {
        match self.peer.wait_up(None) {
            Ok(info) => Ok(RemoteInfo::clone(&info.expect("there was no deadline"))),
            Err(end) => Err(self.end_error(&end)),
        }
    }

    /// Whether it is up now.
    pub fn is_connected(&self) -> bool {
        self.peer.is_up()
    }

    /// Waits until it is up, for this long at most: then [`Error::TimedOut`], and the start goes on. Woken
    /// by the start's success and failure ([`Error::Connect`]), by its end, and by shutdown.
    pub fn wait_connected(&self, timeout: Duration) -> Result<()> {
        if self.peer.is_up() {
            return Ok(()); // Though it may not have said who it is.
        }
        let limit = Limit::new(Some(timeout));
        match self.peer.wait_up(limit.deadline()) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(limit.error(format!("{}: connecting{}", self.place(), self.held_up()))),
            Err(end) => Err(self.end_error(&end)),
        }
    }

    /// What it waits for where that is another's start, for the error of a deadline.
    pub(crate) fn held_up(&self) -> String {
        let above = self.peer.waits_for();
        let above = above.map(|it| format!(", behind {}, which is not up", it.name()));
        above.unwrap_or_default()
    }

    /// The message of a call. The arguments are gone then: the call alone has their senders.
    fn encode(&self, target: &str, args: impl ToArgs) -> Result<Call> {
        Call::encode(self, target, &args, &[])
    }

    fn end_error(&self, end: &End) -> Error {
        end.error(&self.peer, "connecting")
    }

    /// Calls a function and waits for its result.
    ///
    /// `target` is `package.module:function` or `package.module:Class.method`; the module is imported
    /// there, served from [`Router::modules`](crate::Router::modules) if that machine does not have it. The
    /// type of the result is what the caller asks for; `call::<()>` takes any and drops it.
    ///
    /// Calls of one context run one after the other, in the order in which they were sent. The wait ends
    /// with the result, with [`Error::Call`] when the function raised, with [`Error::Disconnected`] or
    /// [`Error::Connect`] when the context ended, or with [`Error::Shutdown`].
    pub fn call<T: FromValue>(&self, target: &str, args: impl ToArgs) -> Result<T> {
        self.encode(target, args)?.wait(None)
    }

    /// The same, for this long at most: then [`Error::TimedOut`]. The function runs on, later calls queue
    /// behind it, and its late result is dropped.
    pub fn call_with_deadline<T: FromValue>(
        &self,
        timeout: Duration,
        target: &str,
        args: impl ToArgs,
    ) -> Result<T> {
        self.encode(target, args)?.wait(Some(timeout))
    }

    /// Calls a function and does not wait: the result is asked for later. Errs at once only for arguments
    /// that cannot be sent, and after shutdown.
    ///
    /// While more than 16 MiB are queued for a context that is up, it waits for room all the same.
    pub fn call_async<T: FromValue>(&self, target: &str, args: impl ToArgs) -> Result<Pending<T>> {
        self.encode(target, args)?.send(Limit::new(None))
    }

    /// Calls a function whose result nobody wants; an exception goes to the log.
    pub fn call_no_reply(&self, target: &str, args: impl ToArgs) -> Result<()> {
        self.encode(target, args)?.send_no_reply()
    }

    /// A call with keyword arguments or options.
    pub fn function(&self, target: &str) -> Function {
        Function::new(self.clone(), target)
    }

    /// Starts a child of this context and waits until it is up: as [`Router::connect`](crate::Router::connect),
    /// with all that `method` names (programs, files, hosts) on this context's machine.
    ///
    /// The child's messages go by this context, which is trusted with them, as with the answers to what its tools
    /// ask: a password that is asked for passes through every context on the way.
    pub fn connect(&self, method: impl Method) -> Result<Context> {
        let context = self.start(method);
        context.info()?;
        Ok(context)
    }

    /// Starts a child of this context and returns at once: as [`Router::start`](crate::Router::start). This context
    /// need not be up yet; if it does not come up, neither does the child.
    pub fn start(&self, method: impl Method) -> Context {
        let peer = self.master.start_below(&self.peer, method.plan());
        Context::new(self.master.clone(), peer)
    }

    /// Makes a copy of this context by fork(2), and waits until it is up: a child that has every module which is
    /// loaded here, for work that is to be kept apart, at the price of a fork.
    ///
    /// The copy is made between two calls, so it waits for the one that runs. It has an id, a stream, threads, random
    /// state (of `random` and `ssl`; a generator that a module has made for itself is copied as it is) and standard
    /// descriptors of its own, and its own end; other threads of this context are not in it, and what they held locked
    /// is its module's to look after, as ever with fork(2). Named `fork.<process id>`. Errs as
    /// [`connect`](Context::connect) does.
    pub fn fork(&self) -> Result<Context> {
        let peer = self.master.start_below(&self.peer, Plan::copy());
        let context = Context::new(self.master.clone(), peer);
        context.info()?;
        Ok(context)
    }

    /// Shuts this context down and waits until its process has ended, at most the router's grace period and
    /// a little more. What still waits for it gets [`Error::Disconnected`].
    pub fn shutdown(&self) -> Result<()> {
        match self.peer.parent() {
            None => {
                self.master.broker.leave(self.id());
                self.peer.wait_gone();
            }
            Some(_) => {
                self.peer.send_shutdown();
                // Its parent ends it by then, and has the time that this takes.
                let limit = self.master.settings.grace.saturating_add(PARENT_ENDS_IT);
                if !self.peer.wait_gone_for(limit) {
                    self.master.lost(&self.peer, &End::shut_down(&self.peer));
                }
            }
        }
        Ok(())
    }
}

impl ToValue for Context {
    fn to_value(&self) -> Value {
        Value::Context { id: self.id(), name: self.name().into(), router: self.limits().router }
    }
}

impl FromValue for Context {
    fn from_value(value: Value, from: &Context) -> Result<Self> {
        match value {
            Value::Context { id, name, router } if from.may_have_sent(router) => {
                Ok(Context::with_id(from.master(), id, Some(name)))
            }
            Value::Context { name, .. } => Err(Error::Convert {
                wanted: "a Context".into(),
                found: format!("context {name} of another Router"),
            }),
            other => Err(Error::Convert {
                wanted: "a Context".into(),
                found: crate::value::describe(&other),
            }),
        }
    }
}
