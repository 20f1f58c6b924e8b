//! What is written where, and when.

use crate::driver::Program;
use serde_json::{Value, json};

#[test]
fn all_output_is_written_before_the_answer() {
    let mut program = Program::with_handler(
        "import sys\ndef handler(event, context):
    print('line'); print('no line end', end=''); sys.stderr.write('error'); context.log('logged')",
    );
    program.invoke(&json!({}));
    assert_eq!(program.log(), "line\nno line endlogged");
    assert_eq!(program.standard_error(), "error");
}

#[test]
fn a_line_is_written_even_if_the_function_crashes() {
    let mut program = Program::with_handler("import os\ndef handler(event, context): print('last words'); os.abort()");
    program.invoke(&json!({}));
    assert_eq!(program.exit_status(), None);
    assert_eq!(program.log(), "last words\n");
}

#[test]
fn logging_has_level_time_and_request() {
    let mut program = Program::with_handler(
        "import logging\nlogging.warning('import')\ndef handler(event, context):
    logging.info('unseen'); logging.getLogger('a.b').error('x=%d', 5)
    logging.getLogger().setLevel('INFO'); logging.info('seen')",
    );
    program.invoke(&json!({}));
    let log = program.log();
    let lines: Vec<Vec<&str>> = log.lines().map(|line| line.split('\t').collect()).collect();
    let request_id = "00000000-0000-4000-8000-000000000001";
    let expected = [("[WARNING]", "", "import"), ("[ERROR]", request_id, "x=5"), ("[INFO]", request_id, "seen")];
    assert_eq!(lines.len(), expected.len(), "{log}");
    for (line, (level, request, message)) in lines.iter().zip(expected) {
        let [l, time, r, m] = line[..] else { panic!("{line:?}") };
        assert_eq!((l, r, m), (level, request, message));
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
    }
}

#[test]
fn the_level_can_come_from_the_environment() {
    let mut program =
        Program::start(&[("app.py", "import logging\ndef handler(event, context): logging.debug('seen')")]);
    program.init_with("app.handler", &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]);
    program.invoke(&json!({}));
    assert!(program.log().ends_with("\tseen\n"), "{}", program.log());
}

#[test]
fn an_exception_is_logged_with_its_frames() {
    let mut program = Program::with_handler("def handler(event, context):\n    raise ValueError('no')\n");
    program.invoke(&json!({}));
    assert_eq!(
        program.log(),
        format!(
            "[ERROR] ValueError: no\nTraceback (most recent call last):\n\
             \u{a0}\u{a0}File \"{}/app.py\", line 2, in handler\n\u{a0}\u{a0}\u{a0}\u{a0}raise ValueError('no')\n",
            program.task_root().display()
        )
    );
}

#[test]
fn closed_streams_are_the_functions_own_business() {
    let mut program =
        Program::with_handler("import sys\ndef handler(event, context):\n  sys.stderr.close()\n  return 1");
    assert_eq!(program.invoke(&json!({})).value(), json!(1));
    assert_eq!(program.invoke(&json!({})).value(), json!(1));
}

#[test]
fn the_log_can_be_json() {
    let mut program = Program::start(&[(
        "app.py",
        "import logging\ndef handler(event, context):
    logging.warning('x=%d', 5, extra={'order': 7})
    raise ValueError('no')",
    )]);
    program.init_with("app.handler", &[("AWS_LAMBDA_LOG_FORMAT", "JSON")]);
    program.invoke(&json!({}));
    let log = program.log();
    let mut records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for record in &mut records {
        let time = record["timestamp"].take();
        assert!(time.as_str().is_some_and(|time| time.len() == 20 && time.ends_with('Z')), "{log}");
    }
    let request_id = "00000000-0000-4000-8000-000000000001";
    let frame = crate::driver::frame(&program.task_root(), 4, "handler", "raise ValueError('no')");
    let expected = [
        json!({"timestamp": null, "level": "WARNING", "message": "x=5", "logger": "root", "requestId": request_id, "order": 7}),
        json!({"timestamp": null, "level": "ERROR", "errorMessage": "no", "errorType": "ValueError", "requestId": request_id,
               "stackTrace": [frame]}),
    ];
    assert_eq!(records, expected);
}
