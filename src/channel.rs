//! Channels: one end sends values, the other receives them, and credit bounds what is under way.
//!
//! Invariant: a sending context is never more than the window ahead of what its receiver has consumed,
//! but for one frame that is above the window itself. The receiver grants the bytes that it has consumed
//! in total whenever more than a quarter of the window is not granted yet, and a frame above three
//! quarters goes when no more than a quarter is outstanding: so nobody waits for a last crumb of credit.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

use crate::call::Limit;
use crate::end::End;
use crate::mailbox::{Item, Mailbox, Nothing, Signal};
use crate::master::{Master, Target};
use crate::peer::Peer;
use crate::pickle;
use crate::routes::{FIRST_RECEIVER_HANDLE, MASTER};
use crate::select::{Next, Pull, Source};
use crate::stream::{Patience, Refused};
use crate::{Context, Error, FromValue, Result, ToValue, Value, sys, wire};

/// Makes a channel whose receiver is here.
pub(crate) fn channel<T>(master: &Arc<Master>) -> (Sender<T>, Receiver<T>) {
    let mailbox = Arc::new(Mailbox::default());
    let window = master.settings.channel_window_bytes;
    let rx = Arc::new_cyclic(|itself: &Weak<Rx>| {
        // The registration does not keep the receiver: when the user drops it, it ends.
        let handle = master.routes().add_receiver(
            None,
            Target::Channel(ChannelTarget { rx: itself.clone(), mailbox: mailbox.clone() }),
            random,
        );
        Rx {
            master: Arc::downgrade(master),
            limits: master.limits,
            handle,
            mailbox: mailbox.clone(),
            window,
            accounts: Mutex::default(),
            tx: Mutex::default(),
        }
    });
    if master.is_down() {
        rx.mailbox.end(End::Shutdown);
    }
    let end = TxEnd::Here { handle: rx.handle, rx: Arc::downgrade(&rx), mailbox, window };
    let tx = Arc::new(Tx { limits: master.limits, end });
    *rx.tx.lock().expect("held for a look-up only") = Arc::downgrade(&tx);
    (Sender::new(tx), Receiver { master: master.clone(), rx, item: PhantomData })
}

pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    sys::entropy(&mut bytes).expect("the system has random bytes once it is up");
    u32::from_be_bytes(bytes)
}

/// The sender of a receiver here, while there is one.
pub(crate) fn find_sender(master: &Master, context: u32, handle: u32) -> Option<Arc<Tx>> {
    if context != MASTER {
        return master.senders().get(&(context, handle)).and_then(Weak::upgrade);
    }
    let rx = match master.routes().target(handle)? {
        Target::Channel(channel) => channel.rx.clone(),
        _ => return None,
    };
    // Not under the lock of the routes: this may turn out to be the last reference.
    rx.upgrade()?.sender()
}

/// What a receiver's handle leads to.
#[derive(Clone)]
pub(crate) struct ChannelTarget {
    rx: Weak<Rx>,
    mailbox: Arc<Mailbox>,
}

impl ChannelTarget {
    /// Takes an item; an error says what is wrong with who has sent it.
    pub(crate) fn arrived(&self, item: Item) -> std::result::Result<(), String> {
        let sender = (item.from, item.control);
        let Some(rx) = self.rx.upgrade() else { return Ok(()) };
        rx.admit(&item)?;
        if !self.mailbox.push(item) {
            rx.tell([sender], &None);
        }
        Ok(())
    }

    pub(crate) fn end(&self, end: &End) {
        self.mailbox.end(end.clone());
    }
}

/// The receiving end's state.
pub(crate) struct Rx {
    master: Weak<Master>,
    limits: pickle::Limits,
    handle: u32,
    mailbox: Arc<Mailbox>,
    window: u64,
    /// For each sending context and its control handle.
    accounts: Mutex<HashMap<(u32, u32), Account>>,
    tx: Mutex<Weak<Tx>>,
}

