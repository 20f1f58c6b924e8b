//! Layers, and the functions that use them.

use super::*;
use crate::layer::{AboutLayer, LayerFilter, LayerStatement};

fn layer(name: &str, content: &str) -> NewLayer {
    NewLayer { name: name.into(), about: AboutLayer::default(), package: zip(content) }
}

fn id(name: &str, version: u64) -> LayerId {
    LayerId { name: name.into(), version }
}

fn change(layers: &[LayerId]) -> ConfigurationChange {
    ConfigurationChange { layers: Some(layers.to_vec()), ..ConfigurationChange::default() }
}

/// Waits until these many files are in `images` and `packages`.
async fn files(directory: &tempfile::TempDir, images: usize, packages: usize) {
    let count = |place: &str| std::fs::read_dir(directory.path().join(place)).expect("it lists").count();
    for _ in 0..400 {
        if (count("images"), count("packages")) == (images, packages) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("there are {} images and {} packages, not {images} and {packages}", count("images"), count("packages"));
}

#[tokio::test]
async fn versions_are_counted_and_never_given_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    for (name, version) in [("l", 1), ("l", 2), ("other", 1)] {
        let published = platform.publish_layer(layer(name, "x")).await.expect("published");
        assert_eq!(published.id, id(name, version));
        assert_eq!(platform.layer(&published.id).expect("it is there"), published);
    }
    platform.delete_layer(id("l", 2)).await.expect("deleted");
    platform.delete_layer(id("l", 2)).await.expect("there is nothing to do");
    assert!(matches!(platform.layer(&id("l", 2)), Err(Refusal::LayerNotFound(_))));
    assert_eq!(platform.publish_layer(layer("l", "x")).await.expect("published").id.version, 3);
    platform.delete_layer(id("other", 1)).await.expect("deleted");
    assert_eq!(platform.publish_layer(layer("other", "x")).await.expect("published").id.version, 2);
    let bad = platform.publish_layer(NewLayer { package: "no zip".into(), ..layer("l", "x") }).await;
    assert!(matches!(bad, Err(Refusal::InvalidPackage(_))), "{bad:?}");
    assert_eq!(platform.publish_layer(layer("l", "x")).await.expect("published").id.version, 4, "none was used up");
}

#[tokio::test]
async fn lists_have_pages_and_filters() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    let about = |runtime: &str| AboutLayer { runtimes: vec![runtime.into()], ..AboutLayer::default() };
    for (name, runtime) in [("a", "python3.11"), ("a", "python3.12"), ("b", "python3.12"), ("c", "python3.11")] {
        let new = NewLayer { about: about(runtime), ..layer(name, "x") };
        platform.publish_layer(new).await.expect("published");
    }
    let ids = |page: &[Arc<LayerVersion>]| page.iter().map(|version| version.id.clone()).collect::<Vec<_>>();
    let all = LayerFilter::default();
    let (page, more) = platform.layers(None, 2, &all);
    assert_eq!((ids(&page), more.as_deref()), (vec![id("a", 2), id("b", 1)], Some("b")));
    let (page, more) = platform.layers(more.as_deref(), 2, &all);
    assert_eq!((ids(&page), more), (vec![id("c", 1)], None));
    let old = LayerFilter { runtime: Some("python3.11".into()), ..all.clone() };
    assert_eq!(ids(&platform.layers(None, 10, &old).0), [id("a", 1), id("c", 1)], "the newest that is for it");
    let arm = LayerFilter { architecture: Some("arm64".into()), ..all.clone() };
    assert_eq!(platform.layers(None, 10, &arm).0.len(), 0);

    let (page, more) = platform.layer_versions("a", None, 1, &all);
    assert_eq!((ids(&page), more), (vec![id("a", 2)], Some(2)));
    let (page, more) = platform.layer_versions("a", more, 1, &all);
    assert_eq!((ids(&page), more), (vec![id("a", 1)], None));
    assert_eq!(platform.layer_versions("nobody", None, 1, &all), (Vec::new(), None));
}

