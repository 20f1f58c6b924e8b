//! Starts the program with a function and talks to it.

use serde_json::{Value, json};
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(crate) const INIT: u32 = 1;
pub(crate) const INVOKE: u32 = 2;
pub(crate) const FLAG_RESTORED: u32 = 1;

const INIT_OK: u32 = 1;
const RESPONSE: u32 = 2;
const ERROR: u32 = 3;

/// Nothing here takes as long; a test that does hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came back for an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    InitOk,
    Response(Vec<u8>),
    Error(Value),
    /// The program ended instead.
    Gone,
}

impl Answer {
    #[track_caller]
    pub(crate) fn text(self) -> String {
        match self {
            Self::Response(payload) => String::from_utf8(payload).expect("a result is UTF-8"),
            other => panic!("no response: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn value(self) -> Value {
        serde_json::from_str(&self.text()).expect("a result is JSON")
    }

    #[track_caller]
    pub(crate) fn error(self) -> Value {
        match self {
            Self::Error(error) => error,
            other => panic!("no error: {other:?}"),
        }
    }
}

/// A running program.
pub(crate) struct Program {
    process: Child,
    device: UnixStream,
    folder: PathBuf,
}

impl Program {
    /// Starts it with these files in the task root; `app.py` is the handler's module. It waits for its first event.
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mayfly-rustpython-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("task")).expect("a temporary folder");
        for (name, content) in files {
            let path = folder.join("task").join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a temporary folder");
            fs::write(path, content).expect("a temporary file");
        }
        let listener = UnixListener::bind(folder.join("device")).expect("a socket");
        let process = Command::new(env!("CARGO_BIN_EXE_mayfly-rustpython"))
            .env_clear()
            .env("MAYFLY_EVENT_DEVICE", folder.join("device"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("stdout")).expect("a temporary file"))
            .stderr(fs::File::create(folder.join("stderr")).expect("a temporary file"))
            .spawn()
            .expect("the program starts");
        let (device, _) = listener.accept().expect("the program connects");
        device.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Self { process, device, folder }
    }

    /// Starts it with this `app.py` and initializes it.
    #[track_caller]
    pub(crate) fn with_handler(source: &str) -> Self {
        let mut program = Self::start(&[("app.py", source)]);
        assert_eq!(program.init("app.handler"), Answer::InitOk);
        program
    }

    /// Where `app.py` is.
    pub(crate) fn task_root(&self) -> PathBuf {
        self.folder.join("task")
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn init(&mut self, handler: &str) -> Answer {
        self.init_with(handler, &[])
    }

    pub(crate) fn init_with(&mut self, handler: &str, environment: &[(&str, &str)]) -> Answer {
        let mut variables =
            json!({"LAMBDA_TASK_ROOT": self.task_root(), "TZ": ":UTC", "AWS_LAMBDA_FUNCTION_NAME": "f"});
        for (name, value) in environment {
            variables[name] = json!(value);
        }
        let meta = json!({
            "handler": handler,
            "environment": variables,
            "function_name": "f",
            "function_version": "7",
            "memory_limit_in_mb": "128",
            "log_group_name": "/aws/lambda/f",
            "log_stream_name": "before",
        });
        self.send(INIT, 0, &meta, b"")
    }

    pub(crate) fn invoke(&mut self, event: &Value) -> Answer {
        self.invoke_bytes(event.to_string().as_bytes())
    }

    pub(crate) fn invoke_bytes(&mut self, payload: &[u8]) -> Answer {
        self.send(INVOKE, 0, &invocation_meta(), payload)
    }

    /// Sends a record and waits for the answer.
    pub(crate) fn send(&mut self, kind: u32, flags: u32, meta: &Value, payload: &[u8]) -> Answer {
        let meta = meta.to_string();
        let mut record = Vec::new();
        for field in [kind, flags, meta.len() as u32, payload.len() as u32] {
            record.extend_from_slice(&field.to_le_bytes());
        }
        record.extend_from_slice(meta.as_bytes());
        record.extend_from_slice(payload);
        self.device.write_all(&record).expect("the program reads");
        self.receive().unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Answer::Gone,
            _ => panic!("no answer: {error}"),
        })
    }

    fn receive(&mut self) -> io::Result<Answer> {
        let mut header = [0; 16];
        self.device.read_exact(&mut header)?;
        let [kind, flags, meta_bytes, payload_bytes] =
            [0, 4, 8, 12].map(|at| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes")));
        assert_eq!((flags, meta_bytes), (0, 0));
        let mut payload = vec![0; payload_bytes as usize];
        self.device.read_exact(&mut payload)?;
        Ok(match kind {
            INIT_OK => Answer::InitOk,
            RESPONSE => Answer::Response(payload),
            ERROR => Answer::Error(serde_json::from_slice(&payload).expect("an error is JSON")),
            other => panic!("unknown answer {other}"),
        })
    }

    /// What was written to the log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("stdout")).expect("the log is UTF-8")
    }

    pub(crate) fn standard_error(&self) -> String {
        fs::read_to_string(self.folder.join("stderr")).expect("the log is UTF-8")
    }

    /// Waits for the end of the program, which must have a reason to end; returns its exit status.
    pub(crate) fn exit_status(&mut self) -> Option<i32> {
        self.process.wait().expect("it can be waited for").code()
    }

    /// Takes the event device away, as a kernel that has no more events.
    pub(crate) fn close_device(&self) {
        self.device.shutdown(std::net::Shutdown::Both).expect("it is open");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The meta of an ordinary invocation.
pub(crate) fn invocation_meta() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    json!({
        "request_id": "00000000-0000-4000-8000-000000000001",
        "deadline_ms": now.as_millis() as u64 + 3_000,
        "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:f",
        "client_context": null,
        "identity": null,
        "trace_id": null,
        "tenant_id": null,
    })
}

/// The frame of a stack trace in `app.py`.
pub(crate) fn frame(task_root: &Path, line: u32, function: &str, source: &str) -> String {
    format!("  File \"{}/app.py\", line {line}, in {function}\n    {source}\n", task_root.display())
}
