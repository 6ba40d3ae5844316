//! What a condition says of the interpreter: `sys.version_info >= (3,)`, `sys.platform == "win32"`.
//!
//! Invariant: an answer is certain, or there is none. A condition is read in bounded time and depth,
//! however it is written; one that is longer or deeper says nothing.
//! Not here: which statements depend on it.

use std::cmp::Ordering;

use super::Target;
use crate::modules::lexer::{Kind, Token, string_prefix};

/// What a condition is answered from.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    /// The name of the module that it is in.
    pub(super) module: &'k str,
    pub(super) target: Option<&'k Target>,
}

/// A condition, as far as it can be answered without running anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Unknown,
    Always(bool),
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Compares(Operand, Comparison, Operand),
    /// `operand.startswith(..)`: with any of these.
    Starts(Operand, Vec<String>),
}

/// What a condition compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Fact(Fact),
    /// `fact[:n]`
    First(Fact, usize),
    /// `fact[n]`
    Item(Fact, usize),
    Literal(Value),
}

/// What is known of an interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// `sys.version_info`
    VersionInfo,
    /// `sys.version`
    Version,
    /// `sys.platform`
    Platform,
    /// `os.name`
    OsName,
    /// `__name__`
    Name,
}

/// A value of Python. With `more`, something that is not known follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(u32),
    Numbers { known: Vec<u32>, more: bool },
    Text { known: String, more: bool },
    Texts(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
    NotIn,
}

/// What a name at the top level of a module surely stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The module `sys`.
    Sys,
    /// The module `os`.
    Os,
    Operand(Operand),
    Flag(Condition),
    Unknown,
}

/// The names that have a meaning, so few that they are looked for one by one.
pub(super) struct Names<'a>(pub(super) Vec<(&'a [u8], Meaning)>);

impl<'a> Names<'a> {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Meaning> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, meaning)| meaning)
    }

    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Meaning> {
        self.0.iter_mut().find(|(known, _)| *known == name).map(|(_, meaning)| meaning)
    }
}

impl Condition {
    /// Whether it holds, where that is certain.
    pub(super) fn holds(&self, known: Known) -> Option<bool> {
        match self {
            Condition::Unknown => None,
            Condition::Always(holds) => Some(*holds),
            Condition::Not(condition) => condition.holds(known).map(|holds| !holds),
            Condition::All(parts) => decided(parts, false, known),
            Condition::Any(parts) => decided(parts, true, known),
            Condition::Compares(left, comparison, right) => {
                comparison.holds(&left.value(known)?, &right.value(known)?)
            }
            Condition::Starts(operand, prefixes) => {
                let Value::Text { known, more } = operand.value(known)? else { return None };
                let starts = prefixes.iter().any(|prefix| known.starts_with(prefix));
                // What is not known may yet be one of them.
                let may = more && prefixes.iter().any(|prefix| prefix.starts_with(&known));
                (starts || !may).then_some(starts)
            }
        }
    }

    /// How many conditions it is made of.
    fn size(&self) -> usize {
        1 + match self {
            Condition::Not(condition) => condition.size(),
            Condition::All(parts) | Condition::Any(parts) => parts.iter().map(Self::size).sum(),
            _ => 0,
        }
    }
}

/// What one part that is `decisive` makes of the whole, as in Python's `or` (true) and `and` (false).
fn decided(parts: &[Condition], decisive: bool, known: Known) -> Option<bool> {
    let mut certain = true;
    for part in parts {
        match part.holds(known) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => certain = false,
        }
    }
    certain.then_some(!decisive)
}