/// What has passed from one sender, in bytes.
#[derive(Debug, Default)]
struct Account {
    arrived: u64,
    consumed: u64,
    /// What of it the sender has been told.
    granted: u64,
}

/// How many control handles one context may name to one receiver.
const MOST_CONTROLS: usize = 8;
const WITHOUT_CREDIT: &str = "it sent to a channel without credit";

impl Rx {
    fn sender(&self) -> Option<Arc<Tx>> {
        self.tx.lock().expect("held for a look-up only").upgrade()
    }

    /// Turns an item into its value, and pays for it; `None`: it was the end, which is in the mailbox.
    fn open(&self, item: Item) -> Option<Result<Value>> {
        self.consumed(&item);
        match pickle::decode_owned(item.data, &self.limits) {
            Ok(Value::Dead(reason)) => {
                self.mailbox.end_by_item(End::Closed(reason.clone()));
                self.close(reason);
                None
            }
            Ok(value) => Some(Ok(value)),
            Err(error) => Some(Err(Error::Convert {
                wanted: "a channel's item".into(),
                found: format!("what cannot be read: {error}"),
            })),
        }
    }

    /// Notes an item that has arrived. A sender counts more as outstanding than is outstanding here, since
    /// grants take their time: what is too much by this count was sent without credit.
    fn admit(&self, item: &Item) -> std::result::Result<(), String> {
        let mut accounts = self.accounts.lock().expect("held for a sum only");
        let key = (item.from, item.control);
        if !accounts.contains_key(&key) {
            // One sender after another has a control handle; only who makes them up has many.
            let controls = accounts.keys().filter(|(from, _)| *from == item.from).count();
            if controls >= MOST_CONTROLS {
                return Err(WITHOUT_CREDIT.into());
            }
        }
        let account = accounts.entry(key).or_default();
        let outstanding = account.arrived - account.granted;
        if outstanding + item.cost > self.window && outstanding > self.window / 4 {
            return Err(WITHOUT_CREDIT.into());
        }
        account.arrived += item.cost;
        Ok(())
    }

    fn consumed(&self, item: &Item) {
        let mut accounts = self.accounts.lock().expect("held for a sum only");
        // Items of this program's own senders have no account.
        let Some(account) = accounts.get_mut(&(item.from, item.control)) else { return };
        account.consumed += item.cost;
        if account.consumed - account.granted <= self.window / 4 {
            return;
        }
        account.granted = account.consumed;
        let total = i64::try_from(account.granted).expect("no stream carries 2^63 bytes");
        drop(accounts);
        if let Some(master) = self.master.upgrade().filter(|_| item.control != 0) {
            master.post(item.from, item.control, &Value::Int(total));
        }
    }

    /// Ends the channel from this side: what was not received is dropped, and the senders are told.
    fn close(&self, reason: Option<String>) {
        let senders = self.senders();
        self.mailbox.abandon(End::Closed(reason.clone()));
        self.tell(senders, &reason);
    }

    /// The senders here are gone, or one has closed the channel: what has arrived can still be received,
    /// and senders elsewhere are told.
    fn end(&self, end: End) {
        let reason = match &end {
            End::Closed(reason) => reason.clone(),
            End::Lost(loss) => Some(loss.words()),
            End::Failed(_) | End::Shutdown => None,
        };
        let senders = self.senders();
        self.mailbox.end(end);
        self.tell(senders, &reason);
    }

    /// Those who have sent something. Nothing is accepted any more: who sends from now on is refused.
    fn senders(&self) -> HashSet<(u32, u32)> {
        if let Some(master) = self.master.upgrade() {
            master.routes().remove_handle(self.handle);
        }
        // Those whose items were never looked at wait for credit, too.
        let mut senders = HashSet::from_iter(self.mailbox.creditors());
        senders.extend(self.accounts.lock().expect("held for a sum only").keys());
        senders
    }

