//! The broker: one thread, one `poll(2)` call, every descriptor.
//!
//! Invariant: only this thread polls, reads and closes a child's descriptors, and waits for its process; but a
//! thread whose calls follow each other may read its child's stream itself (`lead`).
//! Other threads write a stream under its lock while its queue is empty; else they queue, and wake this
//! thread through a socket. A pass reads, then writes, then ends, so that a frame which arrives together
//! with end-of-file is delivered. Without traffic the thread sleeps: a timeout is given to poll(2) only
//! while a start, a shutdown or an end has a deadline, or a caller reads; and for keepalives.
//!
//! Not here: the life of one child (`link`), what frames mean (`master`), where they may go (`routes`).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::connect::{Plan, Target};
use crate::end::End;
use crate::link::Link;
use crate::log::Level;
use crate::peer::Peer;
use crate::secret::Secret;
use crate::wire::Frame;
use crate::{Prompt, sys};

/// What the broker tells the layer above, on its own thread, or on that of a caller who reads (`frame`); with the
/// link's lock held. Nothing here may block, or take such a lock.
pub(crate) trait Events: Send + Sync {
    /// A verified frame of `peer`'s stream; an error ends the stream with these words.
    fn frame(&self, peer: &Arc<Peer>, frame: Frame) -> Result<(), String>;
    /// The process that carries a connected child's stream printed this on its stderr.
    fn printed(&self, peer: &Arc<Peer>, bytes: &[u8]);
    /// The program that carries the child's stream asks this; `attempt` is for the answer.
    fn asked(&self, peer: &Arc<Peer>, attempt: u32, prompt: Prompt);
    /// It is to be found out, by this plan, whom a password is for; `attempt` is for the answer.
    fn wants_target(&self, peer: &Arc<Peer>, attempt: u32, plan: Plan);
    /// Something about the child that is worth a line of the log.
    fn note(&self, peer: &Arc<Peer>, level: Level, note: String);
    /// How many records of any child's log have been shown so far.
    fn shown(&self) -> u64;
    /// Looks at what has no descriptor, and gives when to look again. Called without a link's lock.
    fn look(&self, now: Instant) -> Option<Instant>;
    /// The child is gone, and everything that waits for it is to be told.
    fn ended(&self, peer: &Arc<Peer>, end: End);
    /// The broker has ended, in order or by a bug: nothing will arrive any more.
    fn stopped(&self);
}

/// What other threads hold of the broker.
pub(crate) struct Handle {
    /// `None` when the broker has ended.
    commands: Mutex<Option<Vec<Command>>>,
    wake: OwnedFd,
    woken: AtomicBool,
}

enum Command {
    Add(Arc<Mutex<Link>>),
    Write(u32),
    Look,
    Leave(u32),
    Break(u32, &'static str),
    Answer(u32, u32, Option<Secret>),
    Target(u32, u32, Target),
    Stop,
}

impl Handle {
    /// The broker's two halves: what other threads hold, and what [`run`] takes.
    pub(crate) fn new() -> io::Result<(Arc<Handle>, Waker)> {
        // A socket, since a write to a pipe takes more system calls that keep SIGPIPE away.
        let (read, write) = sys::socketpair()?;
        sys::set_nonblocking(read.as_fd())?;
        sys::set_nonblocking(write.as_fd())?;
        let handle = Handle {
            commands: Mutex::new(Some(Vec::new())),
            wake: write,
            woken: AtomicBool::new(false),
        };
        Ok((Arc::new(handle), Waker(read)))
    }

    /// Hands a started child over; to a broker that has ended: ends it here.
    pub(crate) fn add(&self, link: Link) -> Result<(), End> {
        let peer = link.peer().clone();
        let link = Arc::new(Mutex::new(link));
        peer.lead.set(Arc::downgrade(&link));
        match self.command(Command::Add(link)) {
            Some(Command::Add(link)) => {
                lock(&link).abandon();
                peer.gone();
                Err(End::Shutdown)
            }
            _ => Ok(()),
        }
    }

