//! A handler in a container: `runc` over a bundle that has the host's libraries and interpreter, read-only, and new namespaces.

use std::{
    fs, io,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use super::{
    Unavailable, must,
    process::{Process, SERVE, Served},
};

const CURE: &str = "Install runc (apt install runc) and run as root";
/// What of the host programs need.
const OF_THE_HOST: [&str; 4] = ["/usr", "/lib", "/lib64", "/bin"];

/// A bundle that containers can be made of.
pub struct Containers {
    bundle: tempfile::TempDir,
    /// Has the handler.
    _process: Process,
    made: AtomicUsize,
}

/// A container whose process serves. Ended when dropped.
pub struct Container {
    served: Served,
    id: String,
}

impl Containers {
    /// Makes the bundle, and a first container to see whether that works.
    ///
    /// # Errors
    /// If it does not.
    pub fn new(handler: &str) -> Result<Containers, Unavailable> {
        let process = Process::new(handler)?;
        let bundle = tempfile::tempdir().map_err(|error| Unavailable::new(error.to_string(), CURE))?;
        must(Command::new("runc").arg("spec").current_dir(bundle.path())).map_err(|why| Unavailable::new(why, CURE))?;
        configure(&bundle, &process).map_err(|error| Unavailable::new(error.to_string(), CURE))?;
        let containers = Containers { bundle, _process: process, made: AtomicUsize::default() };
        let answered = containers.start().and_then(|mut first| first.ask("{}"));
        answered.map_err(|error| Unavailable::new(format!("runc cannot start a container here ({error})"), CURE))?;
        Ok(containers)
    }

    /// Starts one. `runc` itself has ended by then: what stays is the container.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> io::Result<Container> {
        let id = format!("mayfly-{}-{}", std::process::id(), self.made.fetch_add(1, Ordering::Relaxed));
        let served =
            Served::start(Command::new("runc").args(["run", "--detach", "--bundle"]).arg(self.bundle.path()).arg(&id))?;
        let mut container = Container { served, id };
        if container.served.child.wait()?.success() { Ok(container) } else { Err(io::Error::other("runc failed")) }
    }
}

impl Container {
    /// An event, and its answer.
    ///
    /// # Errors
    /// If the container has ended.
    pub fn ask(&mut self, event: &str) -> io::Result<String> {
        self.served.ask(event)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "--force", &self.id]).output();
    }
}

/// What `runc spec` proposes, with our process, and without what a minimal container does not need.
fn configure(bundle: &tempfile::TempDir, process: &Process) -> io::Result<()> {
    let path = bundle.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let own = [process.interpreter().prefix.display().to_string(), process.folder().display().to_string()];
    let shared =
        OF_THE_HOST.iter().map(ToString::to_string).filter(|path| fs::exists(path).unwrap_or(false)).chain(own);
    let shared =
        shared.map(|path| json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"] }));
    let usual = config["mounts"].as_array().cloned().unwrap_or_default();
    let usual = usual.into_iter().filter(|mount| mount["destination"] == "/proc" || mount["destination"] == "/dev");
    config["mounts"] = shared.chain(usual).collect();
    config["root"] = json!({ "path": "rootfs", "readonly": true });
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!([process.interpreter().program, "-S", "-E", "-c", SERVE, process.folder()]);
    fs::create_dir(bundle.path().join("rootfs"))?;
    fs::write(path, config.to_string())
}
