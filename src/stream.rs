//! The sending half of a child's stream, shared by all threads of the program.
//!
//! Invariant: counter, MAC and place in the stream are made under one lock, so frames leave in the order
//! in which they were signed. A thread writes by itself while nothing is queued; otherwise it queues, and
//! the broker writes when poll(2) says that there is room.
//!
//! Until the child is up, the start may have to be made again (a server that is too busy, a login script
//! that ate what was sent): where that can be, what has been written is kept, and the same bytes go to the
//! next attempt.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::end::End;
use crate::secret::Secret;
use crate::sys;
use crate::wire::{Header, Sealer};

/// More than this in a connected child's queue makes a caller wait.
const QUEUE_LIMIT_BYTES: usize = 16 << 20;
/// More than this beside what callers may have queued: the child asks, and does not read the answers.
const ANSWERS_LIMIT_BYTES: usize = 64 << 20;
/// A message of a context to another of at most this size is one of those that end a wait (a grant, the end of a
/// channel), for which there is room left where there is none for more.
const SMALL_BYTES: usize = 4 << 10;
/// Frames are gathered in buffers of about this size while they queue.
const GATHER_BYTES: usize = 64 << 10;

/// The sending half of a stream.
pub(crate) struct Outgoing {
    state: Mutex<State>,
    room: Condvar,
}

struct State {
    /// `None` once the stream is closed.
    open: Option<Open>,
    queue: VecDeque<Vec<u8>>,
    /// The first buffer that is not written whole; those before it are kept for another attempt.
    next: usize,
    /// How much of that buffer has been written.
    written: usize,
    /// How much is to be written.
    queued: usize,
    /// What is written is kept.
    keeps: bool,
    /// Buffers from here on are held back.
    held_from: usize,
    /// The first buffer is padding.
    is_padded: bool,
    /// What is in the queue is to be overwritten when it has been written.
    has_secret: bool,
    /// The broker knows that it is to write.
    broker_told: bool,
    /// More than this of the program's own is not queued for a child that is up.
    limit: usize,
    /// More than this of what other contexts send to it or to those behind it is not: what one channel may have under
    /// way never meets it.
    passed_limit: usize,
    /// What is queued of the latter: where each frame ends, in bytes from the stream's beginning, and its size.
    /// They are counted apart, so that neither what the program sends nor what contexts send to a slow one is the
    /// end of the other.
    passed: VecDeque<(u64, usize)>,
    passed_bytes: usize,
    /// How many bytes have left the queue.
    taken: u64,
    /// The child is up, so that a full queue is its slowness and not its absence.
    connected: bool,
    end: Option<End>,
}

struct Open {
    /// `None` between two attempts.
    socket: Option<Arc<OwnedFd>>,
    sealer: Sealer,
}

/// What a sender does while more than 16 MiB are queued for a connected child.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Patience {
    /// Queues its frame on top. For answers and grants: who gets them is to read them, and if too much is
    /// left unread it is refused.
    None,
    /// Waits until there is room, or until the deadline.
    Until(Option<Instant>),
}

/// What is left to do after a frame was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nothing: it has been written, or the broker knows already.
    Done,
    /// The broker must be told to write.
    Queued,
    /// It has been dropped: the child does not read what it asked for, and is to be disconnected.
    Unread,
}

/// How far a stream has come, in bytes that had to be queued.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// So many have been written ..
    pub(crate) written: u64,
    /// .. and so many will be with what is queued now.
    pub(crate) end: u64,
}

/// Why a frame was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    TimedOut,
    Ended(End),
}

impl Outgoing {
    /// A stream over `socket`, which must not block. With `keeps` it can be [`restarted`](Self::restart)
    /// until the child is up.
    /// `max_message_bytes` is the most that one caller can queue on top of the others, and `window_bytes` what one
    /// channel may have under way.
    pub(crate) fn new(
        socket: Arc<OwnedFd>,
        sealer: Sealer,
        max_message_bytes: usize,
        window_bytes: usize,
        keeps: bool,
    ) -> Self {
        let limit = QUEUE_LIMIT_BYTES + max_message_bytes + ANSWERS_LIMIT_BYTES;
        let out = Outgoing::with(Some(Open { socket: Some(socket), sealer }), limit, None);
        let mut state = out.lock();
        state.passed_limit = limit.saturating_add(window_bytes);
        state.keeps = keeps;
        drop(state);
        out
    }

    /// A stream that never was, because of `end`.
    pub(crate) fn ended(end: End) -> Self {
        Outgoing::with(None, 0, Some(end))
    }

