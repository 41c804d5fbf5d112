//! Whose request is it? The recorded deliveries, and everything that is nearly one.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;
use keyferry::clock;
use keyferry::receiver::verify::Refusal::{self, *};
use keyferry::receiver::verify::standard_webhooks::sign;
use keyferry::receiver::{Kind, Source, SourceError};
use serde_json::Value;

use super::{APP_SECRET, OLD_SECRET, SECRET, TOLERANCE, fixture, seam, secret, sent_at};

fn vectors() -> Value {
    serde_json::from_str(&fixture("vectors.json")).expect("JSON")
}

fn headers(vectors: &Value, which: &str) -> HeaderMap {
    let header = |(name, value): (&String, &Value)| {
        let value = value.as_str().expect("a string");
        (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
    };
    vectors[which].as_object().expect("headers").iter().map(header).collect()
}

fn source(secrets: &[&str]) -> Source {
    let secrets = secrets.iter().map(|text| secret(text)).collect();
    Source::new("seam", Kind::Seam, secrets, TOLERANCE).expect("a good source")
}

#[test]
fn recorded_deliveries_are_proven() {
    let vectors = vectors();
    let body = Bytes::from(vectors["body"].as_str().expect("a body").to_owned());
    let cases: [(&str, &[&str], bool); 9] = [
        ("headers_single", &[SECRET], true),
        ("headers_single", &[OLD_SECRET, SECRET], true),
        ("headers_single", &[OLD_SECRET], false),
        ("headers_rotation", &[SECRET], true),
        ("headers_rotation", &[OLD_SECRET], true),
        ("headers_rotation", &[APP_SECRET], false),
        ("headers_standard", &[SECRET], true),
        ("headers_hmac_and_ed25519", &[SECRET], true),
        ("headers_hmac_and_ed25519", &[APP_SECRET], false),
    ];
    for (which, secrets, good) in cases {
        let verdict = source(secrets).verify(&headers(&vectors, which), body.clone(), sent_at());
        assert_eq!(verdict.is_ok(), good, "{which}: {verdict:?}");
        if let Ok(delivery) = verdict {
            assert_eq!(delivery.delivery_id(), vectors["message_id"]);
            assert_eq!(delivery.proof().sent_at(), Some(sent_at()));
            assert_eq!(delivery.body(), &body);
        }
    }
}

#[test]
fn our_own_signature_is_the_recorded_one() {
    let vectors = vectors();
    let (id, body) = (vectors["message_id"].as_str().expect("an id"), vectors["body"].as_str().expect("a body"));
    let signature = sign(&secret(SECRET), id, sent_at(), body.as_bytes());
    assert_eq!(signature, vectors["headers_single"]["svix-signature"]);
}

/// One way to spoil a good delivery.
type Spoil = fn(&mut HeaderMap);

fn set(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    headers.insert(name, HeaderValue::from_bytes(value).expect("a header value"));
}

fn signature(headers: &HeaderMap) -> String {
    headers["svix-signature"].to_str().expect("ASCII").to_owned()
}

/// Signs again, so that only what was spoilt can be the reason.
fn set_signed(headers: &mut HeaderMap, id: &str, timestamp: &str) {
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let engine = base64::engine::general_purpose::STANDARD;
    let key = engine.decode(&SECRET["whsec_".len()..]).expect("base64");
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).expect("a key");
    mac.update(format!("{id}.{timestamp}.{BODY}").as_bytes());
    set(headers, "svix-id", id.as_bytes());
    set(headers, "svix-timestamp", timestamp.as_bytes());
    set(headers, "svix-signature", format!("v1,{}", engine.encode(mac.finalize().into_bytes())).as_bytes());
}

const BODY: &str = "{}";
const ID: &str = "msg_1";

fn good_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    set_signed(&mut headers, ID, "1772361605");
    headers
}

