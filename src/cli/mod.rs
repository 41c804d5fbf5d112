//! The commands: one file each. They wire and print, and hold no rule.

pub mod send;
