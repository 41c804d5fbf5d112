//! The schema: brought forward by `migrate`, refused when it is not the one that this program knows.

use std::sync::Arc;

use keyferry::clock::{SystemClock, SystemEntropy};
use keyferry::store::{self, Store, StoreError};

use crate::support::db::{Bench, new_postgres_database};
use crate::support::on_both_stores;

on_both_stores!(a_newer_schema_is_refused, migrating_again_changes_nothing);

impl Bench {
    /// SQL from behind the store's back.
    pub(crate) async fn execute(&self, sql: &'static str) {
        if self.url.starts_with("sqlite:") {
            let file = store::sqlite_file(&self.url).expect("a file");
            rusqlite::Connection::open(file).expect("the file").execute_batch(sql).expect("executed");
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.expect("a pool");
            sqlx::query(sql).execute(&pool).await.expect("executed");
        }
    }
}

async fn open(url: &str) -> Result<Store, StoreError> {
    Store::open(url, 2, Arc::new(SystemClock), Arc::new(SystemEntropy)).await
}

async fn a_newer_schema_is_refused(bench: Bench) {
    bench.execute("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1").await;
    assert!(matches!(open(&bench.url).await.err(), Some(StoreError::Schema { found: 9999, .. })));
    assert!(matches!(store::migrate(&bench.url).await.err(), Some(StoreError::Schema { found: 9999, .. })));
}

async fn migrating_again_changes_nothing(bench: Bench) {
    let state = store::migrate(&bench.url).await.expect("migrated");
    assert_eq!(state.before, state.after);
}

#[tokio::test]
async fn a_store_that_was_not_migrated_is_refused_with_advice() {
    let refused = open(&new_postgres_database().await).await.err().expect("refused").to_string();
    assert!(refused.contains("run `keyferry migrate`"), "{refused}");
}

#[tokio::test]
async fn many_may_migrate_at_once() {
    let url = new_postgres_database().await;
    let all = (0..4).map(|_| store::migrate(&url));
    for migrated in futures_util::future::join_all(all).await {
        migrated.expect("migrated, or waited for");
    }
}
