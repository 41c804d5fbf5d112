//! A port that answers before everything behind it is there.

use axum::Router;
use axum::extract::Request;
use tokio::sync::watch;
use tower::{ServiceExt as _, service_fn};

/// Puts another router in the place of the one that answers.
pub struct Front(watch::Sender<Router>);

impl Front {
    /// Returns what is to be served: `first`, and whatever takes its place later.
    pub fn new(first: Router) -> (Self, Router) {
        let (sender, current) = watch::channel(first);
        let served = service_fn(move |request: Request| {
            let router = current.borrow().clone();
            router.oneshot(request)
        });
        (Self(sender), Router::new().fallback_service(served))
    }

    /// Requests that are under way stay with the router that has them.
    pub fn replace(&self, router: Router) {
        self.0.send_modify(|current| *current = router);
    }
}
