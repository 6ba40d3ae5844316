//! Promise: machines that only another one reaches are contexts like any other: all of them at once, and what they
//! need crosses the way to that one once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use econtext::{Context, Error, Pending, Router, Select, Sender, Ssh};

mod support;

use support::{Network, Process, Sshd, descendants, isolated};

/// Two racks of two hosts each: name, the bastion's address on the link to it, its own.
const HOSTS: [(&str, &str, &str); 4] = [
    ("r1h1", "198.51.100.1", "198.51.100.2"),
    ("r1h2", "198.51.100.5", "198.51.100.6"),
    ("r2h1", "198.51.100.129", "198.51.100.130"),
    ("r2h2", "198.51.100.133", "198.51.100.134"),
];
/// The bastion's address on the program's side.
const BASTION: &str = "192.0.2.2";
/// Each way, on each link.
const DELAY_MS: u32 = 5;

/// The bastion alone is reached from the program's host.
struct Stand {
    bastion: Sshd,
    hosts: Vec<Sshd>,
    network: Network,
}

impl Stand {
    fn new() -> Stand {
        let network = Network::new(["home", "bastion"].into_iter().chain(HOSTS.map(|it| it.0)));
        let on = |address: &str| format!("{address}/30");
        network.link([("home", &on("192.0.2.1")), ("bastion", &on(BASTION))]);
        for (host, ours, theirs) in HOSTS {
            network.link([("bastion", &on(ours)), (host, &on(theirs))]);
        }
        let hosts = HOSTS.map(|(host, _, address)| network.sshd(host, address)).into();
        Stand { bastion: network.sshd("bastion", BASTION), hosts, network }
    }

    /// From the program's host.
    fn bastion(&self) -> Ssh {
        let method = self.bastion.far_ssh_at(BASTION, DELAY_MS).name("bastion");
        method.ssh_path(self.network.ssh_path("home"))
    }

    /// From the bastion.
    fn hosts(&self) -> impl Iterator<Item = Ssh> {
        let hosts = self.hosts.iter().zip(HOSTS);
        hosts.map(|(sshd, (name, _, address))| sshd.far_ssh_at(address, DELAY_MS).name(name))
    }

    /// The bastion and what is behind it; their starts overlap.
    fn start(&self, router: &Router) -> (Context, Vec<Context>) {
        let bastion = router.start(self.bastion());
        let hosts = self.hosts().map(|method| bastion.start(method)).collect();
        (bastion, hosts)
    }

    /// The processes of the sessions on all hosts.
    fn sessions(&self) -> Vec<Process> {
        let servers = [&self.bastion].into_iter().chain(&self.hosts);
        let all = servers.flat_map(|sshd| descendants(sshd.pid()).into_keys());
        all.filter_map(Process::find).collect()
    }
}

const WORK: &str = r#"
import os
from econtext.core import Receiver

def connection():
    return os.environ['SSH_CONNECTION'].split()

def meet(out):
    receiver = Receiver()
    out.send(receiver.sender())
    return receiver.get()
"#;

/// Where it is reached from, and at which address.
#[track_caller]
fn are_in_their_places(hosts: &[Context]) {
    let call = |host: &Context| host.call_async::<Vec<String>>("work:connection", ()).unwrap();
    let calls: Vec<_> = hosts.iter().map(call).collect();
    for (call, (_, from, at)) in calls.into_iter().zip(HOSTS) {
        let connection = call.get().unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!([&*connection[0], &*connection[2]], [from, at]);
    }
}

