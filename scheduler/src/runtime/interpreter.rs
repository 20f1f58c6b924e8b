//! An interpreter of the host, as it describes itself.
//!
//! Nothing is guessed from paths: Debian's, pyenv's, a virtual environment's base and a relocated python-build-standalone have
//! their parts in different places, and each of them knows where. What is asked for may be a shim or a link, and a virtual
//! environment's is not the one to pack; so whatever interpreter the first one names is asked again, until one names itself.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::BuildError;

/// What it runs to describe itself.
const SCRIPT: &str = include_str!("interpreter.py");
/// Libraries that nothing names in its ELF headers: loaded by glibc when it is needed, or found by binary wheels on every host
/// (the `manylinux` policies' list, without what draws on screens).
const LIBRARIES: &[&str] = &[
    "libgcc_s.so.1",
    "libstdc++.so.6",
    "libatomic.so.1",
    "libm.so.6",
    "libmvec.so.1",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libutil.so.1",
    "libresolv.so.2",
    "libanl.so.1",
    "libnsl.so.1",
    "libnss_files.so.2",
    "libnss_dns.so.2",
    "libz.so.1",
];
/// The oldest CPython that the Python side runs on, as minor version.
const MINOR_MIN: u32 = 9;
/// Longest time that an interpreter may take for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(2);
/// A shim leads to a virtual environment, which leads to its base: more than this is a circle.
const STEPS: usize = 4;

/// An interpreter, where its parts are, and which it needs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Interpreter {
    implementation: String,
    version: [u32; 3],
    machine: String,
    /// The program itself, no link.
    pub(crate) executable: PathBuf,
    /// In the names of compiled modules.
    pub(crate) cache_tag: String,
    pub(crate) prefix: PathBuf,
    /// Where it looks for the standard library: directories, or a zip file.
    pub(crate) library: Vec<PathBuf>,
    /// What `sysconfig` and `distutils` read.
    pub(crate) build_files: Vec<PathBuf>,
    pub(crate) certificates: Certificates,
    /// Directories of the time zone database.
    pub(crate) zones: Vec<PathBuf>,
    /// Of [`LIBRARIES`], those that are there.
    pub(crate) libraries: BTreeMap<String, PathBuf>,
}

/// Where its OpenSSL looks for certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Certificates {
    pub(crate) file: Option<PathBuf>,
    pub(crate) directory: Option<PathBuf>,
}

impl Interpreter {
    /// The interpreter that `python` leads to.
    pub(crate) fn discover(python: &Path) -> Result<Interpreter, BuildError> {
        // As it was called, a shim needs the caller's environment; the interpreter itself is then asked without.
        let mut found = describe(python, true)?;
        for _ in 0..STEPS {
            found.check(python)?;
            let again = describe(&found.executable, false)?;
            if again.executable == found.executable {
                again.check(python)?;
                return Ok(again);
            }
            found = again;
        }
        Err(unusable(python, "each interpreter that it leads to names another one".into()))
    }

    /// `3.11.2`.
    pub(crate) fn version(&self) -> String {
        self.version.map(|number| number.to_string()).join(".")
    }

    /// N of `python3.N`.
    pub(crate) fn minor(&self) -> u32 {
        self.version[1]
    }

    fn check(&self, python: &Path) -> Result<(), BuildError> {
        let [major, minor, _] = self.version;
        if self.implementation != "cpython" {
            return Err(unusable(python, format!("it is {}, and only CPython runs in guests", self.implementation)));
        }
        if major != 3 || minor < MINOR_MIN {
            return Err(unusable(python, format!("it is {}, and 3.{MINOR_MIN} or later is needed", self.version())));
        }
        if self.machine != "x86_64" {
            return Err(unusable(python, format!("it is for {}, and guests are x86-64", self.machine)));
        }
        Ok(())
    }
}