#[tokio::test]
async fn a_function_keeps_its_layers_for_as_long_as_it_needs_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, counts) = platform(&directory, ScriptedHost::default()).await;
    platform.publish_layer(layer("l", "layer")).await.expect("published");
    let function = NewFunction { layers: vec![id("l", 1)], ..new("f") };
    platform.create_function(function).await.expect("it is created");
    let active = settled(&platform, "f").await;
    let used = &active.configuration.layers;
    assert_eq!(used.len(), 1);
    assert_eq!(used[0].arn, "arn:aws:lambda:us-east-1:000000000000:layer:l:1");
    assert_eq!(used[0].code.unzipped_bytes, "layer".len() as u64);
    // The runtime's image, the layer's and the package's.
    files(&directory, 3, 2).await;
    assert_eq!(platform.package(&used[0].code.sha256_hex).await.expect("it can be downloaded"), zip("layer"));

    platform.delete_layer(id("l", 1)).await.expect("deleted");
    let gone = platform.create_function(NewFunction { layers: vec![id("l", 1)], ..new("g") }).await;
    let text = gone.expect_err("it is deleted").to_string();
    assert_eq!(text, "Layer version arn:aws:lambda:us-east-1:000000000000:layer:l:1 does not exist.");
    // Something to look for when the collection is done: the one of the layer came before it.
    platform.publish_layer(layer("m", "another")).await.expect("published");
    platform.delete_layer(id("m", 1)).await.expect("deleted");
    files(&directory, 3, 2).await;
    let inits = Counts::get(&counts.inits);
    let memory = ConfigurationChange { memory_mb: Some(256), ..ConfigurationChange::default() };
    platform.update_configuration("f", memory, None).await.expect("it begins");
    assert_eq!(settled(&platform, "f").await.configuration.layers, *used, "it goes on having it");
    assert_eq!(Counts::get(&counts.inits), inits + 1);
    invoke(&platform, "f", json!({})).await.expect("it runs");

    platform.update_configuration("f", change(&[]), None).await.expect("it begins");
    assert_eq!(settled(&platform, "f").await.configuration.layers, []);
    assert_eq!(Counts::get(&counts.inits), inits + 2, "other layers, another snapshot");
    files(&directory, 2, 1).await;
}

#[tokio::test]
async fn one_zip_as_layer_and_as_package_is_kept_until_neither_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    for _ in 0..2 {
        platform.publish_layer(layer("l", "one")).await.expect("published");
    }
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    files(&directory, 3, 1).await;
    platform.delete_layer(id("l", 1)).await.expect("deleted");
    platform.delete_function("f").await.expect("deleted");
    files(&directory, 2, 1).await;
    platform.delete_layer(id("l", 2)).await.expect("deleted");
    files(&directory, 1, 0).await;
}

#[tokio::test]
async fn layers_that_cannot_be_used_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    for name in ["a", "b", "c", "d", "e", "f", "a"] {
        platform.publish_layer(layer(name, name)).await.expect("published");
    }
    platform.create_function(new("f")).await.expect("it is created");
    settled(&platform, "f").await;
    let arn = "arn:aws:lambda:us-east-1:000000000000:layer";
    let six: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(|name| id(name, 1)).into();
    for (layers, text) in [
        (six.clone(), "Cannot reference more than 5 layers.".to_owned()),
        (vec![id("a", 1), id("nobody", 1)], format!("Layer version {arn}:nobody:1 does not exist.")),
        (vec![id("a", 3)], format!("Layer version {arn}:a:3 does not exist.")),
        (
            vec![id("a", 1), id("b", 1), id("a", 2)],
            format!(
                "Two different versions of the same layer are not allowed to be referenced in the same function. {arn}:a:1 and \
                 {arn}:a:2 are versions of the same layer."
            ),
        ),
    ] {
        let refused = platform.update_configuration("f", change(&layers), None).await.expect_err("it cannot be");
        assert!(matches!(refused, Refusal::InvalidParameter(_)), "{refused:?}");
        assert_eq!(refused.to_string(), text);
    }
    assert_eq!(platform.function("f").expect("there").configuration.layers, []);
    platform.update_configuration("f", change(&six[..5]), None).await.expect("five can be");
    let names: Vec<_> = settled(&platform, "f").await.configuration.layers.into_iter().map(|layer| layer.arn).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"].map(|name| format!("{arn}:{name}:1")), "in their order");
}

