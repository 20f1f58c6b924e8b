//! The report page: all figures of a folder of results, as Markdown for those who read the repository, and as one file of HTML.

use std::{fmt::Write, fs, io, path::Path};

use mayfly_load::report::escape;

use super::{Item, Report, significant};

/// The order of the page; what else there is follows.
const ORDER: [&str; 6] = ["invocation", "density", "cost", "snapshots", "overload", "shares"];

const TITLE: &str = "Mayfly, measured";
const ABOUT: &str = "Made by `cargo run --release -p mayfly-benches -- all`; each figure has a command of its own, and says on what and when it was measured. \
    What it is compared with was measured in the same run. Beside each plot lie its values (CSV) and a PNG; `NAME.json` and `NAME.csv` are a figure's data.";

/// What a page consists of.
enum Block {
    Heading(u8, String),
    Text(String),
    /// The first row is the head.
    Table(Vec<Vec<String>>),
    /// File without its ending, and title.
    Plot(String, String),
}

/// Writes `README.md` and `report.html` of all `NAME.json` in the folder.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write(folder: &Path) -> io::Result<()> {
    let blocks = blocks(&reports(folder)?);
    fs::write(folder.join("README.md"), markdown(&blocks))?;
    fs::write(folder.join("report.html"), html(&blocks, |file| fs::read_to_string(folder.join(file)))?)
}

fn reports(folder: &Path) -> io::Result<Vec<Report>> {
    let mut reports = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            // Figures may have further data of their own.
            reports.extend(serde_json::from_slice::<Report>(&fs::read(path)?).ok());
        }
    }
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    reports.sort_by(|one, other| (place(&one.name), &one.name).cmp(&(place(&other.name), &other.name)));
    Ok(reports)
}

fn blocks(reports: &[Report]) -> Vec<Block> {
    let mut blocks = vec![Block::Heading(1, TITLE.into()), Block::Text(ABOUT.into())];
    blocks.extend(aims("To reach, and reached", reports));
    for report in reports {
        blocks.push(Block::Heading(2, report.title.clone()));
        let form = if report.is_quick { "The short form (`--quick`)" } else { "The full form" };
        blocks.push(Block::Text(format!("{form} of `{}`.", report.name)));
        let machine = report.machine.lines().into_iter().map(|(what, is)| vec![what.into(), is]);
        blocks.push(Block::Table([vec![vec![String::new(), String::new()]], machine.collect()].concat()));
        blocks.extend(plots(report));
        blocks.extend(tables(report));
        blocks.extend(missing(report));
    }
    blocks
}

/// The aims of all figures in one table.
fn aims(title: &str, reports: &[Report]) -> Vec<Block> {
    let mut rows = vec![["figure", "aim", "measured", "", "of"].map(String::from).to_vec()];
    for report in reports {
        let mut section = "";
        for item in &report.items {
            match item {
                Item::Section { name } => section = name,
                Item::Aim { what, aim, reached, is_met } => {
                    let what = if section.is_empty() { what.clone() } else { format!("{section}: {what}") };
                    let met = if *is_met { "met" } else { "**not met**" };
                    rows.push(vec![what, aim.clone(), reached.clone(), met.into(), format!("`{}`", report.name)]);
                }
                _ => {}
            }
        }
    }
    if rows.len() == 1 { Vec::new() } else { vec![Block::Heading(2, title.into()), Block::Table(rows)] }
}

fn plots(report: &Report) -> Vec<Block> {
    let of = |item: &Item| match item {
        Item::Plot { file, title, notes } => {
            let text = (!notes.is_empty()).then(|| Block::Text(notes.clone()));
            std::iter::once(Block::Plot(file.clone(), title.clone())).chain(text).collect()
        }
        _ => Vec::new(),
    };
    report.items.iter().flat_map(of).collect()
}

/// Figures and amounts that follow each other are one table.
fn tables(report: &Report) -> Vec<Block> {
    let (mut blocks, mut rows) = (Vec::new(), Vec::new());
    let head = || ["figure", "runs", "p50", "p90", "p99", "notes"].map(String::from).to_vec();
    let end = |rows: &mut Vec<Vec<String>>, blocks: &mut Vec<Block>| {
        if !rows.is_empty() {
            blocks.push(Block::Table([vec![head()], std::mem::take(rows)].concat()));
        }
    };
    for item in &report.items {
        match item {
            Item::Section { name } => {
                end(&mut rows, &mut blocks);
                blocks.push(Block::Heading(3, name.clone()));
            }
            Item::Figure { name, runs, p50_us, p90_us, p99_us, notes } => {
                let [p50, p90, p99] = [p50_us, p90_us, p99_us].map(|us| time(*us));
                rows.push(vec![name.clone(), runs.to_string(), p50, p90, p99, notes.clone()]);
            }
            Item::Amount { name, amount, unit, notes } => {
                let amount = format!("{} {unit}", significant(*amount));
                rows.push(vec![name.clone(), String::new(), amount, String::new(), String::new(), notes.clone()]);
            }
            Item::Table { name, table } => {
                end(&mut rows, &mut blocks);
                blocks.extend([Block::Text(format!("{name}:")), Block::Table(parsed(table))]);
            }
            Item::Aim { .. } | Item::Missing { .. } | Item::Plot { .. } => {}
        }
    }
    end(&mut rows, &mut blocks);
    // A section of plots and aims alone needs no heading.
    let is_bare = |at: usize| {
        matches!(blocks[at], Block::Heading(..)) && matches!(blocks.get(at + 1), None | Some(Block::Heading(..)))
    };
    let bare: Vec<bool> = (0..blocks.len()).map(is_bare).collect();
    blocks.into_iter().zip(bare).filter(|(_, bare)| !bare).map(|(block, _)| block).collect()
}

