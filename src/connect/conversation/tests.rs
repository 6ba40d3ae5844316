use super::*;

const DIRECT: &str = "user deploy\nhostname web1\n";
const BEHIND: &str = "user deploy\nhostname web1\nproxyjump me@gate\n";

const OLD_HOST_KEY: &str = "\rThe authenticity of host 'web1 (10.0.0.1)' can't be established.\r\n\
    ECDSA key fingerprint is SHA256:abc.\r\n\
    Are you sure you want to continue connecting (yes/no)? ";
const HOST_KEY: &str = "\rThe authenticity of host 'web1 (10.0.0.1)' can't be established.\r\n\
    ED25519 key fingerprint is SHA256:abc.\r\n\
    This key is not known by any other names.\r\n\
    Are you sure you want to continue connecting (yes/no/[fingerprint])? ";

fn nothing() -> Answers {
    Answers { target: Target::from_configuration(DIRECT), ..Answers::default() }
}

fn given() -> Answers {
    Answers {
        password: Some(secret("hunter2")),
        passphrase: Some(secret("correct horse")),
        accept_host_key: true,
        ..nothing()
    }
}

fn asking() -> Answers {
    Answers { ask: true, ..nothing() }
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_string())
}

fn new(answers: Answers) -> Conversation {
    Conversation::new("ssh.web1", answers)
}

