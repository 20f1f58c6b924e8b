//! Runtimes: what executes a function's code in the guest.
//!
//! ```text
//!  an interpreter of the host ── interpreter, contents, bytecode ──► image ── store ──► runtimes/python3.N.json, ….img
//!                                                                                          │
//!                                          deploy: a snapshot of it, waiting for events ◄──┴──► run: one program in a guest
//! ```
//!
//! `rustpython` is built in and always there; every other runtime is an image that was packed on this host.

mod bytecode;
mod contents;
mod host_tree;
mod interpreter;
mod libraries;
mod offer;
mod run;
mod store;

use std::{
    io,
    path::{Path, PathBuf},
};

use interpreter::Interpreter;
pub(crate) use offer::{Executor, Offer};
pub use run::{Ended, Ending, Mount, Program, run};
pub use store::{Build, RuntimeRecord, Runtimes};

use crate::image::ImageError;

/// The RustPython program: a static Linux executable that runs in guests only.
pub(crate) static RUSTPYTHON: &[u8] = include_bytes!(env!("MAYFLY_RUSTPYTHON_PROGRAM"));

/// The files of the Python side of CPython runtimes, by their path below its folder in guests.
pub(crate) static PYTHON_SIDE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/python_side.rs"));

/// Name of the runtime that is built in.
pub(crate) const RUSTPYTHON_NAME: &str = "rustpython";
/// The oldest and newest CPython that names a runtime on Lambda, as minor versions.
const PYTHON_MINORS: std::ops::RangeInclusive<u32> = 8..=14;

/// Environment of an interpreter in a guest: what its libraries read before any code of a function could set it.
pub(crate) const ENVIRONMENT: &[&str] = &[
    "PATH=/usr/local/bin:/usr/bin:/bin",
    "HOME=/tmp",
    "LANG=C.UTF-8",
    "TZ=:UTC",
    // There is one CPU: more arenas and more threads would only cost memory.
    "MALLOC_ARENA_MAX=1",
    "OPENBLAS_NUM_THREADS=1",
];

/// Why a runtime cannot be built or removed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Caller: this is no interpreter that can be packed.
    #[error("{} cannot be used: {why}", path.display())]
    Interpreter {
        /// What was given.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Caller: it cannot be called that.
    #[error("a runtime cannot be called '{name}': {why}")]
    Name {
        /// What was given.
        name: String,
        /// Why not.
        why: String,
    },
    /// Host: something that the interpreter needs cannot be read.
    #[error("{} cannot be packed: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Host: it cannot be kept.
    #[error("the runtime cannot be stored: {0}")]
    Store(#[source] io::Error),
    /// It does not make an image.
    #[error("the runtime image cannot be made: {0}")]
    Image(String),
}

impl From<ImageError> for BuildError {
    fn from(error: ImageError) -> BuildError {
        BuildError::Image(error.to_string())
    }
}

/// The runtime that `python` would make: its name, and the version and path of the interpreter that it leads to. Blocks.
///
/// # Errors
/// It cannot be used.
pub fn describe(python: &Path) -> Result<(String, String, PathBuf), BuildError> {
    let found = Interpreter::discover(python)?;
    Ok((format!("python3.{}", found.minor()), found.version(), found.executable))
}

/// N of `python3.N`.
pub(crate) fn python_minor(name: &str) -> Option<u32> {
    let text = name.strip_prefix("python3.")?;
    text.parse().ok().filter(|minor: &u32| text == minor.to_string())
}

/// Value of `AWS_EXECUTION_ENV` for functions that ask for `runtime`.
pub(crate) fn execution_env(runtime: &str) -> String {
    // The language level that RustPython 0.5 implements.
    let name = if runtime == RUSTPYTHON_NAME { "python3.14" } else { runtime };
    format!("AWS_Lambda_{name}")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A `python3` of this host, for tests that pack it; says so if there is none.
    pub(super) fn host_python() -> Option<PathBuf> {
        let python = Path::new("python3");
        let is_there = Command::new(python).arg("-c").output().is_ok();
        if !is_there {
            println!("SKIPPED: there is no python3 on this host");
        }
        is_there.then(|| python.to_owned())
    }

    #[test]
    fn names() {
        assert_eq!(python_minor("python3.8"), Some(8));
        assert_eq!(python_minor("python3.14"), Some(14));
        for name in ["", "python3.08", "python3.-1", "python3.+9", "python3.", "python2.7", "rustpython"] {
            assert_eq!(python_minor(name), None, "{name}");
        }
        assert_eq!(execution_env("python3.12"), "AWS_Lambda_python3.12");
    }
}
