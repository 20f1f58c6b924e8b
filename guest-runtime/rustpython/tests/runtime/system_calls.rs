//! One read and one write per invocation.

use crate::driver::Program;
use serde_json::json;
use std::fs;

/// System calls that read or wrote, as the kernel counted them.
fn reads_and_writes(program: &Program) -> (u64, u64) {
    let counts = fs::read_to_string(format!("/proc/{}/io", program.process_id())).expect("Linux counts them");
    let count = |name: &str| {
        let line = counts.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        line.trim().parse().expect("a number")
    };
    (count("syscr:"), count("syscw:"))
}

#[test]
fn an_invocation_reads_once_and_writes_once() {
    const INVOCATIONS: u64 = 100;
    let mut program = Program::with_handler("def handler(event, context): return {'hello': event['name']}");
    program.invoke(&json!({"name": "x"}));
    let before = reads_and_writes(&program);
    for _ in 0..INVOCATIONS {
        program.invoke(&json!({"name": "x"}));
    }
    let after = reads_and_writes(&program);
    assert_eq!(after.1 - before.1, INVOCATIONS);
    // A socket's read is counted when it returns; whether the last one has is a race.
    assert!(after.0 - before.0 <= INVOCATIONS + 1, "{before:?} {after:?}");
}
