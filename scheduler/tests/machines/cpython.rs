//! Functions on the host's own interpreter.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use mayfly_scheduler::{ConfigurationChange, Platform, Refusal, Settings};
use serde_json::json;

use crate::callers::{deploy, error, invoke, new, response, wait_until_ready, zip};

/// What `python3` of this host says of itself; `None`, said aloud, where there is none.
pub(crate) fn host_python() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]).output();
    let version = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    if version.is_none() {
        println!("  SKIPPED: there is no python3 on this host");
    }
    version.map(|text| String::from_utf8_lossy(&text).trim().to_owned())
}

pub(crate) fn runtime_of(version: &str) -> String {
    version.rsplit_once('.').map_or(String::new(), |(minor, _)| format!("python{minor}"))
}

async fn opened(settings: &Settings, data_dir: &Path) -> Platform {
    let settings = Settings { data_dir: data_dir.into(), python: Some(PathBuf::from("python3")), ..settings.clone() };
    let platform = Platform::open(settings).await.expect("it opens");
    wait_until_ready(&platform).await;
    platform
}

const HANDLER: &str = "
import sys, ssl, sqlite3, threading, zoneinfo, ctypes
print('imported')
database = sqlite3.connect(':memory:')

def handler(event, context):
    numbers = []
    thread = threading.Thread(target=lambda: numbers.extend(range(event['count'])))
    thread.start()
    thread.join()
    total, = database.execute('select sum(value) from json_each(?)', [str(numbers)]).fetchone()
    return {'version': '%d.%d.%d' % sys.version_info[:3], 'implementation': sys.implementation.name, 'total': total,
            'zone': str(zoneinfo.ZoneInfo('Asia/Tokyo')), 'authorities': len(ssl.create_default_context().get_ca_certs()) > 0,
            'library': ctypes.CDLL('libc.so.6').abs(-7)}
";

/// The interpreter is packed by the server itself; functions share it, on disk too; a restart finds all of it.
pub(crate) async fn functions_run_on_the_hosts_interpreter(settings: Settings) {
    let Some(version) = host_python() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let platform = opened(&settings, data.path()).await;
    for name in ["first", "second"] {
        deploy(&platform, name, HANDLER, |new| new.configuration.runtime = runtime_of(&version)).await;
        let outcome = invoke(&platform, name, json!({"count": 5})).await.expect("it runs");
        let expected = json!({"version": version, "implementation": "cpython", "total": 10, "zone": "Asia/Tokyo",
            "authorities": true, "library": 7});
        assert_eq!(response(&outcome), expected);
    }
    let (bases, functions): (Vec<_>, Vec<_>) = snapshots(data.path()).into_iter().partition(|(name, _)| is_base(name));
    assert_eq!((bases.len(), functions.len()), (2, 2), "RustPython's and CPython's; one for each function");
    let base_bytes = bases.iter().map(|(_, bytes)| *bytes).max().expect("there are some");
    for (name, bytes) in functions {
        assert!(bytes < base_bytes / 2, "{name} has {bytes} bytes, the interpreter {base_bytes}");
    }
    platform.shutdown(std::time::Duration::from_secs(5)).await;
    drop(platform);

    let before = images(data.path());
    let platform = opened(&settings, data.path()).await;
    let outcome = invoke(&platform, "first", json!({"count": 3})).await.expect("it runs");
    assert_eq!(response(&outcome)["total"], 3);
    let log = platform.logs("first", 0, 100).expect("it has one");
    assert!(log.iter().all(|line| line.text != "imported"), "it was imported again: {log:?}");
    assert_eq!(images(data.path()), before, "nothing was packed again");
    platform.shutdown(std::time::Duration::from_secs(5)).await;
}