#[track_caller]
fn written(next: Option<Move>) -> String {
    match next {
        Some(Move::Write(line)) => String::from_utf8(line.bytes().to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failed(next: Option<Move>) -> (Stage, String) {
    match next {
        Some(Move::Fail(stage, reason)) => (stage, reason),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn asked(next: Option<Move>) -> (PromptKind, String, u32) {
    match next {
        Some(Move::Ask(prompt)) => {
            assert_eq!(prompt.context, "ssh.web1");
            (prompt.kind, prompt.text, prompt.attempt)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_known_question_cut_at_every_byte_is_answered_once_and_at_its_end() {
    for (question, answer) in [
        ("\rdeploy@web1's password: ", "hunter2\n"),
        ("\r(deploy@web1) Password: ", "hunter2\n"),
        ("Password: ", "hunter2\n"),
        ("Enter passphrase for key '/home/m\u{e9}/.ssh/id_rsa': ", "correct horse\n"),
        ("Enter passphrase for \"my key\": ", "correct horse\n"),
        (OLD_HOST_KEY, "yes\n"),
        (HOST_KEY, "yes\n"),
    ] {
        let bytes = question.as_bytes();
        for cut in 0..bytes.len() {
            let mut conversation = new(given());
            assert!(conversation.receive(&bytes[..cut]).is_none(), "{question} cut at {cut}");
            assert_eq!(written(conversation.receive(&bytes[cut..])), answer, "{question}");
            assert!(conversation.receive(b"\r\n").is_none() && !conversation.wants_quiet());
        }
        let mut conversation = new(given());
        let moves = bytes.iter().filter_map(|byte| conversation.receive(&[*byte]));
        assert_eq!(moves.map(|it| written(Some(it))).collect::<Vec<_>>(), [answer]);
    }
}

#[test]
fn every_known_question_reaches_the_handler_as_it_is() {
    for (question, kind) in [
        ("\rdeploy@web1's password: ", PromptKind::Password),
        ("\r(deploy@web1) You have 3 days.\r\nPassword: ", PromptKind::Password),
        ("Enter passphrase for key '/k': ", PromptKind::Passphrase),
        (OLD_HOST_KEY, PromptKind::HostKey),
        (HOST_KEY, PromptKind::HostKey),
    ] {
        let mut conversation = new(asking());
        let text = question.trim_end().replace('\r', "");
        let printed = format!("\r\n{question}");
        assert_eq!(asked(conversation.receive(printed.as_bytes())), (kind, text, 1));
        assert!(conversation.is_waiting() && !conversation.wants_quiet());
        assert_eq!(written(Some(conversation.answered(Some(secret("it"))))), "it\n");
        assert!(!conversation.is_waiting());
    }
}

#[test]
fn a_question_of_unknown_words_is_one_when_nothing_more_comes() {
    for question in [
        "(deploy@web1) Verification code: ",
        "Enter PIN for ED25519-SK key /k: ",
        "(deploy@web1) Current password: ",
        "Password:",
        "deploy@web1's passw",
        "Are you sure?",
    ] {
        let mut conversation = new(asking());
        for cut in 0..question.len() {
            let part = &question.as_bytes()[cut..=cut];
            assert!(conversation.receive(part).is_none(), "{question}");
            assert!(conversation.wants_quiet());
        }
        let (_, text, _) = asked(conversation.quiet());
        assert_eq!(text, question.trim_end());
        assert!(conversation.quiet().is_none());
    }
}

#[test]
fn the_lines_above_a_question_come_with_it() {
    let mut conversation = new(asking());
    let printed =
        b"\r(deploy@web1) Duo for deploy\r\n\r\n 1. Push\x1b[2J\r\n\r\nPasscode or option (1-1): ";
    assert!(conversation.receive(printed).is_none());
    let text = "(deploy@web1) Duo for deploy\n\n 1. Push\\x1b[2J\n\nPasscode or option (1-1):";
    assert_eq!(asked(conversation.quiet()), (PromptKind::Other, text.into(), 1));
    conversation.answered(Some(secret("1")));
    // Those of the question before do not.
    conversation.receive(b"\r\n\rCode: ");
    assert_eq!(asked(conversation.quiet()).1, "Code:");
}

#[test]
fn what_is_printed_without_a_question_is_none() {
    let mut conversation = new(asking());
    for text in ["", "\r\n", "Welcome\r\n", "***", "*", "\r\n", " ", "\r"] {
        assert!(conversation.receive(text.as_bytes()).is_none());
        assert!(!conversation.wants_quiet() && conversation.quiet().is_none(), "{text:?}");
    }
    conversation.receive(b"\r\nConfirm user presence for key ED25519-SK SHA256:abc");
    assert!(!conversation.wants_quiet() && conversation.quiet().is_none());
}

#[test]
fn a_password_that_is_asked_for_again_was_wrong() {
    for again in ["(deploy@web1) Password: ", "deploy@web1's password: "] {
        let mut conversation = new(Answers { ask: true, ..given() });
        written(conversation.receive(b"(deploy@web1) Password: "));
        let end = failed(conversation.receive(format!("\r\n\r{again}").as_bytes()));
        let asked = format!("\"{}\" was asked after .password(..) was given", again.trim_end());
        assert_eq!(end, (Stage::Login, format!("the password was refused: {asked}")));
        // It is told once, and nothing is done any more.
        assert!(conversation.receive(again.as_bytes()).is_none() && conversation.quiet().is_none());
    }
}

#[test]
fn a_code_after_the_password_may_be_what_was_wrong() {
    let mut conversation = new(Answers { ask: true, ..given() });
    written(conversation.receive(b"(deploy@web1) Password: "));
    conversation.receive(b"\r\n(deploy@web1) Code: ");
    assert_eq!(asked(conversation.quiet()).1, "(deploy@web1) Code:");
    assert_eq!(written(Some(conversation.answered(Some(secret("123"))))), "123\n");
    let (_, reason) = failed(conversation.receive(b"\r\n(deploy@web1) Password: "));
    let why = "\"(deploy@web1) Password:\" was asked after .password(..) was given";
    assert_eq!(reason, format!("the password, or an answer after it, was refused: {why}"));
}

#[test]
fn a_passphrase_is_tried_on_each_key_and_once() {
    let mut conversation = new(given());
    for key in ["Enter passphrase for key '/a': ", "\r\nEnter passphrase for key '/b': "] {
        assert_eq!(written(conversation.receive(key.as_bytes())), "correct horse\n");
    }
    let end = failed(conversation.receive(b"\r\n\rEnter passphrase for key '/b': "));
    assert_eq!(end, (Stage::Login, "the passphrase for key '/b' is wrong".into()));
}

#[test]
fn an_empty_passphrase_passes_over_a_key() {
    let answers = Answers { passphrase: Some(secret("")), ..nothing() };
    assert_eq!(written(new(answers).receive(b"Enter passphrase for key '/a': ")), "\n");
}

#[test]
fn the_handler_is_asked_again_until_it_gives_up() {
    let mut conversation = new(asking());
    for attempt in 1..=3 {
        let next = conversation.receive(b"\r\ndeploy@web1's password: ");
        let text = "deploy@web1's password:".to_string();
        assert_eq!(asked(next), (PromptKind::Password, text, attempt));
        if attempt < 3 {
            conversation.answered(Some(secret("guess")));
        }
    }
    let end = failed(Some(conversation.answered(None)));
    let reason = "\"deploy@web1's password:\" got no answer from on_prompt";
    assert_eq!(end, (Stage::Login, reason.into()));
    assert!(conversation.receive(b"\r\ndeploy@web1's password: ").is_none());
}

#[test]
fn a_host_key_question_is_the_same_when_it_is_put_in_other_words() {
    for again in ["Please type 'yes' or 'no': ", "Please type 'yes', 'no' or the fingerprint: "] {
        let mut conversation = new(asking());
        let (kind, text, _) = asked(conversation.receive(HOST_KEY.as_bytes()));
        assert!(text.contains("SHA256:abc"), "{text}");
        conversation.answered(Some(secret("perhaps")));
        assert_eq!(asked(conversation.receive(again.as_bytes())), (kind, text, 2));
        let (stage, _) = failed(Some(conversation.answered(None)));
        assert_eq!(stage, Stage::HostKey);
        // An answer of our own is not taken twice either.
        let mut conversation = new(given());
        written(conversation.receive(HOST_KEY.as_bytes()));
        let (stage, reason) = failed(conversation.receive(again.as_bytes()));
        assert_eq!(stage, Stage::HostKey);
        assert!(reason.ends_with("(yes/no/[fingerprint])?\" was asked again after its answer"));
    }
}

#[test]
fn only_the_key_of_a_host_that_has_none_is_new() {
    let changed = "Warning: the ED25519 host key for 'web1' differs from the key for the IP address \
                   '10.0.0.1'\r\nAre you sure you want to continue connecting (yes/no)? ";
    let (stage, reason) = failed(new(given()).receive(changed.as_bytes()));
    assert_eq!(stage, Stage::HostKey);
    assert!(reason.starts_with("\"Warning: the ED25519 host key for 'web1' differs"), "{reason}");
    // A jump host's and the host's own are two questions.
    let mut conversation = new(given());
    for host in ["gate", "web1"] {
        let question = HOST_KEY.replace("web1", host);
        assert_eq!(written(conversation.receive(question.as_bytes())), "yes\n");
    }
}

#[test]
fn a_question_that_nobody_answers_ends_the_start_and_says_what_to_do() {
    for (question, stage, reason) in [
        (
            "deploy@web1's password: ",
            Stage::Login,
            "\"deploy@web1's password:\" needs an answer: set .password(..) or Router::builder().on_prompt(..)",
        ),
        (
            "Enter passphrase for key '/a\x1b': ",
            Stage::Login,
            "\"Enter passphrase for key '/a\\x1b':\" needs an answer: set .passphrase(..) or Router::builder().on_prompt(..)",
        ),
        (
            OLD_HOST_KEY,
            Stage::HostKey,
            "\"The authenticity of host 'web1 (10.0.0.1)' can't be established. ECDSA key fingerprint is \
             SHA256:abc. Are you sure you want to continue connecting (yes/no)?\" needs an answer: \
             set .host_keys(..) or Router::builder().on_prompt(..)",
        ),
        (
            "New password: ",
            Stage::Login,
            "\"New password:\" needs an answer: set Router::builder().on_prompt(..)",
        ),
    ] {
        let mut conversation = new(nothing());
        let now = conversation.receive(question.as_bytes());
        let next = now.or_else(|| conversation.quiet());
        assert_eq!(failed(next), (stage, reason.into()));
    }
}

#[test]
fn the_password_is_not_given_to_a_jump_host() {
    let behind = Answers { target: Target::from_configuration(BEHIND), ..given() };
    let reason = |question: &str| failed(new(behind.clone()).receive(question.as_bytes())).1;
    assert_eq!(
        reason("me@gate's password: "),
        "\"me@gate's password:\" needs an answer, and .password(..) is for web1 alone: set \
         Router::builder().on_prompt(..)"
    );
    // What the jump host's server wrote above it.
    assert!(reason("(me@gate) x\r\ndeploy@web1's password: ").contains("for web1 alone"));
    // A handler is asked for it, and the host itself gets what was given for it.
    let mut conversation = new(Answers { ask: true, ..behind });
    let (kind, text, _) = asked(conversation.receive(b"me@gate's password: "));
    assert_eq!((kind, &*text), (PromptKind::Password, "me@gate's password:"));
    conversation.answered(Some(secret("gate")));
    assert_eq!(written(conversation.receive(b"\r\ndeploy@web1's password: ")), "hunter2\n");
}

#[test]
fn what_cannot_be_typed_is_refused_with_words() {
    let long = "x".repeat(1024);
    for (answer, why) in [
        ("a\nb", "it has the end of a line in it"),
        ("a\r", "it has the end of a line in it"),
        ("a\0b", "it has a NUL byte in it"),
        (&*long, "it has 1024 bytes, and at most 1023 are read"),
    ] {
        let mut conversation = new(asking());
        asked(conversation.receive(b"deploy@web1's password: "));
        let (_, reason) = failed(Some(conversation.answered(Some(secret(answer)))));
        let what = "the answer to \"deploy@web1's password:\"";
        assert_eq!(reason, format!("{what} cannot be typed: {why}"));
        let answers = Answers { password: Some(secret(answer)), ..nothing() };
        let (_, reason) = failed(new(answers).receive(b"deploy@web1's password: "));
        assert_eq!(reason, format!("the password cannot be typed: {why}"));
    }
    let answers = Answers { password: Some(secret(&long[1..])), ..nothing() };
    assert_eq!(written(new(answers).receive(b"deploy@web1's password: ")).len(), 1024);
}

#[test]
fn endless_output_and_endless_questions_are_bounded() {
    let mut conversation = new(asking());
    for _ in 0..1000 {
        assert!(conversation.receive(&[b'y'; 1000]).is_none());
        assert!(conversation.receive(b"line\n").is_none());
    }
    assert!(conversation.receive(&[b'y'; 100_000]).is_none());
    assert!(
        conversation.line.len() <= MAX_TEXT_BYTES && conversation.lines.len() <= MAX_TEXT_BYTES
    );
    let (_, text, _) = asked(conversation.quiet());
    assert!(text.len() <= 2 * MAX_TEXT_BYTES + 1, "{}", text.len());
    let reason = failed(Some(conversation.answered(None))).1;
    assert!(reason.len() < 400, "{reason}");

    let mut conversation = new(asking());
    for number in 0..MAX_QUESTIONS {
        conversation.receive(format!("Question {number}? ").as_bytes());
        asked(conversation.quiet());
        conversation.answered(Some(secret("no")));
    }
    conversation.receive(b"One more? ");
    assert_eq!(failed(conversation.quiet()).1, "more than 100 questions were asked");
}

#[test]
fn debug_shows_which_answers_are_set_and_never_what_they_are() {
    let mut conversation = new(Answers { ask: true, ..given() });
    let shown = format!("{conversation:?}");
    assert!(shown.contains("password: Some([secret]), passphrase: Some([secret])"), "{shown}");
    assert!(format!("{:?}", nothing()).contains("password: None, passphrase: None"));
    let next = conversation.receive(b"deploy@web1's password: ").unwrap();
    assert_eq!(format!("{next:?}"), "Write([secret])");
    for text in [shown, format!("{conversation:?}"), format!("{next:?}")] {
        assert!(!text.contains("hunter2") && !text.contains("horse"), "{text}");
    }
}

#[test]
fn a_password_waits_until_it_is_known_whom_it_is_for() {
    let mut conversation = new(Answers { target: None, ..given() });
    assert!(matches!(conversation.receive(b"me@gate's password: "), Some(Move::FindTarget)));
    assert!(!conversation.wants_quiet());
    let behind = Target::from_configuration(BEHIND).unwrap();
    let (stage, reason) = failed(conversation.target_found(behind.clone()));
    assert_eq!(stage, Stage::Login);
    assert!(reason.contains("me@gate's password:"), "{reason}");

    let mut conversation = new(Answers { target: None, ..given() });
    assert!(matches!(conversation.receive(b"deploy@web1's password: "), Some(Move::FindTarget)));
    assert_eq!(written(conversation.target_found(behind.clone())), "hunter2\n");
    // Other questions do not wait.
    let mut conversation = new(Answers { target: None, ..given() });
    let passphrase = conversation.receive(b"Enter passphrase for key '/k': ");
    assert_eq!(written(passphrase), "correct horse\n");
    assert!(conversation.target_found(behind).is_none());
}

fn tool(question: PasswordQuestion, password: Option<&str>) -> Answers {
    Answers::for_tool(password.map(secret), question, "; it takes another")
}

#[test]
fn sudos_question_is_answered_once_and_its_stars_never() {
    let token = || PasswordQuestion::Token("0f1e".into());
    for (before, after) in [("", ": "), ("[sudo: ", ": ] Mot de passe\u{a0}: ")] {
        let question = format!("{before}0f1e{after}");
        let mut conversation = new(tool(token(), Some("hunter2")));
        let moves = question.bytes().filter_map(|byte| conversation.receive(&[byte]));
        assert_eq!(moves.map(|it| written(Some(it))).collect::<Vec<_>>(), ["hunter2\n"]);
        assert!(conversation.receive(b"*******\x08 \x08\x08 \x08").is_none());
        assert!(!conversation.wants_quiet());
        let again = format!("\r\nSorry, try again.\r\n{question}");
        let (stage, reason) = failed(conversation.receive(again.as_bytes()));
        assert_eq!((stage, &*reason), (Stage::Login, "the password was refused; it takes another"));
    }
}

#[test]
fn nobody_sees_the_word_that_sudos_question_is_known_by() {
    let mut answers = tool(PasswordQuestion::Token("0f1e".into()), None);
    let mut unanswered = new(answers.clone());
    let (_, reason) = failed(unanswered.receive(b"0f1e: "));
    let needed =
        "\"sudo password:\" needs an answer: set .password(..) or Router::builder().on_prompt(..)";
    assert_eq!(reason, needed);
    answers.ask = true;
    let mut conversation = new(answers);
    for attempt in 1..=2 {
        let asked = asked(conversation.receive(b"[sudo: 0f1e: ] Password: "));
        assert_eq!(
            asked,
            (PromptKind::Password, "[sudo: sudo password: ] Password:".into(), attempt)
        );
        conversation.answered(Some(secret("it")));
    }
    // What a module of PAM's asks beside it.
    let code = conversation.receive(b"\r\nVerification code: ");
    assert!(code.is_none());
    let code = asked(conversation.quiet());
    assert_eq!(code, (PromptKind::Other, "Verification code:".into(), 1));
}

#[test]
fn a_tool_that_asks_for_little_else_gets_the_password_in_any_language() {
    let mut conversation = new(tool(PasswordQuestion::Any, Some("hunter2")));
    assert!(conversation.receive("Loading... ".as_bytes()).is_none());
    assert!(!conversation.wants_quiet());
    assert!(conversation.receive("\nPasswort: ".as_bytes()).is_none());
    assert_eq!(written(conversation.quiet()), "hunter2\n");
    assert!(conversation.receive(b"\nsu: ").is_none());
    assert!(conversation.receive(b"Fehler bei Authentifizierung\n").is_none());
    assert!(!conversation.wants_quiet());
    let (_, reason) = failed(conversation.receive(b"Password: "));
    assert_eq!(reason, "the password was refused; it takes another");
}
