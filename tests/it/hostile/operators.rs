//! The operators' port in a stranger's hands: whoever lacks the token learns nothing, and whoever has it gets no further
//! than the API.

use http::StatusCode;

use super::fort::Fort;
use super::letter::Letter;
use crate::receiver::wire::exchange;
use crate::support::ground::Shape;

const TOKEN: &str = "a-token-of-operators-0123456789";

/// One request, and its status.
pub(super) struct Knock {
    /// Which entries of `docs/hostile.md` it plays.
    pub(super) numbers: &'static str,
    what: &'static str,
    status: u16,
    line: &'static str,
    /// Headers but for `Host`.
    headers: &'static str,
}

const fn knock(
    numbers: &'static str,
    what: &'static str,
    status: u16,
    line: &'static str,
    headers: &'static str,
) -> Knock {
    Knock { numbers, what, status, line, headers }
}

const WITH_TOKEN: &str = "Authorization: Bearer a-token-of-operators-0123456789\r\n";

pub(super) const ROWS: [Knock; 18] = [
    knock("B76", "no token", 401, "GET /v1/status", ""),
    knock("B76", "no token, and a way that there is not", 401, "GET /v1/nothing", ""),
    knock("B76", "an empty token", 401, "GET /v1/status", "Authorization: Bearer \r\n"),
    knock("B76", "the beginning of the token", 401, "GET /v1/status", "Authorization: Bearer a-token-of\r\n"),
    knock("B76", "the token in the URL", 401, "GET /v1/status?token=a-token-of-operators-0123456789", ""),
    knock("B76", "the token as a cookie", 401, "GET /v1/status", "Cookie: token=a-token-of-operators-0123456789\r\n"),
    knock("B76", "another scheme", 401, "GET /v1/status", "Authorization: Basic YTphLXRva2Vu\r\n"),
    knock("B76", "another site's page", 401, "POST /v1/parked/1/discard", "Origin: https://evil.example\r\n"),
    knock(
        "B76",
        "another site's question whether it may",
        401,
        "OPTIONS /v1/parked/1/discard",
        "Origin: https://evil.example\r\n",
    ),
    knock("B76", "metrics without a token", 401, "GET /metrics", ""),
    knock(
        "B76",
        "two tokens, one of them right",
        401,
        "GET /v1/status",
        "Authorization: Bearer x\r\nAuthorization: Bearer a-token-of-operators-0123456789\r\n",
    ),
    knock("B76", "the token", 200, "GET /v1/status", WITH_TOKEN),
    knock("B76 B74", "a path for a key", 404, "GET /v1/plans/..%2f..%2fetc%2fpasswd", WITH_TOKEN),
    knock("B76", "a path outside", 404, "GET /../../etc/passwd", WITH_TOKEN),
    knock("B74", "a NUL for a key", 404, "GET /v1/issuances/a%00b", WITH_TOKEN),
    knock("B74", "SQL for a filter", 400, "GET /v1/issuances?status=issued%27%20OR%201=1--", WITH_TOKEN),
    knock("B74", "a wildcard for an event", 404, "GET /v1/events/%25", WITH_TOKEN),
    knock("B74", "a page of all", 400, "GET /v1/ledger?limit=99999999999999999999", WITH_TOKEN),
];

#[tokio::test]
async fn whoever_lacks_the_token_learns_nothing() {
    let fort = Fort::with(Shape::Embedded, &[("KEYFERRY_OPS_TOKEN", TOKEN)]).await;
    assert_eq!(fort.status(&Letter::new().registered("jane").bytes()).await, 202);
    let at = fort.town.ops_url.trim_start_matches("http://").parse().expect("an address");
    let mut refusal = None;
    for row in ROWS {
        let request = format!("{} HTTP/1.1\r\nHost: {at}\r\n{}\r\n", row.line, row.headers);
        let mut answer = exchange(at, request.as_bytes()).await.expect("an answer");
        let body = String::from_utf8(answer.body.clone()).expect("text");
        assert_eq!(answer.status, row.status, "{}: {body}", row.what);
        assert!(!body.contains(TOKEN) && !body.contains("root:"), "{}: {body}", row.what);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{}", row.what);
        if answer.status == 401 {
            // Which methods a path has is no secret: `allow` says it, and the OpenAPI document does.
            answer.headers.retain(|(name, _)| name != "date" && name != "allow");
            let first = refusal.get_or_insert_with(|| answer.clone());
            assert_eq!(answer, *first, "{}: all refusals are the same", row.what);
        }
    }
}

#[tokio::test]
async fn strangers_make_no_labels() {
    let fort = Fort::new(Shape::Embedded).await;
    for n in 0..50 {
        let letter = Letter::new().with("app.opened", &format!("mallory.type_{n}"));
        assert_eq!(fort.status(&letter.bytes()).await, 202);
        assert_eq!(fort.status(&Letter::new().post_to(&format!("mallory-{n}")).bytes()).await, 401);
        let odd = Letter::new().post().line(&format!("MALLORY{n} /webhooks/app HTTP/1.1")).bytes();
        assert_eq!(fort.status(&odd).await, 405);
    }
    let metrics = fort.page("/metrics").await;
    assert!(metrics.contains("keyferry_webhooks_total"), "{metrics}");
    assert!(!metrics.to_lowercase().contains("mallory"), "{metrics}");
    let answer = fort.town.client.get(format!("{}/v1/ledger", fort.town.ops_url)).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
}
