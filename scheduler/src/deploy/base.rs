//! A base: an interpreter that has come up, as images and a snapshot on which the functions of a runtime stand.
//!
//! Made once per image and loaded at later starts. What it is made from names it: the images, the command, and what the host's
//! machines are.

use std::{path::Path, path::PathBuf, sync::Arc};

use mayfly_abi::layout::MEMORY_MIN_BYTES;
use sha2::{Digest, Sha256};

use super::{DeployError, Deployer, blocking, files, hex};
use crate::{
    catalog::{Directory, image_name, snapshot_name},
    configuration::Configuration,
    image::{self, ImageError, Tree},
    invoke::{InitMeta, InvokeMeta},
    limits,
    machine::{Binding, Command, Image, Report, Snapshot, Stop, carry_out, report},
    pool::{Primed, Rehearsal},
    runtime::{ENVIRONMENT, Executor, PYTHON_SIDE, RuntimeRecord},
    settings::Settings,
};

/// Path of the built-in program in the guest.
const RUSTPYTHON: &str = "/opt/mayfly/rustpython";
/// Where the Python side of CPython runtimes is in the guest.
const PYTHON_SIDE_ROOT: &str = "/opt/mayfly/python";
/// What a CPython runs there. No variable of a function's is meant for the interpreter, and no bytecode can be kept.
const CPYTHON_ARGUMENTS: &[&str] = &["-s", "-B", "-X", "utf8", "/opt/mayfly/python/bootstrap.py"];
/// Fixed, for all clones of a snapshot would share a random seed too: what an attacker can learn from one machine about the order
/// of its own sets is of no use against another invocation's.
const CPYTHON_ENVIRONMENT: &[&str] = &["PYTHONHASHSEED=0", LIBRARY_PATH];
/// Where libraries of layers are found. The loader reads it when the interpreter starts, so a function's own comes too late. Those of the
/// runtime go first, as on Lambda; what is not among these directories (an interpreter's own) is still found after them.
const LIBRARY_PATH: &str =
    "LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib64:/usr/lib64:/lib:/usr/lib:/opt/lib";
/// A directory that is not there when the interpreter starts is never looked at again.
const LAYERS_LIBRARIES: &str = "/opt/lib";
/// Its `/tmp` until a function is bound.
const TMP_BYTES: u64 = 512 << 20;

/// What a base is made from.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Names the base.
    pub(super) key: String,
    /// From the bottom up; later files hide earlier ones.
    images: Vec<PathBuf>,
    command: Vec<String>,
    environment: Vec<&'static str>,
}

/// A base, ready to be bound.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) images: Vec<Arc<Image>>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Shells that are bound to it ahead of time.
    pub(crate) primed: Arc<Primed>,
    /// Names what both were made from.
    pub(crate) key: String,
}

impl Plan {
    /// The plan for what runs a function; `None` where an image has to be made first.
    pub(super) fn of(deployer: &Deployer, executor: &Executor) -> Option<Plan> {
        let (directory, environment) = (&deployer.directory, ENVIRONMENT.iter().copied());
        let (images, command, environment): (_, Vec<&str>, Vec<_>) = match executor {
            Executor::Unpacked(_) => return None,
            Executor::RustPython { .. } => {
                (vec![directory.image(&program_sha256_hex(deployer.program))], vec![RUSTPYTHON], environment.collect())
            }
            Executor::Packed(record) => {
                let images = vec![deployer.offer.runtimes.image(record), directory.image(&python_side_sha256_hex())];
                let mut command = vec![executable(record)];
                command.extend(CPYTHON_ARGUMENTS);
                (images, command, environment.chain(CPYTHON_ENVIRONMENT.iter().copied()).collect())
            }
        };
        let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
        let key = key(&images, &command, &environment, &deployer.host.build());
        Some(Plan { key, images, command, environment })
    }

    /// Names of its files that are ours to remove.
    pub(super) fn file_names(&self) -> impl Iterator<Item = String> {
        let images = self.images.iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        images.chain([snapshot_name(&self.key)])
    }
}

/// Path of the interpreter; the image could not have been made if it were no text.
fn executable(record: &RuntimeRecord) -> &str {
    record.executable.to_str().unwrap_or_default()
}

