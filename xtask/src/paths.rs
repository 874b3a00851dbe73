//! Where things are in this workspace.

use std::path::{Path, PathBuf};

/// The top of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies inside the workspace")
}

/// Native build results, wherever the user wants them.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |given| root().join(given))
}

/// Wasm build results: a directory of their own, so that two compilers, or a build and a running
/// `trunk serve`, never wait for each other's lock.
pub(crate) fn wasm_target() -> PathBuf {
    target().join("wasm")
}

/// Logs of tools that were built or installed.
pub(crate) fn log(name: &str) -> PathBuf {
    target().join("xtask-logs").join(format!("{name}.log"))
}

/// The built page.
pub(crate) fn dist() -> PathBuf {
    root().join("dist")
}

/// The server as cargo builds it in `directory` of its target directory.
pub(crate) fn node_binary(directory: &str) -> PathBuf {
    target().join(directory).join(format!("native-node{}", std::env::consts::EXE_SUFFIX))
}
