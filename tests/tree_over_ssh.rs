//! Promise: ssh, then sudo, then ssh again, then sudo again: each is a context like any other, in what it can do, in
//! what it asks, and in how it ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;

use econtext::{Context, Error, Level, Local, Prompt, PromptKind, Router, Ssh, Sudo};

mod support;

use support::{
    Log, Machine, Process, Prompts, Sshd, User, descendants, for_each_kind_of_python, isolated,
};

const WORK: &str = r#"
import logging, os, sys
from econtext.core import Receiver

def who():
    return os.getuid()

def show(text):
    sys.stdout.write(text + '\n')
    logging.getLogger('work').warning('%s as a record', text)

def numbers(out, count):
    for number in range(count):
        out.send(number)

def listen():
    global receiver
    receiver = Receiver()
    return receiver.sender()

def total():
    return sum(receiver)

def note(path, word):
    with open(path, 'a') as file:
        file.write(word)
"#;

/// Two machines with two users each. On each, the first may become the second; whoever is the second on the
/// first machine can log in as the first of the second one.
struct Stand {
    machines: [Machine; 2],
    users: [User; 4],
}

impl Stand {
    /// The users may use sudo with these tags of sudoers(5).
    fn new(tags: &str) -> Stand {
        Stand::with_config(tags, "")
    }

    /// The same with these lines for the second server.
    fn with_config(tags: &str, config: &str) -> Stand {
        let users: [User; 4] = std::array::from_fn(|_| User::new("/bin/bash"));
        let machine = |from: &User, to: &User, config: &str| {
            let rule = format!("{} ALL=({}) {tags} ALL", from.name(), to.name());
            Machine::start(&rule, config)
        };
        let [a, b, c, d] = &users;
        Stand { machines: [machine(a, b, ""), machine(c, d, config)], users }
    }

    fn ssh1(&self) -> Ssh {
        self.machines[0].ssh().user(self.users[0].name()).name("ssh1")
    }

    fn sudo1(&self) -> Sudo {
        Sudo::new().user(self.users[1].name()).name("sudo1")
    }

    fn ssh2(&self) -> Ssh {
        self.machines[1].ssh_of(&self.users[1]).user(self.users[2].name()).name("ssh2")
    }

    fn sudo2(&self) -> Sudo {
        Sudo::new().user(self.users[3].name()).name("sudo2")
    }

    /// All four, one behind the other; their starts overlap.
    fn start(&self, router: &Router) -> [Context; 4] {
        let ssh1 = router.start(self.ssh1());
        let sudo1 = ssh1.start(self.sudo1());
        let ssh2 = sudo1.start(self.ssh2());
        let sudo2 = ssh2.start(self.sudo2());
        [ssh1, sudo1, ssh2, sudo2]
    }

    /// The processes of the sessions on both servers. (A zombie there is the server's to reap, not ours.)
    fn sessions(&self) -> BTreeMap<i32, String> {
        let all = self.machines.iter().flat_map(|machine| descendants(machine.pid()));
        all.filter(|(_, line)| !line.ends_with("a zombie)")).collect()
    }

    /// The processes of the session on the second server.
    fn behind(&self) -> Vec<Process> {
        descendants(self.machines[1].pid()).into_keys().filter_map(Process::find).collect()
    }

    /// Shuts the router down, and waits for the end of all sessions.
    fn leave(&self, router: &Router) {
        let sessions: Vec<_> = self.sessions().into_keys().filter_map(Process::find).collect();
        router.shutdown().unwrap();
        sessions.iter().for_each(Process::wait_end);
        assert_eq!(self.sessions(), BTreeMap::new());
    }
}

/// Each is up and answers, as the user that it is meant to be.
#[track_caller]
fn are_themselves(stand: &Stand, contexts: &[Context]) {
    for (context, user) in contexts.iter().zip(&stand.users) {
        let uid = context.call::<u32>("work:who", ());
        assert_eq!(uid.unwrap_or_else(|error| panic!("{error:?}")), user.uid(), "{context}");
        assert_eq!(context.info().unwrap().euid, user.uid(), "{context}");
    }
}

/// The one process below `ancestor` whose description begins so.
#[track_caller]
fn process(ancestor: i32, start: &str) -> Process {
    let all = descendants(ancestor);
    let found: Vec<_> = all.iter().filter(|(_, line)| line.starts_with(start)).collect();
    let [(pid, _)] = found[..] else { panic!("{start}: {all:#?}") };
    Process::open(*pid)
}

