//! What a program asks, told apart by its words: those of OpenSSH 7.4 and later, of sudo and its kin.
//!
//! Invariant: pure functions of one line. A line that none of them knows is a question all the same, of
//! the kind [`PromptKind::Other`]; of a tool that asks for little but a password, for that.
//! Not here: who answers (`conversation`), and whom a password is for (`target`).

/// A question that the program which carries a context asks, for
/// [`on_prompt`](crate::RouterBuilder::on_prompt).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// The name of the context that is being started.
    pub context: String,
    /// The names of the contexts on the way to it, the program's own child first: where the program runs that asks.
    /// Empty for a child of the program, whose machine that is. Names need not be unique; those that a method is
    /// given (`.name(..)`) can be.
    pub via: Vec<String>,
    /// What is asked for, as far as it is known.
    pub kind: PromptKind,
    /// The question, and above it the lines that came with it (those of a host key's question have its
    /// type and fingerprint). White space at the ends is cut, control characters are escaped, and of
    /// very long texts only the end is here.
    ///
    /// Jump hosts ask on the same terminal: the text says who asks, say `deploy@web1's password:`.
    pub text: String,
    /// 1, and more when the same is asked again by one process: the answer before was wrong. (A start whose first
    /// attempt a login script ate asks anew.)
    pub attempt: u32,
}

/// What a [`Prompt`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PromptKind {
    /// The password of a user: over ssh, of the host itself or of a jump host; for sudo and its kin.
    Password,
    /// The passphrase of a private key.
    Passphrase,
    /// Whether a host that is not known yet is the right one. The answer is `yes`, `no` or, for OpenSSH 8.0
    /// and later, the fingerprint as it should be.
    HostKey,
    /// Anything else: one-time codes, PINs, the change of a password that has expired.
    Other,
}

/// What an unterminated line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Password,
    Passphrase,
    HostKey,
    /// The answer to the question of the host key was neither yes nor no.
    HostKeyAgain,
    /// A token is to be touched: nothing to answer.
    Touch,
    /// Stars or white space, which a program shows in place of an answer.
    Echo,
    Other,
}

impl Question {
    pub(crate) fn kind(self) -> PromptKind {
        match self {
            Question::Password => PromptKind::Password,
            Question::Passphrase => PromptKind::Passphrase,
            Question::HostKey | Question::HostKeyAgain => PromptKind::HostKey,
            _ => PromptKind::Other,
        }
    }
}

/// How the question of the password is known.
#[derive(Clone, Debug, Default)]
pub(crate) enum PasswordQuestion {
    /// By its words, in English.
    #[default]
    Words,
    /// By this word, which the tool was told to ask with; also by its words.
    Token(String),
    /// The tool asks for little else: by its words, or by having none of another question's.
    Any,
}

impl PasswordQuestion {
    /// What `line` asks.
    pub(crate) fn understand(&self, line: &str) -> Question {
        if let Some((_, after)) = self.around_token(line) {
            // What follows the token is a few words of the tool's, or stars for what has been typed.
            let is_question = !after.contains('*') && after.chars().count() <= LONGEST_TAIL;
            return if is_question { Question::Password } else { Question::Echo };
        }
        match understand(line) {
            Question::Other if matches!(self, Self::Any) && !is_about_another(line) => {
                Question::Password
            }
            question => question,
        }
    }

    /// Whether `line` is a question that is known, to its end: no more is waited for.
    pub(crate) fn is_whole(&self, line: &str) -> bool {
        match self.around_token(line) {
            Some(("", after)) => after == ": ",
            // `[sudo: TOKEN: ] Password: ` of sudo-rs, which has not ended where our own prompt has.
            Some((_, after)) => {
                let is_question = self.understand(line) == Question::Password;
                is_question && after != ": " && after.ends_with(": ")
            }
            None => is_whole(line),
        }
    }

    /// Whether `line` may be a question, if nothing more comes. Where su asks, login scripts print, too.
    pub(crate) fn may_be(&self, line: &str) -> bool {
        !matches!(self, Self::Any) || line.trim_end().ends_with([':', '?', '\u{ff1a}', '\u{ff1f}'])
    }

    /// The line for a person.
    pub(crate) fn shown(&self, line: &str) -> String {
        match self {
            Self::Token(token) => line.replace(&**token, "sudo password"),
            Self::Words | Self::Any => line.into(),
        }
    }

    fn around_token<'a>(&self, line: &'a str) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Token(token) => line.rsplit_once(&**token),
            Self::Words | Self::Any => None,
        }
    }
}

