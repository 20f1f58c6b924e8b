//! What of a host is in a runtime image: an interpreter, its standard library, the shared libraries of both, and what they read.

use std::{
    collections::BTreeSet,
    fs,
    io::Error,
    path::{Path, PathBuf},
};

use super::{BuildError, bytecode, host_tree::HostTree, interpreter::Interpreter, libraries};

/// Where the certificates of the host are in every guest, besides where its OpenSSL looks for them.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where hosts have them in one file: Debian and Alpine, Fedora, openSUSE, others.
const HOST_CERTIFICATES: &[&str] = &[
    CERTIFICATES,
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Small files that libraries read if they are there. Users, hosts and name servers are not the host's: the kernel makes those.
const HOST_FILES: &[&str] =
    &["/etc/ld.so.cache", "/etc/os-release", "/etc/services", "/etc/protocols", "/etc/mime.types"];
/// The locale that is always there: C libraries that do not have it built in find it here.
const LOCALES: &[&str] = &["/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8"];
/// Directories of the library that are of no use in a guest: packages of the host, what needs a display, what installs.
const LEFT_OUT: &[&str] =
    &["__pycache__", "site-packages", "dist-packages", "idlelib", "tkinter", "turtledemo", "_bundled"];
/// Directories of the library that only its own tests need.
const TESTS: &[&str] = &["test", "tests", "idle_test"];
/// Files of the library that nothing loads: bytecode of the host's, what links and builds.
const LEFT_OUT_ENDS: &[&str] = &["pyc", "pyo", "a", "o", "exe"];
/// Extension modules that only tests load.
const TEST_MODULES: &[&str] = &["_test", "_ctypes_test", "_xxtestfuzz", "_xxsubinterpreters", "xxlimited", "xxsubtype"];
/// The extension module that brings the libraries of a display.
const DISPLAY_MODULE: &str = "_tkinter.";

/// Everything that `python` needs to run, as it is on the host. What could not be found, and is not essential, is said to `progress`.
pub(crate) fn collect(
    python: &Interpreter,
    with_tests: bool,
    progress: &mut dyn FnMut(&str),
) -> Result<HostTree, BuildError> {
    let mut tree = HostTree::default();
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |source: Error| BuildError::File { path, source }
    };
    tree.mirror(&python.executable).map_err(cannot(&python.executable))?;
    for path in &python.library {
        let wanted = |path: &Path, is_directory: bool| is_wanted(path, is_directory, with_tests);
        let mirrored = if path.is_dir() { tree.mirror_all(path, &wanted) } else { tree.mirror(path).map(drop) };
        mirrored.map_err(cannot(path))?;
    }
    for path in python.build_files.iter().map(PathBuf::as_path).chain(HOST_FILES.iter().map(Path::new)) {
        // Not there, or not for everyone: then not in the guest either.
        let _ = tree.mirror(path);
    }
    for path in LOCALES.iter().map(Path::new).filter(|path| path.is_dir()) {
        tree.mirror_all(path, &|_, _| true).map_err(cannot(path))?;
    }
    add_libraries(&mut tree, python, progress)?;
    add_certificates(&mut tree, python, progress);
    add_zones(&mut tree, python, progress)?;
    for path in ["/var/task", "/var/runtime", "/opt/python", "/usr/local/bin"] {
        tree.put_directory(Path::new(path));
    }
    add_bytecode(&mut tree, python, progress)?;
    Ok(tree)
}

fn is_wanted(path: &Path, is_directory: bool, with_tests: bool) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    if is_directory {
        return !LEFT_OUT.contains(&name) && (with_tests || !TESTS.contains(&name));
    }
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let is_module = |list: &[&str]| end == "so" && list.iter().any(|start| name.starts_with(start));
    !LEFT_OUT_ENDS.contains(&end) && !is_module(&[DISPLAY_MODULE]) && (with_tests || !is_module(TEST_MODULES))
}

/// Adds what the interpreter and its modules load.
fn add_libraries(tree: &mut HostTree, python: &Interpreter, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    // A static interpreter loads nothing.
    let Some(loader) = libraries::loader(&python.executable) else { return Ok(()) };
    let needed = |path: &Path| libraries::closure(&loader, path);
    let mut found =
        needed(&python.executable).map_err(|why| BuildError::Interpreter { path: python.executable.clone(), why })?;
    let modules: Vec<PathBuf> = tree.files().filter(|path| is_shared_object(path)).map(Path::to_owned).collect();
    progress(&format!("looking for the libraries of {} extension modules", modules.len()));
    let optional = modules.iter().map(PathBuf::as_path).chain(python.libraries.values().map(PathBuf::as_path));
    for path in optional {
        match needed(path) {
            Ok(paths) => found.extend(paths),
            // It cannot be loaded on the host either.
            Err(why) => progress(&format!("{} will not load: {why}", path.display())),
        }
    }
    for path in openssl_files(&found) {
        found.extend(needed(&path).unwrap_or_default());
        found.insert(path);
    }
    for path in found {
        tree.mirror(&path).map_err(|source| BuildError::File { path: path.clone(), source })?;
    }
    Ok(())
}

fn is_shared_object(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "so")
}