fn router(log: &Log) -> Router {
    let router = Router::builder().log_level(Level::Info).on_log(log.sink()).build().unwrap();
    router.modules().source("work", WORK);
    router
}

#[test]
fn what_a_context_can_do_the_last_of_four_can_do() {
    isolated(|| {
        let (stand, log) = (Stand::new("NOPASSWD:"), Log::default());
        let router = router(&log);
        let contexts = stand.start(&router);
        let last = &contexts[3];
        // The first thing that is asked of it waits for all four.
        assert_eq!(last.call::<u32>("work:who", ()).unwrap(), stand.users[3].uid());
        are_themselves(&stand, &contexts);

        // More than a window of a channel, each way.
        const COUNT: u64 = 50_000;
        let (sender, numbers) = router.channel::<u64>();
        let sent = last.call_async::<()>("work:numbers", (sender, COUNT)).unwrap();
        let arrived: Vec<u64> = numbers.iter().collect::<Result<_, _>>().unwrap();
        assert!(arrived.into_iter().eq(0..COUNT));
        sent.get().unwrap();
        let sender: econtext::Sender<u64> = last.call("work:listen", ()).unwrap();
        let total = last.call_async::<u64>("work:total", ()).unwrap();
        (0..COUNT).for_each(|number| sender.send(number).unwrap());
        drop(sender);
        assert_eq!(total.get().unwrap(), COUNT * (COUNT - 1) / 2);

        for context in &contexts {
            let (name, text) = (context.name(), format!("said by {context}"));
            context.call::<()>("work:show", (&text,)).unwrap();
            let printed = log.wait_for(&text, |record| record.message == text);
            assert_eq!((&*printed.context, &*printed.logger), (name, "stdout"));
            let logged = format!("{text} as a record");
            let logged = log.wait_for(&logged, |record| record.message == logged);
            assert_eq!((&*logged.context, &*logged.logger), (name, "work"));
            assert_eq!(logged.target(), format!("econtext.ctx.{name}"));
        }

        stand.leave(&router);
        let said: Vec<_> = log.records().into_iter().filter(|it| it.logger == "econtext").collect();
        assert_eq!(said, []);
    });
}

#[test]
fn an_ssh_in_the_middle_that_ends_takes_what_is_behind_it_and_no_more() {
    isolated(|| {
        let (stand, log) = (Stand::new("NOPASSWD:"), Log::default());
        let router = router(&log);
        let contexts = stand.start(&router);
        are_themselves(&stand, &contexts);
        let [ssh1, sudo1, ssh2, sudo2] = &contexts;
        let behind = stand.behind();
        let hang = sudo2.call_async::<()>("time:sleep", (1000,)).unwrap();

        let client = process(sudo1.info().unwrap().pid as i32, "ssh ");
        client.signal(libc::SIGKILL);

        let error = hang.get().unwrap_err();
        assert!(matches!(error, Error::Disconnected { .. }), "{error:?}");
        assert_eq!(
            error.to_string(),
            "ssh1 > sudo1 > ssh2 > sudo2: call of time:sleep: disconnected: ssh2 was lost: the child ended: \
             killed by signal 9"
        );
        assert!(!ssh2.is_connected() && !sudo2.is_connected());
        behind.iter().for_each(Process::wait_end);
        are_themselves(&stand, &[ssh1.clone(), sudo1.clone()]);

        // The same way is open again.
        let ssh2 = sudo1.start(stand.ssh2());
        let sudo2 = ssh2.start(stand.sudo2());
        are_themselves(&stand, &[ssh1.clone(), sudo1.clone(), ssh2.clone(), sudo2.clone()]);

        // The server's end of it: the client that says so is two contexts away.
        let behind = stand.behind();
        let hang = sudo2.call_async::<()>("time:sleep", (1000,)).unwrap();
        let name = format!("sshd: {}@", stand.users[2].name());
        process(stand.machines[1].pid(), &name).signal(libc::SIGKILL);
        let line = hang.get().unwrap_err().to_string();
        // It may still have had something to send.
        let lost = "ssh1 > sudo1 > ssh2 > sudo2: call of time:sleep: disconnected: ssh2 was lost: the connection was lost: \"";
        assert!(line.starts_with(lost) && line.ends_with("\" (exit status 255)"), "{line}");
        behind.iter().for_each(Process::wait_end);

        // What is behind one that is shut down goes with it.
        let ssh2 = sudo1.start(stand.ssh2());
        let sudo2 = ssh2.start(stand.sudo2());
        are_themselves(&stand, &[ssh1.clone(), sudo1.clone(), ssh2.clone(), sudo2]);
        let behind = stand.behind();
        ssh2.shutdown().unwrap();
        behind.iter().for_each(Process::wait_end);
        are_themselves(&stand, &[ssh1.clone(), sudo1.clone()]);
        stand.leave(&router);
    });
}

