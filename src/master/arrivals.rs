//! What the streams bring: frames become answers, items, reports and routes, or go on to where they are for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::{Master, Target};
use crate::broker::Events;
use crate::connect::Plan;
use crate::end::End;
use crate::helper::Entry;
use crate::log::Level;
use crate::mailbox::Item;
use crate::peer::{Peer, RemoteInfo};
use crate::pickle;
use crate::routes::{
    ADD_ROUTE, ALLOCATE_ID, DEL_ROUTE, FIRST_RECEIVER_HANDLE, FIRST_REPLY_HANDLE, FORWARD_LOG,
    GET_MODULE, PING, Verdict,
};
use crate::text::escape;
use crate::wire::{self, Frame, Header};
use crate::{Prompt, Value};

/// The first frame of a child has names and paths; more is an attempt to fill the program's memory.
const HELLO_BYTES: usize = 64 << 10;

impl Events for Master {
    fn frame(&self, peer: &Arc<Peer>, frame: Frame) -> std::result::Result<(), String> {
        let Frame { header, data } = frame;
        let verdict = self.routes().arrive(peer.id(), &header);
        if !matches!(verdict, Verdict::Drop(_)) {
            let below = Some(header.src).filter(|src| *src != peer.id());
            let source = below.and_then(|src| self.peer(src));
            source.as_ref().unwrap_or(peer).count(|it| &it.received, data.len());
        }
        if !peer.is_up() && !matches!(verdict, Verdict::Deliver(Target::Hello)) {
            return Err("the first frame does not say who the child is".into());
        }
        match verdict {
            Verdict::Deliver(target) => self.deliver(peer, target, &header, data)?,
            Verdict::Service(service) => self.serve(peer, service, &header, data)?,
            Verdict::Forward(child) => self.forward(peer, child, &header, data),
            Verdict::Refuse(reason) => self.refuse(peer, &header, reason),
            Verdict::Drop(reason) => self.own(peer, Level::Warning, reason),
        }
        Ok(())
    }

    fn printed(&self, peer: &Arc<Peer>, bytes: &[u8]) {
        self.helper.log(peer, Entry::Printed(bytes.to_vec()));
    }

    fn asked(&self, peer: &Arc<Peer>, attempt: u32, prompt: Prompt) {
        let (broker, id) = (self.broker.clone(), peer.id());
        self.helper.prompt(peer, prompt, move |answer| broker.answer(id, attempt, answer));
    }

    fn wants_target(&self, peer: &Arc<Peer>, attempt: u32, plan: Plan) {
        let (broker, id) = (self.broker.clone(), peer.id());
        self.helper.run_for(peer, move || broker.target(id, attempt, plan.find_target()));
    }

    fn note(&self, peer: &Arc<Peer>, level: Level, note: String) {
        self.own(peer, level, note);
    }

    fn shown(&self) -> u64 {
        self.helper.shown()
    }

    fn look(&self, now: Instant) -> Option<Instant> {
        let starting = {
            let mut starting = self.starting.lock().expect("held for a look-up only");
            starting.retain(|branch| branch.is_starting());
            starting.clone()
        };
        starting.iter().filter_map(|branch| branch.look(self, now)).min()
    }

    fn ended(&self, peer: &Arc<Peer>, end: End) {
        self.lost(peer, &end);
    }

    fn stopped(&self) {
        self.down.store(true, Ordering::Release);
        let peers: Vec<_> = {
            let mut peers = self.peers.lock().expect("held for a look-up only");
            peers.drain().map(|(_, peer)| peer).collect()
        };
        for peer in peers {
            peer.end(End::Shutdown);
            peer.gone();
        }
        self.starting.lock().expect("held for a look-up only").clear();
        let waiting = self.routes().remove_all();
        for target in waiting {
            target.end(&End::Shutdown);
        }
    }
}

impl Master {
    fn serve(
        &self,
        peer: &Arc<Peer>,
        service: u32,
        header: &Header,
        data: Vec<u8>,
    ) -> std::result::Result<(), String> {
        let answer = |value: &Value| match header.reply_to {
            0 => {}
            reply_to => self.post(header.src, reply_to, value),
        };
        let told = match service {
            GET_MODULE => return self.helper.import(peer, data),
            FORWARD_LOG => {
                let source = self.peer(header.src).unwrap_or_else(|| peer.clone());
                self.helper.log(&source, Entry::Forwarded(data));
                Ok(())
            }
            PING => {
                answer(&Value::None);
                Ok(())
            }
            ALLOCATE_ID => {
                let block = self.routes().allocate(peer.id());
                block.map(|block| {
                    let ends = [block.start, block.end].map(|id| Value::Int(id.into()));
                    answer(&Value::Tuple(ends.to_vec()));
                })
            }
            ADD_ROUTE => {
                self.pair(peer, &data).and_then(|(target, via)| self.announced(peer, target, via))
            }
            DEL_ROUTE => {
                self.pair(peer, &data).and_then(|(target, _)| self.withdrawn(peer, target))
            }
            other => unreachable!("the router has no service {other}"),
        };
        if let Err(reason) = told {
            answer(&Value::Dead(Some(reason.clone())));
            self.own(peer, Level::Warning, reason);
        }
        Ok(())
    }

