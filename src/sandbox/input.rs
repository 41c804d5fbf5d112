//! Reading a call's parameters as Seam's server does: zod's checks and messages, both SDK generations' query forms.
//!
//! A handler reads each parameter by name and gets a value at once; what is wrong is gathered and refused in one answer
//! by [`Input::finish`]. Until then a missing required value is its type's default, which no handler acts upon, because
//! `Call::read` does not return it. What nobody read was not known: it is dropped, as Seam does, and named in the log.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::world::ids::Id;
use super::world::refusal::{Issue, Refusal};

/// One parameter as it came.
#[derive(Debug, Clone)]
enum Raw {
    Json(Value),
    /// From the query, where everything is text and a repeated key is a list.
    Query {
        values: Vec<String>,
        strict: bool,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Input {
    fields: BTreeMap<String, Raw>,
    read: BTreeSet<String>,
    /// Names of the objects that this input is inside of.
    within: Vec<String>,
    issues: Vec<Issue>,
    unknown: Vec<String>,
    deprecated: Vec<String>,
}

/// A type that a parameter can be of.
pub(crate) trait Parameter: Sized {
    /// The value, or zod's words about what is wrong with it.
    fn from_json(value: &Value) -> Result<Self, String>;

    fn from_text(text: &str) -> Result<Self, String>;

    /// From a query: one value, unless the type is a list.
    fn from_query(values: &[String], _strict: bool) -> Result<Self, String> {
        match values {
            [one] => Self::from_text(one),
            _ => Err("Expected a single value, received several".to_owned()),
        }
    }
}

impl Input {
    /// `query` are the decoded pairs in order. A body's fields win over the query's.
    pub(crate) fn new(query: &[(String, String)], body: Map<String, Value>) -> Self {
        let strict = query.iter().any(|(name, value)| name == "_strict" && value == "true");
        let mut input = Self::default();
        for (name, value) in query.iter().filter(|(name, _)| name != "_strict") {
            let name = if strict { name } else { name.strip_suffix("[]").unwrap_or(name) };
            let raw = input.fields.entry(name.to_owned());
            if let Raw::Query { values, .. } = raw.or_insert(Raw::Query { values: Vec::new(), strict }) {
                values.push(value.clone());
            }
        }
        input.fields.extend(body.into_iter().map(|(name, value)| (name, Raw::Json(value))));
        input
    }

    fn take(&mut self, name: &str) -> Option<Raw> {
        self.read.insert(name.to_owned());
        self.fields.get(name).cloned()
    }

    /// Whether the parameter was given, rightly or wrongly.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    pub(crate) fn is_null(&self, name: &str) -> bool {
        matches!(self.fields.get(name), Some(Raw::Json(Value::Null)))
    }

    /// Whether nothing was found wrong so far.
    pub(crate) fn is_sound(&self) -> bool {
        self.issues.is_empty()
    }

    pub(crate) fn issue(&mut self, name: &str, message: impl Into<String>) {
        let path = self.within.iter().cloned().chain((!name.is_empty()).then(|| name.to_owned())).collect();
        self.issues.push(Issue { path, message: message.into() });
    }

    /// Notes that a parameter of old documents was used, for the log.
    pub(crate) fn deprecated(&mut self, name: &str, advice: &str) {
        self.deprecated.push(format!("{name}: {advice}"));
    }

    /// A parameter that may be absent or null; `Some(None)` is null.
    pub(crate) fn nullable<T: Parameter>(&mut self, name: &str) -> Option<Option<T>> {
        let read = match self.take(name)? {
            Raw::Json(Value::Null) => return Some(None),
            Raw::Query { values, strict: true } if values == [""] => return Some(None),
            Raw::Json(value) => T::from_json(&value),
            Raw::Query { values, strict } => T::from_query(&values, strict),
        };
        read.map_err(|message| self.issue(name, message)).ok().map(Some)
    }

    /// A parameter that may be absent but not null.
    pub(crate) fn optional<T: Parameter>(&mut self, name: &str) -> Option<T> {
        let read = match self.take(name)? {
            Raw::Json(value) => T::from_json(&value),
            Raw::Query { values, strict } => T::from_query(&values, strict),
        };
        read.map_err(|message| self.issue(name, message)).ok()
    }

    pub(crate) fn required<T: Parameter + Default>(&mut self, name: &str) -> T {
        if !self.fields.contains_key(name) {
            self.read.insert(name.to_owned());
            self.issue(name, "Required");
            return T::default();
        }
        self.optional(name).unwrap_or_default()
    }

    /// One of a closed set of words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let given: String = self.optional(name)?;
        let found = words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
        if found.is_none() {
            let expected: Vec<String> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
            self.issue(name, format!("Invalid enum value. Expected {}, received '{given}'", expected.join(" | ")));
        }
        found
    }

