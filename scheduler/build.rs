//! Builds the Python program that this crate embeds, or takes the one at `MAYFLY_RUSTPYTHON`.

use std::path::PathBuf;

/// Path of a program that was built before: it takes minutes to build, and a CI job or a developer may have it already.
const PREBUILT: &str = "MAYFLY_RUSTPYTHON";

fn main() {
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    let program = match std::env::var_os(PREBUILT) {
        Some(path) => prebuilt(PathBuf::from(path)),
        None => mayfly_guest_build::Guest {
            manifest_dir: "../guest-runtime/rustpython".into(),
            bin: "mayfly-rustpython",
            // Static, and not position-independent: static-pie crashes at start-up with the default linker.
            // The same as in its own .cargo/config.toml, which flags from here replace.
            rustflags: &[
                "-Ctarget-feature=+crt-static",
                "-Crelocation-model=static",
                "--cfg=getrandom_backend=\"linux_getrandom\"",
            ],
            target_dir_name: "rustpython",
            ..mayfly_guest_build::Guest::default()
        }
        .build(),
    };
    println!("cargo::rustc-env=MAYFLY_RUSTPYTHON_PROGRAM={}", program.display());
}

fn prebuilt(path: PathBuf) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|error| panic!("{PREBUILT} is {}: {error}", path.display()));
    println!("cargo::rerun-if-changed={}", path.display());
    path
}
