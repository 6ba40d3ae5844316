//! Bytes that nobody wrote: a value or an error, within the limits, and no panic.

use super::random::Random;
use super::vectors::recorded;
use super::*;

const LIMITS: Limits = Limits { message: 10_000, values: 3000, bytes: 10_000, router: None };

/// Values and bytes in it, as the limits count them.
fn cost(value: &Value) -> (usize, usize) {
    let (mut values, mut bytes) = (0, 0);
    let mut rest = vec![value];
    while let Some(value) = rest.pop() {
        values += 1;
        match value {
            Value::Text(text) => bytes += text.len(),
            Value::Bytes(data) => bytes += data.len(),
            Value::BigInt(number) => bytes += number.as_le_bytes().len(),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) => rest.extend(items),
            Value::Dict(entries) => rest.extend(entries.iter().flat_map(|(k, v)| [k, v])),
            Value::Object { class, args, kwargs, state, items, entries } => {
                bytes += class.len();
                rest.extend(args.iter().chain(items).chain(state.as_deref()));
                rest.extend(kwargs.iter().chain(entries).flat_map(|(k, v)| [k, v]));
            }
            _ => {}
        }
    }
    (values, bytes)
}

fn try_to_read(data: &[u8]) -> bool {
    match decode(data, &LIMITS) {
        Ok(value) => {
            let (values, bytes) = cost(&value);
            // The root itself is free.
            assert!(
                values <= LIMITS.values + 1 && bytes <= LIMITS.bytes,
                "{}",
                data.escape_ascii()
            );
            true
        }
        Err(error) => {
            assert!(error.offset <= data.len(), "{}", data.escape_ascii());
            assert!(!error.reason.is_empty());
            false
        }
    }
}

#[test]
fn random_opcodes_never_panic() {
    // What a machine that is fed at random mostly needs, more often than anything else.
    let helpful = b"NNN((]})0h\x00q\x00\x94tlda\x85\x86\x87R\x81\x92b\x90\x91\x8fesu2.";
    let mut random = Random(1);
    let mut values = 0;
    for _ in 0..100_000 {
        let mut data = Vec::new();
        for _ in 0..random.below(25) {
            match random.below(8) {
                0 => data.push(random.next() as u8),
                1 => data.extend(b"ca\nb\n"),
                2 => data.extend([b'h', random.below(3) as u8]),
                3 => data.extend([b'q', random.below(3) as u8]),
                _ => data.push(helpful[random.below(helpful.len())]),
            }
        }
        data.push(b'.');
        values += usize::from(try_to_read(&data));
    }
    assert!(values > 1000, "so few are values that nothing was tried: {values}");
}

#[test]
fn mutated_pickles_never_panic() {
    let pickles: Vec<Vec<u8>> =
        recorded().into_iter().filter(|pickle| pickle.len() < 1000).collect();
    let mut random = Random(2);
    let mut values = 0;
    for round in 0..50_000 {
        let mut data = pickles[round % pickles.len()].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(data.len());
            match random.below(4) {
                0 => data[at] = random.next() as u8,
                1 => data[at] ^= 1 << random.below(8),
                2 => drop(data.drain(at..(at + random.below(4)).min(data.len()))),
                _ => {
                    let other = &pickles[random.below(pickles.len())];
                    let from = random.below(other.len());
                    data.splice(at..at, other[from..].iter().take(8).copied());
                }
            }
            if data.is_empty() {
                data.push(b'.');
            }
        }
        values += usize::from(try_to_read(&data));
    }
    assert!(values > 1000, "so few are values that nothing was tried: {values}");
}

#[test]
fn recorded_pickles_cut_at_any_byte_tell_where() {
    for pickle in recorded() {
        for cut in (0..pickle.len()).step_by(pickle.len().div_ceil(100)) {
            let error = read(&pickle[..cut]).unwrap_err();
            assert!(error.offset <= cut, "{}", pickle[..cut].escape_ascii());
        }
    }
}
