//! Results, exceptions, exits.

use crate::driver::{Answer, Program, frame};
use serde_json::json;

#[test]
fn the_result_is_the_answer() {
    let mut program = Program::with_handler("def handler(event, context): return {'got': event}");
    assert_eq!(program.invoke(&json!({"a": [1, null]})).text(), r#"{"got": {"a": [1, null]}}"#);
}

#[test]
fn no_result_is_null() {
    let mut program = Program::with_handler("def handler(event, context): pass");
    assert_eq!(program.invoke(&json!({})).text(), "null");
}

#[test]
fn bytes_are_passed_on_as_they_are() {
    let mut program = Program::with_handler("def handler(event, context): return bytes([0, 255])");
    assert_eq!(program.invoke(&json!({})), Answer::Response(vec![0, 255]));
}

#[test]
fn an_event_larger_than_the_buffer_arrives_whole() {
    let mut program = Program::with_handler("def handler(event, context): return event");
    let text = "x".repeat(6 << 20);
    assert_eq!(program.invoke(&json!(text)).value(), json!(text));
    assert_eq!(program.invoke(&json!(1)).value(), json!(1));
}

#[test]
fn an_exception_has_class_message_and_only_the_functions_frames() {
    let mut program = Program::with_handler(
        "def inner():\n    raise KeyError('missing')\n\ndef handler(event, context):\n    return inner()\n",
    );
    let root = program.task_root();
    assert_eq!(
        program.invoke(&json!({})).error(),
        json!({
            "errorMessage": "'missing'",
            "errorType": "KeyError",
            "requestId": "00000000-0000-4000-8000-000000000001",
            "stackTrace": [frame(&root, 5, "handler", "return inner()"), frame(&root, 2, "inner", "raise KeyError('missing')")],
        })
    );
    assert_eq!(program.invoke(&json!({})).error()["errorType"], "KeyError", "and the function goes on");
}

#[test]
fn a_result_that_is_not_json_is_a_marshal_error() {
    let mut program = Program::with_handler("def handler(event, context): return {'a': [{1}]}");
    assert_eq!(
        program.invoke(&json!({})).error(),
        json!({
            "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable",
            "errorType": "Runtime.MarshalError",
            "requestId": "00000000-0000-4000-8000-000000000001",
            "stackTrace": [],
        })
    );
}

#[test]
fn an_event_that_is_not_json_is_an_unmarshal_error() {
    let mut program = Program::with_handler("def handler(event, context): return event");
    for payload in [&b"{,"[..], b"", b"\xff", b"[1,]", b"1 2", b"\"\n\"", b"nul", b"\"\\u12\""] {
        let error = program.invoke_bytes(payload).error();
        assert_eq!(error["errorType"], "Runtime.UnmarshalError", "{}", payload.escape_ascii());
        let message = error["errorMessage"].as_str().expect("a message");
        assert!(message.starts_with("Unable to unmarshal input: "), "{message}");
    }
    let error = program.invoke_bytes(b"{,").error();
    assert_eq!(
        error["errorMessage"],
        "Unable to unmarshal input: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    );
}

#[test]
fn endless_recursion_is_an_exception() {
    let mut program = Program::with_handler(
        "import sys\ndef down(): down()\ndef handler(event, context):\n  if event: sys.setrecursionlimit(2**30)\n  down()",
    );
    for no_limit in [false, true] {
        assert_eq!(program.invoke(&json!(no_limit)).error()["errorType"], "RecursionError");
    }
}

#[test]
fn an_exit_is_the_programs() {
    for (source, status) in
        [("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(3)", 3), ("sys.exit('why')", 1), ("os._exit(4)", 4)]
    {
        let mut program = Program::with_handler(&format!("import os, sys\ndef handler(event, context): {source}"));
        assert_eq!(program.invoke(&json!({})), Answer::Gone, "{source}");
        assert_eq!(program.exit_status(), Some(status), "{source}");
    }
}

#[test]
fn what_is_no_exception_ends_the_program() {
    let mut program = Program::with_handler("def handler(event, context): raise BaseException('all over')");
    assert_eq!(program.invoke(&json!({})), Answer::Gone);
    assert_eq!(program.exit_status(), Some(1));
    assert!(program.standard_error().ends_with("BaseException: all over\n"), "{}", program.standard_error());
}

#[test]
fn no_more_events_end_the_program() {
    let mut program = Program::with_handler("def handler(event, context): pass");
    program.close_device();
    assert_eq!(program.exit_status(), Some(0));
}
