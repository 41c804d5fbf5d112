//! Where the provider is, who we are there, and how long and how much we put up with.

use std::net::IpAddr;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

/// Seam's own address, used where no other is configured.
pub const SEAM_ENDPOINT: &str = "https://connect.getseam.com";

/// What a [`SeamClient`](super::SeamClient) is made from.
#[derive(Debug, Clone)]
pub struct Settings {
    pub endpoint: Endpoint,
    pub api_key: ApiKey,
    /// For DNS, TCP and TLS together. Shorter than `deadline`, or a host that swallows packets looks like a lost answer.
    pub connect_timeout: Duration,
    /// For one whole call, from the first packet to the last byte of the answer.
    pub deadline: Duration,
    /// The longest `Retry-After` that is followed.
    pub retry_after_max: Duration,
    /// Bytes of one answer.
    pub response_bytes_max: usize,
    /// Pages of one list.
    pub pages_max: usize,
}

impl Settings {
    /// The settings that fit Seam itself: a page is at most 500 objects of about 2 kB.
    #[must_use]
    pub fn new(endpoint: Endpoint, api_key: ApiKey) -> Self {
        Self {
            endpoint,
            api_key,
            connect_timeout: Duration::from_secs(3),
            deadline: Duration::from_secs(10),
            retry_after_max: Duration::from_mins(1),
            response_bytes_max: 8 * 1024 * 1024,
            pages_max: 20,
        }
    }
}

/// A base address that calls' paths are appended to: checked, and without a slash at its end.
///
/// Plain `http` is allowed, because the sandbox has no certificate; [`Endpoint::is_exposed`] tells when that would send
/// the key over a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("is not an address: {0}")]
    Malformed(#[from] url::ParseError),
    #[error("must begin with https:// or http://")]
    Scheme,
    #[error("must not contain a user or a password: the API key is what identifies us")]
    Credentials,
    #[error("must not contain a `?` or a `#`: it is the base of the calls' paths")]
    NotABase,
}

impl Endpoint {
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text.trim())?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(EndpointError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::NotABase);
        }
        Ok(Self(url))
    }

    /// Whether the API key would travel unencrypted beyond this machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let local = match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
            None => false,
        };
        self.0.scheme() == "http" && !local
    }

    /// The host, for a log line.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address of a call. `path` begins with a slash.
    pub(super) fn at(&self, path: &'static str) -> String {
        format!("{}{path}", self.0.as_str().trim_end_matches('/'))
    }
}

/// An API key of a workspace, `seam_…`.
#[derive(Debug, Clone)]
pub struct ApiKey(SecretString);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    #[error("is empty")]
    Empty,
    #[error("contains a space, a line break or another character that no key has")]
    Characters,
    /// Such a token is for another party (`seam_pk`, `seam_cst`) or needs a workspace beside it (`seam_at`).
    #[error("is not an API key but another kind of Seam token ({0}…)")]
    OtherToken(&'static str),
}

impl ApiKey {
    pub fn new(key: SecretString) -> Result<Self, ApiKeyError> {
        let text = key.expose_secret();
        if text.is_empty() {
            return Err(ApiKeyError::Empty);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiKeyError::Characters);
        }
        match ["seam_at", "seam_cst", "seam_pk"].into_iter().find(|prefix| text.starts_with(prefix)) {
            Some(prefix) => Err(ApiKeyError::OtherToken(prefix)),
            None => Ok(Self(key)),
        }
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_plain_base_address() {
        let at = |text| Endpoint::parse(text).map(|endpoint| endpoint.at("/phones/get"));
        assert_eq!(at(SEAM_ENDPOINT).as_deref(), Ok("https://connect.getseam.com/phones/get"));
        assert_eq!(at("http://sandbox:9400/").as_deref(), Ok("http://sandbox:9400/phones/get"));
        assert_eq!(at("https://gateway.example/seam/").as_deref(), Ok("https://gateway.example/seam/phones/get"));
        assert_eq!(at("ftp://seam"), Err(EndpointError::Scheme));
        assert_eq!(at("https://me:secret@seam"), Err(EndpointError::Credentials));
        assert_eq!(at("https://seam/?a=b"), Err(EndpointError::NotABase));
        assert!(matches!(at("connect.getseam.com"), Err(EndpointError::Malformed(_))));
    }

    #[test]
    fn only_plain_http_beyond_this_machine_exposes_the_key() {
        let exposed = |text| Endpoint::parse(text).expect("an address").is_exposed();
        assert!(exposed("http://sandbox:9400"));
        assert!(exposed("http://10.0.0.7"));
        for fine in ["https://10.0.0.7", "http://127.0.0.1:9400", "http://localhost:9400", "http://[::1]:9400"] {
            assert!(!exposed(fine), "{fine}");
        }
    }

    #[test]
    fn a_key_is_refused_for_what_it_is_and_never_shown() {
        let key = |text: &str| ApiKey::new(SecretString::from(text));
        assert_eq!(key("").expect_err("refused"), ApiKeyError::Empty);
        assert_eq!(key("seam_a\r\nX: y").expect_err("refused"), ApiKeyError::Characters);
        assert_eq!(key("seam_at1_x").expect_err("refused"), ApiKeyError::OtherToken("seam_at"));
        let good = key("seam_test1_verysecret").expect("a key");
        assert!(!format!("{good:?}").contains("verysecret"));
    }
}
