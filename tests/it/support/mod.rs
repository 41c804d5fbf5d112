//! What the stories have in common: stores to write into, databases of one's own, and waiting for a condition.

pub(crate) mod asked;
pub(crate) mod broker;
mod close;
pub(crate) mod db;
pub(crate) mod ground;
pub(crate) mod load;
pub(crate) mod nodes;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod say;
pub(crate) mod seam_schemas;
pub(crate) mod town;
pub(crate) mod wait;

/// Writes one test for each of `names` and each store: the same story over both.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::db::Bench::sqlite().await).await; })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name(crate::support::db::Bench::postgres().await).await; })+
        }
    };
}
pub(crate) use on_both_stores;

/// Writes one test for each of `names` and each shape of a whole set-up: the same story with real processes.
macro_rules! in_both_shapes {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $name() {
                super::$name($crate::support::town::Town::new($crate::support::ground::Shape::Embedded).await).await;
            })+
        }
        mod brokered {
            $(#[tokio::test] async fn $name() {
                super::$name($crate::support::town::Town::new($crate::support::ground::Shape::Brokered).await).await;
            })+
        }
    };
}
pub(crate) use in_both_shapes;