    /// There is something to write to this child.
    pub(crate) fn write(&self, id: u32) {
        let _ = self.command(Command::Write(id));
    }

    /// There is room again for what a child logs.
    pub(crate) fn look(&self) {
        let _ = self.command(Command::Look);
    }

    /// Shuts one child down.
    pub(crate) fn leave(&self, id: u32) {
        let _ = self.command(Command::Leave(id));
    }

    /// Ends a child's stream for this reason.
    pub(crate) fn break_off(&self, id: u32, reason: &'static str) {
        let _ = self.command(Command::Break(id, reason));
    }

    /// The prompt handler's answer to a question of this attempt to start a child.
    pub(crate) fn answer(&self, id: u32, attempt: u32, answer: Option<Secret>) {
        let _ = self.command(Command::Answer(id, attempt, answer));
    }

    /// Whom the password of this attempt to start a child is for.
    pub(crate) fn target(&self, id: u32, attempt: u32, target: Target) {
        let _ = self.command(Command::Target(id, attempt, target));
    }

    /// Shuts all children down, then the broker itself.
    pub(crate) fn stop(&self) {
        let _ = self.command(Command::Stop);
    }

    /// Gives the command back when the broker has ended.
    fn command(&self, command: Command) -> Option<Command> {
        match &mut *self.commands.lock().expect("held for a push only") {
            Some(commands) => commands.push(command),
            None => return Some(command),
        }
        if !self.woken.swap(true, Ordering::AcqRel) {
            // A full socket wakes as well as one byte more would; after the end nobody needs waking.
            let _ = sys::write_vectored(self.wake.as_fd(), &[io::IoSlice::new(b"w")]);
        }
        None
    }

    fn take(&self) -> Vec<Command> {
        let mut commands = self.commands.lock().expect("held for a push only");
        commands.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Ends the taking of commands. Children that were handed over and not taken are ended.
    fn refuse_all(&self) {
        let commands = match self.commands.lock() {
            Ok(mut commands) => commands.take(),
            // A panic while it was held: the broker's own.
            Err(poisoned) => poisoned.into_inner().take(),
        };
        for command in commands.into_iter().flatten() {
            if let Command::Add(link) = command {
                lock(&link).abandon();
            }
        }
    }

    /// Ends the taking of commands, unless there are some.
    fn close(&self) -> bool {
        let mut commands = self.commands.lock().expect("held for a push only");
        if commands.as_ref().is_some_and(|commands| commands.is_empty()) {
            *commands = None;
        }
        commands.is_none()
    }
}

/// The end of the socket that wakes the broker.
pub(crate) struct Waker(OwnedFd);

/// Runs the broker until it is told to stop and all children have ended.
pub(crate) fn run(handle: &Handle, waker: Waker, events: &dyn Events) {
    let mut broker = Broker { handle, events, links: HashMap::new(), stopping: false };
    while !(broker.stopping && broker.links.is_empty() && handle.close()) {
        broker.pass(&waker);
    }
}

struct Broker<'a> {
    handle: &'a Handle,
    events: &'a dyn Events,
    links: HashMap<u32, Arc<Mutex<Link>>>,
    stopping: bool,
}

/// Whatever ends the broker, a panic too, no process is left and everybody is told.
impl Drop for Broker<'_> {
    fn drop(&mut self) {
        self.handle.refuse_all();
        for link in self.links.values() {
            // A panic while it was held was this thread's own, or that of a caller who read.
            link.lock().unwrap_or_else(PoisonError::into_inner).abandon();
        }
        self.events.stopped();
    }
}

/// A link: also a caller who waits for an answer may read its stream.
fn lock(link: &Mutex<Link>) -> MutexGuard<'_, Link> {
    link.lock().expect("a link's lock is never held across a panic")
}

