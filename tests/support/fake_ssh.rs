//! Stand-ins for ssh(1), which replay what a real one does in cases that a test cannot cause.

use std::path::PathBuf;

use super::{TempDir, script};

/// Makes a shell script `ssh` that does `body`; returns its path. Asked for its configuration (`-G`) it
/// says that it will log in to `web1` as `deploy`. The body can use, beside its arguments:
///
/// - `say LINE..`: prints lines on stderr, as ssh does its own;
/// - `logged_in`: says what ssh says, at `LogLevel=VERBOSE`, when authentication is behind it;
/// - `ask PROMPT`: prints the prompt on the terminal, reads an answer from it into `$answer`, and ends as
///   ssh's prompts do; fails where there is no terminal;
/// - `run`: becomes the remote command, started as sshd would for a user whose shell is `/bin/sh`;
/// - `$command`: the remote command, the last argument.
pub fn fake_ssh(dir: &TempDir, body: &str) -> PathBuf {
    script(dir, "ssh", &format!("{HELPERS}\n{body}\n"))
}

const HELPERS: &str = r#"case " $* " in *' -G '*)
    printf 'user deploy\nhostname web1\n'
    exit
esac
for command; do :; done
say() { printf '%s\r\n' "$@" >&2; }
logged_in() { say 'Authenticated to web1 ([192.0.2.1]:22) using "publickey".'; }
ask() {
    (: <>/dev/tty) 2>/dev/null || return 1
    exec 3<>/dev/tty
    printf '%s' "$1" >&3
    IFS= read -r answer <&3
    status=$?
    printf '\n' >&3
    exec 3>&-
    return $status
}
run() { exec /bin/sh -c "$command"; }
"#;
