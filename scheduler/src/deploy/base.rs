//! The runtime: an interpreter that has come up, as an image and a snapshot on which all functions stand.

use std::{path::Path, sync::Arc};

use mayfly_abi::layout::MEMORY_MIN_BYTES;
use sha2::{Digest, Sha256};

use super::{DeployError, Deployer, blocking, files, hex};
use crate::{
    catalog::Directory,
    files::write_durably,
    image::{self, Tree},
    limits,
    machine::{Command, Host, Image, Report, Snapshot, Stop, carry_out, report},
};

/// Path of the program in the guest.
const PROGRAM: &str = "/opt/mayfly/rustpython";
/// Its `/tmp` until a function is bound.
const TMP_BYTES: u64 = 512 << 20;

/// The runtime, ready to be bound.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) image: Arc<Image>,
    pub(crate) snapshot: Arc<Snapshot>,
    /// Names what both were made from.
    pub(crate) key: String,
    pub(crate) image_sha256_hex: String,
}

/// Loads the runtime, or makes it.
pub(super) async fn prepare(deployer: &Deployer) -> Result<Base, DeployError> {
    let (program, directory, host) = (deployer.program, deployer.directory.clone(), deployer.host.clone());
    let (image, image_sha256_hex) = blocking(move || image(program, &directory, &*host)).await?;
    let key = key(&image_sha256_hex, &deployer.host.build());
    let path = deployer.directory.snapshot(&key);
    let snapshot = match files::open_snapshot(deployer, &path).await {
        Some(snapshot) => snapshot,
        None => {
            boot(deployer, &image, &path).await?;
            files::open_snapshot(deployer, &path)
                .await
                .ok_or_else(|| DeployError("the runtime snapshot that was just written cannot be opened".into()))?
        }
    };
    Ok(Base { image: Arc::new(image), snapshot: Arc::new(snapshot), key, image_sha256_hex })
}

/// Name of the runtime snapshot.
fn key(image_sha256_hex: &str, build: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(image_sha256_hex);
    hash.update(build);
    hash.update(image::BUILD.to_le_bytes());
    format!("runtime-{}", hex(&hash.finalize()))
}

/// The runtime image and the name of what it is made from.
fn image(program: &'static [u8], directory: &Directory, host: &dyn Host) -> Result<(Image, String), String> {
    let sha256_hex = hex(&Sha256::digest(program));
    let path = directory.image(&sha256_hex);
    if !path.exists() {
        let tree = tree(program).map_err(|error| error.to_string())?;
        write_durably::<image::ImageError>(&path, |file| tree.write(file, |bytes, to| to.write_all(bytes)))
            .map_err(|error| format!("the runtime image cannot be written: {error}"))?;
    }
    host.open_image(&path).map(|image| (image, sha256_hex))
}

fn tree(program: &'static [u8]) -> Result<Tree<&'static [u8]>, image::ImageError> {
    let mut tree = Tree::new();
    tree.file(PROGRAM, 0o755, 0, program.len() as u64, program)?;
    // What programs expect to find, and where functions will be.
    for directory in ["/var/task", "/var/runtime", "/opt/python", "/etc"] {
        tree.directory(directory, 0o755, 0)?;
    }
    const USERS: &[u8] = b"root:x:0:0:root:/tmp:/bin/sh\nsbx_user1051:x:993:990::/tmp:/sbin/nologin\n";
    tree.file("/etc/passwd", 0o644, 0, USERS.len() as u64, USERS)?;
    Ok(tree)
}

/// Starts the interpreter in a shell and saves it when it asks for its first event.
async fn boot(deployer: &Deployer, image: &Image, path: &Path) -> Result<(), DeployError> {
    let start = deployer.clock.now();
    let mut shell = deployer.dispatcher.pool.take().await.map_err(DeployError)?;
    let failed = |what: &str, why: String| DeployError(format!("the runtime does not {what}: {why}"));
    let command = Command::Boot {
        images: &[image],
        arguments: &[PROGRAM],
        environment: &["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=en_US.UTF-8", "TZ=:UTC"],
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
    tracing::info!(seconds = start.elapsed().as_secs_f32(), "the runtime snapshot was made");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_the_program() {
        let mut file = tempfile::tempfile().expect("a file");
        tree(b"\x7fELF").expect("paths").write(&mut file, |bytes, to| to.write_all(bytes)).expect("it is written");
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).expect("it can");
        std::io::Read::read_to_end(&mut file, &mut bytes).expect("it is read");
        let image = mayfly_abi::image::Image::new(&bytes).expect("an image");
        let mut node = image.node(0).expect("a root");
        for name in ["opt", "mayfly", "rustpython"] {
            node = image.node(image.child(&node, name.as_bytes()).expect(name)).expect("in range");
        }
        assert_eq!((image.data(&node), node.mode), (&b"\x7fELF"[..], 0o100_755));
    }

    #[test]
    fn another_build_is_another_snapshot() {
        assert_ne!(key("a", "b"), key("a", "c"));
        assert_ne!(key("a", "b"), key("c", "b"));
    }
}
