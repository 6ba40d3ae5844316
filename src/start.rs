//! How a child is started: by a plan, within a time, in several attempts if need be.
//!
//! Another attempt follows where the server takes no more connections for the moment, some times and with
//! growing pauses; where a tool has another way to be run than one that ended before Python ran; and once where a
//! login script seems to have read what was meant for Python. That one sends newlines first, for a script to
//! read, and the rest when the marker `EC0` is here.
//! Not here: the life of each attempt (`link`), and what went wrong (`connect::handshake`).

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bootstrap::{self, Launch};
use crate::connect::{Again, Asks, Carrier, Conversation, Handshake, Plan, Terminal};
use crate::dialogue::Dialogue;
use crate::{ConnectError, Stage, sys};

/// How often a busy server is asked.
const ATTEMPTS: u32 = 8;
/// The pause after the first refusal; it doubles each time, ..
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// .. up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Newlines for login scripts that read: more than one that asks something takes.
const PADDING_BYTES: usize = 16 << 10;
/// An interpreter that is there and does not say that it has its core after so long waits for bytes that a
/// login script ate. (Or the network stands still: then what was queued may run twice.)
const CORE_STALLS: Duration = Duration::from_secs(10);
/// A context that starts a child for us ends one that is late within six seconds, whatever it takes. The rest is for
/// the way there and back, and for what may hold the context up, at most twice the time of the start:
const TO_END_AND_TELL: Duration = Duration::from_secs(10);
/// where that is long, a context of Python 2.7 that imports, say, is waited for so much longer.
const HELD_UP: Duration = Duration::from_secs(60);

/// The start of one child.
pub(crate) struct Start {
    plan: Plan,
    /// What `ps` is to show.
    process_name: String,
    timeout: Duration,
    /// When it has to be done, over all attempts; `None` beyond what the clock can show.
    deadline: Option<Instant>,
    /// So long persons were asked.
    asked: Duration,
    attempt: u32,
    /// How often a server was busy.
    refusals: u32,
    /// The way that the tool is run, from 0.
    way: usize,
    is_padded: bool,
    /// A person has answered a question: not to be troubled with it again.
    has_asked: bool,
}

impl Start {
    pub(crate) fn new(plan: Plan, process_name: String, timeout: Duration) -> Start {
        let deadline = Instant::now().checked_add(timeout);
        Start {
            plan,
            process_name,
            timeout,
            deadline,
            asked: Duration::ZERO,
            attempt: 1,
            refusals: 0,
            way: 0,
            is_padded: false,
            has_asked: false,
        }
    }

    /// The command of this attempt, and what is to be sent first.
    pub(crate) fn launch(&self) -> Launch {
        let launch = if self.is_padded { bootstrap::launch_padded } else { bootstrap::launch };
        launch(&self.plan.python, &self.process_name)
    }

