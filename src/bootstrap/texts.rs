//! The words of a launch that both languages compose: the program does so in `bootstrap` and `connect`, and code in
//! a context in `econtext.methods`, for which `build.rs` makes them a module of Python, `econtext.texts`.
//!
//! Invariant: constants of printable ASCII, and nothing that this file does not say itself. `%s` and `%d` stand for
//! what is to be put in, in Python's way.

/// What is tried, in this order, where no interpreter is given.
pub(crate) const CANDIDATES: [&str; 5] =
    ["python3", "python", "/usr/libexec/platform-python", "python2.7", "python2"];

/// The program of the command line: `%d` is the length of the first stage, `%s` what reads some of it.
///
/// Without its first entry, the working directory, `sys.path` cannot take a file `select.py` there for the
/// module. (3.13 itself imports `linecache` before it runs this.) `select` waits where stdin does not block.
pub(crate) const LOADER: &str = "import sys;del sys.path[0];import os,select;\
    os.write(1,b\"EC0\\n\");n=%d;b=b\"\";\
    exec(\"while n:select.select([0],[],[]);%s;d or os._exit(95)\");exec(b)";

/// Reads some of the `n` bytes that are left.
pub(crate) const READ: &str = "d=os.read(0,n);n-=len(d);b+=d";

/// As [`READ`], and drops newlines in front of the first stage.
pub(crate) const READ_PADDED: &str = "d=os.read(0,n);s=b and d or d.lstrip();n-=len(s);b+=s";

/// The shell's search: `$0` is the loader, the arguments are the candidates. Each is run, since some are
/// stubs and some too old, without site-packages and without descriptors, since what is on stdin is not
/// for it. (519 is 2.7, 519 + 255 is 3.6.)
pub(crate) const SEARCH: &str = "for p do \"$p\" -Sc \"from sys import*;exit(98*(0<abs((hexversion>>16)-519)<255))\"\
    <&->&- 2>&-&&exec \"$p\" -c \"$0\";r=$r\\ $p:$?;done;echo econtext:$r>&2;exit 97";

/// The line in front of the first stage: the name for ps, and the length of the compressed core.
pub(crate) const HEAD: &str = "N,L='%s',%d\n";

/// What keeps a user's configuration of ssh from getting between us and the child.
pub(crate) const SSH_OPTIONS: [(&str, &str); 12] = [
    ("RemoteCommand", "none"),
    ("StdinNull", "no"),
    ("SessionType", "default"),
    ("ForkAfterAuthentication", "no"),
    ("PermitLocalCommand", "no"),
    ("ClearAllForwardings", "yes"),
    ("Tunnel", "no"),
    ("ControlMaster", "no"),
    ("ChannelTimeout", "none"),
    // Drawings and warnings in front of what ssh has to say.
    ("VisualHostKey", "no"),
    ("WarnWeakCrypto", "no"),
    // Says when the server has let us in.
    ("LogLevel", "VERBOSE"),
];

/// Its questions are asked on the terminal, not in a window; clients before 8.4 know only the second.
pub(crate) const SSH_ENVIRONMENT: [(&str, &str); 2] =
    [("SSH_ASKPASS_REQUIRE", "never"), ("SSH_ASKPASS", "false")];
