//! Whoever dies on the way through the broker, at each effect in turn: what a sender was told is durable reaches the
//! inbox, once.
//!
//! The publisher, the broker and the intake are the real ones; what dies is the process around them: its memory and its
//! connection are gone, and another one begins.

use keyferry::queue::Publisher as _;
use keyferry::store::Store;
use tokio::sync::Notify;

use super::*;
use crate::support::db::Bench;
use crate::support::on_both_stores;

on_both_stores!(whoever_dies_on_the_way_what_was_confirmed_comes_in_once);

/// What is done to the outside on the way: everything that is durable, and the word about it.
const EFFECTS: [&str; 4] = ["publish", "confirm", "intake commit", "acknowledgement"];

/// A life that ends where its next effect would be one more than it has left.
struct Life {
    lived: Mutex<Vec<&'static str>>,
    effects_max: usize,
    ended: Notify,
}

impl Life {
    fn of(effects_max: usize) -> Arc<Self> {
        Arc::new(Self { lived: Mutex::default(), effects_max, ended: Notify::new() })
    }

    fn lived(&self) -> Vec<&'static str> {
        self.lived.lock().expect("whole").clone()
    }

    /// An effect is about to be had; whoever has had all of theirs gets no further.
    async fn effect(&self, name: &'static str) {
        let goes_on = {
            let mut lived = self.lived.lock().expect("whole");
            let goes_on = lived.len() < self.effects_max;
            if goes_on {
                lived.push(name);
            }
            goes_on
        };
        if !goes_on {
            self.ended.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// The store's inbox, in a process that can die on either side of the commit.
struct Lived {
    store: Store,
    life: Arc<Life>,
}

#[async_trait]
impl Inbox for Lived {
    async fn accept(&self, batch: Vec<Envelope>) -> Result<(), InboxError> {
        self.life.effect("intake commit").await;
        let committed = self.store.accept(batch).await;
        // What follows is the acknowledgement; its death is a commit that the broker never hears of.
        self.life.effect("acknowledgement").await;
        committed
    }
}

async fn whoever_dies_on_the_way_what_was_confirmed_comes_in_once(bench: Bench) {
    for effects_max in 0..=EFFECTS.len() {
        let bus = Bus::new().await;
        let id = format!("event-{effects_max}");
        let life = Life::of(effects_max);
        let (was_told, has_died) = a_life(&bus, &bench, &id, &life, false).await;
        assert_eq!(life.lived(), EFFECTS[..effects_max], "what there is to die at");
        // The sender comes again if it was told nothing; everybody else begins anew.
        if has_died {
            a_life(&bus, &bench, &id, &Life::of(usize::MAX), was_told).await;
        }
        let lines = bench.store.ledger(0, 1000).await.expect("a ledger");
        let received = lines.iter().filter(|line| line.event_id.as_deref() == Some(&*id));
        assert_eq!(received.count(), 1, "died after {:?}", life.lived());
        bus.end().await;
    }
}

/// A sender sends, unless it was told already, and the event comes in; or the life ends before. Whether the sender has
/// been told that it is durable, and whether the life has ended.
async fn a_life(bus: &Bus, bench: &Bench, id: &str, life: &Arc<Life>, was_told: bool) -> (bool, bool) {
    let inbox = Arc::new(Lived { store: bench.store.clone(), life: Arc::clone(life) });
    let (publisher, publishing) = bus.publisher().await;
    let told = AtomicBool::new(was_told);
    let taking = Mutex::new(None);
    let work = async {
        if !was_told {
            life.effect("publish").await;
            publisher.publish(vec![event(id)]).await.expect("it is durable");
            life.effect("confirm").await;
            told.store(true, Ordering::SeqCst);
        }
        // Only now, so that every life has its effects in the same order.
        *taking.lock().expect("whole") = Some(intake(&bus.settings, &inbox));
        eventually("it has come in", async || life.lived().contains(&"acknowledgement")).await;
    };
    let has_died = tokio::select! {
        biased;
        () = life.ended.notified() => true,
        () = work => false,
    };
    let running = [Some(publishing), taking.into_inner().expect("whole")];
    for running in running.into_iter().flatten() {
        if has_died {
            // The task is gone where it stands, and its connection with it.
            running.task.abort();
            assert!(running.task.await.is_err_and(|gone| gone.is_cancelled()));
        } else {
            running.end().await;
        }
    }
    (told.load(Ordering::SeqCst), has_died)
}
