//! A value of a file with the place where it stands; owned, unlike the parser's.

use toml::de::{DeTable, DeValue};

/// A value and the byte offset at which it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: usize,
    pub(crate) value: NodeValue,
}

#[derive(Debug)]
pub(crate) enum NodeValue {
    Text(String),
    /// Decimal, or as it was written where it does not fit.
    Integer(String),
    Float(String),
    Switch(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

/// The entries of a table, in no particular order.
#[derive(Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<Named>);

/// One entry of a table.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    /// Where the name begins.
    pub(crate) at: usize,
    pub(crate) node: Node,
}

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Named> {
        self.0.iter().find(|entry| entry.name == name)
    }
}

impl From<&DeTable<'_>> for Table {
    fn from(table: &DeTable<'_>) -> Self {
        let mut entries: Vec<Named> = table
            .iter()
            .map(|(name, value)| Named {
                name: name.get_ref().to_string(),
                at: name.span().start,
                node: Node { at: value.span().start, value: NodeValue::from(value.get_ref()) },
            })
            .collect();
        entries.sort_by_key(|entry| entry.at);
        Self(entries)
    }
}

impl From<&DeValue<'_>> for NodeValue {
    fn from(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => {
                Self::Integer(match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => number.to_string(),
                    Err(_) => number.to_string(),
                })
            }
            DeValue::Float(number) => Self::Float(number.as_str().to_owned()),
            DeValue::Boolean(on) => Self::Switch(*on),
            DeValue::Datetime(_) => Self::Date,
            DeValue::Array(items) => Self::List(
                items
                    .iter()
                    .map(|item| Node { at: item.span().start, value: Self::from(item.get_ref()) })
                    .collect(),
            ),
            DeValue::Table(table) => Self::Table(Table::from(table)),
        }
    }
}
