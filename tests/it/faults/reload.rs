//! The configuration of a running process is written anew: secrets are rotated under load, mistakes are made, and what a
//! parked body needed is made up for.

use std::cell::{Cell, RefCell};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::{join, join_all};
use keyferry::clock::{Entropy as _, SystemClock, SystemEntropy};
use keyferry::config;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{brokered, embedded};
use crate::support::ground::Ground;
use crate::support::load::{delivery_id, registered};
use crate::support::process::Process;
use crate::support::town::Town;
use crate::support::wait;

const SENDERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(20);

/// A town whose configuration has another source, `desk`, with keys in files of their own.
struct Keyed {
    town: Town,
    /// The configuration without the source.
    rest: String,
    secrets: RefCell<Vec<String>>,
}

impl Keyed {
    async fn with_key(ground: Ground, roles: &[&str]) -> Self {
        let town = Town::founded(ground).await;
        let rest = fs::read_to_string(&town.config).expect("a configuration");
        let mut keyed = Self { town, rest, secrets: RefCell::default() };
        keyed.cut(0);
        keyed.configure(&[0]);
        for role in roles {
            keyed.town.start(role).await;
        }
        keyed
    }

    /// Writes a new secret into the file of key `number`.
    fn cut(&self, number: usize) {
        let key: [u64; 3] = std::array::from_fn(|_| SystemEntropy.next_u64());
        let secret = format!("whsec_{}", base64(&key.map(u64::to_be_bytes).concat()));
        fs::write(self.file(number), &secret).expect("written");
        let mut secrets = self.secrets.borrow_mut();
        secrets.truncate(number);
        secrets.push(secret);
    }

    fn file(&self, number: usize) -> String {
        self.town.config.with_file_name(format!("key-{number}")).to_string_lossy().into_owned()
    }

    /// The source has these keys from the next reading on.
    fn configure(&self, keys: &[usize]) {
        let keys: Vec<String> =
            keys.iter().map(|key| format!("{{ name = \"key-{key}\", file = \"{}\" }}", self.file(*key))).collect();
        let (rest, keys) = (&self.rest, keys.join(", "));
        let source = format!("[[sources]]\nname = \"desk\"\nkind = \"standard\"\nsecrets = [{keys}]\n");
        fs::write(&self.town.config, format!("{rest}\n{source}")).expect("written");
    }

    fn receiver(&self) -> &Process {
        &self.town.processes[0]
    }

    async fn reload(&self, says: &str) {
        self.receiver().signal("HUP");
        self.says(says).await;
    }

    async fn says(&self, mark: &str) {
        wait::until(mark, async || self.receiver().has_said(mark).then_some(())).await;
    }