    fn with(open: Option<Open>, limit: usize, end: Option<End>) -> Self {
        let state = State {
            open,
            queue: VecDeque::new(),
            next: 0,
            written: 0,
            queued: 0,
            keeps: false,
            held_from: usize::MAX,
            is_padded: false,
            has_secret: false,
            broker_told: false,
            limit,
            passed_limit: limit,
            passed: VecDeque::new(),
            passed_bytes: 0,
            taken: 0,
            connected: false,
            end,
        };
        Outgoing { state: Mutex::new(state), room: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a stream's lock is never held across a panic")
    }

    /// Sends bytes that are not a frame: the preamble, before anything else.
    pub(crate) fn send_raw(&self, bytes: Vec<u8>) -> Sent {
        self.lock().put(&[], bytes)
    }

    /// Signs and sends a frame.
    pub(crate) fn send(
        &self,
        header: &Header,
        data: Vec<u8>,
        patience: Patience,
    ) -> Result<Sent, Refused> {
        let mut state = self.lock();
        if let Patience::Until(deadline) = patience {
            while state.connected && state.own() > QUEUE_LIMIT_BYTES {
                state = match deadline {
                    None => self.room.wait(state).expect("see lock()"),
                    Some(deadline) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            return Err(Refused::TimedOut);
                        }
                        self.room.wait_timeout(state, left).expect("see lock()").0
                    }
                };
            }
        }
        if let Some(end) = &state.end {
            return Err(Refused::Ended(end.clone()));
        }
        if state.connected && state.own() > state.limit {
            return Ok(Sent::Unread);
        }
        let Some(open) = &mut state.open else { return Ok(Sent::Done) };
        let head = open.sealer.seal(header, &data);
        Ok(state.put(&head, data))
    }

    /// Signs and sends a frame of a context's; gives `None` where too much of that kind is unread.
    pub(crate) fn pass_on(&self, header: &Header, data: Vec<u8>) -> Option<Sent> {
        let mut state = self.lock();
        let ends_a_wait = header.reply_to == 0 && data.len() <= SMALL_BYTES;
        let kept_free = if ends_a_wait { 0 } else { ANSWERS_LIMIT_BYTES };
        let (before, is_full) = (state.queued, state.passed_bytes + kept_free > state.passed_limit);
        let Some(open) = &mut state.open else { return Some(Sent::Done) };
        if is_full {
            return None;
        }
        let head = open.sealer.seal(header, &data);
        let sent = state.put(&head, data);
        if state.queued > before {
            let (end, size) = (state.taken + state.queued as u64, state.queued - before);
            state.passed.push_back((end, size));
            state.passed_bytes += size;
        }
        Some(sent)
    }

    /// Signs and sends a frame whose data is overwritten as soon as it is written.
    pub(crate) fn send_secret(&self, header: &Header, data: &Secret) -> Result<Sent, Refused> {
        let mut state = self.lock();
        if let Some(end) = &state.end {
            return Err(Refused::Ended(end.clone()));
        }
        let Some(open) = &mut state.open else { return Ok(Sent::Done) };
        let head = open.sealer.seal(header, data.bytes());
        state.queued += head.len() + data.bytes().len();
        // In a buffer of its own: one that grows leaves copies behind.
        let mut frame = Vec::with_capacity(head.len() + data.bytes().len());
        frame.extend_from_slice(&head);
        frame.extend_from_slice(data.bytes());
        let was_empty = state.next == state.queue.len();
        state.queue.push_back(frame);
        state.has_secret = true;
        if was_empty && matches!(state.flush(), Ok(true)) {
            return Ok(Sent::Done);
        }
        Ok(state.tell_broker())
    }

    /// The bytes that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        self.lock().queued
    }

    pub(crate) fn progress(&self) -> Progress {
        let state = self.lock();
        Progress { written: state.taken, end: state.taken + state.queued as u64 }
    }

    /// Writes what is queued, as far as the socket takes it; gives whether nothing is left. An error is
    /// the end of the stream.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        let mut state = self.lock();
        let result = state.flush();
        if state.own() <= QUEUE_LIMIT_BYTES {
            self.room.notify_all();
        }
        result
    }

    /// The child is up: from now on a full queue makes callers wait, and what is written is dropped.
    pub(crate) fn connected(&self) {
        let mut state = self.lock();
        (state.connected, state.keeps) = (true, false);
        state.drop_written();
    }

    /// Lets go of the socket: another attempt may follow, for which everything is kept.
    pub(crate) fn pause(&self) {
        if let Some(open) = &mut self.lock().open {
            open.socket = None;
        }
    }

    /// Nothing goes out before [`release`](Self::release): for a stream that [`keeps`](Self::new) what is
    /// written.
    pub(crate) fn hold(&self) {
        self.lock().held_from = 0;
    }

    /// Sends everything again, over another socket. The broker is to write.
    ///
    /// `padding` goes first; if the stream is `held`, the rest waits for [`release`](Self::release).
    pub(crate) fn restart(&self, socket: Arc<OwnedFd>, padding: Option<Vec<u8>>, held: bool) {
        let mut state = self.lock();
        let Some(open) = &mut state.open else { return };
        open.socket = Some(socket);
        if let Some(padding) = padding {
            if !std::mem::replace(&mut state.is_padded, true) {
                state.queue.push_front(padding);
            } // Else it is there from the attempt before.
        }
        state.held_from = if held { usize::from(state.is_padded) } else { usize::MAX };
        (state.next, state.written, state.broker_told) = (0, 0, true);
        let queued = state.queue.iter().map(Vec::len).sum();
        // What is written again is counted again.
        let before = std::mem::replace(&mut state.queued, queued);
        state.passed.iter_mut().for_each(|(end, _)| *end += (queued - before) as u64);
    }

    /// What was held back goes out. The broker is to write.
    pub(crate) fn release(&self) {
        let mut state = self.lock();
        (state.held_from, state.broker_told) = (usize::MAX, true);
    }

    /// Lets go of the socket and of what is queued. What is sent from now on is dropped: why the stream
    /// ended is being found out, and whoever waits for an answer will be told by [`end`](Self::end).
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.open = None;
        state.next = state.queue.len();
        state.drop_written();
        (state.next, state.written, state.queued) = (0, 0, 0);
        state.passed.clear();
        state.passed_bytes = 0;
        self.room.notify_all();
    }

    /// Ends it: later sends, and those that wait, get `end`. Only the first end counts.
    pub(crate) fn end(&self, end: End) {
        self.close();
        self.lock().end.get_or_insert(end);
        self.room.notify_all();
    }
}

