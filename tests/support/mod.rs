//! What the tests of whole runs share. Used as `mod support;`.
//!
//! - [`isolated`] runs a test's body in a process of its own, and fails if it leaves anything behind;
//! - [`for_each_python`] finds the interpreters of this machine, [`for_each_kind_of_python`] those of
//!   them that make a difference;
//! - [`Application`] is one of PyPI's, as wheels, and [`Traffic`] what it cost to serve it;
//! - [`Log`] keeps what a router logs; [`script`] and [`mkfifo`] make what a test starts or waits at;
//! - [`Run`] is one context with its log, [`Run::requests`] the modules that it asked for;
//! - [`master`] makes a program of a test's own, and [`Process`] is a handle of any process;
//! - [`Sshd`] is an ssh server, [`User`] a user of this machine, [`Proxy`] a network between client and
//!   server, [`fake_ssh`] a stand-in for the client, [`Prompts`] who answers its questions;
//! - [`Machine`] is an [`Sshd`] whose users may use sudo, for contexts that start others;
//! - [`Network`] is some hosts and the links between them;
//! - [`SmallSystem`] is a directory that can be somebody's root, [`check_inside`] that a context is there;
//! - [`Daemon`] is one that runs containers or services, apart from all others;
//! - [`AsUser`] is sudo, su or doas as an ordinary user runs it, [`refusal`] what a start says that fails;
//! - [`leave_out`] says aloud what cannot be tested here, [`skip`] ends a test that cannot go on;
//! - [`environment`] and [`TempDir`] are surroundings that no developer's settings reach.
//!
//! Reads `/proc`, so that these tests are for Linux.
#![allow(dead_code, unused_imports, reason = "each test file uses its part of this")]

mod bare;
mod containers;
mod daemons;
mod fake_ssh;
mod isolated;
mod leaks;
mod left_out;
mod log;
mod machines;
mod masters;
mod networks;
mod privileges;
mod processes;
mod programs;
mod prompts;
mod proxy;
mod python;
mod run;
mod small_system;
mod sshd;
mod surroundings;
mod traffic;
mod users;
mod wheels;

pub use containers::{FOREVER, check_inside, connect, error_of, needs, run};
pub use daemons::Daemon;
pub use fake_ssh::fake_ssh;
pub use isolated::{is_isolated, isolated, isolated_report, skip};
pub use leaks::Leaks;
pub use left_out::leave_out;
pub use log::Log;
pub use machines::Machine;
pub use masters::{Master, Running, master};
pub use networks::Network;
pub use privileges::{AsUser, refusal, refusal_by};
pub use processes::{
    Process, close_descriptors, descendants, end_all, end_tree, ignore_sigchld,
    keep_standard_descriptors, limit_descriptors, process_of, raise_descriptor_limit, thread_id,
};
pub use programs::{mkfifo, program, script};
pub use prompts::Prompts;
pub use proxy::{Chunk, Proxy, Side};
pub use python::{Python, for_each_kind_of_python, for_each_python, interpreters};
pub use run::{Run, long};
pub use small_system::SmallSystem;
pub use sshd::Sshd;
pub use surroundings::{TempDir, environment};
pub use traffic::Traffic;
pub use users::{User, is_root};
pub use wheels::{APPLICATIONS, Application};
