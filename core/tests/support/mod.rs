//! A bencode writer for tests, independent of the library's: it writes whatever it is told, nonsense included.

/// A bencoded value; dictionaries keep the order they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Integer(i64),
    String(Vec<u8>),
    List(Vec<Value>),
    Dictionary(Vec<(Vec<u8>, Value)>),
}

use Value::{Dictionary, Integer, List};

impl Value {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Integer(value) => out.extend(format!("i{value}e").bytes()),
            Value::String(bytes) => {
                out.extend(format!("{}:", bytes.len()).bytes());
                out.extend(bytes);
            }
            List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Dictionary(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    Value::String(key.clone()).write(out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    /// The value at `path`, made as a dictionary where there is none.
    pub(crate) fn at(&mut self, path: &[&str]) -> &mut Value {
        let Some((key, rest)) = path.split_first() else { return self };
        let Dictionary(entries) = self else { panic!("{key} is asked of what is no dictionary") };
        let found = entries.iter().position(|(known, _)| known == key.as_bytes()).unwrap_or_else(|| {
            let place = entries.partition_point(|(known, _)| known.as_slice() < key.as_bytes());
            entries.insert(place, (key.as_bytes().to_vec(), Dictionary(Vec::new())));
            place
        });
        entries[found].1.at(rest)
    }

    /// Takes `key` out of a dictionary.
    pub(crate) fn remove(&mut self, key: &str) {
        let Dictionary(entries) = self else { panic!("{key} is to be removed from what is no dictionary") };
        entries.retain(|(known, _)| known != key.as_bytes());
    }

    /// Number of values in the tree.
    pub(crate) fn count(&self) -> usize {
        1 + match self {
            List(items) => items.iter().map(Value::count).sum(),
            Dictionary(entries) => entries.iter().map(|(_, value)| value.count()).sum(),
            _ => 0,
        }
    }

    /// The `n`th value in depth-first order, below [`Value::count`].
    pub(crate) fn nth(&mut self, n: usize) -> &mut Value {
        if n == 0 {
            return self;
        }
        let mut left = n - 1;
        let children: Vec<&mut Value> = match self {
            List(items) => items.iter_mut().collect(),
            Dictionary(entries) => entries.iter_mut().map(|(_, value)| value).collect(),
            _ => Vec::new(),
        };
        for child in children {
            let count = child.count();
            if left < count {
                return child.nth(left);
            }
            left -= count;
        }
        panic!("there are not {n} values")
    }
}

pub(crate) fn string(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(bytes.as_ref().to_vec())
}

pub(crate) fn dictionary<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Dictionary(entries.into_iter().map(|(key, value)| (key.as_bytes().to_vec(), value)).collect())
}
