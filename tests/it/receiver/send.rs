//! `send` and the receiver: one signs as the other verifies.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::http::HeaderMap;
use keyferry::cli::send::{Args, run};
use keyferry::clock::SeededEntropy;
use keyferry::config;
use keyferry::domain::Fact;
use keyferry::http;
use keyferry::queue::Content;
use keyferry::receiver::{Kind, Limits, Source};
use serde_json::Value;
use url::Url;

use super::{APP_SECRET, Fate, SECRET, Served, seam, sent_at};

fn args(source: &str, file: &str) -> Args {
    let file = PathBuf::from(format!("{}/tests/fixtures/webhook/{file}", env!("CARGO_MANIFEST_DIR")));
    Args { source: source.to_owned(), file, secret: None, url: None, print: false }
}

async fn send(served: &Served, args: Args, source: Option<Source>) -> Result<(), String> {
    let url: Url = format!("http://{}", served.at).parse().expect("a URL");
    run(args, source, url, &served.clock, &SeededEntropy::new(1)).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn what_is_sent_is_accepted_byte_for_byte() {
    let served = Served::start().await;
    let file = "seam/acs_credential.issued.json";
    send(&served, args("seam", file), Some(seam())).await.expect("accepted");
    let [envelope] = served.published().try_into().expect("one envelope");
    assert_eq!(envelope.body, super::fixture(file));
    assert!(envelope.delivery_id.starts_with("msg_"));
    let Content::Event(event) = envelope.content else { panic!("{:?} is an event", envelope.content) };
    assert!(matches!(event.fact, Fact::CredentialChanged { .. }));
}

#[tokio::test]
async fn a_secret_and_an_address_can_be_given() {
    let served = Served::start().await;
    let file = "seam/phone.deactivated.json";
    let given = |text: &str| Args { secret: Some(text.into()), ..args("app", file) };
    send(&served, given(APP_SECRET), None).await.expect("accepted without configuration");
    send(&served, given(APP_SECRET), Some(seam())).await.expect("the given secret wins");
    let elsewhere = Args { url: Some("http://127.0.0.1:1".parse().expect("a URL")), ..given(APP_SECRET) };
    assert!(send(&served, elsewhere, None).await.expect_err("nobody is there").contains("did not answer"));
    assert_eq!(served.published().len(), 2);
}

/// The seed of the recorded vectors, and with its public key behind it.
const SEED: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const WHOLE: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8DoQe/884Qvh1w3RjnS8CZZ+TWMJulDV8d3IZkElUxuA==";

#[tokio::test]
async fn a_private_key_signs_for_its_public_key() {
    let vectors: Value = serde_json::from_str(&super::fixture("vectors.json")).expect("JSON");
    let key = vectors["ed25519"]["public_key"].as_str().expect("a key");
    let file = format!("[[sources]]\nname = \"app\"\nkind = \"standard\"\npublic_keys = [\"{key}\"]");
    let app = || config::senders(&BTreeMap::new(), Some(&file)).expect("good").sources.remove(0);
    for (text, source) in [(SEED, None), (WHOLE, None), (WHOLE, Some(app()))] {
        let sender = match source {
            Some(source) => source.with_secret(text).expect("a key"),
            None => Source::played("app", Kind::Standard, text).expect("a key"),
        };
        let headers: HeaderMap = sender.sign("msg_1", sent_at(), b"{}").expect("it signs").into_iter().collect();
        assert!(headers["webhook-signature"].to_str().expect("ASCII").starts_with("v1a,"));
        app().verify(&headers, "{}".into(), sent_at()).expect("its public key knows it");
        sender.verify(&headers, "{}".into(), sent_at()).expect("and so does the sender");
    }
    let swapped = WHOLE.replace("AAECAwQF", "AAECAwQG");
    for bad in ["whsk_", "whsk_AAAA", "whsk_not base64", swapped.as_str()] {
        let error = Source::played("app", Kind::Standard, bad).expect_err(bad).to_string();
        assert!(error.contains("`whsk_`"), "{error}");
    }
}

#[tokio::test]
async fn what_goes_wrong_is_said_with_what_to_do() {
    let served = Served::start().await;
    let file = "seam/phone.deactivated.json";
    let given = |text: &str| Args { secret: Some(text.into()), ..args("app", file) };
    let error = send(&served, args("app", file), None).await.expect_err("no source");
    assert!(error.contains("--secret"), "{error}");
    let error = send(&served, given(SECRET), None).await.expect_err("a wrong secret");
    assert!(error.contains("401") && error.contains("clock"), "{error}");
    let error = send(&served, given("whsec_hunter2"), None).await.expect_err("no secret at all");
    assert!(error.contains("whsec_") && !error.contains("hunter2"), "{error}");
    let error = send(&served, args("seam", "no such file"), Some(seam())).await.expect_err("no file");
    assert!(error.contains("no such file"), "{error}");
    assert!(served.published().is_empty());

    let broken = Served::with(Fate::Unavailable, Limits::default(), http::Limits::default()).await;
    let error = send(&broken, args("seam", file), Some(seam())).await.expect_err("not durable");
    assert!(error.contains("503") && error.contains("send again"), "{error}");
}
