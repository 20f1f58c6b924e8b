//! The page around the plots.

use std::fmt::Write;

use super::{
    super::{
        FunctionRow, Quantiles, Report,
        about::rate,
        chart::{Chart, escape},
    },
    STYLE, plots,
};
use crate::{
    duration::show,
    outcome::{Group, Outcome},
};

/// A cell with more than that is text, not a figure.
const CELL_CHARS: usize = 60;

/// The page.
#[must_use]
pub fn render(report: &Report) -> String {
    let headline = headline(report);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>mayfly load: {}</title>\n<style>\n{STYLE}</style></head>\n<body><main>\n<header><p>mayfly load</p>\
         <h1>{}</h1><p>{}</p><p>{} · {}</p></header>\n",
        escape(&headline),
        escape(&headline),
        escape(&report.about.pace),
        escape(&report.about.endpoint),
        escape(&report.about.started)
    );
    tiles(&mut page, report);
    findings(&mut page, report);
    for (title, words, chart) in figures(report) {
        figure(&mut page, title, words, &chart);
    }
    outcomes(&mut page, report);
    latencies(&mut page, report);
    if report.functions.len() > 1 {
        functions(&mut page, &report.functions);
    }
    about(&mut page, report);
    page.push_str("</main></body></html>\n");
    page
}

/// The run in one sentence.
fn headline(report: &Report) -> String {
    let totals = &report.totals;
    let p99 = report.latency.map_or(String::new(), |latency| format!(", 99 % of them within {}", show(latency.p99_ns)));
    let (goodput, offered) = (rate(totals.goodput_per_s), rate(totals.offered_per_s));
    if report.about.is_closed {
        return format!("{goodput} answers per second{p99}");
    }
    format!("{goodput} of {offered} requests per second answered{p99}")
}

fn tiles(page: &mut String, report: &Report) {
    let totals = &report.totals;
    let all = totals.counts.all().max(1) as f64;
    let share = |count: u64| format!("{:.2} %", 100.0 * count as f64 / all);
    let refused = totals.counts.group(Group::Refused);
    let failed = totals.counts.all() - refused - totals.counts.of(Outcome::Ok);
    let quantile = |quantiles: &Option<Quantiles>, pick: fn(&Quantiles) -> u64| {
        quantiles.as_ref().map_or("–".to_owned(), |quantiles| show(pick(quantiles)))
    };
    let tiles = [
        ("offered per s", rate(totals.offered_per_s)),
        ("goodput per s", rate(totals.goodput_per_s)),
        ("refused", share(refused)),
        ("failed or unsent", share(failed)),
        ("median latency", quantile(&report.latency, |latency| latency.p50_ns)),
        ("p99 latency", quantile(&report.latency, |latency| latency.p99_ns)),
        ("own p99 lateness", quantile(&report.lateness, |lateness| lateness.p99_ns)),
    ];
    page.push_str("<div class=\"tiles\">");
    for (name, value) in tiles {
        let _ = write!(page, "<div class=\"tile\"><b>{value}</b><span>{name}</span></div>");
    }
    page.push_str("</div>\n");
}

fn findings(page: &mut String, report: &Report) {
    page.push_str("<ul class=\"findings\">");
    for finding in &report.findings {
        let class = if finding.is_warning { " class=\"warning\"" } else { "" };
        let _ = write!(page, "<li{class}>{}</li>", escape(&finding.text));
    }
    page.push_str("</ul>\n");
}

fn figures(report: &Report) -> [(&'static str, &'static str, Chart); 5] {
    [
        (
            "Offered and answered",
            "The dashed line is what clients asked for, when they asked. The areas are what came back, when it came. Where green stays at the \
             line, the server keeps up; where it stays level while the line climbs, the server is full and says so.",
            plots::load(report),
        ),
        (
            "Latency of answers",
            "From the time at which each request was to leave, so that waiting counts even where no request could be sent. Answers only: \
             refusals are quick and would flatter it.",
            plots::latency(report),
        ),
        (
            "Latency by quantile",
            "The whole run without the warm-up. Each step to the right leaves a tenth of the requests. What is not well above the tool's \
             own lateness is not the server's.",
            plots::distribution(report),
        ),
        (
            "In flight",
            "Requests that were sent and not yet answered: queue and service together.",
            plots::in_flight(report),
        ),
        ("The tool's own lateness", "How much later than planned requests left.", plots::lateness(report)),
    ]
}

