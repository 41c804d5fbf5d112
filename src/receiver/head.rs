//! What the receiver reads of a request's head, apart from the signature.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::outcome::Rejection;
use super::parse::Headers;
use super::verify::standard_webhooks::Family;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Characters kept of a header that goes along with an unreadable body.
const KEPT_HEADER_BYTES_MAX: usize = 256;

/// Refuses, before a byte of the body is read, what is not plain JSON.
///
/// One rule for every source, known or not: otherwise the answer would tell which names exist. A request that names no
/// type is let through, since its body will speak for itself.
pub(super) fn expect_json(headers: &HeaderMap) -> Result<(), Rejection> {
    let plain =
        headers.get_all(CONTENT_ENCODING).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let json = types.next().is_none_or(|value| value.to_str().is_ok_and(is_json)) && types.next().is_none();
    if plain && json { Ok(()) } else { Err(Rejection::NotJson) }
}

/// `application/json` or `application/*+json`, in UTF-8 where a charset is given.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/") else { return false };
    (subtype == "json" || subtype.ends_with("+json"))
        && parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
            !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

/// The request's W3C trace context, if it is exactly one and well-formed (version 00); anything else starts no trace.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let value = value.to_str().ok()?;
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &str| part.bytes().any(|byte| byte != b'0');
    let good = parts.next().is_none()
        && version == "00"
        && (hex(trace, 32) && some(trace))
        && (hex(span, 16) && some(span))
        && hex(flags, 2);
    good.then(|| value.to_owned())
}

/// The headers that help a person to understand a parked body. Never the signature: with it the request could be sent
/// again.
///
/// `also`: those that the shape of the source's bodies is read with. One that is repeated is not kept, since nobody could
/// say which of its values counts.
pub(super) fn kept(headers: &HeaderMap, also: &[&str]) -> Headers {
    let names = [
        CONTENT_TYPE,
        USER_AGENT,
        Family::Svix.id(),
        Family::Svix.timestamp(),
        Family::Webhook.id(),
        Family::Webhook.timestamp(),
    ];
    let text = |value: &HeaderValue| {
        value.to_str().ok().map(|text| text.chars().take(KEPT_HEADER_BYTES_MAX).collect::<String>())
    };
    let once = |name: &str| -> Option<(String, String)> {
        let mut values = headers.get_all(name).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        Some((name.to_owned(), text(value)?))
    };
    names.iter().map(HeaderName::as_str).chain(also.iter().copied()).filter_map(once).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_json_in_utf_8() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/cloudevents+json",
            "application/json; profile=x",
        ] {
            assert!(is_json(good), "{good}");
        }
        for bad in [
            "",
            "json",
            "text/plain",
            "text/json",
            "application/jsonp",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=application/json",
            "application/json; charset=utf-16",
        ] {
            assert!(!is_json(bad), "{bad}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_is_kept() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = |text: &str| {
            let value = HeaderValue::from_str(text).expect("a header value");
            traceparent(&HeaderMap::from_iter([(TRACEPARENT, value)]))
        };
        assert_eq!(read(good).as_deref(), Some(good));
        for bad in [
            "",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
