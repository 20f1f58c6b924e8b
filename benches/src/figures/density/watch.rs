//! The kernel's threads that look at all memory, page by page: while one looks at a page of a file, everybody's mappings of which it goes through,
//! nobody can map that file.

use std::path::PathBuf;

/// Beginnings of their names: DAMON's, those that swap, compact and merge.
const NAMES: [&str; 5] = ["kdamond.", "kswapd", "kcompactd", "khugepaged", "ksmd"];

/// Those of this host.
pub(super) struct Watch {
    schedstats: Vec<PathBuf>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        let threads = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        let is_one = |path: &PathBuf| {
            let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
            NAMES.iter().any(|start| name.starts_with(start))
        };
        Watch { schedstats: threads.filter(is_one).map(|path| path.join("schedstat")).collect() }
    }

    /// How often they have run so far.
    pub(super) fn walked(&self) -> u64 {
        let runs = |path| std::fs::read_to_string(path).ok()?.split_ascii_whitespace().nth(2)?.parse::<u64>().ok();
        self.schedstats.iter().filter_map(runs).sum()
    }
}
