//! Builds the Python program that this crate embeds, or takes the one at `MAYFLY_RUSTPYTHON`; and lists the files of the Python side of
//! CPython runtimes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Path of a program that was built before: it takes minutes to build, and a CI job or a developer may have it already.
const PREBUILT: &str = "MAYFLY_RUSTPYTHON";

/// Folders of the Python side. In guests they are one.
const PYTHON_SIDE: &[&str] = &["../guest-runtime/cpython/python", "../guest-runtime/python"];

fn main() {
    list_python_side().unwrap_or_else(|error| panic!("the Python side cannot be read: {error}"));
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

/// Writes `python_side.rs`: an array of paths and contents, by path.
fn list_python_side() -> io::Result<()> {
    let mut files = BTreeMap::new();
    for folder in PYTHON_SIDE.iter().map(Path::new) {
        println!("cargo::rerun-if-changed={}", folder.display());
        walk(&folder.canonicalize()?, "", &mut files)?;
    }
    let mut code = String::from("&[\n");
    for (name, path) in files {
        code.push_str(&format!("    ({name:?}, include_bytes!({:?})),\n", path.display().to_string()));
    }
    code.push_str("]\n");
    let out = std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR for build scripts"))?;
    fs::write(Path::new(&out).join("python_side.rs"), code)
}

fn walk(folder: &Path, inside: &str, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))?;
        let inside = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
        if path.is_dir() && name != "__pycache__" {
            walk(&path, &inside, files)?;
        } else if name.ends_with(".py") {
            files.insert(inside, path);
        }
    }
    Ok(())
}
