//! A platform in a process of its own.

use std::io::{self, Cursor, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};

use crate::http::Client;

/// How long the platform may take until it is ready, and a function until it is active.
const PATIENCE: Duration = Duration::from_secs(120);

/// What runs the functions of a platform.
#[derive(Debug, Clone)]
pub enum Runtime {
    /// The built-in one.
    RustPython,
    /// The host's `python3`, by its name as a runtime.
    CPython(String),
}

impl Runtime {
    /// All that this host has.
    #[must_use]
    pub fn all() -> Vec<Runtime> {
        let version = Command::new("python3")
            .args(["-c", "import sys; print('python%d.%d' % sys.version_info[:2], end='')"])
            .output();
        let cpython = version.ok().filter(|output| output.status.success());
        let cpython = cpython.map(|output| Runtime::CPython(String::from_utf8_lossy(&output.stdout).into_owned()));
        std::iter::once(Runtime::RustPython).chain(cpython).collect()
    }

    /// What a function asks for.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Runtime::RustPython => "rustpython",
            Runtime::CPython(name) => name,
        }
    }

    fn interpreter(&self) -> &'static str {
        match self {
            Runtime::RustPython => "none",
            Runtime::CPython(_) => "python3",
        }
    }
}

/// A running platform. Ended when dropped.
pub struct Platform {
    child: Child,
    /// How it was started.
    serve: Command,
    program: PathBuf,
    address: SocketAddr,
    data_dir: tempfile::TempDir,
    runtime: Runtime,
}

impl Platform {
    /// Starts `program serve` on an empty data directory, with that interpreter of the host, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not start or is not ready in time.
    pub fn start(program: &Path, runtime: Runtime) -> io::Result<Platform> {
        Platform::start_with(program, runtime, &[])
    }

    /// The same, with more options of `serve`. Its threads and machines have the CPUs of the thread that starts it.
    ///
    /// # Errors
    /// As [`Platform::start`].
    pub fn start_with(program: &Path, runtime: Runtime, options: &[&str]) -> io::Result<Platform> {
        let data_dir = tempfile::tempdir()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut serve = Command::new(program);
        serve
            .args(["serve", "--python", runtime.interpreter(), "--listen", &address.to_string(), "--data-dir"])
            .arg(data_dir.path())
            .args(options)
            .env("MAYFLY_LOG", "warn")
            .stdout(Stdio::null());
        let child = serve.spawn()?;
        let platform = Platform { child, serve, program: program.to_owned(), address, data_dir, runtime };
        platform.wait_until_ready()?;
        Ok(platform)
    }

    /// Kills it, starts it again on what it had, and waits until it is ready; returns how long that took.
    ///
    /// # Errors
    /// As [`Platform::start`].
    pub fn restart(&mut self) -> io::Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        let start = Instant::now();
        self.child = self.serve.spawn()?;
        self.wait_until_ready()?;
        Ok(start.elapsed())
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        wait(|| self.client()?.request("GET", "/readyz", "", b"").map(|(status, _)| status == 200))
    }

    /// A new connection.
    ///
    /// # Errors
    /// If the platform does not listen.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }

    /// The process of the server.
    #[must_use]
    pub fn server(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same, for sockets.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The processes of its machines: the children of its only child.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn machines(&self) -> io::Result<Vec<u32>> {
        let zygotes = children(self.child.id())?;
        Ok(zygotes.into_iter().map(children).collect::<io::Result<Vec<_>>>()?.concat())
    }

    /// Where it keeps its files.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.path().to_owned()
    }

    /// Deploys `source` as a function with that state and waits until it is active; returns how long that took.
    ///
    /// # Errors
    /// If the platform refuses.
    pub fn deploy(&self, name: &str, source: &str, state: &str) -> io::Result<Duration> {
        self.deploy_with(name, source, state, &json!({}))
    }

    /// The same, with more members of the request: `MemorySize`, `Timeout`…
    ///
    /// # Errors
    /// If the platform refuses.
    pub fn deploy_with(&self, name: &str, source: &str, state: &str, members: &Value) -> io::Result<Duration> {
        let package = base64::engine::general_purpose::STANDARD.encode(zip(source)?);
        let mut body = json!({
            "FunctionName": name,
            "Runtime": self.runtime.name(),
            "Handler": "handler.handler",
            "Role": "arn:aws:iam::000000000000:role/bench",
            "Code": { "ZipFile": package },
            "Tags": { "mayfly:state": state },
        });
        for (member, value) in members.as_object().into_iter().flatten() {
            body[member] = value.clone();
        }
        let start = Instant::now();
        let mut client = self.client()?;
        let (status, answer) = client.request("POST", "/2015-03-31/functions", "", body.to_string().as_bytes())?;
        if status != 201 {
            return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
        }
        let path = format!("/2015-03-31/functions/{name}/configuration");
        wait(|| {
            let (_, answer) = client.request("GET", &path, "", b"")?;
            let state = serde_json::from_slice::<Value>(&answer)?["State"].clone();
            if state == "Failed" { Err(io::Error::other("the function failed")) } else { Ok(state == "Active") }
        })?;
        Ok(start.elapsed())
    }

    /// Deploys `source` with what pip installs for `requirements`, as users do (`mayfly deploy --requirements`), with 256 MiB; returns how long that took.
    ///
    /// # Errors
    /// If pip or the platform refuses; with what was said.
    pub fn deploy_with_wheels(
        &self,
        name: &str,
        source: &str,
        requirements: &str,
        state: &str,
    ) -> io::Result<Duration> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("handler.py"), source)?;
        std::fs::write(folder.path().join("requirements.txt"), requirements)?;
        let start = Instant::now();
        let output = Command::new(&self.program)
            .args(["deploy", ".", "--requirements", "requirements.txt", "--memory", "256", "--name", name])
            .args(["--state", state, "--endpoint", &self.endpoint()])
            .current_dir(folder.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(start.elapsed()) } else { Err(io::Error::other(said)) }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn children(parent: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{parent}/task"))? {
        let list = std::fs::read_to_string(entry?.path().join("children"))?;
        children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

fn wait(mut is_done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match is_done() {
            Ok(true) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(error),
            _ if start.elapsed() > PATIENCE => return Err(io::ErrorKind::TimedOut.into()),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn zip(source: &str) -> io::Result<Vec<u8>> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("handler.py", zip::write::SimpleFileOptions::default())?;
    archive.write_all(source.as_bytes())?;
    Ok(archive.finish()?.into_inner())
}
