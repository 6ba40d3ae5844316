//! The words of OpenSSH 7.4 to 10, as patterns, and what they mean.
//!
//! In a pattern `*` is any text, `#` a number, and everything else itself; the pattern is the whole line.
//! Of a table the first rule that fits counts.
//! Code in a context that starts others judges by the same tables: `build.rs` reads this file.

use crate::Stage::{self, Connect, HostKey, Login, Python, Spawn};

/// What a line means.
pub(super) struct Rule {
    pub(super) pattern: &'static str,
    pub(super) stage: Stage,
    pub(super) what: &'static str,
    /// What to do; with what parts it from the words before.
    pub(super) advice: &'static str,
    pub(super) retry: bool,
}

const fn rule(stage: Stage, pattern: &'static str, what: &'static str) -> Rule {
    Rule { pattern, stage, what, advice: "", retry: false }
}

impl Rule {
    const fn advise(self, advice: &'static str) -> Rule {
        Rule { advice, ..self }
    }

    const fn busy(self) -> Rule {
        Rule { retry: true, ..self }
    }
}

/// ssh gives up before login, and says why.
pub(super) const SSH: &[Rule] = &[
    // ssh itself.
    rule(Spawn, "*Bad configuration option: *", UNKNOWN_OPTION),
    rule(Spawn, "*unsupported option \"*\".", UNKNOWN_OPTION),
    rule(Spawn, "*unknown option -- *", UNKNOWN_OPTION),
    rule(Spawn, "*illegal option -- *", UNKNOWN_OPTION),
    rule(Spawn, "*unrecognized option: *", UNKNOWN_OPTION),
    rule(Spawn, "command-line line #: *", BAD_OPTION),
    rule(Spawn, "command-line: line #: *", BAD_OPTION),
    rule(Spawn, "Unknown * type '*'", BAD_OPTION),
    rule(Spawn, "Bad * specification '*'", BAD_OPTION),
    rule(Spawn, "Invalid -J argument", BAD_OPTION),
    rule(Spawn, "Include directive not supported as a command-line option", BAD_OPTION),
    rule(Spawn, "Cannot execute command-line and remote command.", BAD_OPTION),
    rule(Spawn, "ControlPath* too long *", BAD_OPTION),
    rule(Spawn, "*percent_expand: *", BAD_OPTION),
    rule(Spawn, "hostname contains invalid characters", "ssh refuses the name of the host"),
    rule(Spawn, "remote username contains invalid characters", "ssh refuses the name of the user"),
    rule(Spawn, "Can't open user config file *", "ssh cannot read its configuration"),
    rule(Spawn, "Bad owner or permissions on *", "ssh refuses its configuration, which others may write"),
    rule(Spawn, "* line #: *", BAD_CONFIGURATION),
    rule(Spawn, "* line #: no argument after keyword *", BAD_CONFIGURATION),
    rule(Spawn, "No user exists for uid *", NOBODY),
    rule(Spawn, "You don't exist, go away!", NOBODY),
    // The way to the server.
    rule(Connect, "*Could not resolve hostname *: Temporary failure in name resolution", "the name of the host cannot be looked up at the moment"),
    rule(Connect, "*Could not resolve hostname *: Try again", "the name of the host cannot be looked up at the moment"),
    rule(Connect, "*Could not resolve hostname *", "no such host"),
    rule(Connect, "*connect to * port #: Connection refused", "the connection was refused").advise("; does an ssh server listen there?"),
    rule(Connect, "*connect to * port #: *timed out", "the host does not answer"),
    rule(Connect, "*connect to * port #: *unreachable", UNREACHABLE),
    rule(Connect, "*connect to * port #: No route to host", UNREACHABLE),
    rule(Connect, "*connect to * port #: Host is down", UNREACHABLE),
    rule(Connect, "*connect to * port #: Network is down", UNREACHABLE),
    rule(Connect, "bind *: *", "ssh cannot use the address that it was told to come from"),
    rule(Connect, "getifaddrs: *", "ssh cannot use the address that it was told to come from"),
    // What listens there.
    rule(Connect, "Exceeded MaxStartups*", BUSY).busy(),
    rule(Connect, "Not allowed at this time*", BUSY).busy(),
    rule(Connect, "Connection timed out during banner exchange", "the server accepts connections and says nothing").advise("; does an ssh server listen there?"),
    rule(Connect, "banner exchange: Connection to * port *: invalid format", NOT_SSH),
    rule(Connect, "*_exchange_identification: *banner line *", NOT_SSH),
    rule(Connect, "*_exchange_identification: No SSH version received *", NOT_SSH),
    rule(Connect, "*Bad remote protocol version identification*", NOT_SSH),
    rule(Connect, "Protocol major versions differ: *", OTHER_VERSION),
    rule(Connect, "Bad packet length *", GARBLED),
    rule(Connect, "Corrupted MAC on input.", GARBLED),
    rule(Connect, "padding error: *", GARBLED),
    rule(Connect, "*no matching host key type found*", NO_MATCH).advise("; -o HostKeyAlgorithms=+.. (Ssh::args) can allow what ssh leaves out"),
    rule(Connect, "*no matching key exchange method found*", NO_MATCH).advise("; -o KexAlgorithms=+.. (Ssh::args) can allow what ssh leaves out"),
    rule(Connect, "*no matching cipher found*", NO_MATCH).advise("; -o Ciphers=+.. (Ssh::args) can allow what ssh leaves out"),
    rule(Connect, "*no matching MAC found*", NO_MATCH).advise("; -o MACs=+.. (Ssh::args) can allow what ssh leaves out"),
    rule(Connect, "Unable to negotiate *", NO_MATCH),
    // What a jump host says.
    rule(Connect, "channel #: open failed: administratively prohibited: *", "it does not forward"),
    rule(Connect, "channel #: open failed: connect failed: *", "it cannot reach the host"),
    // Who the server is.
    rule(HostKey, "No * host key is known for * and you have requested strict checking.", "the host key is not known").advise(ACCEPT),
    rule(HostKey, "* host key for * was revoked and you have requested strict checking.", REVOKED),
    rule(HostKey, "Host key * revoked by file *", REVOKED),
    rule(HostKey, "* host key for * is marked as revoked.", REVOKED),
    rule(HostKey, "Certificate invalid: *", "the host's certificate is refused"),
    rule(HostKey, "ssh_dispatch_run_fatal: * incorrect signature", NOT_ITS_OWN),
    rule(HostKey, "key_verify failed for server_host_key", NOT_ITS_OWN),
    // Who we are.
    rule(Login, "*Too many authentication failures*", "the server gave up after too many attempts").advise("; ssh offers each key that it has: .identity(..) with -o IdentitiesOnly=yes (Ssh::args) offers one"),
    rule(Login, "*ccount * expired*", "the account has expired"),
    rule(Login, "*ccount *locked*", "the account is locked"),
    rule(Login, "*not permitted to log in*", NOBODY_IN),
    rule(Login, "Received disconnect from *: *", "the server ended the connection before login was complete"),
];

