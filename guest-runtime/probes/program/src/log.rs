//! Standard output and error, which are the log.

use std::io::Write;

use crate::Probe;

pub const PROBES: &[(&str, Probe)] = &[("log", Probe::Each(log))];

/// Writes numbered lines until there are as many bytes as the payload says.
fn log(payload: &[u8]) -> Vec<u8> {
    let wanted = crate::word(payload) as usize;
    let mut text = Vec::with_capacity(wanted + 64);
    let mut line = 0;
    while text.len() < wanted {
        writeln!(text, "line {line:08} of a long log").expect("memory");
        line += 1;
    }
    text.truncate(wanted);
    std::io::stdout().lock().write_all(&text).expect("stdout");
    std::io::stdout().flush().expect("stdout");
    b"ok".to_vec()
}