#[test]
fn nearly_is_not_enough() {
    let cases: Vec<(&str, Refusal, Spoil)> = vec![
        ("no id", IdMissing, |h| drop(h.remove("svix-id"))),
        ("no timestamp", TimestampMissing, |h| drop(h.remove("svix-timestamp"))),
        ("no signature", SignatureMissing, |h| drop(h.remove("svix-signature"))),
        ("no headers", IdMissing, HeaderMap::clear),
        ("empty id", IdMalformed, |h| set(h, "svix-id", b"")),
        ("empty timestamp", TimestampMalformed, |h| set(h, "svix-timestamp", b"")),
        ("empty signature", SignatureMalformed, |h| set(h, "svix-signature", b"")),
        ("id with a dot", IdMalformed, |h| set_signed(h, "msg.1", "1772361605")),
        ("the boundary moved", IdMalformed, |h| set(h, "svix-id", b"msg_1.1772361605")),
        ("id with a space", IdMalformed, |h| set_signed(h, "msg 1", "1772361605")),
        ("id with a tab", IdMalformed, |h| set_signed(h, "msg\t1", "1772361605")),
        ("id not ASCII", IdMalformed, |h| set(h, "svix-id", "msg_é".as_bytes())),
        ("id too long", IdMalformed, |h| set_signed(h, &"m".repeat(257), "1772361605")),
        ("other id", SignatureWrong, |h| set(h, "svix-id", b"msg_2")),
        ("other timestamp", SignatureWrong, |h| set(h, "svix-timestamp", b"1772361606")),
        ("id twice", HeaderRepeated, |h| {
            h.append("svix-id", HeaderValue::from_static(ID));
        }),
        ("timestamp twice", HeaderRepeated, |h| {
            h.append("svix-timestamp", HeaderValue::from_static("1772361605"));
        }),
        ("signature twice", HeaderRepeated, |h| {
            h.append("svix-signature", h["svix-signature"].clone());
        }),
        ("both families", FamiliesMixed, |h| set(h, "webhook-id", ID.as_bytes())),
        ("signature of the other family", FamiliesMixed, |h| {
            let signature = h.remove("svix-signature").expect("a signature");
            h.insert("webhook-signature", signature);
        }),
        ("no version", SignatureMalformed, |h| set(h, "svix-signature", &signature(h).as_bytes()["v1,".len()..])),
        ("version only", SignatureMalformed, |h| set(h, "svix-signature", b"v1,")),
        ("unknown version", SignatureMalformed, |h| {
            set(h, "svix-signature", signature(h).replace("v1,", "v2,").as_bytes());
        }),
        ("v1a as v1", SignatureMalformed, |h| {
            set(h, "svix-signature", format!("v1,{}", "e0Yn".repeat(22)).as_bytes());
        }),
        ("in hex", SignatureMalformed, |h| set(h, "svix-signature", format!("v1,{}", "0f".repeat(32)).as_bytes())),
        ("unpadded", SignatureMalformed, |h| {
            set(h, "svix-signature", signature(h).trim_end_matches('=').as_bytes());
        }),
        ("trailing bits", SignatureMalformed, |h| {
            set(h, "svix-signature", format!("v1,{}B=", "A".repeat(42)).as_bytes());
        }),
        ("URL alphabet", SignatureMalformed, |h| {
            set(h, "svix-signature", format!("v1,{}-_8=", "A".repeat(40)).as_bytes());
        }),
        ("not ASCII", SignatureMalformed, |h| set(h, "svix-signature", b"v1,\xff\xfe")),
        ("another algorithm", SignatureMalformed, |h| {
            set(h, "svix-signature", signature(h).replace("v1,", "sha1=").as_bytes());
        }),
        ("right length, wrong bytes", SignatureWrong, |h| {
            set(h, "svix-signature", format!("v1,{}=", "A".repeat(43)).as_bytes());
        }),
        ("ten thousand signatures", TooManySignatures, |h| {
            set(h, "svix-signature", "v1,x ".repeat(10_000).trim_end().as_bytes());
        }),
        ("the seventeenth is right", TooManySignatures, |h| {
            set(h, "svix-signature", format!("{}{}", "v1,x ".repeat(16), signature(h)).as_bytes());
        }),
    ];
    for (what, expected, spoil) in cases {
        let mut headers = good_headers();
        spoil(&mut headers);
        let verdict = seam().verify(&headers, Bytes::from_static(BODY.as_bytes()), sent_at());
        assert_eq!(verdict.expect_err(what), expected, "{what}");
    }
    let mut headers = good_headers();
    let sixteenth = format!("{}{}", "v2,x ".repeat(15), signature(&headers));
    set(&mut headers, "svix-signature", sixteenth.as_bytes());
    assert!(seam().verify(&headers, Bytes::from_static(BODY.as_bytes()), sent_at()).is_ok(), "others are skipped");
}