/// A second server that knows nobody by a key, and sudo that knows nobody at all.
const ASKS: &str = "PubkeyAuthentication no\nPasswordAuthentication yes";

/// The passwords of the user who logs in on the first machine, and of the one on the second.
const SECRETS: [&str; 2] = ["hunter2-of-the-first", "hunter2-of-the-second"];

fn asking_stand() -> Stand {
    let stand = Stand::with_config("", ASKS);
    stand.users[0].set_password(SECRETS[0]);
    stand.users[2].set_password(SECRETS[1]);
    stand
}

/// What `sudo1`, `ssh2` and `sudo2` ask for the first time.
fn questions(stand: &Stand) -> [(String, PromptKind, String, u32); 3] {
    let login = format!("{}@127.0.0.1's password:", stand.users[2].name());
    let sudo = "sudo password:".to_string();
    [("sudo1", sudo.clone()), ("ssh2", login), ("sudo2", sudo)]
        .map(|(name, text)| (name.into(), PromptKind::Password, text, 1))
}

fn parts(prompt: Prompt) -> (String, PromptKind, String, u32) {
    (prompt.context, prompt.kind, prompt.text, prompt.attempt)
}

/// What anybody on the machines can see of the sessions' processes, and of this one.
fn visible(stand: &Stand) -> String {
    let mut seen = String::new();
    for pid in stand.sessions().into_keys().chain([std::process::id() as i32]) {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            seen += &String::from_utf8_lossy(&bytes);
        }
    }
    seen
}

#[test]
fn what_is_asked_behind_hops_is_asked_here_once_and_seen_nowhere() {
    isolated(|| {
        let (stand, log) = (asking_stand(), Log::default());
        let [first, second] = SECRETS;
        let prompts = Prompts::answering([first, second, second]);
        let builder = Router::builder().log_level(Level::Debug).on_log(log.sink());
        let router = builder.on_prompt(prompts.handler()).build().unwrap();
        router.modules().source("work", WORK);
        let contexts = stand.start(&router);
        are_themselves(&stand, &contexts);
        let asked: Vec<_> = prompts.prompts().into_iter().map(parts).collect();
        assert_eq!(asked, questions(&stand));
        let ways: Vec<_> = prompts.prompts().into_iter().map(|it| it.via.join(" > ")).collect();
        assert_eq!(ways, ["ssh1", "ssh1 > sudo1", "ssh1 > sudo1 > ssh2"]);
        let mut seen = format!("{router:?} {contexts:?} {}", visible(&stand));
        let shown = [(&contexts[1], "sudo\0"), (&contexts[3], "sudo\0")];
        assert!(shown.iter().all(|(_, words)| seen.contains(words)), "{seen:?}");
        contexts[0].shutdown().unwrap();

        // The same, given beforehand: nobody is asked.
        let ssh1 = router.start(stand.ssh1());
        let sudo1 = stand.sudo1().password(first);
        let ssh2 = stand.ssh2().password(second);
        let sudo2 = stand.sudo2().password(second);
        seen += &format!("{sudo1:?} {ssh2:?} {sudo2:?}");
        let sudo1 = ssh1.start(sudo1);
        let ssh2 = sudo1.start(ssh2);
        let sudo2 = ssh2.start(sudo2);
        are_themselves(&stand, &[ssh1, sudo1, ssh2, sudo2]);
        assert_eq!(prompts.prompts().len(), 3);
        seen += &visible(&stand);
        stand.leave(&router);
        for record in log.records() {
            seen += &format!("{record} {record:?}");
        }
        assert!(seen.contains("[secret]"), "{seen}");
        assert!(!seen.contains("hunter2"), "{seen}");
    });
}

