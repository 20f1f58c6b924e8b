//! The last log lines of each function, in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use crate::{invocation::LogLine, limits};

/// The logs of all functions.
#[derive(Default)]
pub(crate) struct Logs {
    functions: RwLock<HashMap<String, Arc<FunctionLog>>>,
}

impl Logs {
    /// The log of a function, from now on.
    pub(crate) fn of(&self, function: &str) -> Arc<FunctionLog> {
        let known = self.functions.read().unwrap_or_else(PoisonError::into_inner).get(function).cloned();
        known.unwrap_or_else(|| {
            let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
            functions.entry(function.to_owned()).or_default().clone()
        })
    }

    /// Forgets a function, unless it is still there, or there anew.
    pub(crate) fn forget_unless(&self, function: &str, is_there: impl FnOnce() -> bool) {
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        if !is_there() {
            functions.remove(function);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.functions.read().expect("not poisoned").len()
    }
}

/// The last lines of what a guest wrote, as many as a function's log has.
pub(crate) fn last_lines(text: &str) -> impl Iterator<Item = &str> + Clone {
    let mut ends = text.strip_suffix('\n').unwrap_or(text).rmatch_indices('\n');
    let start = ends.nth(limits::FUNCTION_LOG_LINES - 1).map_or(0, |(end, _)| end + 1);
    text[start..].split_terminator('\n')
}

/// The log of one function: the newest lines push out the oldest.
#[derive(Default)]
pub(crate) struct FunctionLog {
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Of the newest line.
    sequence: u64,
}

struct Line {
    sequence: u64,
    time_ms: u64,
    request_id: Option<Arc<str>>,
    stream: Arc<str>,
    text: String,
}

impl FunctionLog {
    /// Adds lines, without their ends. Those that are too long are split.
    pub(crate) fn add<'a>(
        &self,
        time_ms: u64,
        stream: &Arc<str>,
        request_id: Option<&Arc<str>>,
        lines: impl IntoIterator<Item = &'a str>,
    ) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for mut rest in lines {
            loop {
                let (text, more) = rest.split_at(rest.floor_char_boundary(limits::LOG_LINE_BYTES));
                ring.push(time_ms, stream, request_id, text);
                if more.is_empty() {
                    break;
                }
                rest = more;
            }
        }
    }

    /// At most `limit` lines whose sequence is above `after`, oldest first.
    pub(crate) fn after(&self, after: u64, limit: usize) -> Vec<LogLine> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let start = ring.lines.partition_point(|line| line.sequence <= after);
        let lines = ring.lines.range(start..).take(limit);
        lines
            .map(|line| LogLine {
                sequence: line.sequence,
                time_ms: line.time_ms,
                request_id: line.request_id.as_deref().map(str::to_owned),
                stream: line.stream.to_string(),
                text: line.text.clone(),
            })
            .collect()
    }
}

impl Ring {
    /// What must go for it goes at once, so that the ring never has room for more than it may hold.
    fn push(&mut self, time_ms: u64, stream: &Arc<str>, request_id: Option<&Arc<str>>, text: &str) {
        self.sequence += 1;
        self.bytes += text.len();
        self.lines.push_back(Line {
            sequence: self.sequence,
            time_ms,
            request_id: request_id.cloned(),
            stream: stream.clone(),
            text: text.to_owned(),
        });
        while self.lines.len() > limits::FUNCTION_LOG_LINES || self.bytes > limits::FUNCTION_LOG_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_push_out_the_oldest() {
        let log = FunctionLog::default();
        let stream: Arc<str> = "s".into();
        let numbers: Vec<_> = (0..limits::FUNCTION_LOG_LINES + 5).map(|index| index.to_string()).collect();
        log.add(1, &stream, None, numbers.iter().map(String::as_str));
        let lines = log.after(0, 3);
        assert_eq!(lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), [6, 7, 8]);
        assert_eq!(lines[0].text, "5");
        assert_eq!(log.after(8, 1)[0].sequence, 9);
        assert!(log.after(u64::MAX, 10).is_empty());
        log.add(2, &stream, None, [&*"x".repeat(limits::LOG_LINE_BYTES); 20]);
        assert!(log.after(0, usize::MAX).len() <= limits::FUNCTION_LOG_BYTES / limits::LOG_LINE_BYTES);
    }

    #[test]
    fn many_lines_at_once_leave_no_more_room_than_is_needed() {
        let log = FunctionLog::default();
        log.add(1, &"s".into(), None, std::iter::repeat_n("", limits::INVOCATION_LOG_BYTES));
        let ring = log.ring.lock().expect("not poisoned");
        assert_eq!(ring.lines.len(), limits::FUNCTION_LOG_LINES);
        assert!(ring.lines.capacity() <= 2 * limits::FUNCTION_LOG_LINES, "{}", ring.lines.capacity());
    }

    #[test]
    fn long_lines_are_split_between_characters() {
        let log = FunctionLog::default();
        let long = format!("x{}", "é".repeat(limits::LOG_LINE_BYTES / 2));
        log.add(1, &"s".into(), None, [&*long, "", "next"]);
        let lines: Vec<_> = log.after(0, 10).into_iter().map(|line| line.text).collect();
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [limits::LOG_LINE_BYTES - 1, 2, 0, 4]);
        assert_eq!(lines.concat(), long + "next");
    }

    #[test]
    fn the_last_lines_are_taken() {
        let lines = |text: &str| last_lines(text).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(""), [""; 0]);
        assert_eq!(lines("\n"), [""]);
        assert_eq!(lines("a\n\nb"), ["a", "", "b"]);
        assert_eq!(lines("a\r\nb\n"), ["a\r", "b"]);
        let fits = "x\n".repeat(limits::FUNCTION_LOG_LINES);
        assert_eq!(lines(&fits).len(), limits::FUNCTION_LOG_LINES);
        let last = lines(&format!("first\n{}last", "\n".repeat(limits::FUNCTION_LOG_LINES)));
        assert_eq!((last.len(), &*last[0], &*last[last.len() - 1]), (limits::FUNCTION_LOG_LINES, "", "last"));
    }
}
