//! What is asked on a program's terminal, and answered: a state machine without I/O.
//!
//! Invariant: an answer is written only to a question, and one that was given beforehand only once: what
//! is asked again was wrong. What nobody answers ends the start, so that nobody waits for it. Terminal
//! output may be cut anywhere, and what is kept of it is bounded.
//! Not here: the terminal, the clock (a caller waits [`QUIET`]) and the program's prompt handler.

use std::time::Duration;

use super::prompt::{PasswordQuestion, Prompt, PromptKind, Question};
use super::target::Target;
use crate::Stage;
use crate::secret::Secret;
use crate::text::{escape, escape_lines};

/// How long nothing more may come before an unterminated line of unknown words is a question.
pub(crate) const QUIET: Duration = Duration::from_millis(300);
/// How much is kept of what precedes a question, and of its line.
const MAX_TEXT_BYTES: usize = 4096;
/// ssh reads no more of an answer, and drops the rest unsaid; sudo likewise.
const MAX_ANSWER_BYTES: usize = 1023;
/// A server that asks more wants to keep a person busy, or fill our memory.
const MAX_QUESTIONS: usize = 100;
/// How much of a question an error quotes.
const QUOTED_CHARACTERS: usize = 300;

/// What there is to answer with. Shows which of the secrets are set, never what they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// For the host itself, not for jump hosts.
    pub(crate) password: Option<Secret>,
    /// For every private key. An empty one passes over keys that have a passphrase.
    pub(crate) passphrase: Option<Secret>,
    /// Says yes to the key of a host that has none among the known ones.
    pub(crate) accept_host_key: bool,
    /// There is a prompt handler for everything else.
    pub(crate) ask: bool,
    /// Whom the password is for, once that is known.
    pub(crate) target: Option<Target>,
    /// How the question of the password is known.
    pub(crate) password_question: PasswordQuestion,
    /// Whose password the tool takes, to be said where it was refused.
    pub(crate) whose: &'static str,
    /// There was a secret, until it had been of use.
    pub(crate) had_secret: bool,
}

impl Answers {
    /// For a tool that asks for a password on behalf of this machine, and nobody else can.
    pub(crate) fn for_tool(
        password: Option<Secret>,
        question: PasswordQuestion,
        whose: &'static str,
    ) -> Answers {
        Answers {
            password,
            whose,
            target: Some(Target::alone()),
            password_question: question,
            ..Answers::default()
        }
    }

    /// Overwrites the secrets: they have been of use.
    pub(crate) fn forget(&mut self) {
        self.had_secret |= self.password.is_some() || self.passphrase.is_some();
        (self.password, self.passphrase) = (None, None);
    }

    /// Whether there is, or was, anything to answer with: without, a terminal would be of no use.
    pub(crate) fn any(&self) -> bool {
        let has_secret = self.password.is_some() || self.passphrase.is_some();
        has_secret || self.had_secret || self.accept_host_key || self.ask
    }
}

/// What is to be done now.
#[derive(Debug)]
pub(crate) enum Move {
    /// Write this to the terminal.
    Write(Secret),
    /// Ask the prompt handler, and tell [`Conversation::answered`].
    Ask(Prompt),
    /// Find out whom the password is for, and tell [`Conversation::target_found`].
    FindTarget,
    /// Give the start up.
    Fail(Stage, String),
}

/// The questions of one start.
#[derive(Debug)]
pub(crate) struct Conversation {
    context: String,
    answers: Answers,
    /// The end of the whole lines since the last answer.
    lines: Vec<u8>,
    /// The unterminated line.
    line: Vec<u8>,
    /// What the handler has been asked.
    asked: Option<usize>,
    history: Vec<Asked>,
    /// It is being found out whom the password is for.
    is_finding: bool,
    is_over: bool,
}

/// A question that has been asked, once or again.
#[derive(Debug)]
struct Asked {
    question: Question,
    /// By what it is known to be the same.
    key: String,
    /// For a person.
    text: String,
    /// How often the handler has been asked.
    attempts: u32,
    /// It was answered with what was given beforehand.
    is_spent: bool,
}

impl Conversation {
    /// For the start of the context of this name.
    pub(crate) fn new(context: &str, answers: Answers) -> Conversation {
        Conversation {
            context: context.into(),
            answers,
            lines: Vec::new(),
            line: Vec::new(),
            asked: None,
            history: Vec::new(),
            is_finding: false,
            is_over: false,
        }
    }

