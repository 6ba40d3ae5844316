//! What sudo, su, doas and their kin say when they refuse.
//!
//! Invariant: a pure function of text. A translated message is none of these: then the error quotes it, and the
//! next way to run the tool is tried.
//! Not here: ssh's words (`failure`).

mod rules;

use super::failure::fits;
pub(crate) use rules::{DOAS_TAKES, SU_TAKES, SUDO_TAKES};
use rules::{EPILOGUES, RULES, WANTS_ANSWER, WANTS_TERMINAL};

/// What a line means.
pub(crate) struct Refusal {
    /// What is wrong, and what to do: one line.
    pub(crate) reason: String,
    /// Another way to run the tool may fare better.
    pub(crate) retry: bool,
}

/// Says why a tool ran nothing, where its words tell; the last that is known counts.
pub(crate) fn explain(printed: &str) -> Option<Refusal> {
    printed.lines().rev().find_map(|line| {
        let line = line.trim();
        let (_, what, advice) = RULES.iter().find(|(pattern, ..)| fits(pattern, line))?;
        let reason = format!("{what}: \"{line}\"{advice}");
        Some(Refusal { reason, retry: matches!(*what, WANTS_ANSWER | WANTS_TERMINAL) })
    })
}

/// Whether this line says nothing more, once there is a reason.
pub(crate) fn is_epilogue(line: &str) -> bool {
    EPILOGUES.iter().any(|pattern| fits(pattern, line.trim()))
}

#[cfg(test)]
mod tests {
    use super::rules::REFUSED;
    use super::*;

    fn reason(printed: &str) -> Option<(String, bool)> {
        explain(printed).map(|refusal| (refusal.reason, refusal.retry))
    }

    #[test]
    fn the_last_line_that_is_known_is_the_reason() {
        let printed =
            "sudo: unknown user nobody1\nsudo: error initializing audit plugin sudoers_audit";
        let said = "no such user: \"sudo: unknown user nobody1\"".to_string();
        assert_eq!(reason(printed), Some((said, false)));
        assert!(is_epilogue("sudo: error initializing audit plugin sudoers_audit"));
        let said = "the password was refused, or the account: \"su: Authentication failure\"; \
                    su takes that of the user that it changes to";
        let printed = "Password: \nsu: Authentication failure\n";
        assert_eq!(reason(printed), Some((said.to_string(), false)));
    }

    #[test]
    fn where_a_password_or_a_terminal_is_wanted_another_way_may_have_it() {
        for line in [
            "sudo: a password is required",
            "sudo: sorry, you must have a tty to run sudo",
            "sudo: interactive authentication is required",
            "doas: Authentication required",
        ] {
            assert!(explain(line).is_some_and(|refusal| refusal.retry), "{line}");
        }
        assert!(explain("sudo: Ein Passwort ist notwendig").is_none());
        let incorrect = explain("sudo: 3 incorrect password attempts").unwrap();
        assert!(!incorrect.retry && incorrect.reason.starts_with(REFUSED));
    }
}
