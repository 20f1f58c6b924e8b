//! Layers through AWS's own client and `mayfly layer`, on real guests.

mod support;

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Output},
};

use aws_sdk_lambda::{
    operation::publish_layer_version::PublishLayerVersionOutput,
    primitives::Blob,
    types::{Architecture, LayerVersionContentInput, Runtime},
};
use serde_json::{Value, json};
use support::live::{Live, ROLE, package, raw, refused, zip_code};

const LAYER: &str = "arn:aws:lambda:us-east-1:000000000000:layer:";
const MAYFLY: &str = env!("CARGO_BIN_EXE_mayfly");

fn content(files: &[(&str, &str)]) -> LayerVersionContentInput {
    LayerVersionContentInput::builder().zip_file(Blob::new(package(files))).build()
}

async fn publish(live: &Live, name: &str, files: &[(&str, &str)]) -> PublishLayerVersionOutput {
    let request = live.client.publish_layer_version().layer_name(name).content(content(files));
    request.send().await.unwrap_or_else(|error| panic!("{name}: {error:?}"))
}

async fn create(live: &Live, name: &str, runtime: &str, code: &str, layers: &[&str]) -> Result<(), (String, String)> {
    let request = live
        .client
        .create_function()
        .function_name(name)
        .role(ROLE)
        .runtime(Runtime::from(runtime))
        .handler("handler.handler")
        .set_layers(Some(layers.iter().map(|arn| (*arn).to_owned()).collect()))
        .code(zip_code(&package(&[("handler.py", code)])));
    let created = request.send().await;
    if created.is_err() {
        return Err(refused(created));
    }
    live.wait_active(name).await;
    Ok(())
}

/// `python3.N` of the host; `None`, said aloud, where there is none.
fn host_runtime() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import sys; print('python3.%d' % sys.version_info[1])"]).output();
    let name = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    if name.is_none() {
        println!("SKIPPED: there is no python3 on this host");
    }
    name.map(|text| String::from_utf8_lossy(&text).trim().to_owned())
}