    /// What a context says of itself, and its name.
    pub(crate) fn hello(&self, data: &[u8]) -> std::result::Result<(RemoteInfo, String), String> {
        if data.len() > HELLO_BYTES {
            return Err(format!("its first frame has {} bytes", data.len()));
        }
        let hello = pickle::decode(data, &self.limits)
            .map_err(|error| format!("its first frame cannot be read: {error}"))?;
        let unclear = || "its first frame does not say who the child is".into();
        RemoteInfo::from_hello(hello).ok_or_else(unclear)
    }

    /// The two ids of a message about a route.
    fn pair(&self, peer: &Arc<Peer>, data: &[u8]) -> std::result::Result<(u32, u32), String> {
        let unclear = || {
            let what = "dropped a message about a route that cannot be read";
            format!("{what}, that context {} announced", peer.id())
        };
        let value = pickle::decode(data, &self.limits).map_err(|_| unclear())?;
        let Value::Tuple(ids) = value else { return Err(unclear()) };
        match ids[..] {
            [Value::Int(target), Value::Int(via)] => {
                let ids = u32::try_from(target).ok().zip(u32::try_from(via).ok());
                ids.ok_or_else(unclear)
            }
            _ => Err(unclear()),
        }
    }

    /// Passes a frame on to another child, unread.
    fn forward(&self, peer: &Arc<Peer>, child: u32, header: &Header, data: Vec<u8>) {
        let Some(to) = self.peer(child) else {
            let reason = format!("context 0 has no route to context {}", header.dst);
            return self.refuse(peer, header, reason);
        };
        let bytes = data.len();
        // The end of whom it is for is told to whoever has dealt with it.
        if to.pass_on(header, data) {
            self.peer(header.dst).unwrap_or(to).count(|it| &it.sent, bytes);
        } else {
            let reason = format!("context {} does not read what it is sent", header.dst);
            // An item of a channel: the receiver is to end here, and not to go on without it.
            if header.handle >= FIRST_RECEIVER_HANDLE && header.reply_to != 0 {
                let end = Header { reply_to: 0, ..*header };
                if let Ok(data) = pickle::encode(&Value::Dead(Some(reason.clone()))) {
                    to.pass_on(&end, data);
                }
            }
            self.refuse_at(peer, header, reason, Level::Warning);
        }
    }

    fn refuse(&self, peer: &Arc<Peer>, header: &Header, reason: String) {
        // To who has gone there are late grants.
        let is_late = header.handle >= FIRST_REPLY_HANDLE && header.reply_to == 0;
        let level = if is_late { Level::Debug } else { Level::Warning };
        self.refuse_at(peer, header, reason, level);
    }

    fn refuse_at(&self, peer: &Arc<Peer>, header: &Header, reason: String, level: Level) {
        if header.reply_to != 0 {
            self.post(header.src, header.reply_to, &Value::Dead(Some(reason.clone())));
        }
        self.own(peer, level, reason);
    }

    /// The process that carries a context's stream printed this.
    pub(crate) fn printed_by(&self, peer: &Arc<Peer>, bytes: &[u8]) {
        self.helper.log(peer, Entry::Printed(bytes.to_vec()));
    }

    fn deliver(
        &self,
        peer: &Arc<Peer>,
        target: Target,
        header: &Header,
        data: Vec<u8>,
    ) -> std::result::Result<(), String> {
        let cost = wire::cost(data.len()) as u64;
        let item = Item { data, from: header.src, control: header.reply_to, cost };
        match target {
            Target::Hello => peer.up(self.hello(&item.data)?.0),
            // One that was started by a context, which has looked at the first frame.
            Target::Announced(id) => match (self.peer(id), self.hello(&item.data)) {
                (Some(below), Ok((info, name))) => {
                    below.set_name(escape(&name));
                    below.up(info);
                }
                (Some(below), Err(reason)) => self.lost(&below, &End::lost(&below, reason)),
                (None, _) => {}
            },
            Target::Branch(branch) => {
                let report = pickle::decode(&item.data, &self.limits);
                let unclear = |error| format!("a report of a start cannot be read: {error}");
                let report = report.unwrap_or_else(|error| Value::Dead(Some(unclear(error))));
                branch.arrived(report, item.control);
            }
            Target::Answer(answer) => answer.arrived(item, |peer| self.leaving(peer)),
            Target::Channel(channel) => match channel.arrived(item) {
                // The stream is that of others, too.
                Err(reason) if header.src != peer.id() => {
                    let reason = format!("dropped a message of context {}: {reason}", header.src);
                    self.refuse(peer, header, reason);
                }
                result => result?,
            },
            Target::Credit(credit) => credit.arrived(pickle::decode(&item.data, &self.limits)),
        }
        Ok(())
    }
}
