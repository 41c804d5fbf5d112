//! A RabbitMQ and a PostgreSQL to break: nodes beside those that all tests share.
//!
//! There is one of each, started by the first story that asks and lent to one story at a time. `scripts/with-services`
//! ends them.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::broker::rabbitmqctl;
use super::db::service;
use super::ports::free_address;
use super::process::signal;
use super::wait;

static BROKER: OnceCell<Mutex<Broker>> = OnceCell::const_new();
static DATABASE: OnceCell<Mutex<Database>> = OnceCell::const_new();

/// The broker to break, up and without an alarm. Whoever wants the database too asks for the broker first.
pub(crate) async fn broker() -> MutexGuard<'static, Broker> {
    let start = async || {
        let ports = [free_address(), free_address()];
        let broker = Broker(Node::new("rabbitmq-node", &ports));
        broker.await_start().await;
        Mutex::new(broker)
    };
    let mut broker = BROKER.get_or_init(start).await.lock().await;
    if broker.0.mend() {
        broker.await_start().await;
        broker.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
        broker.ctl(&["set_disk_free_limit", "50MB"]).await;
    }
    broker
}

/// The database server to break, up.
pub(crate) async fn database() -> MutexGuard<'static, Database> {
    let start = async || {
        let database = Database(Node::new("postgres-node", &[free_address()]));
        database.await_start().await;
        Mutex::new(database)
    };
    let mut database = DATABASE.get_or_init(start).await.lock().await;
    if database.0.mend() {
        database.await_start().await;
    }
    database
}

pub(crate) struct Broker(Node);

impl Broker {
    pub(crate) fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.0.address)
    }

    pub(crate) async fn ctl(&self, arguments: &[&str]) -> String {
        let node = format!("keyferry-{}@localhost", self.0.address.port());
        rabbitmqctl(&[&["--node", &node], arguments].concat()).await
    }

    /// Ends it by a signal (`KILL`, or `TERM` for a polite end), and waits for the end.
    pub(crate) async fn end(&mut self, by: &str) {
        self.0.end(by).await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.0.spawn_again();
        self.await_start().await;
    }

    async fn await_start(&self) {
        wait::until("the broker's port", async || TcpStream::connect(self.0.address).await.ok()).await;
    }
}

pub(crate) struct Database(Node);

impl Database {
    /// The superuser's maintenance database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.0.address)
    }

    /// Immediate shutdown: every connection is cut, what was committed is recovered from the log at the next start.
    pub(crate) async fn crash(&mut self) {
        self.0.end("QUIT").await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.0.spawn_again();
        self.await_start().await;
    }

    async fn await_start(&self) {
        wait::until("the database server", async || PgConnection::connect(&self.url()).await.ok()).await;
    }
}

struct Node {
    program: PathBuf,
    ports: Vec<String>,
    address: SocketAddr,
    child: Child,
}

impl Node {
    fn new(program: &str, ports: &[SocketAddr]) -> Self {
        let program = PathBuf::from(service("KEYFERRY_TEST_SERVICES")).join(program);
        let address = ports[0];
        let ports: Vec<String> = ports.iter().map(|address| address.port().to_string()).collect();
        let child = spawn(&program, &ports);
        Self { program, ports, address, child }
    }

    async fn end(&mut self, by: &str) {
        signal(by, &format!("-{}", self.child.id()));
        wait::until("a node's end", async || self.child.try_wait().expect("asked")).await;
    }

    fn spawn_again(&mut self) {
        self.child = spawn(&self.program, &self.ports);
    }

    /// After a story that failed half-way. Says whether it had to be started.
    fn mend(&mut self) -> bool {
        let is_gone = self.child.try_wait().expect("asked").is_some();
        if is_gone {
            self.spawn_again();
        }
        is_gone
    }
}

/// In a process group of its own, which is what signals go to: a broker is more than one process.
fn spawn(program: &PathBuf, ports: &[String]) -> Child {
    let log = program.with_file_name(format!("{}.log", ports[0]));
    let log = File::options().create(true).append(true).open(log).expect("a log");
    let mut command = Command::new(program);
    command.args(ports).process_group(0).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a handle")).stderr(log);
    command.spawn().expect("the node starts")
}
