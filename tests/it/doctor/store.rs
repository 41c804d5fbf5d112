//! The store: not there, not migrated, of a newer program, read-only, shared, out of reach.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{Diagnosis, diagnose, environment, free_address, free_port};
use crate::support::db::{Bench, new_postgres_database, service};
use crate::support::ground::Shape;
use crate::support::town::Town;

/// As a worker whose provider and broker are nobody's business here.
async fn of_store(url: &str) -> Diagnosis {
    let environment = environment([
        ("KEYFERRY_STORE_URL", url),
        ("SEAM_API_KEY", "seam_nobody"),
        ("SEAM_ENDPOINT", "http://127.0.0.1:9"),
    ]);
    diagnose(&["--role", "work", "--ops-listen", &free_address()], &environment).await
}

async fn in_database(url: &str, statement: String) {
    let mut connection = PgConnection::connect(url).await.expect("the database");
    connection.execute(AssertSqlSafe(statement)).await.expect("done");
}

#[tokio::test]
async fn a_postgres_is_judged_by_its_schema_and_its_rights() {
    let url = new_postgres_database().await;
    for _ in 0..2 {
        of_store(&url).await.finds("problem", "store", "schema is at version 0", "keyferry migrate");
    }
    keyferry::store::migrate(&url).await.expect("migrated");
    let whole = of_store(&url).await;
    whole.finds("ok", "store", "as it should be", "");
    whole.finds("ok", "clocks", "database", "");

    let name = url.rsplit('/').next().expect("a name");
    in_database(&url, format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    of_store(&url).await.finds("problem", "store", "read-only", "right to write");
    let undo = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    in_database(&service("KEYFERRY_TEST_POSTGRES_URL"), undo).await;

    let reader = format!("reader_of_{name}");
    let grant = format!("CREATE ROLE {reader} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}");
    in_database(&url, grant).await;
    let as_reader = url.replacen("postgres@", &format!("{reader}@"), 1);
    of_store(&as_reader).await.finds("problem", "store", "no INSERT privilege", "right to write");

    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'tomorrow', true, '\\x00', 0)";
    in_database(&url, newer.to_owned()).await;
    of_store(&url).await.finds("problem", "store", "a newer one was here", "newer program");

    of_store(&format!("{url}_of_nobody")).await.finds("problem", "store", "does not exist", "KEYFERRY_STORE_URL");
    let nowhere = format!("postgres://postgres@127.0.0.1:{}/x", free_port());
    of_store(&nowhere).await.finds("problem", "store", "cannot be used", "can be reached");
}

#[tokio::test]
async fn a_sqlite_file_is_not_made_and_not_migrated_by_looking() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("keyferry.db");
    let url = format!("sqlite:{}", file.display());
    of_store(&url).await.finds("warning", "store", "does not exist yet", "keyferry run");
    assert!(!file.exists());
    std::fs::write(&file, "").expect("an empty database");
    of_store(&url).await.finds("problem", "store", "schema is at version 0", "keyferry migrate");
    assert_eq!(std::fs::metadata(&file).expect("it").len(), 0, "still empty");

    keyferry::store::migrate(&url).await.expect("migrated");
    of_store(&url).await.finds("ok", "store", "as it should be", "");
    of_store(&format!("{url}?mode=ro")).await.finds("problem", "store", "nothing can be written", "right to write");
    let elsewhere = format!("sqlite:{}/no/such/folder/keyferry.db", dir.path().display());
    of_store(&elsewhere).await.finds("problem", "store", "folder", "make it");
    let other = dir.path().join("other.db");
    std::fs::write(&other, "this is a text and no database. ".repeat(100)).expect("written");
    of_store(&format!("sqlite:{}", other.display())).await.finds("problem", "store", "not a database", "");
}

#[tokio::test]
async fn two_processes_on_one_sqlite_file_are_found() {
    let mut town = Town::with_sandbox(Shape::Embedded).await;
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".to_owned();
    town.environment.insert("SEAM_WEBHOOK_SECRET".to_owned(), secret);
    // This process has the store open as well.
    let bench = Bench::sqlite().await;
    town.environment.insert("KEYFERRY_STORE_URL".to_owned(), bench.url.clone());
    town.start("run").await;
    town.diagnosis("run").await.finds("warning", "store", "2 processes use", "PostgreSQL");
}
