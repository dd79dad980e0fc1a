//! The packet parser.