impl Operand {
    fn value(&self, known: Known) -> Option<Value> {
        Some(match self {
            Operand::Literal(value) => value.clone(),
            Operand::Fact(fact) => fact.value(known)?,
            Operand::First(fact, count) => match fact.value(known)? {
                Value::Numbers { mut known, more } => {
                    if known.len() < *count && more {
                        return None;
                    }
                    known.truncate(*count);
                    Value::Numbers { known, more: false }
                }
                Value::Text { known, more } => {
                    if known.len() < *count && more {
                        return None;
                    }
                    Value::Text { known: known.chars().take(*count).collect(), more: false }
                }
                _ => return None,
            },
            Operand::Item(fact, index) => match fact.value(known)? {
                Value::Numbers { known, .. } => Value::Number(*known.get(*index)?),
                Value::Text { known, .. } => {
                    Value::Text { known: known.chars().nth(*index)?.to_string(), more: false }
                }
                _ => return None,
            },
        })
    }
}

impl Fact {
    fn value(self, known: Known) -> Option<Value> {
        let text = |known: &str, more| Value::Text { known: known.to_owned(), more };
        let version = || known.target.map(|target| target.version);
        Some(match self {
            Fact::VersionInfo => Value::Numbers { known: version()?.to_vec(), more: true },
            Fact::Version => {
                let [major, minor, micro] = version()?;
                text(&format!("{major}.{minor}.{micro}"), true)
            }
            Fact::Platform => text(&known.target?.platform, false),
            Fact::OsName => known.target.map(|_| text("posix", false))?,
            Fact::Name => text(known.module, false),
        })
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        let order = || left.order(right);
        Some(match self {
            Comparison::Equal => order()? == Ordering::Equal,
            Comparison::Unequal => order()? != Ordering::Equal,
            Comparison::Less => order()? == Ordering::Less,
            Comparison::AtMost => order()? != Ordering::Greater,
            Comparison::Greater => order()? == Ordering::Greater,
            Comparison::AtLeast => order()? != Ordering::Less,
            Comparison::In => left.is_in(right)?,
            Comparison::NotIn => !left.is_in(right)?,
        })
    }

    fn read(word: &[u8]) -> Option<Comparison> {
        Some(match word {
            b"==" => Comparison::Equal,
            b"!=" | b"<>" => Comparison::Unequal,
            b"<" => Comparison::Less,
            b"<=" => Comparison::AtMost,
            b">" => Comparison::Greater,
            b">=" => Comparison::AtLeast,
            b"in" => Comparison::In,
            _ => return None,
        })
    }
}

impl Value {
    /// Values of two types have no order here, though they have one in Python 2.
    fn order(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Number(left), Value::Number(right)) => Some(left.cmp(right)),
            (Value::Numbers { known, more }, Value::Numbers { known: right, more: right_more }) => {
                order(known, *more, right, *right_more)
            }
            (Value::Text { known, more }, Value::Text { known: right, more: right_more }) => {
                order(known.as_bytes(), *more, right.as_bytes(), *right_more)
            }
            _ => None,
        }
    }

    fn is_in(&self, container: &Value) -> Option<bool> {
        match (self, container) {
            (Value::Text { known, more: false }, Value::Texts(texts)) => {
                Some(texts.contains(known))
            }
            (Value::Text { known, more: false }, Value::Text { known: whole, more: false }) => {
                Some(whole.contains(known.as_str()))
            }
            (Value::Number(number), Value::Numbers { known, more: false }) => {
                Some(known.contains(number))
            }
            _ => None,
        }
    }
}

/// How two sequences compare, of which more may follow than is known: something, if `more`.
fn order<T: Ord>(left: &[T], more: bool, right: &[T], right_more: bool) -> Option<Ordering> {
    let known = left.len().min(right.len());
    match left[..known].cmp(&right[..known]) {
        Ordering::Equal => match left.len().cmp(&right.len()) {
            Ordering::Less if more => None,
            Ordering::Greater if right_more => None,
            Ordering::Equal if more && right_more => None,
            Ordering::Equal if more => Some(Ordering::Greater),
            Ordering::Equal if right_more => Some(Ordering::Less),
            order => Some(order),
        },
        order => Some(order),
    }
}

/// Reads conditions out of the tokens of a source, which are free of comments.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a, 'n> {
    pub(super) source: &'a [u8],
    pub(super) names: &'n Names<'a>,
    /// Whether what is read may run again, when a name means something else.
    pub(super) repeats: bool,
}

