//! What a text may do to whoever looks at it.

/// Control characters, and those that turn the direction of text around: on a terminal or in a log they make a line say
/// something else than is in it.
#[must_use]
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