impl Broker<'_> {
    fn link(&self, id: u32) -> Option<MutexGuard<'_, Link>> {
        self.links.get(&id).map(|link| lock(link))
    }

    fn pass(&mut self, waker: &Waker) {
        let events = self.events;
        let mut fds = vec![sys::pollfd(waker.0.as_fd(), libc::POLLIN)];
        let mut owners = Vec::with_capacity(self.links.len() * 4);
        let now = Instant::now();
        let mut wake_at = events.look(now);
        for (id, link) in &self.links {
            let link = lock(link);
            let glance_at = link.peer().lead.glance_at(now);
            for (role, fd) in link.wants(glance_at.is_none()).into_iter().enumerate() {
                if let Some(fd) = fd {
                    fds.push(fd);
                    owners.push((*id, role));
                }
            }
            wake_at = [wake_at, glance_at, link.wake_at(now)].into_iter().flatten().min();
        }
        let wait_ms =
            wake_at.map_or(-1, |wake_at| sys::wait_ms(wake_at.saturating_duration_since(now)));
        if let Err(error) = sys::poll(&mut fds, wait_ms) {
            panic!("poll(2) of {} descriptors: {error}", fds.len());
        }
        if fds[0].revents != 0 {
            self.obey(waker);
        }
        let ready = |fd: &libc::pollfd| fd.revents != 0;
        let mut exited = Vec::new();
        for ((id, role), fd) in owners.iter().zip(&fds[1..]).filter(|(_, fd)| ready(fd)) {
            let Some(mut link) = self.link(*id) else { continue };
            match role {
                0 => {
                    if fd.revents & !libc::POLLOUT != 0 && !link.peer().lead.is_led() {
                        link.read_stream(events);
                    }
                    if fd.revents & libc::POLLOUT != 0 {
                        link.write();
                    }
                }
                1 => link.read_stderr(events),
                2 => link.read_terminal(events, Instant::now()),
                _ => exited.push(*id),
            }
        }
        for id in exited {
            if let Some(mut link) = self.link(id) {
                link.look_for_exit(events);
            }
        }
        self.end_what_ended();
    }

    fn obey(&mut self, waker: &Waker) {
        let handle = self.handle;
        let mut bytes = [0; 64];
        while sys::read(waker.0.as_fd(), &mut bytes).is_ok_and(|count| count == bytes.len()) {}
        // Cleared before the commands are taken: one that comes later wakes again.
        handle.woken.store(false, Ordering::Release);
        for command in handle.take() {
            match command {
                Command::Add(link) => {
                    let mut locked = lock(&link);
                    if self.stopping {
                        locked.leave(End::Shutdown);
                    }
                    let id = locked.peer().id();
                    drop(locked);
                    self.links.insert(id, link);
                }
                Command::Write(id) => {
                    if let Some(mut link) = self.link(id) {
                        link.wants_to_write();
                    }
                }
                // What this is for is looked at after each pass.
                Command::Look => {}
                Command::Leave(id) => {
                    if let Some(mut link) = self.link(id) {
                        let end = End::shut_down(link.peer());
                        link.leave(end);
                    }
                }
                Command::Break(id, reason) => {
                    if let Some(mut link) = self.link(id) {
                        link.break_off(reason);
                    }
                }
                Command::Answer(id, attempt, answer) => {
                    if let Some(mut link) = self.link(id) {
                        link.answered(self.events, attempt, answer);
                    }
                }
                Command::Target(id, attempt, target) => {
                    if let Some(mut link) = self.link(id) {
                        link.target_found(self.events, attempt, target);
                    }
                }
                Command::Stop => {
                    self.stopping = true;
                    self.links.values().for_each(|link| lock(link).leave(End::Shutdown));
                }
            }
        }
    }

    fn end_what_ended(&mut self) {
        let events = self.events;
        let now = Instant::now();
        self.links.values().for_each(|link| lock(link).look(events, now));
        let finished = self.links.iter().filter(|(_, link)| lock(link).finished());
        let finished: Vec<_> = finished.map(|(id, _)| *id).collect();
        for link in finished.iter().filter_map(|id| self.links.remove(id)) {
            let peer = lock(&link).peer().clone();
            // First its descriptors and secrets: who waits for its end is told that nothing is left.
            drop(link);
            peer.gone();
        }
    }
}
