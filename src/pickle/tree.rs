//! The nodes that a pickle makes, and the value that they add up to.
//!
//! Invariant: nothing here is paid for by a claim. A container is charged for all its children when it is opened,
//! before room for them is made; one that is open already holds itself, and is refused.

use super::inert::{Call, interpret};
use super::{Limits, MAX_DEPTH};
use crate::value::{BigInt, Value};
use std::borrow::Cow;

/// A node by its place in the list of them.
pub(super) type NodeId = u32;

/// What an opcode made; containers name their children, and grow.
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Box<BigInt>),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// A class or function, by its name.
    Global(Box<str>),
    /// A dict has its keys and values by turns.
    Items(Kind, Vec<NodeId>),
    Object(Box<Object>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Tuple,
    Dict,
    Set,
}

/// A call of something, and what was done to the result.
pub(super) struct Object {
    pub(super) callable: NodeId,
    /// A tuple, always.
    pub(super) args: NodeId,
    /// A dict, always.
    pub(super) kwargs: Option<NodeId>,
    pub(super) state: Option<NodeId>,
    pub(super) items: Vec<NodeId>,
    /// Keys and values by turns.
    pub(super) entries: Vec<NodeId>,
}

/// The value of a node and all below it, or one line that says why there is none.
pub(super) fn build(nodes: &[Node<'_>], root: NodeId, limits: &Limits) -> Result<Value, String> {
    let mut builder = Builder { nodes, left: *limits, open: Vec::new(), containers: Vec::new() };
    let mut next = root;
    loop {
        let mut built = builder.leaf(next)?;
        if built.is_none() {
            builder.open(next)?;
        }
        // Hand over what is complete, until a container wants another child.
        loop {
            let Some(container) = builder.containers.last_mut() else {
                return Ok(built.expect("a leaf, or the outermost container, is complete"));
            };
            container.values.extend(built.take());
            match container.children.get(container.values.len()) {
                Some(child) => {
                    next = *child;
                    break;
                }
                None => built = Some(builder.close()?),
            }
        }
    }
}

struct Builder<'n> {
    nodes: &'n [Node<'n>],
    left: Limits,
    /// Which nodes are being built; empty until there is one that contains anything.
    open: Vec<bool>,
    containers: Vec<Container<'n>>,
}

struct Container<'n> {
    node: NodeId,
    children: Cow<'n, [NodeId]>,
    values: Vec<Value>,
}

impl<'n> Builder<'n> {
    fn node(&self, id: NodeId) -> &'n Node<'n> {
        &self.nodes[id as usize]
    }

    fn leaf(&mut self, id: NodeId) -> Result<Option<Value>, String> {
        Ok(Some(match self.node(id) {
            Node::None => Value::None,
            Node::Bool(value) => Value::Bool(*value),
            Node::Int(number) => Value::Int(*number),
            Node::Float(number) => Value::Float(*number),
            Node::BigInt(number) => {
                self.pay_bytes(number.as_le_bytes().len())?;
                Value::BigInt(BigInt::clone(number))
            }
            Node::Text(text) => {
                self.pay_bytes(text.len())?;
                Value::Text(String::from(&**text))
            }
            Node::Bytes(bytes) => {
                self.pay_bytes(bytes.len())?;
                Value::Bytes(bytes.to_vec())
            }
            Node::Global(name) => {
                self.pay_bytes(name.len())?;
                Value::global(String::from(&**name))
            }
            Node::Items(..) | Node::Object(_) => return Ok(None),
        }))
    }

    fn open(&mut self, id: NodeId) -> Result<(), String> {
        self.open.resize(self.nodes.len(), false);
        if std::mem::replace(&mut self.open[id as usize], true) {
            return Err("a value that contains itself".into());
        }
        if self.containers.len() == MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        let children = match self.node(id) {
            Node::Items(_, items) => {
                self.pay_values(items.len())?;
                Cow::Borrowed(&items[..])
            }
            Node::Object(object) => {
                let lists = [
                    self.items(object.args),
                    object.kwargs.map_or(&[], |kwargs| self.items(kwargs)),
                    object.state.as_slice(),
                    &object.items,
                    &object.entries,
                ];
                self.pay_values(1 + lists.iter().map(|list| list.len()).sum::<usize>())?;
                Cow::Owned([object.callable].into_iter().chain(lists.concat()).collect())
            }
            _ => unreachable!("only a container is opened"),
        };
        let values = Vec::with_capacity(children.len());
        self.containers.push(Container { node: id, children, values });
        Ok(())
    }

    fn close(&mut self) -> Result<Value, String> {
        let Container { node, values, .. } = self.containers.pop().expect("one is open");
        self.open[node as usize] = false;
        match self.node(node) {
            Node::Items(Kind::List, _) => Ok(Value::List(values)),
            Node::Items(Kind::Tuple, _) => Ok(Value::Tuple(values)),
            Node::Items(Kind::Set, _) => Ok(Value::Set(values)),
            Node::Items(Kind::Dict, _) => Ok(Value::Dict(pairs(values.into_iter()))),
            Node::Object(object) => {
                let mut values = values.into_iter();
                let mut take = |count: usize| values.by_ref().take(count).collect::<Vec<_>>();
                let call = Call {
                    callable: take(1).remove(0),
                    args: take(self.items(object.args).len()),
                    kwargs: {
                        let count = object.kwargs.map_or(0, |kwargs| self.items(kwargs).len());
                        pairs(take(count).into_iter())
                    },
                    state: object.state.map(|_| Box::new(take(1).remove(0))),
                    items: take(object.items.len()),
                    entries: pairs(take(object.entries.len()).into_iter()),
                };
                interpret(call, self.left.router)
            }
            _ => unreachable!("only a container is closed"),
        }
    }

    fn items(&self, id: NodeId) -> &'n [NodeId] {
        match self.node(id) {
            Node::Items(_, items) => items,
            _ => unreachable!("arguments are a tuple and a dict"),
        }
    }

    fn pay_values(&mut self, count: usize) -> Result<(), String> {
        self.left.values = self.left.values.checked_sub(count).ok_or(TOO_MANY_VALUES)?;
        Ok(())
    }

    fn pay_bytes(&mut self, count: usize) -> Result<(), String> {
        self.left.bytes = self.left.bytes.checked_sub(count).ok_or(TOO_MANY_BYTES)?;
        Ok(())
    }
}

pub(super) const TOO_MANY_VALUES: &str = "more values than a message may hold";
pub(super) const TOO_MANY_BYTES: &str = "more bytes of text than a message may hold";

fn pairs(mut values: impl ExactSizeIterator<Item = Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        pairs.push((key, value));
    }
    pairs
}