impl<'a> Reader<'a, '_> {
    pub(super) fn condition(&self, words: &[Token]) -> Condition {
        if words.len() > MAX_WORDS {
            return Condition::Unknown;
        }
        self.part(words, MAX_DEPTH).unwrap_or(Condition::Unknown)
    }

    /// What a name means that these words are assigned to.
    pub(super) fn meaning(&self, words: &[Token]) -> Meaning {
        if words.len() > MAX_WORDS {
            return Meaning::Unknown;
        }
        match self.operand(words, MAX_DEPTH) {
            None | Some(Operand::Literal(_)) => {}
            Some(operand) => return Meaning::Operand(operand),
        }
        match self.condition(words) {
            Condition::Unknown => Meaning::Unknown,
            // One may be made of others several times over, and so on.
            condition if condition.size() > MAX_FLAG => Meaning::Unknown,
            condition => Meaning::Flag(condition),
        }
    }

    fn part(&self, words: &[Token], depth: usize) -> Option<Condition> {
        let depth = depth.checked_sub(1)?;
        let parts = |keyword| -> Option<Vec<Condition>> {
            let parts = self.split(words, keyword);
            let read = |part| self.part(part, depth).unwrap_or(Condition::Unknown);
            (parts.len() > 1).then(|| parts.into_iter().map(read).collect())
        };
        if self.outer(words).any(|(_, word)| matches!(word, b"if" | b"lambda" | b":=" | b",")) {
            return None;
        }
        if let Some(parts) = parts(b"or") {
            return Some(Condition::Any(parts));
        }
        if let Some(parts) = parts(b"and") {
            return Some(Condition::All(parts));
        }
        if self.word(words, 0) == b"not" {
            return Some(Condition::Not(Box::new(self.part(&words[1..], depth)?)));
        }
        if let Some(inner) = self.enclosed(words, b"(") {
            return self.part(inner, depth);
        }
        self.comparison(words, depth)
            .or_else(|| self.starts(words, depth))
            .or_else(|| self.flag(words))
    }

    /// `left op right`, not chained.
    fn comparison(&self, words: &[Token], depth: usize) -> Option<Condition> {
        let mut operators = self.outer(words).filter_map(|(at, word)| {
            let is_part = word == b"is" || word == b"not";
            Comparison::read(word).map(Some).or(is_part.then_some(None)).map(|read| (at, read))
        });
        let (at, read) = operators.next()?;
        let (comparison, right) = match (read, operators.next(), operators.next()) {
            (Some(comparison), None, _) => (comparison, at + 1),
            (None, Some((next, Some(Comparison::In))), None) if next == at + 1 => {
                (Comparison::NotIn, at + 2)
            }
            _ => return None,
        };
        let left = self.operand(&words[..at], depth)?;
        let right = &words[right..];
        let right = match comparison {
            Comparison::In | Comparison::NotIn => self
                .enclosed(right, b"[")
                .or_else(|| self.enclosed(right, b"{"))
                .map_or_else(|| self.operand(right, depth), |items| self.items(items))?,
            _ => self.operand(right, depth)?,
        };
        Some(Condition::Compares(left, comparison, right))
    }

    /// `operand.startswith("x")` or `(("x", "y"))`
    fn starts(&self, words: &[Token], depth: usize) -> Option<Condition> {
        let (at, _) = self.outer(words).find(|(_, word)| *word == b"startswith")?;
        let operand = self.operand(words.get(..at.checked_sub(1)?)?, depth)?;
        let prefixes = self.enclosed(&words[at + 1..], b"(")?;
        let prefixes = match self.operand(prefixes, depth)? {
            Operand::Literal(Value::Text { known, more: false }) => vec![known],
            Operand::Literal(Value::Texts(texts)) => texts,
            _ => return None,
        };
        (self.word(words, at - 1) == b".").then_some(Condition::Starts(operand, prefixes))
    }

    /// A constant, or a name with a meaning.
    fn flag(&self, words: &[Token]) -> Option<Condition> {
        match words {
            [word] => match self.text(word) {
                b"True" => Some(Condition::Always(true)),
                b"False" | b"None" => Some(Condition::Always(false)),
                name if word.kind == Kind::Name => match self.meaning_of(name)? {
                    Meaning::Flag(condition) => Some(condition.clone()),
                    _ => None,
                },
                _ => Some(Condition::Always(self.number(word)? != 0)),
            },
            // `typing.TYPE_CHECKING`, however the module is called here.
            [.., point, name] => {
                let is_it = self.text(point) == b"." && self.text(name) == b"TYPE_CHECKING";
                is_it.then_some(Condition::Always(false))
            }
            [] => None,
        }
    }

    fn operand(&self, words: &[Token], depth: usize) -> Option<Operand> {
        let depth = depth.checked_sub(1)?;
        let first = words.first()?;
        if let Some(inner) = self.enclosed(words, b"(") {
            let is_tuple = self.outer(inner).any(|(_, word)| word == b",");
            return if is_tuple { self.items(inner) } else { self.operand(inner, depth) };
        }
        match (first.kind, words.len()) {
            (Kind::String, 1) => {
                let known = self.string(first)?;
                return Some(Operand::Literal(Value::Text { known, more: false }));
            }
            (Kind::Number, 1) => {
                return Some(Operand::Literal(Value::Number(self.number(first)?)));
            }
            _ => {}
        }
        let (operand, rest) = match (self.meaning_of(self.text(first))?, self.word(words, 1)) {
            (Meaning::Operand(operand), _) => (operand.clone(), &words[1..]),
            (module, b".") => (Operand::Fact(fact(module, self.word(words, 2))?), &words[3..]),
            _ => return None,
        };
        match (operand, rest) {
            (operand, []) => Some(operand),
            (Operand::Fact(fact), rest) => self.part_of(fact, rest),
            _ => None,
        }
    }

    /// `.major`, `[0]`, `[:2]`, `[0:2]` after a fact.
    fn part_of(&self, fact: Fact, rest: &[Token]) -> Option<Operand> {
        let number = |word: &Token| self.number(word).and_then(|n| usize::try_from(n).ok());
        if self.word(rest, 0) == b"." && rest.len() == 2 && fact == Fact::VersionInfo {
            let names: [&[u8]; 3] = [b"major", b"minor", b"micro"];
            let index = names.iter().position(|name| *name == self.word(rest, 1))?;
            return Some(Operand::Item(fact, index));
        }
        match self.enclosed(rest, b"[")? {
            [index] => Some(Operand::Item(fact, number(index)?)),
            [colon, end] if self.text(colon) == b":" => Some(Operand::First(fact, number(end)?)),
            [start, colon, end] if self.text(colon) == b":" && number(start)? == 0 => {
                Some(Operand::First(fact, number(end)?))
            }
            _ => None,
        }
    }

    /// The items of a tuple, list or set, of numbers (up to the first that is none) or of texts.
    fn items(&self, words: &[Token]) -> Option<Operand> {
        let mut items = self.split(words, b",");
        if items.last().is_some_and(|last| last.is_empty()) {
            items.pop();
        }
        let numbers: Vec<u32> = items
            .iter()
            .map_while(|item| if let [word] = item { self.number(word) } else { None })
            .collect();
        if !numbers.is_empty() {
            let more = numbers.len() < items.len();
            return Some(Operand::Literal(Value::Numbers { known: numbers, more }));
        }
        let text = |item: &[Token]| if let [word] = item { self.string(word) } else { None };
        let texts = items.into_iter().map(text).collect::<Option<_>>()?;
        Some(Operand::Literal(Value::Texts(texts)))
    }

    fn meaning_of(&self, name: &[u8]) -> Option<&Meaning> {
        let is_lasting = !self.repeats || LASTING.iter().any(|(lasting, _)| *lasting == name);
        is_lasting.then(|| self.names.get(name)).flatten()
    }

    fn number(&self, word: &Token) -> Option<u32> {
        std::str::from_utf8(self.text(word)).ok()?.parse().ok()
    }

    /// The value of a string that needs no decoding.
    pub(super) fn string(&self, word: &Token) -> Option<String> {
        if word.kind != Kind::String {
            return None;
        }
        let text = self.text(word);
        let prefix = string_prefix(text);
        let quoted = &text[prefix.len()..];
        let quotes = if quoted.len() >= 6 && quoted[..3] == [quoted[0]; 3] { 3 } else { 1 };
        let value = quoted.get(quotes..quoted.len().checked_sub(quotes)?)?;
        let is_plain = matches!(&prefix[..], b"" | b"u" | b"r" | b"ur") && !value.contains(&b'\\');
        is_plain.then(|| String::from_utf8(value.to_vec()).ok()).flatten()
    }

    fn text(&self, word: &Token) -> &'a [u8] {
        word.text(self.source)
    }

    fn word(&self, words: &[Token], index: usize) -> &'a [u8] {
        words.get(index).map_or(b"", |word| self.text(word))
    }

    /// The words outside of all brackets, with their places; of the brackets the opening ones.
    fn outer(&self, words: &[Token]) -> impl Iterator<Item = (usize, &'a [u8])> {
        outer(self.source, words)
    }

    fn split<'w>(&self, words: &'w [Token], separator: &[u8]) -> Vec<&'w [Token]> {
        let (mut parts, mut start) = (Vec::new(), 0);
        for (at, word) in self.outer(words) {
            if word == separator {
                parts.push(&words[start..at]);
                start = at + 1;
            }
        }
        parts.push(&words[start..]);
        parts
    }

    /// What the brackets enclose that begin and end `words`.
    fn enclosed<'w>(&self, words: &'w [Token], open: &[u8]) -> Option<&'w [Token]> {
        // Outside of them there is nothing but the opening one.
        let mut outer = self.outer(words);
        let is_one = outer.next().is_some_and(|(_, word)| word == open) && outer.next().is_none();
        (is_one && words.len() > 1).then(|| &words[1..words.len() - 1])
    }
}

