//! (to be written)

pub mod config_file;
pub mod logging;
pub mod secret;
