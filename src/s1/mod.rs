//! What SentinelOne is asked, and what its answers mean.
//!
//! Holds the Management API v2.1 as pure functions from values to bytes and back. Promises: no
//! body makes any of them fail but by a value. Never: IO.

pub(crate) mod json;
pub mod page;
pub mod refusal;
pub mod request;
pub mod severity;
mod stamp;
pub mod token;
pub mod verdict;
pub mod words;