#[test]
fn a_wrong_password_behind_hops_is_one_line_with_the_name_of_the_context() {
    isolated(|| {
        let (stand, log) = (asking_stand(), Log::default());
        let [first, second] = SECRETS;
        // Asked until it is right, or until there is no answer.
        let answers = [first, "hunter2-no", second, "hunter2-no", second, "hunter2-no"];
        let prompts = Prompts::answering(answers);
        let builder = Router::builder().log_level(Level::Debug).on_log(log.sink());
        let router = builder.on_prompt(prompts.handler()).build().unwrap();
        router.modules().source("work", WORK);
        let contexts = stand.start(&router);
        are_themselves(&stand, &contexts);
        let asked: Vec<_> = prompts.prompts().into_iter().map(parts).collect();
        let mut expected = Vec::new();
        for (n, question) in questions(&stand).into_iter().enumerate() {
            expected.push(question.clone());
            if n > 0 {
                expected.push((question.0, question.1, question.2, 2));
            }
        }
        assert_eq!(asked, expected);

        let [_, sudo1, ssh2, _] = &contexts;
        let mut seen = String::new();
        let mut line = |started: econtext::Result<Context>| {
            let error = started.unwrap_err();
            assert!(matches!(error, Error::Connect(_)), "{error:?}");
            seen += &format!("{error} {error:?}");
            error.to_string()
        };
        let wrong = "hunter2-wrong";
        let login = format!(
            "the password was refused: \"{}\" was asked after .password(..) was given",
            questions(&stand)[1].2
        );
        assert_eq!(
            line(sudo1.connect(stand.ssh2().password(wrong).name("again"))),
            format!("ssh1 > sudo1 > again: logging in: {login}")
        );
        assert_eq!(
            line(ssh2.connect(stand.sudo2().password(wrong).name("again"))),
            "ssh1 > sudo1 > ssh2 > again: logging in: the password was refused; sudo takes that of the user \
             who runs it, unless it is configured otherwise"
        );
        let given_up = line(ssh2.connect(stand.sudo2().name("again")));
        assert!(
            given_up.starts_with("ssh1 > sudo1 > ssh2 > again: logging in: ")
                && !given_up.contains('\n'),
            "{given_up}"
        );
        assert!(given_up.ends_with("got no answer from on_prompt"), "{given_up}");
        // What is started behind one that does not come up says which, and asks nothing.
        let count = prompts.prompts().len();
        let failed = sudo1.start(stand.ssh2().password(wrong).name("failed"));
        assert_eq!(
            line(failed.connect(stand.sudo2())),
            format!(
                "ssh1 > sudo1 > failed > sudo2: waiting for its parent: failed: logging in: {login}"
            )
        );
        assert_eq!(prompts.prompts().len(), count);
        are_themselves(&stand, &contexts);
        stand.leave(&router);
        for record in log.records() {
            seen += &format!("{record} {record:?}");
        }
        assert!(!seen.contains("hunter2"), "{seen}");
    });
}

#[test]
fn each_kind_of_python_carries_questions_and_attempts() {
    isolated(|| {
        let user = User::new("/bin/bash");
        user.set_password(SECRETS[0]);
        let sshd = Sshd::start_with(ASKS);
        let method = || sshd.ssh().user(user.name()).name("behind");
        for_each_kind_of_python(|python| {
            user.write(".bashrc", "");
            let prompts = Prompts::answering(["hunter2-no", SECRETS[0]]);
            let router = Router::builder().on_prompt(prompts.handler()).on_log(|_| {}).build();
            let router = router.unwrap();
            router.modules().source("work", WORK);
            let parent = router.connect(Local::new().python(&python.path)).unwrap();
            let who = |method: Ssh| {
                let context = parent.start(method);
                let who = context.call::<u32>("work:who", ());
                who.inspect(|_| context.shutdown().unwrap()).map_err(|error| error.to_string())
            };
            assert_eq!(who(method()), Ok(user.uid()));
            let asked: Vec<_> = prompts.prompts().into_iter().map(|it| it.attempt).collect();
            assert_eq!(asked, [1, 2]);
            let refused = format!("{parent} > behind: logging in: the password was refused: \"");
            let line = who(method().password("hunter2-no")).unwrap_err();
            assert!(line.starts_with(&refused), "{line}");
            // The password is given to each attempt.
            user.write(".bashrc", "head -c 2000 >/dev/null\n");
            assert_eq!(who(method().password(SECRETS[0])), Ok(user.uid()));
            router.shutdown().unwrap();
        });
    });
}

/// A stand, and the first two contexts of it.
fn half_way(router: &Router, config: &str) -> (Stand, [Context; 2]) {
    let stand = Stand::with_config("NOPASSWD:", config);
    let ssh1 = router.start(stand.ssh1());
    let sudo1 = ssh1.connect(stand.sudo1()).unwrap();
    (stand, [ssh1, sudo1])
}