    fn tell(&self, senders: impl IntoIterator<Item = (u32, u32)>, reason: &Option<String>) {
        let Some(master) = self.master.upgrade() else { return };
        for (context, control) in senders.into_iter().filter(|(_, control)| *control != 0) {
            master.post(context, control, &Value::Dead(reason.clone()));
        }
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        self.close(Some("the receiver is gone".into()));
    }
}

/// The receiving end of a channel: [`Router::channel`](crate::Router::channel).
///
/// Dropping it, or closing it, tells the senders: what they send from then on fails.
pub struct Receiver<T> {
    master: Arc<Master>,
    rx: Arc<Rx>,
    item: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}

impl<T: FromValue> Receiver<T> {
    /// Waits for the next item. Woken by it and by the channel's end: [`Error::Closed`] when a sender
    /// closed it or the last sender is gone, [`Error::Disconnected`] when the context that had the last
    /// sender died, [`Error::Shutdown`]. An item that is no `T` gives [`Error::Convert`], and the next
    /// can be received.
    pub fn recv(&self) -> Result<T> {
        self.wait(Limit::new(None))
    }

    /// The same, for this long at most: then [`Error::TimedOut`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T> {
        self.wait(Limit::new(Some(timeout)))
    }

    /// The next item if it is here, `None` if one may still come.
    pub fn try_recv(&self) -> Result<Option<T>> {
        loop {
            match self.rx.mailbox.try_take() {
                Ok(None) => return Ok(None),
                Ok(Some(item)) => {
                    if let Some((result, _)) = self.open(item) {
                        return result.map(Some);
                    }
                }
                Err(end) => return Err(self.error(&end)),
            }
        }
    }

    /// The items until the channel's end. An end for any other reason than that all is sent comes as a
    /// last item, an error.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self, ended: false }
    }

    fn wait(&self, limit: Limit) -> Result<T> {
        loop {
            match self.rx.mailbox.take(limit.deadline()) {
                Ok(item) => {
                    if let Some((result, _)) = self.open(item) {
                        return result;
                    }
                }
                Err(Nothing::Ended(end)) => return Err(self.error(&end)),
                Err(Nothing::TimedOut) => return Err(limit.error("receiving".into())),
            }
        }
    }

    fn open(&self, item: Item) -> Option<(Result<T>, Context)> {
        let from = Context::with_id(&self.master, item.from, None);
        let value = self.rx.open(item)?;
        Some((value.and_then(|value| T::from_value(value, &from)), from))
    }
}

impl<T> Receiver<T> {
    /// Closes the channel: the senders are told, what was sent and not received is dropped.
    pub fn close(&self) {
        self.rx.close(Some("the receiver was closed".into()));
    }

    fn error(&self, end: &End) -> Error {
        end.channel_error("receiving from a channel")
    }
}

/// The items of a channel: [`Receiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
    ended: bool,
}

impl<T: FromValue> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        next(self.receiver, &mut self.ended)
    }
}

fn next<T: FromValue>(receiver: &Receiver<T>, ended: &mut bool) -> Option<Result<T>> {
    if *ended {
        return None;
    }
    match receiver.recv() {
        Err(Error::Closed { reason: None }) => None,
        result => {
            // An item of another type is one item; every other error is the channel's end.
            *ended = matches!(&result, Err(error) if !matches!(error, Error::Convert { .. }));
            Some(result)
        }
    }
}

impl<'a, T: FromValue> IntoIterator for &'a Receiver<T> {
    type Item = Result<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: FromValue> IntoIterator for Receiver<T> {
    type Item = Result<T>;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self, ended: false }
    }
}

/// The items of a channel, with the channel.
#[derive(Debug)]
pub struct IntoIter<T> {
    receiver: Receiver<T>,
    ended: bool,
}

impl<T: FromValue> Iterator for IntoIter<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        next(&self.receiver, &mut self.ended)
    }
}

impl<T: FromValue + 'static> Source for Receiver<T> {
    type Item = T;

    fn into_pull(self) -> Box<dyn Pull<T>> {
        Box::new(self)
    }
}