/// How many characters a tool may have behind our own prompt: `: ] Authenticate as 'deploy': `.
const LONGEST_TAIL: usize = 60;

/// What `line` asks.
fn understand(line: &str) -> Question {
    let (_, question) = split_name(line);
    let starts = |text| line.starts_with(text);
    if line.chars().all(|c| c == '*' || c.is_whitespace() || c.is_control()) {
        Question::Echo
    } else if starts("Enter passphrase for ") {
        Question::Passphrase
    } else if starts("Are you sure you want to continue connecting (yes/no") {
        Question::HostKey
    } else if starts("Please type 'yes'") {
        Question::HostKeyAgain
    } else if starts("Confirm user presence for key") {
        Question::Touch
    } else if asks_for_password(question) {
        Question::Password
    } else {
        Question::Other
    }
}

fn is_whole(line: &str) -> bool {
    let end = line.ends_with(": ") || line.ends_with("? ");
    end && !matches!(understand(line), Question::Echo | Question::Touch | Question::Other)
}

/// Whether `line`, of stderr, is how ssh says that it is about to ask again. Who answers learns it from the
/// question; and what it ends with when it asks no more says more.
pub(crate) fn is_asked_again(line: &str) -> bool {
    line == "Permission denied, please try again."
}

/// Who asks, where `line` says so: `user@host` of `user@host's password: `, and of `(user@host) Password: `,
/// as OpenSSH 8.5 and later show the questions of a server.
pub(crate) fn asker(line: &str) -> Option<&str> {
    match split_name(line) {
        (Some(name), _) => Some(name),
        (None, question) => {
            let (name, rest) = question.split_once('\'')?;
            (rest.trim_end() == "s password:" && name.contains('@')).then_some(name)
        }
    }
}

/// The name before a server's question, and the question.
fn split_name(line: &str) -> (Option<&str>, &str) {
    let named = line.strip_prefix('(').and_then(|rest| rest.split_once(") "));
    match named {
        Some((name, question)) if name.contains('@') && !name.contains(' ') => {
            (Some(name), question)
        }
        _ => (None, line),
    }
}

/// Servers choose their own words: `Password: `, `Enter LDAP password: `, `Password for bob@web1:`. Not so
/// `New password: `, `Password and code: ` or `One-time password (OTP): `.
fn asks_for_password(question: &str) -> bool {
    let question = question.trim_end();
    if asker(question).is_some() {
        return true;
    }
    let question = question.to_lowercase();
    let words: Vec<_> =
        question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let Some(at) = words.iter().position(|word| *word == "password") else { return false };
    let (before, after) = (&words[..at], &words[at + 1..]);
    before.len() <= MOST_WORDS
        && !before.iter().any(|word| ANOTHER_PASSWORD.contains(word))
        && (after.is_empty() || after[0] == "for" && after.len() <= 1 + MOST_WORDS)
}

/// Whether a question has a word in it that is not for a password.
fn is_about_another(line: &str) -> bool {
    const OTHERS: [&str; 6] = ["factor", "passcode", "pin", "option", "verification", "yes"];
    let line = line.to_lowercase();
    let mut words = line.split(|c: char| !c.is_alphanumeric());
    words.any(|word| OTHERS.contains(&word) || ANOTHER_PASSWORD.contains(&word))
}

const MOST_WORDS: usize = 4;

