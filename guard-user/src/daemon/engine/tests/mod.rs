//! The engine on the memory kernel.