impl<T: FromValue + 'static> Source for &Receiver<T> {
    type Item = T;

    fn into_pull(self) -> Box<dyn Pull<T>> {
        let Receiver { master, rx, item } = self;
        Box::new(Receiver::<T> { master: master.clone(), rx: rx.clone(), item: *item })
    }
}

impl<T: FromValue> Pull<T> for Receiver<T> {
    fn pull(&mut self) -> Next<T> {
        loop {
            match self.rx.mailbox.try_take() {
                Ok(None) => return Next::Nothing,
                Ok(Some(item)) => {
                    if let Some((result, from)) = self.open(item) {
                        return Next::Item(result, from);
                    }
                }
                Err(End::Closed(None)) => return Next::Gone,
                Err(end) => {
                    let master = Context::with_id(&self.master, MASTER, None);
                    return Next::Last(Err(self.error(&end)), master);
                }
            }
        }
    }

    fn watch(&mut self, signal: &Arc<Signal>, key: u64) {
        self.rx.mailbox.watch(signal.clone(), key);
    }

    fn unwatch(&mut self, signal: &Arc<Signal>, key: u64) {
        self.rx.mailbox.unwatch(signal, key);
    }
}

/// The sending end's state; the channel ends when it is dropped.
pub(crate) struct Tx {
    /// Of an item, pickled.
    limits: pickle::Limits,
    end: TxEnd,
}

enum TxEnd {
    /// The receiver is in this program.
    Here { handle: u32, rx: Weak<Rx>, mailbox: Arc<Mailbox>, window: u64 },
    /// The receiver is in a context.
    There { master: Weak<Master>, peer: Arc<Peer>, handle: u32, control: u32, credit: Arc<Credit> },
}

impl Tx {
    /// The sender of a receiver in a context: the one that there is already, or a new one.
    fn there(master: &Arc<Master>, context: u32, handle: u32) -> Arc<Tx> {
        let mut senders = master.senders();
        if let Some(tx) = senders.get(&(context, handle)).and_then(Weak::upgrade) {
            return tx;
        }
        let peer = Context::with_id(master, context, None).peer().clone();
        let credit = Arc::new(Credit::new(master.settings.channel_window_bytes));
        let control =
            master.routes().add_receiver(Some(context), Target::Credit(credit.clone()), random);
        // The context may have ended before the registration: then nobody would end it.
        if let Some(end) = peer.ended() {
            credit.end(&end);
        }
        let end = TxEnd::There { master: Arc::downgrade(master), peer, handle, control, credit };
        let tx = Arc::new(Tx { limits: master.limits, end });
        senders.insert((context, handle), Arc::downgrade(&tx));
        tx
    }

    fn id(&self) -> (u32, u32) {
        match &self.end {
            TxEnd::Here { handle, .. } => (MASTER, *handle),
            TxEnd::There { peer, handle, .. } => (peer.id(), *handle),
        }
    }

    /// The context that had this sender has ended: if it was the last, so has the channel.
    pub(crate) fn lost(self: Arc<Self>, end: &End) {
        if let Some(tx) = Arc::into_inner(self) {
            if let TxEnd::Here { rx, .. } = &tx.end {
                if let Some(rx) = rx.upgrade() {
                    rx.end(end.clone());
                }
            }
        }
    }

