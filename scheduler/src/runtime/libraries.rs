//! Which shared libraries programs need, and where the host finds them.
//!
//! The program's own loader is asked, with `--list`: the rules (RPATH, RUNPATH and `$ORIGIN`, the cache, directories of CPU levels)
//! differ between C libraries and their versions, and the one that will load them in the guest is the one that knows. glibc's and
//! musl's both can do it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use object::{
    LittleEndian,
    elf::{FileHeader64, PT_INTERP},
    read::elf::{FileHeader as _, ProgramHeader as _},
};

/// The loader that the ELF file at `path` names; `None` for a static program or no program at all.
pub(crate) fn loader(path: &Path) -> Option<PathBuf> {
    let bytes = fs::read(path).ok()?;
    let header = FileHeader64::<LittleEndian>::parse(&*bytes).ok()?;
    let endian = header.endian().ok()?;
    let interpreter = header
        .program_headers(endian, &*bytes)
        .ok()?
        .iter()
        .find(|header| header.p_type(endian) == PT_INTERP)?
        .data(endian, &*bytes)
        .ok()?;
    Some(PathBuf::from(std::str::from_utf8(interpreter).ok()?.trim_end_matches('\0')))
}

/// What `loader` would load for the program or library at `path`: itself, what it needs, what those need.
///
/// # Errors
/// What is missing, or what the loader says.
pub(crate) fn closure(loader: &Path, path: &Path) -> Result<BTreeSet<PathBuf>, String> {
    let output = Command::new(loader)
        .env_clear()
        .arg("--list")
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{} cannot be started: {error}", loader.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() && text.trim().is_empty() {
        return Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
    }
    let mut found = parse(&text)?;
    found.insert(path.to_owned());
    Ok(found)
}

/// The paths in what a loader lists: `name => path (address)`, or `path (address)` for the loader itself, or a name without a
/// path for what the Linux kernel brings.
fn parse(listed: &str) -> Result<BTreeSet<PathBuf>, String> {
    let mut found = BTreeSet::new();
    for line in listed.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place == "not found" {
            return Err(format!("{name} is not found"));
        }
        // Not at the first bracket: directories may have some in their names.
        let path = place.rsplit_once(" (0x").map_or(place, |(path, _)| path);
        if path.starts_with('/') {
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{interpreter::Interpreter, tests::host_python};

    #[test]
    fn lists_are_understood() {
        let glibc = "\tlinux-vdso.so.1 (0x00007f5411940000)
\tlibssl.so.3 => /lib/x86_64-linux-gnu/libssl.so.3 (0x00007f5411851000)
\tlibodd.so.1 => /opt/odd (0x1)/libodd.so.1 (0x00007f5411200000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f5411942000)\n";
        let paths = ["/lib/x86_64-linux-gnu/libssl.so.3", "/lib64/ld-linux-x86-64.so.2", "/opt/odd (0x1)/libodd.so.1"];
        assert_eq!(parse(glibc).expect("a list"), paths.map(PathBuf::from).into());
        let musl =
            "\t/lib/ld-musl-x86_64.so.1 (0x7f0000)\n\tlibc.musl-x86_64.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f0000)\n";
        assert_eq!(parse(musl).expect("a list"), [PathBuf::from("/lib/ld-musl-x86_64.so.1")].into());
        assert_eq!(parse("\tstatically linked\n").expect("a list"), BTreeSet::new());
        assert_eq!(parse("\tlibgone.so.3 => not found\n").expect_err("it is gone"), "libgone.so.3 is not found");
    }

    #[test]
    fn a_loader_lists_what_a_program_needs() {
        // Every test program is one.
        let program = std::env::current_exe().expect("it has a path");
        let loader = loader(&program).expect("it is dynamic");
        let found = closure(&loader, &program).expect("it lists");
        assert!(found.contains(&program) && found.contains(&loader), "{found:?}");
        assert!(found.iter().any(|path| path.ends_with("libc.so.6")), "{found:?}");
        assert!(found.iter().all(|path| path.is_file()), "{found:?}");
        assert!(closure(&loader, Path::new("/dev/null")).is_err());
    }

    #[test]
    fn what_is_no_dynamic_program_has_no_loader() {
        assert_eq!(loader(Path::new("/dev/null")), None);
        assert_eq!(loader(Path::new("/no/such/file")), None);
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("cut");
        fs::write(&path, &fs::read("/proc/self/exe").expect("it is read")[..100]).expect("it is written");
        assert_eq!(loader(&path), None);
    }

    #[test]
    fn extension_modules_bring_their_libraries() {
        let Some(python) = host_python() else { return };
        let python = Interpreter::discover(&python).expect("it describes itself");
        let Some(loader) = loader(&python.executable) else { return };
        assert!(closure(&loader, &python.executable).expect("it lists").len() >= 3);
    }
}
