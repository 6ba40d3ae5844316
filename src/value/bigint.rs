//! Ints of any size, as pickle writes them: little-endian two's complement.
//!
//! Invariant: no spare sign bytes, and zero is no bytes at all; so equal ints are equal bytes.

use std::fmt;
use std::num::TryFromIntError;

/// An int of any size.
///
/// Converts from [`i128`] and [`u128`], and back with `try_from` where it fits; shows itself in decimal.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct BigInt(Vec<u8>);

impl BigInt {
    /// The int with these bytes, little-endian two's complement of any length.
    pub fn from_le_bytes(bytes: &[u8]) -> BigInt {
        let mut bytes = bytes;
        while let [rest @ .., last] = bytes {
            let sign = if rest.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
            if *last != sign {
                break;
            }
            bytes = rest;
        }
        BigInt(bytes.to_vec())
    }

    /// The fewest bytes that hold it, little-endian two's complement; none for zero.
    pub fn as_le_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.0.last().is_some_and(|byte| byte & 0x80 != 0)
    }

    /// Reads ASCII digits behind an optional minus. Takes time that grows with the square of their number.
    pub(crate) fn from_decimal(digits: &[u8]) -> Option<BigInt> {
        let (negative, digits) = match digits {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, digits),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut limbs: Vec<u32> = Vec::with_capacity(digits.len() / 9 + 1);
        // The first chunk is the short one, so that the others have nine digits each.
        let (first, rest) = digits.split_at(digits.len() % 9);
        for chunk in std::iter::once(first).chain(rest.chunks(9)) {
            let mut carry =
                chunk.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            for limb in &mut limbs {
                let sum = u64::from(*limb) * 1_000_000_000 + carry;
                *limb = sum as u32;
                carry = sum >> 32;
            }
            if carry != 0 {
                limbs.push(carry as u32);
            }
        }
        let mut bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        bytes.push(0);
        if negative {
            negate(&mut bytes);
        }
        Some(BigInt::from_le_bytes(&bytes))
    }

    /// Its bytes, extended with its sign to 16; `None` if there are more.
    fn to_le_16(&self) -> Option<[u8; 16]> {
        let mut bytes = [if self.is_negative() { 0xff } else { 0 }; 16];
        bytes.get_mut(..self.0.len())?.copy_from_slice(&self.0);
        Some(bytes)
    }
}

/// Two's complement, in place.
fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes {
        (*byte, carry) = (!*byte).overflowing_add(carry.into());
    }
}

impl fmt::Display for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.clone();
        if self.is_negative() {
            bytes.push(0xff); // room for the magnitude of a lowest value
            negate(&mut bytes);
        }
        let mut limbs: Vec<u32> = bytes
            .chunks(4)
            .map(|chunk| chunk.iter().rev().fold(0, |limb, byte| limb << 8 | u32::from(*byte)))
            .collect();
        let mut chunks = Vec::new(); // of nine digits, the lowest first
        loop {
            while limbs.last() == Some(&0) {
                limbs.pop();
            }
            let mut rest = 0;
            for limb in limbs.iter_mut().rev() {
                let number = rest << 32 | u64::from(*limb);
                *limb = (number / 1_000_000_000) as u32;
                rest = number % 1_000_000_000;
            }
            chunks.push(rest);
            if limbs.iter().all(|limb| *limb == 0) {
                break;
            }
        }
        let mut digits = String::with_capacity(chunks.len() * 9);
        for (index, chunk) in chunks.iter().rev().enumerate() {
            digits += &if index == 0 { format!("{chunk}") } else { format!("{chunk:09}") };
        }
        f.pad_integral(!self.is_negative(), "", &digits)
    }
}

impl fmt::Debug for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BigInt({self})")
    }
}

impl From<i128> for BigInt {
    fn from(number: i128) -> BigInt {
        BigInt::from_le_bytes(&number.to_le_bytes())
    }
}

impl From<u128> for BigInt {
    fn from(number: u128) -> BigInt {
        let mut bytes = [0; 17];
        bytes[..16].copy_from_slice(&number.to_le_bytes());
        BigInt::from_le_bytes(&bytes)
    }
}

impl TryFrom<&BigInt> for i128 {
    type Error = TryFromIntError;

    fn try_from(big: &BigInt) -> Result<i128, TryFromIntError> {
        big.to_le_16().map(i128::from_le_bytes).ok_or_else(out_of_range)
    }
}

impl TryFrom<&BigInt> for u128 {
    type Error = TryFromIntError;

    fn try_from(big: &BigInt) -> Result<u128, TryFromIntError> {
        let unsigned = match &big.0[..] {
            _ if big.is_negative() => return Err(out_of_range()),
            [rest @ .., 0] => BigInt(rest.to_vec()),
            _ => return i128::try_from(big).and_then(u128::try_from),
        };
        let mut bytes = [0; 16];
        bytes.get_mut(..unsigned.0.len()).ok_or_else(out_of_range)?.copy_from_slice(&unsigned.0);
        Ok(u128::from_le_bytes(bytes))
    }
}

impl TryFrom<BigInt> for i128 {
    type Error = TryFromIntError;

    fn try_from(big: BigInt) -> Result<i128, TryFromIntError> {
        i128::try_from(&big)
    }
}

impl TryFrom<BigInt> for u128 {
    type Error = TryFromIntError;

    fn try_from(big: BigInt) -> Result<u128, TryFromIntError> {
        u128::try_from(&big)
    }
}

/// What std says of an int that does not fit; it can only be had from a conversion that fails.
fn out_of_range() -> TryFromIntError {
    u8::try_from(-1).unwrap_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ints_show_themselves_in_decimal() {
        for number in [0, 1, -1, 127, -128, 999_999_999, 1_000_000_000, i128::MAX, i128::MIN] {
            let big = BigInt::from(number);
            assert_eq!(big.to_string(), number.to_string());
            assert_eq!(BigInt::from_decimal(number.to_string().as_bytes()), Some(big.clone()));
            assert_eq!(i128::try_from(big), Ok(number));
        }
        assert_eq!(BigInt::from(u128::MAX).to_string(), u128::MAX.to_string());
        let digits = format!("-1{}", "0".repeat(200));
        assert_eq!(BigInt::from_decimal(digits.as_bytes()).unwrap().to_string(), digits);
        assert_eq!(format!("{:?}", BigInt::from(5_i128)), "BigInt(5)");
    }

    #[test]
    fn conversions_back_tell_what_does_not_fit() {
        for number in [0, 1, 255, 1 << 127, u128::MAX] {
            assert_eq!(u128::try_from(BigInt::from(number)), Ok(number));
        }
        assert!(u128::try_from(BigInt::from(-1_i128)).is_err());
        assert!(i128::try_from(BigInt::from(u128::MAX)).is_err());
        let longer = BigInt::from_decimal("9".repeat(40).as_bytes()).unwrap();
        assert!(u128::try_from(&longer).is_err() && i128::try_from(&longer).is_err());
    }

    #[test]
    fn spare_sign_bytes_are_dropped() {
        for (bytes, kept) in [
            (&[0, 0][..], &[][..]),
            (&[0xff, 0xff], &[0xff]),
            (&[0x80, 0], &[0x80, 0]),
            (&[0x80, 0xff], &[0x80]),
            (&[5, 0, 0], &[5]),
        ] {
            assert_eq!(BigInt::from_le_bytes(bytes).as_le_bytes(), kept);
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", "-", "1x", "--1", "+1", " 1"] {
            assert_eq!(BigInt::from_decimal(text.as_bytes()), None, "{text:?}");
        }
    }
}
