//! What a child, and the tool that carries it, print before the first frame: a state machine without I/O.
//!
//! Whatever precedes the marker `EC0` on the stream is noise of the machine (banners, login scripts):
//! it is skipped and its end kept for the error. From then on every byte is ours: anything but `EC1`
//! next is an error that quotes it. What ssh says on stderr tells how far it is, and why it gave up.

use std::ffi::OsString;

use super::prompt::is_asked_again;
use super::{Asks, Move, Plan, Tool, failure, refusal};
use crate::bootstrap::{self, RECEIVED, STARTED};
use crate::text::{Tail, printable};
use crate::{ConnectError, ExitStatus, PromptKind, Stage};

/// How far a child has come, by what was printed.
#[derive(Debug)]
pub(crate) struct Handshake {
    stage: Stage,
    /// What is not yet understood: at most a marker's length and one chunk.
    pending: Vec<u8>,
    noise: Tail,
    is_ssh: bool,
    /// What runs the command, if that is not run by itself.
    program: Option<String>,
    /// A login shell is on the way.
    has_shell: bool,
    /// The end of what came on stderr, ssh's chatter left out.
    stderr: Tail,
    /// A line of stderr that has not ended.
    partial: Vec<u8>,
    /// How often a person was asked for a password or a passphrase.
    asked: u32,
    candidates: Vec<OsString>,
    hint: Option<&'static str>,
}

/// Why a child did not come up.
pub(crate) struct Failure {
    pub(crate) error: ConnectError,
    pub(crate) again: Option<Again>,
}

/// Why another attempt may fare better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// The server takes no more connections at the moment.
    Busy,
    /// A login script seems to have read what was meant for Python.
    Eaten,
    /// It ended before Python ran, and there may be another way to run the tool.
    NextWay,
}

