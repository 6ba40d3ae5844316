//! The pickle machine: opcodes over a stack of nodes.
//!
//! Invariant: each opcode pushes at most one node, and pushes are counted; nothing is allocated by a length that
//! the input claims and does not hold. An error names the offset of its opcode, or where the input ends.

use super::Limits;
use super::opcode::*;
use super::text::{text, unescape_string, unescape_unicode};
use super::tree::{Kind, Node, NodeId, Object, TOO_MANY_BYTES, TOO_MANY_VALUES, build};
use crate::value::{BigInt, Value};
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// The value of a pickle.
pub(crate) fn decode(data: &[u8], limits: &Limits) -> Result<Value, DecodeError> {
    parse(data, limits).map(|parsed| match parsed {
        Parsed::Value(value) => value,
        Parsed::Bytes(range) => Value::Bytes(data[range].to_vec()),
    })
}

/// The same of a pickle that is not needed any more: one byte string, however large, stays where it is.
pub(crate) fn decode_owned(mut data: Vec<u8>, limits: &Limits) -> Result<Value, DecodeError> {
    Ok(match parse(&data, limits)? {
        Parsed::Value(value) => value,
        Parsed::Bytes(range) => {
            data.truncate(range.end);
            data.drain(..range.start);
            Value::Bytes(data)
        }
    })
}

enum Parsed {
    Value(Value),
    /// The value is a byte string, which is here in the pickle.
    Bytes(Range<usize>),
}

fn parse(data: &[u8], limits: &Limits) -> Result<Parsed, DecodeError> {
    let mut machine = Machine {
        data,
        at: 0,
        opcode_at: 0,
        // An ordinary message fits, and a short one does not ask for more than it can use.
        nodes: Vec::with_capacity(data.len().min(32)),
        stack: Vec::with_capacity(data.len().min(16)),
        marks: Vec::new(),
        memo: Vec::new(),
        left: *limits,
    };
    let root = loop {
        if let Some(root) = machine.step()? {
            break root;
        }
    };
    if machine.at != data.len() {
        return Err(DecodeError { offset: machine.at, reason: "bytes after the end".into() });
    }
    if let Node::Bytes(Cow::Borrowed(bytes)) = &machine.nodes[root as usize] {
        let start = bytes.as_ptr().addr() - data.as_ptr().addr();
        return Ok(Parsed::Bytes(start..start + bytes.len()));
    }
    build(&machine.nodes, root, limits)
        .map(Parsed::Value)
        .map_err(|reason| DecodeError { offset: machine.opcode_at, reason })
}

/// Why bytes are no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DecodeError {
    /// How far into the bytes.
    pub(crate) offset: usize,
    /// What is wrong there, in one line.
    pub(crate) reason: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {} of the pickle", self.reason, self.offset)
    }
}

impl std::error::Error for DecodeError {}

/// Digits in the text form of an int: reading them takes time that grows with the square, so Python 3.11's own
/// limit for it serves here too. Long ints have a binary form from protocol 2 on.
const MAX_DIGITS: usize = 4300;

/// How far memo indexes may run ahead of the nodes: Python numbers in order, 2.7 from one.
const MEMO_AHEAD: usize = 1024;

struct Machine<'a> {
    data: &'a [u8],
    at: usize,
    opcode_at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<NodeId>,
    /// The stack's lengths at the marks that are on it.
    marks: Vec<usize>,
    memo: Vec<Option<NodeId>>,
    left: Limits,
}

