//! Writes numbers for people.

use std::time::Duration;

/// Converts a time to milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Writes a number and a noun, with `s` if the number is not 1: `1 face`, `2 faces`.
pub fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
