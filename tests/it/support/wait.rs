//! A test waits for a condition with a deadline, never for a length of time.

use std::time::Duration;

/// Far more than anything here takes; reached only when something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until `ask` has an answer.
///
/// # Panics
///
/// When it has none within [`DEADLINE`]; `what` says what was waited for.
#[expect(clippy::disallowed_methods, reason = "between two looks at the world a test may sleep")]
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let Ok(answer) = tokio::time::timeout(DEADLINE, asking).await else {
        panic!("waited {} s in vain: {what}", DEADLINE.as_secs());
    };
    answer
}
