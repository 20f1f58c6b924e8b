//! Embeds the folders of `functions/` as `EXAMPLES`.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../functions").canonicalize()?;
    println!("cargo::rerun-if-changed={}", folder.display());

    let mut code = String::from("/// Every example, by name.\npub static EXAMPLES: &[Example] = &[\n");
    for example in sorted(&folder)?.into_iter().filter(|path| path.join("handler.py").is_file()) {
        writeln!(code, "    Example {{ name: {:?}, files: &[", name(&example))?;
        let mut files = Vec::new();
        walk(&example, &mut files)?;
        for file in files {
            let inside = file.strip_prefix(&example)?.to_string_lossy();
            writeln!(code, "        ({inside:?}, include_bytes!({:?})),", file.display().to_string())?;
        }
        code.push_str("    ] },\n");
    }
    code.push_str("];\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("examples.rs"), code)?;
    Ok(())
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    for path in sorted(folder)? {
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// What is in `folder`, without what an interpreter or a file manager has left there.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.retain(|path| !name(path).starts_with('.') && name(path) != "__pycache__");
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
