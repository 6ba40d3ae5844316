//! The sending half of a child's stream, shared by all threads of the program.
//!
//! Invariant: counter, MAC and place in the stream are made under one lock, so frames leave in the order
//! in which they were signed. A thread writes by itself while nothing is queued; otherwise it queues, and
//! the broker writes when poll(2) says that there is room.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use crate::end::End;
use crate::sys;
use crate::wire::{Header, Sealer};

/// More than this in a connected child's queue makes a caller wait.
const QUEUE_LIMIT_BYTES: usize = 16 << 20;
/// More than this beside what callers may have queued: the child asks, and does not read the answers.
const ANSWERS_LIMIT_BYTES: usize = 64 << 20;
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
    /// How much of the queue's first buffer has been written.
    written: usize,
    queued: usize,
    /// The broker knows that it is to write.
    broker_told: bool,
    /// More than this is not queued for a child that is up, whoever sends.
    limit: usize,
    /// The child is up, so that a full queue is its slowness and not its absence.
    connected: bool,
    end: Option<End>,
}

struct Open {
    socket: Arc<OwnedFd>,
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

/// Why a frame was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    TimedOut,
    Ended(End),
}

impl Outgoing {
    /// A stream over `socket`, which must not block.
    /// `max_message_bytes` is the most that one caller can queue on top of the others.
    pub(crate) fn new(socket: Arc<OwnedFd>, sealer: Sealer, max_message_bytes: usize) -> Self {
        let limit = QUEUE_LIMIT_BYTES + max_message_bytes + ANSWERS_LIMIT_BYTES;
        Outgoing::with(Some(Open { socket, sealer }), limit, None)
    }

    /// A stream that never was, because of `end`.
    pub(crate) fn ended(end: End) -> Self {
        Outgoing::with(None, 0, Some(end))
    }

    fn with(open: Option<Open>, limit: usize, end: Option<End>) -> Self {
        let state = State {
            open,
            queue: VecDeque::new(),
            written: 0,
            queued: 0,
            broker_told: false,
            limit,
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
            while state.connected && state.queued > QUEUE_LIMIT_BYTES {
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
        if state.connected && state.queued > state.limit {
            return Ok(Sent::Unread);
        }
        let Some(open) = &mut state.open else { return Ok(Sent::Done) };
        let head = open.sealer.seal(header, &data);
        Ok(state.put(&head, data))
    }

    /// Writes what is queued, as far as the socket takes it; gives whether nothing is left. An error is
    /// the end of the stream.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        let mut state = self.lock();
        let result = state.flush();
        if state.queued <= QUEUE_LIMIT_BYTES {
            self.room.notify_all();
        }
        result
    }

    /// The child is up: from now on a full queue makes callers wait.
    pub(crate) fn connected(&self) {
        self.lock().connected = true;
    }

    /// Lets go of the socket and of what is queued. What is sent from now on is dropped: why the stream
    /// ended is being found out, and whoever waits for an answer will be told by [`end`](Self::end).
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.open = None;
        state.queue.clear();
        state.queued = 0;
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
    /// Writes `head` and `data`, or as much as the socket takes while nothing is queued; queues the rest.
    fn put(&mut self, head: &[u8], data: Vec<u8>) -> Sent {
        let mut written = 0;
        if self.queue.is_empty() {
            if let Some(Open { socket, .. }) = &self.open {
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
        } else if data.len() < GATHER_BYTES / 4 {
            self.gather(&head[written..], &data);
        } else {
            self.gather(&head[written..], &[]);
            self.queue.push_back(data);
        }
        if std::mem::replace(&mut self.broker_told, true) { Sent::Done } else { Sent::Queued }
    }

    /// Queues something small, in one buffer with what is queued already where that has room.
    fn gather(&mut self, head: &[u8], data: &[u8]) {
        let fits = |last: &&mut Vec<u8>| {
            // Not beyond what is allocated: what is queued is not moved.
            last.len() + head.len() + data.len() <= last.capacity().min(GATHER_BYTES)
        };
        let last = match self.queue.back_mut().filter(fits) {
            Some(last) => last,
            None => {
                self.queue.push_back(Vec::with_capacity(GATHER_BYTES));
                self.queue.back_mut().expect("it was just pushed")
            }
        };
        last.extend_from_slice(head);
        last.extend_from_slice(data);
    }

    fn flush(&mut self) -> io::Result<bool> {
        let Some(Open { socket, .. }) = &self.open else { return Ok(true) };
        let socket = socket.clone();
        while let Some(first) = self.queue.front() {
            let mut parts = vec![IoSlice::new(&first[self.written..])];
            parts.extend(self.queue.iter().skip(1).take(15).map(|buffer| IoSlice::new(buffer)));
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
        while let Some(first) = self.queue.front() {
            if self.written < first.len() {
                break;
            }
            self.written -= first.len();
            self.queue.pop_front();
        }
    }
}
