//! The `keyferry` program: hands the environment and the arguments to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The one place that reads the environment. A variable that is not Unicode is none of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    keyferry::cli::main(&environment)
}
