//! Promise: a context that starts others reads their markers, and the questions of a terminal, as the program
//! itself does; the other half of the transcripts is played in src/connect/handshake/transcripts.rs.

mod support;

use support::{Run, for_each_python, isolated};

const TRANSCRIPTS: &str = include_str!("vectors/handshakes.txt");

fn start(python: &support::Python) -> Run {
    Run::start(python, |modules| {
        modules.source("transcripts", include_str!("vectors/handshakes.py"));
    })
}

#[test]
fn the_transcripts_hold_in_every_python() {
    isolated(|| {
        let cases = TRANSCRIPTS
            .lines()
            .filter(|line| line.starts_with("stream ") || line.starts_with("terminal "));
        let cases = cases.count();
        for_each_python(|python| {
            let run = start(python);
            let played = run.context.call::<usize>("transcripts:play", (TRANSCRIPTS,));
            assert_eq!(played.unwrap_or_else(|error| panic!("{}", support::long(&error))), cases);
        });
    });
}

#[test]
fn behind_a_jump_host_a_password_is_for_the_target_alone() {
    isolated(|| {
        for_each_python(|python| {
            let typed: Vec<String> = start(python).context.call("transcripts:names", ()).unwrap();
            assert_eq!(typed, ["(deploy@WEB1) Password: ", "deploy@web1's password: "]);
        });
    });
}

#[test]
fn an_answer_that_cannot_be_typed_is_refused_before_anything_starts() {
    isolated(|| {
        for_each_python(|python| {
            assert_eq!(start(python).context.call::<u32>("transcripts:unfit", ()).unwrap(), 4);
        });
    });
}
