//! The kernel side of Border Guard.
#![no_std]
