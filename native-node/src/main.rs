//! The `glassraft` program; see the library of the same name.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    native_node::cli::run()
}