    /// Starts the process of this attempt; what went wrong is said in one line.
    pub(crate) fn spawn(&self, launch: &Launch) -> Result<Carrier, String> {
        self.plan.spawn(self.way(), &launch.argv)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which attempt this is, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The way that the tool is run in this attempt, from 0.
    pub(crate) fn way(&self) -> usize {
        self.way
    }

    /// Where the tool asks its questions in this attempt.
    pub(crate) fn asks(&self) -> Asks {
        self.plan.asks(self.way())
    }

    /// Nothing but [`padding`](Start::padding) is sent before the marker is here.
    pub(crate) fn waits(&self) -> bool {
        self.is_padded || self.plan.waits(self.way)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Only now can it begin: the time up to here does not count.
    pub(crate) fn restart_clock(&mut self) {
        (self.deadline, self.asked) = (Instant::now().checked_add(self.timeout), Duration::ZERO);
    }

    /// When a context that makes this start for us should have told how it ended, and after how long that is.
    pub(crate) fn report_due(&self) -> Option<(Instant, Duration)> {
        let late = self.timeout.saturating_mul(2).clamp(TO_END_AND_TELL, HELD_UP);
        let within = self.timeout.saturating_add(self.asked).saturating_add(late);
        Some((self.deadline?.checked_add(late)?, within))
    }

    /// This attempt waits for the marker, behind [`padding`](Start::padding).
    #[cfg(test)]
    pub(crate) fn is_padded(&self) -> bool {
        self.is_padded
    }

    /// What goes before everything else, alone.
    pub(crate) fn padding(&self) -> Option<Vec<u8>> {
        self.is_padded.then(|| vec![b'\n'; PADDING_BYTES])
    }

    pub(crate) fn handshake(&self) -> Handshake {
        Handshake::new(&self.plan)
    }

    /// The questions of this attempt, if it may ask any.
    pub(crate) fn dialogue(
        &self,
        context: &str,
        terminal: Option<Terminal>,
        stream: &Arc<OwnedFd>,
    ) -> Option<Dialogue> {
        let conversation = || Conversation::new(context, self.plan.answers.clone());
        match (self.asks(), terminal) {
            (Asks::Stdio, _) => Some(Dialogue::on_stdio(stream.clone(), conversation())),
            (_, Some(terminal)) => Some(Dialogue::on_terminal(terminal, conversation())),
            (_, None) => None,
        }
    }

    /// A person was asked for so long, which does not count.
    pub(crate) fn extend(&mut self, asked: Duration) {
        self.deadline = self.deadline.and_then(|deadline| deadline.checked_add(asked));
        self.asked = self.asked.saturating_add(asked);
    }

    /// The marker is here: when the core has to be.
    pub(crate) fn core_deadline(&self) -> Option<Instant> {
        if self.is_padded || !self.plan.has_shell() {
            return self.deadline;
        }
        let stalls_at = Instant::now() + CORE_STALLS;
        Some(self.deadline.map_or(stalls_at, |deadline| deadline.min(stalls_at)))
    }

    /// Whether the time of the whole start is over.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Why a start that came so far failed when its time was over.
    pub(crate) fn timed_out(&self, stage: Stage) -> String {
        let within = format!("within {:?}", self.timeout);
        match stage {
            // ssh does not say how far it has come, up to this.
            Stage::Connect => format!("not logged in {within}"),
            Stage::Python if self.plan.has_shell() => {
                format!("no answer {within}: does a login script wait, or read standard input?")
            }
            _ => format!("no answer {within}"),
        }
    }

    /// How long to wait before the next attempt, if there is to be one.
    pub(crate) fn pause_before(&self, again: Again) -> Option<Duration> {
        let pause = match again {
            Again::Eaten if self.is_padded => return None,
            Again::Eaten => Duration::ZERO,
            Again::NextWay if self.way + 1 >= self.plan.ways() => return None,
            Again::NextWay => Duration::ZERO,
            Again::Busy if self.refusals + 1 >= ATTEMPTS || self.has_asked => return None,
            Again::Busy => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.refusals).min(LONGEST_PAUSE);
                // Half as much to half as much more, so that many that were refused at once do not come
                // back at once.
                let mut dice = [128];
                let _ = sys::entropy(&mut dice);
                pause.mul_f64(0.5 + f64::from(dice[0]) / 255.0)
            }
        };
        let in_time = self.deadline.is_none_or(|deadline| Instant::now() + pause < deadline);
        in_time.then_some(pause)
    }

    /// The prompt handler is asked something.
    pub(crate) fn asked(&mut self) {
        self.has_asked = true;
    }

    /// Goes on to the next attempt.
    pub(crate) fn next_attempt(&mut self, again: Again) {
        self.attempt += 1;
        match again {
            Again::Busy => self.refusals += 1,
            Again::Eaten => self.is_padded = true,
            Again::NextWay => self.way += 1,
        }
    }

