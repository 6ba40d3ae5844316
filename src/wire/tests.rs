use super::*;

const LIMIT: usize = 1 << 20;
const PROTECT: usize = 65536;
const HEADER: Header = Header { dst: 1, src: 2, auth: 3, handle: 4, reply_to: 5 };

fn key() -> Key {
    Key::from(*b"0123456789abcdefghij")
}

fn sealer() -> Sealer {
    Sealer::new(&key(), PROTECT)
}

fn decoder() -> Decoder {
    Decoder::new(&key(), PROTECT, LIMIT)
}

/// A frame as it travels.
fn frame(sealer: &mut Sealer, data: &[u8]) -> Vec<u8> {
    [&sealer.seal(&HEADER, data)[..], data].concat()
}

fn drain(decoder: &mut Decoder) -> Result<Vec<Vec<u8>>, WireError> {
    let mut all = Vec::new();
    while let Some(frame) = decoder.next_frame()? {
        assert_eq!(frame.header, HEADER);
        all.push(frame.data);
    }
    Ok(all)
}

fn decode(bytes: &[u8]) -> Result<Vec<Vec<u8>>, WireError> {
    let mut decoder = decoder();
    decoder.receive(bytes);
    let all = drain(&mut decoder)?;
    decoder.finish()?;
    Ok(all)
}

/// The error for these bytes, which must be the same whether they come at once or one by one (but that
/// less of a text is there to be quoted), and must stay; and its text.
fn error(bytes: &[u8]) -> (WireError, String) {
    let error = decode(bytes).unwrap_err();
    let mut decoder = decoder();
    let first = bytes.iter().find_map(|&byte| {
        decoder.receive(&[byte]);
        drain(&mut decoder).err()
    });
    if let Some(told) = &first {
        decoder.receive(&frame(&mut sealer(), b"a good one"));
        assert_eq!(decoder.next_frame().as_ref(), Err(told));
        assert_eq!(decoder.finish().as_ref(), Err(told));
    }
    match (&error, first.or_else(|| decoder.finish().err())) {
        (WireError::Text(all), Some(WireError::Text(some))) => assert!(all.starts_with(&some)),
        (error, told) => assert_eq!(Some(error), told.as_ref()),
    }
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?} is one line");
    (error, text)
}

/// Numbers that are the same in each run: xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = if text == "-" { "" } else { text };
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

#[test]
fn golden_frames_are_those_that_python_computes() {
    let lines = include_str!("../../tests/vectors/frames.txt").lines();
    for line in lines.clone() {
        let parts: Vec<&str> = line.split(' ').collect();
        let [
            name,
            key,
            direction,
            protect,
            number,
            dst,
            src,
            auth,
            handle,
            reply_to,
            data,
            repeat,
            head,
        ] = parts[..]
        else {
            panic!("{line}")
        };
        let key: [u8; MAC_BYTES] = hex(key).try_into().unwrap();
        let key = Key::from(key).derive(direction.as_bytes());
        let [dst, src, auth, handle, reply_to] =
            [dst, src, auth, handle, reply_to].map(|field| field.parse().unwrap());
        let header = Header { dst, src, auth, handle, reply_to };
        let data = hex(data).repeat(repeat.parse().unwrap());

        let mut sealer = Sealer::new(&key, protect.parse().unwrap());
        sealer.number = number.parse().unwrap();
        assert_eq!(sealer.seal(&header, &data)[..], hex(head), "{name}");

        let mut decoder = Decoder::new(&key, protect.parse().unwrap(), LIMIT);
        decoder.set_due(number.parse().unwrap());
        decoder.receive(&hex(head));
        decoder.receive(&data);
        assert_eq!(decoder.next_frame(), Ok(Some(Frame { header, data })), "{name}");
        decoder.finish().unwrap();
    }
    assert_eq!(lines.count(), 14);
}

#[test]
fn cost_is_the_length_field() {
    for len in [0, 1, 1000] {
        let head = sealer().seal(&HEADER, &vec![0; len]);
        assert_eq!(head[20..24], u32::try_from(cost(len)).unwrap().to_be_bytes());
    }
    assert_eq!(HEADER_BYTES, 44);
}

#[test]
fn frames_cut_at_every_byte_decode_the_same() {
    let datas = [b"".to_vec(), b"one".to_vec(), vec![2; 300], b"".to_vec(), b"last".to_vec()];
    let mut sealer = sealer();
    let bytes: Vec<u8> = datas.iter().flat_map(|data| frame(&mut sealer, data)).collect();
    for cut in 0..=bytes.len() {
        let mut decoder = decoder();
        let mut got = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            decoder.receive(part);
            got.extend(drain(&mut decoder).unwrap());
        }
        assert_eq!(got, datas, "cut at {cut}");
        decoder.finish().unwrap();
    }
}

