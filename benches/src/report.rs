//! What a benchmark prints: a line per figure, and the same as JSON for plots and comparisons.

use std::io;
use std::path::Path;

use serde_json::{Value, json};

use crate::distribution::Distribution;

/// Figures of one run, with the machine that they were measured on.
#[derive(Debug, Default)]
pub struct Report {
    section: String,
    figures: Vec<Value>,
}

impl Report {
    /// A report with the machine and its load at the top.
    #[must_use]
    pub fn new(title: &str) -> Report {
        println!("{title}\n{}\n", machine());
        println!("{:<44} {:>8} {:>11} {:>11} {:>11}   notes", "figure", "runs", "p50 µs", "p90 µs", "p99 µs");
        Report::default()
    }

    /// What follows belongs together under this name.
    pub fn section(&mut self, name: &str) {
        println!("{name}");
        name.clone_into(&mut self.section);
    }

    /// Adds a figure and prints it.
    pub fn add(&mut self, name: &str, distribution: &Distribution, notes: &str) {
        let [p50, p90, p99] = [0.5, 0.9, 0.99].map(|q| distribution.quantile_us(q));
        println!("  {name:<42} {:>8} {p50:>11.1} {p90:>11.1} {p99:>11.1}   {notes}", distribution.count());
        self.figures.push(json!({
            "section": self.section, "figure": name, "runs": distribution.count(), "p50_us": p50, "p90_us": p90, "p99_us": p99, "notes": notes,
        }));
    }

    /// Adds an amount of something that is no time, and prints it.
    pub fn amount(&mut self, name: &str, amount: f64, unit: &str, notes: &str) {
        println!("  {name:<56} {amount:>12.2} {unit:<8} {notes}");
        self.figures.push(json!({
            "section": self.section, "figure": name, "amount": amount, "unit": unit, "notes": notes,
        }));
    }

    /// Adds a table in Markdown, and prints it.
    pub fn table(&mut self, name: &str, table: &str) {
        println!("\n  {name}\n\n{table}");
        self.figures.push(json!({ "section": self.section, "figure": name, "table": table }));
    }

    /// Writes the figures as JSON.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let report = json!({ "machine": machine(), "figures": self.figures });
        std::fs::write(path, serde_json::to_vec_pretty(&report)?)?;
        println!("\nwritten to {}", path.display());
        Ok(())
    }
}

/// CPU, cores, kernel, kind of KVM, and the load average.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kvm = mayfly_vmm::host::examine().into_iter().find(|finding| finding.subject == "kind of KVM");
    format!(
        "{} ({cores} cores), Linux {}, KVM {}, load {}",
        model.unwrap_or("unknown CPU"),
        read("/proc/sys/kernel/osrelease").trim(),
        kvm.map_or(String::new(), |finding| finding.found),
        read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
    )
}
