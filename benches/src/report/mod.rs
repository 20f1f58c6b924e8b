//! What a figure comes to: printed while it is measured, and then written as data, plots and a part of the report page.

mod machine;
pub mod page;

use std::{fmt::Write, fs, io, path::Path};

use machine::Ticks;
pub use machine::{Machine, results};
use serde::{Deserialize, Serialize};

use crate::{distribution::Distribution, plot::Plot};

/// One figure: its results with the machine that they were measured on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Its command, and the beginning of the names of its files.
    pub name: String,
    /// What it is about.
    pub title: String,
    /// Whether it was the short form.
    pub is_quick: bool,
    /// Where.
    pub machine: Machine,
    /// What came out, in order.
    pub items: Vec<Item>,
    /// What is written beside the data.
    #[serde(skip)]
    files: Vec<(String, Vec<u8>)>,
    /// When it began.
    #[serde(skip)]
    begun: Option<Ticks>,
}

/// A part of the results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "as the functions that add them")]
pub enum Item {
    Section { name: String },
    Figure { name: String, runs: usize, p50_us: f64, p90_us: f64, p99_us: f64, notes: String },
    Amount { name: String, amount: f64, unit: String, notes: String },
    Table { name: String, table: String },
    Aim { what: String, aim: String, reached: String, is_met: bool },
    Missing { what: String, why: String, cure: String },
    Plot { file: String, title: String, notes: String },
}

/// Where a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// Not more than that.
    AtMost(f64),
    /// Not less.
    AtLeast(f64),
}

impl Report {
    /// An empty one, with the machine as it is now.
    #[must_use]
    pub fn new(name: &str, title: &str, is_quick: bool) -> Report {
        let machine = Machine::examine();
        println!("\n{title}");
        machine.lines().iter().for_each(|(what, is)| println!("  {what:<12} {is}"));
        println!("\n{:<44} {:>8} {:>11} {:>11} {:>11}   notes", "figure", "runs", "p50 µs", "p90 µs", "p99 µs");
        let (name, title, begun) = (name.into(), title.into(), Ticks::now());
        Report { name, title, is_quick, machine, items: Vec::new(), files: Vec::new(), begun }
    }

    /// What follows belongs together under this name.
    pub fn section(&mut self, name: &str) {
        println!("{name}");
        self.items.push(Item::Section { name: name.into() });
    }

    /// Adds a figure and prints it.
    pub fn add(&mut self, name: &str, distribution: &Distribution, notes: &str) {
        let [p50_us, p90_us, p99_us] = [0.5, 0.9, 0.99].map(|q| distribution.quantile_us(q));
        let runs = distribution.count();
        println!("  {name:<42} {runs:>8} {p50_us:>11.1} {p90_us:>11.1} {p99_us:>11.1}   {notes}");
        self.items.push(Item::Figure { name: name.into(), runs, p50_us, p90_us, p99_us, notes: notes.into() });
    }

    /// Adds an amount of something that is no time, and prints it. What is not a number could not be measured.
    pub fn amount(&mut self, name: &str, amount: f64, unit: &str, notes: &str) {
        if !amount.is_finite() {
            return self.missing(
                name,
                "there is no number",
                "Measure again on a quiet machine, or look at what is missing there",
            );
        }
        println!("  {name:<56} {amount:>12.2} {unit:<8} {notes}");
        self.items.push(Item::Amount { name: name.into(), amount, unit: unit.into(), notes: notes.into() });
    }

    /// Adds a table in Markdown, and prints it.
    pub fn table(&mut self, name: &str, table: &str) {
        println!("\n  {name}\n\n{table}");
        self.items.push(Item::Table { name: name.into(), table: table.into() });
    }

    /// Compares with what was to be reached. What is not a number was not.
    pub fn aim(&mut self, what: &str, aim: Aim, reached: f64, unit: &str) {
        let is_met = match aim {
            Aim::AtMost(most) => reached <= most,
            Aim::AtLeast(least) => reached >= least,
        };
        let aim = match aim {
            Aim::AtMost(most) => format!("≤ {} {unit}", crate::plot::number(most)),
            Aim::AtLeast(least) => format!("≥ {} {unit}", crate::plot::number(least)),
        };
        let reached = format!("{} {unit}", significant(reached));
        println!("  aim: {what} {}: {} ({reached})", aim.trim(), if is_met { "met" } else { "NOT met" });
        let [aim, reached] = [aim, reached].map(|text| text.trim().to_owned());
        self.items.push(Item::Aim { what: what.into(), aim, reached, is_met });
    }

    /// Says what was not measured, why, and how to have it measured.
    pub fn missing(&mut self, what: &str, why: &str, cure: &str) {
        println!("  {what}: not measured: {why}; {cure}");
        self.items.push(Item::Missing { what: what.into(), why: why.into(), cure: cure.into() });
    }

