#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![deny(unsafe_code)]

mod asker;
mod backlog;
mod bootstrap;
mod branch;
mod broker;
mod built;
mod call;
mod channel;
mod connect;
mod context;
mod convert;
mod dialogue;
mod end;
mod error;
mod helper;
mod keepalive;
mod lead;
mod link;
mod log;
mod mac;
mod mailbox;
mod master;
mod modules;
mod peer;
mod pickle;
pub mod remote;
mod router;
mod routes;
mod secret;
mod select;
mod stage;
mod start;
mod stream;
#[allow(unsafe_code)]
mod sys;
mod text;
mod tree;
mod value;
mod wire;

pub use call::{Function, Pending};
pub use channel::{IntoIter, Iter, Receiver, Sender};
pub use connect::{
    Buildah, Bwrap, Chroot, Doas, Docker, Exec, HostKeys, Incus, Jail, Kubectl, Local, Lxc, Lxd,
    Method, Namespace, Nsenter, Plan, Podman, Prompt, PromptKind, Runuser, Setpriv, Ssh, Su, Sudo,
    SystemdRun,
};
pub use context::Context;
pub use convert::{FromValue, ToArgs, ToValue};
pub use error::{CallError, ConnectError, Error, ExitStatus, Result, Stage};
pub use log::{Level, LogRecord};
pub use modules::{ModuleSource, Modules};
pub use peer::RemoteInfo;
pub use router::{Router, RouterBuilder};
pub use select::{Event, Key, Select, Source};
pub use tree::{Node, State, Traffic, Tree};
pub use value::{BigInt, RouterId, Value};
