//! The terminal of a program that may ask questions, and who answers them.
//!
//! Invariant: both ends of the terminal stay open as long as this lives: the program opens its own anew for each
//! question, and gets SIGHUP when ours is closed.
//! Not here: what is a question (`connect::conversation`), and the handler (`helper`).

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::connect::{Conversation, Move, QUIET, Target, Terminal};
use crate::secret::Secret;
use crate::sys;

/// A conversation over a terminal.
pub(crate) struct Dialogue {
    terminal: Terminal,
    conversation: Conversation,
    /// When what is there is a question, if nothing more comes.
    quiet_at: Option<Instant>,
    /// When the handler was asked what it has not answered.
    asked_at: Option<Instant>,
}

impl Dialogue {
    pub(crate) fn new(terminal: Terminal, conversation: Conversation) -> Dialogue {
        Dialogue { terminal, conversation, quiet_at: None, asked_at: None }
    }

    /// What poll(2) is to look at.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.terminal.ours.as_fd()
    }

    /// Reads what is there; gives what is to be done about it.
    pub(crate) fn read(&mut self, now: Instant) -> Option<Move> {
        let mut buffer = [0; 4096];
        // An error is the end of the program, which shows elsewhere.
        let count = sys::read(self.fd(), &mut buffer).unwrap_or(0);
        let next = self.conversation.receive(&buffer[..count]);
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
        let _ = sys::write_vectored(self.fd(), &[IoSlice::new(line.bytes())]);
    }
}