    /// A text that is not empty.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let text: String = self.optional(name)?;
        if text.is_empty() {
            self.issue(name, "String must contain at least 1 character(s)");
        }
        Some(text)
    }

    /// A PIN: digits only.
    pub(crate) fn pin(&mut self, name: &str) -> Option<String> {
        let pin: String = self.optional(name)?;
        if pin.is_empty() || !pin.bytes().all(|byte| byte.is_ascii_digit()) {
            self.issue(name, "Invalid");
        }
        Some(pin)
    }

    /// Reads the object under `name` with `read`.
    pub(crate) fn object<R>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let value = match self.take(name)? {
            Raw::Json(value) => value,
            Raw::Query { .. } => Value::String(String::new()),
        };
        let Value::Object(fields) = value else {
            self.issue(name, format!("Expected object, received {}", kind_of(&value)));
            return None;
        };
        Some(self.inside(&[name], fields, read))
    }

    /// Reads each object of the list under `name` with `read`.
    pub(crate) fn objects<R>(&mut self, name: &str, mut read: impl FnMut(&mut Self) -> R) -> Option<Vec<R>> {
        let items: Vec<Value> = self.optional(name)?;
        let mut rows = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            let place = place.to_string();
            match item {
                Value::Object(fields) => rows.push(self.inside(&[name, &place], fields, &mut read)),
                other => self.issue(name, format!("Expected object, received {}", kind_of(&other))),
            }
        }
        Some(rows)
    }

    fn inside<R>(&mut self, names: &[&str], fields: Map<String, Value>, read: impl FnOnce(&mut Self) -> R) -> R {
        let within = self.within.iter().cloned().chain(names.iter().map(|name| (*name).to_owned())).collect();
        let mut inner = Self { within, ..Self::new(&[], fields) };
        let value = read(&mut inner);
        inner.note_unknown();
        self.issues.append(&mut inner.issues);
        self.unknown.append(&mut inner.unknown);
        self.deprecated.append(&mut inner.deprecated);
        value
    }

    fn note_unknown(&mut self) {
        for name in self.fields.keys().filter(|name| !self.read.contains(*name)) {
            self.unknown.push(self.within.iter().chain([name]).map(String::as_str).collect::<Vec<_>>().join("."));
        }
    }

    /// What the call asks, apart from the parameters named: equal for equal questions.
    pub(crate) fn fingerprint(&self, except: &[&str]) -> String {
        let fields = self.fields.iter().filter(|(name, _)| !except.contains(&name.as_str()));
        let words = fields.map(|(name, raw)| match raw {
            Raw::Json(value) => format!("{name}={value}"),
            Raw::Query { values, .. } => format!("{name}={}", values.join(",")),
        });
        words.collect::<Vec<_>>().join("&")
    }

    /// Refuses, if anything was wrong.
    pub(crate) fn finish(&mut self) -> Result<(), Refusal> {
        self.note_unknown();
        if self.issues.is_empty() {
            return Ok(());
        }
        Err(Refusal::Invalid { issues: std::mem::take(&mut self.issues) })
    }

    /// Names of parameters that nobody knew.
    pub(crate) fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Parameters of old documents that were used, each with what to use instead.
    pub(crate) fn deprecations(&self) -> &[String] {
        &self.deprecated
    }
}

/// zod's name for what a value is.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn text_of(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("Expected string, received {}", kind_of(value)))
}

