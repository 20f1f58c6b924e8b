//! The program itself: how it starts, how it is told to stop, how it survives a kill, and what it says when it cannot start.

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::live::{ROLE, package, raw};

const MAYFLY: &str = env!("CARGO_BIN_EXE_mayfly");
const FUNCTIONS: &str = "/2015-03-31/functions";
const CODE: &str = "import time\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return event\n";

/// A server in a process of its own; killed if the test forgets it.
struct Server {
    process: Child,
    /// What it had started when it was signalled.
    children: Vec<u32>,
    address: String,
}

impl Server {
    async fn start(data: &Path) -> Server {
        let address = free_address();
        let process = mayfly(&["serve", "--listen", &address, "--shells", "2", "--python", "none", "--data-dir"])
            .arg(data)
            .stderr(Stdio::inherit())
            .spawn()
            .expect("it starts");
        let mut server = Server { process, children: Vec::new(), address };
        let begun = Instant::now();
        while !server.is_ready().await {
            assert!(server.process.try_wait().expect("a status").is_none(), "it ended");
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not get ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    async fn is_ready(&self) -> bool {
        let is_listening = tokio::net::TcpStream::connect(&self.address).await.is_ok();
        is_listening && raw(&self.address, "GET", "/readyz", &[], b"").await.status == 200
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let answer = raw(&self.address, method, path, &[], body.to_string().as_bytes()).await;
        (answer.status, answer.json())
    }

    async fn create(&self, name: &str) -> u16 {
        use base64::Engine as _;
        let zip = base64::engine::general_purpose::STANDARD.encode(package(&[("handler.py", CODE)]));
        let request = json!({
            "FunctionName": name, "Role": ROLE, "Runtime": "rustpython", "Handler": "handler.handler",
            "Code": {"ZipFile": zip}, "Timeout": 30,
        });
        self.ask("POST", FUNCTIONS, &request).await.0
    }

    async fn wait_active(&self, name: &str) {
        let begun = Instant::now();
        loop {
            let (status, function) = self.ask("GET", &format!("{FUNCTIONS}/{name}/configuration"), &Value::Null).await;
            assert_eq!(status, 200, "{name}: {function}");
            match function["State"].as_str() {
                Some("Active") => return,
                Some("Pending") => assert!(begun.elapsed() < Duration::from_secs(60), "{name}: {function}"),
                _ => panic!("{name}: {function}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn invoke(&self, name: &str, event: &Value) -> (u16, Value) {
        self.ask("POST", &format!("{FUNCTIONS}/{name}/invocations"), event).await
    }

    fn signal(&mut self, name: &str) {
        self.children = descendants(self.process.id());
        assert!(!self.children.is_empty(), "there are machines");
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill").success());
    }

    /// Waits for its end, and for that of everything it had started.
    async fn end(mut self) -> Option<i32> {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("a status") {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(45), "it does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        while let Some(left) = self.children.iter().find(|pid| is_alive(**pid)) {
            assert!(begun.elapsed() < Duration::from_secs(60), "process {left} is left behind");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        status.code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mayfly(arguments: &[&str]) -> Command {
    let mut command = Command::new(MAYFLY);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

/// Processes below `pid`.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for task in std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten() {
            let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
            parents.extend(children.clone());
            found.extend(children);
        }
    }
    found
}

/// Whether the process is there, and not just waiting to be buried.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// What a command that fails says: one line, and nothing else.
fn problem(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let problems: Vec<&str> = text.lines().filter(|line| line.starts_with("mayfly: ")).collect();
    assert_eq!(problems.len(), 1, "{text}");
    problems[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_it_finishes_what_runs_and_leaves_nothing_behind() {
    let data = tempfile::tempdir().expect("a directory");
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(data.path()).await;
        server.create("slow").await;
        server.wait_active("slow").await;
        let event = json!({"s": 2});
        let address = server.address.clone();
        let running = tokio::spawn(async move {
            raw(&address, "POST", &format!("{FUNCTIONS}/slow/invocations"), &[], event.to_string().as_bytes()).await
        });
        tokio::time::sleep(Duration::from_millis(800)).await;
        server.signal(signal);
        let answer = running.await.expect("an answer");
        assert_eq!((answer.status, answer.json()), (200, json!({"s": 2})), "{signal}");
        assert_eq!(server.end().await, Some(0), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_during_deploys() {
    let data = tempfile::tempdir().expect("a directory");
    let mut acknowledged = Vec::new();
    for round in 0..4_u64 {
        let mut server = Server::start(data.path()).await;
        // A little later each time, so that each round hits another step of the deploys.
        let until = Instant::now() + Duration::from_millis(40 + 130 * round);
        for number in 0.. {
            if Instant::now() >= until {
                break;
            }
            let name = format!("f-{round}-{number}");
            assert_eq!(server.create(&name).await, 201);
            acknowledged.push(name);
        }
        server.signal("-KILL");
        assert_eq!(server.end().await, None, "it was killed, and its machines ended with it");
    }
    let mut server = Server::start(data.path()).await;
    for name in &acknowledged {
        server.wait_active(name).await;
    }
    let last = acknowledged.last().expect("some were");
    assert_eq!(server.invoke(last, &json!({"a": 1})).await, (200, json!({"a": 1})));
    server.signal("-TERM");
    assert_eq!(server.end().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_in_one_line() {
    let data = tempfile::tempdir().expect("a directory");
    let file = data.path().join("file");
    std::fs::write(&file, "").expect("written");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = holder.local_addr().expect("an address").to_string();
    let (free, inside, absent) = (free_address(), file.join("data"), data.path().join("absent.toml"));
    let typo = data.path().join("typo.toml");
    std::fs::write(&typo, "lisen = 'x'\n").expect("written");
    let path = |path: &PathBuf| path.display().to_string();

    for (arguments, parts) in [
        (vec!["--listen", &taken], ["in use by another program", "--listen"]),
        (vec!["--listen", "300.0.0.1:1"], ["300.0.0.1:1", "--listen"]),
        (vec!["--listen", "192.0.2.1:9"], ["192.0.2.1:9", "--listen"]),
        (vec!["--listen", &free, "--data-dir", &path(&inside)], ["file/data", "--data-dir"]),
        (vec!["--account-id", "12"], ["'12'", "12 digits"]),
        (vec!["--default-state", "cold"], ["'cold'", "reuse or fresh"]),
        (vec!["--config", &path(&absent)], ["absent.toml", "--config"]),
        (vec!["--config", &path(&typo)], ["lisen", "mayfly serve --help"]),
    ] {
        let output = mayfly(&["serve"]).args(&arguments).current_dir(data.path()).output().expect("it runs");
        let problem = problem(&output);
        assert!(parts.iter().all(|part| problem.contains(part)), "{arguments:?}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_at_a_time_has_the_data() {
    let data = tempfile::tempdir().expect("a directory");
    let server = Server::start(data.path()).await;
    let second =
        mayfly(&["serve", "--listen", &free_address(), "--data-dir"]).arg(data.path()).output().expect("it runs");
    let problem = problem(&second);
    assert!(problem.contains("in use by another mayfly") && problem.contains("--data-dir"), "{problem}");
    assert!(server.is_ready().await, "the first one has not noticed");
}

#[test]
fn the_doctor_sees_this_host_and_names_what_is_wrong() {
    let data = tempfile::tempdir().expect("a directory");
    let well =
        mayfly(&["doctor", "--listen", &free_address(), "--data-dir"]).arg(data.path()).output().expect("it runs");
    let text = String::from_utf8_lossy(&well.stdout).into_owned();
    assert_eq!(well.status.code(), Some(0), "{text}");
    assert!(text.contains("This host can run functions.") && text.contains("writable"), "{text}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let ill = mayfly(&["doctor", "--listen", &address, "--data-dir"]).arg(data.path()).output().expect("it runs");
    let text = String::from_utf8_lossy(&ill.stdout).into_owned();
    assert_eq!(ill.status.code(), Some(1), "{text}");
    assert!(text.contains("MISSING") && text.contains("give another with --listen"), "{text}");
}

#[test]
fn clients_name_cause_and_cure() {
    let endpoint = format!("http://{}", free_address());
    for (arguments, parts) in [
        (vec!["list", "--endpoint", &endpoint], ["cannot reach", "mayfly serve"]),
        (vec!["list", "--endpoint", "https://lambda.us-east-1.amazonaws.com"], ["https", "aws lambda"]),
        (vec!["deploy", "/nowhere", "--endpoint", &endpoint], ["/nowhere", "give a folder"]),
        (vec!["invoke", "f", "--file", "/nowhere", "--endpoint", &endpoint], ["/nowhere", "--file"]),
    ] {
        let problem = problem(&mayfly(&arguments).output().expect("it runs"));
        assert!(parts.iter().all(|part| problem.contains(part)), "{arguments:?}: {problem}");
    }
}
