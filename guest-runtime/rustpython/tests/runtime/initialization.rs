//! Finding the handler, and every way not to.

use crate::driver::{Answer, Program, frame};
use serde_json::{Value, json};

#[track_caller]
fn init_error(files: &[(&str, &str)], handler: &str) -> Value {
    Program::start(files).init(handler).error()
}

fn error(error_type: &str, message: &str) -> Value {
    json!({"errorType": error_type, "errorMessage": message, "requestId": "", "stackTrace": []})
}

#[test]
fn a_module_that_is_not_there() {
    assert_eq!(
        init_error(&[], "app.handler"),
        error("Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'")
    );
}

#[test]
fn a_module_that_imports_what_is_not_there() {
    assert_eq!(
        init_error(&[("app.py", "import requests")], "app.handler"),
        error("Runtime.ImportModuleError", "Unable to import module 'app': No module named 'requests'")
    );
}

#[test]
fn a_handler_that_is_not_there() {
    assert_eq!(
        init_error(&[("app.py", "")], "app.handler"),
        error("Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'")
    );
}

#[test]
fn a_handler_without_a_module() {
    assert_eq!(
        init_error(&[("app.py", "")], "handler"),
        error("Runtime.MalformedHandlerName", "Bad handler 'handler': not enough values to unpack (expected 2, got 1)")
    );
}

#[test]
fn a_module_named_as_a_builtin_one() {
    assert_eq!(
        init_error(&[("sys.py", "")], "sys.handler"),
        error("Runtime.BuiltInModuleConflict", "Cannot use built-in module sys as a handler module")
    );
}

#[test]
fn a_syntax_error() {
    let mut program = Program::start(&[("app.py", "x = 1\ndef handler(event, context) return 1\n")]);
    let path = program.task_root().join("app.py");
    let error = program.init("app.handler").error();
    assert_eq!(error["errorType"], "Runtime.UserCodeSyntaxError");
    let message = error["errorMessage"].as_str().expect("a message");
    assert!(
        message.starts_with("Syntax error in module 'app': ") && message.ends_with("(app.py, line 2)"),
        "{message}"
    );
    let trace = format!("  File \"{}\" Line 2\n    def handler(event, context) return 1\n", path.display());
    assert_eq!(error["stackTrace"], json!([trace]));
}

#[test]
fn an_exception_while_importing_keeps_its_class() {
    let mut program = Program::start(&[("app.py", "def f():\n    raise ValueError('no')\nf()\n")]);
    let root = program.task_root();
    let expected = json!({
        "errorType": "ValueError",
        "errorMessage": "no",
        "requestId": "",
        "stackTrace": [frame(&root, 3, "<module>", "f()"), frame(&root, 2, "f", "raise ValueError('no')")],
    });
    assert_eq!(program.init("app.handler").error(), expected);
    assert_eq!(program.invoke(&json!({})).error(), expected, "an invocation has nothing else to say");
}

#[test]
fn an_exit_while_importing_is_the_programs() {
    let mut program = Program::start(&[("app.py", "import sys; sys.exit(5)")]);
    assert_eq!(program.init("app.handler"), Answer::Gone);
    assert_eq!(program.exit_status(), Some(5));
}

#[test]
fn handlers_in_packages() {
    let files = [
        ("pkg/__init__.py", ""),
        ("pkg/inner.py", "from . import other\ndef handler(event, context): return other.VALUE"),
        ("pkg/other.py", "VALUE = 5"),
    ];
    for handler in ["pkg.inner.handler", "pkg/inner.handler"] {
        let mut program = Program::start(&files);
        assert_eq!(program.init(handler), Answer::InitOk);
        assert_eq!(program.invoke(&json!({})).value(), json!(5));
    }
}

#[test]
fn the_environment_is_the_functions() {
    let mut program = Program::start(&[(
        "app.py",
        "import os, sys\nAT_IMPORT = os.environ.get('KEY')\n\
         def handler(event, context): return [AT_IMPORT, sorted(os.environ), os.getcwd(), sys.path[0]]",
    )]);
    assert_eq!(program.init_with("app.handler", &[("KEY", "välue")]), Answer::InitOk);
    let root = program.task_root();
    assert_eq!(
        program.invoke(&json!({})).value(),
        json!(["välue", ["AWS_LAMBDA_FUNCTION_NAME", "KEY", "LAMBDA_TASK_ROOT", "TZ"], root, root])
    );
}