/// Name of the snapshot. The names of images are hashes of what is in them.
fn key(images: &[PathBuf], command: &[String], environment: &[&str], build: &str) -> String {
    let mut hash = Sha256::new();
    let images = images.iter().filter_map(|path| path.file_name()).map(|name| name.as_encoded_bytes());
    let command = command.iter().map(String::as_bytes).chain(environment.iter().map(|variable| variable.as_bytes()));
    for part in images.chain(command).chain([build.as_bytes()]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update(image::BUILD.to_le_bytes());
    format!("runtime-{}", hex(&hash.finalize()))
}

/// Loads a base, or makes it.
pub(super) async fn prepare(deployer: &Deployer, plan: &Plan) -> Result<Base, DeployError> {
    let (program, directory, host) = (deployer.program, deployer.directory.clone(), deployer.host.clone());
    let paths = plan.images.clone();
    let images = blocking(move || {
        write_images(program, &directory, &paths)?;
        paths.iter().map(|path| host.open_image(path)).collect::<Result<Vec<_>, _>>()
    });
    let images = images.await?;
    let path = deployer.directory.snapshot(&plan.key);
    let snapshot = match files::open_snapshot(deployer, &path).await {
        Some(snapshot) => snapshot,
        None => {
            boot(deployer, plan, &images, &path).await?;
            files::open_snapshot(deployer, &path)
                .await
                .ok_or_else(|| DeployError("the runtime snapshot that was just written cannot be opened".into()))?
        }
    };
    let images: Vec<_> = images.into_iter().map(Arc::new).collect();
    let snapshot = Arc::new(snapshot);
    let binding = Binding {
        base: snapshot.clone(),
        top: None,
        working_set: Arc::default(),
        images: images.clone(),
        memory_bytes: MEMORY_MIN_BYTES,
        tmp_bytes: TMP_BYTES,
        primed: None,
    };
    let settings = &deployer.settings;
    let primed = Primed::new(deployer.dispatcher.pool.clone(), binding, rehearsal(settings), settings.shells);
    Ok(Base { images, snapshot, primed: Arc::new(primed), key: plan.key.clone() })
}

/// A function of the standard library that takes an event and a context, and has no effect.
pub(crate) const REHEARSED: &str = "operator.is_";

fn rehearsal(settings: &Settings) -> Rehearsal {
    let configuration = Configuration { handler: REHEARSED.into(), ..Configuration::default() };
    Rehearsal {
        init_meta: InitMeta::new(&configuration, "$LATEST", settings).to_json(),
        invoke_meta: InvokeMeta::rehearsal().to_json(),
    }
}

/// Writes those of `wanted` that this program brings, where they are not there.
fn write_images(program: &'static [u8], directory: &Directory, wanted: &[PathBuf]) -> Result<(), String> {
    let trees = [(program_sha256_hex(program), rustpython(program)), (python_side_sha256_hex(), python_side())];
    for (sha256_hex, tree) in trees {
        let (path, tree) = (directory.image(&sha256_hex), tree.map_err(|error| error.to_string())?);
        if wanted.contains(&path) && !path.exists() {
            tree.write_durably(&path, |bytes, to| to.write_all(bytes))
                .map_err(|error| format!("a runtime image cannot be written: {error}"))?;
        }
    }
    Ok(())
}

fn program_sha256_hex(program: &[u8]) -> String {
    hex(&Sha256::digest(program))
}

fn rustpython(program: &'static [u8]) -> Result<Tree<&'static [u8]>, ImageError> {
    let mut tree = Tree::new();
    tree.file(RUSTPYTHON, 0o755, 0, program.len() as u64, program)?;
    // What programs expect to find, and where functions will be.
    for directory in ["/var/task", "/var/runtime", "/opt/python", "/etc"] {
        tree.directory(directory, 0o755, 0)?;
    }
    const USERS: &[u8] = b"root:x:0:0:root:/tmp:/bin/sh\nsbx_user1051:x:993:990::/tmp:/sbin/nologin\n";
    tree.file("/etc/passwd", 0o644, 0, USERS.len() as u64, USERS)?;
    Ok(tree)
}

/// Of all files of the Python side, with their names.
fn python_side_sha256_hex() -> String {
    let mut hash = Sha256::new();
    for (name, content) in PYTHON_SIDE {
        for part in [name.as_bytes(), content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hex(&hash.finalize())
}

/// An image of its own, so that another version of it needs no other image of the interpreter.
fn python_side() -> Result<Tree<&'static [u8]>, ImageError> {
    let mut tree = Tree::new();
    tree.directory(PYTHON_SIDE_ROOT, 0o755, 0)?;
    tree.directory(LAYERS_LIBRARIES, 0o755, 0)?;
    for (name, content) in PYTHON_SIDE {
        tree.file(&format!("{PYTHON_SIDE_ROOT}/{name}"), 0o644, 0, content.len() as u64, *content)?;
    }
    Ok(tree)
}

/// Starts the interpreter in a shell and saves it when it asks for its first event.
async fn boot(deployer: &Deployer, plan: &Plan, images: &[Image], path: &Path) -> Result<(), DeployError> {
    let start = deployer.clock.now();
    let mut shell = deployer.dispatcher.pool.take().await.map_err(DeployError)?;
    let failed = |what: &str, why: String| DeployError(format!("the runtime does not {what}: {why}"));
    let command = Command::Boot {
        images: &images.iter().collect::<Vec<_>>(),
        arguments: &plan.command.iter().map(String::as_str).collect::<Vec<_>>(),
        environment: &plan.environment,
        memory_bytes: MEMORY_MIN_BYTES,
        tmp_bytes: TMP_BYTES,
        output: None,
    };
    let bound = |report: &Report| matches!(report, Report::Bound);
    carry_out(&mut *shell, command, limits::BOOT_TIMEOUT, bound)
        .await
        .map_err(|gone| failed("start", gone.to_string()))?;
    let run = Command::Run { event: None, timeout: limits::BOOT_TIMEOUT, record: None };
    shell.start(run).map_err(|gone| failed("run", gone.to_string()))?;
    let limit = limits::BOOT_TIMEOUT + limits::REPORT_GRACE;
    match report(&mut *shell, limit).await.map_err(|gone| failed("come up", gone.to_string()))? {
        Report::Stopped(stopped) if stopped.stop == Stop::Next => {}
        Report::Stopped(stopped) => {
            let log = String::from_utf8_lossy(&stopped.log);
            return Err(failed("come up", format!("{:?}; its log: {}", stopped.stop, log.trim_end())));
        }
        other => return Err(failed("come up", format!("{other:?}"))),
    }
    files::save(&mut *shell, path).await?;
    let seconds = start.elapsed().as_secs_f32();
    tracing::info!(seconds, program = plan.command[0], "a runtime snapshot was made");
    Ok(())
}

/// Names of the images that this program brings, whether or not a function needs them now.
pub(super) fn own_image_names(program: &[u8]) -> [String; 2] {
    [image_name(&program_sha256_hex(program)), image_name(&python_side_sha256_hex())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tree: &Tree<&'static [u8]>, path: &str) -> Option<(Vec<u8>, u32)> {
        let mut file = tempfile::tempfile().expect("a file");
        tree.write(&mut file, |bytes, to| to.write_all(bytes)).expect("it is written");
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).expect("it can");
        std::io::Read::read_to_end(&mut file, &mut bytes).expect("it is read");
        let image = mayfly_abi::image::Image::new(&bytes).expect("an image");
        let mut node = image.node(0).expect("a root");
        for name in path.split('/').skip(1) {
            node = image.node(image.child(&node, name.as_bytes())?)?;
        }
        Some((image.data(&node).to_vec(), node.mode))
    }

    #[test]
    fn the_images_have_the_programs() {
        let rustpython = rustpython(b"\x7fELF").expect("paths");
        assert_eq!(file(&rustpython, RUSTPYTHON), Some((b"\x7fELF".to_vec(), 0o100_755)));
        let bootstrap = CPYTHON_ARGUMENTS.last().expect("it has some");
        let (text, mode) = file(&python_side().expect("paths"), bootstrap).expect("it is there");
        assert_eq!(mode, 0o100_644);
        assert!(String::from_utf8_lossy(&text).contains("/dev/mayfly"));
    }

    #[test]
    fn another_build_is_another_snapshot() {
        let key = |image: &str, command: &str, build: &str| {
            key(&[PathBuf::from("/images").join(image)], &[command.to_owned()], &["A=b"], build)
        };
        let one = key("a.img", "python", "b");
        for other in [key("b.img", "python", "b"), key("a.img", "python3", "b"), key("a.img", "python", "c")] {
            assert_ne!(one, other);
        }
        assert_eq!(one, key("elsewhere/a.img", "python", "b"), "data can be moved");
    }
}