#[test]
fn a_host_key_that_the_first_machine_does_not_know_is_asked_about_here() {
    isolated(|| {
        let prompts = Prompts::answering(["no", "yes"]);
        let router = Router::builder().on_prompt(prompts.handler()).build().unwrap();
        router.modules().source("work", WORK);
        let (stand, [_, sudo1]) = half_way(&router, "");
        let known: PathBuf = stand.users[1].write("none-known", "");
        let ssh2 = || stand.ssh2().known_hosts(&known);
        let refused = sudo1.connect(ssh2()).unwrap_err().to_string();
        assert!(refused.starts_with("ssh1 > sudo1 > ssh2: "), "{refused}");
        assert!(refused.contains("Host key verification failed"), "{refused}");
        assert!(refused.contains("; known hosts are those of sudo1"), "{refused}");
        assert_eq!(fs::read_to_string(&known).unwrap(), "");
        let context = sudo1.connect(ssh2()).unwrap();
        assert_eq!(context.call::<u32>("work:who", ()).unwrap(), stand.users[2].uid());
        assert_eq!(fs::read_to_string(&known).unwrap().lines().count(), 1);
        let key = fs::read_to_string(stand.machines[1].known_hosts()).unwrap();
        let learnt = fs::read_to_string(&known).unwrap();
        let last = |line: &str| line.trim().rsplit(' ').next().unwrap().to_string();
        assert_eq!(last(&learnt), last(&key));
        let asked = prompts.prompts();
        assert_eq!(asked.len(), 2);
        for prompt in asked {
            assert_eq!((&*prompt.context, prompt.kind), ("ssh2", PromptKind::HostKey));
            assert!(
                prompt.text.contains("ED25519") && prompt.text.contains("SHA256:"),
                "{prompt:?}"
            );
            assert_eq!(prompt.attempt, 1);
        }
        stand.leave(&router);
    });
}

#[test]
fn a_server_behind_hops_that_is_busy_is_asked_again() {
    isolated(|| {
        let log = Log::default();
        let router = router(&log);
        let (stand, [_, sudo1]) = half_way(&router, "MaxStartups 1:100:1");
        let server = &stand.machines[1];
        let mut held = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
        held.read_exact(&mut [0; 4]).unwrap();
        let ssh2 = sudo1.start(stand.ssh2());
        let path = stand.users[2].home().join("notes");
        let note = |word| ssh2.call_async::<()>("work:note", (&path, word)).unwrap();
        let notes = ["one ", "two "].map(note);
        server.wait_for("past MaxStartups");
        drop(held);
        notes.into_iter().for_each(|note| note.get().unwrap());
        assert_eq!(fs::read_to_string(path).unwrap(), "one two ");
        stand.leave(&router);
    });
}

#[test]
fn login_scripts_behind_hops_that_eat_what_is_sent_cost_an_attempt_and_no_call() {
    isolated(|| {
        let log = Log::default();
        let router = router(&log);
        let (stand, [_, sudo1]) = half_way(&router, "");
        // A line, which is the first of the program; bytes out of its middle; all of it.
        let scripts = ["read line", "head -c 2000 >/dev/null", "timeout 1 cat >/dev/null"];
        for (n, script) in scripts.into_iter().enumerate() {
            stand.users[2].write(".bashrc", format!("{script}\n"));
            let name = format!("eaten{n}");
            let ssh2 = sudo1.start(stand.ssh2().name(&name));
            let path = stand.users[2].home().join(&name);
            let note = |word| ssh2.call_async::<()>("work:note", (&path, word)).unwrap();
            let notes = ["one ", "two ", "three"].map(note);
            notes
                .into_iter()
                .for_each(|note| note.get().unwrap_or_else(|it| panic!("{script}: {it:?}")));
            assert_eq!(fs::read_to_string(path).unwrap(), "one two three", "{script}");
            // And one behind it.
            let sudo2 = ssh2.connect(stand.sudo2()).unwrap();
            assert_eq!(sudo2.call::<u32>("work:who", ()).unwrap(), stand.users[3].uid());
            let told = |it: &&econtext::LogRecord| {
                it.context == name && it.message.contains("by a second attempt")
            };
            assert_eq!(log.records().iter().filter(told).count(), 1, "{script}");
        }
        stand.leave(&router);
    });
}
