//! One child: its stream, its stderr, its process, from its start to its end.
//!
//! Invariant: only the broker's thread is here, and under the link's lock a caller who reads the stream (`lead`).
//! A start may take several attempts (a server that is too busy,
//! a login script that ate what was sent), one process after the other; to everybody else it is one start with
//! one deadline. Everybody who waits is told once, and only then.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backlog::Pace;
use crate::broker::Events;
use crate::connect::{Again, Carrier, Handshake, Move, Target, Terminal};
use crate::dialogue::Dialogue;
use crate::end::End;
use crate::keepalive::Keepalive;
use crate::log::Level;
use crate::peer::Peer;
use crate::secret::Secret;
use crate::start::Start;
use crate::wire::Decoder;
use crate::{ConnectError, ExitStatus, Stage, sys};

/// How long a stream that ended may take to show its exit status and the rest of its stderr.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a process may take to end by SIGTERM before it gets SIGKILL.
const TERM_TO_KILL: Duration = Duration::from_millis(250);
/// How long the kernel may take to end a process after SIGKILL before it is given up: a process in an
/// uninterruptible sleep must not hang the program.
const KILL_TO_GIVE_UP: Duration = Duration::from_secs(5);
/// How much is read from one child before the others have their turn.
const READS_PER_PASS: usize = 16;
/// The same of its stderr, whose lines are looked at.
const STDERR_READS_PER_PASS: usize = 4;
/// One child, as the broker sees it.
pub(crate) struct Link {
    peer: Arc<Peer>,
    start: Start,
    grace: Duration,
    process: sys::Process,
    socket: Option<Arc<OwnedFd>>,
    stderr: Option<OwnedFd>,
    dialogue: Option<Dialogue>,
    keepalive: Option<Keepalive>,
    handshake: Handshake,
    decoder: Decoder,
    phase: Phase,
    deadline: Option<Instant>,
    writing: bool,
    pace: Pace,
    /// Why the stream ended, where it is known better than by how the process ended.
    cause: Option<String>,
    /// The start stalled after the marker.
    has_stalled: bool,
    /// What everybody will be told; taken when it has been told.
    end: Option<End>,
    told: bool,
    exit: Option<ExitStatus>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Until the first frame.
    Starting,
    /// An attempt has failed, and the next one has its time.
    Between,
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

/// The first attempt's process, and the stream to it.
pub(crate) struct Parts {
    pub(crate) peer: Arc<Peer>,
    pub(crate) process: sys::Process,
    pub(crate) socket: Arc<OwnedFd>,
    pub(crate) stderr: OwnedFd,
    pub(crate) terminal: Option<Terminal>,
    pub(crate) decoder: Decoder,
}

impl Link {
    pub(crate) fn new(parts: Parts, start: Start, grace: Duration) -> Link {
        let now = Instant::now();
        let keepalive = start.plan().keepalive;
        Link {
            dialogue: start.dialogue(parts.peer.name(), parts.terminal, &parts.socket),
            keepalive: keepalive.map(|(interval, count)| Keepalive::new(interval, count, now)),
            handshake: start.handshake(),
            deadline: start.deadline(),
            peer: parts.peer,
            start,
            grace,
            process: parts.process,
            socket: Some(parts.socket),
            stderr: Some(parts.stderr),
            decoder: parts.decoder,
            phase: Phase::Starting,
            writing: true,
            pace: Pace::default(),
            cause: None,
            has_stalled: false,
            end: None,
            told: false,
            exit: None,
        }
    }

    pub(crate) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Reads what the carrier's program says on its terminal.
    pub(crate) fn read_terminal(&mut self, events: &dyn Events, now: Instant) {
        if let Some(next) = self.dialogue.as_mut().and_then(|dialogue| dialogue.read(now)) {
            self.act(events, next);
        }
    }