impl State {
    /// How much of the program's own is queued. (Of the first frame it may be too little.)
    fn own(&self) -> usize {
        self.queued.saturating_sub(self.passed_bytes)
    }

    fn socket(&self) -> Option<Arc<OwnedFd>> {
        self.open.as_ref()?.socket.clone()
    }

    /// Writes `head` and `data`, or as much as the socket takes while nothing is queued; queues the rest.
    fn put(&mut self, head: &[u8], data: Vec<u8>) -> Sent {
        if self.keeps {
            return self.put_and_keep(head, data);
        }
        let mut written = 0;
        if self.queue.is_empty() {
            if let Some(Open { socket: Some(socket), .. }) = &self.open {
                let parts = [IoSlice::new(head), IoSlice::new(&data)];
                // An error is left for the broker, which meets it too and knows what to do.
                written = sys::write_vectored(socket.as_fd(), &parts).unwrap_or(0);
            }
        }
        if written == head.len() + data.len() {
            return Sent::Done;
        }
        self.queued += head.len() + data.len() - written;
        if written >= head.len() {
            // The queue was empty: what is written of `data` is skipped rather than moved.
            self.written = written - head.len();
            self.queue.push_back(data);
        } else {
            self.push(&head[written..], data);
        }
        self.tell_broker()
    }

    fn put_and_keep(&mut self, head: &[u8], data: Vec<u8>) -> Sent {
        let was_empty = self.queued == 0;
        self.queued += head.len() + data.len();
        self.push(head, data);
        // As above, an error is left for the broker.
        if was_empty && matches!(self.flush(), Ok(true)) { Sent::Done } else { self.tell_broker() }
    }

    fn push(&mut self, head: &[u8], data: Vec<u8>) {
        if data.len() < GATHER_BYTES / 4 {
            self.gather(head, &data);
        } else {
            self.gather(head, &[]);
            self.queue.push_back(data);
        }
    }

    fn tell_broker(&mut self) -> Sent {
        if std::mem::replace(&mut self.broker_told, true) { Sent::Done } else { Sent::Queued }
    }

    /// Queues something small, in one buffer with what is queued already where that has room.
    fn gather(&mut self, head: &[u8], data: &[u8]) {
        let fits = |last: &&mut Vec<u8>| {
            // Not beyond what is allocated: what is queued is not moved.
            last.len() + head.len() + data.len() <= last.capacity().min(GATHER_BYTES)
        };
        // Not onto one that is written already, and only kept.
        let is_open = self.next < self.queue.len();
        let last = match self.queue.back_mut().filter(fits) {
            Some(last) if is_open => last,
            _ => {
                self.queue.push_back(Vec::with_capacity(GATHER_BYTES));
                self.queue.back_mut().expect("it was just pushed")
            }
        };
        last.extend_from_slice(head);
        last.extend_from_slice(data);
    }

    /// Gives whether nothing is left that may go.
    fn flush(&mut self) -> io::Result<bool> {
        let Some(socket) = self.socket() else { return Ok(true) };
        while self.next < self.queue.len().min(self.held_from) {
            let open = self.queue.len().min(self.held_from) - self.next;
            let mut parts = vec![IoSlice::new(&self.queue[self.next][self.written..])];
            let more = self.queue.iter().skip(self.next + 1).take((open - 1).min(15));
            parts.extend(more.map(|buffer| IoSlice::new(buffer)));
            match sys::write_vectored(socket.as_fd(), &parts) {
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.broker_told = false;
        Ok(true)
    }

    fn advance(&mut self, count: usize) {
        self.queued -= count;
        self.written += count;
        self.taken += count as u64;
        while let Some((end, size)) = self.passed.front().copied() {
            if end > self.taken {
                break;
            }
            self.passed.pop_front();
            self.passed_bytes -= size;
        }
        while let Some(first) = self.queue.get(self.next) {
            if self.written < first.len() {
                break;
            }
            self.written -= first.len();
            self.next += 1;
        }
        if !self.keeps {
            self.drop_written();
        }
    }

    fn drop_written(&mut self) {
        for mut written in self.queue.drain(..self.next) {
            if self.has_secret {
                sys::wipe(&mut written);
            }
        }
        self.has_secret &= !self.queue.is_empty();
        self.next = 0;
    }
}