    async fn try_key(&self, secret: &str, stay: &Value) -> StatusCode {
        let event_id = format!("tried-{:016x}", SystemEntropy.next_u64());
        self.town.send("desk", secret, &registered(&event_id, stay, None).to_string()).await
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Four rotations: the new key behind the old one, the sender takes it, the old one goes; all with senders at it.
async fn rotations(keyed: &Keyed) {
    let guests = keyed.town.guests().await;
    let (over, current, sent) = (Cell::new(false), Cell::new(0), Cell::new([0_usize; SENDERS]));
    let sender = async |number: usize| {
        while !over.get() {
            let secret = keyed.secrets.borrow()[current.get()].clone();
            let event_id = format!("registered-{:016x}", SystemEntropy.next_u64());
            let body = registered(&event_id, &guests[number], None).to_string();
            assert_eq!(keyed.town.deliver("desk", &secret, &body).await, 0, "not one attempt is refused");
            let mut counts = sent.get();
            counts[number] += 1;
            sent.set(counts);
            wait::pause(PAUSE).await;
        }
    };
    let rotating = async {
        for number in 1..5 {
            keyed.cut(number);
            keyed.configure(&[number - 1, number]);
            keyed.reload(&format!("source `desk`: secret `key-{number}` is new")).await;
            current.set(number);
            // What was signed with the old key has arrived when each sender is at its second delivery after it.
            let before = sent.get();
            let has_changed = |counts: [usize; SENDERS]| (0..SENDERS).all(|it| counts[it] >= before[it] + 2);
            wait::until("the senders to take the new key", async || has_changed(sent.get()).then_some(())).await;
            keyed.configure(&[number]);
            keyed.reload(&format!("source `desk`: secret `key-{}` is gone", number - 1)).await;
            let old = keyed.secrets.borrow()[number - 1].clone();
            assert_eq!(keyed.try_key(&old, &guests[0]).await, StatusCode::UNAUTHORIZED);
        }
        over.set(true);
    };
    join(rotating, join_all((0..SENDERS).map(sender))).await;
    println!("sent during four rotations: {:?}", sent.get());
}

#[tokio::test]
async fn a_secret_is_rotated_under_load_in_one_process() {
    let keyed = Keyed::with_key(embedded(), &["run"]).await;
    rotations(&keyed).await;
    keyed.town.close().await;
}

#[tokio::test]
async fn a_secret_is_rotated_under_load_at_a_receiver_on_a_broker() {
    let keyed = Keyed::with_key(brokered().await, &["serve", "work"]).await;
    rotations(&keyed).await;
    keyed.town.close().await;
}

#[tokio::test]
async fn mistakes_are_refused_and_what_stood_before_stays() {
    let keyed = Keyed::with_key(embedded(), &["run"]).await;
    let guest = keyed.town.guests().await.remove(0);
    let secret = keyed.secrets.borrow()[0].clone();
    // A key whose file has not come yet; and a mistake far from the sources.
    keyed.configure(&[0, 7]);
    keyed.reload("secret 2: ").await;
    assert_eq!(keyed.try_key(&secret, &guest).await, StatusCode::ACCEPTED);
    fs::write(&keyed.town.config, "worker.concurrency = 0").expect("written");
    keyed.reload("worker.concurrency: it must be at least 1").await;
    assert_eq!(keyed.try_key(&secret, &guest).await, StatusCode::ACCEPTED);
    assert!(!keyed.receiver().has_said("was read again: "), "{}", keyed.receiver().everything());
    keyed.town.receiver_says("keyferry_config_last_reload_successful 0").await;

    // The same file with another secret in it, as Kubernetes mounts a new version; and a setting that has to wait.
    keyed.cut(0);
    keyed.configure(&[0]);
    let text = fs::read_to_string(&keyed.town.config).expect("a configuration");
    fs::write(&keyed.town.config, format!("retention.plans_days = 500\n{text}")).expect("written");
    keyed.reload("source `desk`: secret `key-0` is another").await;
    keyed.town.receiver_says("keyferry_config_last_reload_successful 1").await;
    keyed.says("count from the next start on").await;
    assert!(keyed.receiver().has_said("retention.plans_days"));
    assert_eq!(keyed.try_key(&secret, &guest).await, StatusCode::UNAUTHORIZED);
    let new = keyed.secrets.borrow()[0].clone();
    assert_eq!(keyed.try_key(&new, &guest).await, StatusCode::ACCEPTED);
    for secret in [secret, new] {
        assert!(!keyed.receiver().everything().contains(&secret["whsec_".len()..]), "a secret is in the log");
    }
    keyed.town.close().await;
}

#[tokio::test]
async fn a_body_is_parked_until_its_pointers_are_mended() {
    let desk = |rest: &str, alias: &str| {
        format!(
            "{rest}\n[[sources]]\nname = \"desk\"\nkind = \"hmac\"\nheader = \"X-Signature\"\nsecrets = [\"a secret of the desk\"]\n\
             pointers = {{ id = \"/id\", type = \"/type\", user_identity_id = \"{alias}\" }}\n"
        )
    };
    let mut town = Town::founded(embedded()).await;
    let rest = fs::read_to_string(&town.config).expect("a configuration");
    let file = desk(&rest, "/guest");
    fs::write(&town.config, &file).expect("written");
    town.start("run").await;
    let stay = town.stay(0).await;
    town.put_plan("booking-1", &stay).await;
    town.sign_in(&stay).await;
    let guest = &stay["user_identity_id"];
    let body = json!({"id": "d-1", "type": "phone.registered", "guest": {"id": guest}}).to_string();
    let sources = config::senders(&town.environment, Some(&file)).expect("good").sources;
    let source = sources.into_iter().find(|source| &**source.name() == "desk").expect("the desk");
    let signed = source.sign(&delivery_id(), keyferry::clock::Clock::now(&SystemClock), body.as_bytes());
    let call = town.client.post(format!("{}/webhooks/desk", town.receiver_url)).body(body);
    let call = call.headers(signed.expect("it signs").into_iter().collect());
    assert_eq!(call.send().await.expect("an answer").status(), StatusCode::ACCEPTED);
    let id =
        wait::until("the parked body", async || town.ops("/v1/parked").await["parked"].get(0)?["id"].as_i64()).await;

    let release = format!("{}/v1/parked/{id}/release", town.ops_url);
    let status = town.client.post(&release).send().await.expect("an answer").status();
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "it cannot be read any better yet");
    fs::write(&town.config, desk(&rest, "/guest/id")).expect("written");
    town.processes[0].signal("HUP");
    town.processes[0].says("source `desk`: its settings are others").await;
    let status = town.client.post(&release).send().await.expect("an answer").status();
    assert!(status.is_success(), "{status}");
    wait::until("its end", async || {
        let ledger = town.ledger().await;
        ledger.iter().any(|line| line["event_id"] == "d-1" && line["kind"] == "event.done").then_some(())
    })
    .await;
    town.close().await;
}

/// `script` is the terminal: killed, it hangs up.
#[tokio::test]
async fn the_end_of_its_terminal_is_its_end() {
    let town = Town::founded(embedded()).await;
    let log = town.config.with_file_name("log");
    let mut arguments = vec![env!("CARGO_BIN_EXE_keyferry").to_owned(), "run".to_owned()];
    for (flag, value) in [("--listen", "127.0.0.1:0"), ("--ops-listen", "127.0.0.1:0")] {
        arguments.extend([flag.to_owned(), value.to_owned()]);
    }
    let command = format!("exec {} 2> {}", arguments.join(" "), log.display());
    let terminal = Command::new("script")
        .args(["--quiet", "--command", &command, "/dev/null"])
        .env_clear()
        .envs(&town.environment)
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let mut terminal = terminal.expect("util-linux is there");
    let logged = || fs::read_to_string(&log).unwrap_or_default();
    let says = async |mark: &str| wait::until(mark, async || logged().contains(mark).then_some(())).await;
    says("answers operators at").await;
    terminal.kill().expect("killed");
    terminal.wait().expect("reaped");
    says("has hung up").await;
    says("ended with nothing in hand").await;
}
