//! What is wrong before anybody has sent anything: a configuration that would weaken every check is refused, in words
//! that hold none of its secrets.

use std::collections::BTreeMap;
use std::process::Output;

use crate::support::process::keyferry;

/// A good secret: a row changes one thing.
const GOOD: (&str, &str) = ("KEYFERRY_APP_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

/// Settings that no server starts with.
pub(super) struct Wrong {
    /// Which entries of `docs/hostile.md` it plays.
    pub(super) numbers: &'static str,
    what: &'static str,
    variable: (&'static str, &'static str),
    file: &'static str,
    /// Words of the complaint.
    says: &'static str,
}

const fn variable(
    numbers: &'static str,
    what: &'static str,
    variable: (&'static str, &'static str),
    says: &'static str,
) -> Wrong {
    Wrong { numbers, what, variable, file: "", says }
}

const fn file(numbers: &'static str, what: &'static str, file: &'static str, says: &'static str) -> Wrong {
    Wrong { numbers, what, variable: GOOD, file, says }
}

pub(super) const ROWS: [Wrong; 13] = [
    variable("B21", "an empty key", (GOOD.0, "whsec_"), "decodes to 0 bytes"),
    variable("B21", "a short key", (GOOD.0, "whsec_aHVudGVyMg=="), "decodes to 7 bytes; at least 24"),
    variable("B21 B22", "a key without its prefix", (GOOD.0, "hunter2hunter2hunter2hunter2"), "starts with `whsec_`"),
    variable("B21", "a key cut off", (GOOD.0, "whsec_hunter2hunter2hunter2hunter2h"), "not base64"),
    variable("B73", "a file for a provider", ("SEAM_ENDPOINT", "file:///etc/passwd"), "http"),
    variable("B73", "gopher for a provider", ("SEAM_ENDPOINT", "gopher://127.0.0.1:70/x"), "http"),
    variable(
        "B73 B75",
        "a user in an address",
        ("SEAM_ENDPOINT", "http://a:hunter2@169.254.169.254/"),
        "SEAM_ENDPOINT",
    ),
    variable(
        "B75",
        "a broker's URL that is none",
        ("KEYFERRY_AMQP_URL", "http://a:hunter2@broker/"),
        "KEYFERRY_AMQP_URL",
    ),
    variable(
        "B75",
        "a store's URL that is none",
        ("KEYFERRY_STORE_URL", "mysql://a:hunter2@db/"),
        "neither sqlite: nor postgres://",
    ),
    variable("B76", "operators from everywhere, without a token", ("KEYFERRY_OPS_LISTEN", "0.0.0.0:0"), "token"),
    file(
        "B56",
        "a schema from elsewhere",
        "[[sources]]\nname = \"a\"\nkind = \"standard\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n\
         schema = { \"$ref\" = \"http://169.254.169.254/schema.json\" }\n",
        "schema",
    ),
    file("B75", "a line that cannot be read", "[ops]\ntoken = \"hunter2-and-no-end\n", "line 2"),
    file(
        "B31",
        "a tolerance of a day",
        "[[sources]]\nname = \"a\"\nkind = \"standard\"\ntolerance_seconds = 86400\n\
         secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n",
        "tolerance",
    ),
];

#[tokio::test]
async fn what_would_weaken_every_check_is_refused_and_no_secret_told() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("keyferry.toml").to_string_lossy().into_owned();
    let store = format!("sqlite:{}", dir.path().join("keyferry.db").display());
    for row in ROWS {
        std::fs::write(&path, row.file).expect("written");
        let mut environment: BTreeMap<String, String> = [
            GOOD,
            ("SEAM_API_KEY", "seam_test1_key"),
            ("KEYFERRY_LISTEN", "127.0.0.1:0"),
            ("KEYFERRY_OPS_LISTEN", "127.0.0.1:0"),
            ("KEYFERRY_STORE_URL", &store),
            row.variable,
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        environment.insert("KEYFERRY_LOG".to_owned(), "trace".to_owned());
        for arguments in [["run", "--config", &path].as_slice(), &["config", "check", "--config", &path]] {
            let output = ended(arguments, &environment).await;
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).expect("text")).concat();
            assert_eq!(output.status.code(), Some(64), "{}: {arguments:?}: {said}", row.what);
            assert!(said.contains(row.says), "{}: {said}", row.what);
            assert!(!said.contains("hunter2") && !said.contains("aHVudGVyMg"), "{}: {said}", row.what);
        }
    }
}

async fn ended(arguments: &[&str], environment: &BTreeMap<String, String>) -> Output {
    let mut command = keyferry(arguments, environment);
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs")
}
