//! One goes for all: whoever has the turn asks once for everybody who waits at that moment.
//!
//! While it is away, the next ones gather; so the more there is to do, the more is done at once, and nobody waits for
//! company. There is no task behind it: who asks does the work, and it ends where the asking ends.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::StoreError;

pub(crate) struct Together<Q, A> {
    waiting: Mutex<Vec<Waiting<Q, A>>>,
    /// Whoever holds it asks for all who wait.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting<Q, A> {
    question: Q,
    give: oneshot::Sender<Result<A, StoreError>>,
}

impl<Q, A> Default for Together<Q, A> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }
}

impl<Q: Clone, A> Together<Q, A> {
    /// The answer to `question`. `ask` gives the answers to several, in their order; if it fails, it has failed for all
    /// of them.
    pub(crate) async fn ask<F>(&self, question: Q, ask: impl Fn(Vec<Q>) -> F) -> Result<A, StoreError>
    where
        F: Future<Output = Result<Vec<A>, StoreError>>,
    {
        loop {
            let (give, mut take) = oneshot::channel();
            self.waiting().push(Waiting { question: question.clone(), give });
            let turn = tokio::select! {
                biased;
                answer = &mut take => match answer {
                    Ok(answer) => return answer,
                    // Whoever asked for us was given up in the middle of it.
                    Err(_) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            self.let_in().await;
            let waiting = mem::take(&mut *self.waiting());
            if !waiting.is_empty() {
                let (questions, gives): (Vec<Q>, Vec<_>) = waiting.into_iter().map(|it| (it.question, it.give)).unzip();
                hand_out(ask(questions).await, gives);
            }
            drop(turn);
            if let Ok(answer) = take.await {
                return answer;
            }
        }
    }

    /// Lets those who are about to ask as well come in, for as long as they do.
    async fn let_in(&self) {
        let mut there = 0;
        loop {
            tokio::task::yield_now().await;
            let before = mem::replace(&mut there, self.waiting().len());
            if there <= before {
                return;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting<Q, A>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has gone in the meantime needs no answer.
fn hand_out<A>(answers: Result<Vec<A>, StoreError>, gives: Vec<oneshot::Sender<Result<A, StoreError>>>) {
    match answers {
        Ok(answers) => {
            for (give, answer) in gives.into_iter().zip(answers) {
                let _ = give.send(Ok(answer));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for give in gives {
                let _ = give.send(Err(StoreError::Shared(Arc::clone(&error))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn who_waits_at_the_same_time_is_asked_for_once_and_gets_their_own_answer() {
        let together = Together::default();
        let times = AtomicUsize::new(0);
        let ask = |questions: Vec<usize>| {
            times.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::task::yield_now().await;
                Ok(questions.into_iter().map(|question| question * 2).collect())
            }
        };
        let asked = join_all((0..50).map(|question| together.ask(question, ask))).await;
        let answers: Vec<usize> = asked.into_iter().map(|answer| answer.expect("an answer")).collect();
        assert_eq!(answers, (0..50).map(|question| question * 2).collect::<Vec<_>>());
        assert_eq!(times.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_failure_is_everybodys_and_the_next_ones_ask_anew() {
        let together: Together<usize, usize> = Together::default();
        let fail = |_questions| async { Err(StoreError::Url) };
        let asked = join_all((0..3).map(|question| together.ask(question, fail))).await;
        assert!(asked.iter().all(|answer| matches!(answer, Err(StoreError::Shared(_)))), "{asked:?}");
        assert_eq!(together.ask(1, |questions| async { Ok(questions) }).await.expect("an answer"), 1);
    }

    #[tokio::test]
    async fn who_is_given_up_while_asking_for_others_leaves_them_to_ask() {
        let together: Arc<Together<usize, usize>> = Arc::default();
        let never = |_questions| std::future::pending();
        let gone = tokio::spawn({
            let together = Arc::clone(&together);
            async move { together.ask(1, never).await }
        });
        tokio::task::yield_now().await;
        let left = tokio::spawn({
            let together = Arc::clone(&together);
            async move { together.ask(2, |questions| async { Ok(questions) }).await }
        });
        tokio::task::yield_now().await;
        gone.abort();
        assert_eq!(left.await.expect("no panic").expect("an answer"), 2);
    }
}