/// ssh gives up before login; what is before this line may say why.
pub(super) const ENDINGS: &[Rule] = &[
    rule(Spawn, "*: terminating, # bad configuration options", BAD_CONFIGURATION),
    rule(Spawn, "percent_dollar_expand: failed", BAD_OPTION),
    rule(Spawn, "usage: ssh *", "ssh cannot make sense of its arguments"),
    rule(Connect, "*connect to * port #: *", "the connection cannot be made"),
    rule(Connect, "*_exchange_identification: Connection closed by remote host", HUNG_UP).busy(),
    rule(Connect, "*_exchange_identification: read: *", HUNG_UP).busy(),
    rule(Connect, "*_exchange_identification: write: *", HUNG_UP).busy(),
    rule(
        Connect,
        "banner exchange: Connection to * port *: could not read protocol version",
        OTHER_VERSION,
    ),
    rule(
        Connect,
        "banner exchange: Connection to *: *",
        "the connection was lost before the server said a word",
    ),
    rule(Connect, "ssh_dispatch_run_fatal: * message authentication code incorrect", GARBLED),
    rule(Connect, "stdio forwarding failed", "it cannot reach the host"),
    rule(Connect, "Stdio forwarding request failed*", "it cannot reach the host"),
    rule(
        HostKey,
        "Host key verification failed.",
        "the host key is not known, and nobody confirmed it",
    )
    .advise(ACCEPT),
    rule(
        Login,
        "Connection to * port # timed out",
        "the server stopped answering before login was complete",
    ),
    rule(
        Login,
        "Timeout, server * not responding.",
        "the server stopped answering before login was complete",
    ),
    rule(Login, "Connection closed by *", LOST_BEFORE),
    rule(Login, "Connection reset by *", LOST_BEFORE),
    rule(Login, "Connection to * closed by remote host.", LOST_BEFORE),
    rule(Login, "Disconnected from *", LOST_BEFORE),
    rule(Login, "Disconnecting*: *", LOST_BEFORE),
    rule(Login, "Read from remote host *: *", LOST_BEFORE),
    rule(Login, "ssh_dispatch_run_fatal: *", LOST_BEFORE),
    rule(Login, "ssh_packet_*: *", LOST_BEFORE),
    rule(Login, "packet_write_*: *", LOST_BEFORE),
    rule(Login, "Write failed: *", LOST_BEFORE),
];

