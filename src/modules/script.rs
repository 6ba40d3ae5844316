//! A program's own script as `__main__`: what of it is served.
//!
//! Invariant: what is served ends before the guard, `if __name__ == "__main__":`, at the outermost
//! level; the lines before it stay as they are.

use std::collections::HashSet;
use std::ops::Range;

use super::lexer::{Kind, Token, string_prefix, tokens};
use super::store::Served;

pub(super) struct Script {
    /// The file name for tracebacks.
    pub(super) path: String,
    /// What is served, or why nothing is.
    pub(super) served: Result<Served, String>,
}

impl Script {
    pub(super) fn new(path: String, text: &[u8]) -> Script {
        let served = cut(text).map_err(|reason| format!("{path}: {reason}"));
        Script { path, served: served.map(Served::new) }
    }
}

/// The part of a script to be served, or what is wrong with it and what to do.
fn cut(text: &[u8]) -> Result<&[u8], String> {
    // What does not lex is served, so that Python says what is wrong in its own words.
    let Ok(mut tokens) = tokens(text) else { return Ok(text) };
    tokens.retain(|token| token.kind != Kind::Comment);
    let script = Outline { text, tokens };
    let statements = script.statements();
    if let Some(guard) = statements.iter().find(|statement| script.is_guard(statement)) {
        return Ok(&text[..script.tokens[guard.words.start].start]);
    }
    let functions: HashSet<&[u8]> =
        statements.iter().filter_map(|statement| script.function(statement)).collect();
    match statements.iter().find_map(|statement| script.work(statement, &functions)) {
        None => Ok(text),
        Some(call) => Err(format!(
            "line {}: the script would call {}() when it is imported; put that into a function, \
             or below a line `if __name__ == \"__main__\":`",
            call.line,
            String::from_utf8_lossy(call.text(text))
        )),
    }
}

/// A script as a list of statements.
struct Outline<'a> {
    text: &'a [u8],
    tokens: Vec<Token>,
}

/// A statement that runs on import; of a compound one the header, for its suite are statements too.
struct Statement {
    /// How many suites it is in.
    level: usize,
    /// Its tokens.
    words: Range<usize>,
}

impl<'a> Outline<'a> {
    fn word(&self, index: usize) -> &'a [u8] {
        self.tokens.get(index).map_or(b"", |token| token.text(self.text))
    }

    /// All statements but those in functions and classes.
    fn statements(&self) -> Vec<Statement> {
        let mut statements = Vec::new();
        let (mut level, mut brackets, mut start) = (0usize, 0usize, None);
        // The level of the definition whose suite is passed over.
        let mut definition = None;
        for (index, token) in self.tokens.iter().enumerate() {
            match token.kind {
                Kind::Indent => level += 1,
                Kind::Dedent => level -= 1,
                _ => {
                    let word = self.word(index);
                    let first = *start.get_or_insert(index);
                    match word {
                        b"(" | b"[" | b"{" => brackets += 1,
                        b")" | b"]" | b"}" => brackets -= 1,
                        _ => {}
                    }
                    let ends = match word {
                        b";" => brackets == 0 && !self.is_definition(first),
                        b":" => brackets == 0 && COMPOUND.contains(&self.word(first)),
                        _ => token.kind == Kind::Newline,
                    };
                    if !ends {
                        continue;
                    }
                    start = None;
                    if definition.is_some_and(|definition| level > definition) {
                        continue;
                    }
                    definition = self.is_definition(first).then_some(level);
                    statements.push(Statement { level, words: first..index });
                }
            }
        }
        statements
    }

    fn is_definition(&self, first: usize) -> bool {
        let keyword = if self.word(first) == b"async" { first + 1 } else { first };
        matches!(self.word(keyword), b"def" | b"class")
    }

    /// Whether a statement is `if __name__ == "__main__"`, the operands either way round and in any
    /// brackets; more may follow with `and`.
    fn is_guard(&self, statement: &Statement) -> bool {
        let is_bracket = |index: &usize| matches!(self.word(*index), b"(" | b")");
        let mut words = statement.words.clone().filter(|index| !is_bracket(index));
        let mut next = || words.next().map_or(b"".as_slice(), |index| self.word(index));
        let (keyword, left, operator, right, then) = (next(), next(), next(), next(), next());
        let is_name = |word| word == b"__name__";
        let compares = is_name(left) && is_main(right) || is_main(left) && is_name(right);
        let is_if = statement.level == 0 && keyword == b"if";
        is_if && compares && operator == b"==" && matches!(then, b"" | b"and")
    }

    /// The name of the function that a statement defines, if it does.
    fn function(&self, statement: &Statement) -> Option<&'a [u8]> {
        let mut words = statement.words.clone().map(|index| self.word(index));
        let keyword = words.find(|word| *word != b"async")?;
        (keyword == b"def").then(|| words.next()).flatten()
    }

    /// Where a statement does the script's work: it calls, for its effect, one of the `functions` that
    /// the script defines, or exits. Setting up (`sys.path.insert(..)`, `X = build()`) is none.
    fn work(&self, statement: &Statement, functions: &HashSet<&[u8]>) -> Option<&Token> {
        let words = &statement.words;
        let first = self.word(words.start);
        let is_header = COMPOUND.contains(&first) || self.is_definition(words.start);
        if is_header || first == b"@" || self.is_assignment(words.clone()) {
            return None;
        }
        let is_call = |index: &usize| {
            let is_member = *index > words.start && self.word(index - 1) == b".";
            let is_ours = match self.word(*index) {
                b"exit" => !is_member || *index == words.start + 2 && first == b"sys",
                name => !is_member && functions.contains(name),
            };
            is_ours && self.word(index + 1) == b"("
        };
        words.clone().find(is_call).map(|index| &self.tokens[index])
    }

    fn is_assignment(&self, words: Range<usize>) -> bool {
        let mut brackets = 0usize;
        words.map(|index| self.word(index)).any(|word| {
            match word {
                b"(" | b"[" | b"{" => brackets += 1,
                b")" | b"]" | b"}" => brackets -= 1,
                b"==" | b"!=" | b"<=" | b">=" => return false,
                _ => {}
            }
            // No token of another kind ends so.
            brackets == 0 && word.ends_with(b"=")
        })
    }
}

