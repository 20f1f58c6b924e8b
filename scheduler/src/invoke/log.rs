//! The log of one invocation: START, the function's lines, END, REPORT.

use std::{fmt::Write as _, iter, sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    clock::{Clock, date},
    configuration::LogFormat,
    invocation::Start,
    limits,
    logs::{FunctionLog, last_lines},
};

/// Collects lines; those that are complete are in the function's log at once.
pub(crate) struct InvocationLog {
    log: Arc<FunctionLog>,
    clock: Clock,
    format: LogFormat,
    stream: Arc<str>,
    request_id: Arc<str>,
    /// What came after the last line end.
    partial: Vec<u8>,
    /// The end of everything so far, at most twice as long as it must be.
    tail: Vec<u8>,
    taken_bytes: usize,
    left_out_bytes: usize,
}

/// What REPORT says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) duration: Duration,
    pub(crate) billed_ms: u64,
    pub(crate) memory_mb: u32,
    pub(crate) memory_peak_bytes: u64,
    pub(crate) start: Start,
    pub(crate) bind: Duration,
    /// Lambda's `Status` and `Error Type`, unless it went well.
    pub(crate) failure: Option<(&'static str, &'static str)>,
}

impl InvocationLog {
    pub(crate) fn new(
        log: Arc<FunctionLog>,
        clock: Clock,
        format: LogFormat,
        stream: &str,
        request_id: &str,
    ) -> InvocationLog {
        InvocationLog {
            log,
            clock,
            format,
            stream: stream.into(),
            request_id: request_id.into(),
            partial: Vec::new(),
            tail: Vec::new(),
            taken_bytes: 0,
            left_out_bytes: 0,
        }
    }

    /// The first line.
    pub(crate) fn start(&mut self, version: &str) {
        let line = match self.format {
            LogFormat::Text => format!("START RequestId: {} Version: {version}", self.request_id),
            LogFormat::Json => {
                self.event("platform.start", &json!({"requestId": &*self.request_id, "version": version}))
            }
        };
        self.say(line);
    }

    /// What the guest wrote, in pieces of any size.
    pub(crate) fn guest(&mut self, bytes: &[u8]) {
        let room = limits::INVOCATION_LOG_BYTES - self.taken_bytes;
        let (taken, left_out) = bytes.split_at(bytes.len().min(room));
        self.taken_bytes += taken.len();
        self.left_out_bytes += left_out.len();
        let complete = taken.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.partial.extend_from_slice(&taken[..complete]);
        if complete > 0 {
            self.say_partial();
        }
        self.partial.extend_from_slice(&taken[complete..]);
    }

    /// A line of the platform's.
    pub(crate) fn say(&mut self, line: String) {
        self.say_all(iter::once(&*line));
    }

    /// How the guest ended, where it was not by an answer.
    pub(crate) fn failure(&mut self, failure: &super::Failure) {
        self.end_of_guest();
        if let Some(diagnosis) = &failure.diagnosis {
            self.say(format!("mayfly: {diagnosis}"));
        }
        let line = match failure.error_type {
            "Sandbox.Timedout" => {
                format!("{} {} {}", timestamp(self.clock.unix_ms()), self.request_id, failure.bare_message())
            }
            kind => format!("{} {kind}", failure.message(&self.request_id)),
        };
        self.say(line);
    }

    /// The last two lines; gives the end of it all.
    pub(crate) fn end(mut self, figures: &Figures) -> Vec<u8> {
        self.end_of_guest();
        let lines = match self.format {
            LogFormat::Text => vec![format!("END RequestId: {}", self.request_id), self.report_text(figures)],
            LogFormat::Json => vec![self.report_json(figures)],
        };
        self.say_all(lines.iter().map(|line| &**line));
        self.cut_tail();
        self.tail
    }

    fn end_of_guest(&mut self) {
        self.say_partial();
        if self.left_out_bytes > 0 {
            let left_out = std::mem::take(&mut self.left_out_bytes);
            self.say(format!("mayfly: the log of this invocation was cut: {left_out} more bytes"));
        }
    }

