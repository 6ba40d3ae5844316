//! The tree as it is now: a snapshot for a person, or for a program that watches.

use std::fmt;

use crate::text::escape;

/// The contexts of a router, as they were at one moment: [`Router::tree`](crate::Router::tree).
///
/// `Display` draws it, one line a context.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tree {
    /// The program's own children, in the order in which they were started.
    pub children: Vec<Node>,
}

/// A context in a [`Tree`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Node {
    /// Its id.
    pub id: u32,
    /// Its name, as far as it is known.
    pub name: String,
    /// How it was started: `local`, `ssh`, `sudo`, ..; `remote` where code in its parent did it.
    pub method: String,
    /// How far it has come.
    pub state: State,
    /// What the program has sent to it and to the contexts below it, and passed on to them.
    pub sent: Traffic,
    /// What has come from it and from the contexts below it.
    pub received: Traffic,
    /// How many modules it was sent; one below another has them from that.
    pub modules: u64,
    /// The bytes that wait to be written to its stream; `None` for a context below another, whose stream begins
    /// there.
    pub queued_bytes: Option<usize>,
    /// Its children.
    pub children: Vec<Node>,
}

/// How far a context has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It is being started; what is sent to it waits.
    Starting,
    /// It is up.
    Connected,
    /// It has been told to shut down.
    Leaving,
}

/// Messages and their data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// Their pickled data, in bytes.
    pub bytes: u64,
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("master")?;
        draw(f, "", &self.children)
    }
}

fn draw(f: &mut fmt::Formatter<'_>, before: &str, nodes: &[Node]) -> fmt::Result {
    for (at, node) in nodes.iter().enumerate() {
        let is_last = at + 1 == nodes.len();
        let (branch, trunk) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        write!(f, "\n{before}{branch}{node}")?;
        draw(f, &format!("{before}{trunk}"), &node.children)?;
    }
    Ok(())
}

/// Itself, on one line, without its children.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Node { id, method, state, sent, received, modules, .. } = self;
        write!(f, "{} ({method}, id {id}): {state}, ", escape(&self.name))?;
        write!(f, "sent {sent}, received {received}, {modules} modules")?;
        match self.queued_bytes {
            Some(bytes) if bytes > 0 => write!(f, ", {bytes} B queued"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Starting => "starting",
            State::Connected => "connected",
            State::Leaving => "leaving",
        })
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, word) = match self.bytes {
            bytes @ 0..10_000 => (bytes, "B"),
            bytes @ 10_000..10_000_000 => (bytes / 1000, "kB"),
            bytes => (bytes / 1_000_000, "MB"),
        };
        write!(f, "{} ({count} {word})", self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, name: &str, children: Vec<Node>) -> Node {
        let traffic = Traffic { messages: 3, bytes: 12_345 };
        Node {
            id,
            name: name.into(),
            method: "ssh".into(),
            state: State::Connected,
            sent: traffic,
            received: Traffic::default(),
            modules: 2,
            queued_bytes: (id == 1).then_some(7),
            children,
        }
    }

    #[test]
    fn a_tree_is_drawn_a_line_for_each_context() {
        let below = vec![node(2, "a\x1b[2J", vec![node(4, "c", vec![])]), node(3, "b", vec![])];
        let tree = Tree { children: vec![node(1, "web", below), node(5, "db", vec![])] };
        let line =
            |id| format!("(ssh, id {id}): connected, sent 3 (12 kB), received 0 (0 B), 2 modules");
        let expected = [
            "master".to_owned(),
            format!("├─ web {}, 7 B queued", line(1)),
            format!("│  ├─ a\\x1b[2J {}", line(2)),
            format!("│  │  └─ c {}", line(4)),
            format!("│  └─ b {}", line(3)),
            format!("└─ db {}", line(5)),
        ];
        assert_eq!(tree.to_string(), expected.join("\n"));
        assert_eq!(Tree { children: vec![] }.to_string(), "master");
    }
}
