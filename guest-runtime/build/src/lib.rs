//! Builds a guest program from the build script of the host crate that embeds it.
//!
//! ```no_run
//! let program = mayfly_guest_build::Guest {
//!     manifest_dir: "../guest-runtime/rustpython".into(),
//!     bin: "mayfly-rustpython",
//!     rustflags: &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"],
//!     target_dir_name: "rustpython",
//!     ..mayfly_guest_build::Guest::default()
//! }
//! .build();
//! println!("cargo::rustc-env=PROGRAM={}", program.display());
//! ```
//!
//! - The nested cargo has a target directory of its own, `<target>/guest/<name>`: it cannot wait for the lock that the outer
//!   cargo holds, and debug and release builds of the host share one guest.
//! - It always builds for an explicit target, so that the flags do not reach build scripts and procedural macros.
//! - It inherits nothing that the outer cargo says about the crate that is being built.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A guest program.
#[derive(Debug, Clone)]
pub struct Guest<'a> {
    /// Directory of its `Cargo.toml`; relative to that of the crate whose build script this is.
    pub manifest_dir: PathBuf,
    /// Name of the binary.
    pub bin: &'a str,
    /// Features to turn on.
    pub features: &'a [&'a str],
    /// Cargo profile.
    pub profile: &'a str,
    /// Compiler flags, one argument each.
    pub rustflags: &'a [&'a str],
    /// Name of its directory below `<target>/guest`.
    pub target_dir_name: &'a str,
}

impl Default for Guest<'_> {
    fn default() -> Self {
        Guest {
            manifest_dir: PathBuf::new(),
            bin: "",
            features: &[],
            profile: "release",
            rustflags: &[],
            target_dir_name: "guest",
        }
    }
}

/// Guests are x86-64 Linux programs, wherever they are built.
const TARGET: &str = "x86_64-unknown-linux-gnu";

impl Guest<'_> {
    /// Builds it, and tells the outer cargo what it depends on.
    ///
    /// # Panics
    /// It cannot be built. What the compiler said is on standard error, which cargo shows for a build script that fails.
    #[must_use]
    pub fn build(&self) -> PathBuf {
        let manifest_dir = absolute(&self.manifest_dir);
        let target_dir = outer_target_dir().join("guest").join(self.target_dir_name);
        let manifest = manifest_dir.join("Cargo.toml");
        assert!(manifest.is_file(), "there is no guest program at {}", manifest.display());

        let mut cargo = self.command(&manifest_dir, &target_dir);
        let status = cargo.status().unwrap_or_else(|error| panic!("cargo cannot be started: {error}"));
        assert!(status.success(), "the guest program {} does not build ({status}): see above", self.bin);

        let profile_dir = if self.profile == "dev" { "debug" } else { self.profile };
        let built = target_dir.join(TARGET).join(profile_dir).join(self.bin);
        assert!(built.is_file(), "cargo has built {} but it is not at {}", self.bin, built.display());
        watch(&manifest_dir, &built);
        built
    }

    fn command(&self, manifest_dir: &Path, target_dir: &Path) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os() {
            if of_outer_build(&name) {
                cargo.env_remove(name);
            }
        }
        // The working directory decides which `.cargo/config.toml` counts.
        cargo.current_dir(manifest_dir);
        cargo.args([
            "build",
            "--locked",
            "--bin",
            self.bin,
            "--profile",
            self.profile,
            "--target",
            TARGET,
            "--target-dir",
        ]);
        cargo.arg(target_dir);
        if !self.features.is_empty() {
            cargo.args(["--features", &self.features.join(",")]);
        }
        if env::var_os("CARGO_NET_OFFLINE").is_some_and(|value| value == "true") {
            cargo.arg("--offline");
        }
        cargo.env("CARGO_ENCODED_RUSTFLAGS", self.rustflags.join("\x1f"));
        // A build script's standard output is commands to cargo; nothing of this must be taken for one.
        cargo.stdin(Stdio::null()).stdout(std::io::stderr());
        cargo
    }
}