#[test]
fn random_frames_in_random_cuts_decode_the_same() {
    for seed in 1..40 {
        let mut random = Random(seed);
        let protect = [0, 10, PROTECT, 200_000, usize::MAX][random.below(5)];
        let mut sealer = Sealer::new(&key(), protect);
        let mut decoder = Decoder::new(&key(), protect, LIMIT);
        let datas: Vec<Vec<u8>> = (0..random.below(30))
            .map(|_| {
                let len = [50, 5_000, 70_000, 400_000][random.below(4)];
                (0..random.below(len)).map(|_| random.below(256) as u8).collect()
            })
            .collect();
        let bytes: Vec<u8> = datas.iter().flat_map(|data| frame(&mut sealer, data)).collect();
        let (mut left, mut got) = (&bytes[..], Vec::new());
        while !left.is_empty() {
            // Sometimes as read(2) does it, sometimes fed; frames are not always taken out at once.
            let scale = [10, 1000, 100_000][random.below(3)];
            let mut count = (1 + random.below(scale)).min(left.len());
            if random.below(2) == 0 {
                decoder.receive(&left[..count]);
            } else {
                let room = decoder.space();
                count = count.min(room.len());
                room[..count].copy_from_slice(&left[..count]);
                decoder.filled(count);
            }
            left = &left[count..];
            if random.below(3) > 0 {
                got.extend(drain(&mut decoder).unwrap());
            }
        }
        got.extend(drain(&mut decoder).unwrap());
        assert!(got == datas, "seed {seed}");
        decoder.finish().unwrap();
    }
}

#[test]
fn the_rest_of_a_large_frame_is_read_into_its_own_buffer() {
    let data: Vec<u8> = (0..LIMIT).map(|at| at as u8).collect();
    let bytes = frame(&mut sealer(), &data);
    let mut decoder = decoder();
    decoder.receive(&bytes[..HEADER_BYTES + PROTECT - 1]);
    assert_eq!(decoder.next_frame(), Ok(None));
    decoder.receive(&bytes[HEADER_BYTES + PROTECT - 1..][..1]);
    assert_eq!(decoder.next_frame(), Ok(None));
    let rest = decoder.space();
    assert_eq!(rest.len(), LIMIT - PROTECT);
    rest.copy_from_slice(&data[PROTECT..]);
    let buffer = rest.as_ptr();
    decoder.filled(LIMIT - PROTECT);
    let frame = decoder.next_frame().unwrap().unwrap();
    assert!(frame.data == data);
    assert_eq!(frame.data[PROTECT..].as_ptr(), buffer);
    decoder.finish().unwrap();
}

#[test]
fn a_stream_that_carries_little_keeps_little_memory() {
    let (mut sealer, mut decoder) = (sealer(), decoder());
    for _ in 0..1000 {
        decoder.receive(&frame(&mut sealer, &[0; 200]));
        assert_eq!(drain(&mut decoder).unwrap().len(), 1);
        assert!(decoder.space().len() <= 8192);
    }
    // One that carries much is read in larger pieces, up to a limit.
    for _ in 0..5 {
        let burst = (0..10).flat_map(|_| frame(&mut sealer, &[0; 9000]));
        decoder.receive(&burst.collect::<Vec<u8>>());
        assert_eq!(drain(&mut decoder).unwrap().len(), 10);
    }
    assert_eq!(decoder.space().len(), 128 << 10);
}

#[test]
fn a_change_of_any_protected_bit_is_seen() {
    let data = b"some data";
    let good = frame(&mut sealer(), data);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bad).is_err(), "bit {bit}");
    }
    let mut bad = good;
    bad[0] ^= 0x80;
    let (error, text) = error(&bad);
    assert_eq!(error, WireError::Forged { number: 0 });
    assert_eq!(text, "frame 0 is forged or damaged");
}

#[test]
fn protection_ends_where_it_was_asked_to() {
    let data = vec![0; PROTECT + 1];
    let mut bytes = frame(&mut sealer(), &data);
    *bytes.last_mut().unwrap() = 1;
    assert_eq!(decode(&bytes).unwrap()[0][PROTECT], 1);
    bytes[HEADER_BYTES + PROTECT - 1] = 1;
    assert_eq!(decode(&bytes), Err(WireError::Forged { number: 0 }));
}

#[test]
fn a_large_forged_frame_is_refused_before_its_end() {
    let mut bytes = frame(&mut sealer(), &vec![0; LIMIT]);
    bytes[0] ^= 0x80;
    let mut decoder = decoder();
    decoder.receive(&bytes[..HEADER_BYTES + PROTECT]);
    assert_eq!(decoder.next_frame(), Err(WireError::Forged { number: 0 }));
}