fn missing(report: &Report) -> Vec<Block> {
    let of = |item: &Item| match item {
        Item::Missing { what, why, cure } => Some(Block::Text(format!("Not measured: {what}: {why}. {cure}."))),
        _ => None,
    };
    report.items.iter().filter_map(of).collect()
}

fn time(us: f64) -> String {
    match us {
        ..1e3 => format!("{} µs", significant(us)),
        ..1e6 => format!("{} ms", significant(us / 1e3)),
        _ => format!("{} s", significant(us / 1e6)),
    }
}

/// Cells of a table in Markdown.
fn parsed(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().filter(|line| !line.starts_with("|---"));
    rows.map(|row| row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn markdown(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        let _ = match block {
            Block::Heading(level, title) => writeln!(text, "{} {title}\n", "#".repeat(usize::from(*level))),
            Block::Text(words) => writeln!(text, "{words}\n"),
            Block::Plot(file, title) => writeln!(text, "![{title}]({file}.svg)\n"),
            Block::Table(rows) => {
                for (index, row) in rows.iter().enumerate() {
                    let _ = writeln!(text, "| {} |", row.join(" | "));
                    if index == 0 {
                        let _ = writeln!(text, "|{}", "---|".repeat(row.len()));
                    }
                }
                writeln!(text)
            }
        };
    }
    text
}

fn html(blocks: &[Block], read: impl Fn(&str) -> io::Result<String>) -> io::Result<String> {
    let mut body = String::new();
    for block in blocks {
        let _ = match block {
            Block::Heading(level, title) => writeln!(body, "<h{level}>{}</h{level}>", inline(title)),
            Block::Text(words) => writeln!(body, "<p>{}</p>", inline(words)),
            Block::Plot(file, _) => writeln!(body, "<figure>{}</figure>", read(&format!("{file}.svg"))?),
            Block::Table(rows) => {
                let row = |cells: &[String], tag: &str| {
                    let cells: String = cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", inline(cell))).collect();
                    format!("<tr>{cells}</tr>\n")
                };
                let (head, rest) = rows.split_first().map_or((&[][..], &[][..]), |(head, rest)| (&head[..], rest));
                let rest: String = rest.iter().map(|cells| row(cells, "td")).collect();
                writeln!(body, "<div class=\"scroll\"><table>\n{}{rest}</table></div>", row(head, "th"))
            }
        };
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{TITLE}</title><style>{}</style></head>\n<body><main>\n{body}</main></body></html>\n",
        include_str!("page.css")
    ))
}

/// Text with its `code` and **emphasis**.
fn inline(text: &str) -> String {
    let mut html = escape(text);
    for (mark, tag) in [("**", "strong"), ("`", "code")] {
        while html.matches(mark).count() >= 2 {
            html = html.replacen(mark, &format!("<{tag}>"), 1).replacen(mark, &format!("</{tag}>"), 1);
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pages_have_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        super::super::tests::example().write(folder.path()).unwrap();
        let markdown = fs::read_to_string(folder.path().join("README.md")).unwrap();
        for line in [
            "## An example <of many>",
            "| python3.11: hello | ≤ 1 ms | 1.50 ms | **not met** | `example` |",
            "| python3.11: goodput | ≥ 2,000 /s | 2500 /s | met | `example` |",
            "![A curve](example-curve.svg)",
            "what it means",
            "| hello, `reuse` | 1 | 1.50 ms | 1.50 ms | 1.50 ms | with a \"note\", and more |",
            "| own memory |  | 0.500 MiB |  |  |  |",
            "| `run` | 1.0 |",
            "Not measured: runc: it is not installed. apt install runc.",
        ] {
            assert!(markdown.lines().any(|found| found == line), "{line}\n{markdown}");
        }
        let html = fs::read_to_string(folder.path().join("report.html")).unwrap();
        for part in [
            "<h2>An example &lt;of many&gt;</h2>",
            "<td><strong>not met</strong></td>",
            "<td>hello, <code>reuse</code></td>",
            "<figure><svg class=\"plot\"",
            "<td><code>run</code></td><td>1.0</td>",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
        assert!(!html.contains("<img") && !html.contains("<link") && !html.contains("<script"));
    }
}