#[test]
fn hosts_behind_a_bastion_are_started_at_once_and_called() {
    isolated(|| {
        let stand = Stand::new();
        let router = Router::new().unwrap();
        router.modules().source("work", WORK);
        // There is no way around the bastion.
        let direct = stand.hosts[0].ssh_at(HOSTS[0].2).ssh_path(stand.network.ssh_path("home"));
        let error = router.connect(direct).unwrap_err().to_string();
        assert!(error.contains("Network is unreachable"), "{error}");

        let (bastion, hosts) = stand.start(&router);
        are_in_their_places(&hosts);
        assert!(bastion.is_connected());
        // The network is what it is meant to be: there and back, over two links.
        let begin = Instant::now();
        hosts[0].call::<u32>("os:getpid", ()).unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(4 * u64::from(DELAY_MS)));

        // All are in a call at once, and each has a channel to here and one from here.
        let (sender, arrivals) = router.channel::<Sender<usize>>();
        let meet = |host: &Context| host.call_async("work:meet", (sender.clone(),)).unwrap();
        let calls: Vec<Pending<usize>> = hosts.iter().map(meet).collect();
        drop(sender);
        let senders: Vec<_> = arrivals.iter().take(hosts.len()).map(Result::unwrap).collect();
        for (number, sender) in senders.iter().enumerate() {
            sender.send(number).unwrap();
        }
        let numbers: BTreeSet<_> = calls.into_iter().map(|call| call.get().unwrap()).collect();
        assert_eq!(numbers, (0..hosts.len()).collect());

        let sessions = stand.sessions();
        router.shutdown().unwrap();
        sessions.iter().for_each(Process::wait_end);
    });
}

#[test]
fn a_module_crosses_the_way_to_the_bastion_once() {
    isolated(|| {
        // Of digits that no compression makes much of.
        let mut state = 1u64;
        let mut digit = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            char::from(b'a' + ((state >> 33) % 26) as u8)
        };
        let data: String = (0..400_000).map(|_| digit()).collect();
        let stand = Stand::new();
        let router = Router::new().unwrap();
        let source = format!("DATA = '{data}'\n\ndef size():\n    return len(DATA)\n");
        router.modules().source("large", source);
        let received = || stand.network.received("bastion", "home");
        let (bastion, hosts) = stand.start(&router);
        for host in &hosts {
            host.info().unwrap();
        }
        let before = received();
        let call = |host: &Context| host.call_async::<usize>("large:size", ()).unwrap();
        let calls: Vec<_> = hosts.iter().map(call).collect();
        calls.into_iter().for_each(|call| assert_eq!(call.get().unwrap(), data.len()));
        let took = received() - before;
        // Compressed it is five bits a letter; four times that would be near a million.
        assert!((200_000..400_000).contains(&took), "{took}");
        assert!(bastion.is_connected());
        router.shutdown().unwrap();
    });
}

#[test]
fn what_is_behind_a_bastion_goes_with_it_and_one_host_goes_alone() {
    isolated(|| {
        let stand = Stand::new();
        let router = Router::new().unwrap();
        router.modules().source("work", WORK);
        let (bastion, hosts) = stand.start(&router);
        are_in_their_places(&hosts);
        let hang = |host: &Context| host.call_async::<()>("time:sleep", (1000,)).unwrap();

        let hanging = hang(&hosts[0]);
        let session = descendants(stand.hosts[0].pid()).into_keys().map(Process::open);
        let session: Vec<_> = session.collect();
        hosts[0].shutdown().unwrap();
        assert!(matches!(hanging.get(), Err(Error::Disconnected { .. })));
        session.iter().for_each(Process::wait_end);
        let again = bastion.connect(stand.hosts().next().unwrap()).unwrap();
        let hosts = [&[again], &hosts[1..]].concat();
        are_in_their_places(&hosts);

        let mut waiting = Select::new();
        for host in &hosts {
            waiting.add(hang(host));
        }
        let sessions = stand.sessions();
        let pid = bastion.info().unwrap().pid as i32;
        Process::open(pid).signal(libc::SIGKILL);
        for event in waiting {
            let name = event.context().to_string();
            let error = event.into_result().unwrap_err().to_string();
            let begin =
                format!("bastion > {name}: call of time:sleep: disconnected: bastion was lost: ");
            assert!(error.starts_with(&begin), "{error}");
        }
        sessions.iter().for_each(Process::wait_end);
        router.shutdown().unwrap();
    });
}
