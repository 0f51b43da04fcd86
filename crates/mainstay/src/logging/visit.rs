//! Reading the fields of events and spans.

use std::fmt;

use serde_json::Value;
use tracing::field::{Field, Visit};

/// Gives each field's name and value, as JSON has it, to a function.
pub(super) struct Fields<F>(pub(super) F);

impl<F: FnMut(&str, Value)> Visit for Fields<F> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0(field.name(), format!("{value:?}").into());
    }
}
