//! A lexer for Python source, of any version, over bytes: where each token begins and ends.
//!
//! Invariant: total. Any bytes give tokens or an error with its line, without a panic and without deep
//! recursion. What lexes under some Python lexes here, to the same tokens; some of what no Python takes
//! passes too, for that is found by the Python that compiles it.
//! Not here: what an encoding cookie means. Bytes from 0x80 up count as letters, which holds for every
//! encoding that Python accepts for source. The file knows nothing of the crate: build.rs uses it too.

use std::fmt;

/// One token: `start..end` are its bytes, `line` and `end_line` where these are, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) line: usize,
    pub(crate) end_line: usize,
}

/// What a token is. `Newline`, `Indent` and `Dedent` have no bytes of their own: a newline stands at the
/// end of its logical line, the other two before the first token of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or a keyword.
    Name,
    Number,
    /// A string with its prefix and quotes; of an f-string everything up to its end.
    String,
    /// An operator, a bracket or another mark, as long as it goes: `**=` is one.
    Op,
    /// From `#` to the end of the line.
    Comment,
    /// The end of a logical line that has tokens other than comments.
    Newline,
    Indent,
    Dedent,
}

impl Token {
    /// The bytes of the token in the source that it was made from.
    pub(crate) fn text<'a>(&self, source: &'a [u8]) -> &'a [u8] {
        &source[self.start..self.end]
    }
}

/// Why bytes are not Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LexError {
    pub(crate) line: usize,
    pub(crate) reason: &'static str,
}

impl fmt::Display for LexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// All tokens of `source`, in order. A last line without a newline gets its `Newline` all the same, and
/// every `Indent` has its `Dedent`.
pub(crate) fn tokens(source: &[u8]) -> Result<Vec<Token>, LexError> {
    let (mut lexer, mut tokens) = (Lexer::new(source), Vec::new());
    while let Some(line) = lexer.line()? {
        tokens.extend_from_slice(line);
    }
    Ok(tokens)
}

/// The byte order mark that may precede source in UTF-8.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// The prefix of a string token in lower case: `b""`, `b"rb"`.
pub(crate) fn string_prefix(text: &[u8]) -> Vec<u8> {
    text.iter().take_while(|b| !matches!(b, b'"' | b'\'')).map(u8::to_ascii_lowercase).collect()
}

