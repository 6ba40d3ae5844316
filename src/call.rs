//! Calls: what is sent, what waits for the answer, what the answer becomes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::channel::Tx;
use crate::context::Context;
use crate::end::End;
use crate::mailbox::{Item, Mailbox, Nothing};
use crate::master::{Master, Target};
use crate::pickle;
use crate::router::CALL_FUNCTION;
use crate::select::{Next, Pull, Source};
use crate::stream::{Patience, Refused};
use crate::wire;
use crate::{Error, FromValue, Result, ToArgs, ToValue, Value};

/// What a reply handle leads to.
pub(crate) struct Answer {
    mailbox: Arc<Mailbox>,
    /// The senders that were in the call's arguments: they live until it is answered.
    held: Mutex<Vec<Arc<Tx>>>,
}

impl Answer {
    pub(crate) fn arrived(&self, item: Item) {
        self.mailbox.push(item);
        // Whoever reads from a channel that the call was to fill sees its end after the answer is here.
        drop(self.take_held());
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
        self.wait(None)
    }

    /// The same, for this long at most: then [`Error::TimedOut`], and the answer can be asked for again.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T> {
        self.wait(Some((Instant::now() + timeout, timeout)))
    }

    pub(crate) fn wait(&self, limit: Option<(Instant, Duration)>) -> Result<T> {
        match self.mailbox.take(limit.map(|(deadline, _)| deadline)) {
            Ok(item) => self.convert(item),
            Err(Nothing::Ended(end)) => Err(end.error(self.context.name(), &self.what)),
            Err(Nothing::TimedOut) => {
                let after = limit.map(|(_, after)| after).unwrap_or_default();
                Err(timed_out(&self.context, &self.what, after))
            }
        }
    }

    fn convert(&self, item: Item) -> Result<T> {
        // There is one answer: who asks again is told so instead of waiting for ever.
        self.mailbox.end(End::Closed(Some(format!("the answer to the {} was taken", self.what))));
        let value =
            pickle::decode(&item.data, self.context.limits()).map_err(|error| Error::Convert {
                wanted: "a result".into(),
                found: format!("what cannot be read: {error}"),
            })?;
        match value {
            Value::Error(error) => Err(Error::Call(Arc::new(error))),
            Value::Dead(reason) => {
                let reason = reason.unwrap_or_else(|| "it is shutting down".into());
                Err(End::Lost(reason).error(self.context.name(), &self.what))
            }
            value => T::from_value(value, &self.context),
        }
    }
}

impl<T> Pending<T> {
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
                let error = end.error(self.context.name(), &self.what);
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
#[derive(Debug)]
#[must_use = "nothing is sent before `call`, `call_async` or `call_no_reply`"]
pub struct Function {
    call: Call,
    timeout: Option<Duration>,
}

impl Function {
    pub(crate) fn new(context: Context, target: &str) -> Function {
        Function { call: Call::new(context, target), timeout: None }
    }

    /// Adds a positional argument.
    pub fn arg(mut self, value: impl ToValue) -> Self {
        let value = value.to_value();
        self.call.hold(&value);
        self.call.args.push(value);
        self
    }

    /// Adds a keyword argument; the last of several of one name counts.
    pub fn kwarg(mut self, name: &str, value: impl ToValue) -> Self {
        let name = Value::Text(name.into());
        self.call.kwargs.retain(|(other, _)| *other != name);
        let value = value.to_value();
        self.call.hold(&value);
        self.call.kwargs.push((name, value));
        self
    }

    /// Ends the wait of [`call`](Function::call) after this long, with [`Error::TimedOut`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Calls, and waits for the result.
    pub fn call<T: FromValue>(self) -> Result<T> {
        self.call.wait(self.timeout)
    }

    /// Calls, and does not wait. The timeout, if one is set, bounds the wait for room in a full queue
    /// only.
    pub fn call_async<T: FromValue>(self) -> Result<Pending<T>> {
        let limit = self.timeout.map(|timeout| (Instant::now() + timeout, timeout));
        self.call.send(limit)
    }

    /// Calls, and asks for no answer: an exception goes to the log.
    pub fn call_no_reply(self) -> Result<()> {
        self.call.send_no_reply()
    }
}

/// A call before it is sent.
pub(crate) struct Call {
    context: Context,
    target: String,
    args: Vec<Value>,
    kwargs: Vec<(Value, Value)>,
    held: Vec<Arc<Tx>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may be secrets.
        write!(f, "Call({}: {})", self.context, self.target)
    }
}

impl Call {
    fn new(context: Context, target: &str) -> Call {
        let (args, kwargs, held) = Default::default();
        Call { context, target: target.into(), args, kwargs, held }
    }

