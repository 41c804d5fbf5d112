//! Webhooks as a Standard Webhooks sender makes them: each with an id and a signature of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What the source is configured with.
pub(crate) const SECRET: &str = "whsec_a2V5ZmVycnktYmVuY2gtc2VjcmV0LW9mLTMyLWJ5dGU=";

/// Makes requests; clones number on together.
#[derive(Clone, Copy)]
pub(crate) struct Sender {
    /// The source's name in the URL.
    pub(crate) source: &'static str,
    pub(crate) event_type: &'static str,
}

/// Numbers every event of this process, so that none is a duplicate.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Sender {
    /// A whole HTTP request with a body of about 400 bytes.
    pub(crate) fn request(self) -> Vec<u8> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let seconds = unix_seconds();
        let id = format!("msg_{process:08x}{number:016x}");
        let body = format!(
            "{{\"event_id\":\"{process:08x}-{number:016x}\",\"event_type\":\"{}\",\
             \"occurred_at\":\"2026-03-01T10:40:00.000Z\",\"created_at\":\"2026-03-01T10:40:00.123Z\",\
             \"workspace_id\":\"0a3ae5a2-7b8b-4b0f-9d59-2f2f2f2f2f2f\",\
             \"connected_account_id\":\"6a0b5c1e-1d7f-4e61-8a4d-000000000001\",\
             \"acs_system_id\":\"7f3b2c1d-2e8a-4f62-9b5e-000000000002\",\
             \"acs_user_id\":\"bench-{number:016x}\",\"user_identity_id\":\"bench-{number:016x}\"}}",
            self.event_type
        );
        let mut mac = mac();
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(seconds.to_string().as_bytes());
        mac.update(b".");
        mac.update(body.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        format!(
            "POST /webhooks/{} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {seconds}\r\nwebhook-signature: v1,{signature}\r\n\r\n{body}",
            self.source,
            body.len()
        )
        .into_bytes()
    }
}

/// The secret's key, ready to sign.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub(crate) fn mac() -> Hmac<Sha256> {
    Hmac::new_from_slice(b"keyferry-bench-secret-of-32-byte").expect("any key will do")
}

#[expect(clippy::disallowed_methods, reason = "a bench lives in real time")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