/// Takes one logical line after the other, for who needs no more of the tokens at once.
pub(crate) struct Lexer<'a> {
    source: &'a [u8],
    pos: usize,
    line: usize,
    /// Those of the logical line in hand.
    tokens: Vec<Token>,
    /// The closing byte and the line of each bracket that is open.
    brackets: Vec<(u8, usize)>,
    /// The columns of the suites that are open, outermost first.
    indents: Vec<usize>,
    /// The column that the logical line begins at.
    column: usize,
    /// Whether nothing but blanks has come since the logical line began.
    fresh: bool,
    /// Whether blanks still count towards `column`.
    indenting: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(source: &'a [u8]) -> Self {
        let pos = if source.starts_with(BOM) { BOM.len() } else { 0 };
        let (tokens, brackets, indents) = (Vec::new(), Vec::new(), Vec::new());
        let (line, column, fresh, indenting) = (1, 0, true, true);
        Lexer { source, pos, line, tokens, brackets, indents, column, fresh, indenting }
    }

    /// The tokens up to the next `Newline`, those of the suites and comments before it included; after
    /// the last of these what is left, then nothing.
    pub(crate) fn line(&mut self) -> Result<Option<&[Token]>, LexError> {
        self.tokens.clear();
        while self.pos < self.source.len() {
            self.step()?;
            if self.tokens.last().is_some_and(|token| token.kind == Kind::Newline) {
                return Ok(Some(&self.tokens));
            }
        }
        self.finish()?;
        Ok((!self.tokens.is_empty()).then_some(&self.tokens))
    }

    /// Takes one token, blank, newline or continuation; there is at least one byte left.
    fn step(&mut self) -> Result<(), LexError> {
        let (start, line) = (self.pos, self.line);
        match self.source[start] {
            b'\n' | b'\r' => {
                self.newline();
                if self.brackets.is_empty() {
                    self.end_line(start, line);
                }
                return Ok(());
            }
            b'\\' => {
                self.pos += 1;
                // Blanks after it are an error in Python too. The indentation of a line is what stands
                // before its first backslash.
                return match self.peek(0) {
                    Some(b'\n' | b'\r') => {
                        self.newline();
                        if self.pos == self.source.len() {
                            return self.fail(line, "the file ends in a continued line");
                        }
                        self.indenting = false;
                        Ok(())
                    }
                    _ => self.fail(line, "a backslash within a line"),
                };
            }
            b' ' | b'\t' | b'\x0c' => {
                self.blanks();
                return Ok(());
            }
            b'#' => {
                self.comment();
                self.push(Kind::Comment, start, line);
                return Ok(());
            }
            _ => {}
        }
        self.begin_line()?;
        let kind = self.token()?;
        self.push(kind, start, line);
        Ok(())
    }

    /// Takes all blanks that stand here.
    fn blanks(&mut self) {
        while let Some(blank @ (b' ' | b'\t' | b'\x0c')) = self.peek(0) {
            self.pos += 1;
            if self.indenting {
                self.column = match blank {
                    b' ' => self.column + 1,
                    b'\t' => (self.column / 8 + 1) * 8,
                    _ => 0,
                };
            }
        }
    }

    /// Takes a name, number, string or operator.
    fn token(&mut self) -> Result<Kind, LexError> {
        let first = self.source[self.pos];
        if is_name_start(first) {
            if let Some(kind) = self.string(0)? {
                return Ok(kind);
            }
            self.name();
            return Ok(Kind::Name);
        }
        if first.is_ascii_digit()
            || first == b'.' && self.peek(1).is_some_and(|b| b.is_ascii_digit())
        {
            self.number();
            return Ok(Kind::Number);
        }
        if let Some(kind) = self.string(0)? {
            return Ok(kind);
        }
        match first {
            b'(' => self.brackets.push((b')', self.line)),
            b'[' => self.brackets.push((b']', self.line)),
            b'{' => self.brackets.push((b'}', self.line)),
            b')' | b']' | b'}' => match self.brackets.pop() {
                Some((closing, _)) if closing == first => {}
                Some(_) => return self.fail(self.line, "a bracket closes one of another kind"),
                None => return self.fail(self.line, "a bracket closes none"),
            },
            _ => {}
        }
        let length = operator_length(&self.source[self.pos..]);
        if length == 0 {
            return self.fail(self.line, "a byte that begins nothing in Python");
        }
        self.pos += length;
        Ok(Kind::Op)
    }

    /// Ends what the end of the file ends, once.
    fn finish(&mut self) -> Result<(), LexError> {
        if let Some(&(_, line)) = self.brackets.last() {
            return self.fail(line, "a bracket is never closed");
        }
        self.end_line(self.pos, self.line);
        for _ in std::mem::take(&mut self.indents) {
            self.push(Kind::Dedent, self.pos, self.line);
        }
        Ok(())
    }

    fn push(&mut self, kind: Kind, start: usize, line: usize) {
        self.tokens.push(Token { kind, start, end: self.pos, line, end_line: self.line });
    }

    /// Opens or closes suites if the token to come is the first of its logical line.
    fn begin_line(&mut self) -> Result<(), LexError> {
        if !std::mem::take(&mut self.fresh) {
            return Ok(());
        }
        self.indenting = false;
        let column = self.column;
        if column > self.indents.last().copied().unwrap_or(0) {
            self.indents.push(column);
            self.push(Kind::Indent, self.pos, self.line);
        }
        while self.indents.last().is_some_and(|&indent| column < indent) {
            self.indents.pop();
            self.push(Kind::Dedent, self.pos, self.line);
        }
        if column != self.indents.last().copied().unwrap_or(0) {
            return self.fail(self.line, "the indentation matches no line above");
        }
        Ok(())
    }

    /// Ends the logical line whose last byte is before `end`; blank ones leave no token.
    fn end_line(&mut self, end: usize, line: usize) {
        if !self.fresh {
            let (start, end_line) = (end, line);
            self.tokens.push(Token { kind: Kind::Newline, start, end, line, end_line });
        }
        (self.column, self.fresh, self.indenting) = (0, true, true);
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.get(self.pos + ahead).copied()
    }

    /// Takes one end of line, of any of the three kinds.
    fn newline(&mut self) {
        self.pos += if self.source[self.pos..].starts_with(b"\r\n") { 2 } else { 1 };
        self.line += 1;
    }

    fn comment(&mut self) {
        let rest = &self.source[self.pos..];
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        self.pos += rest.iter().position(is_end).unwrap_or(rest.len());
    }

    fn name(&mut self) {
        let rest = &self.source[self.pos..];
        self.pos += rest.iter().position(|byte| !is_name_part(*byte)).unwrap_or(rest.len());
    }

    /// Takes a number with all that adheres to it: `0x1fL`, `1_0.5e-3j`.
    fn number(&mut self) {
        let start = self.pos;
        while let Some(byte) = self.peek(0) {
            let literal = &self.source[start..self.pos];
            let power = matches!(literal.last(), Some(b'e' | b'E')) && !has_radix(literal);
            let goes_on = match byte {
                b'+' | b'-' => power && self.peek(1).is_some_and(|b| b.is_ascii_digit()),
                b'.' => literal.iter().all(|b| b.is_ascii_digit() || *b == b'_'),
                // `1if x` and `0or 1`: the keyword is a token of its own, except where it can be
                // read as digits (`0xfor`), as Python does.
                b'a'..=b'z' | b'A'..=b'Z' => {
                    !self.keyword_follows() || self.reads_as_digit(literal)
                }
                _ => byte.is_ascii_digit() || byte == b'_',
            };
            if !goes_on {
                break;
            }
            self.pos += 1;
        }
    }

    /// Whether one of the keywords that can follow a number stands here.
    fn keyword_follows(&self) -> bool {
        let rest = &self.source[self.pos..];
        // No further than the longest and a letter: this is asked at every letter of a number.
        let length = rest.iter().take(5).take_while(|b| is_name_part(**b)).count();
        [&b"and"[..], b"else", b"for", b"if", b"in", b"is", b"not", b"or"]
            .contains(&&rest[..length])
    }

    fn reads_as_digit(&self, literal: &[u8]) -> bool {
        let hexadecimal = literal.starts_with(b"0x") || literal.starts_with(b"0X");
        hexadecimal && self.source[self.pos].is_ascii_hexdigit()
    }

    /// Takes a string if one begins here, with its prefix. `depth` counts the f-strings around it.
    fn string(&mut self, depth: usize) -> Result<Option<Kind>, LexError> {
        let rest = &self.source[self.pos..];
        // Most names are told from a prefix by their first letter.
        let may_begin =
            |byte| matches!(byte | 0x20, b'"' | b'\'' | b'b' | b'f' | b'r' | b't' | b'u');
        if !rest.first().is_some_and(|byte| may_begin(*byte)) {
            return Ok(None);
        }
        // No prefix has more than two letters.
        let Some(length) = rest.iter().take(3).position(|b| matches!(b, b'"' | b'\'')) else {
            return Ok(None);
        };
        let prefix = rest[..length].to_ascii_lowercase();
        if !PREFIXES.contains(&&prefix[..]) {
            return Ok(None);
        }
        let quote = rest[length];
        let triple = rest[length..].starts_with(&[quote; 3]);
        let string = Open {
            quote,
            triple,
            raw: prefix.contains(&b'r'),
            fields: prefix.contains(&b'f') || prefix.contains(&b't'),
            line: self.line,
            depth,
        };
        if depth > MAX_NESTED_STRINGS {
            return self.fail(self.line, "f-strings are nested too deeply");
        }
        self.pos += length + if triple { 3 } else { 1 };
        self.text(&string, false)?;
        self.pos += if triple { 3 } else { 1 };
        Ok(Some(Kind::String))
    }

    /// Takes the text of a string up to its closing quotes; in a format specification (`in_field`) up
    /// to the brace that ends it, or up to the quotes where there is none.
    fn text(&mut self, string: &Open, in_field: bool) -> Result<(), LexError> {
        let closing = [string.quote; 3];
        // Most of a text is of bytes that mean nothing in it.
        let means = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\\' | b'\n' | b'\r' | b'{' | b'}');
        loop {
            let rest = &self.source[self.pos..];
            let Some(skipped) = rest.iter().position(means) else { break };
            self.pos += skipped;
            match rest[skipped] {
                quote if quote == string.quote => {
                    if !string.triple || rest[skipped..].starts_with(&closing) {
                        return Ok(());
                    }
                    self.pos += 1;
                }
                b'\\' => self.escape(string),
                b'\n' | b'\r' if !string.triple => {
                    return self.fail(string.line, "a string is not closed on its line");
                }
                b'\n' | b'\r' => self.newline(),
                b'}' if in_field => return Ok(()),
                b'{' if string.fields && self.peek(1) == Some(b'{') && !in_field => self.pos += 2,
                b'{' if string.fields => self.field(string)?,
                _ => self.pos += 1,
            }
        }
        self.fail(string.line, "a string is never closed")
    }

    /// Takes a backslash in a string, and what it takes the meaning of.
    fn escape(&mut self, string: &Open) {
        self.pos += 1;
        match self.peek(0) {
            Some(b'\n' | b'\r') => self.newline(),
            // A brace is never escaped so; the field that it opens is still one.
            Some(b'{' | b'}') if string.fields => {}
            Some(b'N') if string.fields && !string.raw && self.peek(1) == Some(b'{') => {
                self.pos += 2
            }
            Some(_) => self.pos += 1,
            None => {}
        }
    }

    /// Takes a replacement field of an f-string, braces included: an expression, which since 3.12 may
    /// hold any quotes and lines, and a specification, which is text with fields of its own.
    fn field(&mut self, string: &Open) -> Result<(), LexError> {
        let line = self.line;
        let outer = Open { depth: string.depth + 1, ..*string };
        if outer.depth > MAX_NESTED_STRINGS {
            return self.fail(line, "f-strings are nested too deeply");
        }
        self.pos += 1;
        let mut brackets = 0usize;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'}' if brackets == 0 => {
                    self.pos += 1;
                    return Ok(());
                }
                b':' if brackets == 0 => {
                    self.pos += 1;
                    self.text(&outer, true)?;
                    if self.peek(0) != Some(b'}') {
                        return self.fail(line, "a field of an f-string is not closed");
                    }
                }
                b'(' | b'[' | b'{' => {
                    brackets += 1;
                    self.pos += 1;
                }
                b')' | b']' | b'}' => {
                    brackets = brackets.saturating_sub(1);
                    self.pos += 1;
                }
                b'#' => self.comment(),
                b'\n' | b'\r' => self.newline(),
                _ if self.string(outer.depth)?.is_some() => {}
                _ if is_name_part(byte) => self.name(),
                _ => self.pos += 1,
            }
        }
        self.fail(line, "a field of an f-string is never closed")
    }

    fn fail<T>(&self, line: usize, reason: &'static str) -> Result<T, LexError> {
        Err(LexError { line, reason })
    }
}

