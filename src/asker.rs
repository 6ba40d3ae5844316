//! Who asks the user's prompt handler: a thread that is there while there is something to ask.
//!
//! Invariant: one question at a time, in the order in which they came. A handler may take as long as a person does
//! and may call contexts, so nothing else waits for this thread. Of a child that starts there is one question.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Prompt;
use crate::peer::Peer;
use crate::secret::Secret;

/// The user's prompt handler.
pub(crate) type Prompter = Box<dyn FnMut(&Prompt) -> Option<String> + Send>;
/// Where its answer goes.
type Reply = Box<dyn FnOnce(Option<Secret>) + Send>;

/// The handler, and what it is to be asked.
pub(crate) struct Asker {
    handler: Mutex<Prompter>,
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    questions: VecDeque<(Arc<Peer>, Prompt, Reply)>,
    is_asking: bool,
    thread: Option<JoinHandle<()>>,
    stopping: bool,
    /// A handler that does not return has been waited for long enough.
    left_behind: bool,
}

impl Asker {
    pub(crate) fn new(handler: Prompter) -> Arc<Asker> {
        let (state, idle) = Default::default();
        Arc::new(Asker { handler: Mutex::new(handler), state, idle })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("held for the queue only")
    }

    /// Asks, later, and tells `reply` on the thread: `None` where the handler gives no answer or panics. Where no
    /// thread can be started it tells `None` at once. For a start that has ended meanwhile, and after the shutdown,
    /// `reply` is dropped. Never blocks.
    pub(crate) fn ask(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        prompt: Prompt,
        reply: impl FnOnce(Option<Secret>) + Send + 'static,
    ) {
        let mut state = self.lock();
        if state.stopping {
            return;
        }
        if !state.is_asking {
            let asker = self.clone();
            let thread = thread::Builder::new().name("econtext-prompts".into());
            match thread.spawn(move || asker.work()) {
                Ok(thread) => state.thread = Some(thread),
                Err(_) => {
                    drop(state);
                    return reply(None);
                }
            }
            state.is_asking = true;
        }
        state.questions.push_back((peer.clone(), prompt, Box::new(reply)));
    }

    fn work(&self) {
        let mut state = self.lock();
        while let Some((peer, prompt, reply)) = state.questions.pop_front() {
            drop(state);
            if peer.ended().is_none() {
                let answer = self.put(&prompt);
                if !self.lock().stopping {
                    reply(answer);
                }
            }
            state = self.lock();
        }
        state.is_asking = false;
        if !state.stopping {
            state.thread = None; // Nobody waits for it.
        }
        self.idle.notify_all();
    }

    fn put(&self, prompt: &Prompt) -> Option<Secret> {
        // One that has panicked said so; the next question is another one.
        let mut handler = self.handler.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = catch_unwind(AssertUnwindSafe(|| handler(prompt)));
        answer.ok().flatten().map(Secret::from)
    }