/// What OpenSSL's libcrypto loads by itself: its providers (`legacy.so` has MD4 and RC4). It has the directory in its text.
fn openssl_files(found: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    const MARK: &[u8] = b"MODULESDIR: \"";
    let is_libcrypto =
        |path: &&PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"libcrypto.so"));
    let Some(bytes) = found.iter().find(is_libcrypto).and_then(|path| fs::read(path).ok()) else { return Vec::new() };
    let Some(start) = bytes.windows(MARK.len()).position(|window| window == MARK) else { return Vec::new() };
    let text = bytes[start + MARK.len()..].split(|&byte| byte == b'"').next().unwrap_or_default();
    let Some(directory) = std::str::from_utf8(text).ok().filter(|path| path.starts_with('/')) else {
        return Vec::new();
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_shared_object(path)).collect();
    files.sort();
    files
}

/// Adds the host's certificates and OpenSSL's configuration, where the interpreter's OpenSSL looks for them.
fn add_certificates(tree: &mut HostTree, python: &Interpreter, progress: &mut dyn FnMut(&str)) {
    let bundle = HOST_CERTIFICATES.iter().map(Path::new).find_map(|path| fs::read(path).ok());
    let (file, directory) = (python.certificates.file.as_deref(), python.certificates.directory.as_deref());
    for path in [file, file.map(|file| file.with_file_name("openssl.cnf")).as_deref()].into_iter().flatten() {
        // Not there on every host.
        let _ = tree.mirror(path);
    }
    if let Some(directory) = directory.filter(|path| path.is_dir()) {
        let _ = tree.mirror_all(directory, &|_, is_directory| !is_directory);
    }
    let Some(bundle) = bundle else {
        return progress("this host has no file of certificates: connections with TLS will not be trusted");
    };
    if !tree.has(Path::new(CERTIFICATES)) {
        tree.put(Path::new(CERTIFICATES), bundle);
    }
    if let Some(file) = file {
        tree.put_link(file, Path::new(CERTIFICATES));
    }
}

/// Adds the time zone database, once: hosts have copies of it with and without leap seconds.
fn add_zones(tree: &mut HostTree, python: &Interpreter, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let Some(directory) = python.zones.first() else {
        progress("this host has no time zone database: zoneinfo will need the package tzdata");
        return Ok(());
    };
    let wanted = |path: &Path, _: bool| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        !["posix", "right", "localtime"].contains(&name)
    };
    tree.mirror_all(directory, &wanted).map_err(|source| BuildError::File { path: directory.clone(), source })?;
    tree.put_link(Path::new("/etc/localtime"), &directory.join("UTC"));
    Ok(())
}

/// Adds the compiled form of each module, so that no guest compiles any.
fn add_bytecode(tree: &mut HostTree, python: &Interpreter, progress: &mut dyn FnMut(&str)) -> Result<(), BuildError> {
    let is_library = |path: &Path| python.library.iter().any(|library| path.starts_with(library));
    let is_module = |path: &&Path| path.extension().is_some_and(|end| end == "py") && is_library(path);
    let modules: Vec<PathBuf> = tree.files().filter(is_module).map(Path::to_owned).collect();
    progress(&format!("compiling {} modules", modules.len()));
    let compiled = bytecode::compile(python, &modules)
        .map_err(|why| BuildError::Interpreter { path: python.executable.clone(), why })?;
    for (module, bytes) in modules.iter().zip(compiled) {
        let (Some(directory), Some(stem)) = (module.parent(), module.file_stem().and_then(|stem| stem.to_str())) else {
            continue;
        };
        // Tests have modules that are wrong on purpose.
        if !bytes.is_empty() {
            tree.put(&directory.join("__pycache__").join(format!("{stem}.{}.pyc", python.cache_tag)), bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tests::host_python;

    #[test]
    fn what_is_of_no_use_is_left_out() {
        let library = Path::new("/usr/lib/python3.11");
        let wanted = |path: &str, is_directory| {
            [false, true].map(|with_tests| is_wanted(&library.join(path), is_directory, with_tests))
        };
        assert_eq!(wanted("os.py", false), [true, true]);
        assert_eq!(wanted("lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", false), [true, true]);
        assert_eq!(wanted("lib-dynload/_testcapi.cpython-311-x86_64-linux-gnu.so", false), [false, true]);
        assert_eq!(wanted("lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so", false), [false, false]);
        assert_eq!(wanted("unittest/test", true), [false, true]);
        assert_eq!(wanted("json/__pycache__", true), [false, false]);
        assert_eq!(wanted("site-packages", true), [false, false]);
        assert_eq!(wanted("config-3.11/libpython3.11.a", false), [false, false]);
        assert_eq!(wanted("test.py", false), [true, true]);
    }

    #[test]
    fn an_interpreter_of_this_host_is_complete() {
        let Some(python) = host_python() else { return };
        let python = Interpreter::discover(&python).expect("it describes itself");
        let mut said = Vec::new();
        let tree = collect(&python, false, &mut |line| said.push(line.to_owned())).expect("it is there");
        let library = python.library.iter().find(|path| path.is_dir()).expect("a directory");
        assert!(tree.has(&python.executable));
        assert!(tree.has(&library.join("os.py")));
        assert!(tree.has(&library.join(format!("json/__pycache__/decoder.{}.pyc", python.cache_tag))));
        assert!(!tree.has(&library.join("site-packages")) && !tree.has(&library.join("test")));
        for path in libraries::loader(&python.executable).iter().chain(python.libraries.values()) {
            assert!(tree.has(path), "{}", path.display());
        }
        assert!(said.iter().any(|line| line.starts_with("compiling ")), "{said:?}");
    }
}