impl<'a> Machine<'a> {
    /// Runs one opcode; returns the root at STOP.
    fn step(&mut self) -> Result<Option<NodeId>, DecodeError> {
        self.opcode_at = self.at;
        let opcode = self.byte()?;
        match opcode {
            PROTO => {
                let version = self.byte()?;
                if version > 5 {
                    return self.fail(format!("protocol {version}"));
                }
            }
            FRAME => {
                // A frame is a hint for reading from files; that it is whole is all there is to know.
                let length = self.length(8)?;
                if length > self.data.len() - self.at {
                    return self.truncated();
                }
            }
            STOP => return self.pop().map(Some),

            MARK => {
                self.pay_value()?;
                self.marks.push(self.stack.len());
            }
            POP => {
                // Python's own picklers pop a mark with it too.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            POP_MARK => drop(self.pop_to_mark()?),
            DUP => {
                let top = self.top()?;
                self.push_id(top)?;
            }

            NONE => self.push(Node::None)?,
            NEWTRUE => self.push(Node::Bool(true))?,
            NEWFALSE => self.push(Node::Bool(false))?,
            BININT => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(number.into()))?;
            }
            BININT1 => {
                let number = self.byte()?;
                self.push(Node::Int(number.into()))?;
            }
            BININT2 => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(number.into()))?;
            }
            INT => {
                let node = match self.line()? {
                    b"00" => Node::Bool(false),
                    b"01" => Node::Bool(true),
                    digits => self.decimal(digits)?,
                };
                self.push(node)?;
            }
            LONG => {
                let line = self.line()?;
                let node = self.decimal(line.strip_suffix(b"L").unwrap_or(line))?;
                self.push(node)?;
            }
            LONG1 => {
                let length = self.length(1)?;
                let bytes = self.take(length)?;
                self.push(int(BigInt::from_le_bytes(bytes)))?;
            }
            LONG4 => {
                let length = self.length_signed()?;
                let bytes = self.take(length)?;
                self.push(int(BigInt::from_le_bytes(bytes)))?;
            }
            FLOAT => {
                let line = std::str::from_utf8(self.line()?).ok();
                match line.and_then(|line| line.parse().ok()) {
                    Some(number) => self.push(Node::Float(number))?,
                    None => return self.fail("no float"),
                }
            }
            BINFLOAT => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(number))?;
            }

            STRING => match unescape_string(self.line()?) {
                Some(bytes) => self.push(Node::Bytes(bytes.into()))?,
                None => return self.fail("no string in quotes"),
            },
            UNICODE => match unescape_unicode(self.line()?) {
                Some(bytes) => self.push_text(Cow::Owned(bytes))?,
                None => return self.fail("an escape that is none"),
            },
            BINSTRING => {
                let length = self.length_signed()?;
                self.push_bytes(length)?;
            }
            SHORT_BINSTRING | SHORT_BINBYTES => {
                let length = self.length(1)?;
                self.push_bytes(length)?;
            }
            BINBYTES => {
                let length = self.length(4)?;
                self.push_bytes(length)?;
            }
            BINBYTES8 | BYTEARRAY8 => {
                let length = self.length(8)?;
                self.push_bytes(length)?;
            }
            SHORT_BINUNICODE | BINUNICODE | BINUNICODE8 => {
                let length = self.length(match opcode {
                    SHORT_BINUNICODE => 1,
                    BINUNICODE => 4,
                    _ => 8,
                })?;
                let bytes = self.take(length)?;
                self.push_text(Cow::Borrowed(bytes))?;
            }

            EMPTY_LIST => self.push(Node::Items(Kind::List, Vec::new()))?,
            EMPTY_TUPLE => self.push(Node::Items(Kind::Tuple, Vec::new()))?,
            EMPTY_DICT => self.push(Node::Items(Kind::Dict, Vec::new()))?,
            EMPTY_SET => self.push(Node::Items(Kind::Set, Vec::new()))?,
            LIST => self.push_marked(Kind::List)?,
            TUPLE => self.push_marked(Kind::Tuple)?,
            DICT => self.push_marked(Kind::Dict)?,
            FROZENSET => self.push_marked(Kind::Set)?,
            TUPLE1 => self.push_tuple(1)?,
            TUPLE2 => self.push_tuple(2)?,
            TUPLE3 => self.push_tuple(3)?,
            APPEND => {
                let item = self.pop()?;
                self.append(Kind::List, &[item])?;
            }
            APPENDS => {
                let items = self.pop_to_mark()?;
                self.append(Kind::List, &items)?;
            }
            ADDITEMS => {
                let items = self.pop_to_mark()?;
                self.append(Kind::Set, &items)?;
            }
            SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.append(Kind::Dict, &[key, value])?;
            }
            SETITEMS => {
                let entries = self.pop_to_mark()?;
                self.append(Kind::Dict, &entries)?;
            }

            PUT => {
                let index = self.line_index()?;
                self.memoise(index)?;
            }
            BINPUT => {
                let index = self.length(1)?;
                self.memoise(index)?;
            }
            LONG_BINPUT => {
                let index = self.length(4)?;
                self.memoise(index)?;
            }
            MEMOIZE => self.memoise(self.memo.len())?,
            GET => {
                let index = self.line_index()?;
                self.recall(index)?;
            }
            BINGET => {
                let index = self.length(1)?;
                self.recall(index)?;
            }
            LONG_BINGET => {
                let index = self.length(4)?;
                self.recall(index)?;
            }

            GLOBAL => {
                let callable = self.line_global()?;
                self.push_id(callable)?;
            }
            STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let node = match (self.node(module), self.node(name)) {
                    (Node::Text(module), Node::Text(name)) => global(module, name),
                    _ => return self.fail("the name of a global that is not text"),
                };
                self.pay_name(&node)?;
                self.push(node)?;
            }
            REDUCE | NEWOBJ => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.push_object(callable, args, None)?;
            }
            NEWOBJ_EX => {
                let (kwargs, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push_object(callable, args, Some(kwargs))?;
            }
            INST => {
                let callable = self.line_global()?;
                let args = self.pop_to_mark()?;
                self.push_instance(callable, args)?;
            }
            OBJ => {
                let mut args = self.pop_to_mark()?;
                if args.is_empty() {
                    return self.fail("an object without a class");
                }
                let callable = args.remove(0);
                self.push_instance(callable, args)?;
            }
            BUILD => {
                let state = self.pop()?;
                match self.top_node()? {
                    Node::Object(object) => object.state = Some(state),
                    _ => return self.fail("a state for what is not an object"),
                }
            }

            PERSID | BINPERSID => return self.fail("a persistent id: nobody here knows it"),
            EXT1 | EXT2 | EXT4 => return self.fail("an extension code: nobody here knows it"),
            NEXT_BUFFER | READONLY_BUFFER => {
                return self.fail("a buffer that is not in the pickle");
            }
            _ => return self.fail(format!("no opcode: {opcode:#04x}")),
        }
        Ok(None)
    }

    // What the input holds.

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.take(N)?.try_into().expect("as many as were asked for"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        match self.data[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => self.truncated(),
        }
    }

    /// Little-endian, of 1, 4 or 8 bytes; what no memory could hold is as good as truncated.
    fn length(&mut self, width: usize) -> Result<usize, DecodeError> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX))
    }

    fn length_signed(&mut self) -> Result<usize, DecodeError> {
        match usize::try_from(i32::from_le_bytes(self.array()?)) {
            Ok(length) => Ok(length),
            Err(_) => self.fail("a length below zero"),
        }
    }

    fn line(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.data[self.at..].iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                let line = self.take(length)?;
                self.at += 1;
                Ok(line)
            }
            None => self.truncated(),
        }
    }

    fn line_index(&mut self) -> Result<usize, DecodeError> {
        let line = std::str::from_utf8(self.line()?).ok();
        match line.and_then(|line| line.parse().ok()) {
            Some(index) => Ok(index),
            None => self.fail("no memo index"),
        }
    }

    /// A global out of two lines, as a node that is not on the stack.
    fn line_global(&mut self) -> Result<NodeId, DecodeError> {
        let (module, name) = (self.line()?, self.line()?);
        match (std::str::from_utf8(module), std::str::from_utf8(name)) {
            (Ok(module), Ok(name)) => {
                let node = global(module, name);
                self.pay_name(&node)?;
                self.add(node)
            }
            _ => self.fail("the name of a global that is not UTF-8"),
        }
    }

    fn decimal(&self, digits: &[u8]) -> Result<Node<'a>, DecodeError> {
        if digits.len() > MAX_DIGITS {
            return self.fail(format!("an int of more than {MAX_DIGITS} digits as text"));
        }
        match BigInt::from_decimal(digits) {
            Some(number) => Ok(int(number)),
            None => self.fail("no int"),
        }
    }

    // The stack.

    fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    fn add(&mut self, node: Node<'a>) -> Result<NodeId, DecodeError> {
        self.pay_value()?;
        let Ok(id) = NodeId::try_from(self.nodes.len()) else { return self.fail(TOO_MANY_VALUES) };
        self.nodes.push(node);
        Ok(id)
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), DecodeError> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn push_id(&mut self, id: NodeId) -> Result<(), DecodeError> {
        self.pay_value()?;
        self.stack.push(id);
        Ok(())
    }

    fn push_bytes(&mut self, length: usize) -> Result<(), DecodeError> {
        let bytes = self.take(length)?;
        self.push(Node::Bytes(bytes.into()))
    }

    fn push_text(&mut self, bytes: Cow<'a, [u8]>) -> Result<(), DecodeError> {
        match text(bytes) {
            Ok(node) => self.push(node),
            Err(index) => self.fail(format!("text that is not UTF-8 from its byte {index} on")),
        }
    }

    fn push_marked(&mut self, kind: Kind) -> Result<(), DecodeError> {
        let items = self.pop_to_mark()?;
        if kind == Kind::Dict && items.len() % 2 != 0 {
            return self.fail("a key without a value");
        }
        self.push(Node::Items(kind, items))
    }

    fn push_tuple(&mut self, count: usize) -> Result<(), DecodeError> {
        let mut items = vec![0; count];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push(Node::Items(Kind::Tuple, items))
    }

    fn push_object(
        &mut self,
        callable: NodeId,
        args: NodeId,
        kwargs: Option<NodeId>,
    ) -> Result<(), DecodeError> {
        if !matches!(self.node(args), Node::Items(Kind::Tuple, _)) {
            return self.fail("arguments that are no tuple");
        }
        if !kwargs.is_none_or(|kwargs| matches!(self.node(kwargs), Node::Items(Kind::Dict, _))) {
            return self.fail("keyword arguments that are no dict");
        }
        let (state, items, entries) = (None, Vec::new(), Vec::new());
        let object = Object { callable, args, kwargs, state, items, entries };
        self.push(Node::Object(Box::new(object)))
    }

    fn push_instance(&mut self, callable: NodeId, args: Vec<NodeId>) -> Result<(), DecodeError> {
        let args = self.add(Node::Items(Kind::Tuple, args))?;
        self.push_object(callable, args, None)
    }

    /// The top of the stack; what is below the last mark is out of reach.
    fn top(&self) -> Result<NodeId, DecodeError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack[floor..].last() {
            Some(id) => Ok(*id),
            None => self.fail("nothing on the stack"),
        }
    }

    fn top_node(&mut self) -> Result<&mut Node<'a>, DecodeError> {
        let id = self.top()?;
        Ok(&mut self.nodes[id as usize])
    }

    fn pop(&mut self) -> Result<NodeId, DecodeError> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<NodeId>, DecodeError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.fail("no mark on the stack"),
        }
    }

    /// Adds to the container at the top, or to the object that is a subclass of such a one.
    fn append(&mut self, kind: Kind, ids: &[NodeId]) -> Result<(), DecodeError> {
        if kind == Kind::Dict && ids.len() % 2 != 0 {
            return self.fail("a key without a value");
        }
        match (self.top_node()?, kind) {
            (Node::Items(found, items), _) if *found == kind => items.extend(ids),
            (Node::Object(object), Kind::List) => object.items.extend(ids),
            (Node::Object(object), Kind::Dict) => object.entries.extend(ids),
            _ => return self.fail("items for what cannot hold them"),
        }
        Ok(())
    }

    // The memo.

    fn memoise(&mut self, index: usize) -> Result<(), DecodeError> {
        let id = self.top()?;
        if index > self.nodes.len() + MEMO_AHEAD {
            return self.fail(format!("memo index {index} out of order"));
        }
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(id);
        Ok(())
    }

    fn recall(&mut self, index: usize) -> Result<(), DecodeError> {
        match self.memo.get(index) {
            Some(Some(id)) => self.push_id(*id),
            _ => self.fail(format!("nothing in the memo at {index}")),
        }
    }

    // What it costs.

    fn pay_value(&mut self) -> Result<(), DecodeError> {
        match self.left.values.checked_sub(1) {
            Some(left) => self.left.values = left,
            None => return self.fail(TOO_MANY_VALUES),
        }
        Ok(())
    }

    /// Names may be put together from the memo, again and again.
    fn pay_name(&mut self, node: &Node<'_>) -> Result<(), DecodeError> {
        if let Node::Global(name) = node {
            match self.left.bytes.checked_sub(name.len()) {
                Some(left) => self.left.bytes = left,
                None => return self.fail(TOO_MANY_BYTES),
            }
        }
        Ok(())
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, DecodeError> {
        Err(DecodeError { offset: self.opcode_at, reason: reason.into() })
    }

    fn truncated<T>(&self) -> Result<T, DecodeError> {
        Err(DecodeError { offset: self.data.len(), reason: "truncated".into() })
    }
}

fn int(number: BigInt) -> Node<'static> {
    match i128::try_from(&number).map(i64::try_from) {
        Ok(Ok(number)) => Node::Int(number),
        _ => Node::BigInt(Box::new(number)),
    }
}

/// Built-in names are bare, whichever Python they are of.
fn global(module: &str, name: &str) -> Node<'static> {
    Node::Global(match module {
        "__builtin__" | "builtins" | "exceptions" => name.into(),
        _ => format!("{module}.{name}").into(),
    })
}
