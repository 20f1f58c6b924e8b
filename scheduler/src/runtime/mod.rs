//! Runtimes: what executes a function's code in the guest.

use crate::refusal::Refusal;

/// The RustPython program: a static Linux executable that runs in guests only.
pub(crate) static RUSTPYTHON: &[u8] = include_bytes!(env!("MAYFLY_RUSTPYTHON_PROGRAM"));

/// The newest and oldest CPython that names a runtime on Lambda, as minor versions.
const PYTHON_MINORS: std::ops::RangeInclusive<u32> = 8..=14;

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
        if name == "rustpython" {
            return Some(Runtime::RustPython);
        }
        let minor = name.strip_prefix("python3.")?;
        let minor =
            minor.parse().ok().filter(|number| PYTHON_MINORS.contains(number) && minor == number.to_string())?;
        Some(Runtime::Python { minor })
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
    use super::*;

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
