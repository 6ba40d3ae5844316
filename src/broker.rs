//! The broker: one thread, one `poll(2)` call, every descriptor.
//!
//! Invariant: only this thread polls, reads and closes a child's descriptors, and waits for its process.
//! Other threads write a stream under its lock while its queue is empty; else they queue, and wake this
//! thread through a socket. A pass reads, then writes, then ends, so that a frame which arrives together
//! with end-of-file is delivered. Without traffic the thread sleeps: a timeout is given to poll(2) only
//! while a start, a shutdown or an end has a deadline.
//!
//! Not here: what frames mean (`master`), where they may go (`router`).

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::backlog::Pace;
use crate::connect::Handshake;
use crate::end::End;
use crate::peer::Peer;
use crate::text::Tail;
use crate::wire::{Decoder, Frame};
use crate::{ConnectError, ExitStatus, Stage, bootstrap, sys};

/// How long a stream that ended may take to show its exit status and the rest of its stderr.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a process may take to end by SIGTERM before it gets SIGKILL.
const TERM_TO_KILL: Duration = Duration::from_millis(250);
/// How long the kernel may take to end a process after SIGKILL before it is given up: a process in an
/// uninterruptible sleep must not hang the program.
const KILL_TO_GIVE_UP: Duration = Duration::from_secs(5);
/// How often an end is looked for where the system has no descriptor for it (no pidfd).
const WITHOUT_PIDFD: Duration = Duration::from_millis(5);
/// How much is read from one child before the others have their turn.
const READS_PER_PASS: usize = 16;