impl Parameter for String {
    fn from_json(value: &Value) -> Result<Self, String> {
        text_of(value).map(str::to_owned)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl<T: Id> Parameter for T {
    fn from_json(value: &Value) -> Result<Self, String> {
        Self::from_text(text_of(value)?)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let id = uuid::Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
        id.map(Self::from).ok_or_else(|| "Invalid uuid".to_owned())
    }
}

impl Parameter for Timestamp {
    fn from_json(value: &Value) -> Result<Self, String> {
        Self::from_text(text_of(value)?)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map(super::world::moment::to_the_millisecond).map_err(|_| "Invalid datetime".to_owned())
    }
}

impl Parameter for bool {
    fn from_json(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| format!("Expected boolean, received {}", kind_of(value)))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_query(&[text.to_owned()], false)
    }

    fn from_query(values: &[String], strict: bool) -> Result<Self, String> {
        match (values, strict) {
            ([one], _) if one == "true" => Ok(true),
            ([one], _) if one == "false" => Ok(false),
            ([one], false) if matches!(one.as_str(), "yes" | "1") => Ok(true),
            ([one], false) if matches!(one.as_str(), "no" | "0") => Ok(false),
            _ => Err("Expected boolean, received string".to_owned()),
        }
    }
}

impl Parameter for usize {
    fn from_json(value: &Value) -> Result<Self, String> {
        let Value::Number(number) = value else {
            return Err(format!("Expected number, received {}", kind_of(value)));
        };
        // `10.0` is a whole number as well.
        let whole = number.to_string();
        let whole = whole.strip_suffix(".0").unwrap_or(&whole);
        whole.parse().map_err(|_| "Expected a whole number, not below 0".to_owned())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "Expected number, received nan".to_owned())
    }
}

impl Parameter for Value {
    fn from_json(value: &Value) -> Result<Self, String> {
        Ok(value.clone())
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self::String(text.to_owned()))
    }
}

impl<T: Parameter> Parameter for Vec<T> {
    fn from_json(value: &Value) -> Result<Self, String> {
        let items = value.as_array().ok_or_else(|| format!("Expected array, received {}", kind_of(value)))?;
        items.iter().map(T::from_json).collect()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_query(&[text.to_owned()], false)
    }

    /// Strict: one key each, and a single empty value is the empty list. Of old: commas as well.
    fn from_query(values: &[String], strict: bool) -> Result<Self, String> {
        if values == [""] {
            return Ok(Self::new());
        }
        if strict {
            return values.iter().map(|value| T::from_text(value)).collect();
        }
        values.iter().flat_map(|value| value.split(',')).map(T::from_text).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn from_query(query: &str) -> Input {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Input::new(&pairs, Map::new())
    }

    fn from_body(body: Value) -> Input {
        let Value::Object(fields) = body else { panic!("an object") };
        Input::new(&[], fields)
    }

    #[test]
    fn strict_queries_repeat_keys_and_older_ones_split_commas() {
        let read = |query: &str| from_query(query).optional::<Vec<String>>("ids");
        assert_eq!(read("ids=a&ids=b,c&_strict=true"), Some(vec!["a".to_owned(), "b,c".to_owned()]));
        assert_eq!(read("ids[]=a&ids=b,c"), Some(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]));
        assert_eq!(read("ids=&_strict=true"), Some(Vec::new()));
        assert_eq!(from_query("a=&_strict=true").nullable::<String>("a"), Some(None), "an empty value is null");
    }

    #[test]
    fn booleans_are_words_and_of_old_more_words() {
        let read = |query: &str| from_query(query).optional::<bool>("a");
        assert_eq!((read("a=true&_strict=true"), read("a=1"), read("a=no")), (Some(true), Some(true), Some(false)));
        assert_eq!(read("a=1&_strict=true"), None);
    }

    #[test]
    fn every_mistake_is_gathered_with_its_path() {
        let mut input = from_body(json!({"a": 1, "inner": {"b": "x"}, "list": [{}]}));
        let _: String = input.required("a");
        let _: Option<bool> = input.object("inner", |inner| inner.optional("b")).flatten();
        input.objects("list", |inner| inner.required::<String>("c"));
        let Err(Refusal::Invalid { issues }) = input.finish() else { panic!("refused") };
        let lines: Vec<String> =
            issues.iter().map(|issue| format!("{}: {}", issue.path.join("."), issue.message)).collect();
        assert_eq!(
            lines,
            ["a: Expected string, received number", "inner.b: Expected boolean, received string", "list.0.c: Required"]
        );
    }

    #[test]
    fn what_nobody_reads_is_named_with_its_path() {
        let mut input = from_body(json!({"card_format": "rfid48", "visionline_metadata": {"cardFormat": "rfid48"}}));
        input.object("visionline_metadata", |_| ());
        assert_eq!(input.finish(), Ok(()));
        assert_eq!(input.unknown(), ["visionline_metadata.cardFormat", "card_format"]);
    }

    #[test]
    fn a_body_wins_over_the_query() {
        let mut input =
            Input::new(&[("a".to_owned(), "query".to_owned())], Map::from_iter([("a".to_owned(), json!("body"))]));
        assert_eq!(input.required::<String>("a"), "body");
    }
}
