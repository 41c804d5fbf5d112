//! One file per subcommand: each wires, none holds a rule.

pub mod client;
