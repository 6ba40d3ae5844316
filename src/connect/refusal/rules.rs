//! The words of sudo, su, doas and their kin, as patterns, and what they mean.
//!
//! Code in a context that starts others judges by the same tables: `build.rs` reads this file.

/// What says nothing more, once there is a reason.
pub(super) const EPILOGUES: &[&str] =
    &["sudo: error initializing audit plugin *", "sudo: a password is required"];

pub(super) const WANTS_ANSWER: &str = "it wants a password";
pub(super) const WANTS_TERMINAL: &str = "it wants a terminal";
pub(super) const REFUSED: &str = "the password was refused, or the account";
const FORBIDDEN: &str = "the user may not use it";
const COMMAND: &str = "the user may not run the command";
const NO_USER: &str = "no such user";
const NO_GROUP: &str = "no such group";
const UNUSABLE: &str = "the account cannot be used";
const POWERLESS: &str = "it has no right to change the user";
const OPTION: &str = "an option is not allowed";

const ANSWER: &str = "; set .password(..) or Router::builder().on_prompt(..)";
/// Whose password a tool takes.
pub(crate) const SUDO_TAKES: &str =
    "; sudo takes that of the user who runs it, unless it is configured otherwise";
pub(crate) const DOAS_TAKES: &str = "; doas takes that of the user who runs it";
pub(crate) const SU_TAKES: &str = "; su takes that of the user that it changes to";
const PYTHON: &str =
    "; /bin/sh has to be allowed, which looks for Python, or the interpreter of .python(..)";

/// Of these the first that fits counts. The patterns are those of `failure`.
pub(super) const RULES: &[(&str, &str, &str)] = &[
    // sudo 1.8 and later.
    ("sudo: a password is required", WANTS_ANSWER, ANSWER),
    ("sudo: a terminal is required to read the password; *", WANTS_ANSWER, ANSWER),
    ("sudo: no tty present and no askpass program specified", WANTS_ANSWER, ANSWER),
    ("sudo: sorry, you must have a tty to run sudo", WANTS_TERMINAL, ""),
    ("sudo: # incorrect password attempt*", REFUSED, SUDO_TAKES),
    ("* is not in the sudoers file.*", FORBIDDEN, ""),
    ("*Sorry, user * is not allowed to execute *", COMMAND, PYTHON),
    ("Sorry, user * may not run sudo on *", FORBIDDEN, ""),
    ("sudo: unknown user*", NO_USER, ""),
    ("sudo: unknown uid*", NO_USER, ""),
    ("sudo: unknown group*", NO_GROUP, ""),
    ("sudo: account validation failure*", UNUSABLE, ""),
    ("sudo: Account or password is expired*", UNUSABLE, ""),
    ("sudo: Account expired *", UNUSABLE, ""),
    ("sudo: PAM account management error*", UNUSABLE, ""),
    ("sudo: sorry, you are not allowed to preserve the environment", OPTION, ""),
    ("sudo: sorry, you are not allowed to set *", OPTION, ""),
    ("sudo: you are not permitted to use the -* option *", OPTION, ""),
    ("sudo: effective uid is not 0, *", POWERLESS, ""),
    ("sudo: * must be owned by uid 0 and have the setuid bit set", POWERLESS, ""),
    ("sudo: The \"no new privileges\" flag is set, *", POWERLESS, ""),
    // sudo-rs.
    ("sudo: interactive authentication is required", WANTS_ANSWER, ANSWER),
    ("sudo: A terminal is required to authenticate", WANTS_ANSWER, ANSWER),
    ("sudo: Authentication required but not attempted", WANTS_ANSWER, ANSWER),
    ("*Sorry, user * may not run *", COMMAND, PYTHON),
    ("sudo: Account validation failure*", UNUSABLE, ""),
    ("sudo: Maximum # incorrect authentication attempts", REFUSED, SUDO_TAKES),
    ("sudo: Authentication failed, try again.", REFUSED, SUDO_TAKES),
    ("sudo: I'm sorry *. I'm afraid I can't do that", FORBIDDEN, ""),
    ("sudo: user '*' not found", NO_USER, ""),
    ("sudo: group '*' not found", NO_GROUP, ""),
    ("sudo: sudo must be owned by uid 0 and have the setuid bit set", POWERLESS, ""),
    // su, of util-linux, shadow and busybox.
    ("su: Authentication failure", REFUSED, SU_TAKES),
    ("su: incorrect password", REFUSED, SU_TAKES),
    ("su: Permission denied", REFUSED, SU_TAKES),
    ("su: Sorry", REFUSED, SU_TAKES),
    ("su: user * does not exist*", NO_USER, ""),
    ("su: unknown user *", NO_USER, ""),
    ("No passwd entry for user *", NO_USER, ""),
    ("su: must be run from a terminal", WANTS_TERMINAL, ""),
    ("su: must be suid to work properly", POWERLESS, ""),
    ("su: cannot set groups: Operation not permitted", POWERLESS, ""),
    ("Your account has expired*", UNUSABLE, ""),
    ("This account is currently not available.", UNUSABLE, ""),
    // doas, of OpenBSD and opendoas.
    ("doas: Authentication required", WANTS_ANSWER, ANSWER),
    ("doas: Authorization required", WANTS_ANSWER, ANSWER),
    ("doas: a tty is required", WANTS_TERMINAL, ""),
    ("doas: Authentication failed", REFUSED, DOAS_TAKES),
    ("doas: Authorization failed", REFUSED, DOAS_TAKES),
    ("doas: Operation not permitted", FORBIDDEN, ", or not run the command"),
    ("doas: doas is not enabled, *", FORBIDDEN, ""),
    ("doas: unknown user", NO_USER, ""),
    // Those of root.
    ("runuser: may not be used by non-root users", POWERLESS, ""),
    ("runuser: user * does not exist*", NO_USER, ""),
    ("setpriv: failed to parse reuid: *", NO_USER, ""),
    ("setpriv: failed to parse regid: *", NO_GROUP, ""),
    ("setpriv: * failed: Operation not permitted", POWERLESS, ""),
];
