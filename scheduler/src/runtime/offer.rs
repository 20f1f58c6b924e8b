//! Which runtimes functions can have on this host, and how each is come by.
//!
//! | asked for | there is | runs on |
//! |---|---|---|
//! | `rustpython` | always | the program that is built in |
//! | a name | a runtime of that name | its image |
//! | `python3.N` | an interpreter of that version on the host | its image, which is made first |
//! | `python3.N` | no interpreter on the host at all, and no runtime | the program that is built in, which the function's log says |
//! | anything else | | nothing: the caller is told what there is |

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::{Build, BuildError, Interpreter, PYTHON_MINORS, RUSTPYTHON_NAME, RuntimeRecord, Runtimes, python_minor};
use crate::refusal::Refusal;

/// The runtimes of a server.
pub(crate) struct Offer {
    pub(crate) runtimes: Runtimes,
    /// The interpreter of the host to be packed; a server can be told not to look for one.
    python: Option<PathBuf>,
    /// What programs of the host were found to be: looked at once, for it takes a while, and a caller can ask for many names.
    found: Mutex<BTreeMap<PathBuf, Option<Interpreter>>>,
    building: Mutex<()>,
}

/// What runs the functions that ask for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Executor {
    /// The program that is built in.
    RustPython {
        /// Whether for want of an interpreter.
        stands_in: bool,
    },
    /// An image.
    Packed(RuntimeRecord),
    /// An image that has to be made of this interpreter.
    Unpacked(PathBuf),
}

impl Offer {
    pub(crate) fn new(runtimes: Runtimes, python: Option<PathBuf>) -> Offer {
        Offer { runtimes, python, found: Mutex::default(), building: Mutex::default() }
    }

    /// What runs functions that ask for `name`. Blocks if it has to look at an interpreter.
    pub(crate) fn executor(&self, name: &str) -> Result<Executor, Refusal> {
        if name == RUSTPYTHON_NAME {
            return Ok(Executor::RustPython { stands_in: false });
        }
        if let Some(record) = self.runtimes.get(name) {
            return Ok(Executor::Packed(record));
        }
        let minor = python_minor(name).ok_or_else(|| self.refuse(name))?;
        if let Some(interpreter) = self.of_host(minor) {
            return Ok(Executor::Unpacked(interpreter.executable));
        }
        if PYTHON_MINORS.contains(&minor) && self.usual().is_none() && self.packed().is_empty() {
            return Ok(Executor::RustPython { stands_in: true });
        }
        Err(self.refuse(name))
    }

    /// Makes an image for functions that ask for `name`, unless somebody else just has. Blocks, for seconds.
    pub(crate) fn pack(&self, name: &str, python: &Path) -> Result<RuntimeRecord, BuildError> {
        let _alone = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = self.runtimes.get(name) {
            return Ok(record);
        }
        let build = Build { python: python.to_owned(), name: Some(name.to_owned()), with_tests: false };
        let record = self.runtimes.build(&build, &mut |line| tracing::info!(runtime = name, "{line}"))?;
        tracing::info!(runtime = name, version = record.version, "the runtime image was made");
        Ok(record)
    }

    /// Name of the runtime of the host's usual interpreter. Blocks.
    pub(crate) fn usual(&self) -> Option<String> {
        let interpreter = self.look_at(self.python.as_deref()?)?;
        Some(format!("python3.{}", interpreter.minor()))
    }

    /// The interpreter of that version: the usual one, or the one that is called so.
    fn of_host(&self, minor: u32) -> Option<Interpreter> {
        let usual = self.python.as_deref()?;
        let of_version = PathBuf::from(format!("python3.{minor}"));
        [usual, &of_version].into_iter().filter_map(|path| self.look_at(path)).find(|found| found.minor() == minor)
    }

