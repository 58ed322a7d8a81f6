//! What is sent to Coralogix, and what its answers mean.
//!
//! Holds the `logs/v1/singles` protocol as pure functions from values to bytes and back. Never: IO.

pub mod body;
pub mod entry;
pub mod taken;
mod taken_text;
mod taken_words;
pub mod verdict;

/// Where a batch is posted, below `https://ingress.<domain>`.
pub const SINGLES_PATH: &str = "/logs/v1/singles";