    /// The prompt handler has answered a question of this attempt.
    pub(crate) fn answered(&mut self, events: &dyn Events, attempt: u32, answer: Option<Secret>) {
        let Some(dialogue) = self.dialogue.as_mut().filter(|_| attempt == self.start.attempt())
        else {
            return;
        };
        if let Some((next, took)) = dialogue.answered(answer, Instant::now()) {
            if self.phase == Phase::Starting {
                self.start.extend(took);
                self.deadline = self.start.deadline();
            }
            self.act(events, next);
        }
    }

    /// It is known whom the password of this attempt is for.
    pub(crate) fn target_found(&mut self, events: &dyn Events, attempt: u32, target: Target) {
        let Some(dialogue) = self.dialogue.as_mut().filter(|_| attempt == self.start.attempt())
        else {
            return;
        };
        if let Some(next) = dialogue.target_found(target, Instant::now()) {
            self.act(events, next);
        }
    }

    fn act(&mut self, events: &dyn Events, next: Move) {
        self.handshake.asked(self.start.asks(), &next);
        match next {
            Move::FindTarget => {
                let plan = self.start.plan().without_answers();
                events.wants_target(&self.peer, self.start.attempt(), plan);
            }
            Move::Write(line) => self.dialogue.iter().for_each(|dialogue| dialogue.write(&line)),
            Move::Ask(prompt) => {
                self.start.asked();
                if self.phase == Phase::Starting {
                    self.deadline = None; // Until there is an answer.
                }
                events.asked(&self.peer, self.start.attempt(), prompt);
            }
            // It is in: whatever that was, nobody needs an answer.
            Move::Fail(..) if self.handshake.is_past_questions() => {}
            Move::Fail(_, reason) => {
                self.cause.get_or_insert(reason);
                self.close_stream();
                if !matches!(self.phase, Phase::Terminated | Phase::Killed) {
                    self.terminate();
                }
            }
        }
    }