/// A zip of a file of that many zeros, not compressed: it would be refused otherwise.
fn zeros(bytes: usize) -> Bytes {
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    writer.start_file("zeros", options).expect("starts");
    writer.write_all(&vec![0; bytes]).expect("writes");
    writer.finish().expect("ends").into_inner().into()
}

#[tokio::test]
async fn a_package_and_its_layers_have_one_limit() {
    const PART_BYTES: usize = 52_428_000;
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    let package = zeros(PART_BYTES);
    for name in ["a", "b", "c", "d", "e"] {
        let new = NewLayer { package: package.clone(), ..layer(name, "") };
        platform.publish_layer(new).await.expect("published");
    }
    let layers: Vec<_> = ["a", "b", "c", "d", "e"].map(|name| id(name, 1)).into();
    let too_large = "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is \
                     314568000 bytes.";
    let function = || NewFunction { layers: layers.clone(), ..new("f") };
    let refused = platform.create_function(NewFunction { package: package.clone(), ..function() }).await;
    assert_eq!(refused.expect_err("too large").to_string(), too_large);
    platform.create_function(function()).await.expect("it is small enough");
    settled(&platform, "f").await;
    for dry_run in [true, false] {
        let refused = platform.update_code("f", package.clone(), None, dry_run).await;
        assert_eq!(refused.expect_err("too large").to_string(), too_large);
    }
    let fewer = platform.update_configuration("f", change(&layers[..4]), None).await.expect("it begins");
    assert_eq!(fewer.configuration.layers.len(), 4);
    settled(&platform, "f").await;
    platform.update_code("f", package, None, true).await.expect("now it fits");
}

#[tokio::test]
async fn a_policy_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let (platform, _) = platform(&directory, ScriptedHost::default()).await;
    platform.publish_layer(layer("l", "x")).await.expect("published");
    let statement =
        LayerStatement { action: "lambda:GetLayerVersion".into(), principal: "*".into(), organization_id: None };
    let set = |name: &str, statement: Option<&LayerStatement>, revision: Option<&str>| {
        platform.change_layer_policy(id("l", 1), name.into(), statement.cloned(), revision.map(str::to_owned))
    };
    let one = set("all", Some(&statement), None).await.expect("set");
    assert_eq!(one.policy.statements.get("all"), Some(&statement));
    assert!(matches!(set("all", Some(&statement), None).await, Err(Refusal::StatementExists(_))));
    assert!(matches!(set("two", Some(&statement), Some("x")).await, Err(Refusal::PolicyRevisionMismatch)));
    let none = set("two", None, None).await.expect_err("there is none").to_string();
    assert_eq!(none, "Statement two is not found in resource policy.");
    let two = set("all", None, Some(&one.policy.revision_id)).await.expect("removed");
    assert!(two.policy.statements.is_empty() && two.policy.revision_id != one.policy.revision_id);
    assert_eq!(platform.layer(&id("l", 1)).expect("there").code, one.code, "nothing else has changed");
    let missing = platform.change_layer_policy(id("l", 2), "x".into(), None, None).await.expect_err("no version");
    assert_eq!(missing.to_string(), "Layer version arn:aws:lambda:us-east-1:000000000000:layer:l:2 does not exist.");
}