    fn report_text(&self, figures: &Figures) -> String {
        let mut line = format!(
            "REPORT RequestId: {}\tDuration: {}\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
            self.request_id,
            ms(figures.duration),
            figures.billed_ms,
            figures.memory_mb,
            figures.memory_peak_bytes.div_ceil(1 << 20),
        );
        if figures.start == Start::Bound {
            let _ = write!(line, "Restore Duration: {}\t", ms(figures.bind));
        }
        match figures.failure {
            Some(("timeout", _)) => line.push_str("Status: timeout"),
            Some((status, kind)) => drop(write!(line, "Status: {status}\tError Type: {kind}")),
            None => {}
        }
        line
    }

    fn report_json(&self, figures: &Figures) -> String {
        let mut metrics = json!({
            "durationMs": figures.duration.as_micros() as f64 / 1000.0,
            "billedDurationMs": figures.billed_ms,
            "memorySizeMB": figures.memory_mb,
            "maxMemoryUsedMB": figures.memory_peak_bytes.div_ceil(1 << 20),
        });
        if figures.start == Start::Bound {
            metrics["restoreDurationMs"] = (figures.bind.as_micros() as f64 / 1000.0).into();
        }
        let mut record = json!({"requestId": &*self.request_id, "metrics": metrics});
        record["status"] = figures.failure.map_or("success", |(status, _)| status).into();
        if let Some((_, kind)) = figures.failure {
            record["errorType"] = kind.into();
        }
        self.event("platform.report", &record)
    }

    fn event(&self, kind: &str, record: &serde_json::Value) -> String {
        json!({"time": timestamp(self.clock.unix_ms()), "type": kind, "record": record}).to_string()
    }

    fn say_partial(&mut self) {
        let bytes = std::mem::take(&mut self.partial);
        self.say_all(last_lines(&String::from_utf8_lossy(&bytes)));
    }

    fn say_all<'a>(&mut self, lines: impl Iterator<Item = &'a str> + Clone) {
        for line in lines.clone() {
            // A line that is longer than the tail pushes out everything else: only its end is needed.
            let bytes = line.as_bytes();
            self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(limits::LOG_TAIL_BYTES)..]);
            self.tail.push(b'\n');
            if self.tail.len() > 2 * limits::LOG_TAIL_BYTES {
                self.cut_tail();
            }
        }
        self.log.add(self.clock.unix_ms(), &self.stream, Some(&self.request_id), lines);
    }

    fn cut_tail(&mut self) {
        let excess = self.tail.len().saturating_sub(limits::LOG_TAIL_BYTES);
        self.tail.drain(..excess);
    }
}

fn ms(duration: Duration) -> String {
    let hundredths = duration.as_micros() / 10;
    format!("{}.{:02} ms", hundredths / 100, hundredths % 100)
}

