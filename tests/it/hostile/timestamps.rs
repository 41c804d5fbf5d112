//! When was it signed? Whole seconds in plain digits, five minutes in either direction.

use super::letter::STRICT_KEY;
use super::{Ignored, Refused, Row};

const NO_PROOF: super::Wants = Refused(&[401]);

pub(super) const ROWS: &[Row] = &[
    ("", "now", Ignored, |letter| letter.later(0).bytes()),
    ("B24", "4 minutes old", Ignored, |letter| letter.later(-240).bytes()),
    ("B25", "4 minutes ahead", Ignored, |letter| letter.later(240).bytes()),
    ("B24", "6 minutes old", NO_PROOF, |letter| letter.later(-360).bytes()),
    ("B25", "6 minutes ahead", NO_PROOF, |letter| letter.later(360).bytes()),
    ("B24", "a day old", NO_PROOF, |letter| letter.later(-86_400).bytes()),
    ("B26", "below zero", NO_PROOF, |letter| letter.at("-1772361605").bytes()),
    ("B27", "zero", NO_PROOF, |letter| letter.at("0").bytes()),
    ("B28", "milliseconds", NO_PROOF, |letter| {
        let at = format!("{}000", letter.at);
        letter.at(&at).bytes()
    }),
    ("B29", "beyond i64", NO_PROOF, |letter| letter.at("9223372036854775808").bytes()),
    ("B29", "beyond u64", NO_PROOF, |letter| letter.at("18446744073709551616").bytes()),
    ("B29", "the end of the calendar", NO_PROOF, |letter| letter.at("999999999999").bytes()),
    ("B30", "a plus sign", NO_PROOF, |letter| {
        let at = format!("+{}", letter.at);
        letter.at(&at).bytes()
    }),
    ("B30", "a leading zero", NO_PROOF, |letter| {
        let at = format!("0{}", letter.at);
        letter.at(&at).bytes()
    }),
    ("B30", "a decimal point", NO_PROOF, |letter| {
        let at = format!("{}.0", letter.at);
        letter.at(&at).bytes()
    }),
    ("B30", "an exponent", NO_PROOF, |letter| letter.at("1772361605e0").bytes()),
    ("B30", "hexadecimal", NO_PROOF, |letter| letter.at("0x69a41b45").bytes()),
    ("B30", "a space within", NO_PROOF, |letter| letter.at("177236 1605").bytes()),
    ("B30", "Arabic-Indic digits", NO_PROOF, |letter| letter.at("١٧٧٢٣٦١٦٠٥").bytes()),
    ("B30", "not a number", NO_PROOF, |letter| letter.at("NaN").bytes()),
    ("B30", "RFC 3339", NO_PROOF, |letter| letter.at("2026-03-01T10:40:05Z").bytes()),
    ("B30", "a list", NO_PROOF, |letter| {
        let at = format!("{},{}", letter.at, letter.at);
        letter.at(&at).bytes()
    }),
    ("B31", "two seconds old where none is tolerated", NO_PROOF, |mut letter| {
        (letter.source, letter.key) = ("strict", STRICT_KEY);
        letter.later(-2).bytes()
    }),
    ("B31", "two seconds ahead where none is tolerated", NO_PROOF, |mut letter| {
        (letter.source, letter.key) = ("strict", STRICT_KEY);
        letter.later(2).bytes()
    }),
];