    /// Gives false where that would have to wait, and may not.
    fn send(&self, item: &impl ToValue, may_wait: bool) -> Result<bool> {
        let refuse = |reason| Err(Error::Send { what: "channel item".into(), reason });
        let mut data = Vec::new();
        let mut encoder = pickle::Encoder::new(&mut data).sent_by(self.limits.router);
        if let Err(error) = item.encode(&mut encoder) {
            return refuse(error.to_string());
        }
        encoder.finish();
        let (bytes, limit) = (data.len(), self.limits.message);
        if bytes > limit {
            return refuse(format!("{bytes} bytes, more than the {limit} of max_message_bytes"));
        }
        let cost = wire::cost(data.len()) as u64;
        match &self.end {
            TxEnd::Here { mailbox, window, .. } => {
                let item = Item { data, from: MASTER, control: 0, cost };
                let pushed = mailbox.push_within(*window, item, may_wait);
                pushed.map_err(|end| end.channel_error("sending to a channel"))
            }
            TxEnd::There { peer, handle, control, credit, .. } => {
                let error = |end: End| end.error(peer, "sending to a channel");
                if !credit.take(cost, may_wait).map_err(error)? {
                    return Ok(false);
                }
                match peer.send(*handle, *control, data, Patience::Until(None)) {
                    Ok(()) => Ok(true),
                    Err(Refused::Ended(end)) => Err(error(end)),
                    Err(Refused::TimedOut) => unreachable!("there is no deadline"),
                }
            }
        }
    }

    fn close(&self, reason: Option<String>) {
        match &self.end {
            TxEnd::Here { rx, .. } => {
                if let Some(rx) = rx.upgrade() {
                    rx.end(End::Closed(reason));
                }
            }
            TxEnd::There { master, peer, handle, credit, .. } => {
                if credit.close() {
                    if let Some(master) = master.upgrade() {
                        master.post(peer.id(), *handle, &Value::Dead(reason));
                    }
                }
            }
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        self.close(None);
        if let TxEnd::There { master, control, .. } = &self.end {
            if let Some(master) = master.upgrade() {
                master.routes().remove_handle(*control);
                master.senders().retain(|_, tx| tx.strong_count() > 0);
            }
        }
    }
}

/// The sending end of a channel. Clones are the same end; when the last is dropped the channel ends.
///
/// It can be an argument of a call, or part of one: Python gets an object with `send` and `close`. One
/// whose receiver is in a child comes as a result. To outlive the call that it is passed to, keep a clone. To the
/// contexts of another router it cannot be passed.
pub struct Sender<T> {
    tx: Arc<Tx>,
    item: PhantomData<fn(T)>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender::new(self.tx.clone())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The handle is a capability: it is not for logs.
        f.debug_struct("Sender").field("context", &self.tx.id().0).finish_non_exhaustive()
    }
}

impl<T> Sender<T> {
    fn new(tx: Arc<Tx>) -> Self {
        Sender { tx, item: PhantomData }
    }

    /// Closes the channel for all its senders: the receiver ends after what has been sent.
    pub fn close(&self) {
        self.tx.close(None);
    }

    /// The same with a reason: the receiver gets it as [`Error::Closed`], in Python as an exception.
    pub fn close_with(&self, reason: &str) {
        self.tx.close(Some(reason.into()));
    }
}

impl<T: ToValue> Sender<T> {
    /// Sends an item. Waits while the receiver is a window behind; woken by its progress, by the channel's
    /// end, by the end of its context and by shutdown, which are errors.
    pub fn send(&self, item: T) -> Result<()> {
        self.tx.send(&item, true).map(drop)
    }

    /// Sends an item unless that would have to wait for credit: `Ok(false)`, and the item is dropped.
    pub fn try_send(&self, item: T) -> Result<bool> {
        self.tx.send(&item, false)
    }
}

impl<T> ToValue for Sender<T> {
    fn to_value(&self) -> Value {
        let (context, handle) = self.tx.id();
        Value::Sender { context, handle, router: self.tx.limits.router }
    }
}

