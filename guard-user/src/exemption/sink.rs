//! Where a document's errors are put as they are found.

use std::convert::Infallible;

use super::error::ErrorKind;
use crate::config;

/// A document has errors, and no warnings.
pub(super) type Sink<'t> = config::sink::Sink<'t, ErrorKind, Infallible>;
