//! A test waits for a condition with a deadline, never for a length of time.

use std::fmt::Debug;
use std::time::Duration;

/// Far more than anything here takes; reached only when something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until `ask` has an answer.
///
/// # Panics
///
/// When it has none within [`DEADLINE`]; `what` says what was waited for.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    let Some(answer) = up_to(DEADLINE, ask).await else {
        panic!("waited {} s in vain: {what}", DEADLINE.as_secs());
    };
    answer
}

/// Asks again and again until both are the same.
///
/// # Panics
///
/// When they still differ after `deadline`, with both.
pub(crate) async fn until_equal<T: PartialEq + Debug>(
    deadline: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> (T, T),
) {
    let mut last = None;
    let equal = up_to(deadline, async || {
        let (left, right) = ask().await;
        let is_equal = left == right;
        last = Some((left, right));
        is_equal.then_some(())
    });
    if equal.await.is_none() {
        let (left, right) = last.expect("asked at least once");
        assert_eq!(left, right, "{what}");
    }
}

/// Asks again and again, but no longer than `deadline`.
pub(crate) async fn up_to<T>(deadline: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            pause(PAUSE).await;
        }
    };
    tokio::time::timeout(deadline, asking).await.ok()
}

/// Between two looks at the world, between two attempts of a sender, and where a network is slow.
#[expect(clippy::disallowed_methods, reason = "tests of real processes live in real time")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
