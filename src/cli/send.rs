//! `keyferry send`: what a sender would post, from a file, signed with the sender's secret.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use reqwest::redirect;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::clock::{Clock, Entropy};
use crate::receiver::{Kind, Source};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Signs a body with a source's secret and posts it to the receiver, as that sender would.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The source to send as, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    pub source: String,

    /// The body: a file, or `-` for standard input. It is sent byte for byte
    pub file: PathBuf,

    /// Sign with this secret instead of the configured one; `whsk_…` signs with Ed25519
    #[arg(long)]
    pub secret: Option<SecretString>,

    /// The receiver to post to, or the whole address of the webhook, instead of the configured receiver
    #[arg(long)]
    pub url: Option<Url>,

    /// Print the request as a `curl` command instead of sending it
    #[arg(long)]
    pub print: bool,
}

/// Sends, or prints with `--print`. An error unless the receiver accepted it.
pub async fn run(
    args: Args,
    source: Option<Source>,
    receiver_url: Url,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> anyhow::Result<()> {
    let sender = sender(&args, source)?;
    let url = webhook_url(args.url.clone().unwrap_or(receiver_url), &args.source)?;
    let body = read(&args.file).await?;
    let now = clock.now();
    let id = format!("msg_{}", entropy.id(now).simple());
    let signed = sender.sign(&id, now, &body).context("none of the source's keys can sign; give one with --secret")?;
    let mut headers = HeaderMap::from_iter(signed);
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("keyferry-send/", env!("CARGO_PKG_VERSION"))));
    let mut out = std::io::stdout();
    if args.print {
        writeln!(out, "{}", curl(&url, &headers, &args.file)?)?;
        return Ok(());
    }
    let unreadable = unreadable(&sender, &headers, &body, now);
    let status = post(&url, headers, body).await?;
    if !status.is_success() {
        bail!("{url} answered {status}: {}", meaning(status));
    }
    writeln!(out, "{status}: the receiver has it for good")?;
    if let Some(why) = unreadable {
        writeln!(out, "It will be parked, not acted on: {why} See `keyferry parked list`.")?;
    }
    Ok(())
}

/// `--secret` wins over the configured secrets. A source that is not configured here can still be sent as, in the way of
/// Standard Webhooks: the receiver reads either family of headers from either kind, so it matters only for likeness.
fn sender(args: &Args, source: Option<Source>) -> anyhow::Result<Source> {
    let given = args.secret.as_ref().map(ExposeSecret::expose_secret);
    match (given, source) {
        (Some(secret), Some(source)) => source.with_secret(secret).context("--secret"),
        (Some(secret), None) => {
            let kind = if args.source == Kind::Seam.as_str() { Kind::Seam } else { Kind::Standard };
            Source::played(&args.source, kind, secret).context("--secret")
        }
        (None, Some(source)) => Ok(source),
        (None, None) => Err(anyhow!(
            "no source `{}` is configured here: configure it as the receiver has it, or give its secret with --secret",
            args.source
        )),
    }
}

/// The source's path below a receiver's address; an address that already has a path is taken as it is.
fn webhook_url(mut url: Url, source: &str) -> anyhow::Result<Url> {
    if url.path() == "/" {
        let mut path = url.path_segments_mut().map_err(|()| anyhow!("this URL cannot be posted to"))?;
        path.extend(["webhooks", source]);
    }
    Ok(url)
}

async fn read(file: &Path) -> anyhow::Result<Bytes> {
    let shown = file.display().to_string();
    let file = file.to_owned();
    let read = move || {
        if file == Path::new("-") {
            let mut body = Vec::new();
            std::io::stdin().lock().read_to_end(&mut body).map(|_| body)
        } else {
            std::fs::read(file)
        }
    };
    let body = tokio::task::spawn_blocking(read).await?;
    body.map(Bytes::from).with_context(|| format!("cannot read {shown}"))
}

/// A sender is never told that its body makes no sense, but whoever types the command may be: asked of the receiver's
/// own reader.
fn unreadable(source: &Source, headers: &HeaderMap, body: &Bytes, now: Timestamp) -> Option<String> {
    let delivery = source.verify(headers, body.clone(), now).ok()?;
    let texts = headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    let items = source.read(&delivery, now, &texts.collect());
    items.into_iter().find_map(|item| item.event.err()).map(|unreadable| unreadable.why)
}

async fn post(url: &Url, headers: HeaderMap, body: Bytes) -> anyhow::Result<StatusCode> {
    let client = reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(TIMEOUT).build()?;
    let answer = client.post(url.clone()).headers(headers).body(body).send().await;
    let answer =
        answer.with_context(|| format!("{url} did not answer; is `keyferry serve` (or `run`) listening there?"))?;
    Ok(answer.status())
}

/// What the receiver means by a status, and what to do.
fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => {
            "the request arrived changed or with repeated headers; look at what stands between here and the receiver."
        }
        401 => {
            "it is not taken for this source's. Compare the source's name and secret with the receiver's configuration, \
             and this machine's clock with the receiver's (five minutes are tolerated). The receiver's log and its \
             counter `keyferry_webhooks_refused_total` say which it was."
        }
        404 | 405 => "this is not a webhook of a receiver; check --url (the ops port is another one).",
        408 => "the body took too long to arrive.",
        413 => "the body is larger than the receiver's limit.",
        415 => "something on the way changed the content type or compressed the body.",
        503 => {
            "the receiver could not make it durable in time: look at its log for the broker or the store, then send again. \
             A real sender does so by itself."
        }
        300..=399 => "a redirect, which no webhook sender follows; give the final address with --url.",
        _ => "a receiver never answers that; something else is listening there or stands in between.",
    }
}

/// The same request for a shell. The signature is in it, the secret is not.
fn curl(url: &Url, headers: &HeaderMap, file: &Path) -> anyhow::Result<String> {
    let mut lines = vec![
        "# Signed now: the receiver takes it for as long as its tolerance lasts (five minutes by default).".to_owned(),
        format!("curl --include --request POST {}", quoted(url.as_str())),
    ];
    for (name, value) in headers {
        lines.push(format!("  --header {}", quoted(&format!("{name}: {}", value.to_str()?))));
    }
    lines.push(format!("  --data-binary {}", quoted(&format!("@{}", file.display()))));
    let (comment, command) = lines.split_at(1);
    Ok(format!("{}\n{}", comment.join("\n"), command.join(" \\\n")))
}

/// For a POSIX shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_path_is_final() {
        let at = |url: &str| webhook_url(url.parse().expect("a URL"), "app").expect("a URL").to_string();
        assert_eq!(at("http://127.0.0.1:8080"), "http://127.0.0.1:8080/webhooks/app");
        assert_eq!(at("https://keys.example.com/hooks/in?x=1"), "https://keys.example.com/hooks/in?x=1");
    }

    #[test]
    fn a_printed_request_survives_the_shell() {
        let url = "http://127.0.0.1:8080/webhooks/app".parse().expect("a URL");
        let headers =
            HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let command = curl(&url, &headers, Path::new("guest's phone.json")).expect("printable");
        let lines: Vec<_> = command.lines().collect();
        assert!(lines[0].starts_with("# "));
        assert_eq!(
            lines[1..],
            [
                r"curl --include --request POST 'http://127.0.0.1:8080/webhooks/app' \",
                r"  --header 'content-type: application/json' \",
                r"  --data-binary '@guest'\''s phone.json'",
            ]
        );
    }
}
