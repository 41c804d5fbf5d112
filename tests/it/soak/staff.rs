//! Who runs, and what befalls them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use keyferry::clock::Entropy;

use crate::support::nodes::{Broker, Database};
use crate::support::ports::free_address;
use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::town::Town;
use crate::support::wait;

/// The processes, what they stand on, and the balancer before them.
pub(super) struct Staff<'a> {
    town: Launcher,
    hands: Vec<Hand>,
    nodes: Option<(&'a mut Broker, &'a mut Database)>,
    front: Proxy,
    _back: Proxy,
    suffered: BTreeMap<String, usize>,
}

/// What is needed to start a role once more.
type Launcher = Box<dyn Fn(&Hand) -> Process>;

struct Hand {
    role: &'static str,
    listen: SocketAddr,
    ops: SocketAddr,
    process: Option<Process>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Kill(usize),
    Terminate(usize),
    Pause(usize),
    CutSenders,
    KillBroker,
    RestartBroker,
    CrashDatabase,
}

impl<'a> Staff<'a> {
    /// One process of everything, or two receivers and two workers; senders and operators reach whichever answers.
    pub(super) async fn hire(town: &mut Town, nodes: Option<(&'a mut Broker, &'a mut Database)>) -> Self {
        let roles: &[&str] = if nodes.is_some() { &["serve", "serve", "work", "work"] } else { &["run"] };
        let hand = |role: &&'static str| Hand { role, listen: free_address(), ops: free_address(), process: None };
        let mut hands: Vec<Hand> = roles.iter().map(hand).collect();
        let fronts: Vec<SocketAddr> = hands.iter().filter(|hand| hand.role != "work").map(|hand| hand.listen).collect();
        let backs: Vec<SocketAddr> = hands.iter().filter(|hand| hand.role != "serve").map(|hand| hand.ops).collect();
        let door = town.receiver_url.trim_start_matches("http://").parse().expect("an address");
        let (front, back) = (Proxy::at(door, &fronts).await, Proxy::to(&backs).await);
        let launcher = town.launcher();
        for hand in &mut hands {
            hand.process = Some(launcher(hand.role, hand.listen, hand.ops));
            town.ready(hand.role, hand.process.as_mut().expect("just started")).await;
        }
        town.ops_url = format!("http://{}", back.address);
        let town: Launcher = Box::new(move |hand| launcher(hand.role, hand.listen, hand.ops));
        Self { town, hands, nodes, front, _back: back, suffered: BTreeMap::new() }
    }

    /// One trouble after the other for a time; then everybody is at work again.
    pub(super) async fn suffer(&mut self, chance: &dyn Entropy, time: Duration) {
        let (began, mut deck) = (Instant::now(), Vec::new());
        while began.elapsed() < time {
            wait::pause(Duration::from_millis(300 + chance.next_u64() % 1500)).await;
            if deck.is_empty() {
                deck = self.troubles();
                shuffle(&mut deck, chance);
            }
            let trouble = deck.pop().expect("it was filled");
            *self
                .suffered
                .entry(format!("{trouble:?}").split('(').next().unwrap_or_default().to_owned())
                .or_default() += 1;
            self.befall(trouble, Duration::from_millis(chance.next_u64() % 4000)).await;
        }
    }

    pub(super) fn report(&self) -> String {
        let words: Vec<String> = self.suffered.iter().map(|(what, times)| format!("{what} {times}")).collect();
        format!("suffered: {}", words.join(", "))
    }

    fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = vec![Trouble::CutSenders];
        for hand in 0..self.hands.len() {
            troubles.extend([Trouble::Kill(hand), Trouble::Terminate(hand), Trouble::Pause(hand)]);
        }
        if self.nodes.is_some() {
            let database = [Trouble::CrashDatabase; 3];
            troubles.extend([Trouble::KillBroker, Trouble::RestartBroker].into_iter().chain(database));
        }
        troubles
    }

    /// Begins a trouble, and ends it after `length`.
    async fn befall(&mut self, trouble: Trouble, length: Duration) {
        match trouble {
            Trouble::Kill(hand) => {
                self.hands[hand].process.take().expect("it runs").kill();
                wait::pause(length / 4).await;
                self.hands[hand].process = Some((self.town)(&self.hands[hand]));
            }
            Trouble::Terminate(hand) => {
                // How it ends is its own affair here: its other half may be gone at this moment.
                self.hands[hand].process.take().expect("it runs").terminate().await;
                self.hands[hand].process = Some((self.town)(&self.hands[hand]));
            }
            Trouble::Pause(hand) => {
                let process = self.hands[hand].process.as_ref().expect("it runs");
                process.signal("STOP");
                // Leases are three seconds.
                wait::pause(length * 5 / 4).await;
                process.signal("CONT");
            }
            Trouble::CutSenders => self.front.cut(),
            Trouble::KillBroker | Trouble::RestartBroker => {
                let (broker, _) = self.nodes.as_mut().expect("there is one");
                broker.end(if trouble == Trouble::KillBroker { "KILL" } else { "TERM" }).await;
                broker.start_again().await;
            }
            Trouble::CrashDatabase => {
                let (_, database) = self.nodes.as_mut().expect("there is one");
                database.crash().await;
                wait::pause(length / 2).await;
                database.start_again().await;
            }
        }
    }
}

fn shuffle(deck: &mut [Trouble], chance: &dyn Entropy) {
    for last in (1..deck.len()).rev() {
        let other = chance.next_u64() % (last as u64 + 1);
        deck.swap(last, usize::try_from(other).expect("small"));
    }
}