#[test]
fn the_wrong_direction_or_key_is_forged() {
    let bytes = frame(&mut sealer(), b"data");
    for key in [key().derive(b"up"), key().derive(b"down")] {
        let mut decoder = Decoder::new(&key, PROTECT, LIMIT);
        decoder.receive(&bytes);
        assert_eq!(decoder.next_frame(), Err(WireError::Forged { number: 0 }));
    }
}

#[test]
fn a_replayed_frame_says_which() {
    let mut sealer = sealer();
    let frames: Vec<_> = (0..5).map(|_| frame(&mut sealer, b"data")).collect();
    let (error, text) = error(&[&frames[..], &frames[2..3]].concat().concat());
    assert_eq!(error, WireError::Replayed { number: 2, due: 5 });
    assert_eq!(text, "frame 2 was replayed where frame 5 was due");
}

#[test]
fn a_frame_that_was_reordered_or_lost_is_told_from_a_forged_one() {
    let mut sealer = sealer();
    let frames: Vec<_> = (0..5).map(|_| frame(&mut sealer, b"data")).collect();
    let (error, text) = error(&[&frames[0][..], &frames[3], &frames[1]].concat());
    assert_eq!(error, WireError::OutOfOrder { number: 3, due: 1 });
    assert_eq!(text, "frame 3 came where frame 1 was due: reordered or lost");
}

#[test]
fn the_search_for_a_frames_number_is_bounded() {
    let mut sealer = sealer();
    let mut first = Some(frame(&mut sealer, b"data"));
    let mut decoder = decoder();
    decoder.receive(first.as_ref().unwrap());
    for _ in 0..1024 {
        decoder.receive(&frame(&mut sealer, b"data"));
    }
    drain(&mut decoder).unwrap();
    decoder.receive(&first.take().unwrap());
    assert_eq!(decoder.next_frame(), Err(WireError::Forged { number: 1025 }));
}

#[test]
fn a_frame_above_the_limit_is_refused_from_its_header_alone() {
    assert_eq!(decode(&frame(&mut sealer(), &vec![0; LIMIT])).unwrap()[0].len(), LIMIT);
    let head = sealer().seal(&HEADER, &vec![0; LIMIT + 1]);
    let (error, text) = error(&head);
    assert_eq!(error, WireError::TooLong { claimed: LIMIT + 1, limit: LIMIT });
    assert_eq!(text, "a message of 1048577 bytes is above the limit of 1048576");
}

#[test]
fn a_length_below_the_header_is_refused() {
    let mut head = sealer().seal(&HEADER, b"");
    head[20..24].copy_from_slice(&19_u32.to_be_bytes());
    let (error, text) = error(&head);
    assert_eq!(error, WireError::TooShort { claimed: 19 });
    assert_eq!(text, "a frame claims to be 19 bytes, less than its header takes");
}

#[test]
fn an_end_inside_a_frame_says_how_much_is_missing() {
    for len in [0, 5, 300_000] {
        let whole = frame(&mut sealer(), &vec![0; len]);
        for have in [1, 43, 44, 46, 70_000, whole.len() - 1] {
            if have >= whole.len() {
                continue;
            }
            let want = if have < HEADER_BYTES { HEADER_BYTES } else { whole.len() };
            let result = decode(&whole[..have]);
            assert_eq!(result, Err(WireError::Truncated { have, want }), "{have} of {len}");
        }
    }
    let (_, text) = error(&frame(&mut sealer(), b"data")[..47]);
    assert_eq!(text, "the stream ended inside a frame, after 47 of 48 bytes");
}

#[test]
fn text_where_a_frame_should_be_is_quoted() {
    let good = frame(&mut sealer(), b"data");
    let quoted = |noise: &[u8]| error(&[&good, noise].concat()).1;
    assert_eq!(
        quoted(b"Traceback (most recent call last):\n  File \"x.py\", line 1, in <module>\n"),
        "text where a frame should be: \
         \"Traceback (most recent call last):\\n  File \\\"x.py\\\", line 1, in <mo\""
    );
    assert_eq!(
        quoted("\x1b[31mgr\u{fc}n\t\r\n".as_bytes()),
        "text where a frame should be: \"\\u{1b}[31mgrün\\t\\r\\n\""
    );
    // A line too short to be taken for a header is known at the end of the stream.
    assert_eq!(quoted(b"hi\n"), "text where a frame should be: \"hi\\n\"");
    // What follows the text is a frame; it is not quoted.
    let next = frame(&mut sealer(), b"next");
    let printed = quoted(&[b"printed\n", &next[..]].concat());
    assert!(printed.starts_with("text where a frame should be: \"printed\\n"), "{printed}");
}

#[test]
fn any_bytes_give_frames_or_an_error() {
    for seed in 1..2000 {
        let mut random = Random(seed);
        let mut bytes: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        // Mostly with a length that is not refused at once.
        if random.below(4) > 0 && bytes.len() > 24 {
            bytes[20..23].fill(0);
        }
        let _ = decode(&bytes);
    }
}
