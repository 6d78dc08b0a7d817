//! What the kit found.

use std::any::Any;
use std::error::Error;
use std::fmt;

/// What must hold of every [`Source`](crate::Source) and [`Sink`](crate::Sink).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Property {
    /// The same bytes in the same order, whether they go through `read` and `write` or past them.
    Order,
    /// No more and no fewer bytes, and no more of the input used up.
    Limit,
    /// A source shows what it has read ahead, a sink passes on what it holds back, before anything
    /// bypasses it.
    Buffered,
    /// Bytes that bypassed the type are counted like those that went through it.
    Count,
    /// Bytes that bypass the type leave it in the state in which they leave it when they go through it.
    State,
    /// The end of input, or the error in its place, comes where reading meets it, and stays.
    End,
    /// A call that fails with `WouldBlock` has taken nothing, and lost nothing.
    Errors,
    /// A `read` or `write` of no bytes does nothing.
    Empty,
    /// A type of a runtime is waited for as it says: the descriptor at its bottom is found, and no other, and who
    /// waits is woken.
    Readiness,
    /// No panic.
    Panic,
    /// The kit could set up its streams: not the fault of the type.
    Setup,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Property::Order => "order",
            Property::Limit => "limit",
            Property::Buffered => "buffered",
            Property::Count => "count",
            Property::State => "state",
            Property::End => "end",
            Property::Errors => "errors",
            Property::Empty => "empty",
            Property::Readiness => "readiness",
            Property::Panic => "panic",
            Property::Setup => "setup",
        })
    }
}

/// A property that does not hold, and where it showed.
#[derive(Clone, Debug)]
pub struct Failure {
    property: Property,
    at: u64,
    message: String,
    context: String,
}

impl Failure {
    /// For sibling crates.
    #[doc(hidden)]
    pub fn new(property: Property, at: usize, message: impl Into<String>) -> Self {
        Failure { property, at: at as u64, message: message.into(), context: String::new() }
    }

    /// Adds what was being done when it showed.
    pub(super) fn during(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// For sibling crates.
    #[doc(hidden)]
    pub fn setup(error: &std::io::Error) -> Self {
        Failure::new(Property::Setup, 0, format!("no socket pair to test with: {error}"))
    }

    pub(super) fn panicked(at: usize, payload: &(dyn Any + Send)) -> Self {
        let said = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("(no message)");
        Failure::new(Property::Panic, at, format!("the type panicked: {said}"))
    }

    /// The property that does not hold.
    pub fn property(&self) -> Property {
        self.property
    }

    /// How many bytes had gone well, from the first.
    pub fn at(&self) -> u64 {
        self.at
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\nat byte {}", self.property, self.message, self.at)?;
        if !self.context.is_empty() {
            write!(f, " of {}", self.context)?;
        }
        Ok(())
    }
}

impl Error for Failure {}

#[track_caller]
pub(super) fn raise(outcome: Result<(), Failure>) {
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