/// Words before `password` that make it another one than that of the login.
const ANOTHER_PASSWORD: [&str; 22] = [
    "again",
    "app",
    "change",
    "choose",
    "code",
    "confirm",
    "current",
    "expired",
    "incorrect",
    "invalid",
    "new",
    "no",
    "old",
    "one",
    "or",
    "otp",
    "repeat",
    "retype",
    "temporary",
    "time",
    "token",
    "wrong",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_questions_of_openssh_are_known() {
        use Question::*;
        for (line, question) in [
            ("deploy@web1's password: ", Password),
            ("(deploy@web1) Password: ", Password),
            ("(deploy@web1) Password for deploy@web1: ", Password),
            ("Password: ", Password),
            ("Enter LDAP Password: ", Password),
            ("Please enter your password: ", Password),
            ("Enter passphrase for key '/home/me/.ssh/id_ed25519': ", Passphrase),
            ("Enter passphrase for \"my key\": ", Passphrase),
            ("Are you sure you want to continue connecting (yes/no)? ", HostKey),
            ("Are you sure you want to continue connecting (yes/no/[fingerprint])? ", HostKey),
            ("Please type 'yes' or 'no': ", HostKeyAgain),
            ("Please type 'yes', 'no' or the fingerprint: ", HostKeyAgain),
        ] {
            assert_eq!(understand(line), question, "{line}");
            assert!(is_whole(line), "{line}");
            assert!(!is_whole(&line[..line.len() - 1]), "{line}");
        }
    }

    #[test]
    fn questions_that_look_like_that_of_the_password_are_not() {
        for line in [
            "(deploy@web1) Current password: ",
            "(deploy@web1) New password: ",
            "Retype new password: ",
            "(current) UNIX password: ",
            "Enter deploy@web1's old password: ",
            "Enter deploy@web1's new password: ",
            "Retype deploy@web1's new password: ",
            "(deploy@web1) One-time password (OTP) for deploy: ",
            "Password & verification code: ",
            "Password (again): ",
            "(deploy@web1) Verification code: ",
            "Passcode or option (1-3): ",
            "Enter PIN for ED25519-SK key /home/me/.ssh/id_sk: ",
            "Enter PIN for 'token': ",
            "Is it the password that you cannot remember? ",
        ] {
            assert_eq!(understand(line), Question::Other, "{line}");
            assert!(!is_whole(line), "{line}");
        }
    }

    #[test]
    fn sudos_question_is_known_by_its_token_whatever_is_around_it() {
        let ours = PasswordQuestion::Token("0f1e".into());
        for line in [
            "0f1e: ",
            "[sudo: 0f1e: ] Password: ",
            "[sudo: 0f1e: ] Mot de passe\u{a0}: ",
            "[sudo: 0f1e: ] \u{5bc6}\u{7801}: ",
        ] {
            assert_eq!((ours.understand(line), ours.is_whole(line)), (Question::Password, true));
            // Cut anywhere, nothing is whole that might go on.
            for (cut, _) in line.char_indices() {
                assert!(!ours.is_whole(&line[..cut]), "{}", &line[..cut]);
            }
        }
        // No colon and no blank: a question, if nothing more comes.
        let line = "[sudo: 0f1e: ] Mot de passe";
        assert_eq!((ours.understand(line), ours.is_whole(line)), (Question::Password, false));
        assert_eq!(ours.shown("0f1e: "), "sudo password: ");
        // What a module of PAM asks by itself.
        assert_eq!(ours.understand("Verification code: "), Question::Other);
        assert_eq!(ours.understand("Password: "), Question::Password);
    }

    #[test]
    fn stars_for_what_has_been_typed_are_no_question() {
        let ours = PasswordQuestion::Token("0f1e".into());
        for line in ["0f1e: *", "[sudo: 0f1e: ] Password: ***", "******\u{8} \u{8}\u{8} \u{8}", ""]
        {
            assert_eq!((ours.understand(line), ours.is_whole(line)), (Question::Echo, false));
        }
    }

    #[test]
    fn a_tool_that_asks_for_little_else_asks_for_the_password_in_any_language() {
        let any = PasswordQuestion::Any;
        for line in ["Passwort: ", "\u{5bc6}\u{7801}\u{ff1a}", "Mot de passe\u{a0}: "] {
            assert_eq!((any.understand(line), any.is_whole(line)), (Question::Password, false));
        }
        assert!(any.is_whole("Password: ") && any.is_whole("doas (me@web1) password: "));
        assert!(any.may_be("\u{5bc6}\u{7801}\u{ff1a}") && any.may_be("Mot de passe\u{a0}: "));
        assert!(!any.may_be("Loading... ") && PasswordQuestion::Words.may_be("Loading... "));
        for line in ["Verification code: ", "New password: ", "Enter PIN: ", "OTP: "] {
            assert_eq!(any.understand(line), Question::Other, "{line}");
        }
        assert_eq!(any.understand("***"), Question::Echo);
    }

    #[test]
    fn what_is_no_question_is_known_as_such() {
        let touch = "Confirm user presence for key ED25519-SK SHA256:abc: ";
        assert_eq!((understand(touch), is_whole(touch)), (Question::Touch, false));
        for echo in ["***", "", "\r", " ", "*", "\u{7}"] {
            assert_eq!((understand(echo), is_whole(echo)), (Question::Echo, false));
        }
    }

    #[test]
    fn a_question_tells_who_asks_it() {
        assert_eq!(asker("deploy@web1's password: "), Some("deploy@web1"));
        assert_eq!(asker("(deploy@web1) Password: "), Some("deploy@web1"));
        // The server behind `gate` may write what it likes, after its own name.
        assert_eq!(asker("(me@gate) \rdeploy@web1's password: "), Some("me@gate"));
        assert_eq!(asker("Password: "), None);
        assert_eq!(asker("(yes) Password: "), None);
    }
}
