//! Interpreters of the host as runtimes: through AWS's own client, and with `mayfly runtime`.

mod support;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use aws_sdk_lambda::{error::ProvideErrorMetadata, types::Runtime};
use serde_json::{Value, json};
use support::live::{Live, ROLE, package, zip_code};

const MAYFLY: &str = env!("CARGO_BIN_EXE_mayfly");
const CODE: &str =
    "import sys\ndef handler(event, context):\n    return [sys.implementation.name, *sys.version_info[:2]]\n";

/// N of the host's `python3`, which is 3.N; `None`, said aloud, where there is none.
fn host_minor() -> Option<u32> {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.version_info[1])"]).output();
    let minor = output.ok().and_then(|output| String::from_utf8_lossy(&output.stdout).trim().parse().ok());
    if minor.is_none() {
        println!("SKIPPED: there is no python3 on this host");
    }
    minor
}

async fn create(live: &Live, name: &str, runtime: &str) -> Result<(), (String, String)> {
    let created = live
        .client
        .create_function()
        .function_name(name)
        .role(ROLE)
        .runtime(Runtime::from(runtime))
        .handler("handler.handler")
        .code(zip_code(&package(&[("handler.py", CODE)])))
        .send()
        .await;
    created
        .map(drop)
        .map_err(|error| (error.code().unwrap_or_default().to_owned(), error.message().unwrap_or_default().to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_runs_on_the_version_that_it_asks_for_or_is_refused() {
    let Some(minor) = host_minor() else { return };
    let live = Live::with(|settings| settings.python = Some(PathBuf::from("python3"))).await;
    let runtime = format!("python3.{minor}");
    // CPython 3.8 cannot be packed, so no host has it; the others are no names of runtimes.
    for missing in ["python3.8", "python3.7", "nodejs22.x", "python3.11x"] {
        let (code, message) = create(&live, "missing", missing).await.expect_err(missing);
        assert_eq!(code, "InvalidParameterValueException", "{missing}: {message}");
        assert!(
            message.starts_with(&format!("Value {missing} at 'runtime' failed to satisfy constraint")),
            "{message}"
        );
        let (names, cure) = message.split_once(" or be a valid ARN. ").expect("Lambda's words, and a cure");
        assert!(names.contains(&runtime) && names.contains("rustpython"), "{message}");
        assert!(cure.contains("mayfly runtime build"), "{message}");
    }
    create(&live, "here", &runtime).await.expect("it is there");
    live.wait_active("here").await;
    assert_eq!(live.invoke("here", &json!({})).await.good(), json!(["cpython", 3, minor]));

    let changed = live.client.update_function_configuration().function_name("here").runtime(Runtime::from("python3.8"));
    let error = changed.send().await.expect_err("it is not there");
    assert_eq!(error.code(), Some("InvalidParameterValueException"));
    let changed =
        live.client.update_function_configuration().function_name("here").runtime(Runtime::from("rustpython"));
    changed.send().await.expect("it is always there");
    live.wait_updated("here").await;
    assert_eq!(live.invoke("here", &json!({})).await.good()[0], "rustpython");
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_interpreter_rustpython_stands_in() {
    let live = Live::start().await;
    create(&live, "stands-in", "python3.12").await.expect("it stands in");
    live.wait_active("stands-in").await;
    assert_eq!(live.invoke("stands-in", &json!({})).await.good()[0], "rustpython");
    live.stop().await;
}

/// A wheel with one module, which needs nothing from anywhere.
fn wheel(folder: &Path) -> PathBuf {
    let metadata = "Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n";
    let description = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let record = "colours.py,,\ncolours-1.0.dist-info/METADATA,,\ncolours-1.0.dist-info/WHEEL,,\ncolours-1.0.dist-info/RECORD,,\n";
    let path = folder.join("colours-1.0-py3-none-any.whl");
    let files = [
        ("colours.py", "sky = 'blue'\n"),
        ("colours-1.0.dist-info/METADATA", metadata),
        ("colours-1.0.dist-info/WHEEL", description),
        ("colours-1.0.dist-info/RECORD", record),
    ];
    std::fs::write(&path, package(&files)).expect("it is written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_installed_beside_the_code_or_into_a_layer() {
    let Some(minor) = host_minor() else { return };
    let live = Live::with(|settings| settings.python = Some(PathBuf::from("python3"))).await;
    let folder = tempfile::tempdir().expect("a directory");
    let app = folder.path().join("painter");
    std::fs::create_dir(&app).expect("it is made");
    let code = "import colours, sys\ndef handler(event, context):\n    return [colours.sky, sys.version_info[1]]\n";
    std::fs::write(app.join("handler.py"), code).expect("it is written");
    let requirements = folder.path().join("requirements.txt");
    std::fs::write(&requirements, format!("{}\n", wheel(folder.path()).display())).expect("it is written");
    let endpoint = format!("http://{}", live.address);
    let mayfly = |arguments: &[&str]| {
        let mut command = Command::new(MAYFLY);
        command.args(arguments).args(["--endpoint", &endpoint]);
        // No index is asked: a test that needs one tests the network.
        let running =
            tokio::task::spawn_blocking(move || command.env("PIP_NO_INDEX", "1").output().expect("it starts"));
        async { running.await.expect("it ends") }
    };
    let app = app.display().to_string();
    let requirements = requirements.display().to_string();
    let deployed = mayfly(&["deploy", &app, "--requirements", &requirements]).await;
    assert!(deployed.status.success(), "{deployed:?}");
    assert_eq!(live.invoke("painter", &json!({})).await.good(), json!(["blue", minor]));

    let published = mayfly(&["layer", "publish", "colours", "--requirements", &requirements]).await;
    assert!(published.status.success(), "{published:?}");
    let (arn, runtime) = (text(&published.stdout), format!("python3.{minor}"));
    let listed = text(&mayfly(&["layer", "list", "--runtime", &runtime]).await.stdout);
    assert!(listed.contains(arn.trim()), "{listed}");
    let deployed = mayfly(&["deploy", &app, "--name", "layered", "--runtime", &runtime, "--layer", arn.trim()]).await;
    assert!(deployed.status.success(), "{deployed:?}");
    assert_eq!(live.invoke("layered", &json!({})).await.good(), json!(["blue", minor]));

    let wrong = folder.path().join("wrong.txt");
    std::fs::write(&wrong, "no-such-package-anywhere\n").expect("it is written");
    let failed = mayfly(&["deploy", &app, "--requirements", &wrong.display().to_string()]).await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text(&failed.stderr).contains("ERROR: No matching distribution found for no-such-package-anywhere"),
        "{failed:?}"
    );
    live.stop().await;
}

fn runtime(data: &Path, arguments: &[&str]) -> Output {
    Command::new(MAYFLY)
        .args(["runtime", "--data-dir"])
        .arg(data)
        .args(arguments)
        .env_remove("MAYFLY_DATA_DIR")
        .output()
        .expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn runtimes_are_built_looked_at_and_removed() {
    let Some(minor) = host_minor() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let name = format!("python3.{minor}");
    let built = runtime(data.path(), &["build"]);
    assert!(
        built.status.success() && text(&built.stdout).starts_with(&format!("{name}: CPython 3.{minor}.")),
        "{built:?}"
    );
    assert!(text(&built.stderr).contains("compiling "), "progress: {built:?}");
    let listed = text(&runtime(data.path(), &["list"]).stdout);
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with(&name)), "{listed}");
    let inspected = runtime(data.path(), &["inspect", &name]);
    let described: Value = serde_json::from_slice(&inspected.stdout).expect("JSON");
    assert!(Path::new(described["image"].as_str().expect("a path")).is_file(), "{described}");
    assert!(described["disk_bytes"].as_u64().is_some_and(|bytes| bytes > 10 << 20), "{described}");

    for (arguments, why) in [
        (&["build", "--name", "python3.1"][..], "is a python3."),
        (&["build", "--name", "rustpython"], "cannot be called"),
        (&["build", "--python", "/no/such/python"], "cannot be started"),
        (&["inspect", "other"], "there is no runtime other"),
        (&["remove", "other"], "there is no runtime other"),
        (&["run", "other"], "mayfly runtime build"),
    ] {
        let failed = runtime(data.path(), arguments);
        assert_eq!(failed.status.code(), Some(1), "{arguments:?}: {failed:?}");
        assert!(text(&failed.stderr).contains(why), "{arguments:?}: {failed:?}");
    }
    assert!(runtime(data.path(), &["remove", &name]).status.success());
    assert_eq!(text(&runtime(data.path(), &["list"]).stdout).lines().count(), 1);
}

#[test]
fn programs_of_a_runtime_run_in_a_machine() {
    let Some(minor) = host_minor() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let name = format!("python3.{minor}");
    assert!(runtime(data.path(), &["build"]).status.success());
    let mounted = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(mounted.path().join("package")).expect("it is made");
    std::fs::write(mounted.path().join("package/__init__.py"), "colour = 'blue'\n").expect("it is written");
    let mount = format!("{}=/opt/mine", mounted.path().display());
    let run = |options: &[&str], code: &str| {
        let arguments = [&["run", &name][..], options, &["--", "-c", code]].concat();
        runtime(data.path(), &arguments)
    };

    let code = "import os, package; print(package.colour, os.environ['SIZE'], os.getpid())";
    let printed = run(&["--mount", &mount, "--env", "PYTHONPATH=/opt/mine", "--env", "SIZE=7"], code);
    assert_eq!((text(&printed.stdout).as_str(), printed.status.code()), ("blue 7 1\n", Some(0)), "{printed:?}");
    // More than the log area of a mailbox: it comes in pieces, and completely.
    let long = run(&[], "for number in range(100000): print(number)");
    assert_eq!(text(&long.stdout).lines().last(), Some("99999"));
    assert_eq!(text(&long.stdout).lines().count(), 100_000);

    for (options, code, status, why) in [
        (&[][..], "raise SystemExit(3)", 3, ""),
        (&[], "raise ValueError('no')", 1, ""),
        (&[], "import os; os.abort()", 128 + 6, "ended by signal 6"),
        (&[], "import ctypes; ctypes.string_at(8)", 128 + 11, "ended by signal 11"),
        (&["--timeout", "1"], "while True: pass", 124, "stopped after 1 s"),
        (&[], "open('/dev/mayfly', 'rb').read(1)", 125, "waits for a function's event"),
    ] {
        let ended = run(options, code);
        assert_eq!(ended.status.code(), Some(status), "{code}: {ended:?}");
        assert!(text(&ended.stderr).contains(why), "{code}: {ended:?}");
    }
}
