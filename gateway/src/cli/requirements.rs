//! Packages of a `requirements.txt`, installed by pip for the runtime that will load them.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// What asks an interpreter for N of its version 3.N.
const MINOR: &str = "import sys; print(sys.version_info[1])";

/// An interpreter of this host that has pip. What is installed by it is for its own version and this kind of machine, which is what
/// functions have.
pub(super) struct Installer {
    python: PathBuf,
    /// `python3.N`.
    pub(super) runtime: String,
}

impl Installer {
    /// The one for `runtime`, if functions ask for one: `python3.N`, or `python3` if it is of that version.
    pub(super) fn find(runtime: Option<&str>) -> Result<Installer, String> {
        let wanted = runtime.map(|name| PathBuf::from(name).into_os_string());
        let names = [wanted.as_deref(), Some(OsStr::new("python3"))].into_iter().flatten();
        let found: Vec<Installer> = names.filter_map(|name| Installer::at(Path::new(name))).collect();
        let versions = found.iter().map(|installer| installer.runtime.clone()).collect::<Vec<_>>().join(", ");
        let fits = |installer: &Installer| runtime.is_none_or(|runtime| installer.runtime == runtime);
        found.into_iter().find(fits).ok_or_else(|| match runtime {
            Some(name) if !name.starts_with("python3.") => {
                format!("packages of --requirements are for CPython, not for the runtime {name}; give another with --runtime")
            }
            Some(name) if !versions.is_empty() => {
                format!("this host has {versions}, and the packages are for {name}; install that, or give another with --runtime")
            }
            _ => "there is no python3 on this host to install packages with; install it, with its pip".into(),
        })
    }

    fn at(python: &Path) -> Option<Installer> {
        let output = run(Command::new(python).args(["-c", MINOR])).ok().filter(|output| output.status.success())?;
        let minor: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().ok()?;
        Some(Installer { python: python.to_owned(), runtime: format!("python3.{minor}") })
    }

    /// Installs what `requirements` lists into a new folder, which is gone with the value.
    pub(super) fn install(&self, requirements: &Path) -> Result<Folder, String> {
        if !requirements.is_file() {
            return Err(format!(
                "there is no file {}; give the list of packages with --requirements",
                requirements.display()
            ));
        }
        let python = self.python.display();
        let has_pip = run(Command::new(&self.python).args(["-m", "pip", "--version"]))
            .is_ok_and(|output| output.status.success());
        if !has_pip {
            return Err(format!(
                "{python} of this host has no pip; install it (Debian: python3-pip; others: `{python} -m ensurepip`)"
            ));
        }
        let folder = Folder::new()?;
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile"]);
        // Not what the host's own packages already satisfy: none of those is in the guest.
        pip.args(["--ignore-installed", "--target"]).arg(&folder.path).arg("--requirement").arg(requirements);
        let output = run(&mut pip).map_err(|error| format!("{python} cannot be started ({error})"))?;
        if output.status.success() {
            return Ok(folder);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("ERROR")).collect();
        let reason = if errors.is_empty() { said.trim_end().to_owned() } else { errors.join(" ") };
        Err(format!("pip cannot install {}: {reason}", requirements.display()))
    }
}

fn run(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).output()
}

/// A folder for a while.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    fn new() -> Result<Folder, String> {
        let path = std::env::temp_dir().join(format!("mayfly-packages-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).map_err(|error| format!("cannot make the folder {} ({error})", path.display()))?;
        Ok(Folder { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder for such things.
        let _ = fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An interpreter that is a shell script: it is a 3.13, and its pip does `pip`.
    fn fake(folder: &Folder, pip: &str) -> Installer {
        let python = folder.path.join("python");
        let text = format!("#!/bin/sh\ncase \"$1 $3\" in '-c '*) echo 13;; *) {pip};; esac\n");
        let source = folder.path.join("source");
        fs::write(&source, text).expect("written");
        // By another process: what this one has open for writing, one that another test forks has too, and then it is no program yet (ETXTBSY).
        let made = Command::new("install").args(["-m", "755"]).args([&source, &python]).status();
        assert!(made.expect("coreutils").success());
        Installer::at(&python).expect("it answers")
    }

    #[test]
    fn pip_installs_into_a_folder_that_goes() {
        let place = Folder::new().expect("a folder");
        let list = place.path.join("requirements.txt");
        fs::write(&list, "thing\n").expect("written");
        // The folder is what comes after --target.
        let installer =
            fake(&place, r#"while [ $# -gt 1 ]; do [ "$1" = --target ] && echo it >"$2/thing.py"; shift; done"#);
        assert_eq!(installer.runtime, "python3.13");
        let folder = installer.install(&list).expect("installed");
        let path = folder.path.clone();
        assert_eq!(fs::read(path.join("thing.py")).expect("there"), b"it\n");
        drop(folder);
        assert!(!path.exists());
        assert!(installer.install(&place.path.join("none.txt")).is_err());
    }

    #[test]
    fn problems_name_the_cure() {
        let place = Folder::new().expect("a folder");
        let list = place.path.join("requirements.txt");
        fs::write(&list, "thing\n").expect("written");
        let without = fake(&place, "echo no module named pip >&2; exit 1").install(&list).err().expect("no pip");
        assert!(without.contains("has no pip") && without.contains("ensurepip"), "{without}");
        let failing =
            r#"[ "$3" = --version ] && exit 0; echo noise >&2; echo 'ERROR: No matching distribution' >&2; exit 1"#;
        let failed = fake(&place, failing).install(&list).err().expect("it fails");
        assert!(failed.ends_with("ERROR: No matching distribution"), "{failed}");
        let other = Installer::find(Some("rustpython")).err().expect("no pip for that");
        assert!(other.contains("--runtime"), "{other}");
        let missing = Installer::find(Some("python3.999")).err().expect("no host has it");
        assert!(missing.contains("install"), "{missing}");
    }
}
