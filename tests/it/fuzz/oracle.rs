//! What is well-formed, said once more by other means: `serde_json`'s parser with our limits laid over it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

const DEPTH_MAX: usize = 64;
const VALUES_MAX: usize = 10_000;
/// A number of more bytes is none to us. The parser hands on no number's length, so there is no verdict on such a text.
const NUMBER_BYTES_MAX: usize = 64;

/// What a text is.
pub(super) enum Verdict {
    /// A document that any two readers take the same way.
    Clear(Value),
    Unclear,
    Unknown,
}

pub(super) fn document(bytes: &[u8]) -> Verdict {
    let is_of_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if bytes.split(|byte| !is_of_number(byte)).any(|run| run.len() > NUMBER_BYTES_MAX) {
        return Verdict::Unknown;
    }
    let values = Cell::new(0);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let is_clear = Look { depth: 0, values: &values }.deserialize(&mut reader).and_then(|()| reader.end()).is_ok();
    match serde_json::from_slice(bytes) {
        Ok(document) if is_clear => Verdict::Clear(document),
        _ => Verdict::Unclear,
    }
}

/// Looks at one value: so many objects and arrays are open around it, so many values came before.
#[derive(Clone, Copy)]
struct Look<'c> {
    depth: usize,
    values: &'c Cell<usize>,
}

impl Look<'_> {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX { Err(E::custom("too deep")) } else { Ok(Self { depth: self.depth + 1, ..self }) }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > VALUES_MAX {
            return Err(D::Error::custom("too many"));
        }
        deserializer.deserialize_any(self)
    }
}

fn text<E: Error>(text: &str) -> Result<(), E> {
    if text.contains('\0') { Err(E::custom("a NUL")) } else { Ok(()) }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        text(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while items.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let (inside, mut keys) = (self.inside()?, BTreeSet::new());
        while let Some(key) = members.next_key::<String>()? {
            text(&key)?;
            members.next_value_seed(inside)?;
            if !keys.insert(key) {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(())
    }
}
