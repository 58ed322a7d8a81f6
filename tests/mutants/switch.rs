//! The switch of the mutants, which `hunt.py` puts into the copy as `src/mutant.rs`.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

struct Mode {
    active: u32,
    reach: Option<File>,
}

static MODE: OnceLock<Mode> = OnceLock::new();
static REACHED: [AtomicBool; 40_000] = [const { AtomicBool::new(false) }; 40_000];

fn mode() -> &'static Mode {
    MODE.get_or_init(|| Mode {
        active: std::env::var("S1C_MUTANT").ok().and_then(|v| v.parse().ok()).unwrap_or(0),
        reach: std::env::var_os("S1C_REACH")
            .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok()),
    })
}

/// Whether this mutant is on.
#[inline]
pub fn on(number: u32) -> bool {
    let mode = mode();
    if let Some(mut file) = mode.reach.as_ref()
        && !REACHED[number as usize].swap(true, Ordering::Relaxed)
    {
        let _ = file.write_all(format!("{number}\n").as_bytes());
    }
    mode.active == number
}
