//! Our verdict on a signature beside those of the reference libraries, `standardwebhooks` and `svix`: where they differ, one
//! of the rules below says why.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;
use keyferry::clock::{Clock as _, SystemClock};
use keyferry::receiver::verify::Secret;
use keyferry::receiver::verify::standard_webhooks::{SIGNATURES_MAX, sign};
use keyferry::receiver::{Kind, Source};
use sha2::Sha256;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FAMILIES: [&str; 2] = ["webhook", "svix"];
const HEADERS: [&str; 3] = ["id", "timestamp", "signature"];

/// What requests are put together from.
pub(super) const WORDS: [&str; 24] = [
    "webhook-id: msg_1\n",
    "webhook-timestamp: {now}\n",
    "webhook-signature: {signature}\n",
    "svix-id: msg_1\n",
    "svix-timestamp: {now}\n",
    "svix-signature: {signature}\n",
    "\n\n",
    "{\"a\":1}",
    "{now}",
    "{recent}",
    "{soon}",
    "{old}",
    "{early}",
    "{signature}",
    " ",
    "v1,",
    "v1a,",
    "v2,",
    "+",
    "0",
    ".",
    "=",
    "\u{e9}",
    "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ",
];

struct Request {
    headers: HeaderMap,
    body: Bytes,
}

