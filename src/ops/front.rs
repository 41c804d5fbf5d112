//! A port that answers before everything behind it is there.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use jiff::SignedDuration;
use tokio::sync::watch;
use tower::{ServiceExt as _, service_fn};

use crate::clock::Clock;

/// How long who asks for the API waits for it: at nearly every start it is there sooner.
const PATIENCE: SignedDuration = SignedDuration::from_secs(2);

/// Puts the whole router in the place of the one that answers until then.
pub struct Front(watch::Sender<Current>);

struct Current {
    router: Router,
    is_whole: bool,
}

impl Front {
    /// Returns what is to be served: `first`, until the whole takes its place.
    pub fn new(first: Router, clock: Arc<dyn Clock>) -> (Self, Router) {
        let (sender, current) = watch::channel(Current { router: first, is_whole: false });
        let served = service_fn(move |request: Request| {
            let (mut current, clock) = (current.clone(), Arc::clone(&clock));
            async move {
                if request.uri().path().starts_with("/v1/") && !current.borrow().is_whole {
                    tokio::select! {
                        biased;
                        _ = current.wait_for(|current| current.is_whole) => {}
                        () = clock.sleep(PATIENCE) => {}
                    }
                }
                let router = current.borrow().router.clone();
                router.oneshot(request).await
            }
        });
        (Self(sender), Router::new().fallback_service(served))
    }

    /// Requests that are under way stay with the router that has them.
    pub fn complete(&self, router: Router) {
        self.0.send_modify(|current| *current = Current { router, is_whole: true });
    }
}
