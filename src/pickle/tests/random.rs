//! Random values and bytes, the same for a seed everywhere.

use crate::{BigInt, Value};

/// The generator SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// One of `0..bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// A value of the kinds that every Python sends back as they were.
    pub(super) fn value(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 7 } else { 11 };
        let count = self.below(5);
        match self.below(kinds) {
            0 => Value::None,
            1 => Value::Bool(self.below(2) == 1),
            2 => self.int(),
            3 => Value::Float(f64::from_bits(self.next())),
            4 => Value::Float(self.below(1000) as f64 / 8.0),
            5 => Value::Text(self.text()),
            6 => Value::Bytes(self.bytes(if count == 0 { 400 } else { 8 })),
            7 => Value::List((0..count).map(|_| self.value(depth - 1)).collect()),
            8 => Value::Tuple((0..count).map(|_| self.value(depth - 1)).collect()),
            9 => Value::Set((0..count).map(|index| self.key(index)).collect()),
            _ => Value::Dict(
                (0..count).map(|index| (self.key(index), self.value(depth - 1))).collect(),
            ),
        }
    }

    fn int(&mut self) -> Value {
        // Of any length in bits, so that each opcode has its turn.
        let bytes = self.bytes(20);
        let number = BigInt::from_le_bytes(&bytes);
        match i128::try_from(&number).map(i64::try_from) {
            Ok(Ok(number)) => Value::Int(number),
            _ => Value::BigInt(number),
        }
    }

    fn text(&mut self) -> String {
        let most = [0x80, 0x100, 0x3000, 0x11_0000][self.below(4)];
        (0..self.below(9)).filter_map(|_| char::from_u32(self.below(most) as u32)).collect()
    }

    /// A key that no other one in the same dict is equal to, in Python 2 either, where text may equal bytes.
    fn key(&mut self, index: usize) -> Value {
        match self.below(4) {
            0 => Value::Int(index as i64),
            1 => Value::Text(format!("{index}{}", self.text())),
            2 => Value::Bytes([b"b", &index.to_string().into_bytes()[..], &self.bytes(4)].concat()),
            _ => Value::Tuple(vec![Value::Int(index as i64), Value::Text(self.text())]),
        }
    }
}
