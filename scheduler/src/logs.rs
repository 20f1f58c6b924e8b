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

    /// Forgets a function.
    pub(crate) fn forget(&self, function: &str) {
        self.functions.write().unwrap_or_else(PoisonError::into_inner).remove(function);
    }
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
    /// Adds lines, without their ends.
    pub(crate) fn add(
        &self,
        time_ms: u64,
        stream: &Arc<str>,
        request_id: Option<&Arc<str>>,
        lines: impl IntoIterator<Item = String>,
    ) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        for text in lines {
            ring.sequence += 1;
            ring.bytes += text.len();
            let sequence = ring.sequence;
            ring.lines.push_back(Line {
                sequence,
                time_ms,
                request_id: request_id.cloned(),
                stream: stream.clone(),
                text,
            });
        }
        while ring.lines.len() > limits::FUNCTION_LOG_LINES || ring.bytes > limits::FUNCTION_LOG_BYTES {
            let Some(oldest) = ring.lines.pop_front() else { break };
            ring.bytes -= oldest.text.len();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_push_out_the_oldest() {
        let log = FunctionLog::default();
        let stream: Arc<str> = "s".into();
        log.add(1, &stream, None, (0..limits::FUNCTION_LOG_LINES + 5).map(|index| index.to_string()));
        let lines = log.after(0, 3);
        assert_eq!(lines.iter().map(|line| line.sequence).collect::<Vec<_>>(), [6, 7, 8]);
        assert_eq!(lines[0].text, "5");
        assert_eq!(log.after(8, 1)[0].sequence, 9);
        assert!(log.after(u64::MAX, 10).is_empty());
        log.add(2, &stream, None, (0..20).map(|_| "x".repeat(limits::LOG_LINE_BYTES)));
        assert!(log.after(0, usize::MAX).len() <= limits::FUNCTION_LOG_BYTES / limits::LOG_LINE_BYTES);
    }
}
