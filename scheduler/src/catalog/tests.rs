//! What was acknowledged is there after whatever happens.

use super::*;
use crate::function::{Code, Function, FunctionState, UpdateStatus};

fn directory() -> (tempfile::TempDir, Directory) {
    let root = tempfile::tempdir().expect("a directory");
    let directory = Directory::create(root.path()).expect("it can be written");
    (root, directory)
}

pub(crate) fn function(name: &str) -> Function {
    Function {
        configuration: crate::Configuration {
            name: name.into(),
            runtime: "rustpython".into(),
            handler: "m.h".into(),
            ..Default::default()
        },
        version: "$LATEST".into(),
        arn: format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"),
        code: Code { sha256_base64: "x".into(), sha256_hex: "00".into(), bytes: 1, unzipped_bytes: 1 },
        revision_id: record::new_revision_id(),
        last_modified_ms: 1,
        state: FunctionState::Pending,
        state_reason: None,
        last_update: None,
        last_update_reason: None,
        tags: [("a".to_owned(), "b".to_owned())].into(),
        reserved_concurrency: None,
        provisioned_concurrency: None,
    }
}

fn create(catalog: &Catalog, name: &str) -> Arc<Record> {
    let created = catalog.change(name, |before| {
        assert!(before.is_none());
        Ok(Some(Record::created(function(name))))
    });
    created.expect("it is written").expect("it is there")
}

#[test]
fn records_survive() {
    let (_root, directory) = directory();
    let catalog = Catalog::open(&directory).expect("it opens");
    let one = create(&catalog, "one");
    create(&catalog, "two");
    catalog.change("two", |_| Ok(None)).expect("it is removed");
    drop(catalog);
    let again = Catalog::open(&directory).expect("it opens");
    assert_eq!(again.len(), 1);
    assert_eq!(again.get("one"), Some(one));
    assert_eq!(again.get("two"), None);
}

#[test]
fn a_refused_change_changes_nothing() {
    let (_root, directory) = directory();
    let catalog = Catalog::open(&directory).expect("it opens");
    let one = create(&catalog, "one");
    let refused = catalog.change("one", |_| Err(Refusal::RevisionMismatch));
    assert!(matches!(refused, Err(Refusal::RevisionMismatch)));
    assert_eq!(catalog.get("one"), Some(one));
}

#[test]
fn pages_have_everything_once() {
    let (_root, directory) = directory();
    let catalog = Catalog::open(&directory).expect("it opens");
    for index in 0..7 {
        create(&catalog, &format!("f{index}"));
    }
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let (page, next) = catalog.page(after.as_deref(), 3);
        seen.extend(page.iter().map(|record| record.function.configuration.name.clone()));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["f0", "f1", "f2", "f3", "f4", "f5", "f6"]);
    assert_eq!(catalog.page(Some("f6"), 3).0.len(), 0);
}

#[test]
fn what_cannot_be_opened_says_why() {
    let (root, directory) = directory();
    let catalog = Catalog::open(&directory).expect("it opens");
    let locked = Catalog::open(&directory).err().expect("it is in use").to_string();
    assert!(locked.contains("in use by another mayfly"), "{locked}");
    {
        let database = catalog.database.lock().expect("not poisoned");
        let transaction = database.begin_write().expect("begins");
        transaction.open_table(META).expect("opens").insert(FORMAT_KEY, FORMAT + 1).expect("inserts");
        transaction.commit().expect("commits");
    }
    drop(catalog);
    let newer = Catalog::open(&directory).err().expect("it is newer").to_string();
    assert!(newer.contains("has format 3, this mayfly knows up to 2"), "{newer}");

    std::fs::write(directory.catalog(), b"not a database at all, but long enough to be read as one".repeat(100))
        .expect("writes");
    let damaged = Catalog::open(&directory).err().expect("it is damaged").to_string();
    assert!(damaged.contains("cannot be read"), "{damaged}");

    let file = root.path().join("file");
    std::fs::write(&file, b"").expect("writes");
    let unusable = Directory::create(&file).expect_err("no directory").to_string();
    assert!(unusable.contains("cannot be used"), "{unusable}");
}