/// A rule, and whether a request is against it.
type Rule = (&'static str, fn(&Request) -> bool);

/// In which respects we are stricter. The rest we judge alike.
const STRICTER: [Rule; 5] = [
    // Libraries take the first, or the last: two readers could see two deliveries.
    ("a header is there once", |request| {
        names().iter().any(|name| request.headers.get_all(name).iter().nth(1).is_some())
    }),
    ("a request has one family of headers", |request| FAMILIES.iter().all(|family| is_in(family, &request.headers))),
    ("an id is 1 to 256 graphic ASCII characters, and no dot can move what is signed", |request| {
        let id = request.first("id").unwrap_or_default();
        !(1..=256).contains(&id.len()) || !id.iter().all(u8::is_ascii_graphic) || id.contains(&b'.')
    }),
    ("a timestamp is written in one way", |request| {
        let text = request.first("timestamp").unwrap_or_default();
        !(1..=12).contains(&text.len())
            || !text.iter().all(u8::is_ascii_digit)
            || (text.starts_with(b"0") && text.len() > 1)
    }),
    ("there are few signatures", |request| {
        request.first("signature").unwrap_or_default().split(|byte| *byte == b' ').count() > SIGNATURES_MAX
    }),
];

fn names() -> Vec<String> {
    FAMILIES.iter().flat_map(|family| HEADERS.map(|header| format!("{family}-{header}"))).collect()
}

fn is_in(family: &str, headers: &HeaderMap) -> bool {
    HEADERS.iter().any(|header| headers.contains_key(format!("{family}-{header}")))
}

/// Header lines, an empty line, and a body; see `Request::read`.
pub(crate) fn agrees(data: &[u8]) {
    let now = SystemClock.now();
    let Some(request) = Request::read(data, now) else { return };
    let secret = || Secret::parse(SECRET).expect("a secret");
    let source = Source::new("app", Kind::Standard, vec![secret()], SignedDuration::from_mins(5)).expect("a source");
    let ours = source.verify(&request.headers, request.body.clone(), now);
    let rules: Vec<&str> = STRICTER.iter().filter(|(_, concerns)| concerns(&request)).map(|(rule, _)| *rule).collect();
    for (name, theirs) in references(&request) {
        match (&ours, theirs) {
            (Ok(_), Theirs::Taken) => assert!(rules.is_empty(), "taken against the rules {rules:?}"),
            // We are laxer in one respect: bytes that are no text can be genuine too, and are put aside.
            (Ok(_), Theirs::NoText) => assert!(str::from_utf8(&request.body).is_err()),
            (Ok(_), Theirs::Refused(why)) => panic!("taken, although {name} says: {why}"),
            (Err(refusal), Theirs::Taken) => {
                assert!(!rules.is_empty(), "{name} takes it; refused for no rule: {refusal}");
            }
            (Err(_), Theirs::NoText | Theirs::Refused(_)) => {}
        }
    }
    let signed = sign(&secret(), "msg_1", now, &request.body);
    let theirs = [
        standardwebhooks::Webhook::new(SECRET).expect("a secret").sign("msg_1", now.as_second(), &request.body).ok(),
        svix::webhooks::Webhook::new(SECRET).expect("a secret").sign("msg_1", now.as_second(), &request.body).ok(),
    ];
    assert!(theirs.into_iter().flatten().all(|theirs| theirs == signed), "we sign as they do");
}

/// What a reference library makes of a request.
enum Theirs {
    Taken,
    NoText,
    Refused(String),
}

fn references(request: &Request) -> [(&'static str, Theirs); 2] {
    let standard = standardwebhooks::Webhook::new(SECRET).expect("a secret");
    let standard = match standard.verify(&request.body, &request.of_webhook_family()) {
        Ok(()) => Theirs::Taken,
        Err(standardwebhooks::WebhookError::InvalidPayload) => Theirs::NoText,
        Err(error) => Theirs::Refused(error.to_string()),
    };
    // It knows both families.
    let svix = svix::webhooks::Webhook::new(SECRET).expect("a secret");
    let svix = match svix.verify(&request.body, &request.headers) {
        Ok(()) => Theirs::Taken,
        Err(svix::webhooks::WebhookError::InvalidPayload) => Theirs::NoText,
        Err(error) => Theirs::Refused(error.to_string()),
    };
    [("standardwebhooks", standard), ("svix", svix)]
}

impl Request {
    /// `{now}`, `{recent}`, `{soon}`, `{old}` and `{early}` stand for times within and without the tolerance,
    /// `{signature}` for the right signature of the first id and timestamp and the body. Lines that cannot be a header are
    /// left out: HTTP would not bring them.
    fn read(data: &[u8], now: jiff::Timestamp) -> Option<Self> {
        let end = data.windows(2).position(|pair| pair == b"\n\n")?;
        let (head, body) = (&data[..end], &data[end + 2..]);
        // As many characters as bytes, so that what is no text stays what it is.
        let mut head: String = head.iter().map(|byte| char::from(*byte)).collect();
        for (word, seconds) in [("{now}", 0), ("{recent}", -280), ("{soon}", 280), ("{old}", -320), ("{early}", 320)] {
            head = head.replace(word, &(now.as_second() + seconds).to_string());
        }
        let mut lines: Vec<(&str, Vec<u8>)> = head
            .split('\n')
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim().chars().filter_map(|c| u8::try_from(c).ok()).collect()))
            .collect();
        let first = |header: &str| {
            let is_it = |name: &str| FAMILIES.iter().any(|family| name == format!("{family}-{header}"));
            lines.iter().find(|(name, _)| is_it(name)).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let signature = by_hand(&first("id"), &first("timestamp"), body);
        for (_, value) in &mut lines {
            let text: String = value.iter().map(|byte| char::from(*byte)).collect();
            *value = text.replace("{signature}", &signature).chars().filter_map(|c| u8::try_from(c).ok()).collect();
        }
        let headers = lines.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        Some(Self { headers: map, body: Bytes::copy_from_slice(body) })
    }

    fn first(&self, header: &str) -> Option<&[u8]> {
        let of = |family: &&str| self.headers.get(format!("{family}-{header}"));
        FAMILIES.iter().find_map(of).map(HeaderValue::as_bytes)
    }

    /// `standardwebhooks` knows one family; a request that has only the other is judged under the one that it knows.
    fn of_webhook_family(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        if !is_in("webhook", &headers) {
            for header in HEADERS {
                if let Some(value) = self.headers.get(format!("svix-{header}")) {
                    let name = HeaderName::try_from(format!("webhook-{header}")).expect("a name");
                    headers.insert(name, value.clone());
                }
            }
        }
        headers
    }
}

fn by_hand(id: &[u8], timestamp: &[u8], body: &[u8]) -> String {
    let key = STANDARD.decode(&SECRET["whsec_".len()..]).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    for part in [id, b".", timestamp, b".", body] {
        mac.update(part);
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