/// The words outside of all brackets, with their places; of the brackets the opening ones.
pub(super) fn outer<'a>(
    source: &'a [u8],
    words: &[Token],
) -> impl Iterator<Item = (usize, &'a [u8])> {
    let mut depth = 0usize;
    words.iter().enumerate().filter_map(move |(at, token)| {
        let word = token.text(source);
        match word {
            b"(" | b"[" | b"{" => depth += 1,
            b")" | b"]" | b"}" => {
                depth = depth.saturating_sub(1);
                return None;
            }
            _ => return (depth == 0).then_some((at, word)),
        }
        (depth == 1).then_some((at, word))
    })
}

/// What an attribute of `sys` or `os` tells.
pub(super) fn fact(module: &Meaning, attribute: &[u8]) -> Option<Fact> {
    Some(match (module, attribute) {
        (Meaning::Sys, b"version_info") => Fact::VersionInfo,
        (Meaning::Sys, b"version") => Fact::Version,
        (Meaning::Sys, b"platform") => Fact::Platform,
        (Meaning::Os, b"name") => Fact::OsName,
        _ => return None,
    })
}

/// What these mean unless a source says otherwise.
pub(super) const LASTING: [(&[u8], Meaning); 4] = [
    (b"__name__", Meaning::Operand(Operand::Fact(Fact::Name))),
    (b"sys", Meaning::Sys),
    (b"os", Meaning::Os),
    (b"TYPE_CHECKING", Meaning::Flag(Condition::Always(false))),
];

/// No condition about a platform is longer.
const MAX_WORDS: usize = 400;

/// Nor deeper.
const MAX_DEPTH: usize = 30;

/// The size of a condition that a name may stand for.
const MAX_FLAG: usize = 32;
