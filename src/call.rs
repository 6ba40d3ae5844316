//! Calls: what is sent, what waits for the answer, what the answer becomes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::channel::Tx;
use crate::context::Context;
use crate::end::End;
use crate::mailbox::{Item, Mailbox, Nothing};
use crate::master::Target;
use crate::peer::Peer;
use crate::pickle;
use crate::routes::CALL_FUNCTION;
use crate::select::{Next, Pull, Source};
use crate::stream::{Patience, Refused};
use crate::{CallError, Error, FromValue, Result, ToArgs, ToValue, Value};

/// What a reply handle leads to.
pub(crate) struct Answer {
    mailbox: Arc<Mailbox>,
    /// The context that was called.
    peer: Arc<Peer>,
    /// The senders that were in the call's arguments: they live until it is answered.
    held: Mutex<Vec<Arc<Tx>>>,
}

impl Answer {
    /// `leaving` says why a context ends that was asked to.
    pub(crate) fn arrived(&self, item: Item, leaving: impl Fn(&Peer) -> Option<End>) {
        let held = self.take_held();
        // One that leaves answers thus what it has not begun: its senders are not gone because all is sent.
        let is_dropped = || {
            let limits = pickle::Limits::for_messages_of(SHORT_BYTES);
            let is_short = item.data.len() <= SHORT_BYTES;
            is_short && matches!(pickle::decode(&item.data, &limits), Ok(Value::Dead(_)))
        };
        let end = leaving(&self.peer).filter(|_| !held.is_empty() && is_dropped());
        self.mailbox.push(item);
        // Whoever reads from a channel that the call was to fill sees its end after the answer is here.
        match end {
            Some(end) => held.into_iter().for_each(|sender| sender.lost(&end)),
            None => drop(held),
        }
    }

    pub(crate) fn end(&self, end: &End) {
        self.mailbox.end(end.clone());
        for sender in self.take_held() {
            sender.lost(end);
        }
    }

    fn take_held(&self) -> Vec<Arc<Tx>> {
        std::mem::take(&mut self.held.lock().expect("held for a take only"))
    }
}

/// Beyond the reason that a context gives for not running a call.
const SHORT_BYTES: usize = 1024;

/// The answer to a call, which may not be here yet.
///
/// Dropping it forgets the answer; the function runs all the same.
#[must_use = "the answer, an error too, is lost unless it is asked for"]
pub struct Pending<T> {
    context: Context,
    /// `call of os:getpid`, for errors.
    what: String,
    mailbox: Arc<Mailbox>,
    result: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({}: {})", self.context, self.what)
    }
}

impl<T: FromValue> Pending<T> {
    /// Waits for the answer. Woken by it, by the end of the context, and by shutdown.
    pub fn get(self) -> Result<T> {
        self.wait(Limit::new(None))
    }

    /// The same, for this long at most: then [`Error::TimedOut`], and the answer can be asked for again.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.wait(Limit::new(Some(timeout)))
    }

    fn wait(&self, limit: Limit) -> Result<T> {
        self.finish(self.mailbox.take(limit.deadline()), limit)
    }

    /// The same for a call that nothing was done beside: its thread may read the stream itself.
    fn wait_reading(&self, limit: Limit) -> Result<T> {
        let (master, peer) = (self.context.master(), self.context.peer());
        let found = peer.lead.wait(&self.mailbox, limit.deadline(), &**master, &master.broker);
        self.finish(found, limit)
    }

    fn finish(&self, found: std::result::Result<Item, Nothing>, limit: Limit) -> Result<T> {
        match found {
            Ok(item) => self.convert(item),
            Err(Nothing::Ended(end)) => Err(end.error(self.context.peer(), &self.what)),
            Err(Nothing::TimedOut) => {
                let held_up = self.context.held_up();
                Err(limit.error(format!("{}: {}{held_up}", self.context.place(), self.what)))
            }
        }
    }

    fn convert(&self, item: Item) -> Result<T> {
        // There is one answer: who asks again is told so instead of waiting for ever.
        self.mailbox.end(End::Closed(Some(format!("the answer to the {} was taken", self.what))));
        let value = pickle::decode_owned(item.data, self.context.limits()).map_err(|error| {
            Error::Convert {
                wanted: "a value".into(),
                found: format!("what cannot be read ({error}) {}", self.source()),
            }
        })?;
        match value {
            Value::Error(error) => {
                let peer = self.context.peer();
                let (context, via) = (peer.name().into(), peer.via());
                let hint = self.why_missing(&error).unwrap_or_default();
                let what = self.what.clone();
                Err(Error::Call(Arc::new(CallError { context, via, what, hint, ..error })))
            }
            Value::Dead(reason) => {
                let peer = self.context.peer();
                // One that leaves answers thus what it has not begun.
                let leaving = self.context.master().leaving(peer);
                let reason = || reason.unwrap_or_else(|| "it is shutting down".into());
                let end = leaving.unwrap_or_else(|| End::because(reason()));
                Err(end.error(peer, &self.what))
            }
            value => T::from_value(value, &self.context).map_err(|error| match error {
                Error::Convert { wanted, found } => {
                    Error::Convert { wanted, found: format!("{found} {}", self.source()) }
                }
                other => other,
            }),
        }
    }
}