/// ssh gives up after login. The stage is not this table's to know.
pub(super) const LOST: &[Rule] = &[
    rule(Python, "channel #: open failed: *", "the server refused a session")
        .advise("; see MaxSessions in its sshd_config(5)"),
    rule(Python, "exec request failed on channel #", "the server refused to run a command"),
    rule(Python, "shell request failed on channel #", "the server refused to run a command"),
    rule(Python, "mux_client_request_session: *", "the shared connection takes no more sessions"),
    rule(Python, "Timeout, server * not responding.", "the server stopped answering"),
    rule(Python, "Connection to * port # timed out", "the server stopped answering"),
    rule(Python, "Received disconnect from *: *", "the server ended the connection"),
    rule(Python, "Connection to * closed by remote host.", LOST_AFTER),
    rule(Python, "Connection closed by *", LOST_AFTER),
    rule(Python, "Connection reset by *", LOST_AFTER),
    rule(Python, "Disconnected from *", LOST_AFTER),
    rule(Python, "Disconnecting*: *", LOST_AFTER),
    rule(Python, "Read from remote host *: *", LOST_AFTER),
    rule(Python, "client_loop: *", LOST_AFTER),
    rule(Python, "ssh_dispatch_run_fatal: *", LOST_AFTER),
    rule(Python, "ssh_packet_*: *", LOST_AFTER),
    rule(Python, "packet_write_*: *", LOST_AFTER),
    rule(Python, "Write failed: *", LOST_AFTER),
    rule(Python, "mux_client_*: *", "the shared connection was lost"),
    rule(Python, "Shared connection to * closed.", "the shared connection was lost"),
];

/// sshd let us in, and what it ran has nothing for us.
pub(super) const SHELL: &[Rule] = &[
    rule(
        Login,
        "Password change required but no TTY available.",
        "the password has expired, and is to be changed first",
    ),
    rule(
        Login,
        "You must change your password now and login again*",
        "the password has expired, and is to be changed first",
    ),
    rule(Login, "*ccount has expired*", "the account has expired"),
    rule(Login, "*not permitted to log in*", NOBODY_IN),
    rule(Python, "This account is currently not available.", "the account has no login shell"),
    rule(Python, "*allows sftp connections only.*", NO_COMMANDS),
    rule(Python, "fatal: unrecognized command '*", NO_COMMANDS),
    rule(Python, "fatal: Interactive git shell is not enabled.", NO_COMMANDS),
    rule(Python, "*does not provide shell access*", NO_COMMANDS),
    rule(Python, "*account is restricted by *", NO_COMMANDS),
    rule(Python, "*: restricted: *", "the account's shell is a restricted one"),
    rule(Python, "*: restricted", "the account's shell is a restricted one"),
    rule(Python, "*: Command not found.", "the login shell does not find what it is to run"),
    rule(Python, "/*: Exec format error", NO_SHELL),
];

