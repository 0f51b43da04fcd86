//! Why a scenario failed: a sentence, for a person.

use std::fmt;

/// What the harness and the tests return.
pub type Result<T> = std::result::Result<T, Failure>;

/// A sentence that says what went wrong. Any error turns into one.
///
/// It is no `std::error::Error` itself, which is what lets `?` convert every other error.
pub struct Failure(String);

impl Failure {
    /// A failure that says `text`.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

/// Returns a [`Failure`] with a formatted sentence.
#[macro_export]
macro_rules! fail {
    ($($text:tt)*) => { return Err($crate::Failure::new(format!($($text)*))) };
}

/// Returns a [`Failure`] with a formatted sentence unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            $crate::fail!($($text)*);
        }
    };
}
