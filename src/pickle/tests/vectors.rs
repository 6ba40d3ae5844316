//! Golden pickles, and every Python at hand.

use super::notation::notation;
use super::pythons::{python, pythons};
use super::random::Random;
use super::*;
use crate::{Context, FromValue};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::Stdio;

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).expect("hex") as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The pickles that real Pythons wrote.
pub(super) fn recorded() -> Vec<Vec<u8>> {
    let file = std::fs::read_to_string(directory().join("pickles.txt")).unwrap();
    file.lines().map(|line| unhex(line.split('\t').nth(2).unwrap())).collect()
}

#[test]
fn what_real_pythons_wrote_decodes_to_what_they_meant() {
    let file = std::fs::read_to_string(directory().join("pickles.txt")).unwrap();
    let mut above = "";
    for line in file.lines() {
        let [name, who, data, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four fields: {line}")
        };
        above = if expected == "=" { above } else { expected };
        let found = match read(&unhex(data)) {
            Ok(value) => notation(&value),
            Err(error) if error.reason == "a value that contains itself" => "refused".into(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, above, "{name} by {who}: {data}");
    }
}

#[test]
fn recorded_objects_convert_like_the_containers_that_they_are() {
    fn check<T: FromValue + PartialEq + std::fmt::Debug>(wanted: &str, expected: T) {
        let file = std::fs::read_to_string(directory().join("pickles.txt")).unwrap();
        let mut count = 0;
        for line in file.lines().filter(|line| line.starts_with(&format!("{wanted}\t"))) {
            let value = read(&unhex(line.split('\t').nth(2).unwrap())).unwrap();
            let converted = T::from_value(value, &Context::detached());
            assert_eq!(converted.as_ref().ok(), Some(&expected), "{line}: {converted:?}");
            count += 1;
        }
        assert!(count > 1, "{wanted}");
    }
    let (a, b, x) = (String::from("a"), String::from("b"), String::from("x"));
    check("named tuple", (1, b.clone()));
    check("struct sequence", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    check("time", (1970, 1, 1, 0, 0, 0, 3, 1, 0));
    check("ordered dict", HashMap::from([(a.clone(), 2), (b, 1)]));
    check("ordered dict, empty", HashMap::<String, i64>::new());
    check("default dict", HashMap::from([(a.clone(), 1)]));
    check("counter", HashMap::from([(a.clone(), 2), (String::from("b"), 1)]));
    check("deque", vec![1, 2]);
    check("deque, bounded", vec![1, 2]);
    check("path", PathBuf::from("/usr/lib"));
    check("ListWithName", vec![1, 2]);
    check("DictWithName", HashMap::from([(a, 1)]));
    check("frozenset", HashSet::from([1, 2]));
    check("bytearray", vec![0_u8, 255]);
    check("text, surrogate escapes", OsString::from_vec(b"caf\xe9\xff.txt".to_vec()));
    check("tuple of 4", (0_u8, 1_i8, 2_u64, 3.0_f64));
    check("exception", (x, 5));
}

/// With `ECONTEXT_WRITE_VECTORS` in the environment the file is written anew.
#[test]
fn the_encoder_writes_the_bytes_that_are_stored() {
    let line = |value| format!("{}\t{}\n", hex(&encode(&value).unwrap()), notation(&value));
    let wanted: String = samples().into_iter().map(line).collect();
    let path = directory().join("rust.txt");
    if std::env::var_os("ECONTEXT_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    assert!(std::fs::read_to_string(path).unwrap() == wanted, "tests/vectors/rust.txt differs");
}

#[test]
fn every_python_reads_the_vectors() {
    for path in pythons() {
        let output = python(&path).arg(directory().join("check.py")).output().unwrap();
        assert!(
            output.status.success(),
            "{path:?} check.py: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
    }
}

#[test]
fn random_values_survive_the_way_through_every_python_and_back() {
    const SEED: u64 = 20160827;
    let mut random = Random(SEED);
    let values: Vec<Value> = (0..500).map(|_| random.value(4)).collect();
    let input: String = values.iter().map(|value| hex(&encode(value).unwrap()) + "\n").collect();
    for path in pythons() {
        let mut child = python(&path)
            .arg(directory().join("check.py"))
            .arg("--pipe")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.clone());
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "{path:?} check.py --pipe: {}", output.status);
        let output = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.lines().count(), values.len());
        for (value, line) in values.iter().zip(output.lines()) {
            let expected = notation(value);
            let (seen, pickles) = line.split_once('\t').unwrap();
            assert_eq!(seen, expected, "{path:?} read this, seed {SEED}");
            for data in pickles.split('\t') {
                let back = read(&unhex(data)).map(|value| notation(&value));
                assert_eq!(back.as_ref(), Ok(&expected), "{path:?} wrote {data}, seed {SEED}");
            }
        }
    }
}
