//! A Rust compiler that can build for wasm, from one of two sources.
//!
//! The usual source is rustup. If rustup cannot download the target, Debian's `rustc-web` provides
//! a second compiler. Its standard library for wasm is then built once from Debian's sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use super::apt;
use crate::paths;
use crate::process::{find_program, probe, run_logged};

/// The target that the page is compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Name of Debian's compiler in rustup.
const DISTRO: &str = "distro";
/// Debian's compiler, installed beside rustup's.
const DISTRO_RUSTC: &str = "/usr/bin/rustc";
const DISTRO_CARGO: &str = "/usr/bin/cargo";
const DISTRO_CLIPPY: &str = "/usr/bin/cargo-clippy";
/// Debian packages: compiler, cargo, linter, the standard library's source, `wasm-ld`.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-clippy", "rust-web-src", "lld"];
/// File beside the libraries that records the compiler that built them. Another compiler rejects
/// the libraries.
const STAMP: &str = "built-by.txt";

/// The compiler that builds for wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The active compiler, which has the target.
    Active,
    /// Debian's compiler, with our build of the standard library.
    Distro,
}

impl WasmToolchain {
    /// Returns a compiler whose installation is complete.
    pub(crate) fn detect() -> Option<Self> {
        let rustc = || Command::new("rustc");
        if library_directory(rustc()).is_some_and(|path| has_std(&path)) {
            return Some(Self::Active);
        }
        let complete = std_is_built()
            && find_program(&["wasm-ld"]).is_some()
            && Path::new(DISTRO_CLIPPY).is_file()
            && is_linked();
        complete.then_some(Self::Distro)
    }

    /// Describes the compiler for the user.
    pub(crate) fn describe(self) -> String {
        match self {
            Self::Active => "from rustup".to_owned(),
            Self::Distro => format!("Debian's compiler, RUSTUP_TOOLCHAIN={DISTRO}"),
        }
    }

    /// Makes a cargo or trunk command build with this compiler.
    pub(crate) fn apply(self, command: &mut Command) {
        command.env("CARGO_TARGET_DIR", paths::wasm_target());
        match self {
            Self::Active => {}
            Self::Distro => {
                command.env("RUSTUP_TOOLCHAIN", DISTRO);
                command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
            }
        }
    }
}

/// The directory where a compiler looks for the target's libraries.
fn library_directory(mut rustc: Command) -> Option<PathBuf> {
    let printed = probe(rustc.args(["--print", "target-libdir", "--target", TARGET]))?;
    Some(PathBuf::from(printed.trim()))
}

fn has_std(directory: &Path) -> bool {
    let Ok(entries) = directory.read_dir() else { return false };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    ["libstd-", "libtest-"].iter().all(|wanted| {
        names.iter().filter_map(|name| name.to_str()).any(|name| name.starts_with(wanted))
    })
}

/// Whether Debian's compiler has libraries that this version of it built.
fn std_is_built() -> bool {
    let Some(directory) = library_directory(Command::new(DISTRO_RUSTC)) else { return false };
    let stamp = std::fs::read_to_string(directory.join(STAMP)).ok();
    has_std(&directory) && stamp.is_some() && stamp == identity()
}

/// Full version information of Debian's compiler.
fn identity() -> Option<String> {
    probe(Command::new(DISTRO_RUSTC).arg("-vV"))
}

/// Whether `cargo` can use Debian's compiler. Without rustup it is the only compiler.
fn is_linked() -> bool {
    find_program(&["rustup"]).is_none()
        || probe(Command::new("rustup").args(["run", DISTRO, "rustc", "-vV"])) == identity()
}

/// The command that a user types.
pub(crate) fn by_hand() -> String {
    format!("rustup target add {TARGET}")
}