    /// Reads what is there, a bounded number of times.
    pub(crate) fn read_stream(&mut self, events: &dyn Events) {
        for _ in 0..READS_PER_PASS {
            if self.pace.is_holding() {
                return;
            }
            let Some(socket) = self.socket.clone() else { return };
            let space = self.decoder.space();
            let room = space.len();
            match sys::read(socket.as_fd(), space) {
                Ok(0) => return self.stream_ended(None),
                Ok(count) => {
                    if let Err(cause) = self.received(count, events) {
                        return self.stream_ended(Some(cause));
                    }
                    self.pace.added(&self.peer.backlog, events.shown(), Instant::now());
                    if count < room {
                        return; // That was all that was there.
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if sys::is_end_of_stream(&error) => return self.stream_ended(None),
                Err(error) => return self.stream_ended(Some(format!("reading: {error}"))),
            }
        }
    }

    fn received(&mut self, count: usize, events: &dyn Events) -> Result<(), String> {
        if self.handshake.stage() < Stage::Hello {
            let before = self.handshake.stage();
            let bytes = self.decoder.space()[..count].to_vec();
            let frames = self.handshake.receive(&bytes)?;
            let stage = self.handshake.stage();
            if before < Stage::Core && stage >= Stage::Core {
                self.python_started();
            } else if stage < Stage::Core {
                // busybox asks on stdout.
                let dialogue = self.dialogue.as_mut();
                let next = dialogue.and_then(|it| it.printed(&bytes, Instant::now()));
                next.into_iter().for_each(|next| self.act(events, next));
            }
            if stage >= Stage::Hello && self.phase == Phase::Starting {
                self.deadline = self.start.deadline(); // The core is there: nothing was eaten.
            }
            match frames {
                Some(frames) => self.decoder.receive(&frames),
                None => return Ok(()),
            }
        } else {
            self.decoder.filled(count);
        }
        while let Some(frame) = self.decoder.next_frame().map_err(|error| error.to_string())? {
            events.frame(&self.peer, frame)?;
            if self.handshake.stage() == Stage::Hello {
                self.connected(events);
            }
        }
        Ok(())
    }

    /// The interpreter is there, and reads: there is nothing left to ask.
    fn python_started(&mut self) {
        self.dialogue.iter_mut().for_each(Dialogue::retire);
        if self.start.waits() {
            self.peer.out.release();
            self.writing = true;
        }
        if self.phase == Phase::Starting {
            self.deadline = self.start.core_deadline();
        }
    }

    fn connected(&mut self, events: &dyn Events) {
        self.handshake.connected();
        self.start.done();
        if self.phase == Phase::Starting {
            (self.phase, self.deadline) = (Phase::Up, None);
        }
        if let Some(note) = self.start.note() {
            events.note(&self.peer, Level::Warning, note.into());
        }
    }

    pub(crate) fn read_stderr(&mut self, events: &dyn Events) {
        let mut buffer = [0; 16 << 10];
        for _ in 0..STDERR_READS_PER_PASS {
            if self.pace.is_holding() {
                return;
            }
            let Some(stderr) = &self.stderr else { return };
            let shown = match sys::read(stderr.as_fd(), &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => {
                    self.stderr = None;
                    self.handshake.end_stderr()
                }
                // Also of a child that is up: how it ended may be the last that it says.
                Ok(count) => {
                    let dialogue = self.dialogue.as_mut();
                    let next = dialogue.and_then(|it| it.printed(&buffer[..count], Instant::now()));
                    let shown = self.handshake.receive_stderr(&buffer[..count]);
                    next.into_iter().for_each(|next| self.act(events, next));
                    shown
                }
            };
            if self.handshake.stage() == Stage::Connected && !shown.is_empty() {
                events.printed(&self.peer, &shown);
                self.pace.added(&self.peer.backlog, events.shown(), Instant::now());
            }
        }
    }

    pub(crate) fn write(&mut self) {
        match self.peer.out.flush() {
            Ok(done) => self.writing = !done,
            // The end shows on the reading side, after what the child said before it.
            Err(_) => self.writing = false,
        }
    }

    /// There is something to write.
    pub(crate) fn wants_to_write(&mut self) {
        self.writing = self.socket.is_some();
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
        self.close_stream();
        (self.phase, self.deadline) = (Phase::LastWords, Some(Instant::now() + LAST_WORDS));
    }

    /// Ends the stream of a child for this reason.
    pub(crate) fn break_off(&mut self, reason: &str) {
        if self.socket.is_some() {
            self.stream_ended(Some(reason.into()));
        }
    }

    /// Closes the stream: the child sees its end, and ends.
    fn close_stream(&mut self) {
        if let Some(socket) = self.socket.take() {
            // A process that was forked off the child may hold a copy: its peers see the end all the same.
            // An error says that it is closed already.
            let _ = sys::shutdown_socket(socket.as_fd(), std::net::Shutdown::Both);
        }
        self.handshake.finish();
        self.writing = false;
        if self.handshake.stage() == Stage::Connected {
            self.peer.out.close();
        } else {
            self.peer.out.pause(); // There may be another attempt.
        }
    }

    /// Shuts the child down; one that is not up yet is simply ended.
    pub(crate) fn leave(&mut self, end: End) {
        match self.phase {
            Phase::Starting => {
                self.end.get_or_insert(end);
                self.close_stream();
                self.terminate();
            }
            Phase::Between => {
                self.end.get_or_insert(end);
                (self.phase, self.deadline) = (Phase::Killed, None);
            }
            Phase::Up => {
                self.end.get_or_insert(end);
                self.peer.send_shutdown();
                self.writing = true;
                (self.phase, self.deadline) =
                    (Phase::Leaving, Instant::now().checked_add(self.grace));
            }
            Phase::Leaving => {}
            Phase::LastWords | Phase::Terminated | Phase::Killed => {
                if self.handshake.stage() < Stage::Connected {
                    self.end.get_or_insert(end); // What has failed is not begun again.
                }
            }
        }
    }

    fn terminate(&mut self) {
        self.signal(libc::SIGTERM);
        (self.phase, self.deadline) = (Phase::Terminated, Some(Instant::now() + TERM_TO_KILL));
    }

    fn signal(&mut self, number: libc::c_int) {
        // A process that changed its user (sudo) cannot be signalled: it has seen the stream's end.
        let is_up = self.handshake.stage() == Stage::Connected;
        let _ = if is_up && !self.start.plan().is_ssh() {
            // What a user's function has started is not ours to end.
            self.process.signal(number)
        } else {
            // A candidate that hangs, say, below the shell that tries it; the ssh of a jump host.
            self.process.signal_group(number)
        };
    }

    /// The deadline of the phase has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        match self.phase {
            Phase::Starting => {
                if self.start.is_over(now) || self.handshake.stage() != Stage::Core {
                    let mut cause = self.start.timed_out(self.handshake.stage());
                    if let Err(error) = self.decoder.finish() {
                        cause += &format!("; {error}");
                    }
                    self.cause = Some(cause);
                } else {
                    self.has_stalled = true;
                    self.cause = Some("Python waits for the rest of the core".into());
                }
                self.close_stream();
                self.terminate();
            }
            Phase::Between => self.try_again(),
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
            Phase::Killed => (self.exit, self.deadline) = (Some(ExitStatus::Unknown), None),
        }
    }

