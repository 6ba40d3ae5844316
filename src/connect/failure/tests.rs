//! What real clients printed, and what is made of it: `tests/vectors/ssh.txt`.

use std::time::{Duration, Instant};

use super::rules::fits;
use super::*;
use crate::text::Tail;

/// A transcript: what was printed, how ssh ended, how far the start had come, what is to be said of it.
struct Case {
    name: &'static str,
    printed: String,
    status: Option<ExitStatus>,
    reached: Stage,
    said: &'static str,
}

const STAGES: [Stage; 8] = [
    Stage::Spawn,
    Stage::Connect,
    Stage::HostKey,
    Stage::Login,
    Stage::Python,
    Stage::Core,
    Stage::Hello,
    Stage::Connected,
];

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = vec![];
    for line in
        include_str!("../../../tests/vectors/ssh.txt").lines().skip_while(|it| !it.is_empty())
    {
        if let Some(head) = line.strip_prefix("# ") {
            let [name, status, reached] = head.split(" | ").collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let status = match status {
                "running" => None,
                code => Some(ExitStatus::Code(code.parse().unwrap_or_else(|_| panic!("{line}")))),
            };
            let reached = STAGES.into_iter().find(|stage| stage.to_string() == reached);
            let reached = reached.unwrap_or_else(|| panic!("{line}"));
            cases.push(Case { name, printed: String::new(), status, reached, said: "" });
        } else if let Some(case) = cases.last_mut().filter(|case| case.said.is_empty()) {
            match line.strip_prefix("= ") {
                Some(said) => case.said = said,
                None => case.printed += &format!("{line}\r\n"),
            }
        }
    }
    cases
}

/// As the handshake has it.
fn text(printed: &str) -> String {
    let mut tail = Tail::default();
    for line in printed.split_inclusive('\n').filter(|line| !is_chatter(line.trim_end())) {
        tail.push(line.as_bytes());
    }
    tail.text()
}

fn said(words: Option<Words>) -> String {
    match words {
        None => "nothing".into(),
        Some(Words { stage, reason, retry: true }) => format!("{stage} | retry | {reason}"),
        Some(Words { stage, reason, .. }) => format!("{stage} | {reason}"),
    }
}

#[test]
fn each_transcript_is_explained() {
    let cases = cases();
    assert!(cases.len() > 100, "{}", cases.len());
    let mut wrong = String::new();
    for case in &cases {
        let said = said(explain(&text(&case.printed), case.status, case.reached));
        if said != case.said {
            wrong += &format!("# {}\n{}= {said}\n", case.name, case.printed.replace('\r', ""));
        }
    }
    assert!(wrong.is_empty(), "said is:\n{wrong}");
}

#[test]
fn a_transcript_cut_at_many_places_is_no_panic() {
    for case in cases() {
        for (cut, _) in case.printed.char_indices().step_by(5) {
            let (before, after) = case.printed.split_at(cut);
            for reached in [Stage::Connect, Stage::Python] {
                explain(before, case.status, reached);
                explain(after, case.status, reached);
            }
        }
    }
}

#[test]
fn every_rule_is_met_by_a_transcript() {
    let cases = cases();
    let all: String = cases.iter().map(|case| case.printed.replace('\r', "")).collect();
    for rule in [SSH, ENDINGS, LOST, SHELL].into_iter().flatten() {
        assert!(all.lines().any(|line| rule.fits(line.trim())), "{}", rule.pattern);
    }
}

#[test]
fn a_reason_is_one_line_that_quotes_what_was_printed() {
    for case in cases() {
        if let Some(words) = explain(&text(&case.printed), case.status, case.reached) {
            assert!(!words.reason.contains('\n'), "{words:?}");
            let said = text(&case.printed);
            let quotes = said.is_empty() || said.lines().any(|it| words.reason.contains(it.trim()));
            assert!(quotes, "{words:?}");
        }
    }
}

#[test]
fn a_quarter_of_a_megabyte_takes_seconds_at_most() {
    let began = Instant::now();
    let line = "kex_exchange_identification: Connection closed by remote host\n";
    for line in [line, "* port 1 line 1 \" open failed: ", "Permission denied (", "\n", "@"] {
        let text = line.repeat(1 << 12);
        explain(&text, Some(ExitStatus::Code(255)), Stage::Connect);
        explain(&text, Some(ExitStatus::Code(255)), Stage::Python);
    }
    // A few seconds, without optimisation and on a busy machine; what is quadratic takes hours.
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn login_is_told_by_the_line_of_every_version() {
    for line in [
        "Authenticated to web1 ([192.0.2.1]:22).",
        "Authenticated to web1 (via proxy).",
        "Authenticated to web1 ([192.0.2.1]:22) using \"publickey\".",
        "Authenticated to fe80::1%eth0 ([fe80::1%eth0]:22) using \"password\".",
        "Authenticated to web1 (via proxy) using \"keyboard-interactive\".",
    ] {
        assert!(has_logged_in(line) && is_chatter(line), "{line}");
    }
    for line in [
        "Authenticated using \"publickey\" with partial success.",
        "Authenticated with partial success.",
        "Authenticated to all of us",
        "debug1: Authenticated to web1 ([192.0.2.1]:22).",
    ] {
        assert!(!has_logged_in(line), "{line}");
    }
}

#[test]
fn chatter_is_told_from_what_a_user_wants_to_see() {
    for line in [
        "Transferred: sent 3472, received 3324 bytes, in 0.1 seconds",
        "Bytes per second: sent 23486.5, received 22485.4",
        "Authenticated using \"publickey\" with partial success.",
        "Learned new hostkey: RSA SHA256:AAAA",
        "Adding new key for web1 to /home/me/.ssh/known_hosts: ssh-rsa SHA256:AAAA",
    ] {
        assert!(is_chatter(line), "{line}");
    }
    for line in ["", "Transferred: all", "Welcome!", "Connection to web1 closed by remote host."] {
        assert!(!is_chatter(line), "{line}");
    }
}

#[test]
fn a_pattern_is_the_whole_line() {
    for (pattern, line) in [
        ("abc", "abc"),
        ("a*c", "ac"),
        ("a*c", "abcbc"),
        ("*b*", "abc"),
        ("*", ""),
        ("port #", "port 22"),
        ("port #: *", "port 22: "),
        ("*a*b", "xaxbxb"),
        ("é*é", "éé"),
    ] {
        assert!(fits(pattern, line), "{pattern} {line}");
    }
    for (pattern, line) in [
        ("abc", "abcd"),
        ("abc", "xabc"),
        ("a*c", "acb"),
        ("port #", "port "),
        ("port #", "port 22x"),
        ("a*a", "a"),
        ("é*é", "é"),
    ] {
        assert!(!fits(pattern, line), "{pattern} {line}");
    }
}