/// Tries rustup, then Debian. The error describes both attempts.
pub(crate) fn install() -> Result<()> {
    let begun = Instant::now();
    let Err(by_rustup) = add_by_rustup() else { return Ok(()) };
    let seconds = begun.elapsed().as_secs_f64();
    println!("setup: rustup cannot install it ({seconds:.0} s); trying Debian's compiler");
    add_by_debian().map_err(|by_debian| {
        anyhow!("by rustup: {by_rustup:#}\nby Debian's {}: {by_debian:#}", PACKAGES.join(", "))
    })
}

fn add_by_rustup() -> Result<()> {
    if find_program(&["rustup"]).is_none() {
        bail!("rustup is not installed (https://rustup.rs)");
    }
    let log = paths::log("rustup-target");
    run_logged(Command::new("rustup").args(["target", "add", TARGET]), &log)?;
    // With some mirrors rustup reports success but installs nothing.
    if WasmToolchain::detect().is_none() {
        bail!("`rustup target add` reported no error, but the target is missing");
    }
    Ok(())
}

fn add_by_debian() -> Result<()> {
    let begun = Instant::now();
    apt::install(&PACKAGES)?;
    println!("setup: Debian packages: {:.0} s", begun.elapsed().as_secs_f64());

    if !std_is_built() {
        let begun = Instant::now();
        install_std(&build_std()?)?;
        println!("setup: standard library for wasm: {:.0} s", begun.elapsed().as_secs_f64());
    }

    if !is_linked() {
        let log = paths::log("rustup-link");
        let mut link = Command::new("rustup");
        run_logged(link.args(["toolchain", "link", DISTRO, "/usr"]), &log)?;
    }
    Ok(())
}

/// Builds the standard library in a scratch crate. Returns the directory with the results.
fn build_std() -> Result<PathBuf> {
    let scratch = paths::target().join("wasm-std");
    let source = scratch.join("src");
    std::fs::create_dir_all(&source).context("cannot create a scratch crate")?;
    std::fs::write(
        scratch.join("Cargo.toml"),
        "[package]\nname = \"scratch\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n",
    )
    .context("cannot write the scratch crate")?;
    std::fs::write(source.join("lib.rs"), "").context("cannot write the scratch crate")?;
    let target = scratch.join("target");
    let mut build = Command::new(DISTRO_CARGO);
    build
        .current_dir(&scratch)
        .args(["build", "--release", "--target", TARGET, "-Zbuild-std=std,panic_abort,test"])
        .env("RUSTC", DISTRO_RUSTC)
        // Allows the unstable -Zbuild-std on a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        // Without bitcode in the libraries the page's fat LTO fails.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .env("CARGO_TARGET_DIR", &target);
    run_logged(&mut build, &paths::log("wasm-std"))?;
    Ok(target.join(TARGET).join("release").join("deps"))
}

/// Copies the libraries to the directory where Debian's compiler looks for them.
fn install_std(built: &Path) -> Result<()> {
    let directory = library_directory(Command::new(DISTRO_RUSTC))
        .context("Debian's compiler does not know the target")?;
    let stamp = built.join(STAMP);
    let identity = identity().context("Debian's compiler does not start")?;
    std::fs::write(&stamp, identity).context("cannot write the stamp")?;
    let libraries = rlibs(built)?;
    let privileged = |program| apt::privileged(program).context("root is needed");
    let log = paths::log("wasm-std-copy");
    // Libraries of an older compiler would be duplicates.
    run_logged(privileged("rm")?.arg("-rf").arg(&directory), &log)?;
    run_logged(privileged("mkdir")?.arg("-p").arg(&directory), &log)?;
    run_logged(privileged("cp")?.args(&libraries).arg(&stamp).arg(&directory), &log)
}

fn rlibs(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = directory.read_dir().context("the standard library was not built")?;
    let paths = entries.flatten().map(|entry| entry.path());
    // The scratch crate is not part of the standard library.
    let wanted = |path: &PathBuf| {
        path.extension().is_some_and(|extension| extension == "rlib")
            && !path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libscratch"))
    };
    let found: Vec<PathBuf> = paths.filter(wanted).collect();
    if found.is_empty() {
        bail!("no libraries in {}", directory.display());
    }
    Ok(found)
}
