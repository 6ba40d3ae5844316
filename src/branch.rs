//! A start that a context makes for us: it runs our plan, and tells what comes of it.
//!
//! Invariant: the context spawns and carries; what its reports mean, what is answered, and whether there is
//! another attempt is decided here, by the same code as for the program's own children. So a secret leaves the
//! program only when it is asked for (and is then in clear in every context on the way).
//! Not here: how the context does it (`bootstrap/econtext/parent.py`), and who may report (`routes`).

use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::connect::{Again, Asks, Conversation, Handshake, Move};
use crate::end::End;
use crate::log::Level;
use crate::master::Master;
use crate::peer::Peer;
use crate::pickle;
use crate::routes::CALL_FUNCTION;
use crate::secret::Secret;
use crate::start::Start;
use crate::stream::{Patience, Progress};
use crate::text::escape;
use crate::{ConnectError, ExitStatus, Prompt, Stage, Value};

/// Of what is on a terminal, a question and what explains it are at the end.
const ASKED_BYTES: usize = 8 << 10;
/// A reason is told to everybody who waits.
const REASON_CHARACTERS: usize = 1000;

/// What a context needs for its first child, in the order in which it imports it.
pub(crate) const MODULES: [&str; 7] = [
    "econtext.process",
    "econtext.parent",
    "econtext.relay",
    "econtext.routes",
    "econtext.handshake",
    "econtext.clock",
    "econtext.start",
];

/// The start of one context by another.
pub(crate) struct Branch {
    master: Weak<Master>,
    /// The context that is started.
    peer: Arc<Peer>,
    /// The one that starts it.
    parent: Arc<Peer>,
    state: Mutex<State>,
}

struct State {
    start: Start,
    handshake: Handshake,
    conversation: Option<Conversation>,
    /// Where the attempt takes answers; 0: nowhere yet.
    control: u32,
    /// Why it was given up here.
    cause: Option<String>,
    asked_at: Option<Instant>,
    /// The parent is up, and so the clock runs.
    is_timed: bool,
    /// Where in the stream the attempt ends, and how much of that had been written when it was last looked at.
    sent: Progress,
    /// What the prompt handler is to be asked.
    prompt: Option<Prompt>,
}