#[test]
fn a_record_takes_its_steps() {
    let created = Record::created(function("f"));
    assert!(created.is_deploying());
    assert!(matches!(created.check_update(None), Err(Refusal::UpdateInProgress { .. })));
    let active = created.deployed();
    assert_eq!(
        (active.function.state, active.function.last_update),
        (FunctionState::Active, Some(UpdateStatus::Successful))
    );
    assert_ne!(active.function.revision_id, created.function.revision_id);
    assert!(matches!(active.check_update(Some("other")), Err(Refusal::RevisionMismatch)));
    active.check_update(Some(&active.function.revision_id)).expect("it is that one");

    let mut wanted = active.wanted();
    wanted.configuration.memory_mb = 256;
    let updating = active.updating(wanted.clone(), 2);
    assert!(updating.is_deploying());
    assert_eq!(updating.function.state, FunctionState::Active);
    assert_eq!(updating.serving, active.serving, "the old one serves until then");
    assert_eq!(updating.deployed().serving, Some(wanted));
    let failed = updating.failed("why".into());
    assert_eq!(
        (failed.function.state, failed.function.last_update),
        (FunctionState::Active, Some(UpdateStatus::Failed))
    );
    assert_eq!(failed.serving, active.serving);

    let never = created.failed("why".into());
    assert_eq!(never.function.state, FunctionState::Failed);
    assert_eq!(never.updating(never.wanted(), 3).function.state, FunctionState::Pending);
}

fn layer(id: crate::LayerId) -> crate::LayerVersion {
    let code = function("f").code;
    crate::LayerVersion { id, about: Default::default(), code, created_ms: 1, policy: Default::default() }
}

#[test]
fn layers_survive_and_so_do_their_numbers() {
    let (_root, directory) = directory();
    let catalog = Catalog::open(&directory).expect("it opens");
    let one = catalog.publish_layer("l", layer).expect("written");
    let two = catalog.publish_layer("l", layer).expect("written");
    catalog.change_layer(&two.id, |_| Ok(None)).expect("removed");
    drop(catalog);
    let catalog = Catalog::open(&directory).expect("it opens");
    assert_eq!(catalog.all_layers(), std::slice::from_ref(&one));
    assert_eq!(catalog.layer(&two.id), None);
    assert_eq!(catalog.publish_layer("l", layer).expect("written").id.version, 3);
    assert!(catalog.uses_of("00").as_layer && !catalog.uses_of("00").as_package);
    catalog.change_layer(&one.id, |_| Err(Refusal::PolicyRevisionMismatch)).expect_err("refused");
    assert_eq!(catalog.layer(&one.id), Some(one));
}

#[test]
fn an_older_directory_is_taken_over() {
    let (_root, directory) = directory();
    {
        let database = Database::create(directory.catalog()).expect("created");
        let transaction = database.begin_write().expect("begins");
        transaction.open_table(META).expect("opens").insert(FORMAT_KEY, 1).expect("inserts");
        // As it was written before packages had their unzipped size and functions their layers.
        let mut record = serde_json::to_value(Record::created(function("f"))).expect("JSON");
        record["function"]["code"].as_object_mut().expect("an object").remove("unzipped_bytes");
        let bytes = record.to_string().into_bytes();
        transaction.open_table(FUNCTIONS).expect("opens").insert("f", bytes.as_slice()).expect("inserts");
        transaction.commit().expect("commits");
    }
    let catalog = Catalog::open(&directory).expect("it opens");
    assert_eq!(catalog.get("f").expect("it is there").function.code.unzipped_bytes, 0);
    catalog.publish_layer("l", layer).expect("written");
    drop(catalog);
    let database = Database::create(directory.catalog()).expect("opens");
    let format = database.begin_read().expect("begins").open_table(META).expect("opens").get(FORMAT_KEY);
    assert_eq!(format.expect("reads").expect("it is there").value(), FORMAT, "the older program must refuse it");
}
