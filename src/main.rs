//! Only calls the library.

fn main() {}