fn unusable(python: &Path, why: String) -> BuildError {
    BuildError::Interpreter { path: python.to_owned(), why }
}

/// What `python` says of itself.
fn describe(python: &Path, keeps_environment: bool) -> Result<Interpreter, BuildError> {
    let mut command = Command::new(python);
    if !keeps_environment {
        command.env_clear();
    }
    // A directory in which no module lies, and which is there for everyone.
    command.args(["-I", "-S", "-c", SCRIPT]).args(LIBRARIES).current_dir("/");
    let output = answer(&mut command).map_err(|why| unusable(python, why))?;
    serde_json::from_slice(&output).map_err(|error| unusable(python, format!("its answer is not understood: {error}")))
}

/// What a program prints, if it ends well and in time.
fn answer(command: &mut Command) -> Result<Vec<u8>, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let begun = Instant::now();
    // It prints a few kilobytes, which the pipes hold; one that prints more does not end in time.
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if begun.elapsed() > ANSWER_TIMEOUT => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it does not answer within {} s", ANSWER_TIMEOUT.as_secs()));
            }
            None => std::thread::sleep(LOOK),
        }
    };
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut output).map_err(|error| error.to_string())?;
    }
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_end(&mut errors).map_err(|error| error.to_string())?;
    }
    if status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&errors);
    Err(format!("it fails ({status}): {}", errors.trim_end().lines().last().unwrap_or("it says nothing")))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::runtime::tests::host_python;

    #[test]
    fn it_describes_itself() {
        let Some(python) = host_python() else { return };
        let found = Interpreter::discover(&python).expect("it does");
        assert_eq!(found.executable, found.executable.canonicalize().expect("it is there"));
        assert!(found.cache_tag.starts_with("cpython-3"), "{}", found.cache_tag);
        assert!(found.library.iter().any(|path| path.join("os.py").is_file()), "{:?}", found.library);
        assert!(found.libraries.contains_key("libgcc_s.so.1") || found.libraries.is_empty(), "{:?}", found.libraries);
    }

    #[test]
    fn a_virtual_environment_leads_to_its_base() {
        let Some(python) = host_python() else { return };
        let directory = tempfile::tempdir().expect("a directory");
        let made =
            Command::new(&python).args(["-m", "venv", "--without-pip"]).arg(directory.path().join("venv")).status();
        assert!(made.expect("it starts").success());
        let of_environment = Interpreter::discover(&directory.path().join("venv/bin/python")).expect("it describes");
        assert_eq!(of_environment, Interpreter::discover(&python).expect("it describes"));
    }

    #[test]
    fn what_is_no_interpreter_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("it is written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can");
            path
        };
        let described = r#"{"implementation": "IMPLEMENTATION", "version": [3, MINOR, 1], "machine": "MACHINE", "executable": "/x",
            "cache_tag": "", "prefix": "/", "library": [], "build_files": [], "certificates": {}, "zones": [], "libraries": {}}"#;
        let says = |implementation: &str, minor: &str, machine: &str| {
            let text = described.replace("IMPLEMENTATION", implementation).replace("MINOR", minor);
            format!("#!/bin/sh\necho '{}'\n", text.replace("MACHINE", machine).replace('\n', " "))
        };
        for (name, text, why) in [
            ("missing", None, "cannot be started"),
            ("fails", Some("#!/bin/sh\necho no such thing >&2; exit 3".to_owned()), "no such thing"),
            ("silent", Some("#!/bin/sh\n".to_owned()), "not understood"),
            ("pypy", Some(says("pypy", "11", "x86_64")), "it is pypy"),
            ("old", Some(says("cpython", "8", "x86_64")), "it is 3.8.1, and 3.9 or later"),
            ("arm", Some(says("cpython", "11", "aarch64")), "aarch64"),
        ] {
            let path = text.map_or_else(|| directory.path().join(name), |text| program(name, &text));
            let error = Interpreter::discover(&path).expect_err(name).to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
