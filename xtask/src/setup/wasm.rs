//! A Rust compiler that can build for wasm, by one of two ways.
//!
//! The ordinary way is rustup's. Where rustup can download nothing, Debian's `rustc-web` gives a
//! second compiler, whose standard library for wasm is built here once from Debian's sources.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use super::apt;
use crate::paths;
use crate::process::{find_program, probe, run_logged};

/// What the page is compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Name under which rustup knows Debian's compiler.
const DISTRO: &str = "distro";
/// Debian's compiler, beside rustup's.
const DISTRO_RUSTC: &str = "/usr/bin/rustc";
const DISTRO_CARGO: &str = "/usr/bin/cargo";
const DISTRO_CLIPPY: &str = "/usr/bin/cargo-clippy";
/// What Debian calls them: compiler, cargo, linter, the standard library's source, `wasm-ld`.
const PACKAGES: [&str; 5] = ["rustc-web", "cargo-web", "rust-web-clippy", "rust-web-src", "lld"];
/// Written beside the libraries that we built: the compiler that built them, since another one
/// refuses them.
const STAMP: &str = "built-by.txt";

/// Which compiler builds for wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WasmToolchain {
    /// The active one has the target.
    Active,
    /// Debian's, with our build of the standard library.
    Distro,
}

impl WasmToolchain {
    /// What is installed and complete.
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

    /// For people.
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

/// Where a compiler looks for the libraries of the target.
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

/// Whether Debian's compiler has libraries that it built itself, not an older one.
fn std_is_built() -> bool {
    let Some(directory) = library_directory(Command::new(DISTRO_RUSTC)) else { return false };
    let stamp = std::fs::read_to_string(directory.join(STAMP)).ok();
    has_std(&directory) && stamp.is_some() && stamp == identity()
}

/// Debian's compiler in all detail.
fn identity() -> Option<String> {
    probe(Command::new(DISTRO_RUSTC).arg("-vV"))
}

/// Whether `cargo` can be told to use Debian's compiler. Without rustup it is the only one.
fn is_linked() -> bool {
    find_program(&["rustup"]).is_none()
        || probe(Command::new("rustup").args(["run", DISTRO, "rustc", "-vV"])) == identity()
}

/// What a person types.
pub(crate) fn by_hand() -> String {
    format!("rustup target add {TARGET}")
}

/// Rustup first, then Debian; says what happened to each.
pub(crate) fn install() -> Result<()> {
    let begun = Instant::now();
    let Err(by_rustup) = add_by_rustup() else { return Ok(()) };
    let seconds = begun.elapsed().as_secs_f64();
    println!("setup: rustup cannot give it ({seconds:.0} s); trying Debian's compiler");
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
    // Some mirrors let rustup believe that all went well.
    if WasmToolchain::detect().is_none() {
        bail!("`rustup target add` said nothing, but the target is not there");
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

/// Builds the standard library in a scratch crate; gives the directory with the results.
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
        // -Zbuild-std is not stable; this lets a stable compiler do it.
        .env("RUSTC_BOOTSTRAP", "1")
        // Without bitcode in the libraries the page's fat LTO fails.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes")
        .env("CARGO_TARGET_DIR", &target);
    run_logged(&mut build, &paths::log("wasm-std"))?;
    Ok(target.join(TARGET).join("release").join("deps"))
}

/// Copies the libraries to where Debian's compiler looks for them.
fn install_std(built: &Path) -> Result<()> {
    let directory = library_directory(Command::new(DISTRO_RUSTC))
        .context("Debian's compiler does not know the target")?;
    let stamp = built.join(STAMP);
    let identity = identity().context("Debian's compiler does not start")?;
    std::fs::write(&stamp, identity).context("cannot write the stamp")?;
    let libraries = rlibs(built)?;
    let privileged = |program| apt::privileged(program).context("root is needed");
    let log = paths::log("wasm-std-copy");
    // Libraries of an older compiler would be found twice.
    run_logged(privileged("rm")?.arg("-rf").arg(&directory), &log)?;
    run_logged(privileged("mkdir")?.arg("-p").arg(&directory), &log)?;
    run_logged(privileged("cp")?.args(&libraries).arg(&stamp).arg(&directory), &log)
}

fn rlibs(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = directory.read_dir().context("the standard library was not built")?;
    let paths = entries.flatten().map(|entry| entry.path());
    // The scratch crate itself is not part of it.
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