impl<T> FromValue for Sender<T> {
    fn from_value(value: Value, from: &Context) -> Result<Self> {
        let Value::Sender { context, handle, router } = value else {
            return Err(Error::Convert {
                wanted: "a Sender".into(),
                found: crate::value::describe(&value),
            });
        };
        if !from.may_have_sent(router) {
            return Err(Error::Convert {
                wanted: "a Sender".into(),
                found: format!("one to context {context} of another Router"),
            });
        }
        if handle < FIRST_RECEIVER_HANDLE {
            // What is sent goes on the program's authority: to a service of another child, say.
            return Err(Error::Convert {
                wanted: "a Sender".into(),
                found: format!("one of handle {handle}, which is not a receiver's"),
            });
        }
        if context != MASTER {
            return Ok(Sender::new(Tx::there(from.master(), context, handle)));
        }
        let tx = find_sender(from.master(), context, handle);
        tx.map(Sender::new).ok_or_else(|| Error::Closed {
            reason: Some("a Sender came back after its channel had ended".into()),
        })
    }
}

/// What a sender may still send.
#[derive(Debug)]
pub(crate) struct Credit {
    window: u64,
    state: Mutex<CreditState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct CreditState {
    sent: u64,
    granted: u64,
    end: Option<End>,
}

impl Credit {
    fn new(window: u64) -> Credit {
        Credit { window, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, CreditState> {
        self.state.lock().expect("held for a sum only")
    }

    /// Waits until a frame of this cost may go; false where it may not wait.
    fn take(&self, cost: u64, may_wait: bool) -> std::result::Result<bool, End> {
        let large = cost > self.window / 4 * 3;
        let mut state = self.lock();
        loop {
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            let outstanding = state.sent - state.granted;
            let fits = outstanding + cost <= self.window;
            if fits || (large && outstanding <= self.window / 4) {
                state.sent += cost;
                return Ok(true);
            }
            if !may_wait {
                return Ok(false);
            }
            state = self.changed.wait(state).expect("held for a sum only");
        }
    }

    /// A message to the control handle: bytes consumed in total, or that the receiver is gone.
    pub(crate) fn arrived(&self, message: std::result::Result<Value, pickle::DecodeError>) {
        match message {
            Ok(Value::Int(total)) => {
                let mut state = self.lock();
                let total = u64::try_from(total).unwrap_or(0);
                // A receiver cannot have consumed what was never sent.
                state.granted = total.clamp(state.granted, state.sent);
                self.changed.notify_all();
            }
            Ok(Value::Dead(reason)) => self.end(&End::Closed(reason)),
            Ok(_) | Err(_) => self.end(&End::because("its receiver sent what is not credit")),
        }
    }

    pub(crate) fn end(&self, end: &End) {
        self.lock().end.get_or_insert_with(|| end.clone());
        self.changed.notify_all();
    }

    /// Ends it from this side; gives whether it was open.
    fn close(&self) -> bool {
        let open = self.lock().end.is_none();
        self.end(&End::Closed(None));
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_waits_for_credit_and_one_above_the_window_for_almost_all_of_it() {
        let credit = Credit::new(1000);
        assert!(credit.take(600, true).unwrap());
        assert!(credit.take(400, false).unwrap());
        assert!(!credit.take(1, false).unwrap());
        std::thread::scope(|scope| {
            let large = scope.spawn(|| credit.take(5000, true));
            credit.arrived(Ok(Value::Int(700)));
            assert_eq!(credit.lock().sent, 1000);
            credit.arrived(Ok(Value::Int(751)));
            large.join().unwrap().unwrap();
        });
        assert_eq!(credit.lock().sent, 6000);
    }

    #[test]
    fn a_grant_of_more_than_was_sent_or_less_than_before_gives_nothing() {
        let credit = Credit::new(1000);
        credit.take(100, true).unwrap();
        for lie in [i64::MAX, 50, -1] {
            credit.arrived(Ok(Value::Int(lie)));
            assert_eq!(credit.lock().granted, 100);
        }
    }

    #[test]
    fn the_receivers_end_wakes_a_sender_with_the_reason() {
        let credit = Credit::new(10);
        credit.take(10, true).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| credit.take(1, true));
            credit.arrived(Ok(Value::Dead(Some("full".into()))));
            let end = waiting.join().unwrap().unwrap_err();
            assert_eq!(end.channel_error("y").to_string(), "channel closed: full");
        });
    }
}
