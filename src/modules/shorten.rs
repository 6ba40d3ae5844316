//! Gives the local variables of Python functions names of one letter.
//!
//! Invariant: no Python can tell the difference but by looking at the names of local variables. A name
//! is changed only where a plain statement of the function binds it, so that it is local all through,
//! and where no inner scope, import or dynamic lookup can meet it. Parameters keep their names, for
//! they can be passed by keyword. In doubt, nothing is changed.
//! Not in the library: build.rs runs it before the minifier, and tests/minify.rs compares bytecode.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::lexer::{Kind, LexError, Token, string_prefix, tokens};

/// `source` with shorter names, on the same lines.
pub(crate) fn shorten(source: &[u8]) -> Result<Vec<u8>, LexError> {
    let mut tokens = tokens(source)?;
    tokens.retain(|token| token.kind != Kind::Comment);
    let code = Code { source, tokens };
    let mut out = Vec::new();
    let mut copied = 0;
    let functions = (0..code.tokens.len()).filter_map(|index| code.function(index));
    let renamed = functions.flat_map(|(header, body)| code.rename(header, body));
    for (index, name) in renamed {
        let token = code.tokens[index];
        out.extend_from_slice(&source[copied..token.start]);
        out.push(name);
        copied = token.end;
    }
    out.extend_from_slice(&source[copied..]);
    Ok(out)
}

struct Code<'a> {
    source: &'a [u8],
    tokens: Vec<Token>,
}

