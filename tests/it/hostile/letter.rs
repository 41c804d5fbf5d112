//! A good letter, to be spoilt. Signatures are made here by hand, not by the code under test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use keyferry::clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use sha2::Sha256;

use crate::receiver::wire::Post;

/// The key of source `app`, as `Town` configures it.
pub(super) const APP_KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The key of source `seam`.
pub(super) const SEAM_KEY: &str = "C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// The key of source `strict`, whose letters are good for one second.
pub(super) const STRICT_KEY: &str = "plJ3nmyCDGBKInavdOK15jslplJ3nmyC";
/// A good key, which no source has any more.
pub(super) const RETIRED_KEY: &str = "c2VjcmV0LW9mLXRoZS15ZWFyLWJlZm9yZS0yMDI0";

/// A webhook that would be accepted, before it is signed.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) source: &'static str,
    /// `webhook` or `svix`.
    pub(super) family: &'static str,
    pub(super) key: &'static str,
    pub(super) id: String,
    pub(super) at: String,
    pub(super) body: Vec<u8>,
}

impl Letter {
    /// A new event from the customer's backend, of a type that asks nothing of us.
    pub(super) fn new() -> Self {
        let (id, now) = (format!("{:016x}", SystemEntropy.next_u64()), SystemClock.now());
        let body = format!(r#"{{"event_id":"e{id}","event_type":"app.opened","occurred_at":"2026-03-01T10:40:00Z"}}"#);
        Self {
            source: "app",
            family: "webhook",
            key: APP_KEY,
            id: format!("msg_{id}"),
            at: now.as_second().to_string(),
            body: body.into_bytes(),
        }
    }

    pub(super) fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// `at`, or so many seconds from now.
    pub(super) fn at(mut self, at: &str) -> Self {
        at.clone_into(&mut self.at);
        self
    }

    pub(super) fn later(self, seconds: i64) -> Self {
        let at = (SystemClock.now().as_second() + seconds).to_string();
        self.at(&at)
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The good body, with the first `what` in it replaced.
    pub(super) fn with(self, what: &str, by: &str) -> Self {
        let body = String::from_utf8(self.body.clone()).expect("text");
        assert!(body.contains(what), "{body} has {what}");
        self.body(body.replacen(what, by, 1))
    }

    /// The good body, of the type that asks for most.
    pub(super) fn registered(self, person: &str) -> Self {
        self.with("app.opened", "phone.registered").and(&format!(r#""user_identity_id":"{person}""#))
    }

    /// One more member at the end of the good body.
    pub(super) fn and(self, member: &str) -> Self {
        let body = String::from_utf8(self.body.clone()).expect("text");
        let open = body.strip_suffix('}').expect("an object");
        self.body(format!("{open},{member}}}"))
    }

    pub(super) fn mac(&self) -> [u8; 32] {
        let key = STANDARD.decode(self.key).expect("a key");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
        mac.update(format!("{}.{}.", self.id, self.at).as_bytes());
        mac.update(&self.body);
        mac.finalize().into_bytes().into()
    }

    pub(super) fn signature(&self) -> String {
        format!("v1,{}", STANDARD.encode(self.mac()))
    }

    /// The signed request.
    pub(super) fn post(&self) -> Post {
        self.post_to(self.source)
    }

    pub(super) fn post_to(&self, source: &str) -> Post {
        Post { line: format!("POST /webhooks/{source} HTTP/1.1"), headers: Vec::new(), body: self.body.clone() }
            .with("Host", "keys.example.com")
            .with("Content-Type", "application/json")
            .with(&format!("{}-id", self.family), self.id.as_str())
            .with(&format!("{}-timestamp", self.family), self.at.as_str())
            .with(&format!("{}-signature", self.family), self.signature())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.post().bytes()
    }

    /// The request with another signature header.
    pub(super) fn signed_as(&self, signature: impl Into<Vec<u8>>) -> Vec<u8> {
        self.post().set(&format!("{}-signature", self.family), signature).bytes()
    }
}
