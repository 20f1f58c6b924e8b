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
mod run;
mod store;

use std::{io, path::PathBuf};

pub(crate) use interpreter::Interpreter;
pub use run::{Ended, Ending, Mount, Program, run};
pub use store::{Build, RuntimeRecord, Runtimes};

use crate::{image::ImageError, refusal::Refusal};

/// The RustPython program: a static Linux executable that runs in guests only.
pub(crate) static RUSTPYTHON: &[u8] = include_bytes!(env!("MAYFLY_RUSTPYTHON_PROGRAM"));

/// Name of the runtime that is built in.
pub(crate) const RUSTPYTHON_NAME: &str = "rustpython";
/// The newest and oldest CPython that names a runtime on Lambda, as minor versions.
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

/// N of `python3.N`, as far as Lambda has had it.
pub(crate) fn python_minor(name: &str) -> Option<u32> {
    let text = name.strip_prefix("python3.")?;
    text.parse().ok().filter(|minor| PYTHON_MINORS.contains(minor) && text == minor.to_string())
}

/// A runtime that a function may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Built in.
    RustPython,
    /// `python3.N`. Runs on [`Runtime::RustPython`] for now.
    Python {
        /// N.
        minor: u32,
    },
}

impl Runtime {
    /// The runtime called `name`.
    pub(crate) fn from_name(name: &str) -> Option<Runtime> {
        if name == RUSTPYTHON_NAME {
            return Some(Runtime::RustPython);
        }
        python_minor(name).map(|minor| Runtime::Python { minor })
    }

    /// Value of `AWS_EXECUTION_ENV`.
    pub(crate) fn execution_env(self) -> String {
        match self {
            // The language level that RustPython 0.5 implements.
            Runtime::RustPython => "AWS_Lambda_python3.14".into(),
            Runtime::Python { minor } => format!("AWS_Lambda_python3.{minor}"),
        }
    }
}

/// Whether functions may ask for `name`.
pub(crate) fn check(name: &str) -> Result<(), Refusal> {
    if Runtime::from_name(name).is_some() {
        return Ok(());
    }
    let known: Vec<_> = PYTHON_MINORS.rev().map(|minor| format!("python3.{minor}")).collect();
    Err(Refusal::InvalidParameter(format!(
        "Value {name} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [rustpython, {}] or be a \
         valid ARN",
        known.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, process::Command};

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
        assert_eq!(Runtime::from_name("rustpython"), Some(Runtime::RustPython));
        assert_eq!(Runtime::from_name("python3.8"), Some(Runtime::Python { minor: 8 }));
        assert_eq!(Runtime::from_name("python3.14"), Some(Runtime::Python { minor: 14 }));
        for name in [
            "",
            "python3.7",
            "python3.15",
            "python3.08",
            "python3.+9",
            "python3.",
            "python2.7",
            "nodejs22.x",
            "RustPython",
        ] {
            assert_eq!(Runtime::from_name(name), None, "{name}");
        }
        let refusal = check("provided.al2023").expect_err("not here").to_string();
        assert!(refusal.starts_with("Value provided.al2023 at 'runtime' failed to satisfy constraint"), "{refusal}");
    }
}
