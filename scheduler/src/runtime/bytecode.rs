//! Compiles modules with the interpreter that will run them.

use std::{
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::interpreter::Interpreter;

const SCRIPT: &str = include_str!("bytecode.py");
/// Largest compiled module that is believed.
const MODULE_MAX_BYTES: u64 = 64 << 20;

/// The `.pyc` of each of `modules`, empty for what is no Python. The same modules give the same bytes: hashes of strings, and so the
/// order of sets in constants, are fixed.
pub(super) fn compile(python: &Interpreter, modules: &[PathBuf]) -> Result<Vec<Vec<u8>>, String> {
    let cannot = |error: std::io::Error| format!("it does not compile its library: {error}");
    let mut child = Command::new(&python.executable)
        .env_clear()
        .env("PYTHONHASHSEED", "0")
        .args(["-S", "-s", "-B", "-X", "utf8", "-c", SCRIPT])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    let mut list = Vec::new();
    for module in modules {
        list.extend_from_slice(module.as_os_str().as_bytes());
        list.push(0);
    }
    child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(&list)).map_err(cannot)?;
    let mut output = child.stdout.take().ok_or("it has no output")?;
    let mut compiled = Vec::with_capacity(modules.len());
    for _ in modules {
        let mut bytes = [0; 8];
        output.read_exact(&mut bytes).map_err(cannot)?;
        let bytes = u64::from_le_bytes(bytes);
        if bytes > MODULE_MAX_BYTES {
            return Err("what it compiled is not understood".into());
        }
        let mut module = vec![0; bytes as usize];
        output.read_exact(&mut module).map_err(cannot)?;
        compiled.push(module);
    }
    let status = child.wait().map_err(cannot)?;
    if status.success() { Ok(compiled) } else { Err(format!("it does not compile its library: {status}")) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::runtime::tests::host_python;

    #[test]
    fn modules_are_compiled_and_need_no_source() {
        let Some(python) = host_python() else { return };
        let python = Interpreter::discover(&python).expect("it describes itself");
        let directory = tempfile::tempdir().expect("a directory");
        let modules = [("good.py", "names = {'a', 'b', 'c'}\n"), ("wrong.py", "def (:\n"), ("latin.py", "# \u{e4}\n")];
        let paths = modules.map(|(name, text)| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("it is written");
            path
        });
        let compiled = compile(&python, &paths).expect("it compiles");
        assert_eq!(compiled, compile(&python, &paths).expect("it compiles"), "the same every time");
        assert_eq!(compiled[1], b"", "no Python");
        // Flags: named by a hash, which is not checked.
        assert_eq!(compiled[0][4..8], [1, 0, 0, 0]);
        let cache = directory.path().join("__pycache__");
        fs::create_dir(&cache).expect("it is made");
        fs::write(cache.join(format!("good.{}.pyc", python.cache_tag)), &compiled[0]).expect("it is written");
        fs::write(&paths[0], "raise SystemExit(9)\n").expect("it is written");
        let used = Command::new(&python.executable)
            .args(["-B", "-c", "import good; print(sorted(good.names))"])
            .current_dir(directory.path())
            .output()
            .expect("it starts");
        assert_eq!(String::from_utf8_lossy(&used.stdout), "['a', 'b', 'c']\n", "the source was not looked at");
    }
}