/// What a function sees of its layers.
const LOOKS: &str = "import sys, shared
def handler(event, context):
    text = lambda path: open('/opt/' + path).read()
    try:
        open('/opt/new', 'w')
        written = 'written'
    except OSError as error:
        written = error.errno
    return [shared.WHO, text('a.txt'), text('b.txt'), written, [path for path in sys.path if path.startswith('/opt/python')]]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_function_imports_from_its_layers() {
    let live = Live::start().await;
    let one =
        publish(&live, "one", &[("python/shared.py", "WHO = 'one'"), ("a.txt", "a of one"), ("b.txt", "b of one")])
            .await;
    assert_eq!((one.version(), one.layer_arn()), (1, Some(format!("{LAYER}one").as_str())));
    assert_eq!(one.layer_version_arn(), Some(format!("{LAYER}one:1").as_str()));
    let two = publish(&live, "two", &[("python/shared.py", "WHO = 'two'"), ("b.txt", "b of two")]).await;
    let (one, two) = (one.layer_version_arn().expect("an ARN"), two.layer_version_arn().expect("an ARN"));
    create(&live, "looks", "rustpython", LOOKS, &[one, two]).await.expect("created");
    let erofs = 30;
    let paths = json!(["/opt/python"]);
    let both = json!(["two", "a of one", "b of two", erofs, paths]);
    assert_eq!(live.invoke("looks", &json!({})).await.good(), both, "the later one wins");

    let configuration = live.client.get_function_configuration().function_name("looks").send().await.expect("there");
    let layers: Vec<_> = configuration.layers().iter().map(|layer| (layer.arn(), layer.code_size() > 0)).collect();
    assert_eq!(layers, [(Some(one), true), (Some(two), true)]);
    let listed = live.client.list_functions().send().await.expect("listed");
    assert_eq!(listed.functions()[0].layers().len(), 2);

    // Deleted, they are nobody's but those who have them.
    for name in ["one", "two"] {
        live.client.delete_layer_version().layer_name(name).version_number(1).send().await.expect("deleted");
    }
    let (code, message) = refused(live.client.get_layer_version().layer_name("one").version_number(1).send().await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("ResourceNotFoundException", "The resource you requested does not exist.")
    );
    let change = live.client.update_function_configuration().function_name("looks").memory_size(256);
    change.send().await.expect("updated");
    live.wait_updated("looks").await;
    assert_eq!(live.invoke("looks", &json!({})).await.good(), both);

    let site = publish(
        &live,
        "site",
        &[("python/lib/python3.14/site-packages/shared.py", "WHO = 'site'"), ("a.txt", ""), ("b.txt", "")],
    )
    .await;
    let lower = publish(&live, "lower", &[("python/shared.py", "WHO = 'lower'")]).await;
    let arns = [&site, &lower].map(|layer| layer.layer_version_arn().expect("an ARN").to_owned());
    let change = live.client.update_function_configuration().function_name("looks").set_layers(Some(arns.into()));
    change.send().await.expect("updated");
    live.wait_updated("looks").await;
    let paths = json!(["/opt/python/lib/python3.14/site-packages", "/opt/python"]);
    assert_eq!(
        live.invoke("looks", &json!({})).await.good(),
        json!(["site", "", "", erofs, paths]),
        "by path, then by layer"
    );

    let change = live.client.update_function_configuration().function_name("looks").set_layers(Some(Vec::new()));
    assert!(change.send().await.expect("updated").layers().is_empty());
    live.wait_updated("looks").await;
    assert_eq!(live.invoke("looks", &json!({})).await.failed().0, "Runtime.ImportModuleError");
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_layers_fit_beside_the_hosts_python() {
    let Some(runtime) = host_runtime() else { return };
    let site = format!("python/lib/{runtime}/site-packages");
    let live = Live::with(|settings| settings.python = Some(PathBuf::from("python3"))).await;
    let mut arns = Vec::new();
    for number in 0..5 {
        let (own, both) = (format!("python/own{number}.py"), format!("{site}/both.py"));
        let who = format!("WHO = {number}");
        let published = publish(&live, &format!("l{number}"), &[(&own, &who), (&both, &who)]).await;
        arns.push(published.layer_version_arn().expect("an ARN").to_owned());
    }
    let code = "import own0, own1, own2, own3, own4, both, sys
def handler(event, context):
    paths = [path for path in sys.path if path.startswith(('/opt/python', '/var/task'))]
    return [sum(own.WHO for own in (own0, own1, own2, own3, own4)), both.WHO, paths]
";
    let arns: Vec<&str> = arns.iter().map(String::as_str).collect();
    create(&live, "five", &runtime, code, &arns).await.expect("created");
    let paths = json!(["/var/task", format!("/opt/{site}"), "/opt/python"]);
    assert_eq!(live.invoke("five", &json!({})).await.good(), json!([10, 4, paths]));
    live.stop().await;
}

/// A shared library with a function that calls one of another.
fn libraries(folder: &std::path::Path) -> Vec<(&'static str, Vec<u8>)> {
    let sources = [
        ("libinner.so", "int inner(void) { return 41; }"),
        ("libouter.so", "int inner(void); int outer(void) { return inner() + 1; }"),
    ];
    for (name, source) in sources {
        let file = folder.join(name).with_extension("c");
        std::fs::write(&file, source).expect("written");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-nostdlib", "-o", name]).arg(&file).current_dir(folder);
        if name == "libouter.so" {
            command.arg("libinner.so");
        }
        assert!(command.status().expect("there is a C compiler").success(), "{name}");
    }
    sources.map(|(name, _)| (name, std::fs::read(folder.join(name)).expect("made"))).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn libraries_of_a_layer_are_found() {
    let Some(runtime) = host_runtime() else { return };
    let live = Live::with(|settings| settings.python = Some(PathBuf::from("python3"))).await;
    let folder = tempfile::tempdir().expect("a directory");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in libraries(folder.path()) {
        zip.start_file(format!("lib/{name}"), zip::write::SimpleFileOptions::default()).expect("packed");
        zip.write_all(&bytes).expect("packed");
    }
    let bytes = zip.finish().expect("packed").into_inner();
    let content = LayerVersionContentInput::builder().zip_file(Blob::new(bytes)).build();
    let published = live.client.publish_layer_version().layer_name("native").content(content).send().await;
    let code = "import ctypes
def handler(event, context):
    return ctypes.CDLL('libouter.so').outer()
";
    let arn = published.expect("published").layer_version_arn.expect("an ARN");
    create(&live, "native", &runtime, code, &[&arn]).await.expect("created");
    assert_eq!(live.invoke("native", &json!({})).await.good(), json!(42));
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_described_listed_and_downloaded() {
    let live = Live::start().await;
    let files = [("python/m.py", "x = 1")];
    let request =
        live.client.publish_layer_version().layer_name("l").content(content(&files)).description("what it is");
    let request = request.license_info("MIT").compatible_runtimes(Runtime::Python312);
    let published = request.compatible_architectures(Architecture::X8664).send().await.expect("published");
    for _ in 0..2 {
        publish(&live, "l", &files).await;
    }
    publish(&live, "k", &files).await;

    let arn = format!("{LAYER}l:1");
    let by_arn = live.client.get_layer_version_by_arn().arn(&arn).send().await.expect("there");
    let by_name = live.client.get_layer_version().layer_name(format!("{LAYER}l")).version_number(1).send().await;
    let by_name = by_name.expect("there");
    assert_eq!((by_arn.layer_version_arn(), by_arn.created_date()), (Some(arn.as_str()), by_name.created_date()));
    assert_eq!((by_name.description(), by_name.license_info()), (Some("what it is"), Some("MIT")));
    assert_eq!(by_name.compatible_runtimes(), [Runtime::Python312]);
    assert_eq!(by_name.compatible_architectures(), [Architecture::X8664]);
    assert_eq!(published.created_date(), by_name.created_date());
    let zip = package(&files);
    let content = by_name.content().expect("it has some");
    assert_eq!(content.code_size(), zip.len() as i64);
    let path = content.location().expect("a location").split_once(&live.address).expect("on this server").1;
    assert_eq!(raw(&live.address, "GET", path, &[], b"").await.body, zip);

    let pages = live.client.list_layer_versions().layer_name("l").max_items(2).into_paginator().items().send();
    let versions: Vec<_> = pages.collect::<Result<Vec<_>, _>>().await.expect("listed");
    assert_eq!(versions.iter().map(|version| version.version()).collect::<Vec<_>>(), [3, 2, 1]);
    let pages = live.client.list_layers().max_items(1).into_paginator().items().send();
    let layers: Vec<_> = pages.collect::<Result<Vec<_>, _>>().await.expect("listed");
    let newest = |layer: &aws_sdk_lambda::types::LayersListItem| {
        (layer.layer_name().map(str::to_owned), layer.latest_matching_version().map(|version| version.version()))
    };
    assert_eq!(
        layers.iter().map(newest).collect::<Vec<_>>(),
        [(Some("k".into()), Some(1)), (Some("l".into()), Some(3))]
    );
    let for_it = live.client.list_layers().compatible_runtime(Runtime::Python312).send().await.expect("listed");
    assert_eq!(for_it.layers().iter().map(newest).collect::<Vec<_>>(), [(Some("l".into()), Some(1))]);
    let nobody = live.client.list_layer_versions().layer_name("nobody").send().await.expect("none");
    assert!(nobody.layer_versions().is_empty());
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_lambdas_words() {
    let live = Live::start().await;
    publish(&live, "l", &[("x", "1")]).await;
    publish(&live, "l", &[("x", "2")]).await;
    let arn = |rest: &str| format!("{LAYER}{rest}");
    let other_region = arn("l:1").replace("us-east-1", "eu-west-1");
    let other_account = arn("l:1").replace("000000000000", "123456789012");
    let six: Vec<String> = (1..=6).map(|number| arn(&format!("x{number}:1"))).collect();
    let cases: &[(&[String], &str, &str)] = &[
        (
            &[arn("l")],
            "ValidationException",
            "1 validation error detected: Value '[arn:aws:lambda:us-east-1:000000000000:layer:l]' at 'layers' failed",
        ),
        (
            &[arn("l:3")],
            "InvalidParameterValueException",
            "Layer version arn:aws:lambda:us-east-1:000000000000:layer:l:3 does not exist.",
        ),
        (
            &[arn("l:1"), arn("l:2")],
            "InvalidParameterValueException",
            "Two different versions of the same layer are not allowed",
        ),
        (&six, "InvalidParameterValueException", "Cannot reference more than 5 layers."),
        (
            &[other_region],
            "InvalidParameterValueException",
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        ),
        (
            &[other_account],
            "AccessDeniedException",
            "is not authorized to perform: lambda:GetLayerVersion on resource: arn:aws:lambda:us-east-1:123456789012:layer:l:1",
        ),
    ];
    for (layers, kind, text) in cases {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let (code, message) = create(&live, "f", "rustpython", "", &layers).await.expect_err(text);
        assert_eq!(&code, kind, "{message}");
        assert!(message.contains(text), "{message}");
    }
    let get = |name: &str, version| live.client.get_layer_version().layer_name(name).version_number(version).send();
    assert_eq!(refused(get("l", 9).await).0, "ResourceNotFoundException");
    let (code, message) = refused(get("l", 0).await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("InvalidParameterValueException", "Layer Version Cannot be less than 1")
    );
    let (code, message) = refused(get("a b", 1).await);
    assert_eq!(code, "ValidationException");
    assert!(message.starts_with("1 validation error detected: Value 'a b' at 'layerName' failed"), "{message}");
    let (code, message) = refused(live.client.get_layer_version_by_arn().arn(arn("l")).send().await);
    assert_eq!(code, "ValidationException", "{message}");
    let hostile =
        LayerVersionContentInput::builder().zip_file(Blob::new(package(&[("../../etc/passwd", "x")]))).build();
    let sent = live.client.publish_layer_version().layer_name("hostile").content(hostile).send().await;
    let (code, message) = refused(sent);
    assert_eq!(code, "InvalidParameterValueException");
    assert!(message.starts_with("Could not unzip uploaded file."), "{message}");
    live.client.delete_layer_version().layer_name("nobody").version_number(1).send().await.expect("nothing to do");
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_kept_and_given_back() {
    let live = Live::start().await;
    publish(&live, "l", &[("x", "1")]).await;
    let get = || live.client.get_layer_version_policy().layer_name("l").version_number(1).send();
    let (code, message) = refused(get().await);
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("ResourceNotFoundException", "No policy is associated with the given resource.")
    );
    let add = |name: &str, principal: &str| {
        let request = live.client.add_layer_version_permission().layer_name("l").version_number(1).statement_id(name);
        request.action("lambda:GetLayerVersion").principal(principal).send()
    };
    let added = add("all", "*").await.expect("added");
    assert_eq!(refused(add("all", "*").await).0, "ResourceConflictException");
    add("one", "123456789012").await.expect("added");
    let policy: Value = serde_json::from_str(get().await.expect("there").policy().expect("a policy")).expect("JSON");
    let first: Value = serde_json::from_str(added.statement().expect("a statement")).expect("JSON");
    assert_eq!((&policy["Statement"][0], &first["Principal"]), (&first, &json!("*")));
    assert_eq!(policy["Statement"][1]["Principal"], json!({"AWS": "arn:aws:iam::123456789012:root"}));
    assert_eq!(policy["Statement"][1]["Resource"], json!(format!("{LAYER}l:1")));
    let stale = live.client.remove_layer_version_permission().layer_name("l").version_number(1).statement_id("all");
    assert_eq!(refused(stale.revision_id("stale").send().await).0, "PreconditionFailedException");
    for name in ["all", "one"] {
        let removed =
            live.client.remove_layer_version_permission().layer_name("l").version_number(1).statement_id(name);
        removed.send().await.expect("removed");
    }
    assert_eq!(refused(get().await).0, "ResourceNotFoundException");
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_publishes_lists_and_deletes() {
    let live = Live::start().await;
    let folder = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    write("layer/python/shared.py", "WHO = 'the command'\n");
    write("app/handler.py", "import shared\ndef handler(event, context):\n    return shared.WHO\n");
    let endpoint = format!("http://{}", live.address);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(MAYFLY);
        command.args(arguments).args(["--endpoint-url", &endpoint]);
        let running = tokio::task::spawn_blocking(move || command.output().expect("it starts"));
        async { running.await.expect("it ends") }
    };
    let good = |output: Output| {
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let publish = ["layer", "publish", "cli", &path("layer"), "--description", "by hand", "--runtime", "rustpython"];
    let arn = good(run(&publish).await).trim().to_owned();
    assert_eq!(arn, format!("{LAYER}cli:1"));
    good(run(&["deploy", &path("app"), "--layer", &arn]).await);
    assert_eq!(live.invoke("app", &json!({})).await.good(), json!("the command"));
    assert!(good(run(&["layer", "publish", "cli", &path("layer")]).await).ends_with("cli:2\n"));

    let layers = good(run(&["layer", "list"]).await);
    assert!(layers.contains("cli:2") && !layers.contains("cli:1"), "{layers}");
    let versions = good(run(&["layer", "list", "cli", "--runtime", "rustpython"]).await);
    assert!(versions.contains("cli:1") && versions.contains("by hand") && !versions.contains("cli:2"), "{versions}");
    good(run(&["layer", "delete", "cli:2", &arn]).await);
    let again = run(&["layer", "delete", "cli:2"]).await;
    assert!(String::from_utf8_lossy(&again.stderr).contains("does not exist"), "{again:?}");
    assert_eq!(live.invoke("app", &json!({})).await.good(), json!("the command"));
    let nothing = run(&["layer", "publish", "cli"]).await;
    assert!(!nothing.status.success(), "there is nothing to publish");
    live.stop().await;
}
