//! Where a program may ask questions, and who answers them.
//!
//! Invariant: both ends of a terminal stay open as long as this lives: the program opens its own anew for each
//! question, and gets SIGHUP when ours is closed. Of a program that asks on stderr the stream belongs to the
//! questions until Python runs.
//! Not here: what is a question (`connect::conversation`), and the handler (`asker`).

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connect::{Conversation, Move, QUIET, Target, Terminal};
use crate::secret::Secret;
use crate::sys;

/// A conversation over a terminal, or over the standard streams.
pub(crate) struct Dialogue {
    place: Place,
    conversation: Conversation,
    /// When what is there is a question, if nothing more comes.
    quiet_at: Option<Instant>,
    /// When the handler was asked what it has not answered.
    asked_at: Option<Instant>,
}

enum Place {
    Terminal(Terminal),
    /// Questions are on stderr or the stream, which another reads; answers go to the stream.
    Stdio(Arc<OwnedFd>),
}

impl Dialogue {
    pub(crate) fn on_terminal(terminal: Terminal, conversation: Conversation) -> Dialogue {
        Dialogue::new(Place::Terminal(terminal), conversation)
    }

    /// Answers go to `stream`; questions come by [`printed`](Dialogue::printed).
    pub(crate) fn on_stdio(stream: Arc<OwnedFd>, conversation: Conversation) -> Dialogue {
        Dialogue::new(Place::Stdio(stream), conversation)
    }

    fn new(place: Place, conversation: Conversation) -> Dialogue {
        Dialogue { place, conversation, quiet_at: None, asked_at: None }
    }

    /// The terminal that poll(2) is to look at.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.place {
            Place::Terminal(terminal) => Some(terminal.ours.as_fd()),
            Place::Stdio(_) => None,
        }
    }

    /// Reads what is on the terminal; gives what is to be done about it.
    pub(crate) fn read(&mut self, now: Instant) -> Option<Move> {
        let mut buffer = [0; 4096];
        // An error is the end of the program, which shows elsewhere.
        let count = sys::read(self.fd()?, &mut buffer).unwrap_or(0);
        self.receive(&buffer[..count], now)
    }

    /// Takes what the program printed beside a terminal; gives what is to be done about it.
    pub(crate) fn printed(&mut self, bytes: &[u8], now: Instant) -> Option<Move> {
        match &self.place {
            Place::Terminal(_) => None,
            Place::Stdio(_) => self.receive(bytes, now),
        }
    }

    fn receive(&mut self, bytes: &[u8], now: Instant) -> Option<Move> {
        let next = self.conversation.receive(bytes);
        self.quiet_at = self.conversation.wants_quiet().then(|| now + QUIET);
        self.note_asked(next, now)
    }

    /// Looks at the clock.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Move> {
        self.quiet_at.take_if(|quiet_at| *quiet_at <= now)?;
        let next = self.conversation.quiet();
        self.note_asked(next, now)
    }

    fn note_asked(&mut self, next: Option<Move>, now: Instant) -> Option<Move> {
        if let Some(Move::Ask(_)) = next {
            self.asked_at = Some(now);
        }
        next
    }

    /// When it wants to be looked at.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.quiet_at
    }

    /// Takes the handler's answer; gives what is to be done, and how long the handler took. An answer to
    /// nothing is dropped.
    pub(crate) fn answered(
        &mut self,
        answer: Option<Secret>,
        now: Instant,
    ) -> Option<(Move, Duration)> {
        let took = now - self.asked_at.take()?;
        Some((self.conversation.answered(answer), took))
    }

    /// This is whom the password is for; gives what is to be done.
    pub(crate) fn target_found(&mut self, target: Target, now: Instant) -> Option<Move> {
        let next = self.conversation.target_found(target);
        self.note_asked(next, now)
    }

    /// There is nothing left to ask: what is there is read and dropped, and secrets are overwritten.
    pub(crate) fn retire(&mut self) {
        self.conversation.retire();
        (self.quiet_at, self.asked_at) = (None, None);
    }

    /// Types an answer. A program that does not read it will be found by the deadline.
    pub(crate) fn write(&self, line: &Secret) {
        let fd = match &self.place {
            Place::Terminal(terminal) => terminal.ours.as_fd(),
            Place::Stdio(stream) => stream.as_fd(),
        };
        let _ = sys::write_vectored(fd, &[IoSlice::new(line.bytes())]);
    }
}
