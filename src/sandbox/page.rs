//! Pages of a list, with cursors that are bound to the query they were made for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use super::input::Input;
use super::world::moment::At;
use super::world::refusal::Refusal;
use super::world::table::Row;

/// How many rows one page may have, however many are asked for.
const LIMIT_MAX: usize = 1_000;

/// `limit` and `page_cursor` of a list call.
#[derive(Debug)]
pub(crate) struct Page {
    limit: usize,
    cursor: Option<String>,
    /// Which query this is: a digest of every other parameter.
    query: String,
    url: String,
}

/// Where a page ended: Seam's form is base64 of `[digest, {created_at, <id>}]`.
#[derive(Serialize, Deserialize)]
struct Cursor(String, Place);

#[derive(Serialize, Deserialize)]
struct Place {
    created_at: String,
    id: String,
}

#[derive(Serialize)]
struct Pagination {
    has_next_page: bool,
    next_page_cursor: Option<String>,
    next_page_url: Option<String>,
}

impl Page {
    /// `url` is the called URL without its query.
    pub(crate) fn read(input: &mut Input, url: &str, limit_default: usize) -> Self {
        let limit = input.optional("limit").unwrap_or(limit_default).min(LIMIT_MAX);
        let cursor = input.nullable("page_cursor").flatten();
        let query = hex_digest(&format!("{url} {}", input.fingerprint(&["limit", "page_cursor"])));
        Self { limit, cursor, query, url: url.to_owned() }
    }

    /// Cuts this page out of all the matching rows, and says where the next one begins.
    pub(crate) fn answer<'a, T: Row<Id: ToString> + 'a, W: Serialize>(
        self,
        key: &str,
        rows: impl IntoIterator<Item = &'a T>,
        wire: impl Fn(&'a T) -> W,
    ) -> Result<Answer, Refusal> {
        let rows: Vec<&T> = rows.into_iter().collect();
        let start = match &self.cursor {
            None => 0,
            Some(cursor) => start_after(&rows, &self.place(cursor)?),
        };
        Ok(self.cut(key, rows.get(start..).unwrap_or_default(), wire))
    }

    fn cut<'a, T: Row<Id: ToString> + 'a, W: Serialize>(
        self,
        key: &str,
        rows: &[&'a T],
        wire: impl Fn(&'a T) -> W,
    ) -> Answer {
        let has_next_page = rows.len() > self.limit;
        let page = &rows[..rows.len().min(self.limit)];
        let next_page_cursor = page.last().filter(|_| has_next_page).map(|last| {
            let place = Place { created_at: At(last.created_at()).to_string(), id: last.id().to_string() };
            let cursor = serde_json::to_vec(&Cursor(self.query.clone(), place)).unwrap_or_default();
            STANDARD.encode(cursor)
        });
        let next_page_url = next_page_cursor.as_ref().map(|cursor| {
            let pairs = [("limit", self.limit.to_string()), ("page_cursor", cursor.clone())];
            url::Url::parse_with_params(&self.url, pairs).map(String::from).unwrap_or_default()
        });
        let page: Vec<W> = page.iter().map(|row| wire(row)).collect();
        Answer::of(key, page).with("pagination", Pagination { has_next_page, next_page_cursor, next_page_url })
    }

    fn place(&self, cursor: &str) -> Result<Place, Refusal> {
        let bad = || Refusal::field("page_cursor", "Invalid page cursor");
        let bytes = STANDARD.decode(cursor).map_err(|_| bad())?;
        let Cursor(query, place) = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        if query != self.query {
            return Err(Refusal::together(
                "When using next page cursor, the request parameters must match the previous request",
            ));
        }
        Ok(place)
    }
}

/// Where the rows after `last` begin. Rows keep their order, so it is found by its id, or, if it was deleted in the
/// meantime, by its time of making.
fn start_after<T: Row<Id: ToString>>(rows: &[&T], last: &Place) -> usize {
    let itself = rows.iter().position(|row| row.id().to_string() == last.id).map(|place| place + 1);
    let later = || rows.iter().position(|row| At(row.created_at()).to_string() > last.created_at);
    itself.or_else(later).unwrap_or(rows.len())
}

fn hex_digest(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