fn figure(page: &mut String, title: &str, words: &str, chart: &Chart) {
    let _ = write!(page, "<figure><figcaption><h2>{title}</h2><p>{words}</p><div class=\"legend\">");
    for series in &chart.series {
        let rule = if series.base.is_some() { "" } else { " rule" };
        let _ = write!(page, "<span><i class=\"{}{rule}\"></i>{}</span>", series.class, escape(&series.label));
    }
    let _ = write!(page, "</div></figcaption>\n{}</figure>\n", chart.svg());
}

fn table(page: &mut String, title: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let _ = write!(page, "<section><h2>{title}</h2><div class=\"scroll\"><table><tr>");
    for cell in header {
        let _ = write!(page, "<th>{cell}</th>");
    }
    page.push_str("</tr>");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let class = if cell.chars().count() > CELL_CHARS { " class=\"words\"" } else { "" };
            let _ = write!(page, "<td{class}>{}</td>", escape(&cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div></section>\n");
}

fn outcomes(page: &mut String, report: &Report) {
    let totals = &report.totals;
    let all = totals.counts.all().max(1) as f64;
    let rows = totals.counts.some().map(|(outcome, count)| {
        let share = format!("{:.2} %", 100.0 * count as f64 / all);
        let said = report.examples.get(outcome.name()).cloned().unwrap_or_default();
        vec![outcome.label().to_owned(), count.to_string(), share, said]
    });
    table(page, "What became of the requests", &["outcome", "requests", "share", "what the first said"], rows);
}

fn latencies(page: &mut String, report: &Report) {
    let distributions = [
        ("answers", &report.latency),
        ("refusals", &report.refusal_latency),
        ("the tool's own lateness", &report.lateness),
    ];
    let rows = distributions.into_iter().filter_map(|(name, quantiles)| {
        let mut row = vec![name.to_owned()];
        row.extend(cells(quantiles.as_ref()?));
        Some(row)
    });
    table(page, "Latencies", &["", "mean", "p50", "p90", "p99", "p99.9", "max"], rows);
}

fn cells(quantiles: &Quantiles) -> [String; 6] {
    let Quantiles { mean_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns, .. } = *quantiles;
    [mean_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns].map(show)
}

fn functions(page: &mut String, functions: &[FunctionRow]) {
    let rows = functions.iter().map(|FunctionRow { function, qualifier, weight, counts, latency }| {
        let name = qualifier.as_ref().map_or(function.clone(), |qualifier| format!("{function}:{qualifier}"));
        let (ok, refused) = (counts.group(Group::Ok), counts.group(Group::Refused));
        let failed = counts.sent() - ok - refused;
        let mut row = vec![name, weight.to_string()];
        row.extend([counts.sent(), ok, refused, failed].map(|count| count.to_string()));
        row.extend(latency.as_ref().map_or([const { String::new() }; 6], cells));
        row
    });
    let header = ["function", "weight", "sent", "ok", "refused", "failed", "mean", "p50", "p90", "p99", "p99.9", "max"];
    table(page, "By function", &header, rows);
}

fn about(page: &mut String, report: &Report) {
    let (about, totals) = (&report.about, &report.totals);
    let cpus = about.cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let cpus = if cpus.is_empty() { "one thread on any CPU".to_owned() } else { format!("CPU {cpus}") };
    let mut items = vec![
        ("command", about.command.clone()),
        ("machine", format!("{}, {} CPUs, {}", about.machine.cpu, about.machine.cores, about.machine.system)),
        ("load average before", about.machine.load.clone()),
        ("sent from", format!("{cpus}, which was busy {:.0} % of the time", totals.cpu_share * 100.0)),
        ("connections", format!("{} at most, {} allowed", totals.connections, about.connections_max)),
        ("measured", format!("{:.3} s", totals.seconds)),
        ("longest wait", format!("{} s", about.timeout_s)),
        ("seed", about.seed.to_string()),
        ("signed", if about.is_signed { "yes" } else { "no" }.to_owned()),
        ("version", format!("mayfly {}", about.version)),
    ];
    if about.attempts > 1 {
        items.push(("attempts", format!("up to {}, at once", about.attempts)));
    }
    if let Some(seconds) = about.hang_up_after_s {
        items.push(("clients hang up after", format!("{seconds} s")));
    }
    page.push_str("<section><h2>How it was measured</h2><dl>");
    for (name, value) in items {
        let value = escape(&value);
        let value = if name == "command" { format!("<code>{value}</code>") } else { value };
        let _ = write!(page, "<dt>{name}</dt><dd>{value}</dd>");
    }
    page.push_str("</dl></section>\n");
}