impl<T> Pending<T> {
    /// Why the module that an import did not find is not served.
    fn why_missing(&self, error: &CallError) -> Option<String> {
        if !matches!(&*error.class, "ModuleNotFoundError" | "ImportError") {
            return None;
        }
        let name = error.message.strip_prefix("No module named ")?;
        // Python 2 has no quotes, and the last part of the name alone.
        let name = name.split('\'').nth(1).or_else(|| {
            let (module, _) = self.what.strip_prefix("call of ")?.split_once(':')?;
            module.ends_with(name).then_some(module)
        });
        self.context.master().modules().why_missing(name?)
    }

    /// Where a value is from, for errors.
    fn source(&self) -> String {
        format!("from the {} in {}", self.what, self.context.place())
    }

    /// The context that was called.
    pub fn context(&self) -> &Context {
        &self.context
    }
}

impl<T: FromValue + 'static> Source for Pending<T> {
    type Item = T;

    fn into_pull(self) -> Box<dyn Pull<T>> {
        Box::new(self)
    }
}

impl<T: FromValue> Pull<T> for Pending<T> {
    fn pull(&mut self) -> Next<T> {
        match self.mailbox.try_take() {
            Ok(None) => Next::Nothing,
            Ok(Some(item)) => Next::Last(self.convert(item), self.context.clone()),
            Err(end) => {
                let error = end.error(self.context.peer(), &self.what);
                Next::Last(Err(error), self.context.clone())
            }
        }
    }

    fn watch(&mut self, signal: &Arc<crate::mailbox::Signal>, key: u64) {
        self.mailbox.watch(signal.clone(), key);
    }

    fn unwatch(&mut self, signal: &Arc<crate::mailbox::Signal>, key: u64) {
        self.mailbox.unwatch(signal, key);
    }
}

/// A call that is being put together: [`Context::function`].
#[must_use = "nothing is sent before `call`, `call_async` or `call_no_reply`"]
pub struct Function {
    context: Context,
    target: String,
    args: Vec<Value>,
    kwargs: Vec<(Value, Value)>,
    /// The senders among the arguments: the values name them only.
    held: Vec<Arc<Tx>>,
    timeout: Option<Duration>,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be secrets.
        write!(f, "Function({}: {})", self.context, self.target)
    }
}

impl Function {
    pub(crate) fn new(context: Context, target: &str) -> Function {
        let (args, kwargs, held) = Default::default();
        Function { context, target: target.into(), args, kwargs, held, timeout: None }
    }

    /// Adds a positional argument.
    pub fn arg(mut self, value: impl ToValue) -> Self {
        let value = self.hold(value.to_value());
        self.args.push(value);
        self
    }

    /// Adds a keyword argument; the last of several of one name counts.
    pub fn kwarg(mut self, name: &str, value: impl ToValue) -> Self {
        let value = self.hold(value.to_value());
        let name = Value::Text(name.into());
        self.kwargs.retain(|(other, _)| *other != name);
        self.kwargs.push((name, value));
        self
    }

