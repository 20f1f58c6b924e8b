//! What can go wrong in the mechanism, by whose fault.

use std::io;
use std::path::PathBuf;

/// Error of the virtual machine layer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's KVM refused something: a fault of the platform or its host.
    #[error("KVM: {doing} failed: {source}")]
    Kvm {
        /// What was tried.
        doing: &'static str,
        /// The answer.
        source: kvm_ioctls::Error,
    },
    /// Another call to the host failed.
    #[error("{doing} failed: {source}")]
    Host {
        /// What was tried.
        doing: &'static str,
        /// The answer.
        source: io::Error,
    },
    /// The host lacks something that Mayfly needs.
    #[error("{0}")]
    Unsupported(String),
    /// A snapshot or image file is not what it should be.
    #[error("{path}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The embedded kernel cannot be used: a fault of the build.
    #[error("guest kernel: {0}")]
    Kernel(String),
    /// The caller asked for something that the machine's state does not allow.
    #[error("{0}")]
    State(&'static str),
    /// The zygote has ended, and its VM processes with it. Another can be started.
    #[error("the zygote has ended")]
    ZygoteEnded,
    /// The VM process ended or broke the protocol.
    #[error("the VM process is gone: {0}")]
    Gone(String),
}

impl Error {
    pub(crate) fn kvm(doing: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
        move |source| Error::Kvm { doing, source }
    }

    pub(crate) fn host(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Host { doing, source }
    }

    pub(crate) fn errno(doing: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |source| Error::Host { doing, source: source.into() }
    }
}
