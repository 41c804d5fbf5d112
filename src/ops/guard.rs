//! Who may ask: who knows the token; or, where none is configured, who is on this machine and is not a web page.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::reply::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) struct Guard {
    token: Option<SecretString>,
}

pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.admit(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

impl Guard {
    pub(super) fn new(token: Option<SecretString>) -> Self {
        Self { token }
    }

    fn admit(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match &self.token {
            // A browser adds no bearer token by itself, so whoever has it is no page that was tricked into asking.
            Some(token) if has_token(headers, token) => Ok(()),
            Some(_) => Err(Refusal::Unauthorized),
            None if !is_for_loopback(headers) => Err(Refusal::ForeignHost),
            None if !is_same_origin(headers) => Err(Refusal::ForeignOrigin),
            None => Ok(()),
        }
    }
}

fn has_token(headers: &HeaderMap, token: &SecretString) -> bool {
    let given = single(headers, &AUTHORIZATION).and_then(|value| value.split_once(' '));
    given.is_some_and(|(scheme, given)| {
        // Digests, because a comparison of texts of different lengths ends at once, and would tell the length.
        let [given, token] = [given.trim(), token.expose_secret()].map(Sha256::digest);
        scheme.eq_ignore_ascii_case("bearer") && bool::from(given.ct_eq(&token))
    })
}

/// A page can have its own name resolve to 127.0.0.1 (DNS rebinding), but it cannot have the browser name another host
/// than its own.
fn is_for_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = single(headers, &HOST).and_then(|host| host.parse::<Authority>().ok()) else { return false };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Browsers send an `Origin` with everything that can change something, and say of all else whose page asks for it
/// (`Sec-Fetch-Site`): an image of another site's page could not read the ledger, but it could hold a stream open.
/// Other clients send neither.
fn is_same_origin(headers: &HeaderMap) -> bool {
    if headers.contains_key(SEC_FETCH_SITE)
        && !single(headers, &SEC_FETCH_SITE).is_some_and(|site| matches!(site, "same-origin" | "none"))
    {
        return false;
    }
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let host = single(headers, &ORIGIN)
        .and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    host.is_some() && host == single(headers, &HOST)
}

/// The value of a header that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(token: Option<&str>, headers: &[(HeaderName, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect();
        Guard::new(token.map(SecretString::from)).admit(&headers).is_ok()
    }

    #[test]
    fn with_a_token_nothing_but_the_token_counts() {
        for (value, good) in [
            ("Bearer s3cret", true),
            ("bearer s3cret", true),
            ("Bearer s3cre", false),
            ("Bearer s3crets", false),
            ("Bearer ", false),
            ("Bearer", false),
            ("Basic s3cret", false),
            ("s3cret", false),
        ] {
            assert_eq!(admits(Some("s3cret"), &[(AUTHORIZATION, value)]), good, "{value}");
        }
        assert!(!admits(Some("s3cret"), &[(HOST, "127.0.0.1:8081")]));
    }

    #[test]
    fn without_a_token_the_host_is_this_machine() {
        for (host, good) in [
            ("127.0.0.1:8081", true),
            ("127.8.8.8", true),
            ("[::1]:8081", true),
            ("LOCALHOST:8081", true),
            ("keyferry.example:8081", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("192.168.0.7:8081", false),
            ("", false),
        ] {
            assert_eq!(admits(None, &[(HOST, host)]), good, "{host}");
        }
    }

    #[test]
    fn without_a_token_a_page_of_another_site_is_refused() {
        for (origin, good) in [
            ("http://127.0.0.1:8081", true),
            ("https://127.0.0.1:8081", true),
            ("http://127.0.0.1:3000", false),
            ("http://localhost:8081", false),
            ("https://evil.example", false),
            ("null", false),
        ] {
            assert_eq!(admits(None, &[(HOST, "127.0.0.1:8081"), (ORIGIN, origin)]), good, "{origin}");
        }
    }

    #[test]
    fn without_a_token_what_a_page_of_another_site_embeds_is_refused() {
        for (site, good) in [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)] {
            assert_eq!(admits(None, &[(HOST, "127.0.0.1:8081"), (SEC_FETCH_SITE, site)]), good, "{site}");
        }
    }
}