    /// Ends the wait of [`call`](Function::call) after this long, with [`Error::TimedOut`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Calls, and waits for the result.
    pub fn call<T: FromValue>(self) -> Result<T> {
        self.encode()?.wait(self.timeout)
    }

    /// Calls, and does not wait. The timeout, if one is set, bounds the wait for room in a full queue
    /// only.
    pub fn call_async<T: FromValue>(self) -> Result<Pending<T>> {
        self.encode()?.send(Limit::new(self.timeout))
    }

    /// Calls, and asks for no answer: an exception goes to the log. A timeout has no effect.
    pub fn call_no_reply(self) -> Result<()> {
        self.encode()?.send_no_reply()
    }

    fn encode(&self) -> Result<Call> {
        Call::encode(&self.context, &self.target, &self.args, &self.kwargs)
    }

    /// Keeps the senders in a value alive whose owner is about to be dropped.
    fn hold(&mut self, value: Value) -> Value {
        let mut out = Vec::new();
        let mut encoder = pickle::Encoder::new(&mut out).sent_by(self.context.limits().router);
        // What cannot be sent is told when the call is sent.
        if encoder.value(&value).is_ok() {
            self.held.extend(find_senders(&self.context, encoder.finish()));
        }
        value
    }
}

/// How long to wait: until when, and how long that is in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(Option<(Instant, Duration)>);

impl Limit {
    pub(crate) fn new(timeout: Option<Duration>) -> Limit {
        // A timeout beyond what the clock can show is none.
        Limit(timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout))))
    }

    pub(crate) fn deadline(self) -> Option<Instant> {
        self.0.map(|(deadline, _)| deadline)
    }

    /// The error for a wait that the deadline ended.
    pub(crate) fn error(self, what: String) -> Error {
        let after = self.0.map(|(_, timeout)| timeout).unwrap_or_default();
        Error::TimedOut { what, after }
    }
}

/// A call as it is sent.
pub(crate) struct Call {
    context: Context,
    /// `call of os:getpid`, for errors.
    what: String,
    /// Where the function is.
    module: String,
    data: Vec<u8>,
    /// Whether there are senders in the arguments, whosever they are.
    has_senders: bool,
    held: Vec<Arc<Tx>>,
}

impl Call {
    /// Makes the message; `args` owns its senders until that is done.
    pub(crate) fn encode(
        context: &Context,
        target: &str,
        args: &impl ToArgs,
        kwargs: &[(Value, Value)],
    ) -> Result<Call> {
        let master = context.master();
        if master.is_down() {
            return Err(Error::Shutdown);
        }
        if crate::modules::finder_runs() {
            // It would wait for what the finder is asked for.
            let reason = "a finder of modules cannot make calls".into();
            return Err(Error::Send { what: format!("call of {target}"), reason });
        }
        let Some((module, class, function)) = parse(target) else {
            let reason =
                "a function is named package.module:function or package.module:Class.method";
            return Err(Error::Send { what: format!("call of {target:?}"), reason: reason.into() });
        };
        let mut data = Vec::new();
        let mut encoder = pickle::Encoder::new(&mut data).sent_by(master.limits.router);
        let message = encoder.tuple(5, |to| {
            to.text(module)?;
            match class {
                Some(class) => to.text(class)?,
                None => to.none(),
            }
            to.text(function)?;
            args.encode_args(to)?;
            to.dict(kwargs, |to, (name, value)| {
                to.value(name)?;
                to.value(value)
            })
        });
        let refuse = |reason| Error::Send { what: format!("arguments of {target}"), reason };
        message.map_err(|error| refuse(error.to_string()))?;
        let senders = encoder.finish();
        let has_senders = !senders.is_empty();
        let held = find_senders(context, senders);
        let limit = master.settings.max_message_bytes;
        if data.len() > limit {
            let bytes = data.len();
            let reason = format!("{bytes} bytes, more than the {limit} of max_message_bytes");
            return Err(refuse(reason));
        }
        let (context, module) = (context.clone(), module.to_owned());
        Ok(Call { context, what: format!("call of {target}"), module, data, has_senders, held })
    }