/// What a guest has not fails with the error that says so; what reads dates of library files can use them.
pub(crate) async fn what_is_not_there_says_so(settings: Settings) {
    const SOURCE: &str = "
import io, multiprocessing, os, subprocess, sys, time, zipfile

def errno_of(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 'it went well'

def zip_dates():
    os.environ['TZ'] = 'America/Los_Angeles'
    time.tzset()
    with zipfile.ZipFile(io.BytesIO(), 'w') as archive:
        archive.write(io.__file__)
        archive.write(__file__)
        return [info.date_time[0] >= 1980 for info in archive.infolist()]

def handler(event, context):
    forked = multiprocessing.get_context('fork').Process(target=print)
    return {'fork': errno_of(os.fork), 'vfork': errno_of(subprocess.run, ['/bin/true']), 'spawn': errno_of(os.posix_spawn,
        sys.executable, ['x'], {}), 'multiprocessing': errno_of(forked.start), 'fifo': errno_of(os.mkfifo, '/tmp/fifo'),
        'terminal': errno_of(os.openpty), 'zip': zip_dates()}
";
    let Some(version) = host_python() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let platform = opened(&settings, data.path()).await;
    deploy(&platform, "f", SOURCE, |new| new.configuration.runtime = runtime_of(&version)).await;
    let outcome = invoke(&platform, "f", json!({})).await.expect("it runs");
    let (enosys, eperm, enoent) = (38, 1, 2);
    let expected = json!({"fork": enosys, "vfork": enosys, "spawn": enosys, "multiprocessing": enosys, "fifo": eperm,
        "terminal": enoent, "zip": [true, true]});
    assert_eq!(response(&outcome), expected);
    platform.shutdown(std::time::Duration::from_secs(5)).await;
}

/// A package larger than the function's memory: what is only read is the image itself, which all instances share.
pub(crate) async fn a_package_takes_no_memory_of_the_instance(settings: Settings) {
    const BLOCK_BYTES: usize = 4096;
    const BLOCKS: usize = 40_000;
    const SOURCE: &str = "
import mmap

def handler(event, context):
    with open('/var/task/large.bin', 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return [len(data), sum(data[at] for at in range(0, len(data), 4096))]
";
    let Some(version) = host_python() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let platform = opened(&settings, data.path()).await;
    // It can be compressed, but is not suspicious.
    let noise = |index: usize| ((index * index) >> 5) as u8;
    let large: String = (0..BLOCKS * BLOCK_BYTES)
        .map(|at| if at % BLOCK_BYTES == 0 { b'0' + (at / BLOCK_BYTES % 10) as u8 } else { noise(at % 64) & 0x7f })
        .map(char::from)
        .collect();
    let digits: u64 = (0..BLOCKS as u64).map(|block| u64::from(b'0') + block % 10).sum();
    let package = zip(&[("handler.py", SOURCE), ("large.bin", &large)]);
    deploy(&platform, "large", SOURCE, |new| {
        new.configuration.runtime = runtime_of(&version);
        new.package = package;
    })
    .await;
    assert!(
        large.len() as u64 > u64::from(platform.function("large").expect("it is there").configuration.memory_mb) << 20
    );
    let outcome = invoke(&platform, "large", json!({})).await.expect("it runs");
    assert_eq!(response(&outcome), json!([large.len(), digits]));
    platform.shutdown(std::time::Duration::from_secs(5)).await;
}

/// Errors of the interpreter are the caller's to see.
pub(crate) async fn errors_of_the_hosts_interpreter_are_as_on_lambda(settings: Settings) {
    let Some(version) = host_python() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let platform = opened(&settings, data.path()).await;
    let runtime = runtime_of(&version);
    for (name, source, kind) in [
        ("missing", "import nothing_of_that_name\n", "Runtime.ImportModuleError"),
        ("raises", "def handler(event, context):\n    raise ValueError('no')\n", "ValueError"),
        ("exits", "import os\ndef handler(event, context):\n    os._exit(3)\n", "Runtime.ExitError"),
        ("faults", "import ctypes\ndef handler(event, context):\n    ctypes.string_at(8)\n", "Runtime.ExitError"),
    ] {
        deploy(&platform, name, source, |new| new.configuration.runtime = runtime.clone()).await;
        for _ in 0..2 {
            let outcome = invoke(&platform, name, json!({})).await.expect("an answer");
            assert_eq!(error(&outcome)["errorType"], kind, "{name}");
        }
    }
    platform.shutdown(std::time::Duration::from_secs(5)).await;
}

/// Another version than the host's is refused, with the names of those that there are.
pub(crate) async fn an_interpreter_that_is_not_there_is_refused(settings: Settings) {
    let Some(version) = host_python() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let platform = opened(&settings, data.path()).await;
    let runtime = runtime_of(&version);
    // No host has it: CPython 3.8 and older cannot be packed.
    let mut wrong = new("wrong", HANDLER);
    wrong.configuration.runtime = "python3.8".into();
    let refusal = platform.create_function(wrong).await.expect_err("it is not there");
    let Refusal::InvalidParameter(text) = &refusal else { panic!("{refusal:?}") };
    assert!(text.contains(&runtime) && text.contains("rustpython]") && text.contains("mayfly runtime build"), "{text}");
    deploy(&platform, "right", HANDLER, |_| ()).await;
    let change = ConfigurationChange { runtime: Some("python3.8".into()), ..ConfigurationChange::default() };
    let refusal = platform.update_configuration("right", change, None).await;
    assert!(matches!(refusal, Err(Refusal::InvalidParameter(_))), "{refusal:?}");
    platform.shutdown(std::time::Duration::from_secs(5)).await;
}

fn is_base(name: &str) -> bool {
    name.starts_with("runtime-")
}

/// Names of the snapshots in a data directory, and what they take on disk.
fn snapshots(data_dir: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(data_dir.join("snapshots")).expect("it is there").flatten();
    let files = entries.map(|entry| {
        (entry.file_name().to_string_lossy().into_owned(), entry.metadata().map_or(0, |data| data.blocks() * 512))
    });
    files.filter(|(name, _)| name.ends_with(".snapshot")).collect()
}

/// Names and times of the images of a data directory's runtimes.
fn images(data_dir: &Path) -> Vec<(String, i64, i64)> {
    let entries = fs::read_dir(data_dir.join("runtimes")).expect("it is there").flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "img"))
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), data.mtime(), data.mtime_nsec()))
        })
        .collect();
    found.sort();
    found
}
