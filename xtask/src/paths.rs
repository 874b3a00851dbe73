//! Paths in this workspace.

use std::path::{Path, PathBuf};

/// The root directory of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies inside the workspace")
}

/// Directory of native build results; the user may set it by `CARGO_TARGET_DIR`.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |given| root().join(given))
}

/// Directory of wasm build results. It is separate, to let two compilers, or a build and a running
/// `trunk serve`, work without waiting for each other's lock.
pub(crate) fn wasm_target() -> PathBuf {
    target().join("wasm")
}

/// Log file of a command that builds or installs something.
pub(crate) fn log(name: &str) -> PathBuf {
    target().join("xtask-logs").join(format!("{name}.log"))
}

/// Directory of the built page.
pub(crate) fn dist() -> PathBuf {
    root().join("dist")
}

/// The server that cargo builds in `directory` of its target directory.
pub(crate) fn node_binary(directory: &str) -> PathBuf {
    target().join(directory).join(format!("glassraft{}", std::env::consts::EXE_SUFFIX))
}
