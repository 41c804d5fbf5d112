//! Whose letter is it? Everything that is nearly proof.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::letter::{RETIRED_KEY, SEAM_KEY};
use super::{Ignored, Parked, Refused, Row};

const NO_PROOF: super::Wants = Refused(&[401]);
const CONTRADICTION: super::Wants = Refused(&[400]);

pub(super) const ROWS: &[Row] = &[
    ("", "a good letter", Ignored, |letter| letter.bytes()),
    ("", "svix-* headers", Ignored, |mut letter| {
        letter.family = "svix";
        letter.bytes()
    }),
    ("", "Seam's source", Ignored, |mut letter| {
        (letter.source, letter.key) = ("seam", SEAM_KEY);
        letter.bytes()
    }),
    ("B01", "no id", NO_PROOF, |letter| letter.post().without("webhook-id").bytes()),
    ("B02", "no timestamp", NO_PROOF, |letter| letter.post().without("webhook-timestamp").bytes()),
    ("B03", "no signature", NO_PROOF, |letter| letter.post().without("webhook-signature").bytes()),
    ("B01 B02 B03", "no header at all", NO_PROOF, |letter| {
        letter.post().without("webhook-id").without("webhook-timestamp").without("webhook-signature").bytes()
    }),
    ("B04", "an empty id", NO_PROOF, |letter| letter.id("").bytes()),
    ("B04", "an empty timestamp", NO_PROOF, |letter| letter.at("").bytes()),
    ("B04", "an empty signature", NO_PROOF, |letter| letter.signed_as("")),
    ("B05", "both families, the same", CONTRADICTION, |letter| {
        let signature = letter.signature();
        let post = letter.post().with("svix-id", letter.id.as_str()).with("svix-timestamp", letter.at.as_str());
        post.with("svix-signature", signature).bytes()
    }),
    ("B05", "both families, another id", CONTRADICTION, |letter| letter.post().with("svix-id", "msg_other").bytes()),
    ("B06", "the id from one family, the rest from the other", CONTRADICTION, |letter| {
        letter.post().without("webhook-id").with("svix-id", letter.id.as_str()).bytes()
    }),
    ("B07", "the id twice", CONTRADICTION, |letter| letter.post().with("webhook-id", "msg_other").bytes()),
    ("B07", "the id twice, in other letters", CONTRADICTION, |letter| {
        letter.post().with("Webhook-ID", "msg_other").bytes()
    }),
    ("B07", "the timestamp twice", CONTRADICTION, |letter| {
        letter.post().with("webhook-timestamp", letter.at.as_str()).bytes()
    }),
    ("B07", "the signature twice", CONTRADICTION, |letter| {
        letter.post().with("webhook-signature", letter.signature()).bytes()
    }),
    ("B08", "no version", NO_PROOF, |letter| letter.signed_as(STANDARD.encode(letter.mac()))),
    ("B09", "version v2", NO_PROOF, |letter| letter.signed_as(format!("v2,{}", STANDARD.encode(letter.mac())))),
    ("B09", "version v0", NO_PROOF, |letter| letter.signed_as(format!("v0,{}", STANDARD.encode(letter.mac())))),
    ("B09", "version V1", NO_PROOF, |letter| letter.signed_as(format!("V1,{}", STANDARD.encode(letter.mac())))),
    ("B10", "version v1a", NO_PROOF, |letter| letter.signed_as(format!("v1a,{}", STANDARD.encode(letter.mac())))),
    ("B08", "v1= for v1,", NO_PROOF, |letter| letter.signed_as(format!("v1={}", STANDARD.encode(letter.mac())))),
    ("B09", "an unknown version first", Ignored, |letter| letter.signed_as(format!("v9,abc {}", letter.signature()))),
    ("B12", "a wrong one first", Ignored, |letter| {
        letter.signed_as(format!("v1,{} {}", STANDARD.encode([0; 32]), letter.signature()))
    }),
    ("B15", "sixteen signatures", Ignored, |letter| {
        letter.signed_as(format!("{}{}", "v1,x ".repeat(15), letter.signature()))
    }),
    ("B15", "seventeen signatures", NO_PROOF, |letter| {
        letter.signed_as(format!("{}{}", "v1,x ".repeat(16), letter.signature()))
    }),
    ("B15", "3,000 signatures", NO_PROOF, |letter| {
        letter.signed_as(format!("{}{}", "v1,x ".repeat(3000), letter.signature()))
    }),
    ("B13", "a comma between signatures", NO_PROOF, |letter| {
        letter.signed_as(format!("{},{}", letter.signature(), letter.signature()))
    }),
    ("B11", "no padding", NO_PROOF, |letter| letter.signed_as(letter.signature().trim_end_matches('='))),
    ("B11", "the URL alphabet", NO_PROOF, |mut letter| {
        // Until the signature has a character in which the alphabets differ.
        while STANDARD.encode(letter.mac()) == URL_SAFE.encode(letter.mac()) {
            letter.id.push('x');
        }
        letter.signed_as(format!("v1,{}", URL_SAFE.encode(letter.mac())))
    }),
    ("B11", "a space within", NO_PROOF, |letter| {
        let mut signature = letter.signature();
        signature.insert(20, ' ');
        letter.signed_as(signature)
    }),
    ("B12", "one bit off", NO_PROOF, |letter| {
        let mut mac = letter.mac();
        mac[31] ^= 1;
        letter.signed_as(format!("v1,{}", STANDARD.encode(mac)))
    }),
    ("B11", "the unused bits of base64 set", NO_PROOF, |letter| {
        let signature = letter.signature();
        let at = signature.len() - 2;
        let last = signature.as_bytes()[at];
        let other = char::from(if last.is_ascii_digit() || last == b'/' { last - 1 } else { last + 1 });
        letter.signed_as(format!("{}{other}=", &signature[..at]))
    }),
    ("B13", "cut short", NO_PROOF, |letter| letter.signed_as(&letter.signature()[..30])),
    ("B13", "nothing after the version", NO_PROOF, |letter| letter.signed_as("v1,")),
    ("B14", "hexadecimal", NO_PROOF, |letter| {
        let hex: Vec<String> = letter.mac().iter().map(|byte| format!("{byte:02x}")).collect();
        letter.signed_as(format!("v1,{}", hex.concat()))
    }),
    ("B16", "bytes beyond ASCII", NO_PROOF, |letter| letter.signed_as(b"v1,\xff\xfe\xfd".as_slice())),
    ("B17", "another source's key", NO_PROOF, |mut letter| {
        letter.key = SEAM_KEY;
        letter.bytes()
    }),
    ("B18", "a key that was retired", NO_PROOF, |mut letter| {
        letter.key = RETIRED_KEY;
        letter.bytes()
    }),
    ("B17", "to another source", NO_PROOF, |letter| letter.post_to("seam").bytes()),
    ("B17", "to no source", NO_PROOF, |letter| letter.post_to("nobody").bytes()),
    ("B22", "the key's text for the key", NO_PROOF, |mut letter| {
        // base64 of the text `whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`.
        letter.key = "d2hzZWNfTWZLUTlyOEdLWXFyVHdqVVBEOElMUFpJbzJMYUxhU3c=";
        letter.bytes()
    }),
    ("B20", "the algorithm chosen by the request", NO_PROOF, |letter| {
        letter.signed_as(format!("sha1={}", STANDARD.encode(&letter.mac()[..20])))
    }),
    ("B19", "other bytes, the same JSON", NO_PROOF, |letter| {
        let body = String::from_utf8(letter.body.clone()).expect("text").replace(':', ": ");
        letter.post().body(body).bytes()
    }),
    ("B23", "an id with a dot", NO_PROOF, |letter| letter.id("msg.1").bytes()),
    ("B23", "the boundary moved from the id to the timestamp", NO_PROOF, |letter| {
        let at = letter.at.clone();
        letter.clone().id("msg_1").at(&at).post().set("webhook-id", "msg_1.".to_owned() + &at).bytes()
    }),
    ("B23", "an id of 256 bytes", Ignored, |letter| letter.id(&"i".repeat(256)).bytes()),
    ("B23", "an id of 257 bytes", NO_PROOF, |letter| letter.id(&"i".repeat(257)).bytes()),
    ("B23", "an id with a space", NO_PROOF, |letter| letter.id("msg 1").bytes()),
    ("B23", "an id with a tab", NO_PROOF, |letter| letter.id("msg\t1").bytes()),
    ("B23", "an id beyond ASCII", NO_PROOF, |letter| letter.id("msg_é").bytes()),
    ("B23 B74", "an id with an escape", Refused(&[400]), |letter| letter.id("msg_\u{1b}[31m").bytes()),
    ("", "genuine and unreadable", Parked("not the JSON"), |letter| letter.body("{").bytes()),
];