    /// A call with positional arguments; `args` lives until its senders are held.
    pub(crate) fn with_args(context: &Context, target: &str, args: &impl ToArgs) -> Call {
        let mut call = Call::new(context.clone(), target);
        call.args = args.to_args();
        for value in &call.args {
            hold(context.master(), value, &mut call.held);
        }
        call
    }

    /// Keeps the senders in `value`, whose owner is still alive, until the call is answered.
    fn hold(&mut self, value: &Value) {
        hold(self.context.master(), value, &mut self.held);
    }

    fn what(&self) -> String {
        format!("call of {}", self.target)
    }

    /// Sends it and waits for the result; a timeout covers both.
    pub(crate) fn wait<T: FromValue>(self, timeout: Option<Duration>) -> Result<T> {
        let limit = timeout.map(|timeout| (Instant::now() + timeout, timeout));
        self.send(limit)?.wait(limit)
    }

    /// Sends it. The end of the context shows in what is given back.
    pub(crate) fn send<T: FromValue>(
        mut self,
        limit: Option<(Instant, Duration)>,
    ) -> Result<Pending<T>> {
        let data = self.encode()?;
        let (context, what) = (self.context.clone(), self.what());
        let mailbox = Arc::new(Mailbox::default());
        let held = Mutex::new(std::mem::take(&mut self.held));
        let answer = Arc::new(Answer { mailbox: mailbox.clone(), held });
        let peer = context.peer();
        let handle = context.master().routes().add_reply(peer.id(), Target::Answer(answer));
        let patience = Patience::Until(limit.map(|(deadline, _)| deadline));
        match peer.send(CALL_FUNCTION, handle, &data, patience) {
            Ok(()) => {}
            Err(refused) => {
                // Its registration must not outlive it: after the context's end nobody removes it.
                let target = context.master().routes().remove_handle(handle);
                match (refused, limit) {
                    (Refused::Ended(end), _) => {
                        if let Some(Target::Answer(answer)) = target {
                            answer.end(&end);
                        }
                    }
                    (Refused::TimedOut, limit) => {
                        let after = limit.map(|(_, after)| after).unwrap_or_default();
                        return Err(timed_out(&context, &what, after));
                    }
                }
            }
        }
        Ok(Pending { context, what, mailbox, result: PhantomData })
    }

    /// Sends it without asking for an answer.
    pub(crate) fn send_no_reply(self) -> Result<()> {
        let data = self.encode()?;
        match self.context.peer().send(CALL_FUNCTION, 0, &data, Patience::Until(None)) {
            Ok(()) => {}
            Err(Refused::Ended(end)) => {
                return Err(end.error(self.context.name(), &self.what()));
            }
            Err(Refused::TimedOut) => unreachable!("there is no deadline"),
        }
        // Nobody says when the call is over: its senders live as long as the context.
        self.context.peer().keep(self.held);
        Ok(())
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let refuse = |what, reason| Err(Error::Send { what, reason });
        let master = self.context.master();
        if master.is_down() {
            return Err(Error::Shutdown);
        }
        let Some((module, class, function)) = parse(&self.target) else {
            let reason =
                "a function is named package.module:function or package.module:Class.method";
            return refuse(format!("call of {:?}", self.target), reason.into());
        };
        let call = Value::Tuple(vec![
            Value::Text(module.into()),
            class.map_or(Value::None, |class| Value::Text(class.into())),
            Value::Text(function.into()),
            Value::Tuple(self.args.clone()),
            Value::Dict(self.kwargs.clone()),
        ]);
        let what = || format!("arguments of {}", self.target);
        let data = match pickle::encode(&call) {
            Ok(data) => data,
            Err(error) => return refuse(what(), error.to_string()),
        };
        let (bytes, limit) = (wire::cost(data.len()), master.settings.max_message_bytes);
        if bytes > limit {
            let reason = format!("{bytes} bytes, more than the {limit} of max_message_bytes");
            return refuse(what(), reason);
        }
        Ok(data)
    }
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

/// Keeps the senders in `value` alive whose receiver is in this program.
fn hold(master: &Master, value: &Value, held: &mut Vec<Arc<Tx>>) {
    // Not by recursion: the nesting is the user's.
    let mut values = vec![value];
    while let Some(value) = values.pop() {
        match value {
            Value::Sender { context, handle } => {
                held.extend(crate::channel::find_sender(master, *context, *handle));
            }
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => values.extend(items),
            Value::Dict(entries) => {
                values.extend(entries.iter().flat_map(|(key, value)| [key, value]));
            }
            _ => {}
        }
    }
}

pub(crate) fn timed_out(context: &Context, what: &str, after: Duration) -> Error {
    Error::TimedOut { what: format!("{context}: {what}"), after }
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
