//! The config: TOML text, then the raw config with the place of every value, then the checked
//! [`Policy`].

pub mod limits;
pub mod policy;

pub use policy::Policy;