impl<'a> Code<'a> {
    fn word(&self, index: usize) -> &'a [u8] {
        self.tokens.get(index).map_or(b"", |token| token.text(self.source))
    }

    fn is(&self, index: usize, kind: Kind) -> bool {
        self.tokens.get(index).is_some_and(|token| token.kind == kind)
    }

    /// The header and the body of the function whose `def` is at `index`, if the body is of lines of
    /// its own and simple enough to be understood here.
    fn function(&self, index: usize) -> Option<(Range<usize>, Range<usize>)> {
        if self.word(index) != b"def" {
            return None;
        }
        let newline = (index..self.tokens.len()).find(|index| self.is(*index, Kind::Newline))?;
        if !self.is(newline + 1, Kind::Indent) {
            return None;
        }
        let mut level = 0usize;
        let end = (newline + 1..self.tokens.len()).find(|index| {
            match self.tokens[*index].kind {
                Kind::Indent => level += 1,
                Kind::Dedent => level -= 1,
                _ => {}
            }
            level == 0
        })?;
        let body = newline + 2..end;
        let is_plain = |index: usize| match self.tokens[index].kind {
            Kind::Name => !NOT_PLAIN.contains(&self.word(index)),
            Kind::String => {
                !string_prefix(self.word(index)).iter().any(|b| matches!(b, b'f' | b't'))
            }
            _ => true,
        };
        body.clone().all(is_plain).then_some((index..newline, body))
    }

    /// The tokens of a function to be replaced, in order, each with its new name.
    fn rename(&self, header: Range<usize>, body: Range<usize>) -> Vec<(usize, u8)> {
        let names = |range: Range<usize>| range.filter(|index| self.is(*index, Kind::Name));
        let mut bound = BTreeSet::new();
        // Those of other functions too: 3.11 calls a method of what it takes for a module in another
        // way, and goes by the name alone.
        let mut kept = self.imported();
        kept.extend(names(header.clone()).map(|i| self.word(i)));
        kept.insert(b"self"); // 3.13 lists what is assigned to attributes of that name
        for statement in self.statements(body.clone()) {
            bound.extend(self.targets(statement));
        }
        kept.extend(self.comprehensions(body.clone()).map(|index| self.word(index)));
        let is_candidate = |name: &[u8]| {
            name.len() > 1
                && !name.starts_with(b"__")
                && bound.contains(name)
                && !kept.contains(name)
        };
        let uses: Vec<usize> = names(body.clone())
            .filter(|index| is_candidate(self.word(*index)))
            .filter(|index| self.word(index - 1) != b"." && !self.is_keyword_argument(*index))
            .collect();
        // Any name that the function mentions at all is taken, attributes too: simple, and enough.
        let mut taken: BTreeSet<&[u8]> =
            names(header.start..body.end).map(|i| self.word(i)).collect();
        taken.extend(&kept);
        let mut free = LETTERS.iter().filter(|letter| !taken.contains(&[**letter][..]));
        let mut chosen: BTreeMap<&[u8], Option<u8>> = BTreeMap::new();
        let mut choose = |index: usize| {
            let name = *chosen.entry(self.word(index)).or_insert_with(|| free.next().copied());
            Some((index, name?))
        };
        uses.into_iter().filter_map(&mut choose).collect()
    }

    /// All words of all import statements.
    fn imported(&self) -> BTreeSet<&'a [u8]> {
        let mut imported = BTreeSet::new();
        for statement in self.statements(0..self.tokens.len()) {
            if matches!(self.word(statement.start), b"import" | b"from") {
                imported.extend(statement.map(|index| self.word(index)));
            }
        }
        imported
    }

    /// The simple statements and the headers of the compound ones in `body`.
    fn statements(&self, body: Range<usize>) -> Vec<Range<usize>> {
        let mut statements = Vec::new();
        let (mut start, mut brackets) = (body.start, 0usize);
        for index in body {
            let word = self.word(index);
            let ends = match word {
                b";" => brackets == 0,
                b":" => brackets == 0 && COMPOUND.contains(&self.word(start)),
                _ => matches!(self.tokens[index].kind, Kind::Newline | Kind::Indent | Kind::Dedent),
            };
            match word {
                b"(" | b"[" | b"{" => brackets += 1,
                b")" | b"]" | b"}" => brackets -= 1,
                _ => {}
            }
            if ends {
                if start < index {
                    statements.push(start..index);
                }
                start = index + 1;
            }
        }
        statements
    }

    /// The names that a statement certainly binds in its function; it may bind others.
    fn targets(&self, statement: Range<usize>) -> Vec<&'a [u8]> {
        let targets = match self.word(statement.start) {
            b"for" => self.up_to(statement.start + 1..statement.end, b"in"),
            b"with" | b"except" => {
                // The last two words, `as name`, if they are that.
                let at = statement.end.saturating_sub(2).max(statement.start);
                (self.word(at) == b"as").then_some(at + 1..statement.end)
            }
            _ => self.up_to(statement, b"="),
        };
        targets.into_iter().flatten().map(|i| self.word(i)).filter(|w| !is_mark(w)).collect()
    }

    /// What precedes `word` in a statement, if it is nothing but names, commas and brackets.
    fn up_to(&self, statement: Range<usize>, word: &[u8]) -> Option<Range<usize>> {
        let end = statement.clone().find(|index| self.word(*index) == word)?;
        let targets = statement.start..end;
        // Names that follow each other are not targets: `print (x)`, `f(x)` end in other ways.
        let is_target = |index: usize| {
            is_mark(self.word(index))
                || self.is(index, Kind::Name)
                    && (index == targets.start || is_mark(self.word(index - 1)))
        };
        // `f(x=1)`: brackets that do not close are no targets.
        let count = |mark: &[u8]| targets.clone().filter(|i| self.word(*i) == mark).count();
        let calls = targets
            .clone()
            .skip(1)
            .any(|index| self.word(index) == b"(" && self.is(index - 1, Kind::Name));
        (targets.clone().all(is_target) && count(b"(") == count(b")") && !calls).then_some(targets)
    }

    /// The tokens of `body` in outermost brackets that hold a comprehension: a scope of its own.
    fn comprehensions(&self, body: Range<usize>) -> impl Iterator<Item = usize> {
        let mut found = Vec::new();
        let (mut brackets, mut start) = (0usize, body.start);
        for index in body {
            match self.word(index) {
                b"(" | b"[" | b"{" => {
                    if brackets == 0 {
                        start = index;
                    }
                    brackets += 1;
                }
                b")" | b"]" | b"}" => {
                    brackets -= 1;
                    if brackets == 0 && (start..index).any(|index| self.word(index) == b"for") {
                        found.extend(start..index);
                    }
                }
                _ => {}
            }
        }
        found.into_iter()
    }

    /// `name=` in a call. (In an assignment to `a, name = ..` no bracket or comma follows a statement.)
    fn is_keyword_argument(&self, index: usize) -> bool {
        self.word(index + 1) == b"=" && matches!(self.word(index - 1), b"(" | b",") && {
            // In a call, the brackets around it are open: more close than open up to the line's end.
            let line =
                (index..).take_while(|i| *i < self.tokens.len() && !self.is(*i, Kind::Newline));
            line.fold(0i64, |depth, i| match self.word(i) {
                b"(" | b"[" | b"{" => depth + 1,
                b")" | b"]" | b"}" => depth - 1,
                _ => depth,
            }) < 0
        }
    }
}

fn is_mark(word: &[u8]) -> bool {
    matches!(word, b"," | b"(" | b")")
}

/// Where a function has one of these, its names are left alone: scopes within it, names of other
/// scopes, and what looks names up while it runs.
const NOT_PLAIN: [&[u8]; 11] = [
    b"def",
    b"class",
    b"lambda",
    b"global",
    b"nonlocal",
    b"exec",
    b"eval",
    b"locals",
    b"vars",
    b"dir",
    b"match",
];

const COMPOUND: [&[u8]; 10] =
    [b"if", b"elif", b"else", b"for", b"while", b"with", b"try", b"except", b"finally", b"async"];

/// In the order in which they are given out; the same few again and again compress best.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