    /// Adds a plot: `NAME-SLUG.svg` and `.png`, and its values as `NAME-SLUG.csv`.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn plot(&mut self, slug: &str, plot: &Plot, notes: &str) -> io::Result<()> {
        let file = format!("{}-{slug}", self.name);
        self.file(&format!("{file}.svg"), plot.svg());
        self.file(&format!("{file}.png"), plot.png()?);
        self.file(&format!("{file}.csv"), plot.csv());
        self.items.push(Item::Plot { file, title: plot.title.clone(), notes: notes.into() });
        Ok(())
    }

    /// Adds a file of that name as it is.
    pub fn file(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.files.push((name.into(), content.into()));
    }

    /// Writes everything into the folder, data as `NAME.json` and `NAME.csv`, and the report page anew.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&mut self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        if let (Some(begun), Some(now)) = (self.begun, Ticks::now()) {
            self.machine.stolen_percent = now.stolen_percent(begun);
        }
        for (name, content) in &self.files {
            fs::write(folder.join(name), content)?;
        }
        fs::write(folder.join(format!("{}.csv", self.name)), self.csv())?;
        fs::write(folder.join(format!("{}.json", self.name)), serde_json::to_vec_pretty(self)?)?;
        page::write(folder)?;
        println!("\nwritten to {}", folder.join(format!("{}.*", self.name)).display());
        Ok(())
    }

    /// A line for each figure, amount and aim.
    fn csv(&self) -> String {
        let mut csv = String::from("section,figure,runs,p50_us,p90_us,p99_us,amount,unit,notes\n");
        let mut section = String::new();
        for item in &self.items {
            match item {
                Item::Section { name } => section = csv_field(name),
                Item::Figure { name, runs, p50_us, p90_us, p99_us, notes } => {
                    let [name, notes] = [name, notes].map(|text| csv_field(text));
                    let _ = writeln!(csv, "{section},{name},{runs},{p50_us},{p90_us},{p99_us},,,{notes}");
                }
                Item::Amount { name, amount, unit, notes } => {
                    let [name, unit, notes] = [name, unit, notes].map(|text| csv_field(text));
                    let _ = writeln!(csv, "{section},{name},,,,,{amount},{unit},{notes}");
                }
                _ => {}
            }
        }
        csv
    }
}

/// Three digits, or all before the point.
pub(crate) fn significant(value: f64) -> String {
    let digits = if value.is_finite() && value != 0.0 { 2 - value.abs().log10().floor() as i32 } else { 0 };
    format!("{value:.*}", digits.clamp(0, 4) as usize)
}

/// A text as a field of CSV.
pub(crate) fn csv_field(text: &str) -> String {
    let is_plain = !text.contains([',', '"', '\n']);
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plot::{self, Look, Series};

    pub(crate) fn example() -> Report {
        let mut report = Report::new("example", "An example <of many>", true);
        let mut distribution = Distribution::default();
        distribution.add(Duration::from_micros(1500));
        report.section("python3.11");
        report.add("hello, `reuse`", &distribution, "with a \"note\", and more");
        report.amount("own memory", 0.5, "MiB", "");
        report.table("parts", "| part | µs |\n|---|---|\n| `run` | 1.0 |\n");
        report.aim("hello", Aim::AtMost(1.0), 1.5, "ms");
        report.aim("goodput", Aim::AtLeast(2000.0), 2500.0, "/s");
        report.missing("runc", "it is not installed", "apt install runc");
        let series = vec![Series::new("reuse", Look::Line, vec![(1.0, 2.0), (2.0, 4.0)])];
        let (x, y) = (plot::linear("N", &series, |p| p.0), plot::linear("ms", &series, |p| p.1));
        report.plot("curve", &Plot { title: "A curve".into(), x, y, series }, "what it means").unwrap();
        report
    }

    #[test]
    fn what_is_written_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = example();
        report.write(folder.path()).unwrap();
        let read: Report = serde_json::from_slice(&fs::read(folder.path().join("example.json")).unwrap()).unwrap();
        assert_eq!((read.items, read.machine), (report.items.clone(), report.machine));
        let csv = fs::read_to_string(folder.path().join("example.csv")).unwrap();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[1], "python3.11,\"hello, `reuse`\",1,1500,1500,1500,,,\"with a \"\"note\"\", and more\"");
        assert_eq!(lines[2], "python3.11,own memory,,,,,0.5,MiB,");
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names.join(" "),
            "README.md example-curve.csv example-curve.png example-curve.svg example.csv example.json report.html"
        );
    }

    #[test]
    fn aims_are_met_or_not() {
        let aims: Vec<(String, String, bool)> = example()
            .items
            .into_iter()
            .filter_map(|item| match item {
                Item::Aim { aim, reached, is_met, .. } => Some((aim, reached, is_met)),
                _ => None,
            })
            .collect();
        assert_eq!(aims[0], ("≤ 1 ms".into(), "1.50 ms".into(), false));
        assert_eq!(aims[1], ("≥ 2,000 /s".into(), "2500 /s".into(), true));
        let mut report = example();
        report.amount("nothing", f64::NAN, "MiB", "");
        assert!(matches!(report.items.last(), Some(Item::Missing { .. })));
        report.aim("nothing", Aim::AtLeast(0.0), f64::NAN, "");
        assert!(matches!(report.items.last(), Some(Item::Aim { is_met: false, .. })));
        assert_eq!(
            [0.0, 0.012_345, 1.234, 12.34, 1234.0, f64::NAN].map(significant),
            ["0", "0.0123", "1.23", "12.3", "1234", "NaN"]
        );
    }
}
