//! Makes Python source small without moving a statement to another line.
//!
//! Invariant: the result has the syntax tree of the source, docstrings aside, and each statement has the
//! line that it had; so a traceback out of minified code points into the readable file.
//! Dropped are comments, docstrings, and blanks that separate nothing; a suite is indented by one space
//! for each level. An encoding cookie and a byte order mark stay.
//! Not in the library: build.rs minifies `bootstrap/` with it, and tests/minify.rs asks real Pythons.

use super::lexer::{BOM, Kind, LexError, Token, string_prefix, tokens};

/// The small form of `source`. Ends with a newline if it has any line at all.
pub(crate) fn minify(source: &[u8]) -> Result<Vec<u8>, LexError> {
    let all = tokens(source)?;
    let mut writer = Writer { source, out: Vec::new(), line: 1, depth: 0, level: 0, last: None };
    if source.starts_with(BOM) {
        writer.out.extend_from_slice(BOM);
    }
    for comment in all.iter().take_while(|token| token.kind == Kind::Comment && token.line <= 2) {
        if is_cookie(comment.text(source)) {
            writer.write(comment);
            writer.end_line();
        }
    }
    let code: Vec<Token> = all.into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let mut at = 0;
    let mut suite_of = SuiteOf::Definition; // a module's first string is its docstring
    while at < code.len() {
        match code[at].kind {
            Kind::Indent => {
                writer.level += 1;
                at += 1;
            }
            Kind::Dedent => {
                writer.level -= 1;
                at += 1;
            }
            _ => {
                let length = code[at..].iter().take_while(|t| t.kind != Kind::Newline).count();
                let line = &code[at..at + length];
                at += length + 1; // and its newline
                // `suite_of` stays after one: the string after a docstring would become it.
                let docstring = match suite_of {
                    SuiteOf::Definition => docstring(source, line),
                    SuiteOf::Other => 0,
                };
                let suite_ends = code.get(at).is_none_or(|next| next.kind == Kind::Dedent);
                if docstring == line.len() {
                    if suite_ends && writer.level > 0 {
                        writer.write_as(&line[0], b"pass");
                        writer.end_line();
                    }
                    continue;
                }
                suite_of = writer.statement(&line[docstring..]);
            }
        }
    }
    Ok(writer.out)
}

/// What the next line may be the first of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SuiteOf {
    /// A module, class or function: a string there is a docstring.
    Definition,
    /// Anything else, or it is not the first.
    Other,
}

struct Writer<'a> {
    source: &'a [u8],
    out: Vec<u8>,
    /// The line that the next byte is written to.
    line: usize,
    /// How many brackets are open.
    depth: usize,
    /// How many suites are open.
    level: usize,
    /// The token before, on the same logical line.
    last: Option<Token>,
}

impl Writer<'_> {
    /// Writes one logical line, and says whose suite the next one begins.
    fn statement(&mut self, line: &[Token]) -> SuiteOf {
        let header = self.definition_header(line);
        for (index, token) in line.iter().enumerate() {
            self.write(token);
            if Some(index) != header {
                continue;
            }
            let suite = &line[index + 1..];
            if suite.is_empty() {
                self.end_line();
                return SuiteOf::Definition;
            }
            // The suite is on the line of its header.
            let docstring = docstring(self.source, suite);
            if docstring == suite.len() {
                self.write_as(&suite[0], b"pass");
            }
            for token in &suite[docstring..] {
                self.write(token);
            }
            break;
        }
        self.end_line();
        SuiteOf::Other
    }

    /// Where the colon is that ends the header of a class or function, if the line begins with one.
    fn definition_header(&self, line: &[Token]) -> Option<usize> {
        let text = |token: &Token| token.text(self.source);
        let keyword = line.iter().map(text).find(|text| *text != b"async");
        if !matches!(keyword, Some(b"def" | b"class")) {
            return None;
        }
        let mut depth = 0usize;
        line.iter().position(|token| {
            if token.kind != Kind::Op {
                return false;
            }
            match text(token) {
                b"(" | b"[" | b"{" => depth += 1,
                b")" | b"]" | b"}" => depth -= 1,
                b":" if depth == 0 => return true,
                _ => {}
            }
            false
        })
    }

    fn write(&mut self, token: &Token) {
        self.write_as(token, token.text(self.source));
        self.line = token.end_line;
    }

    /// Writes `text`, of one line, where `token` begins, with what must stand before it.
    fn write_as(&mut self, token: &Token, text: &[u8]) {
        let continuation: &[u8] = match (self.last, self.depth) {
            (None, _) | (_, 1..) => b"\n",
            (Some(_), 0) => b"\\\n",
        };
        let moved = token.line - self.line;
        for _ in 0..moved {
            self.out.extend_from_slice(continuation);
        }
        match self.last {
            None => self.out.extend(std::iter::repeat_n(b' ', self.level)),
            Some(last) if moved == 0 && self.must_part(&last, token) => self.out.push(b' '),
            Some(_) => {}
        }
        self.out.extend_from_slice(text);
        if token.kind == Kind::Op {
            match text {
                b"(" | b"[" | b"{" => self.depth += 1,
                b")" | b"]" | b"}" => self.depth -= 1,
                _ => {}
            }
        }
        self.line = token.line;
        self.last = Some(*token);
    }

    fn end_line(&mut self) {
        self.out.push(b'\n');
        self.line += 1;
        self.last = None;
    }

    /// Whether two tokens would become others if nothing stood between them.
    fn must_part(&self, last: &Token, next: &Token) -> bool {
        let (before, after) = (last.text(self.source), next.text(self.source));
        match (last.kind, next.kind) {
            (Kind::Name | Kind::Number, Kind::Name | Kind::Number) => !after.starts_with(b"."),
            // `1 .real`, and `1 if`, above: Python 3.12 warns of `1if`.
            (Kind::Number, Kind::Op) => after.starts_with(b"."),
            // The name must not join the string's prefix, nor become one.
            (Kind::Name, Kind::String) => {
                after[0].is_ascii_alphabetic()
                    || before.iter().all(|b| b"rbuft".contains(&b.to_ascii_lowercase()))
            }
            // `"" "a"` without the blank opens a triple quote.
            (Kind::String, Kind::String) => true,
            _ => false,
        }
    }
}

/// How many tokens at the head of a suite's first line are docstrings, with their semicolons.
fn docstring(source: &[u8], line: &[Token]) -> usize {
    let is_text = |token: &&Token| {
        token.kind == Kind::String
            && matches!(&string_prefix(token.text(source))[..], b"" | b"r" | b"u" | b"ur")
    };
    let mut length = 0;
    loop {
        let strings = line[length..].iter().take_while(is_text).count();
        match line.get(length + strings) {
            _ if strings == 0 => return length,
            None => return line.len(),
            Some(next) if next.text(source) == b";" => length += strings + 1,
            Some(_) => return length, // an expression that begins with a string
        }
    }
}

/// Whether a comment in the first two lines tells Python the encoding, by the rule of PEP 263.
fn is_cookie(comment: &[u8]) -> bool {
    let mut windows = comment.windows(7);
    windows.any(|window| window.starts_with(b"coding") && matches!(window[6], b':' | b'='))
}
