//! What Python code in a context can do to the tree: start contexts of its own, and call functions there.
//!
//! This module has no items: it is the reference of the Python module `econtext.parent`, which any code that runs in a
//! context can import, on any machine. (Its own text is in `bootstrap/econtext/`; docstrings are not sent.)
//!
//! ```
//! use econtext::{Context, Local, Router};
//!
//! const TASKS: &str = r#"
//! import sys
//! from econtext import parent
//!
//! def fan_out(names):
//!     """One context for each name, below this one; the answers in order."""
//!     contexts = [parent.local(sys.executable, name=name) for name in names]
//!     pending = [context.call_async('os:getppid') for context in contexts]
//!     return [each.get(timeout=30) for each in pending]
//!
//! def helper():
//!     """A context for the program to go on with."""
//!     return parent.argv(['nice', '-n', '1'], sys.executable, name='helper')
//!
//! def why(host):
//!     try:
//!         parent.ssh(host, args=['-o', 'ProxyCommand=false'])
//!     except parent.ConnectError as error:
//!         return error.stage
//! "#;
//!
//! fn main() -> econtext::Result<()> {
//!     let router = Router::new()?;
//!     router.modules().source("tasks", TASKS);
//!     let context = router.connect(Local::new())?;
//!     let pid = context.info()?.pid;
//!     let parents: Vec<u32> = context.call("tasks:fan_out", (["a", "b"],))?;
//!     assert_eq!(parents, [pid, pid]);
//!
//!     let helper: Context = context.call("tasks:helper", ())?;
//!     let parent: u32 = helper.call("os:getppid", ())?;
//!     assert_eq!(parent, pid);
//!
//!     let stage: String = context.call("tasks:why", ("web1",))?;
//!     assert_eq!(stage, "connecting");
//!     router.shutdown()
//! }
//! ```
//!
//! # Functions
//!
//! Each blocks until the context is up, and gives a `Context`; or raises `ConnectError`, or `ValueError` for
//! arguments of which no start can be made. Words and paths are text or bytes.
//!
//! ```text
//! parent.local(python=None, name=None, env=None, cwd=None, timeout=30)
//! ```
//!
//! A process of the same user on the same machine, as [`Local`](crate::Local). `env` is a dictionary of variables to
//! be set beside those that this process has; `cwd` the directory, by default this process's own.
//!
//! ```text
//! parent.ssh(host, user=None, port=None, identity=None, password=None, passphrase=None, config_file=None, args=(),
//!            python=None, name=None, on_prompt=None, timeout=30)
//! ```
//!
//! Over the ssh of the machine where this runs, with the configuration, keys and known hosts of the user that it runs
//! as: [`Ssh`](crate::Ssh). `identity` is the file of a key. `args` go to ssh before all others. The password is for the
//! host itself, not for jump hosts.
//!
//! ```text
//! parent.sudo(user='root', password=None, args=(), python=None, name=None, on_prompt=None, timeout=30)
//! ```
//!
//! Another user of the same machine: [`Sudo`](crate::Sudo). It is tried without a question first, and then, for a sudo
//! that wants one, on a terminal.
//!
//! ```text
//! parent.argv(prefix, python=None, name=None, timeout=30)
//! ```
//!
//! Any program that runs the words behind its own and passes its standard input and output on, as
//! [`Exec`](crate::Exec): `['ip', 'netns', 'exec', 'blue']`, `['docker', 'exec', '-i', 'web']`, `['env', 'LANG=C']`, or
//! `['sh', '-c', 'cd /srv && exec "$@"', 'sh']` for what has no option of its own. It cannot ask.
//!
//! What they have in common:
//!
//! - `python`: the name or path of the interpreter; or a list of them, of which the first that is there and new enough
//!   is taken. By default that of [`Method`](crate::Method)s: `python3`, `python`, and so on.
//! - `name`: that of the context, in errors and in the log. By default `local.<process id>`, `ssh.<host>`,
//!   `sudo.<user>`, `exec.<program>`.
//! - `timeout`: how many seconds all attempts together may take. The clock stands still while `on_prompt` runs.
//! - Other attempts follow where they do for the program: where a server is busy, where a login script has read what was
//!   meant for Python, and where sudo wants a terminal.
//!
//! # Questions
//!
//! What a tool asks is answered by `password=` or `passphrase=`, once; else by `on_prompt=`; else the start fails with an
//! error that quotes the question. `on_prompt` is called, in the thread that starts the context, with an object that has
//!
//! - `context`: the name of the context that is being started,
//! - `kind`: `'password'`, `'passphrase'`, `'host key'` (to be answered by `yes` or `no`) or `'other'`, say a one-time code,
//! - `text`: the question, and the lines above it,
//! - `attempt`: 1, and more when the same is asked again, since the last answer was wrong.
//!
//! It returns the answer, as text or bytes, or `None` to give up. What it raises ends the start, and is raised there.
//! The program's own [`on_prompt`](crate::RouterBuilder::on_prompt) is not asked. Answers are in no error and no log.
//!
//! # `Context`
//!
//! ```text
//! context.call('module:function', *args, **kwargs)
//! context.call_async('module:function', *args, **kwargs)      # has .get(timeout=None)
//! context.shutdown()
//! context.id, context.name
//! ```
//!
//! `call` returns what the function returns, `call_async` at once. A wait ends with the answer; with `CallError` (of
//! `econtext.core`: class, message and traceback in its `args`) where the function raised; with `StreamError` where the
//! context or one on the way has ended; and `get` after `timeout` seconds with `TimeoutError`, after which it can be called
//! again. Arguments and results are plain data, senders and contexts, as between the program and a context. Modules are
//! served to it by the program, as to any. Calls of one context run one after the other; all of this may be used by several
//! threads.
//!
//! `shutdown` ends a context below this one, and all below that, and waits for it, as the program's
//! [`shutdown`](crate::Context::shutdown) does; one that has ended before is no error. What waits for its calls is told.
//! It raises `StreamError` for a context that is not below, and `TimeoutError` where a parent on the way does not do its
//! part in time.
//!
//! A sender of a channel of this context's own, `Receiver().sender()` of `econtext.core`, may be among the arguments. The
//! channel then ends, as the program's do, with the call: a loop over the receiver ends where the function returned or
//! raised, and `get` raises `ChannelError`, both of them if the context was lost. A sender that is to outlive the call
//! needs another that is kept here.
//!
//! A `Context` can be returned to the program, where it becomes a [`Context`](crate::Context), and be passed on to others.
//! A context calls functions of those below it alone.
//!
//! # `ConnectError`
//!
//! Its text is the line that the program's [`ConnectError`](crate::ConnectError) has, with advice for Python, and its
//! attributes are those parts: `context`, `stage` (text: `'connecting'`, `'logging in'`, `'starting Python'`, ..), `reason`,
//! `printed` (the last lines of what was printed), and `status` (as of `subprocess`: of a signal its number below 0), or
//! `None`.
//!
//! # The tree
//!
//! - Such a context has ids of the program's, its log level and its limits, and is
//!   [`unidirectional`](crate::RouterBuilder::unidirectional) where the program is.
//! - What it prints and logs arrives in the program's log under its name. [`tree`](crate::Router::tree) shows it where it is.
//! - It ends with the context that started it, whatever ends that; by its `shutdown()`; and by the program's
//!   [`shutdown`](crate::Context::shutdown) of a handle that was returned.
//! - A start that fails, or whose wait an exception ends (that of a signal's handler, or of `on_prompt`), leaves nothing
//!   behind.
