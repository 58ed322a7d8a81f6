//! Only calls the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    s1_coralogix::run(std::env::args_os())
}
