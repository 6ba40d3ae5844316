//! The transcripts of `tests/vectors/handshakes.txt`, played to the handshake and the conversation of this side; what
//! is in them is said there. `tests/handshakes.rs` plays them to those of a context.

use super::super::prompt::PasswordQuestion;
use super::super::{Answers, Conversation, Move, Target};
use super::*;
use crate::secret::Secret;
use crate::{Local, Method};

const TRANSCRIPTS: &str = include_str!("../../../tests/vectors/handshakes.txt");

struct Case {
    kind: &'static str,
    name: &'static str,
    fields: Vec<(&'static str, Field)>,
}

enum Field {
    Bytes(Vec<u8>),
    Text(&'static str),
}

impl Field {
    fn bytes(&self) -> &[u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Text(text) => text.as_bytes(),
        }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap()
    }
}

fn cases(kind: &str) -> Vec<Case> {
    let cases = TRANSCRIPTS.split("\n\n").filter_map(|block| {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let (kind, name) = lines.next()?.split_once(' ')?;
        let fields = lines.map(|line| {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            let (key, count) = key.split_once('*').unwrap_or((key, "1"));
            let field = match key {
                "error" | "fail" => Field::Text(value),
                _ => Field::Bytes(unescaped(value).repeat(count.parse().unwrap())),
            };
            (key, field)
        });
        Some(Case { kind, name, fields: fields.collect() })
    });
    let cases: Vec<_> = cases.filter(|case| case.kind == kind).collect();
    assert!(cases.len() > 10, "there are transcripts");
    cases
}

fn unescaped(value: &str) -> Vec<u8> {
    let value = value.replace(r"\n", "\n").replace(r"\r", "\r");
    let mut parts = value.split(r"\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// The pieces as they are; byte by byte; and each cut in two at every place, of long ones at some.
fn cuts<'a>(pieces: &[&'a [u8]]) -> Vec<Vec<&'a [u8]>> {
    let longest = pieces.iter().map(|piece| piece.len()).max().unwrap_or(0);
    let mut ways = vec![pieces.to_vec()];
    ways.push(pieces.iter().flat_map(|piece| piece.chunks(1)).collect());
    for at in (1..longest).step_by(1 + longest / 200) {
        let halves = pieces.iter().flat_map(|piece| {
            let (left, right) = piece.split_at(at.min(piece.len()));
            [left, right]
        });
        ways.push(halves.filter(|part| !part.is_empty()).collect());
    }
    ways
}

#[test]
fn streams_are_read_as_the_transcripts_say() {
    for Case { name, fields, .. } in cases("stream") {
        let every = |key| fields.iter().filter(move |(other, _)| *other == key).map(|it| &it.1);
        let pieces: Vec<_> = every("in").map(Field::bytes).collect();
        let mut noise = Tail::default();
        every("noise").for_each(|part| noise.push(part.bytes()));
        let stage = match every("stage").next().unwrap().text() {
            "0" => Stage::Python,
            "1" => Stage::Core,
            _ => Stage::Hello,
        };
        let error = every("error").next().map(Field::text);
        for (way, parts) in cuts(&pieces).into_iter().enumerate() {
            let mut handshake = Handshake::new(&Local::new().plan());
            let (mut rest, mut said) = (None, None);
            for part in parts {
                match &mut rest {
                    Some(rest) => Vec::extend_from_slice(rest, part),
                    None => match handshake.receive(part) {
                        Ok(frames) => rest = frames,
                        Err(words) => {
                            said = Some(words);
                            break;
                        }
                    },
                }
            }
            handshake.finish();
            assert_eq!(handshake.stage(), stage, "{name}");
            assert_eq!(handshake.noise.text(), noise.text(), "{name}");
            assert_eq!(said.is_some(), error.is_some(), "{name}: {said:?}");
            if way == 0 {
                assert_eq!(said.as_deref(), error, "{name}");
            }
            assert_eq!(rest.as_deref(), every("rest").next().map(Field::bytes), "{name}");
        }
    }
}

#[test]
fn terminals_are_answered_as_the_transcripts_say() {
    for Case { name, fields, .. } in cases("terminal") {
        let given = |key| {
            let mut fields = fields.iter().filter(|(other, _)| *other == key);
            fields.next().map(|(_, field)| Secret::from(field.text().to_owned()))
        };
        let is_step = |key: &str| !["password", "passphrase", "token"].contains(&key);
        let steps: Vec<_> = fields.iter().filter(|(key, _)| is_step(key)).collect();
        let out: Vec<_> = steps.iter().filter(|it| it.0 == "out").map(|it| it.1.bytes()).collect();
        let token = fields.iter().find(|(key, _)| *key == "token").map(|(_, field)| field);
        for parts in cuts(&out) {
            let answers = match token {
                Some(token) => {
                    let question = PasswordQuestion::Token(token.text().into());
                    Answers::for_tool(given("password"), question, "")
                }
                None => Answers {
                    password: given("password"),
                    passphrase: given("passphrase"),
                    target: Target::from_configuration("user deploy\nhostname web1\n"),
                    ..Answers::default()
                },
            };
            let mut conversation = Conversation::new("ssh.web1", answers);
            let mut parts = parts.into_iter();
            for (at, (key, value)) in steps.iter().enumerate() {
                let next = match *key {
                    "quiet" => conversation.quiet(),
                    "out" => {
                        let mut left = value.bytes().len();
                        loop {
                            let part = parts.next().unwrap();
                            let next = conversation.receive(part);
                            left -= part.len();
                            if left == 0 {
                                break next;
                            }
                            assert!(next.is_none(), "{name}: {next:?} before the end");
                        }
                    }
                    _ => continue,
                };
                match (steps.get(at + 1), next) {
                    (Some(("type", due)), Some(Move::Write(line))) => {
                        assert_eq!(line.bytes(), due.bytes(), "{name}");
                    }
                    (Some(("fail", due)), Some(Move::Fail(_, reason))) => {
                        assert!(reason.contains(due.text()), "{name}: {reason}");
                    }
                    (due, None) if !due.is_some_and(|it| ["type", "fail"].contains(&it.0)) => {}
                    (_, next) => panic!("{name}: {next:?}"),
                }
            }
        }
    }
}