/// Like `2026-01-31T12:00:00.000Z`.
pub(crate) fn timestamp(unix_ms: u64) -> String {
    let (year, month, day) = date(unix_ms);
    let of_day = unix_ms % 86_400_000;
    let (seconds, millis) = (of_day / 1000, of_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{invoke::Failure, machine::Stop};

    const FIGURES: Figures = Figures {
        duration: Duration::from_micros(3012),
        billed_ms: 4,
        memory_mb: 128,
        memory_peak_bytes: (35 << 20) + 1,
        start: Start::Warm,
        bind: Duration::from_micros(6543),
        failure: None,
    };

    fn log(format: LogFormat) -> (Arc<FunctionLog>, InvocationLog) {
        let function = Arc::new(FunctionLog::default());
        (function.clone(), InvocationLog::new(function, Clock::System, format, "stream", "r"))
    }

    fn lines(log: &FunctionLog) -> Vec<String> {
        log.after(0, usize::MAX).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn it_is_as_on_lambda() {
        let (function, mut log) = log(LogFormat::Text);
        log.start("$LATEST");
        log.guest(b"one\ntw");
        log.guest(b"o\nthree");
        let tail = log.end(&FIGURES);
        let wanted = "START RequestId: r Version: $LATEST\none\ntwo\nthree\nEND RequestId: r\n\
                      REPORT RequestId: r\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n";
        assert_eq!(String::from_utf8_lossy(&tail), wanted);
        assert_eq!(lines(&function).join("\n") + "\n", wanted);
    }

    #[test]
    fn a_bound_instance_and_a_failure_are_reported() {
        let (_, mut timed_out) = log(LogFormat::Text);
        timed_out.failure(&Failure::of_stop(&Stop::TimedOut, 3));
        let failure = Some(("timeout", "Sandbox.Timedout"));
        let tail = timed_out.end(&Figures { start: Start::Bound, failure, ..FIGURES });
        let text = String::from_utf8_lossy(&tail);
        assert!(text.contains("Z r Task timed out after 3.00 seconds\nEND"), "{text}");
        assert!(text.ends_with("\tRestore Duration: 6.54 ms\tStatus: timeout\n"), "{text}");

        let (_, mut killed) = log(LogFormat::Text);
        killed.failure(&Failure::of_stop(&Stop::Killed { signal: 11, diagnosis: "page fault at 0".into() }, 3));
        let tail = killed.end(&Figures { failure: Some(("error", "Runtime.ExitError")), ..FIGURES });
        let text = String::from_utf8_lossy(&tail);
        assert!(
            text.starts_with("mayfly: page fault at 0\nRequestId: r Error: Runtime exited with error: signal: segm"),
            "{text}"
        );
        assert!(text.ends_with("\tStatus: error\tError Type: Runtime.ExitError\n"), "{text}");
    }

    #[test]
    fn json_lines_are_json() {
        let (function, mut log) = log(LogFormat::Json);
        log.start("$LATEST");
        log.end(&FIGURES);
        let lines = lines(&function);
        let report: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
        assert_eq!((&report["type"], &report["record"]["status"]), (&json!("platform.report"), &json!("success")));
        assert_eq!(report["record"]["metrics"]["durationMs"], json!(3.012));
    }

    #[test]
    fn a_flood_is_cut() {
        let (function, mut log) = log(LogFormat::Text);
        let line = [b'x'; 999];
        for _ in 0..2000 {
            log.guest(&line);
            log.guest(b"\n");
        }
        let tail = log.end(&FIGURES);
        assert_eq!(tail.len(), limits::LOG_TAIL_BYTES);
        let lines = lines(&function);
        let cut = lines.iter().find(|line| line.starts_with("mayfly: ")).expect("it says so");
        assert_eq!(
            cut,
            &format!(
                "mayfly: the log of this invocation was cut: {} more bytes",
                2_000_000 - limits::INVOCATION_LOG_BYTES
            )
        );
        assert!(lines.iter().map(String::len).sum::<usize>() < limits::INVOCATION_LOG_BYTES + 1000);
    }

    #[test]
    fn no_more_lines_are_taken_than_are_kept() {
        let (function, mut log) = log(LogFormat::Text);
        log.guest(&vec![b'\n'; limits::INVOCATION_LOG_BYTES]);
        log.end(&FIGURES);
        let kept = function.after(0, usize::MAX);
        assert_eq!(kept.len(), limits::FUNCTION_LOG_LINES);
        // END and REPORT have pushed out two.
        assert_eq!((kept[0].sequence, &*kept[0].text), (3, ""));
    }

    #[test]
    fn a_line_without_end_is_split() {
        let (function, mut log) = log(LogFormat::Text);
        log.guest(&vec![b'x'; limits::LOG_LINE_BYTES + 10]);
        log.end(&FIGURES);
        let lengths: Vec<_> = lines(&function).iter().map(String::len).collect();
        assert_eq!(lengths[..2], [limits::LOG_LINE_BYTES, 10]);
        assert_eq!(timestamp(1_769_860_800_123), "2026-01-31T12:00:00.123Z");
    }
}
