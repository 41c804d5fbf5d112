//! When was it signed? Whole seconds in plain digits, five minutes in either direction.

use super::{Ignored, Refused, Row};

const NO_PROOF: super::Wants = Refused(&[401]);

pub(super) const ROWS: &[Row] = &[
    ("now", Ignored, |letter| letter.later(0).bytes()),
    ("4 minutes old", Ignored, |letter| letter.later(-240).bytes()),
    ("4 minutes ahead", Ignored, |letter| letter.later(240).bytes()),
    ("6 minutes old", NO_PROOF, |letter| letter.later(-360).bytes()),
    ("6 minutes ahead", NO_PROOF, |letter| letter.later(360).bytes()),
    ("a day old", NO_PROOF, |letter| letter.later(-86_400).bytes()),
    ("below zero", NO_PROOF, |letter| letter.at("-1772361605").bytes()),
    ("zero", NO_PROOF, |letter| letter.at("0").bytes()),
    ("milliseconds", NO_PROOF, |letter| {
        let at = format!("{}000", letter.at);
        letter.at(&at).bytes()
    }),
    ("beyond i64", NO_PROOF, |letter| letter.at("9223372036854775808").bytes()),
    ("beyond u64", NO_PROOF, |letter| letter.at("18446744073709551616").bytes()),
    ("the end of the calendar", NO_PROOF, |letter| letter.at("999999999999").bytes()),
    ("a plus sign", NO_PROOF, |letter| {
        let at = format!("+{}", letter.at);
        letter.at(&at).bytes()
    }),
    ("a leading zero", NO_PROOF, |letter| {
        let at = format!("0{}", letter.at);
        letter.at(&at).bytes()
    }),
    ("a decimal point", NO_PROOF, |letter| {
        let at = format!("{}.0", letter.at);
        letter.at(&at).bytes()
    }),
    ("an exponent", NO_PROOF, |letter| letter.at("1772361605e0").bytes()),
    ("hexadecimal", NO_PROOF, |letter| letter.at("0x69a41b45").bytes()),
    ("a space within", NO_PROOF, |letter| letter.at("177236 1605").bytes()),
    ("Arabic-Indic digits", NO_PROOF, |letter| letter.at("١٧٧٢٣٦١٦٠٥").bytes()),
    ("not a number", NO_PROOF, |letter| letter.at("NaN").bytes()),
    ("RFC 3339", NO_PROOF, |letter| letter.at("2026-03-01T10:40:05Z").bytes()),
    ("a list", NO_PROOF, |letter| {
        let at = format!("{},{}", letter.at, letter.at);
        letter.at(&at).bytes()
    }),
];