/// Whether the variable describes the outer build, and would change or confuse the nested one.
fn of_outer_build(name: &OsStr) -> bool {
    const KEPT: &[&str] = &["CARGO_HOME", "CARGO_BUILD_JOBS", "CARGO_TERM_COLOR", "CARGO_INCREMENTAL"];
    const KEPT_PREFIXES: &[&str] = &["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_SOURCE_"];
    const PREFIXES: &[&str] = &["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "DEP_", "LLVM_PROFILE", "CLIPPY_"];
    const NAMES: &[&str] =
        &["OUT_DIR", "TARGET", "HOST", "NUM_JOBS", "OPT_LEVEL", "PROFILE", "DEBUG", "__CARGO_FIX_PLZ"];
    let Some(name) = name.to_str() else { return false };
    let starts_with = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if KEPT.contains(&name) || starts_with(KEPT_PREFIXES) {
        return false;
    }
    starts_with(PREFIXES) || NAMES.contains(&name)
}

/// The target directory of the outer build: the highest directory above `OUT_DIR` that cargo has marked as one.
fn outer_target_dir() -> PathBuf {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let marked = out_dir.ancestors().filter(|directory| directory.join("CACHEDIR.TAG").is_file()).last();
    marked.map_or(out_dir.clone(), Path::to_path_buf)
}

fn absolute(path: &Path) -> PathBuf {
    let outer =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR for build scripts"));
    let joined = outer.join(path);
    joined.canonicalize().unwrap_or(joined)
}

/// Lets cargo run the build script again when a source of the program changes: those that the compiler has read, by the
/// dependency file that cargo leaves beside the program, and the manifests. Not the directory, for its `target` is in it.
fn watch(manifest_dir: &Path, built: &Path) {
    let mut watched: Vec<PathBuf> =
        ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"].map(|name| manifest_dir.join(name)).into();
    if let Ok(dependencies) = fs::read_to_string(built.with_extension("d")) {
        watched.extend(sources(&dependencies));
    }
    // The program itself: whoever removes the target directory wants it built again.
    watched.push(built.to_path_buf());
    for path in watched.iter().filter(|path| path.exists()) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    for variable in ["CARGO_NET_OFFLINE", "RUSTUP_TOOLCHAIN"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
}

/// The files after the colon of a Makefile rule; a space in a name is escaped with a backslash.
fn sources(rule: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in rule.lines() {
        let Some((_, list)) = line.split_once(": ") else { continue };
        let mut file = String::new();
        let mut characters = list.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' if characters.peek() == Some(&' ') => file.extend(characters.next()),
                ' ' => files.push(PathBuf::from(std::mem::take(&mut file))),
                other => file.push(other),
            }
        }
        files.push(PathBuf::from(file));
    }
    files.retain(|file| !file.as_os_str().is_empty());
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outer_build_is_scrubbed() {
        for name in [
            "CARGO_PKG_NAME",
            "CARGO",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "OUT_DIR",
            "CARGO_MAKEFLAGS",
            "DEP_Z_ROOT",
            "CARGO_TARGET_DIR",
        ] {
            assert!(of_outer_build(OsStr::new(name)), "{name} must not reach the nested build");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_NET_OFFLINE", "CARGO_BUILD_JOBS"] {
            assert!(!of_outer_build(OsStr::new(name)), "{name} must reach the nested build");
        }
    }

    #[test]
    fn dependency_files_are_read() {
        let rule = "/t/program: /s/main.rs /s/with\\ space.rs\n\n/s/main.rs:\n";
        assert_eq!(sources(rule), [PathBuf::from("/s/main.rs"), PathBuf::from("/s/with space.rs")]);
        assert_eq!(sources(""), Vec::<PathBuf>::new());
    }
}