impl Handshake {
    pub(crate) fn new(plan: &Plan) -> Self {
        Handshake {
            stage: if plan.is_ssh() { Stage::Connect } else { Stage::Python },
            pending: Vec::new(),
            noise: Tail::default(),
            is_ssh: plan.is_ssh(),
            program: plan.program(),
            has_shell: plan.has_shell(),
            stderr: Tail::default(),
            partial: Vec::new(),
            asked: 0,
            candidates: plan.python.candidates(),
            hint: plan.tool.as_ref().ok().and_then(Tool::hint),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// It is known that it has come so far.
    pub(crate) fn reached(&mut self, stage: Stage) {
        self.stage = self.stage.max(stage);
    }

    /// The tool has asked something, there, and this is done about it.
    pub(crate) fn asked(&mut self, asks: Asks, next: &Move) {
        if !self.is_ssh && self.stage == Stage::Python {
            self.stage = Stage::Login; // Python is not yet being started.
        }
        match next {
            Move::Fail(stage, _) => self.reached(*stage),
            Move::Ask(prompt) => {
                let is_secret =
                    matches!(prompt.kind, PromptKind::Password | PromptKind::Passphrase);
                self.asked += u32::from(is_secret);
            }
            // For a reader the answer ends the question's line.
            Move::Write(_) if asks == Asks::Stdio => self.stderr.push(b"\n"),
            _ => {}
        }
    }

    /// What was asked needs no answer any more: it is over.
    pub(crate) fn is_past_questions(&self) -> bool {
        self.stage >= if self.is_ssh { Stage::Python } else { Stage::Core }
    }

    /// The first frame has been read.
    pub(crate) fn connected(&mut self) {
        self.stage = Stage::Connected;
    }

    /// Takes bytes of the stream, cut anywhere. Once both markers are here, gives back what follows
    /// them: frames.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.pending.extend_from_slice(bytes);
        if self.stage < Stage::Core {
            let Some(at) = find(&self.pending, STARTED) else {
                // The marker may be cut: all but its length less one is certainly noise.
                let certain = self.pending.len().saturating_sub(STARTED.len() - 1);
                self.noise.push(&self.pending[..certain]);
                self.pending.drain(..certain);
                return Ok(None);
            };
            self.noise.push(&self.pending[..at]);
            self.pending.drain(..at + STARTED.len());
            self.stage = Stage::Core;
        }
        let shared = self.pending.len().min(RECEIVED.len());
        if self.pending[..shared] != RECEIVED[..shared] {
            let shown = printable(&self.pending[..self.pending.len().min(64)]);
            return Err(format!("\"{shown}\" where the marker EC1 should be"));
        }
        if shared < RECEIVED.len() {
            return Ok(None);
        }
        self.stage = Stage::Hello;
        Ok(Some(self.pending.split_off(RECEIVED.len())))
    }

    /// Takes what came on stderr; gives back what a user may want to see of it, whole lines of it where
    /// ssh's own have to be told from others.
    pub(crate) fn receive_stderr(&mut self, bytes: &[u8]) -> Vec<u8> {
        if !self.is_ssh {
            self.stderr.push(bytes);
            return bytes.to_vec();
        }
        let mut shown = Vec::new();
        self.partial.extend_from_slice(bytes);
        let whole = self.partial.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in self.partial[..whole].split_inclusive(|&byte| byte == b'\n') {
            // Most lines are not ssh's, and there may be very many.
            if failure::may_be_sshs(line) {
                let text = String::from_utf8_lossy(line);
                let text = text.trim_end();
                if self.stage < Stage::Python && failure::has_logged_in(text) {
                    self.stage = Stage::Python;
                }
                if failure::is_chatter(text) || is_asked_again(text) {
                    continue;
                }
            }
            shown.extend_from_slice(line);
        }
        self.partial.drain(..whole);
        if self.partial.len() > LONGEST_LINE {
            shown.append(&mut self.partial);
        }
        self.stderr.push(&shown);
        shown
    }

    /// Stderr has ended: gives back a line of it that has no end.
    pub(crate) fn end_stderr(&mut self) -> Vec<u8> {
        self.stderr.push(&self.partial);
        std::mem::take(&mut self.partial)
    }

    /// This preceded the marker: a context that started the child has read it.
    pub(crate) fn note_noise(&mut self, noise: &[u8]) {
        self.noise.push(noise);
    }

    /// The stream has ended: what was held back as half a marker was noise after all.
    pub(crate) fn finish(&mut self) {
        if self.stage < Stage::Core {
            self.noise.push(&self.pending);
            self.pending.clear();
        }
    }

    /// Why a child that never was up ended; `cause` is what is known better than by what was printed and
    /// by how the process ended.
    pub(crate) fn failure(
        &self,
        context: &str,
        cause: Option<String>,
        status: Option<ExitStatus>,
    ) -> Failure {
        let printed = [self.noise.text(), self.stderr.text()];
        let printed = printed.iter().filter(|text| !text.is_empty()).map(String::as_str);
        let printed = printed.collect::<Vec<_>>().join("\n");
        let mut stage = self.stage;
        let mut again = None;
        let known = match status {
            Some(ExitStatus::Code(code)) => {
                bootstrap::exit_reason(code, &printed, &self.candidates)
            }
            _ => None,
        };
        let is_ours = known.is_some();
        if is_ours {
            stage = stage.max(Stage::Python); // It is by what the tool runs.
        }
        let has_cause = cause.is_some();
        let mut reason = cause.or(known);
        let (mut is_sshs, mut is_refused) = (false, false);
        if let (None, Some(program), false) = (&reason, &self.program, self.is_ssh) {
            if stage < Stage::Core {
                let refusal = refusal::explain(&printed);
                again = refusal.as_ref().is_none_or(|it| it.retry).then_some(Again::NextWay);
                is_refused = refusal.is_some();
                if is_refused {
                    stage = Stage::Login;
                }
                reason = Some(match refusal {
                    Some(refusal) => refusal.reason,
                    None if stage == Stage::Login => {
                        format!("{program} refused the answer to its question, or failed after it")
                    }
                    None => format!("{program} ended before Python ran{}", self.hint_on(status)),
                });
            }
        }
        if self.is_ssh && reason.is_none() {
            if let Some(words) = failure::explain(&printed, status, self.stage) {
                stage = words.stage;
                again = words.retry.then_some(Again::Busy);
                (reason, is_sshs) = (Some(words.reason), true);
            }
        }
        if let (Stage::Login, false, Some(reason)) = (stage, has_cause, &mut reason) {
            match self.asked {
                0 => {}
                1 => *reason += "; on_prompt was asked once",
                times => *reason += &format!("; on_prompt was asked {times} times"),
            }
        }
        // Where there is a reason, it has our own line in it, and what ssh says in the end adds nothing.
        let is_told = |line: &&str| {
            is_ours && line.starts_with("econtext:")
                || is_sshs && failure::is_epilogue(line)
                || is_refused && refusal::is_epilogue(line)
                || self.stage < Stage::Core && points_to_help(line)
        };
        let lines = printed.lines().filter(|line| !is_told(line)).collect::<Vec<_>>().join("\n");
        let is_damaged = match status {
            Some(ExitStatus::Code(94..=96)) => true,
            // What is left of a program whose beginning is missing.
            Some(ExitStatus::Code(1)) => {
                let last = lines.lines().next_back().unwrap_or_default();
                let class = last.split(':').next().unwrap_or_default();
                GARBLED.contains(&class)
            }
            _ => false,
        };
        if self.has_shell && self.stage == Stage::Core && is_damaged {
            again = Some(Again::Eaten);
        }
        let error = ConnectError {
            context: context.into(),
            via: Vec::new(),
            stage,
            reason: reason.unwrap_or_else(|| match status {
                Some(_) => "the process ended".into(),
                None => "the stream ended".into(),
            }),
            printed: lines,
            status,
        };
        Failure { error, again }
    }

    /// What the tool needs, unless it came so far that it did not find the command, or might not execute it.
    fn hint_on(&self, status: Option<ExitStatus>) -> String {
        let was_missing = matches!(status, Some(ExitStatus::Code(126 | 127)));
        let hint = self.hint.filter(|_| !was_missing);
        hint.map(|hint| format!("; it needs {hint}")).unwrap_or_default()
    }

    /// Why a child that was up is gone, by how the process that carried its stream ended.
    pub(crate) fn loss(&self, context: &str, status: ExitStatus) -> String {
        let printed = self.stderr.text();
        let last = printed.lines().next_back().unwrap_or_default();
        if let Some(words) = last.strip_prefix("econtext: ") {
            let name = format!("{context}: ");
            let words = words.strip_prefix(&name).unwrap_or(words);
            return format!("the child ended: {status}; it said: {words}");
        }
        // 255 is how ssh ends when it is not the remote command that did.
        if self.is_ssh && status == ExitStatus::Code(255) {
            if let Some(words) = failure::explain(&printed, Some(status), Stage::Connected) {
                return format!("{} ({status})", words.reason);
            }
        }
        format!("the child ended: {status}")
    }
}

/// Whether a tool ends with this line after it has said what is wrong: docker, podman, and GNU's.
fn points_to_help(line: &str) -> bool {
    ["Run '", "See '", "Try '"].iter().any(|start| line.starts_with(start))
        && line.contains("--help'")
}

/// What Python raises when it is given a part of a program, or compressed bytes.
const GARBLED: [&str; 6] = [
    "SyntaxError",
    "IndentationError",
    "NameError",
    "TypeError",
    "UnicodeDecodeError",
    "ValueError",
];

/// A line of stderr that is longer is not one of ssh's.
const LONGEST_LINE: usize = 4096;

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod transcripts;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Local, Method};

    fn local() -> Handshake {
        Handshake::new(&Local::new().plan())
    }

    #[test]
    fn markers_cut_at_every_byte_are_found_and_frames_follow_them() {
        let all = b"Welcome!\nEC0\nEC1\nframes";
        for cut in 0..=all.len() {
            let mut handshake = local();
            let mut frames = Vec::new();
            for part in [&all[..cut], &all[cut..]] {
                if handshake.stage() == Stage::Hello {
                    frames.extend_from_slice(part);
                } else if let Some(rest) = handshake.receive(part).unwrap() {
                    frames.extend(rest);
                }
            }
            assert_eq!(frames, b"frames", "cut at {cut}");
            assert_eq!(handshake.noise.text(), "Welcome!");
        }
    }

    #[test]
    fn a_marker_glued_to_noise_is_found() {
        let mut handshake = local();
        assert_eq!(handshake.receive(b"EC0 EEC0\n").unwrap(), None);
        assert_eq!(handshake.stage(), Stage::Core);
        assert_eq!(handshake.noise.text(), "EC0 E");
    }

    #[test]
    fn noise_between_the_markers_is_an_error_that_quotes_it() {
        let mut handshake = local();
        handshake.receive(b"EC0\nE").unwrap();
        let error = handshake.receive(b"RROR: \x1b[1mdisk full\n").unwrap_err();
        assert_eq!(error, "\"ERROR: \\x1b[1mdisk full\\n\" where the marker EC1 should be");
    }

    #[test]
    fn endless_noise_is_kept_in_bounded_memory() {
        let mut handshake = local();
        for _ in 0..10_000 {
            handshake.receive(&[b'y'; 1000]).unwrap();
        }
        assert!(handshake.pending.len() < 4);
        handshake.receive(b"EC").unwrap();
        handshake.finish();
        assert!(handshake.noise.text().ends_with("yyEC"));
        assert_eq!(handshake.noise.text().len(), 4096);
    }
}