/// What the broker tells the layer above, on its own thread: nothing here may block.
pub(crate) trait Events: Send + Sync {
    /// A verified frame of `peer`'s stream; an error ends the stream with these words.
    fn frame(&self, peer: &Arc<Peer>, frame: Frame) -> Result<(), String>;
    /// The process that carries a connected child's stream printed this on its stderr.
    fn printed(&self, peer: &Arc<Peer>, bytes: &[u8]);
    /// How many records of any child's log have been shown so far.
    fn shown(&self) -> u64;
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
    Add(Box<Link>),
    Write(u32),
    Look,
    Leave(u32),
    Break(u32, &'static str),
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
        match self.command(Command::Add(Box::new(link))) {
            Some(Command::Add(mut link)) => {
                link.abandon();
                link.peer.gone();
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
            if let Command::Add(mut link) = command {
                link.abandon();
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

/// One child: its stream, its stderr, its process.
pub(crate) struct Link {
    peer: Arc<Peer>,
    socket: Option<Arc<OwnedFd>>,
    stderr: Option<OwnedFd>,
    process: sys::Process,
    handshake: Handshake,
    decoder: Decoder,
    candidates: Vec<OsString>,
    /// The end of what came on stderr.
    printed: Tail,
    phase: Phase,
    deadline: Option<Instant>,
    connect_timeout: Duration,
    grace: Duration,
    writing: bool,
    pace: Pace,
    /// Why the stream ended, where it is known better than by how the process ended.
    cause: Option<String>,
    /// What everybody will be told; taken when it has been told.
    end: Option<End>,
    told: bool,
    exit: Option<ExitStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the first frame.
    Starting,
    Up,
    /// `SHUTDOWN` has been sent.
    Leaving,
    /// The stream is closed; the process may still show how it ended.
    LastWords,
    /// SIGTERM has been sent.
    Terminated,
    /// SIGKILL has been sent.
    Killed,
}

/// What a [`Link`] is made of.
pub(crate) struct Parts {
    pub(crate) peer: Arc<Peer>,
    pub(crate) socket: Arc<OwnedFd>,
    pub(crate) stderr: OwnedFd,
    pub(crate) process: sys::Process,
    pub(crate) decoder: Decoder,
    /// The names of the interpreters that are looked for, for the error.
    pub(crate) candidates: Vec<OsString>,
    pub(crate) connect_timeout: Duration,
    pub(crate) grace: Duration,
}

impl Link {
    pub(crate) fn new(parts: Parts) -> Link {
        Link {
            peer: parts.peer,
            socket: Some(parts.socket),
            stderr: Some(parts.stderr),
            process: parts.process,
            handshake: Handshake::new(),
            decoder: parts.decoder,
            candidates: parts.candidates,
            printed: Tail::default(),
            phase: Phase::Starting,
            deadline: Instant::now().checked_add(parts.connect_timeout),
            connect_timeout: parts.connect_timeout,
            grace: parts.grace,
            writing: false,
            pace: Pace::default(),
            cause: None,
            end: None,
            told: false,
            exit: None,
        }
    }

    /// Reads what is there, a bounded number of times.
    fn read_stream(&mut self, events: &dyn Events) {
        for _ in 0..READS_PER_PASS {
            if self.pace.is_holding() {
                return;
            }
            let Some(socket) = self.socket.clone() else { return };
            match sys::read(socket.as_fd(), self.decoder.space()) {
                Ok(0) => return self.stream_ended(None),
                Ok(count) => {
                    if let Err(cause) = self.received(count, events) {
                        return self.stream_ended(Some(cause));
                    }
                    self.pace.added(&self.peer.backlog, events.shown(), Instant::now());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if sys::is_end_of_stream(&error) => return self.stream_ended(None),
                Err(error) => return self.stream_ended(Some(format!("reading: {error}"))),
            }
        }
    }

    fn received(&mut self, count: usize, events: &dyn Events) -> Result<(), String> {
        if matches!(self.handshake.stage(), Stage::Python | Stage::Core) {
            let bytes = self.decoder.space()[..count].to_vec();
            match self.handshake.receive(&bytes)? {
                Some(frames) => self.decoder.receive(&frames),
                None => return Ok(()),
            }
        } else {
            self.decoder.filled(count);
        }
        while let Some(frame) = self.decoder.next_frame().map_err(|error| error.to_string())? {
            events.frame(&self.peer, frame)?;
            if self.handshake.stage() == Stage::Hello {
                self.handshake.connected();
                if self.phase == Phase::Starting {
                    (self.phase, self.deadline) = (Phase::Up, None);
                }
            }
        }
        Ok(())
    }

    fn read_stderr(&mut self, events: &dyn Events) {
        let mut buffer = [0; 16 << 10];
        for _ in 0..READS_PER_PASS {
            if self.pace.is_holding() {
                return;
            }
            let Some(stderr) = &self.stderr else { return };
            match sys::read(stderr.as_fd(), &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => self.stderr = None,
                Ok(count) => {
                    // Also of a child that is up: how it ended may be the last that it says.
                    self.printed.push(&buffer[..count]);
                    if self.handshake.stage() == Stage::Connected {
                        events.printed(&self.peer, &buffer[..count]);
                        self.pace.added(&self.peer.backlog, events.shown(), Instant::now());
                    }
                }
            }
        }
    }

    fn write(&mut self) {
        match self.peer.out.flush() {
            Ok(done) => self.writing = !done,
            // The end shows on the reading side, after what the child said before it.
            Err(_) => self.writing = false,
        }
    }

    fn stream_ended(&mut self, cause: Option<String>) {
        if cause.is_none() && self.handshake.stage() >= Stage::Hello {
            if let Err(error) = self.decoder.finish() {
                self.cause.get_or_insert_with(|| error.to_string());
            }
        }
        if self.cause.is_none() {
            self.cause = cause;
        }
        self.handshake.finish();
        self.close_stream();
        (self.phase, self.deadline) = (Phase::LastWords, Some(Instant::now() + LAST_WORDS));
    }

    /// Closes the stream: the child sees its end, and ends.
    fn close_stream(&mut self) {
        if let Some(socket) = self.socket.take() {
            // A process that was forked off the child may hold a copy: its peers see the end all the same.
            // An error says that it is closed already.
            let _ = sys::shutdown_socket(socket.as_fd(), std::net::Shutdown::Both);
        }
        self.writing = false;
        self.peer.out.close();
    }

    /// Shuts the child down; one that is not up yet is simply ended.
    fn leave(&mut self, end: End) {
        match self.phase {
            Phase::Starting => {
                self.end.get_or_insert(end);
                self.close_stream();
                self.terminate();
            }
            Phase::Up => {
                self.end.get_or_insert(end);
                self.peer.send_shutdown();
                self.writing = true;
                (self.phase, self.deadline) =
                    (Phase::Leaving, Instant::now().checked_add(self.grace));
            }
            Phase::Leaving | Phase::LastWords | Phase::Terminated | Phase::Killed => {}
        }
    }

    fn terminate(&mut self) {
        self.signal(libc::SIGTERM);
        (self.phase, self.deadline) = (Phase::Terminated, Some(Instant::now() + TERM_TO_KILL));
    }

    fn signal(&mut self, number: libc::c_int) {
        // A process that changed its user (sudo) cannot be signalled: it has seen the stream's end.
        let _ = match self.handshake.stage() {
            // What a user's function has started is not ours to end.
            Stage::Connected => self.process.signal(number),
            // A candidate that hangs, say, below the shell that tries it.
            _ => self.process.signal_group(number),
        };
    }

    /// The deadline of the phase has passed.
    fn expire(&mut self) {
        match self.phase {
            Phase::Starting => {
                let mut cause = format!("no answer within {:?}", self.connect_timeout);
                if let Err(error) = self.decoder.finish() {
                    cause += &format!("; {error}");
                }
                self.cause = Some(cause);
                self.handshake.finish();
                self.close_stream();
                self.terminate();
            }
            Phase::Up => self.deadline = None,
            Phase::Leaving => {
                self.close_stream();
                self.terminate();
            }
            Phase::LastWords => self.terminate(),
            Phase::Terminated => {
                self.signal(libc::SIGKILL);
                (self.phase, self.deadline) =
                    (Phase::Killed, Some(Instant::now() + KILL_TO_GIVE_UP));
            }
            Phase::Killed => self.exit = Some(ExitStatus::Unknown),
        }
    }

    /// The process has ended: what it had said is still to be read.
    fn look_for_exit(&mut self, events: &dyn Events) {
        if self.exit.is_some() {
            return;
        }
        match self.process.try_wait() {
            Ok(None) => return,
            Ok(status) => self.exit = status,
            Err(_) => self.exit = Some(ExitStatus::Unknown),
        }
        self.pace.give_up();
        // A daemon may hold copies of the descriptors, so their end may never come: what is there now
        // is all that the child said.
        for _ in 0..1024 {
            let before = self.socket.is_some();
            self.read_stream(events);
            if !before || !self.readable() {
                break;
            }
        }
        self.read_stderr(events);
        if self.socket.is_some() {
            self.stream_ended(None);
        }
    }

    fn readable(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut fds = [pollfd(socket.as_fd(), libc::POLLIN)];
        sys::poll(&mut fds, 0).is_ok_and(|count| count > 0)
    }

    /// Tells everybody, as soon as it is known what to tell.
    fn tell(&mut self, events: &dyn Events) {
        let ending = !matches!(self.phase, Phase::Starting | Phase::Up | Phase::Leaving);
        let known = self.exit.is_some() || self.phase != Phase::LastWords;
        if !ending || !known || self.told {
            return;
        }
        self.told = true;
        let end = self.end.take().unwrap_or_else(|| self.explain());
        events.ended(&self.peer, end);
    }

    fn explain(&self) -> End {
        let status = self.exit;
        let stage = self.handshake.stage();
        if stage == Stage::Connected {
            let reason = match (&self.cause, status) {
                (Some(cause), _) => cause.clone(),
                (None, Some(status)) => match self.last_words() {
                    Some(words) => format!("the child ended: {status}; it said: {words}"),
                    None => format!("the child ended: {status}"),
                },
                (None, None) => "the stream ended".into(),
            };
            return End::Lost(reason);
        }
        let printed = [self.handshake.noise().text(), self.printed.text()];
        let printed = printed.iter().filter(|text| !text.is_empty()).map(String::as_str);
        let printed = printed.collect::<Vec<_>>().join("\n");
        let known = match status {
            Some(ExitStatus::Code(code)) => {
                bootstrap::exit_reason(code, &printed, &self.candidates)
            }
            _ => None,
        };
        // Where there is a reason, it has our own line in it.
        let is_told = |line: &&str| known.is_some() && line.starts_with("econtext:");
        let printed = printed.lines().filter(|line| !is_told(line)).collect::<Vec<_>>().join("\n");
        End::Failed(Arc::new(ConnectError {
            context: self.peer.name().into(),
            stage,
            reason: self.cause.clone().or(known).unwrap_or_else(|| match status {
                Some(_) => "the process ended".into(),
                None => "the stream ended".into(),
            }),
            printed,
            status,
        }))
    }

    /// The last line on stderr, where it is the core's own.
    fn last_words(&self) -> Option<String> {
        let printed = self.printed.text();
        let words = printed.lines().next_back()?.strip_prefix("econtext: ")?;
        let name = format!("{}: ", self.peer.name());
        Some(words.strip_prefix(&name).unwrap_or(words).into())
    }

    /// Ends a child that no broker will look after.
    fn abandon(&mut self) {
        self.close_stream();
        self.signal(libc::SIGKILL);
        let mut fds: Vec<_> =
            self.process.exit_fd().map(|fd| pollfd(fd, libc::POLLIN)).into_iter().collect();
        let deadline = Instant::now() + KILL_TO_GIVE_UP;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            let pause = if fds.is_empty() { WITHOUT_PIDFD } else { KILL_TO_GIVE_UP };
            let now = Instant::now();
            if sys::poll(&mut fds, wait_ms(now, Some(now + pause))).is_err() {
                break;
            }
        }
    }

    fn finished(&self) -> bool {
        self.told && self.exit.is_some()
    }

    /// When this link wants to be looked at without an event.
    fn wake_at(&self, now: Instant) -> Option<Instant> {
        let look = self.must_look().then(|| now + WITHOUT_PIDFD);
        [self.deadline, look, self.pace.wake_at()].into_iter().flatten().min()
    }

    /// The system will not say when the process ends, and its end is near.
    fn must_look(&self) -> bool {
        let ending = self.socket.is_none() || self.phase == Phase::Leaving;
        ending && self.exit.is_none() && self.process.exit_fd().is_none()
    }

    fn wants(&self) -> [Option<libc::pollfd>; 3] {
        let reads = !self.pace.is_holding();
        let events = if reads { libc::POLLIN } else { 0 };
        let events = if self.writing { events | libc::POLLOUT } else { events };
        // poll(2) tells of the end of what is asked for nothing, too.
        let socket = self.socket.as_ref().filter(|_| events != 0);
        let stderr = self.stderr.as_ref().filter(|_| reads);
        [
            socket.map(|socket| pollfd(socket.as_fd(), events)),
            stderr.map(|stderr| pollfd(stderr.as_fd(), libc::POLLIN)),
            match self.exit {
                None => self.process.exit_fd().map(|fd| pollfd(fd, libc::POLLIN)),
                Some(_) => None,
            },
        ]
    }
}

fn pollfd(fd: BorrowedFd<'_>, events: libc::c_short) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

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
    links: HashMap<u32, Box<Link>>,
    stopping: bool,
}

/// Whatever ends the broker, a panic too, no process is left and everybody is told.
impl Drop for Broker<'_> {
    fn drop(&mut self) {
        self.handle.refuse_all();
        self.links.values_mut().for_each(|link| link.abandon());
        self.events.stopped();
    }
}

impl Broker<'_> {
    fn pass(&mut self, waker: &Waker) {
        let events = self.events;
        let mut fds = vec![pollfd(waker.0.as_fd(), libc::POLLIN)];
        let mut owners = Vec::with_capacity(self.links.len() * 3);
        for (id, link) in &self.links {
            for (role, fd) in link.wants().into_iter().enumerate() {
                if let Some(fd) = fd {
                    fds.push(fd);
                    owners.push((*id, role));
                }
            }
        }
        let now = Instant::now();
        let wake_at = self.links.values().filter_map(|link| link.wake_at(now)).min();
        if let Err(error) = sys::poll(&mut fds, wait_ms(now, wake_at)) {
            panic!("poll(2) of {} descriptors: {error}", fds.len());
        }
        if fds[0].revents != 0 {
            self.obey(waker);
        }
        let ready = |fd: &libc::pollfd| fd.revents != 0;
        let mut exited = Vec::new();
        for ((id, role), fd) in owners.iter().zip(&fds[1..]).filter(|(_, fd)| ready(fd)) {
            let Some(link) = self.links.get_mut(id) else { continue };
            match role {
                0 => {
                    if fd.revents & !libc::POLLOUT != 0 {
                        link.read_stream(events);
                    }
                    if fd.revents & libc::POLLOUT != 0 {
                        link.write();
                    }
                }
                1 => link.read_stderr(events),
                _ => exited.push(*id),
            }
        }
        for id in exited {
            if let Some(link) = self.links.get_mut(&id) {
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
                Command::Add(mut link) => {
                    link.writing = true;
                    if self.stopping {
                        link.leave(End::Shutdown);
                    }
                    self.links.insert(link.peer.id(), link);
                }
                Command::Write(id) => {
                    if let Some(link) = self.links.get_mut(&id) {
                        link.writing = link.socket.is_some();
                    }
                }
                // What this is for is looked at after each pass.
                Command::Look => {}
                Command::Leave(id) => {
                    if let Some(link) = self.links.get_mut(&id) {
                        link.leave(End::Lost("it was shut down".into()));
                    }
                }
                Command::Break(id, reason) => {
                    if let Some(link) = self.links.get_mut(&id).filter(|link| link.socket.is_some())
                    {
                        link.stream_ended(Some(reason.into()));
                    }
                }
                Command::Stop => {
                    self.stopping = true;
                    self.links.values_mut().for_each(|link| link.leave(End::Shutdown));
                }
            }
        }
    }

    fn end_what_ended(&mut self) {
        let events = self.events;
        let now = Instant::now();
        for link in self.links.values_mut() {
            link.pace.look(&link.peer.backlog, events.shown(), now);
            if link.deadline.is_some_and(|deadline| deadline <= now) {
                link.expire();
            }
            if link.must_look() {
                link.look_for_exit(events);
            }
            link.tell(events);
        }
        self.links.retain(|_, link| {
            let finished = link.finished();
            if finished {
                link.peer.gone();
            }
            !finished
        });
    }
}

/// The timeout for poll(2), rounded up: rounding down would spin through the last fraction.
fn wait_ms(now: Instant, wake_at: Option<Instant>) -> i32 {
    let Some(wake_at) = wake_at else { return -1 };
    let left = wake_at.saturating_duration_since(now);
    i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_to_whole_milliseconds() {
        let now = Instant::now();
        assert_eq!(wait_ms(now, None), -1);
        assert_eq!(wait_ms(now, Some(now)), 0);
        assert_eq!(wait_ms(now, Some(now + Duration::from_micros(10))), 1);
        assert_eq!(wait_ms(now, Some(now + Duration::from_secs(1 << 40))), i32::MAX);
    }
}