    /// Sends it and waits for the result; a timeout covers both.
    pub(crate) fn wait<T: FromValue>(self, timeout: Option<Duration>) -> Result<T> {
        let limit = Limit::new(timeout);
        self.post(limit)?.wait_reading(limit)
    }

    /// Sends it. The end of the context shows in what is given back.
    pub(crate) fn send<T: FromValue>(self, limit: Limit) -> Result<Pending<T>> {
        self.context.peer().lead.hand_back(&self.context.master().broker);
        self.post(limit)
    }

    fn post<T: FromValue>(self, limit: Limit) -> Result<Pending<T>> {
        self.push();
        let Call { context, what, data, held, .. } = self;
        let mailbox = Arc::new(Mailbox::default());
        let (peer, held) = (context.peer(), Mutex::new(held));
        let answer = Arc::new(Answer { mailbox: mailbox.clone(), peer: peer.clone(), held });
        let handle = context.master().routes().add_reply(peer.id(), Target::Answer(answer));
        let patience = Patience::Until(limit.deadline());
        if let Err(refused) = peer.send(CALL_FUNCTION, handle, data, patience) {
            // Its registration must not outlive it: after the context's end nobody removes it.
            let target = context.master().routes().remove_handle(handle);
            match (refused, target) {
                (Refused::TimedOut, _) => {
                    return Err(limit.error(format!("{}: {what}", context.place())));
                }
                (Refused::Ended(end), Some(Target::Answer(answer))) => answer.end(&end),
                // The end has been told already.
                (Refused::Ended(_), _) => {}
            }
        }
        Ok(Pending { context, what, mailbox, result: PhantomData })
    }

    /// Sends the modules that it needs, ahead of it.
    fn push(&self) {
        let (master, peer) = (self.context.master(), self.context.peer());
        if self.has_senders {
            master.push(peer, CHANNEL_MODULE);
        }
        master.push(peer, &self.module);
    }

    /// Sends it without asking for an answer.
    pub(crate) fn send_no_reply(self) -> Result<()> {
        self.push();
        let Call { context, what, data, held, .. } = self;
        match context.peer().send(CALL_FUNCTION, 0, data, Patience::Until(None)) {
            Ok(()) => {}
            Err(Refused::Ended(end)) => {
                held.into_iter().for_each(|sender| sender.lost(&end));
                return Err(end.error(context.peer(), &what));
            }
            Err(Refused::TimedOut) => unreachable!("there is no deadline"),
        }
        // Nobody says when the call is over: its senders live as long as the context.
        context.peer().keep(held);
        Ok(())
    }
}

/// What a child's end of a channel is in.
const CHANNEL_MODULE: &str = "econtext.channel";

/// The senders of those ids, alive for as long as what is given back.
fn find_senders(context: &Context, ids: Vec<(u32, u32)>) -> Vec<Arc<Tx>> {
    let find = |(id, handle)| crate::channel::find_sender(context.master(), id, handle);
    ids.into_iter().filter_map(find).collect()
}

/// `package.module:function` and `package.module:Class.method` in parts.
fn parse(target: &str) -> Option<(&str, Option<&str>, &str)> {
    let (module, name) = target.split_once(':')?;
    let dotted = |text: &str| text.split('.').all(|part| !part.is_empty() && !part.contains(':'));
    if !dotted(module) || !dotted(name) {
        return None;
    }
    Some(match name.rsplit_once('.') {
        Some((class, method)) => (module, Some(class), method),
        None => (module, None, name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_a_module_and_a_function_or_a_method() {
        assert_eq!(parse("os:getpid"), Some(("os", None, "getpid")));
        assert_eq!(parse("a.b:C.m"), Some(("a.b", Some("C"), "m")));
        assert_eq!(parse("a.b:C.D.m"), Some(("a.b", Some("C.D"), "m")));
        for bad in ["os", "os.getpid", ":f", "os:", "a..b:f", "a:b:c", "a:.f", ""] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
