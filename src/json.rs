//! JSON into types of ours, by way of one value.
//!
//! A type that is read from text and from a value as well has its reader in the program twice; those
//! of the status file alone are 55 KB. So all of them are read from a value. For the same reason text
//! is given to serde_json as bytes everywhere: `from_str` brings a reader of its own.

use serde::de::DeserializeOwned;
use serde_json::{Result, Value};

/// Of a name that stands twice the last counts.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    serde_json::from_value(serde_json::from_slice::<Value>(text)?)
}