#[test]
fn a_timestamp_is_plain_digits() {
    for bad in [
        "-1772361605",
        "+1772361605",
        "01772361605",
        " 1772361605",
        "1772361605.0",
        "1.7e9",
        "0x69a41d05",
        "NaN",
        "١٧٧٢٣٦١٦٠٥",
        "1772361605000000000",
        "99999999999999999999",
        "999999999999",
        "17723616_05",
    ] {
        let mut headers = good_headers();
        set_signed(&mut headers, ID, bad);
        let verdict = seam().verify(&headers, Bytes::from_static(BODY.as_bytes()), sent_at());
        assert_eq!(verdict.expect_err(bad), TimestampMalformed, "{bad}");
    }
    for (stale, expected) in [("0", TooOld), ("1", TooOld), ("177236160500", TooEarly)] {
        let mut headers = good_headers();
        set_signed(&mut headers, ID, stale);
        let verdict = seam().verify(&headers, Bytes::from_static(BODY.as_bytes()), sent_at());
        assert_eq!(verdict.expect_err(stale), expected, "{stale}");
    }
}

#[test]
fn the_window_is_open_on_both_sides_and_no_wider() {
    for (tolerance, seconds, expected) in [
        (300, 0, None),
        (300, 300, None),
        (300, 301, Some(TooOld)),
        (300, -300, None),
        (300, -301, Some(TooEarly)),
        (0, 0, None),
        (0, 1, Some(TooOld)),
        (0, -1, Some(TooEarly)),
    ] {
        let tolerance = SignedDuration::from_secs(tolerance);
        let source = Source::new("seam", Kind::Seam, vec![secret(SECRET)], tolerance).expect("a good source");
        // Almost a whole second later is still the same second: a sender signs whole seconds.
        let now = clock::add(sent_at(), SignedDuration::new(seconds, 0));
        for now in [now, clock::add(now, SignedDuration::from_millis(999))] {
            let verdict = source.verify(&good_headers(), Bytes::from_static(BODY.as_bytes()), now);
            assert_eq!(verdict.err(), expected, "{seconds} s later, tolerance {tolerance}");
        }
    }
}

#[test]
fn every_bit_counts() {
    let flip = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..BODY.len() * 8 {
        let body = Bytes::from(flip(BODY.as_bytes(), bit));
        assert_eq!(seam().verify(&good_headers(), body, sent_at()).expect_err("another body"), SignatureWrong);
    }
    let good = signature(&good_headers());
    for bit in 24..good.len() * 8 {
        let Ok(value) = HeaderValue::from_bytes(&flip(good.as_bytes(), bit)) else { continue };
        let mut headers = good_headers();
        headers.insert("svix-signature", value);
        let verdict = seam().verify(&headers, Bytes::from_static(BODY.as_bytes()), sent_at());
        assert!(matches!(verdict, Err(SignatureWrong | SignatureMalformed)), "bit {bit}: {verdict:?}");
    }
}

#[test]
fn a_source_is_checked_when_it_is_configured() {
    let new = |name, secrets, tolerance| Source::new(name, Kind::Seam, secrets, SignedDuration::from_secs(tolerance));
    let error = |source: Result<Source, SourceError>| source.expect_err("a bad source");
    let long = "s".repeat(65);
    for bad in ["", "Seam", "se am", "../admin", "seam_1", "sé", &long] {
        assert_eq!(error(new(bad, vec![secret(SECRET)], 300)), SourceError::Name, "{bad}");
    }
    assert_eq!(error(new("seam", vec![], 300)), SourceError::NoSecret);
    assert_eq!(error(new("seam", vec![secret(SECRET)], -1)), SourceError::Tolerance);
    assert_eq!(error(new("seam", vec![secret(SECRET)], 3601)), SourceError::Tolerance);
    let source = new("seam-2", vec![secret(SECRET)], 0).expect("a good source");
    assert!(!format!("{source:?}").contains("MfKQ"), "a source prints no secret");
}
