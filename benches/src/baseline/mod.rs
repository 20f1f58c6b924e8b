//! What Mayfly is compared with, in the same run: other ways to run the very same handler.
//!
//! - [`process`]: `python3` as a process of its own.
//! - [`container`]: the same in a container, made by `runc`.
//! - [`emulator`]: AWS's own emulator of Lambda with AWS's own runtime client.
//!
//! What is not there is no error: it is told with what to do about it.

pub mod container;
pub mod emulator;
pub mod process;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Why there is nothing to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// What is wrong.
    pub why: String,
    /// What would help.
    pub cure: String,
}

impl Unavailable {
    fn new(why: impl Into<String>, cure: &str) -> Unavailable {
        Unavailable { why: why.into(), cure: cure.into() }
    }
}

/// The host's interpreter itself: `python3` may be a script that looks for it, and takes longer than what it finds.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// The program.
    pub program: PathBuf,
    /// Where its library is.
    pub prefix: PathBuf,
}

impl Interpreter {
    /// Asks `python3`.
    ///
    /// # Errors
    /// If there is none.
    pub fn find() -> Result<Interpreter, Unavailable> {
        const CURE: &str = "Install CPython 3.9 or later";
        let asked =
            Command::new("python3").args(["-c", "import sys; print(sys.executable); print(sys.prefix)"]).output();
        let output = asked.map_err(|error| Unavailable::new(format!("python3: {error}"), CURE))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        match text.lines().collect::<Vec<_>>()[..] {
            [program, prefix] => Ok(Interpreter { program: program.into(), prefix: prefix.into() }),
            _ => Err(Unavailable::new("python3 does not say where it is", CURE)),
        }
    }
}

/// Something that a command prints nothing of worth for: it succeeded, or the last line that it said.
fn must(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{name}: {}", said.lines().last().unwrap_or("failed"))) }
}
