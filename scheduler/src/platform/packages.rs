//! Zips as they come in: checked, and kept by their hash.

use std::{io::Write as _, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Inner, blocking};
use crate::{
    catalog::Directory,
    deploy::hex,
    files::write_durably,
    function::Code,
    package::{self, Package, PackageError},
    refusal::Refusal,
};

/// Checks a package, and gives what records say of it.
pub(super) async fn check(inner: &Arc<Inner>, bytes: Bytes) -> Result<(Package, Code), Refusal> {
    let _place = inner.package_checks.acquire().await.map_err(|_| Refusal::ShuttingDown)?;
    blocking(move || {
        let package = package::check(bytes.clone()).inspect_err(|error| {
            if let PackageError::Unreadable { detail } = error {
                tracing::info!(detail, "a package was refused");
            }
        })?;
        let sha256 = Sha256::digest(&bytes);
        let code = Code {
            sha256_base64: BASE64.encode(sha256),
            sha256_hex: hex(&sha256),
            bytes: bytes.len() as u64,
            unzipped_bytes: package.unzipped_bytes(),
        };
        Ok((package, code))
    })
    .await
}

/// Writes a package, if it is not there. Whoever does must hold [`Inner::files`] until it is recorded. Blocks.
pub(super) fn keep(directory: &Directory, code: &Code, bytes: &Bytes) -> Result<(), Refusal> {
    let path = directory.package(&code.sha256_hex);
    if path.exists() {
        return Ok(());
    }
    write_durably::<std::io::Error>(&path, |file| file.write_all(bytes))
        .map_err(|error| Refusal::Platform(format!("the package cannot be stored: {error}")))
}

/// The zip with that hash.
pub(super) async fn read(inner: &Inner, sha256_hex: &str) -> Result<Bytes, Refusal> {
    let not_found = || Refusal::PackageNotFound(sha256_hex.to_owned());
    // It becomes a file name.
    if sha256_hex.len() != 64 || !sha256_hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(not_found());
    }
    tokio::fs::read(inner.directory.package(sha256_hex)).await.map(Bytes::from).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => not_found(),
        _ => Refusal::Platform(format!("a package cannot be read: {error}")),
    })
}