/// Whether a word is the string `__main__`.
fn is_main(word: &[u8]) -> bool {
    let quoted = &word[string_prefix(word).len()..];
    quoted == b"\"__main__\"" || quoted == b"'__main__'"
}

/// What begins a statement with a suite, other than a definition.
const COMPOUND: [&[u8]; 10] =
    [b"if", b"elif", b"else", b"for", b"while", b"with", b"try", b"except", b"finally", b"async"];

#[cfg(test)]
mod tests {
    use super::*;

    fn served(text: &str) -> &str {
        std::str::from_utf8(cut(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn a_script_is_cut_at_its_guard_however_it_is_written() {
        for guard in [
            "if __name__ == '__main__':\n    f()\n",
            "if __name__==\"__main__\": f()\n",
            "if '__main__' == __name__:\n    f()",
            "if (__name__ == '__main__'):\n    f()\nelse:\n    pass\n",
            "if (\n    __name__  # why\n    == u'__main__'\n):\n    f()\n",
            "if __name__ == '__main__' and True:\n    f()\n",
        ] {
            let before = "# -*- coding: utf-8 -*-\nimport os\n\ndef f():\n    pass\n\n# Go.\n";
            let text = format!("{before}{guard}");
            assert_eq!(served(&text), before, "{guard}");
        }
    }

    #[test]
    fn what_only_looks_like_a_guard_is_none() {
        for text in [
            "if __name__ != '__main__':\n    x = 1\n",
            "def f():\n    if __name__ == '__main__':\n        pass\n",
            "x = '''\nif __name__ == '__main__':\n'''\n",
            "# if __name__ == '__main__':\n",
            "if __name__ == '__main__' or x:\n    y = 1\n",
        ] {
            assert_eq!(served(text), text);
        }
    }

    #[test]
    fn a_script_of_definitions_needs_no_guard() {
        let text = "import sys\nsys.path.insert(0, '.')\n@d(1)\ndef f(x=g()): return f(); f()\n\
                    X = f()\nX[f()] += f()\nclass A:\n    y = f()\n    f()\nif f():\n    Y = f(a=1)\n\
                    A.f()\nx.exit()\n";
        assert_eq!(served(text), text);
    }

    #[test]
    fn a_script_that_would_start_its_work_is_refused_with_advice() {
        let define = "import sys\n\ndef run(x):\n    pass\n\n";
        for work in [
            "run(a=1)\n",
            "sys.exit(run())\n",
            "X = 1; run()\n",
            "try:\n    run()\nexcept OSError:\n    pass\n",
            "if len(sys.argv) > 1: run()\n",
            "asyncio.run(run())\n",
            "exit()\n",
        ] {
            let error = cut(format!("{define}{work}").as_bytes()).unwrap_err();
            assert!(error.starts_with("line "), "{error}");
            assert!(error.contains("below a line `if __name__ == \"__main__\":`"), "{error}");
        }
        let error = cut(b"def run():\n    pass\n\nrun()\n").unwrap_err();
        assert!(error.starts_with("line 4: the script would call run() when"), "{error}");
    }

    #[test]
    fn a_script_that_does_not_lex_is_served_whole() {
        let text = "if __name__ == '__main__':\n    f(\n";
        assert_eq!(served(text), text);
    }
}
