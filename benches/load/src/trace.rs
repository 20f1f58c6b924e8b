//! A recorded load, to be sent again: a text file with a line per request.
//!
//! `seconds` or `seconds,function`; or, with a header that names them, the columns `at_s` and `function` among any others:
//! the `requests.csv` of a run can be replayed as it is. Lines that are empty or begin with `#` do not count.

use std::time::Duration;

use crate::target::Target;

/// Most requests: 24 bytes each.
const ENTRIES_MAX: usize = 20_000_000;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When, from the begin of the trace.
    pub at: Duration,
    /// Index of its function, if the trace names one.
    pub target: Option<usize>,
}

/// Requests in the order of their times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// The requests.
    pub entries: Vec<Entry>,
}

impl Trace {
    /// Reads a trace. Functions that are not among `targets` are added to them, with the event and qualifier of `template`.
    /// Times are divided by `speed`.
    ///
    /// # Errors
    /// A line is something else. One sentence, with its number.
    pub fn parse(text: &str, speed: f64, targets: &mut Vec<Target>, template: &Target) -> Result<Trace, String> {
        let mut columns = Columns { at: 0, function: Some(1), attempt: None };
        let mut entries = Vec::new();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        for (position, (number, line)) in lines.enumerate() {
            if position == 0
                && let Some(header) = Columns::of_header(line)
            {
                columns = header;
                continue;
            }
            let cells: Vec<&str> = line.split(',').map(str::trim).collect();
            if columns.attempt.and_then(|column| cells.get(column)).is_some_and(|&attempt| attempt != "0") {
                continue;
            }
            let seconds = cells.get(columns.at).and_then(|cell| cell.parse::<f64>().ok()).unwrap_or(f64::NAN);
            let at = Duration::try_from_secs_f64(seconds / speed)
                .map_err(|_| format!("line {number} of the trace does not begin with seconds: '{line}'"))?;
            let function = columns.function.and_then(|column| cells.get(column)).filter(|name| !name.is_empty());
            entries.push(Entry { at, target: function.map(|name| index(name, targets, template)) });
            if entries.len() > ENTRIES_MAX {
                return Err(format!("the trace has more than {ENTRIES_MAX} requests; cut it"));
            }
        }
        if entries.is_empty() {
            return Err("the trace has no requests".to_owned());
        }
        // Stable: requests of one moment stay in the order of the file.
        entries.sort_by_key(|entry| entry.at);
        Ok(Trace { entries })
    }

    /// Time of the last request.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.entries.last().map_or(Duration::ZERO, |entry| entry.at)
    }
}

struct Columns {
    at: usize,
    function: Option<usize>,
    /// Only first attempts are arrivals; whether there are others depends on the answers.
    attempt: Option<usize>,
}

impl Columns {
    fn of_header(line: &str) -> Option<Columns> {
        let find = |wanted: &str| line.split(',').position(|name| name.trim() == wanted);
        Some(Columns { at: find("at_s")?, function: find("function"), attempt: find("attempt") })
    }
}

fn index(name: &str, targets: &mut Vec<Target>, template: &Target) -> usize {
    targets.iter().position(|target| target.function == name).unwrap_or_else(|| {
        targets.push(Target { function: name.to_owned(), ..template.clone() });
        targets.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Milliseconds and functions of the requests, and the names of the functions.
    type Parsed = (Vec<(u64, Option<usize>)>, Vec<String>);

    fn parse(text: &str, speed: f64) -> Result<Parsed, String> {
        let mut targets = vec![Target::new("a")];
        let trace = Trace::parse(text, speed, &mut targets, &Target::new(""))?;
        let entries = trace.entries.iter().map(|entry| (entry.at.as_millis() as u64, entry.target)).collect();
        Ok((entries, targets.into_iter().map(|target| target.function).collect()))
    }

    #[test]
    fn what_is_read() {
        let (entries, targets) = parse("# mine\n0.5,b\n\n0.25\n0.25, a\n", 1.0).expect("a trace");
        assert_eq!(entries, [(250, None), (250, Some(0)), (500, Some(1))]);
        assert_eq!(targets, ["a", "b"]);

        let (entries, _) = parse("number,at_s,attempt,function\n7,3.0,0,a\n7,3.0,1,a\n", 2.0).expect("a trace");
        assert_eq!(entries, [(1500, Some(0))]);
        for text in ["", "# only words", "x", "1\n-1", "nan", "at_s,function\na,1"] {
            assert!(parse(text, 1.0).is_err(), "{text}");
        }
    }
}