/// A string whose end is looked for.
#[derive(Clone, Copy)]
struct Open {
    quote: u8,
    triple: bool,
    raw: bool,
    /// Whether braces mean anything: an f-string or a t-string.
    fields: bool,
    line: usize,
    depth: usize,
}

fn is_name_start(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic() || byte >= 0x80
}

fn is_name_part(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | 0x80..)
}

fn has_radix(literal: &[u8]) -> bool {
    literal.len() > 1 && literal[0] == b'0' && matches!(literal[1] | 0x20, b'x' | b'o' | b'b')
}

/// How long the operator is that begins here, as long as it goes; 0 if none does.
fn operator_length(rest: &[u8]) -> usize {
    let first = rest.first().copied().unwrap_or(0);
    let second = rest.get(1).copied().unwrap_or(0);
    let third = rest.get(2).copied().unwrap_or(0);
    match (first, second) {
        (b'*' | b'/' | b'<' | b'>', _) if second == first => 2 + usize::from(third == b'='),
        (b'.', b'.') if third == b'.' => 3,
        (b'<', b'>') | (b'-', b'>') => 2,
        (
            b'<' | b'>' | b'=' | b'!' | b':' | b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|'
            | b'^' | b'@',
            b'=',
        ) => 2,
        (
            b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'~' | b'<' | b'>' | b'('
            | b')' | b'[' | b']' | b'{' | b'}' | b',' | b':' | b'.' | b';' | b'@' | b'=' | b'`',
            _,
        ) => 1,
        _ => 0,
    }
}