/// How ssh says that the server has let us in.
pub(super) const LOGGED_IN: &[&str] =
    &["Authenticated to * (*).", "Authenticated to * (*) using \"*\"."];

/// ssh's account of an ordinary connection; how it says that it has logged in comes first.
pub(super) const CHATTER: &[&str] = &[
    "Transferred: sent *, received * bytes, in * seconds",
    "Bytes per second: sent *, received *",
    "Authenticated using \"*\" with partial success.",
    "Authenticated with partial success.",
    // What `UpdateHostKeys` does.
    "Learned new hostkey: *",
    "Adding new key for * to *",
    "Deprecating obsolete hostkey: *",
    "*: Removed * key for host *",
];

/// What is not to be judged.
pub(super) const NOISE: &[&str] = &[
    "debug#: *",
    "Warning: Permanently added *",
    "Pseudo-terminal will not be allocated *",
    "@*@", // The frame of a warning.
];

/// The exchange of the first words, before 7.9 and from then on.
pub(super) const EXCHANGE: &[&str] =
    &["ssh_exchange_identification: *", "kex_exchange_identification: *"];

/// Why a key was not tried.
pub(super) const KEY_TROUBLE: &[&str] = &[
    "Load key \"*\": *",
    "Permissions # for '*' are too open.",
    "Warning: Identity file * not accessible: *",
    "*no such identity: *",
    "sign_and_send_pubkey: *",
    "send_pubkey_test: *",
];

/// How shells say that there is no such command.
pub(super) const MISSING: &[&str] =
    &["*ot found*", "*nknown command*", "*o such file or directory*", "*inaccessible*"];

const UNKNOWN_OPTION: &str = "ssh does not know an option, perhaps because it is too old";
const BAD_OPTION: &str = "ssh refuses an option";
const BAD_CONFIGURATION: &str = "ssh's configuration is wrong";
const NOBODY: &str = "ssh does not know the user that runs it";
const UNREACHABLE: &str = "the host cannot be reached";
const BUSY: &str = "the server takes no more connections at the moment";
const HUNG_UP: &str = "the server hung up at once, as one does that is busy or bars this address";
const NOT_SSH: &str = "what listens there is no ssh server";
const OTHER_VERSION: &str = "the server speaks another version of the protocol";
const GARBLED: &str = "what listens there is no ssh server, or its words were changed on their way";
const NO_MATCH: &str = "ssh and the server have no algorithm in common";
const ACCEPT: &str =
    "; ssh-keyscan(1) tells it, and .host_keys(HostKeys::AcceptNew) takes it as it comes";
const REVOKED: &str = "the host key has been revoked";
const NOT_ITS_OWN: &str = "the server cannot prove that its host key is its own";
const NOBODY_IN: &str = "the machine lets nobody in at the moment";
const LOST_BEFORE: &str = "the connection was lost before login was complete";
const LOST_AFTER: &str = "the connection was lost";
const NO_COMMANDS: &str = "the account may not run commands";
const NO_SHELL: &str = "the login shell cannot be started";

/// Whether `line` is what `pattern` describes. Each piece is taken where it is found first, which is right
/// but for a piece before `#`, and linear.
pub(crate) fn fits(pattern: &str, line: &str) -> bool {
    let (head, mut rest) = pattern.split_at(pattern.find(['*', '#']).unwrap_or(pattern.len()));
    let Some(mut line) = line.strip_prefix(head) else { return false };
    while let Some(wildcard) = rest.chars().next() {
        rest = &rest[1..];
        let (piece, after) = rest.split_at(rest.find(['*', '#']).unwrap_or(rest.len()));
        if wildcard == '#' {
            let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
            if digits.len() == line.len() {
                return false;
            }
            let Some(next) = digits.strip_prefix(piece) else { return false };
            line = next;
        } else if after.is_empty() {
            return line.ends_with(piece);
        } else {
            let Some(at) = line.find(piece) else { return false };
            line = &line[at + piece.len()..];
        }
        rest = after;
    }
    line.is_empty()
}