    fn look_at(&self, path: &Path) -> Option<Interpreter> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let look = || {
            let interpreter = Interpreter::discover(path);
            interpreter.inspect_err(|error| tracing::debug!(%error, "no interpreter")).ok()
        };
        found.entry(path.to_owned()).or_insert_with(look).clone()
    }

    fn packed(&self) -> Vec<String> {
        let listed = self.runtimes.list().inspect_err(|error| tracing::warn!(%error, "the runtimes cannot be listed"));
        listed.unwrap_or_default().into_iter().map(|record| record.name).collect()
    }

    /// Lambda's words, with the names that there are; and what to do about it.
    fn refuse(&self, name: &str) -> Refusal {
        let mut names = self.packed();
        names.extend(
            PYTHON_MINORS.filter(|&minor| self.of_host(minor).is_some()).map(|minor| format!("python3.{minor}")),
        );
        if names.is_empty() {
            // They all run on the built-in program.
            names.extend(PYTHON_MINORS.map(|minor| format!("python3.{minor}")));
        }
        names.push(RUSTPYTHON_NAME.into());
        names.sort();
        names.dedup();
        Refusal::InvalidParameter(format!(
            "Value {name} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{}] or be a valid ARN. \
             Others are made of interpreters on the server's host with `mayfly runtime build --python PATH`.",
            names.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::runtime::tests::host_python;

    fn offer(data: &Path, python: Option<PathBuf>) -> Offer {
        Offer::new(Runtimes::open(data).expect("it opens"), python)
    }

    #[test]
    fn without_an_interpreter_rustpython_stands_in() {
        let data = tempfile::tempdir().expect("a directory");
        for python in [None, Some(data.path().join("no-such-python"))] {
            let offer = offer(data.path(), python);
            assert_eq!(offer.executor("rustpython").expect("always"), Executor::RustPython { stands_in: false });
            let stand_in = offer.executor("python3.8").expect("it stands in");
            assert_eq!(stand_in, Executor::RustPython { stands_in: true });
            for name in ["python3.7", "python3.99", "nodejs22.x", "provided.al2023", ""] {
                let refusal = offer.executor(name).expect_err(name).to_string();
                assert!(refusal.starts_with(&format!("Value {name} at 'runtime' failed to satisfy")), "{refusal}");
            }
        }
    }

    #[test]
    fn an_interpreter_is_offered_and_packed_once() {
        let Some(python) = host_python() else { return };
        let data = tempfile::tempdir().expect("a directory");
        let offer = offer(data.path(), Some(python));
        let name = offer.usual().expect("it has a name");
        let Executor::Unpacked(python) = offer.executor(&name).expect("it is offered") else {
            panic!("not yet packed")
        };
        let record = offer.pack(&name, &python).expect("it packs");
        assert_eq!(offer.pack(&name, Path::new("/no/such/python")).expect("it is there"), record);
        assert_eq!(offer.executor(&name).expect("it is there"), Executor::Packed(record));
        let refusal = offer.executor("python3.7").expect_err("not here").to_string();
        assert!(
            refusal.contains(&name) && refusal.contains("rustpython]") && refusal.contains("runtime build"),
            "{refusal}"
        );
    }

    #[test]
    fn another_version_than_the_hosts_is_refused() {
        let data = tempfile::tempdir().expect("a directory");
        let python = data.path().join("python");
        let described = format!(
            r#"{{"implementation": "cpython", "version": [3, 9, 1], "machine": "x86_64", "executable": "{}", "cache_tag": "",
            "prefix": "/", "library": [], "build_files": [], "certificates": {{}}, "zones": [], "libraries": {{}}}}"#,
            python.display()
        );
        fs::write(&python, format!("#!/bin/sh\necho '{}'\n", described.replace('\n', " "))).expect("it is written");
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("it can");
        let offer = offer(data.path(), Some(python.clone()));
        assert_eq!(offer.usual().as_deref(), Some("python3.9"));
        assert_eq!(offer.executor("python3.9").expect("it is offered"), Executor::Unpacked(python));
        let refusal = offer.executor("python3.8").expect_err("it is not there").to_string();
        assert!(refusal.contains("python3.9") && !refusal.contains("python3.8,"), "{refusal}");
    }
}
