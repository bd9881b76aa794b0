//! The checksums that real tokens carry.

use super::random::{Random, UPPER};

/// CRC-32 as in IEEE 802.3.
#[must_use]
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// `number` in base 62, six digits.
#[must_use]
pub(super) fn base62(mut number: u32) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    digits.map(char::from).iter().collect()
}

/// 32 random bytes in Bech32 for people to keep: 52 data digits and 6 of checksum.
pub(super) fn bech32(prefix: &str, random: &mut Random) -> String {
    const DIGITS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let mut data: Vec<u8> = (0..52).map(|_| random.bits().to_le_bytes()[0] & 31).collect();
    // 260 bits carry 256: the last digit's four low bits are padding.
    data[51] &= 16;
    let mut all: Vec<u8> = prefix.bytes().map(|byte| byte >> 5).collect();
    all.push(0);
    all.extend(prefix.bytes().map(|byte| byte & 31));
    all.extend(&data);
    all.extend([0; 6]);
    let sum = polymod(&all) ^ 1;
    data.extend((0..6).map(|digit| (sum >> (5 * (5 - digit)) & 31) as u8));
    let digits: String = data.iter().map(|digit| char::from(DIGITS[usize::from(*digit)])).collect();
    format!("{prefix}1{digits}")
}

fn polymod(values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.iter().fold(1, |sum: u32, value| {
        let next = (sum & 0x1ff_ffff) << 5 ^ u32::from(*value);
        (0..5).filter(|bit| sum >> 25 >> bit & 1 == 1).fold(next, |next, bit| next ^ GENERATOR[bit])
    })
}

/// An account's part of an AWS key id: base 32.
pub(super) fn aws_id(random: &mut Random) -> String {
    random.of(super::random::BASE32, 16)
}

/// The same as the published set takes it: any capital or digit.
pub(super) fn wide_aws_id(random: &mut Random) -> String {
    random.of(UPPER, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_published_check_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(base62(61), "00000z");
        assert_eq!(base62(62 * 62), "000100");
    }

    #[test]
    fn bech32_checks_out() {
        let key = bech32("age-secret-key-", &mut Random::named(1, "bech32"));
        assert_eq!(key.len(), "age-secret-key-1".len() + 58);
        // BIP 173: over prefix, data and checksum together the remainder is 1.
        let (prefix, data) = key.rsplit_once('1').unwrap();
        let digit = |byte: u8| b"qpzry9x8gf2tvdw0s3jn54khce6mua7l".iter().position(|d| *d == byte);
        let mut all: Vec<u8> = prefix.bytes().map(|byte| byte >> 5).collect();
        all.push(0);
        all.extend(prefix.bytes().map(|byte| byte & 31));
        all.extend(data.bytes().map(|byte| u8::try_from(digit(byte).unwrap()).unwrap()));
        assert_eq!(polymod(&all), 1);
    }
}
