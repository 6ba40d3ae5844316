//! How far a start has come, and the words for it: also those of code in a context that starts others, for which
//! `build.rs` reads this file.

use std::fmt;

/// How far the start of a child has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Waiting for the context that is to be its parent, or for one above that.
    Parent,
    /// Starting the program that carries the stream.
    Spawn,
    /// ssh: finding and reaching the server, and agreeing on how to speak; as long as ssh has said nothing,
    /// also what follows, up to the login.
    Connect,
    /// ssh: the host key.
    HostKey,
    /// The server asks who we are; sudo and its kin ask, or refuse.
    Login,
    /// Finding and starting an interpreter, over ssh by the login shell; ends with its marker `EC0`.
    Python,
    /// The interpreter receives the core; ends with the marker `EC1`.
    Core,
    /// The core starts; ends with its first frame.
    Hello,
    /// Up.
    Connected,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Parent => "waiting for its parent",
            Stage::Spawn => "starting the process",
            Stage::Connect => "connecting",
            Stage::HostKey => "checking the host key",
            Stage::Login => "logging in",
            Stage::Python => "starting Python",
            Stage::Core => "sending the core",
            Stage::Hello => "starting the core",
            Stage::Connected => "connected",
        })
    }
}
