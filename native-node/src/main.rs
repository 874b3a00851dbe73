//! The `native-node` program; see the library of the same name.

fn main() -> std::process::ExitCode {
    native_node::cli::run()
}
