//! The message of a panic.
//!
//! Promises: one log line each, whatever the text; none for a panic inside sled, which is caught and
//! logged as the trouble it is (keeps P10). Never: keeps a panic from ending the program.

use std::panic::{self, PanicHookInfo};

use crate::message::log_message;
use crate::plain::one_line;
use crate::queue::sled;

/// From now on a panic is logged as one line instead of several lines on stderr.
pub fn log_in_one_line() {
    panic::set_hook(Box::new(|info| {
        if !sled::is_inside() {
            log_message!(PANICKED, "{}", describe(info));
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
    let text = info.payload().downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| info.payload().downcast_ref::<&str>().copied());
    let text = text.unwrap_or("no reason given");
    format!("The thread {thread} panicked{place}: {}. Please report this", one_line(text))
}