    /// Drops what is not asked yet, and ends the thread. A handler that does not return is left behind after
    /// `patience`, once: whoever stops it again does not wait for it.
    pub(crate) fn stop(&self, patience: Duration) {
        let mut state = self.lock();
        state.stopping = true;
        let unasked = std::mem::take(&mut state.questions);
        let is_itself = |it: &JoinHandle<()>| it.thread().id() == thread::current().id();
        if state.thread.as_ref().is_some_and(is_itself) {
            drop(state);
            return; // The handler ends the router: the thread ends when it returns.
        }
        let is_awaited = |state: &mut State| state.is_asking && !state.left_behind;
        let idle = self.idle.wait_timeout_while(state, patience, is_awaited);
        let (mut state, _) = idle.expect("see lock()");
        state.left_behind |= state.is_asking;
        let thread = if state.is_asking { None } else { state.thread.take() };
        drop(state);
        self.idle.notify_all(); // Who has come later has waited long enough, too.
        drop(unasked);
        if let Some(thread) = thread {
            // The handler's panics are caught; its own would have been printed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::PromptKind;
    use crate::end::End;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

    const LONG: Duration = Duration::from_secs(20);

    fn peer() -> Arc<Peer> {
        let (broker, _) = crate::broker::Handle::new().expect("there are descriptors left");
        let out = crate::stream::Outgoing::ended(End::Shutdown);
        Arc::new(Peer::new(1, "ssh.web1".into(), out, broker))
    }

    pub(crate) fn prompt(text: &str) -> Prompt {
        let (context, kind) = ("ssh.web1".into(), PromptKind::Password);
        Prompt { context, via: Vec::new(), kind, text: text.into(), attempt: 1 }
    }

    fn answer(asker: &Arc<Asker>, text: &str) -> Receiver<Option<Vec<u8>>> {
        let (tell, told) = channel();
        asker.ask(&peer(), prompt(text), move |answer| {
            tell.send(answer.map(|it| it.bytes().to_vec())).expect("the test waits");
        });
        told
    }

    /// A handler that says what it is asked, and waits until it may answer that.
    pub(crate) fn patient() -> (Prompter, Receiver<String>, Sender<()>) {
        let ((asked, is_asked), (go, may_go)) = (channel(), channel());
        let prompter = move |prompt: &Prompt| {
            asked.send(prompt.text.clone()).expect("the test waits");
            may_go.recv().expect("the test says so");
            Some(prompt.text.clone())
        };
        (Box::new(prompter), is_asked, go)
    }

    #[test]
    fn the_handler_answers_gives_up_or_panics_and_goes_on() {
        let prompter = |prompt: &Prompt| match &*prompt.text {
            "panic" => std::panic::resume_unwind(Box::new("as the test wants it")),
            "give up" => None,
            text => Some(format!("{}: {text}", prompt.context)),
        };
        let asker = Asker::new(Box::new(prompter));
        for (text, expected) in [("panic", None), ("give up", None), ("x", Some("ssh.web1: x"))] {
            let told = answer(&asker, text).recv_timeout(LONG).unwrap();
            assert_eq!(told.as_deref(), expected.map(str::as_bytes), "{text}");
        }
        asker.stop(LONG);
    }

    #[test]
    fn questions_are_asked_one_after_the_other_and_not_for_a_start_that_has_ended() {
        let (prompter, is_asked, go) = patient();
        let asker = Asker::new(prompter);
        let first = answer(&asker, "first");
        assert_eq!(is_asked.recv_timeout(LONG).unwrap(), "first");
        let ended = peer();
        asker.ask(&ended, prompt("late"), |_| unreachable!("nobody was asked"));
        ended.end(End::Shutdown);
        let second = answer(&asker, "second");
        go.send(()).unwrap();
        assert_eq!(first.recv_timeout(LONG).unwrap().unwrap(), b"first");
        assert_eq!(is_asked.recv_timeout(LONG).unwrap(), "second");
        go.send(()).unwrap();
        assert_eq!(second.recv_timeout(LONG).unwrap().unwrap(), b"second");
        asker.stop(LONG);
    }

    #[test]
    fn there_is_a_thread_only_while_there_is_something_to_ask() {
        let (prompter, is_asked, go) = patient();
        let asker = Asker::new(prompter);
        assert!(asker.lock().thread.is_none());
        for text in ["first", "second"] {
            let told = answer(&asker, text);
            is_asked.recv_timeout(LONG).unwrap();
            assert!(asker.lock().thread.is_some());
            go.send(()).unwrap();
            told.recv_timeout(LONG).unwrap();
            let idle = asker.idle.wait_timeout_while(asker.lock(), LONG, |it| it.is_asking);
            assert!(idle.unwrap().0.thread.is_none());
        }
        asker.stop(LONG);
    }

    #[test]
    fn an_answer_after_the_shutdown_is_dropped_and_what_is_queued_is_not_asked() {
        let (prompter, is_asked, go) = patient();
        let asker = Asker::new(prompter);
        let answers = [answer(&asker, "first"), answer(&asker, "second")];
        is_asked.recv_timeout(LONG).unwrap();
        asker.stop(Duration::ZERO);
        let third = answer(&asker, "third");
        go.send(()).unwrap();
        for answer in answers.into_iter().chain([third]) {
            assert_eq!(answer.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        }
        assert!(is_asked.try_recv().is_err());
    }

    #[test]
    fn a_handler_that_hangs_is_waited_for_once() {
        let (prompter, is_asked, go) = patient();
        let asker = Asker::new(prompter);
        let told = answer(&asker, "x");
        is_asked.recv_timeout(LONG).unwrap();
        let begun = std::time::Instant::now();
        asker.stop(Duration::from_millis(10));
        asker.stop(LONG);
        assert!(begun.elapsed() < LONG);
        go.send(()).unwrap();
        assert_eq!(told.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn a_handler_may_end_what_asks_it() {
        let (asker_is, is_asker) = channel::<Arc<Asker>>();
        let asker = Asker::new(Box::new(move |_| {
            is_asker.recv().expect("the test says so").stop(LONG);
            None
        }));
        let told = answer(&asker, "x");
        asker_is.send(asker).unwrap();
        assert_eq!(told.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
    }
}