/// In lower case. `ur` is Python 2's, those with `t` came with 3.14.
const PREFIXES: [&[u8]; 13] =
    [b"", b"r", b"u", b"b", b"f", b"t", b"ur", b"br", b"rb", b"fr", b"rf", b"tr", b"rt"];

/// CPython stops at 150; each costs a little of the stack.
const MAX_NESTED_STRINGS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens, each as its text, the others as `NL`, `IN` and `DE`.
    fn lex(source: &str) -> String {
        let source = source.as_bytes();
        let show = |token: &Token| match token.kind {
            Kind::Newline => "NL".to_owned(),
            Kind::Indent => "IN".to_owned(),
            Kind::Dedent => "DE".to_owned(),
            _ => String::from_utf8_lossy(token.text(source)).into_owned(),
        };
        tokens(source).unwrap().iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn error(source: &[u8]) -> String {
        tokens(source).unwrap_err().to_string()
    }

    #[test]
    fn operators_are_as_long_as_they_go() {
        assert_eq!(lex("a**=b//c<>d->e:=f...g"), "a **= b // c <> d -> e := f ... g NL");
        assert_eq!(lex("x[1:-1]@y!=`z`"), "x [ 1 : - 1 ] @ y != ` z ` NL");
    }

    #[test]
    fn numbers_end_where_pythons_do() {
        assert_eq!(
            lex("0x1FL 1_0.5e-3j 1.e5 .5J 0o17 1e+5"),
            "0x1FL 1_0.5e-3j 1.e5 .5J 0o17 1e+5 NL"
        );
        assert_eq!(lex("1..real 1if x else-1 0xe+1"), "1. . real 1 if x else - 1 0xe + 1 NL");
        assert_eq!(lex("0xfor x 1or y 1else"), "0xf or x 1 or y 1 else NL");
    }

    #[test]
    fn strings_have_every_prefix_and_quote() {
        for prefix in ["", "r", "B", "Rb", "bR", "u", "uR", "f", "fR", "t", "rT"] {
            for quote in ["'", "\"", "'''", "\"\"\""] {
                let string = format!("{prefix}{quote}a\\{quote} # {quote}");
                assert_eq!(lex(&format!("x={string}+y")), format!("x = {string} + y NL"));
            }
        }
        assert_eq!(lex("''''a' ''''' \"\""), "''''a' ''' '' \"\" NL");
        assert_eq!(lex("xr'a' if\"a\""), "xr 'a' if \"a\" NL");
    }

    #[test]
    fn strings_span_lines_by_triple_quotes_and_by_backslashes() {
        let found = tokens(b"'''a\n\r\nb''' 'c\\\r\nd'\ne").unwrap();
        let lines: Vec<_> = found.iter().map(|token| (token.line, token.end_line)).collect();
        assert_eq!(lines, [(1, 3), (3, 4), (4, 4), (5, 5), (5, 5)]);
    }

    #[test]
    fn an_f_string_ends_where_its_fields_allow() {
        for string in [
            r#"f"{x["a"]}""#,
            r#"f"{f"{f"{1}"}"}""#,
            r#"f'{x:">{w}}'"#,
            r#"f"{x:'>10}""#,
            r#"f"{{" "#.trim(),
            r#"f"}} {{{x}}}""#,
            r#"f"\N{DASH} \{x}""#,
            r#"rf"\N{x["y"]}""#,
            r#"f"{d['}']!r:x}""#,
            r#"f"{(lambda x: {1: "}"})}""#,
            "f'{x:{y:{z}}}'",
            "f'''{\nx # }'''\n}'''",
            "f'{\nx\n}'",
        ] {
            assert_eq!(lex(&format!("{string} + 1")), format!("{string} + 1 NL"));
        }
    }

    #[test]
    fn suites_open_and_close_by_columns() {
        assert_eq!(
            lex("if x:\n  y\n\n # c\n  if z:\n\tw\nv"),
            "if x : NL IN y NL # c if z : NL IN w NL DE DE v NL"
        );
        assert_eq!(lex("x\n  \x0cy\n"), "x NL y NL");
        assert_eq!(lex("f(\n  a,\n b)\nc"), "f ( a , b ) NL c NL");
        assert_eq!(lex("if x:\n \\\n  y\n z"), "if x : NL IN y NL z NL DE");
    }

    #[test]
    fn lines_end_in_any_of_three_ways() {
        for end in ["\n", "\r\n", "\r"] {
            let source = ["\u{feff}if x:", " y \\", "  + 1", "# c", "", "z"].join(end);
            assert_eq!(lex(&source), "if x : NL IN y + 1 NL # c DE z NL");
            assert_eq!(tokens(source.as_bytes()).unwrap().last().unwrap().line, 6);
        }
    }

    #[test]
    fn an_error_names_its_line() {
        assert_eq!(error(b"x\n(\n["), "line 3: a bracket is never closed");
        assert_eq!(error(b"x\n(]"), "line 2: a bracket closes one of another kind");
        assert_eq!(error(b"x)"), "line 1: a bracket closes none");
        assert_eq!(error(b"x\n'a\n'"), "line 2: a string is not closed on its line");
        assert_eq!(error(b"x\n'''a\n"), "line 2: a string is never closed");
        assert_eq!(error(b"x\nf'{a"), "line 2: a field of an f-string is never closed");
        assert_eq!(error(b"if x:\n  y\n z"), "line 3: the indentation matches no line above");
        assert_eq!(error(b"x\ny \\ "), "line 2: a backslash within a line");
        assert_eq!(error(b"x \\\n"), "line 1: the file ends in a continued line");
        assert_eq!(error(b"x\n\0"), "line 2: a byte that begins nothing in Python");
        assert_eq!(
            error("f'{".repeat(10_000).as_bytes()),
            "line 1: f-strings are nested too deeply"
        );
        assert_eq!(
            error(format!("f'{}", "{x:".repeat(10_000)).as_bytes()),
            "line 1: f-strings are nested too deeply"
        );
    }

    #[test]
    fn any_bytes_give_tokens_in_order_or_an_error() {
        let source = b"\xef\xbb\xbfdef f(x=1.5e3):\r\n\trb'''\\'''' # c\n\tf\"{a['b']:>{c}}\\N{D}\" \\\n + [`x`]\n\x0c";
        // Every cut, and at every place every byte that means something.
        for cut in 0..=source.len() {
            check(&source[..cut]);
            check(&source[cut..]);
            for byte in b"'\"\\\n\r\t {}()[]:#fN0.e\0\xff" {
                let mut changed = source.to_vec();
                changed.insert(cut, *byte);
                check(&changed);
                if cut < source.len() {
                    changed.remove(cut + 1);
                    check(&changed);
                }
            }
        }
    }

    fn check(source: &[u8]) {
        let lines = 1 + source.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
        match tokens(source) {
            Err(error) => assert!((1..=lines).contains(&error.line)),
            Ok(tokens) => {
                let (mut end, mut line) = (0, 1);
                for token in tokens {
                    assert!(token.start <= token.end && token.end <= source.len());
                    if token.start < token.end {
                        assert!(end <= token.start && line <= token.line);
                        (end, line) = (token.end, token.end_line);
                    }
                    assert!(token.line <= token.end_line && token.end_line <= lines);
                }
            }
        }
    }
}