    /// The process has ended: what it had said is still to be read.
    pub(crate) fn look_for_exit(&mut self, events: &dyn Events) {
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

    /// The stream, if a caller may read it in the broker's stead.
    pub(crate) fn readable_socket(&self) -> Option<Arc<OwnedFd>> {
        self.socket.clone().filter(|_| self.phase == Phase::Up && !self.pace.is_holding())
    }

    fn readable(&self) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut fds = [sys::pollfd(socket.as_fd(), libc::POLLIN)];
        sys::poll(&mut fds, 0).is_ok_and(|count| count > 0)
    }

    /// Tells everybody, as soon as it is known what to tell; or begins again.
    pub(crate) fn tell(&mut self, events: &dyn Events) {
        let ending = matches!(self.phase, Phase::LastWords | Phase::Terminated | Phase::Killed);
        let known = self.exit.is_some() || self.phase != Phase::LastWords;
        if !ending || !known || self.told {
            return;
        }
        let end = match self.end.take() {
            Some(end) => end,
            None if self.handshake.stage() == Stage::Connected => {
                let why = self.why_lost();
                End::lost(&self.peer, why)
            }
            None => {
                self.handshake.end_stderr();
                let failed =
                    self.handshake.failure(self.peer.name(), self.cause.clone(), self.exit);
                let again = if self.has_stalled { Some(Again::Eaten) } else { failed.again };
                let next = again.and_then(|again| Some((again, self.start.pause_before(again)?)));
                if let Some((again, pause)) = next {
                    if self.exit.is_some() {
                        let reason = &failed.error.reason;
                        let note = format!("{reason}: another attempt in {pause:.1?}");
                        events.note(&self.peer, Level::Debug, note);
                        self.start.next_attempt(again);
                        (self.phase, self.deadline) =
                            (Phase::Between, Some(Instant::now() + pause));
                    } // Else when the process is gone.
                    return;
                }
                End::Failed(Arc::new(self.start.describe(failed.error)))
            }
        };
        self.told = true;
        events.ended(&self.peer, end);
    }