impl Branch {
    pub(crate) fn new(
        master: &Arc<Master>,
        parent: &Arc<Peer>,
        peer: &Arc<Peer>,
        start: Start,
    ) -> Branch {
        let state = State {
            handshake: start.handshake(),
            conversation: None,
            control: 0,
            cause: None,
            asked_at: None,
            is_timed: false,
            sent: Progress::default(),
            prompt: None,
            start,
        };
        Branch {
            master: Arc::downgrade(master),
            peer: peer.clone(),
            parent: parent.clone(),
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing of the user's runs under it")
    }

    /// Has the context make the first attempt.
    pub(crate) fn begin(&self, master: &Master) {
        self.attempt(master, &mut self.lock(), Duration::ZERO);
    }

    /// Whether it is still to be looked at.
    pub(crate) fn is_starting(&self) -> bool {
        !self.peer.is_up() && self.peer.ended().is_none()
    }

    /// Gives the start up where the parent says nothing of it for too long: it may be stopped, or cut off. Gives when
    /// to look again.
    pub(crate) fn look(&self, master: &Master, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        if !state.is_timed {
            if !self.parent.is_up() {
                return None; // Its own start has a deadline.
            }
            state.start.restart_clock();
            state.is_timed = true;
            state.sent = self.parent.out.progress();
        }
        // While a person is asked, the clock stands still.
        let (due, within) = state.start.report_due().filter(|_| state.asked_at.is_none())?;
        if due > now {
            return Some(due);
        }
        if self.is_starting() {
            // What is large and leaves slowly is not the parent's silence.
            let written = self.parent.out.progress().written;
            let before = std::mem::replace(&mut state.sent.written, written);
            if before < state.sent.end && before < written {
                state.start.restart_clock();
                return state.start.report_due().map(|(due, _)| due);
            }
            let why = match self.parent.has_one_import_lock() {
                true => "it hangs, is cut off, or imports something for so long (it is Python 2.7)",
                false => "it hangs, or is cut off",
            };
            let parent = self.parent.name();
            let reason =
                format!("{parent} has not told within {within:.0?} what came of it: {why}");
            self.fail(master, &mut state, reason);
        }
        None
    }

    fn attempt(&self, master: &Master, state: &mut State, pause: Duration) {
        let plan = state.start.plan();
        let (name, answers) = (self.peer.name(), plan.answers.clone());
        let asks = state.start.asks();
        state.handshake = state.start.handshake();
        state.conversation = (asks != Asks::Nowhere).then(|| Conversation::new(name, answers));
        (state.control, state.cause, state.asked_at) = (0, None, None);
        match self.plan(master, &state.start, pause) {
            Ok(plan) => {
                self.call(master, "start", Some(plan));
                state.sent = self.parent.out.progress();
            }
            Err(reason) => self.fail(master, state, reason),
        }
    }

    /// The plan as the context takes it: see `parent.py`.
    fn plan(&self, master: &Master, start: &Start, pause: Duration) -> Result<Value, String> {
        let plan = start.plan();
        let launch = start.launch();
        let (argv, stage) = match plan.is_copy {
            true => (Vec::new(), &[][..]),
            false => (plan.argv(start.way(), &launch.argv)?, launch.stage()),
        };
        let left = start.deadline().map_or(Duration::MAX, |at| {
            at.saturating_duration_since(Instant::now()).saturating_sub(pause)
        });
        let milliseconds = |time: Duration| Value::Int(time.as_millis().min(1 << 31) as i64);
        let asks = match start.asks() {
            Asks::Nowhere => "nowhere",
            Asks::Terminal => "terminal",
            Asks::Stdio => "stdio",
        };
        let words = argv.iter().map(|word| Value::Bytes(word.as_bytes().to_vec()));
        let env = plan.env.iter().map(|(name, value)| {
            let [name, value] = [name, value].map(|it| Value::Bytes(it.as_bytes().to_vec()));
            Value::Tuple(vec![name, value])
        });
        let dir = plan.current_dir.as_ref().map(|dir| dir.as_os_str().as_bytes().to_vec());
        let stalls = start.core_deadline().filter(|at| Some(*at) != start.deadline());
        let stalls = stalls.map(|at| milliseconds(at.saturating_duration_since(Instant::now())));
        let always = master.modules().taken_always().into_iter().map(Value::Text).collect();
        let fields = [
            ("name", Value::Text(plan.name.clone())),
            ("name_has_pid", Value::Bool(plan.name_has_pid)),
            ("fork", Value::Bool(plan.is_copy)),
            ("argv", Value::List(words.collect())),
            ("stage", Value::Bytes(stage.to_vec())),
            ("env", Value::List(env.collect())),
            ("cwd", dir.map_or(Value::None, Value::Bytes)),
            ("asks", Value::Text(asks.into())),
            ("waits", Value::Bool(start.waits())),
            ("padding", Value::Int(start.padding().map_or(0, |it| it.len() as i64))),
            ("ssh", Value::Bool(plan.is_ssh())),
            ("timeout_ms", milliseconds(left)),
            ("stalls_ms", stalls.unwrap_or(Value::None)),
            ("pause_ms", milliseconds(pause)),
            ("has_main", Value::Bool(master.modules().has_main())),
            ("always", Value::List(always)),
        ];
        let fields = fields.into_iter().map(|(name, value)| (Value::Text(name.into()), value));
        Ok(Value::Dict(fields.collect()))
    }

    /// Calls a function of the context's that is about the child; with a plan, what it reports is wanted.
    fn call(&self, master: &Master, function: &str, plan: Option<Value>) {
        let handle = self.peer.reports().expect("it is set before anything is called");
        let reply_to = if plan.is_some() { handle } else { 0 };
        let ids = [self.peer.id(), handle].map(|id| Value::Int(id.into()));
        let args = ids.into_iter().chain(plan).collect();
        let text = |text: &str| Value::Text(text.into());
        let call = [text("econtext.parent"), Value::None, text(function), Value::Tuple(args)];
        let call = call.into_iter().chain([Value::Dict(Vec::new())]).collect();
        let sent = pickle::encode(&Value::Tuple(call)).map(|data| {
            // Its end is told to all below it, too.
            let _ = self.parent.send(CALL_FUNCTION, reply_to, data, Patience::None);
        });
        if let Err(error) = sent {
            let error = self.spawn_error(error.to_string());
            let error = ConnectError { via: self.parent.way(), ..error };
            self.over(master, End::Failed(Arc::new(error)));
        }
    }

    /// Tells the attempt what to do.
    fn tell(&self, master: &Master, control: u32, word: &str, value: Value) {
        let message = Value::Tuple(vec![Value::Text(word.into()), value]);
        master.post(self.parent.id(), control, &message);
    }

    /// The same for an answer, of which no copy is left behind.
    fn answer(&self, control: u32, line: &Secret) {
        // Room for all of it: what grows leaves a copy.
        let mut data = Vec::with_capacity(line.bytes().len() + 64);
        let mut encoder = pickle::Encoder::new(&mut data);
        let message = encoder.tuple(2, |to| {
            to.text("answer")?;
            to.bytes(line.bytes())
        });
        message.expect("an answer is far from what is too large");
        encoder.finish();
        // Its end is told to all below it, too.
        let _ = self.parent.send_secret(control, &Secret::from(data));
    }

    /// A report of the context has arrived.
    pub(crate) fn arrived(self: &Arc<Self>, report: Value, control: u32) {
        let Some(master) = self.master.upgrade() else { return };
        let mut state = self.lock();
        match report {
            Value::Tuple(fields) => {
                state.control = control;
                let mut fields = fields.into_iter();
                let kind = fields.next().and_then(text).unwrap_or_default();
                let fields = fields.collect();
                if self.happened(&master, &mut state, &kind, fields).is_none() {
                    let kind = words(Value::Text(kind)).unwrap_or_default();
                    let reason =
                        format!("a report of {} cannot be read: {kind}", self.parent.name());
                    self.fail(&master, &mut state, reason);
                }
            }
            Value::Error(error) => {
                let said = format!("{}: {}", error.class, error.message);
                let said = words(Value::Text(said)).unwrap_or_default();
                self.fail(&master, &mut state, format!("{}: {said}", self.parent.name()));
            }
            Value::Dead(reason) => {
                let reason = reason.and_then(|reason| words(Value::Text(reason)));
                let reason = reason.unwrap_or_else(|| "it is shutting down".into());
                self.fail(&master, &mut state, format!("{}: {reason}", self.parent.name()));
            }
            // The call has returned: the reports follow.
            _ => {}
        }
        self.ask(&master, state);
    }

    /// Asks the prompt handler, if that is to be; it may answer at once.
    fn ask(self: &Arc<Self>, master: &Master, mut state: MutexGuard<'_, State>) {
        let Some(prompt) = state.prompt.take() else { return };
        let attempt = state.start.attempt();
        drop(state);
        let branch = self.clone();
        master.helper.prompt(&self.peer, prompt, move |answer| branch.answered(attempt, answer));
    }

    /// `None`: it is not a report that there is.
    fn happened(
        &self,
        master: &Arc<Master>,
        state: &mut State,
        kind: &str,
        fields: Vec<Value>,
    ) -> Option<()> {
        let mut fields = fields.into_iter();
        // A start is over once it is up: the context may be in wrong hands.
        if self.peer.is_up() && !matches!(kind, "stderr" | "lost") {
            return None;
        }
        match kind {
            "stderr" => {
                let printed = bytes(fields.next()?)?;
                if state.cause.is_some() {
                    return Some(()); // Its last words, as it was told to stop.
                }
                let shown = state.handshake.receive_stderr(&printed);
                if self.peer.is_up() && !shown.is_empty() {
                    master.printed_by(&self.peer, &shown);
                }
            }
            "asked" => {
                let (mut said, is_quiet) = (bytes(fields.next()?)?, fields.next()?);
                let excess = said.len().saturating_sub(ASKED_BYTES);
                said.drain(..excess);
                let next = state.conversation.as_mut().and_then(|conversation| {
                    let quiet = is_quiet == Value::Bool(true);
                    let next = conversation.receive(&said);
                    next.or_else(|| if quiet { conversation.quiet() } else { None })
                });
                self.act(master, state, next);
            }
            "found" => {
                let target = state.start.plan().target_from(Some(&bytes(fields.next()?)?));
                let conversation = state.conversation.as_mut();
                let next = conversation.and_then(|it| it.target_found(target));
                self.act(master, state, next);
            }
            "up" => {
                let (pid, hello) = (fields.next()?, bytes(fields.next()?)?);
                let Value::Int(pid) = pid else { return None };
                let info = match master.hello(&hello) {
                    Ok((info, _)) => info,
                    Err(reason) => {
                        self.fail(master, state, reason);
                        return Some(());
                    }
                };
                self.peer.set_name(state.start.plan().full_name(i32::try_from(pid).ok()?));
                state.handshake.connected();
                state.conversation = None;
                state.start.done();
                self.peer.up(info);
                if let Some(note) = state.start.note() {
                    master.own(&self.peer, Level::Warning, note.into());
                }
            }
            "failed" => {
                let Value::Int(stage) = fields.next()? else { return None };
                let (noise, cause) = (bytes(fields.next()?)?, fields.next()?);
                let status = exit_status(fields.next()?);
                self.failed(master, state, stage, &noise, words(cause), status);
            }
            "lost" => {
                let cause = words(fields.next()?);
                let status = exit_status(fields.next()?).unwrap_or(ExitStatus::Unknown);
                state.handshake.end_stderr();
                let why = || state.handshake.loss(self.peer.name(), status);
                let reason = cause.unwrap_or_else(why);
                let end =
                    master.leaving(&self.peer).unwrap_or_else(|| End::lost(&self.peer, reason));
                self.over(master, end);
            }
            _ => return None,
        }
        Some(())
    }

    /// An attempt has failed.
    fn failed(
        &self,
        master: &Arc<Master>,
        state: &mut State,
        stage: i64,
        noise: &[u8],
        cause: Option<String>,
        status: Option<ExitStatus>,
    ) {
        // What it was told to stop for is known better here; how it did adds nothing.
        let (cause, status) = match state.cause.take() {
            Some(cause) => (Some(cause), None),
            None => (cause, status),
        };
        if stage == 0 {
            return self.fail(master, state, cause.unwrap_or_default());
        }
        state.handshake.note_noise(noise);
        state.handshake.reached(match stage {
            1 => Stage::Spawn,
            2 => Stage::Core,
            _ => Stage::Hello,
        });
        let has_stalled = cause.as_deref() == Some("stalled");
        let cause = match cause.as_deref() {
            Some("timed out") => Some(state.start.timed_out(state.handshake.stage())),
            Some("stalled") => Some("Python waits for the rest of the core".into()),
            _ => cause,
        };
        // Nor does the signal by which the context ended it.
        let status = status.filter(|it| cause.is_none() || !matches!(it, ExitStatus::Signal(_)));
        state.handshake.end_stderr();
        let failed = state.handshake.failure(self.peer.name(), cause, status);
        let again = if has_stalled { Some(Again::Eaten) } else { failed.again };
        let leaving = master.leaving(&self.peer);
        let again = again.filter(|_| leaving.is_none());
        let next = again.and_then(|again| Some((again, state.start.pause_before(again)?)));
        if let Some((again, pause)) = next {
            let note = format!("{}: another attempt in {pause:.1?}", failed.error.reason);
            master.own(&self.peer, Level::Debug, note);
            state.start.next_attempt(again);
            return self.attempt(master, state, pause);
        }
        let end = leaving.unwrap_or_else(|| self.failure(state, failed.error));
        self.end(master, state, end);
    }

    fn act(&self, master: &Arc<Master>, state: &mut State, next: Option<Move>) {
        let control = state.control;
        if let Some(next) = &next {
            state.handshake.asked(state.start.asks(), next);
        }
        match next {
            None => self.tell(master, control, "answer", Value::None),
            Some(Move::Write(line)) => self.answer(control, &line),
            Some(Move::Ask(prompt)) => {
                state.start.asked();
                state.asked_at = Some(Instant::now());
                state.prompt = Some(Prompt { via: self.parent.way(), ..prompt });
            }
            Some(Move::FindTarget) => {
                let words = state.start.plan().target_argv().unwrap_or_default();
                let words = words.iter().map(|word| Value::Bytes(word.as_bytes().to_vec()));
                self.tell(master, control, "find", Value::List(words.collect()));
            }
            Some(Move::Fail(_, reason)) => {
                state.cause = Some(reason);
                self.tell(master, control, "stop", Value::None);
            }
        }
    }

    /// The prompt handler has answered.
    fn answered(self: &Arc<Self>, attempt: u32, answer: Option<Secret>) {
        let Some(master) = self.master.upgrade() else { return };
        let mut state = self.lock();
        if attempt == state.start.attempt() {
            if let Some(asked_at) = state.asked_at.take() {
                state.start.extend(asked_at.elapsed());
                let next = state.conversation.as_mut().map(|it| it.answered(answer));
                self.act(&master, &mut state, next);
                master.broker.look(); // The clock goes on.
            }
        }
        self.ask(&master, state);
    }

    fn fail(&self, master: &Master, state: &mut State, reason: String) {
        let end = match master.leaving(&self.peer) {
            Some(end) => end,
            None if self.peer.is_up() => End::lost(&self.peer, reason),
            None => self.failure(state, self.spawn_error(reason)),
        };
        self.end(master, state, end);
    }

    fn spawn_error(&self, reason: String) -> ConnectError {
        ConnectError::at_spawn(self.peer.name(), reason)
    }

    /// The same with where it was, and how often it was tried.
    fn failure(&self, state: &State, error: ConnectError) -> End {
        let mut error = ConnectError { via: self.parent.way(), ..error };
        if error.stage == Stage::HostKey {
            error.reason += &format!("; known hosts are those of {}", self.parent.name());
        }
        End::Failed(Arc::new(state.start.describe(error)))
    }

    /// There will be no further attempt.
    fn end(&self, master: &Master, state: &mut State, end: End) {
        state.start.done();
        state.conversation = None;
        self.call(master, "give_up", None);
        self.over(master, end);
    }

    fn over(&self, master: &Master, end: End) {
        master.lost(&self.peer, &end);
    }
}

/// A reason in the words of a context, on one line.
fn words(value: Value) -> Option<String> {
    let text = text(value)?;
    Some(match text.char_indices().nth(REASON_CHARACTERS) {
        Some((cut, _)) => format!("{}...", escape(&text[..cut])),
        None => escape(&text),
    })
}

/// Python 2 sends `str`, which arrives as bytes.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    }
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

/// As `subprocess` has it: a negative number is that of a signal.
fn exit_status(value: Value) -> Option<ExitStatus> {
    let Value::Int(status) = value else { return None };
    let status = i32::try_from(status).ok().filter(|it| (-255..=255).contains(it))?;
    Some(if status < 0 { ExitStatus::Signal(-status) } else { ExitStatus::Code(status) })
}
