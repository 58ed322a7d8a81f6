//! What the unit tests share with the black-box tests.
#![allow(dead_code, reason = "the other part is for the black-box tests")]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failure in a test world should end the test at once"
)]

pub mod temp;
pub mod tls;