    fn try_again(&mut self) {
        let launch = self.start.launch();
        let carrier = match self.start.spawn(&launch) {
            Ok(carrier) => carrier,
            Err(reason) => {
                let error = ConnectError::at_spawn(self.peer.name(), reason);
                self.end = Some(End::Failed(Arc::new(self.start.describe(error))));
                (self.phase, self.deadline) = (Phase::Killed, None);
                return;
            }
        };
        let Carrier { process, stream, stderr, terminal } = carrier;
        let socket = Arc::new(stream);
        self.peer.out.restart(socket.clone(), self.start.padding(), self.start.waits());
        self.handshake = self.start.handshake();
        self.dialogue = self.start.dialogue(self.peer.name(), terminal, &socket);
        (self.process, self.socket, self.stderr) = (process, Some(socket), Some(stderr));
        (self.phase, self.deadline) = (Phase::Starting, self.start.deadline());
        (self.cause, self.has_stalled, self.exit, self.writing) = (None, false, None, true);
    }

    fn why_lost(&mut self) -> String {
        self.handshake.end_stderr();
        match (&self.cause, self.exit) {
            (Some(cause), _) => cause.clone(),
            (None, Some(status)) => self.handshake.loss(self.peer.name(), status),
            (None, None) => "the stream ended".into(),
        }
    }

    /// Ends a child that no broker will look after.
    pub(crate) fn abandon(&mut self) {
        self.close_stream();
        self.signal(libc::SIGKILL);
        self.process.wait_until(Instant::now() + KILL_TO_GIVE_UP);
    }

    pub(crate) fn finished(&self) -> bool {
        self.told && self.exit.is_some()
    }

    /// Looks at what has no event of its own: after each pass.
    pub(crate) fn look(&mut self, events: &dyn Events, now: Instant) {
        self.pace.look(&self.peer.backlog, events.shown(), now);
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.expire(now);
        }
        if let Some(next) = self.dialogue.as_mut().and_then(|dialogue| dialogue.look(now)) {
            self.act(events, next);
        }
        let Link { keepalive, process, .. } = self;
        let still = keepalive.as_mut().and_then(|it| it.look(now, || process.is_stopped()));
        if let (Some(still), Phase::Up | Phase::Starting) = (still, self.phase) {
            self.break_off(&format!("its process has been stopped by a signal for {still:?}"));
        }
        if self.must_look() {
            self.look_for_exit(events);
        }
        self.tell(events);
    }

    /// When this link wants to be looked at without an event.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let look = self.must_look().then(|| now + sys::WITHOUT_HANDLE);
        let quiet = self.dialogue.as_ref().and_then(|dialogue| dialogue.wake_at());
        let alive = self.keepalive.as_ref().and_then(|keepalive| keepalive.wake_at());
        [self.deadline, look, self.pace.wake_at(), quiet, alive].into_iter().flatten().min()
    }

    /// The system will not say when the process ends, and its end is near.
    fn must_look(&self) -> bool {
        let ending = self.socket.is_none() || self.phase == Phase::Leaving;
        ending && self.exit.is_none() && self.process.exit_fd().is_none()
    }

    /// What poll(2) is to look at: the stream, stderr, the terminal, the process.
    /// `reads_stream`: nobody else reads the stream.
    pub(crate) fn wants(&self, reads_stream: bool) -> [Option<libc::pollfd>; 4] {
        let reads = !self.pace.is_holding();
        let events = if reads && reads_stream { libc::POLLIN } else { 0 };
        let events = if self.writing { events | libc::POLLOUT } else { events };
        // poll(2) tells of the end of what is asked for nothing, too.
        let socket = self.socket.as_ref().filter(|_| events != 0);
        let stderr = self.stderr.as_ref().filter(|_| reads);
        [
            socket.map(|socket| sys::pollfd(socket.as_fd(), events)),
            stderr.map(|stderr| sys::pollfd(stderr.as_fd(), libc::POLLIN)),
            match (&self.dialogue, self.exit) {
                (Some(dialogue), None) => dialogue.fd().map(|fd| sys::pollfd(fd, libc::POLLIN)),
                _ => None,
            },
            match self.exit {
                None => self.process.exit_fd().map(|fd| sys::pollfd(fd, libc::POLLIN)),
                Some(_) => None,
            },
        ]
    }
}
