//! What the operating system gives this process: clocks, files, memory, signals, users, stderr.
//!
//! Holds: `clock` and `zone` for the time, `host` and `memory` for the machine, `made` for every
//! file that is made, `regular` for every file that is named, `config_file`, `secret` and
//! `credential` for what is read, `owner` for whose rights are used, `signal`, `watch` and `notify`
//! for who runs this process, `stderr` (with `file_writer`), `logging` and `progress` for who reads
//! it, `timeout_thread` and `reach` for calls that may never return.
//! Promises: the ambient calls (clock, environment, exit) are made here. Never: opens a connection;
//! that is `net`'s.

pub mod clock;
pub mod config_file;
pub mod credential;
pub mod file_writer;
pub mod host;
pub mod log_json;
pub mod logging;
pub mod made;
pub mod memory;
pub mod notify;
pub mod owner;
pub mod progress;
pub mod reach;
pub mod regular;
pub mod secret;
pub mod signal;
pub mod stderr;
pub mod timeout_thread;
pub mod watch;
pub mod zone;
