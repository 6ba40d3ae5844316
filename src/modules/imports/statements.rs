//! The statements of a source that run when it is imported, and what they import.
//!
//! Invariant: a statement is read once, and its suites are known by their depth alone, so that neither
//! depth nor length makes it slow. A name has a meaning only while nothing else can have been bound to it.
//! Not here: what a condition says (`condition`), which modules these are (`super`).

use super::condition::{Condition, LASTING, Meaning, Names, Operand, Reader, fact, outer};
use super::{Base, EXTENDING, Guard, Import, Imports};
use crate::modules::lexer::{Kind, Lexer, Token};

pub(super) struct Scanner<'a> {
    source: &'a [u8],
    found: Imports,
    names: Names<'a>,
    /// The suites that are open, the module itself first.
    suites: Vec<Suite>,
    /// Of the statement before: what is to be its suite.
    opening: Option<Suite>,
}

#[derive(Clone, Copy)]
struct Suite {
    /// On what its running depends.
    guard: Option<usize>,
    /// On what an `elif` or `else` would depend that comes next in it; else on the suite's.
    other: Option<usize>,
    place: Place,
}

/// Where a statement stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the outermost level: it runs once, in order.
    Outermost,
    /// In a suite of some statement that runs once.
    Inner,
    /// In a loop.
    Repeated,
    /// In a function, so that it does not run.
    Function,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Scanner {
            source,
            found: Imports::default(),
            names: Names(LASTING.into()),
            suites: vec![MODULE],
            opening: None,
        }
    }

    /// What is found up to the end, or up to where it does not lex.
    pub(super) fn scan(mut self) -> Imports {
        let (mut lexer, mut words) = (Lexer::new(self.source), Vec::new());
        while let Ok(Some(tokens)) = lexer.line() {
            words.clear();
            for token in tokens {
                match token.kind {
                    Kind::Comment => {}
                    Kind::Indent => {
                        let opening = self.opening.take();
                        self.suites.push(opening.unwrap_or(Suite { other: None, ..self.suite() }));
                    }
                    Kind::Dedent => self.close(),
                    Kind::Newline => self.line(&words),
                    _ => words.push(*token),
                }
            }
        }
        self.found
    }

    fn close(&mut self) {
        // The module's own is never closed: each dedent has its indent.
        if self.suites.len() > 1 {
            self.suites.pop();
        }
    }

    fn suite(&self) -> Suite {
        self.suites.last().copied().unwrap_or(MODULE)
    }

    /// Reads a logical line: a header with what follows it on the line, or simple statements.
    fn line(&mut self, words: &[Token]) {
        self.opening = None;
        let suite = self.suite();
        if suite.place == Place::Function {
            return self.forget_globals(words);
        }
        let Some(colon) = self.header(words) else {
            self.leave_chain(None);
            return self.simple(words, suite);
        };
        let place = if suite.place == Place::Outermost { Place::Inner } else { suite.place };
        let mut inside = Suite { guard: suite.guard, other: None, place };
        let test = words.get(1..colon).unwrap_or_default();
        let mut other = None;
        match self.word(words, 0) {
            keyword @ (b"if" | b"elif" | b"while") => {
                let base =
                    if keyword == b"elif" { suite.other.or(suite.guard) } else { suite.guard };
                let condition = self.reader(suite).condition(test);
                if keyword == b"while" {
                    inside.place = Place::Repeated;
                } else {
                    other = self.guard(base, &condition, false);
                }
                inside.guard = self.guard(base, &condition, true);
            }
            b"else" => inside.guard = suite.other.or(suite.guard),
            b"for" => inside.place = Place::Repeated,
            b"def" => inside.place = Place::Function,
            b"async" => match self.word(words, 1) {
                b"def" => inside.place = Place::Function,
                b"for" => inside.place = Place::Repeated,
                _ => {}
            },
            _ => {}
        }
        self.leave_chain(other);
        self.expression(&words[..colon], suite);
        self.bind_header(&words[..colon]);
        let rest = &words[colon + 1..];
        if rest.is_empty() {
            self.opening = Some(inside);
        } else if inside.place == Place::Function {
            self.forget_globals(rest);
        } else {
            self.simple(rest, inside);
        }
    }

    /// Notes on what an `else` in the innermost suite would depend.
    fn leave_chain(&mut self, other: Option<usize>) {
        if let Some(suite) = self.suites.last_mut() {
            suite.other = other;
        }
    }

    /// Where the header of a compound statement ends, if this is one: at its colon.
    fn header(&self, words: &[Token]) -> Option<usize> {
        if !HEADERS.contains(&self.word(words, 0)) {
            return None;
        }
        let mut lambdas = 0usize;
        for (at, word) in outer(self.source, words) {
            match word {
                b"lambda" => lambdas += 1,
                b":" if lambdas == 0 => return Some(at),
                b":" => lambdas -= 1,
                // `match` and `case` are names too, as `async` once was: `case = 1`.
                b"=" if lambdas == 0 => return None,
                _ => {}
            }
        }
        None
    }

    /// What depends on a condition as well, in a suite that depends on `parent`.
    fn guard(
        &mut self,
        parent: Option<usize>,
        condition: &Condition,
        holds: bool,
    ) -> Option<usize> {
        if *condition == Condition::Unknown {
            return parent;
        }
        self.found.guards.push(Guard { parent, condition: condition.clone(), holds });
        Some(self.found.guards.len() - 1)
    }

    /// Reads simple statements with semicolons between them.
    fn simple(&mut self, words: &[Token], suite: Suite) {
        let mut start = 0;
        let ends = outer(self.source, words).filter(|(_, word)| *word == b";").map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain([words.len()]).collect();
        for end in ends {
            let statement = &words[start..end];
            start = end + 1;
            match self.word(statement, 0) {
                b"import" => self.import(&statement[1..], suite),
                b"from" => self.import_from(&statement[1..], suite),
                b"del" | b"global" => self.forget(statement),
                _ => {
                    self.expression(statement, suite);
                    self.assignment(statement, suite);
                }
            }
        }
    }

    /// `a.b as c, d`
    fn import(&mut self, words: &[Token], suite: Suite) {
        let mut at = 0;
        while let Some((module, end)) = self.dotted(words, at) {
            let top = words[at].text(self.source);
            at = end;
            let (bound, module_bound) = match (self.word(words, at), words.get(at + 1)) {
                (b"as", Some(name)) => {
                    at += 2;
                    (name.text(self.source), &module[..])
                }
                _ => (top, std::str::from_utf8(top).unwrap_or_default()),
            };
            let meaning = match module_bound {
                "sys" => Meaning::Sys,
                "os" => Meaning::Os,
                _ => Meaning::Unknown,
            };
            self.bind(bound, meaning, suite);
            self.add(Import {
                base: Base::Top,
                module,
                names: vec![],
                star: false,
                guard: suite.guard,
            });
            if self.word(words, at) != b"," {
                break;
            }
            at += 1;
        }
    }

    /// `..p.q import (a, b as c,)`
    fn import_from(&mut self, words: &[Token], suite: Suite) {
        let (mut at, mut level) = (0, 0);
        loop {
            level += match self.word(words, at) {
                b"." => 1,
                b"..." => 3,
                _ => break,
            };
            at += 1;
        }
        let (module, end) = self.dotted(words, at).unwrap_or((String::new(), at));
        if self.word(words, end) != b"import" || level == 0 && module.is_empty() {
            return;
        }
        at = end + 1;
        let base = if level == 0 { Base::Top } else { Base::Package(level - 1) };
        let mut import = Import { base, module, names: vec![], star: false, guard: suite.guard };
        if self.word(words, at) == b"*" {
            import.star = true;
            // It may bind any name, though none that people know by heart.
            self.forget_flags();
            return self.add(import);
        }
        if self.word(words, at) == b"(" {
            at += 1;
        }
        while let Some(name) = words.get(at).filter(|word| word.kind == Kind::Name) {
            let name = name.text(self.source);
            self.found.extends |= EXTENDING.contains(&name);
            let mut bound = name;
            at += 1;
            if let (b"as", Some(other)) = (self.word(words, at), words.get(at + 1)) {
                bound = other.text(self.source);
                at += 2;
            }
            let meaning = match &import.module[..] {
                _ if name == b"TYPE_CHECKING" => Meaning::Flag(Condition::Always(false)),
                "sys" => of_module(&Meaning::Sys, name),
                "os" => of_module(&Meaning::Os, name),
                _ => Meaning::Unknown,
            };
            self.bind(bound, meaning, suite);
            import.names.extend(String::from_utf8(name.to_vec()));
            if self.word(words, at) != b"," {
                break;
            }
            at += 1;
        }
        if import.module == "__future__" && level == 0 {
            self.found.absolute |= import.names.iter().any(|name| name == "absolute_import");
        }
        self.add(import);
    }

    fn add(&mut self, import: Import) {
        self.found.imports.push(import);
    }

    /// The dotted name that begins `at`, and where it ends; none if it is no UTF-8.
    fn dotted(&self, words: &[Token], at: usize) -> Option<(String, usize)> {
        let mut name = Vec::new();
        let mut at = at;
        loop {
            let part = words.get(at).filter(|word| word.kind == Kind::Name)?.text(self.source);
            if part == b"import" {
                return None;
            }
            name.extend_from_slice(part);
            at += 1;
            if self.word(words, at) != b"." {
                break;
            }
            name.push(b'.');
            at += 1;
        }
        Some((String::from_utf8(name).ok()?, at))
    }

    /// Finds `__import__("x")` and `importlib.import_module("x")`, and names that an expression binds.
    fn expression(&mut self, words: &[Token], suite: Suite) {
        for (at, token) in words.iter().enumerate() {
            if token.kind == Kind::String {
                continue;
            }
            let before = |back| at.checked_sub(back).map_or(&b""[..], |at| self.word(words, at));
            match token.text(self.source) {
                // It may never be called. How far its body goes matters to nobody.
                b"lambda" => return,
                b":=" => {
                    let name = before(1);
                    self.bind(name, Meaning::Unknown, suite);
                }
                b"as" => {
                    let is_one = words.get(at + 1).is_some_and(|word| word.kind == Kind::Name);
                    let count = if is_one { 1 } else { MAX_TARGETS };
                    self.forget(words[at + 1..].get(..count).unwrap_or(&words[at + 1..]));
                }
                b"for" => {
                    let targets = words[at + 1..].iter().take(MAX_TARGETS);
                    let end = targets.take_while(|word| word.text(self.source) != b"in").count();
                    self.forget(&words[at + 1..at + 1 + end]);
                }
                b"globals" | b"locals" | b"vars" | b"exec" => self.forget_flags(),
                name if EXTENDING.contains(&name) => self.found.extends = true,
                function @ (b"import_module" | b"__import__") => {
                    let is_it = match before(1) {
                        b"." => function == b"import_module" && before(2) == b"importlib",
                        other => other != b"def",
                    };
                    let import = self.call(function, &words[at + 1..], suite);
                    self.found.imports.extend(import.filter(|_| is_it));
                }
                _ => {}
            }
        }
    }

    /// What a call with these arguments imports: `("x")`, `(".x", __package__)`.
    fn call(&self, function: &[u8], words: &[Token], suite: Suite) -> Option<Import> {
        let name = words.get(1).filter(|_| self.word(words, 0) == b"(")?;
        let name = self.reader(suite).string(name)?;
        let module = name.trim_start_matches('.');
        let level = name.len() - module.len();
        let arguments = match self.word(words, 2) {
            b")" => &[],
            b"," => &words[3..words.len().min(MAX_ARGUMENTS)],
            _ => return None,
        };
        let has = |wanted: &dyn Fn(&Token) -> bool| arguments.iter().any(wanted);
        let is_plain = match (function, level) {
            (b"import_module", 0) => true,
            (b"import_module", _) => {
                has(&|word| matches!(word.text(self.source), b"__package__" | b"__name__"))
            }
            // A level makes it relative to who calls.
            _ => {
                level == 0
                    && !has(&|word| word.kind == Kind::Number || word.text(self.source) == b"level")
            }
        };
        let is_name = !module.is_empty() && module.split('.').all(|part| !part.is_empty());
        (is_plain && is_name).then(|| Import {
            base: level.checked_sub(1).map_or(Base::Top, Base::Package),
            module: module.to_owned(),
            names: vec![],
            star: false,
            guard: suite.guard,
        })
    }

    /// Reads `x = y`, and forgets what else is assigned to.
    fn assignment(&mut self, words: &[Token], suite: Suite) {
        let mut signs = outer(self.source, words).filter(|(_, word)| is_assignment(word));
        let Some((first, sign)) = signs.next() else { return };
        let last = signs.last().map_or(first, |(last, _)| last);
        let name = self.word(words, 0);
        let is_single = first == last && (first == 1 || self.word(words, 1) == b":");
        if name == b"__all__" && is_single && matches!(sign, b"=" | b"+=") {
            self.export(&words[first + 1..]);
        }
        if is_single && sign == b"=" && suite.place == Place::Outermost {
            let meaning = self.reader(suite).meaning(&words[first + 1..]);
            return self.bind(name, meaning, suite);
        }
        for at in 0..last {
            let is_attribute = at > 0 && self.word(words, at - 1) == b".";
            if is_attribute || words[at].kind != Kind::Name {
                continue;
            }
            let name = self.word(words, at);
            let is_bound = match self.word(words, at + 1) {
                b"[" | b"(" => false,
                // Who sets `sys.platform` means it.
                b"." => self
                    .names
                    .get(name)
                    .is_some_and(|meaning| fact(meaning, self.word(words, at + 2)).is_some()),
                _ => true,
            };
            if is_bound {
                self.bind(name, Meaning::Unknown, suite);
            }
        }
    }

    /// Notes the strings that are an item each of a list or tuple.
    fn export(&mut self, words: &[Token]) {
        let reader = self.reader(MODULE);
        let (mut depth, mut exports) = (0usize, Vec::new());
        for (at, token) in words.iter().enumerate() {
            match token.text(self.source) {
                b"(" | b"[" | b"{" => depth += 1,
                b")" | b"]" | b"}" => depth = depth.saturating_sub(1),
                _ if depth > 1 => {}
                _ => {
                    let before = at.checked_sub(1).map_or(&b""[..], |at| self.word(words, at));
                    let begins = matches!(before, b"(" | b"[" | b"," | b"");
                    let ends = matches!(self.word(words, at + 1), b")" | b"]" | b"," | b"");
                    exports.extend(reader.string(token).filter(|_| begins && ends));
                }
            }
        }
        self.found.exports.append(&mut exports);
    }

    /// Notes what a name means from here on.
    fn bind(&mut self, name: &'a [u8], meaning: Meaning, suite: Suite) {
        let room = self.names.0.len() < MAX_NAMES;
        match self.names.get_mut(name) {
            Some(known) if suite.place == Place::Outermost => *known = meaning,
            Some(known) if *known != meaning => *known = Meaning::Unknown,
            Some(_) => {}
            None if suite.place == Place::Outermost && meaning != Meaning::Unknown && room => {
                self.names.0.push((name, meaning));
            }
            None => {}
        }
    }

    /// Binds what the header of a compound statement does, beside what is in its expressions.
    fn bind_header(&mut self, words: &[Token]) {
        match self.word(words, 0) {
            b"def" | b"class" => self.forget(words.get(1..2).unwrap_or_default()),
            b"async" => self.forget(words.get(2..3).unwrap_or_default()),
            // `except E, e` is Python 2's.
            b"case" | b"except" => self.forget(&words[1..]),
            _ => {}
        }
    }

    /// Of these names it is no longer known what they mean.
    fn forget(&mut self, names: &[Token]) {
        for name in names {
            if let Some(known) = self.names.get_mut(name.text(self.source)) {
                *known = Meaning::Unknown;
            }
        }
    }

    fn forget_globals(&mut self, words: &[Token]) {
        let is_global = |word: &Token| word.text(self.source) == b"global";
        if let Some(at) = words.iter().position(is_global) {
            self.forget(&words[at + 1..]);
        }
    }

    /// Any name may have been bound but those that no source binds to another thing.
    fn forget_flags(&mut self) {
        for (_, meaning) in &mut self.names.0 {
            let is_flag = matches!(meaning, Meaning::Flag(_) | Meaning::Operand(_));
            if is_flag && !LASTING.iter().any(|(_, lasting)| lasting == meaning) {
                *meaning = Meaning::Unknown;
            }
        }
    }

    fn reader(&self, suite: Suite) -> Reader<'a, '_> {
        let repeats = suite.place == Place::Repeated;
        Reader { source: self.source, names: &self.names, repeats }
    }

    fn word(&self, words: &[Token], index: usize) -> &'a [u8] {
        words.get(index).map_or(b"", |word| word.text(self.source))
    }
}

fn of_module(module: &Meaning, attribute: &[u8]) -> Meaning {
    fact(module, attribute).map_or(Meaning::Unknown, |fact| Meaning::Operand(Operand::Fact(fact)))
}

/// No other token ends so but comparisons.
fn is_assignment(word: &[u8]) -> bool {
    word.ends_with(b"=") && !matches!(word, b"==" | b"!=" | b"<=" | b">=" | b":=")
}

const MODULE: Suite = Suite { guard: None, other: None, place: Place::Outermost };

/// What begins a statement with a suite.
const HEADERS: [&[u8]; 14] = [
    b"if", b"elif", b"else", b"for", b"while", b"with", b"try", b"except", b"finally", b"def",
    b"class", b"async", b"match", b"case",
];

/// How many names may have a meaning at once; a source has a few.
const MAX_NAMES: usize = 100;

/// No more names are bound by one `for` or `as`.
const MAX_TARGETS: usize = 100;

/// As many words of a call are looked at.
const MAX_ARGUMENTS: usize = 30;
