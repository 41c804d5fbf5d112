//! The broker's address: parsed once, and never repeated in an error.

use std::time::Duration;

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

/// What is wrong with the settings. Says nothing of the URL itself, because it holds a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("it is not a URL of the form amqp://user:password@host:port/vhost")]
    NotAUrl,
    #[error("its scheme is neither amqp nor amqps")]
    Scheme,
    #[error("it names no host")]
    NoHost,
    #[error("a prefix is 1 to 64 characters of a-z, 0-9, '.', '_' and '-'")]
    Prefix,
}

/// lapin's URI, with our heartbeat.
pub(super) fn parse(url: &SecretString, heartbeat: Duration) -> Result<AMQPUri, AddressError> {
    let url = Url::parse(url.expose_secret()).map_err(|_would_repeat_it| AddressError::NotAUrl)?;
    if !matches!(url.scheme(), "amqp" | "amqps") {
        return Err(AddressError::Scheme);
    }
    // amq-protocol-uri takes `localhost` for a missing host, and for an IPv6 address as well.
    let host = match url.host().ok_or(AddressError::NoHost)? {
        Host::Domain("") => return Err(AddressError::NoHost),
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let mut uri: AMQPUri = url.as_str().parse().map_err(|_would_repeat_it| AddressError::NotAUrl)?;
    uri.authority.host = host;
    uri.query.heartbeat = Some(u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX).max(1));
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Result<String, AddressError> {
        parse(&SecretString::from(url), Duration::from_secs(10)).map(|uri| uri.authority.host)
    }

    #[test]
    fn an_ipv6_host_is_not_taken_for_localhost() {
        assert_eq!(host("amqp://u:p@[2001:db8::1]:5672/%2f").as_deref(), Ok("2001:db8::1"));
        assert_eq!(host("amqps://rabbit.example").as_deref(), Ok("rabbit.example"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        for (url, error) in [
            ("hunter2", AddressError::NotAUrl),
            ("http://guest:hunter2@host", AddressError::Scheme),
            ("amqp:///vhost", AddressError::NoHost),
            ("amqp://guest:hunter2@host/?heartbeat=x", AddressError::NotAUrl),
        ] {
            assert_eq!(host(url), Err(error.clone()), "{url}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
