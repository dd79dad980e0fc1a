//! What the tests of Border Guard share.
