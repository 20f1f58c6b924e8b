//! The example functions, inside the program: `mayfly demo` needs no files.

/// One folder of `functions/`.
pub struct Example {
    /// Name of the folder.
    pub name: &'static str,
    /// Paths in it, and what they hold.
    pub files: &'static [(&'static str, &'static [u8])],
}

// `EXAMPLES`, written by the build script.
include!(concat!(env!("OUT_DIR"), "/examples.rs"));

impl Example {
    /// What the file called `name` holds.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&'static [u8]> {
        self.files.iter().find(|(path, _)| *path == name).map(|(_, content)| *content)
    }
}
