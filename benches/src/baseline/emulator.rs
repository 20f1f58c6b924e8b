//! AWS's own emulator of Lambda: `aws-lambda-rie`, a part of the wheel of `aws-sam-cli`, around a `python3` with `awslambdaric`, AWS's
//! runtime client. Both come from PyPI, once, into the user's cache.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Unavailable, must};
use crate::http::Client;

const CURE: &str =
    "Let pip reach PyPI, or install awslambdaric and the files of aws-sam-cli's wheel in the folder that is named";
const PROGRAM: &str = "samcli/local/rapid/aws-lambda-rie-x86_64";
/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// Where events are sent.
pub const PATH: &str = "/2015-03-31/functions/function/invocations";

/// The emulator with a handler. Ended when dropped.
pub struct Emulator {
    child: Child,
    address: SocketAddr,
    _handler: tempfile::TempDir,
}

impl Emulator {
    /// Starts it and waits for its first answer. The first time ever it is downloaded, which takes a minute.
    ///
    /// # Errors
    /// If it cannot be had, or does not answer.
    pub fn start(handler: &str) -> Result<Emulator, Unavailable> {
        let folder = cache();
        let failed = |why: String| Unavailable::new(format!("{}: {why}", folder.display()), CURE);
        install(&folder).map_err(&failed)?;
        Emulator::start_in(&folder, handler).map_err(|error| failed(error.to_string()))
    }

    fn start_in(folder: &Path, handler: &str) -> io::Result<Emulator> {
        let code = tempfile::tempdir()?;
        fs::write(code.path().join("handler.py"), handler)?;
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr();
        let (address, runtime) = (free()?, free()?);
        let child = Command::new(folder.join(PROGRAM))
            .args(["--log-level", "error", "--runtime-interface-emulator-address", &address.to_string()])
            .args(["--runtime-api-address", &runtime.to_string()])
            .arg(folder.join("venv/bin/python"))
            .args(["-m", "awslambdaric", "handler.handler"])
            .current_dir(code.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let emulator = Emulator { child, address, _handler: code };
        let start = Instant::now();
        while emulator.client().and_then(|mut client| client.request("POST", PATH, "", b"{}")).is_err() {
            if start.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(emulator)
    }

    /// A new connection.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.address)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The interpreter ends when its runtime API does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("mayfly-benches")
}

fn install(folder: &Path) -> Result<(), String> {
    let python = folder.join("venv/bin/python");
    if folder.join(PROGRAM).exists() && must(Command::new(&python).args(["-c", "import awslambdaric"])).is_ok() {
        return Ok(());
    }
    println!("  (AWS's emulator is downloaded to {})", folder.display());
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let wheels = folder.join("wheels");
    must(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
    must(Command::new(&python).args(["-m", "pip", "install", "--quiet", "awslambdaric"]))?;
    must(
        Command::new(&python)
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "aws-sam-cli", "--dest"])
            .arg(&wheels),
    )?;
    let wheel =
        fs::read_dir(&wheels).map_err(|error| error.to_string())?.flatten().last().ok_or("no wheel of aws-sam-cli")?;
    must(Command::new(&python).args(["-m", "zipfile", "-e"]).args([&wheel.path(), folder]))?;
    must(Command::new("chmod").arg("+x").arg(folder.join(PROGRAM)))?;
    fs::remove_dir_all(wheels).map_err(|error| error.to_string())
}