    /// What the log is to say of a start that had to wait for a login script, once it is up.
    pub(crate) fn note(&self) -> Option<&'static str> {
        let note = "a login script reads standard input: connected by a second attempt, which waited \
                    for the script to end";
        self.is_padded.then_some(note)
    }

    /// Says in an error that several attempts were made.
    pub(crate) fn describe(&self, mut error: ConnectError) -> ConnectError {
        if self.is_padded {
            error.reason += "; the second attempt, since a login script seems to have read what the \
                             first one sent";
        } else if self.refusals > 0 {
            error.reason += &format!("; after {} attempts", self.refusals + 1);
        }
        error
    }

    /// The child is up: what it took is not needed any more, and secrets are overwritten.
    pub(crate) fn done(&mut self) {
        self.plan.answers.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Local, Method, Su, Sudo};

    fn start(timeout: Duration) -> Start {
        Start::new(Local::new().plan(), "x".into(), timeout)
    }

    #[test]
    fn a_busy_server_is_asked_a_bounded_number_of_times_with_growing_pauses() {
        let mut start = start(Duration::from_secs(1000));
        let mut pauses = Vec::new();
        while let Some(pause) = start.pause_before(Again::Busy) {
            pauses.push(pause);
            start.next_attempt(Again::Busy);
        }
        assert_eq!(pauses.len(), 7);
        for (n, pause) in pauses.into_iter().enumerate() {
            let middle = [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0][n];
            let seconds = pause.as_secs_f64();
            assert!(middle * 0.5 <= seconds && seconds <= middle * 1.5, "{n}: {pause:?}");
        }
    }

    #[test]
    fn what_was_eaten_is_sent_a_second_time_once() {
        let mut start = start(Duration::from_secs(1000));
        assert_eq!(start.pause_before(Again::Eaten), Some(Duration::ZERO));
        start.next_attempt(Again::Eaten);
        assert!(start.padding().is_some());
        assert_eq!(start.pause_before(Again::Eaten), None);
        // A server that is busy then does not make the script eat less.
        start.next_attempt(Again::Busy);
        assert!(start.is_padded());
    }

    #[test]
    fn each_way_to_run_a_tool_is_tried_once() {
        let plan = Sudo::new().plan();
        let mut start = Start::new(plan, "x".into(), Duration::from_secs(1000));
        assert_eq!((start.way(), start.asks()), (0, Asks::Nowhere));
        assert_eq!(start.pause_before(Again::NextWay), Some(Duration::ZERO));
        start.next_attempt(Again::NextWay);
        assert_eq!((start.way(), start.asks(), start.attempt()), (1, Asks::Terminal, 2));
        assert_eq!(start.pause_before(Again::NextWay), None);
        // It is one attempt for a person.
        let error = ConnectError::at_spawn("x", "no".into());
        assert_eq!(start.describe(error).reason, "no");
    }

    #[test]
    fn a_tool_that_reads_answers_from_the_stream_gets_nothing_else() {
        let start = Start::new(Su::new().plan(), "x".into(), Duration::from_secs(1000));
        assert!(start.waits() && start.padding().is_none() && start.plan().may_need_another());
        let local = self::start(Duration::from_secs(1000));
        assert!(!local.waits() && !local.plan().may_need_another());
    }

    #[test]
    fn the_time_in_which_a_start_cannot_begin_does_not_count() {
        let mut start = start(Duration::from_secs(1));
        start.extend(Duration::from_secs(3));
        let (due, within) = start.report_due().unwrap();
        assert_eq!(within, Duration::from_secs(14));
        assert!(due > Instant::now() + Duration::from_secs(13));
        start.restart_clock();
        let (due, _) = start.report_due().unwrap();
        assert!(due > Instant::now() + Duration::from_secs(10));
        assert!(due <= Instant::now() + Duration::from_secs(11));
        assert!(self::start(Duration::MAX).report_due().is_none());
        for (timeout, within) in [(2, 12), (10, 30), (30, 90), (1000, 1060)] {
            let start = self::start(Duration::from_secs(timeout));
            assert_eq!(start.report_due().unwrap().1, Duration::from_secs(within));
        }
    }

    #[test]
    fn there_is_no_attempt_after_the_deadline() {
        let start = start(Duration::ZERO);
        assert!(start.is_over(Instant::now()));
        assert_eq!(start.pause_before(Again::Eaten), None);
        assert_eq!(start.pause_before(Again::Busy), None);
    }
}
