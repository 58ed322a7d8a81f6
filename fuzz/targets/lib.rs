//! Finds a target by its name.
//!
//! Never: holds a check of its own; those are in src/fuzz.rs, where the ordinary tests replay the
//! corpus with them.

/// Feeds one input to the target of this name.
pub fn run(name: &str, data: &[u8]) {
    for (known, target) in s1_coralogix::fuzz::TARGETS {
        if known == name {
            target(data);
        }
    }
}
