//! What may be the name of something that is configured: short, and harmless in a URL, a header, a log or a metric.

/// Bytes of a source's name.
pub const SOURCE_BYTES_MAX: usize = 64;
/// Bytes of a secret's name.
pub const SECRET_BYTES_MAX: usize = 32;

/// A source's: `[a-z0-9-]{1,64}`.
#[must_use]
pub fn is_source(name: &str) -> bool {
    is_name(name, SOURCE_BYTES_MAX, b"-")
}

/// A secret's: `[a-z0-9._-]{1,32}`.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    is_name(name, SECRET_BYTES_MAX, b"._-")
}

fn is_name(name: &str, bytes_max: usize, others: &[u8]) -> bool {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || others.contains(&byte);
    (1..=bytes_max).contains(&name.len()) && name.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_plain() {
        let longest = "x".repeat(64);
        for good in ["seam", "hid-origo", "7", &longest] {
            assert!(is_source(good), "{good}");
        }
        for bad in ["", "Seam", "a_b", "a.b", "a/b", "ä", "a b", &(longest + "x")] {
            assert!(!is_source(bad), "{bad}");
        }
        assert!(is_secret("2026-03.old_one") && is_secret(&"x".repeat(32)));
        assert!(!is_secret("") && !is_secret("März") && !is_secret(&"x".repeat(33)));
    }
}
