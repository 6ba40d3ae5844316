//! Bytes that leave no copy behind.
//!
//! Invariant: the memory of a secret is overwritten before it is given back, and never given back early
//! by growing: whatever makes a longer one makes a new one. Nothing prints it.
//! Not here: copies that the kernel keeps (a terminal's queue, swap), and those of the program itself.

use std::fmt;

use crate::sys;

/// A password, a passphrase, or an answer to a question.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret and a newline, as it is typed.
    pub(crate) fn line(&self) -> Secret {
        let mut line = Vec::with_capacity(self.0.len() + 1);
        line.extend_from_slice(&self.0);
        line.push(b'\n');
        Secret(line)
    }
}

/// Takes over the text's memory.
impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text.into_bytes())
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // What was cut off the text before it became a secret is wiped, too.
        self.0.resize(self.0.capacity(), 0);
        sys::wipe(&mut self.0);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("hunter2".to_string());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
        assert_eq!(secret.bytes(), b"hunter2");
        assert_eq!(secret.clone().line().bytes(), b"hunter2\n");
    }

    #[test]
    fn a_secret_takes_over_the_memory_of_the_text_and_a_line_is_made_in_one_piece() {
        let mut text = String::with_capacity(100);
        text.push_str("hunter2");
        let at = text.as_ptr();
        let secret = Secret::from(text);
        assert_eq!((secret.bytes().as_ptr(), secret.0.capacity()), (at, 100));
        assert_eq!(secret.line().0.capacity(), 8);
    }
}
