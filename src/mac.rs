//! HMAC-SHA1 (RFC 2104), and the keys that frames are signed with.
//!
//! Invariant: a key never appears in an error, a log or a `Debug` text; it is wiped when it is dropped.

use std::{fmt, hint, io};

use sha1_smol::Sha1;

use crate::sys;

/// The bytes of a MAC and of a key.
pub(crate) const MAC_BYTES: usize = 20;

/// A secret that a stream's two ends share.
#[derive(Clone)]
pub(crate) struct Key([u8; MAC_BYTES]);

impl Key {
    /// A fresh key from the system's random source.
    pub fn random() -> io::Result<Key> {
        let mut key = Key([0; MAC_BYTES]);
        sys::entropy(&mut key.0)?;
        Ok(key)
    }

    /// A key for one purpose, HMAC-SHA1(self, label): what knows it knows neither this key nor the one
    /// for another purpose.
    pub fn derive(&self, label: &[u8]) -> Key {
        Key(Hmac::new(&self.0).mac(&[label]))
    }

    /// The secret itself, for the configuration block and nothing else.
    pub fn bytes(&self) -> &[u8; MAC_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl From<[u8; MAC_BYTES]> for Key {
    fn from(bytes: [u8; MAC_BYTES]) -> Key {
        Key(bytes)
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.fill(0);
        // Without a reader, the compiler may leave the write out.
        hint::black_box(&self.0);
    }
}

/// HMAC-SHA1 under one key, whose two blocks have been hashed already: each MAC of a short message
/// costs two blocks rather than four.
#[derive(Clone)]
pub(crate) struct Hmac {
    inner: Sha1,
    outer: Sha1,
}

impl Hmac {
    /// A key longer than the 64-byte block is hashed first.
    pub fn new(key: &[u8]) -> Hmac {
        let mut block = [0; BLOCK_BYTES];
        if key.len() > BLOCK_BYTES {
            block[..MAC_BYTES].copy_from_slice(&Sha1::from(key).digest().bytes());
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        Hmac {
            inner: Sha1::from(block.map(|byte| byte ^ 0x36)),
            outer: Sha1::from(block.map(|byte| byte ^ 0x5c)),
        }
    }

    /// The MAC of the concatenated `parts`. Compare MACs with [`verify`].
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        let mut inner = self.inner.clone();
        for part in parts {
            inner.update(part);
        }
        let mut outer = self.outer.clone();
        outer.update(&inner.digest().bytes());
        outer.digest().bytes()
    }
}

/// Whether two MACs are equal; takes as long for a near miss as for a far one.
pub(crate) fn verify(a: &[u8; MAC_BYTES], b: &[u8; MAC_BYTES]) -> bool {
    let difference = a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b));
    // Else the compiler may turn the fold into a loop that stops early.
    hint::black_box(difference) == 0
}

const BLOCK_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &[u8], message: &[u8], hex: &str) {
        let mac = Hmac::new(key).mac(&[message]);
        assert_eq!(mac.map(|byte| format!("{byte:02x}")).concat(), hex);
    }

    #[test]
    fn rfc2202_case_1() {
        check(&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00");
    }

    #[test]
    fn rfc2202_case_2_key_shorter_than_a_mac() {
        let message = b"what do ya want for nothing?";
        check(b"Jefe", message, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
    }

    #[test]
    fn rfc2202_case_3() {
        check(&[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3");
    }

    #[test]
    fn rfc2202_case_4() {
        let key: Vec<u8> = (1..=25).collect();
        check(&key, &[0xcd; 50], "4c9007f4026250c6bc8414f9bf50c86c2d7235da");
    }

    #[test]
    fn rfc2202_case_5() {
        let message = b"Test With Truncation";
        check(&[0x0c; 20], message, "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04");
    }

    #[test]
    fn rfc2202_case_6_key_longer_than_a_block() {
        let message = b"Test Using Larger Than Block-Size Key - Hash Key First";
        check(&[0xaa; 80], message, "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    #[test]
    fn rfc2202_case_7_key_and_message_longer_than_a_block() {
        let message = b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data";
        check(&[0xaa; 80], message, "e8e99d0f45237d786d6bbaa7965c7808bbff1a91");
    }

    #[test]
    fn parts_are_hashed_as_one_message() {
        let hmac = Hmac::new(b"key");
        let whole: Vec<u8> = (0..=255).collect();
        for cut in 0..=whole.len() {
            let (head, tail) = whole.split_at(cut);
            assert_eq!(hmac.mac(&[head, b"", tail]), hmac.mac(&[&whole]), "cut at {cut}");
        }
    }

    #[test]
    fn verify_sees_a_difference_in_every_bit() {
        let mac = Hmac::new(b"key").mac(&[b"message"]);
        assert!(verify(&mac, &mac.clone()));
        for bit in 0..MAC_BYTES * 8 {
            let mut other = mac;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&mac, &other), "bit {bit}");
        }
    }

    #[test]
    fn keys_are_apart_and_do_not_print() {
        let key = Key::random().unwrap();
        assert_ne!(key.bytes(), Key::random().unwrap().bytes());
        assert_ne!(key.derive(b"up").bytes(), key.derive(b"down").bytes());
        assert_eq!(key.derive(b"up").bytes(), &Hmac::new(key.bytes()).mac(&[b"up"]));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }
}