    /// Takes terminal output, cut anywhere.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Option<Move> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            keep_end(&mut self.line);
            if part.ends_with(b"\n") {
                self.lines.append(&mut self.line);
                keep_end(&mut self.lines);
            }
        }
        let is_known = self.answers.password_question.is_whole(&self.shown_line());
        let is_question = self.listens() && is_known;
        is_question.then(|| self.question())
    }

    /// Nothing more has come for [`QUIET`]: what is there is a question.
    pub(crate) fn quiet(&mut self) -> Option<Move> {
        self.wants_quiet().then(|| self.question())
    }

    /// Whether [`quiet`](Conversation::quiet) is to be called, [`QUIET`] after the last output.
    pub(crate) fn wants_quiet(&self) -> bool {
        let line = self.shown_line();
        let is_none = matches!(self.understand(&line), Question::Echo | Question::Touch);
        self.listens() && !is_none && self.answers.password_question.may_be(&line)
    }

    fn understand(&self, line: &str) -> Question {
        self.answers.password_question.understand(line)
    }

    /// The handler has been asked and has not answered.
    #[cfg(test)]
    pub(crate) fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    /// Nothing is a question any more, and what was given beforehand is not needed.
    pub(crate) fn retire(&mut self) {
        self.answers.forget();
        (self.is_over, self.asked) = (true, None);
    }

    /// This is whom the password is for: the question that waited for it is decided now.
    pub(crate) fn target_found(&mut self, target: Target) -> Option<Move> {
        self.answers.target = Some(target);
        let was_finding = std::mem::take(&mut self.is_finding);
        (was_finding && self.listens()).then(|| self.question())
    }

    /// What the handler said to the [`Prompt`] that it was asked last.
    pub(crate) fn answered(&mut self, answer: Option<Secret>) -> Move {
        let asked = self.asked.take().expect("an answer is one to a question");
        let Asked { question, ref text, .. } = self.history[asked];
        let quoted = quote(text);
        match answer {
            Some(answer) => self.write(question, &format!("the answer to \"{quoted}\""), &answer),
            None => self.fail(question, format!("\"{quoted}\" got no answer from on_prompt")),
        }
    }

    /// The line as a person sees it: ssh moves to the left edge before it asks.
    fn shown_line(&self) -> String {
        String::from_utf8_lossy(&self.line).trim_start_matches('\r').into()
    }

    fn listens(&self) -> bool {
        self.asked.is_none() && !self.is_finding && !self.is_over
    }

    /// The line is a question: what now?
    fn question(&mut self) -> Move {
        let is_password = self.understand(&self.shown_line()) == Question::Password;
        if is_password && self.answers.password.is_some() && self.answers.target.is_none() {
            self.is_finding = true;
            return Move::FindTarget;
        }
        let line = self.shown_line();
        self.line.clear();
        let lines = String::from_utf8_lossy(&std::mem::take(&mut self.lines)).into_owned();
        let question = self.understand(&line);
        let line = self.answers.password_question.shown(&line);
        let Some(at) = self.find(question, &lines, &line) else {
            return self.fail(question, format!("more than {MAX_QUESTIONS} questions were asked"));
        };
        let is_alone = lines.trim().is_empty();
        match self.given(question, &line, is_alone, &self.history[at].text) {
            Some(Given { answer, what }) => {
                if self.was_given(question, at) {
                    return self.fail(question, self.refusal(question, at));
                }
                self.history[at].is_spent = true;
                self.write(question, what, &answer)
            }
            None if self.answers.ask => {
                self.asked = Some(at);
                let Asked { question, text, attempts, .. } = &mut self.history[at];
                *attempts += 1;
                Move::Ask(Prompt {
                    context: self.context.clone(),
                    via: Vec::new(),
                    kind: question.kind(),
                    text: text.clone(),
                    attempt: *attempts,
                })
            }
            None => self.fail(question, self.unanswered(at)),
        }
    }

    /// Where in the history the question is; new ones are added, up to a limit.
    fn find(&mut self, question: Question, lines: &str, line: &str) -> Option<usize> {
        if question == Question::HostKeyAgain {
            let known = |it: &Asked| it.question == Question::HostKey;
            if let Some(at) = self.history.iter().rposition(known) {
                return Some(at);
            }
        }
        let text = text_of(question, lines, line);
        // All host keys are asked for in the same words; which one it is says the text.
        let key = if question == Question::HostKey { &*text } else { line.trim() };
        if let Some(at) = self.history.iter().position(|it| it.key == key) {
            return Some(at);
        }
        if self.history.len() == MAX_QUESTIONS {
            return None;
        }
        let key = key.to_string();
        self.history.push(Asked { question, key, text, attempts: 0, is_spent: false });
        Some(self.history.len() - 1)
    }

    /// What was given beforehand for such a question.
    fn given(&self, question: Question, line: &str, is_alone: bool, text: &str) -> Option<Given> {
        match question {
            Question::Password
                if self
                    .answers
                    .target
                    .as_ref()
                    .is_some_and(|it| it.is_asked_in(line, is_alone)) =>
            {
                let answer = self.answers.password.clone()?;
                Some(Given { answer, what: "the password" })
            }
            Question::Passphrase => {
                let answer = self.answers.passphrase.clone()?;
                Some(Given { answer, what: "the passphrase" })
            }
            // Only where no key is known: one that has changed, or is not that of the address, is not new.
            Question::HostKey | Question::HostKeyAgain
                if self.answers.accept_host_key && text.starts_with(NEW_HOST) =>
            {
                Some(Given { answer: Secret::from("yes".to_string()), what: "\"yes\"" })
            }
            _ => None,
        }
    }

    /// Whether what was given beforehand has been written already. The password is asked for in other
    /// words by another way to log in, and is as wrong there.
    fn was_given(&self, question: Question, at: usize) -> bool {
        match question {
            Question::Password => {
                self.history.iter().any(|it| it.question == Question::Password && it.is_spent)
            }
            _ => self.history[at].is_spent,
        }
    }

    fn refusal(&self, question: Question, at: usize) -> String {
        match question {
            Question::Password => {
                let spent = |it: &Asked| it.question == Question::Password && it.is_spent;
                let since = self.history.iter().position(spent).unwrap_or_default();
                let others = self.history[since..].iter().any(|it| it.attempts > 0);
                let or_others = if others { ", or an answer after it," } else { "" };
                let again = match self.answers.whose {
                    "" => format!(
                        ": \"{}\" was asked after .password(..) was given",
                        quote(&self.history[at].key)
                    ),
                    whose => whose.into(),
                };
                format!("the password{or_others} was refused{again}")
            }
            Question::Passphrase => {
                let line = self.history[at].key.trim_end_matches(':');
                let key = line.strip_prefix("Enter passphrase for ").unwrap_or(line);
                format!("the passphrase for {} is wrong", quote(key))
            }
            _ => format!("\"{}\" was asked again after its answer", quote(&self.history[at].text)),
        }
    }

    fn unanswered(&self, at: usize) -> String {
        let asked = &self.history[at];
        let quoted = quote(&asked.text);
        let handler = "Router::builder().on_prompt(..)";
        match asked.question.kind() {
            PromptKind::Password if self.answers.password.is_some() => format!(
                "\"{quoted}\" needs an answer, and .password(..) is for {} alone: set {handler}",
                escape(self.answers.target.as_ref().map_or("the host", Target::name))
            ),
            PromptKind::Password => {
                format!("\"{quoted}\" needs an answer: set .password(..) or {handler}")
            }
            PromptKind::Passphrase => {
                format!("\"{quoted}\" needs an answer: set .passphrase(..) or {handler}")
            }
            PromptKind::HostKey => {
                format!("\"{quoted}\" needs an answer: set .host_keys(..) or {handler}")
            }
            PromptKind::Other => format!("\"{quoted}\" needs an answer: set {handler}"),
        }
    }

    fn write(&mut self, question: Question, what: &str, answer: &Secret) -> Move {
        let bytes = answer.bytes();
        // A terminal's line ends with a newline, and for ssh with a carriage return, too.
        let unfit = if bytes.iter().any(|byte| b"\r\n".contains(byte)) {
            "has the end of a line in it"
        } else if bytes.contains(&0) {
            "has a NUL byte in it"
        } else if bytes.len() > MAX_ANSWER_BYTES {
            return self.fail(
                question,
                format!(
                    "{what} cannot be typed: it has {} bytes, and at most {MAX_ANSWER_BYTES} are read",
                    bytes.len()
                ),
            );
        } else {
            return Move::Write(answer.line());
        };
        self.fail(question, format!("{what} cannot be typed: it {unfit}"))
    }

    fn fail(&mut self, question: Question, reason: String) -> Move {
        self.is_over = true;
        let stage = match question.kind() {
            PromptKind::HostKey => Stage::HostKey,
            _ => Stage::Login,
        };
        Move::Fail(stage, reason)
    }
}

struct Given {
    answer: Secret,
    /// For errors.
    what: &'static str,
}

/// How the question begins that is asked where no key of a host is known.
const NEW_HOST: &str = "The authenticity of host ";

fn keep_end(bytes: &mut Vec<u8>) {
    let excess = bytes.len().saturating_sub(MAX_TEXT_BYTES);
    bytes.drain(..excess);
}

/// The question with the lines above it, for a person.
fn text_of(question: Question, lines: &str, line: &str) -> String {
    let lines = match (question, lines.rfind(NEW_HOST)) {
        (Question::HostKey, Some(at)) => &lines[at..],
        _ => lines,
    };
    let lines = lines.lines().chain([line]);
    let lines = lines.map(|line| line.trim_end().trim_start_matches('\r'));
    escape_lines(lines.collect::<Vec<_>>().join("\n").trim())
}

/// The question on one line, for an error.
fn quote(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(QUOTED_CHARACTERS) {
        Some((cut, _)) => format!("{}...", escape(&words[..cut])),
        None => escape(&words),
    }
}

#[cfg(test)]
mod tests;
