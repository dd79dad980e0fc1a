//! Tests of the config as a whole.
