//! The scans: one over a whole top-level object, and the ones that stop as soon as they have what they look for.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Deserializer;
use serde_json::value::RawValue;

/// How many unknown keys a top-level object may have. They are remembered to find duplicates.
const MAX_OTHER_KEYS: usize = 64;

/// How many elements [`elements`] splits an array into before it gives up.
pub const MAX_ELEMENTS: usize = 65_536;

/// What is wrong with the keys of an object that is otherwise well-formed JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyFault {
    /// A known key (by its index) came twice.
    Known(usize),
    /// An unknown key came twice.
    Other,
    /// A key differs from a known one only in case.
    CaseVariant,
    /// More than [`MAX_OTHER_KEYS`] unknown keys.
    TooMany,
}

impl KeyFault {
    pub(super) fn text(self) -> &'static str {
        match self {
            KeyFault::Known(_) | KeyFault::Other => "invalid request: a key occurs twice",
            KeyFault::CaseVariant => "invalid request: a key is written in the wrong case",
            KeyFault::TooMany => "invalid request: too many unknown keys",
        }
    }
}

/// The known members of an object, and the first thing wrong with its keys.
pub(super) struct Members<'a, const N: usize> {
    pub(super) values: [Option<&'a str>; N],
    pub(super) fault: Option<KeyFault>,
}

/// Scans a whole object. The error says that `text` is not one JSON object (malformed, or junk behind it).
pub(super) fn members<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> Result<Members<'a, N>, serde_json::Error> {
    let mut json = Deserializer::from_str(text);
    let members = json.deserialize_map(WholeObject { names })?;
    json.end()?;
    Ok(members)
}

struct WholeObject<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'a, const N: usize> Visitor<'a> for WholeObject<'_, N> {
    type Value = Members<'a, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members { values: [None; N], fault: None };
        let mut others: Vec<Cow<'a, str>> = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            let known = self.names.iter().position(|name| *name == key);
            let fault = match known {
                Some(index) if members.values[index].is_none() => {
                    members.values[index] = Some(map.next_value::<&'a RawValue>()?.get());
                    continue;
                }
                Some(index) => Some(KeyFault::Known(index)),
                None if self.names.iter().any(|name| differs_in_case_only(&key, name)) => {
                    Some(KeyFault::CaseVariant)
                }
                None if others.contains(&key) => Some(KeyFault::Other),
                None if others.len() == MAX_OTHER_KEYS => Some(KeyFault::TooMany),
                None => {
                    others.push(key);
                    None
                }
            };
            // The scan goes on to its end after a fault: malformed JSON is the graver error.
            members.fault = members.fault.or(fault);
            map.next_value::<IgnoredAny>()?;
        }
        Ok(members)
    }
}

/// Whether a lenient parser could take `key` for `name`. Go folds as Unicode does, so `ſ` is an s and `K` (the Kelvin
/// sign) a k to it.
fn differs_in_case_only(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key != name && key.chars().map(fold).eq(name.chars().map(fold))
}

/// A key, unescaped; borrowed unless it had escapes.
struct Key;

impl<'a> DeserializeSeed<'a> for Key {
    type Value = Cow<'a, str>;

    fn deserialize<D: serde::Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Key {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// Finds named members of a JSON object without reading the rest.
///
/// Names are compared exactly, after escapes are undone; of duplicates the first counts. The scan stops once all
/// names are found, so what comes after is neither read nor checked; `names` must not repeat a name. `None`: not an
/// object, or malformed as far as it was read. Nothing is copied: the values share the buffer of `object`.
pub fn fields<const N: usize>(object: &Bytes, names: [&str; N]) -> Option<[Option<Bytes>; N]> {
    let mut found: [Option<&RawValue>; N] = [None; N];
    let mut json = Deserializer::from_slice(object);
    let scanned = json.deserialize_map(NamedFields { names: &names, found: &mut found });
    let all_found = found.iter().all(Option::is_some);
    // serde_json reports a map that its visitor left early as an error.
    if !all_found {
        scanned.and_then(|()| json.end()).ok()?;
    }
    Some(found.map(|value| value.map(|value| slice_of(object, value.get()))))
}

struct NamedFields<'n, 'a, const N: usize> {
    names: &'n [&'n str; N],
    found: &'n mut [Option<&'a RawValue>; N],
}

impl<'a, const N: usize> Visitor<'a> for NamedFields<'_, 'a, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        let mut missing = N;
        while missing > 0 {
            let Some(key) = map.next_key_seed(Key)? else {
                return Ok(());
            };
            match self.names.iter().position(|name| *name == key) {
                Some(index) if self.found[index].is_none() => {
                    self.found[index] = Some(map.next_value()?);
                    missing -= 1;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Splits a JSON array into the bytes of its elements, which share its buffer.
///
/// `None`: not one well-formed array, or more than [`MAX_ELEMENTS`].
pub fn elements(array: &Bytes) -> Option<Vec<Bytes>> {
    let split = split(std::str::from_utf8(array).ok()?, MAX_ELEMENTS).ok()?;
    let slice = |element| slice_of(array, element);
    (!split.excess).then(|| split.elements.into_iter().map(slice).collect())
}

/// The first element of a JSON array; what follows it is neither read nor checked. `None`: no array, or an empty one.
pub fn first_element(array: &Bytes) -> Option<Bytes> {
    struct First<'n, 'a>(&'n mut Option<&'a RawValue>);
    impl<'a> Visitor<'a> for First<'_, 'a> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
            *self.0 = seq.next_element()?;
            Ok(())
        }
    }
    let mut first = None;
    // An array that is left early is reported as an error; `first` tells.
    let _ = Deserializer::from_slice(array).deserialize_seq(First(&mut first));
    first.map(|first| slice_of(array, first.get()))
}

/// Splits a JSON array like [`elements`], as text and with a limit of its own.
pub(super) fn split(text: &str, limit: usize) -> Result<Split<'_>, serde_json::Error> {
    let mut json = Deserializer::from_str(text);
    let split = json.deserialize_seq(Elements { limit })?;
    json.end()?;
    Ok(split)
}

/// The elements of an array, as many as the limit allows.
pub(super) struct Split<'a> {
    pub(super) elements: Vec<&'a str>,
    /// There were more.
    pub(super) excess: bool,
}

struct Elements {
    limit: usize,
}

impl<'a> Visitor<'a> for Elements {
    type Value = Split<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.limit {
            match seq.next_element::<&'a RawValue>()? {
                Some(element) => elements.push(element.get()),
                None => return Ok(Split { elements, excess: false }),
            }
        }
        let mut excess = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            excess = true;
        }
        Ok(Split { elements, excess })
    }
}

/// A JSON string's text, escapes undone. `None`: not a JSON string.
pub fn string(value: &Bytes) -> Option<String> {
    serde_json::from_slice(value).ok()
}

/// Whether a value is `null`.
pub fn is_null(value: &[u8]) -> bool {
    value.trim_ascii() == b"null"
}

/// `part` as a slice of the buffer that it was borrowed from.
pub(super) fn slice_of(buffer: &Bytes, part: &str) -> Bytes {
    buffer.slice_ref(part.as_bytes())
}
