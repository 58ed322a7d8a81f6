//! Only calls the library.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: s1_coralogix_alloc::BySize = s1_coralogix_alloc::BySize;

fn main() -> ExitCode {
    s1_coralogix::run(std::env::args_os())
}
