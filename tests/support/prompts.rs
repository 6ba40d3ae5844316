//! A prompt handler for a test, which keeps what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use econtext::{Prompt, PromptKind};

/// Answers in turn, and then gives up.
#[derive(Clone, Debug, Default)]
pub struct Prompts {
    shared: Arc<Mutex<(VecDeque<String>, Vec<Prompt>)>>,
}

impl Prompts {
    pub fn answering<S: Into<String>>(answers: impl IntoIterator<Item = S>) -> Prompts {
        let answers = answers.into_iter().map(Into::into).collect();
        Prompts { shared: Arc::new(Mutex::new((answers, Vec::new()))) }
    }

    /// What to give to `RouterBuilder::on_prompt`.
    pub fn handler(&self) -> impl FnMut(&Prompt) -> Option<String> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |prompt| {
            let mut shared = shared.lock().unwrap();
            shared.1.push(prompt.clone());
            shared.0.pop_front()
        }
    }

    /// What was asked so far, in order: kind, text, attempt.
    pub fn asked(&self) -> Vec<(PromptKind, String, u32)> {
        self.prompts()
            .into_iter()
            .map(|prompt| (prompt.kind, prompt.text, prompt.attempt))
            .collect()
    }

    /// The same, with all that there is to know of each.
    pub fn prompts(&self) -> Vec<Prompt> {
        self.shared.lock().unwrap().1.clone()
    }
}
