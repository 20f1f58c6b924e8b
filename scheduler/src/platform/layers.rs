//! Layers: published once, used by functions that keep what they use.
//!
//! A function's record has all that its layers are made of, so a deleted version goes on working where it is used; its files are
//! removed with the last function that needs them.

use std::sync::Arc;

use super::{Inner, blocking, packages};
use crate::{
    catalog::new_revision_id,
    configuration::Configuration,
    deploy::write_image,
    function::Code,
    image::Part,
    layer::{LayerId, LayerStatement, LayerVersion, NewLayer, UsedLayer},
    limits,
    refusal::Refusal,
};

/// What is said of a version that is asked for by itself.
const NOT_FOUND: &str = "The resource you requested does not exist.";

pub(super) async fn publish(inner: &Arc<Inner>, new: NewLayer) -> Result<Arc<LayerVersion>, Refusal> {
    inner.check_open()?;
    let NewLayer { name, about, package: bytes } = new;
    let (package, code) = packages::check(inner, bytes.clone()).await?;
    let _nobody_collects = inner.files.read().await;
    let (this, created_ms) = (inner.clone(), inner.clock.unix_ms());
    blocking(move || {
        packages::keep(&this.directory, &code, &bytes)?;
        // Now, and not when the first function asks for it: one that cannot be an image is refused, and functions do not wait.
        write_image(&this.directory, Part::Layer, &code.sha256_hex, &package).map_err(Refusal::Platform)?;
        this.catalog.publish_layer(&name, |id| LayerVersion { id, about, code, created_ms, policy: Default::default() })
    })
    .await
}

pub(super) fn get(inner: &Inner, id: &LayerId) -> Result<Arc<LayerVersion>, Refusal> {
    inner.catalog.layer(id).ok_or_else(|| Refusal::LayerNotFound(NOT_FOUND.into()))
}

/// Deletes a version, if there is one: functions that use it keep it.
pub(super) async fn delete(inner: &Arc<Inner>, id: LayerId) -> Result<(), Refusal> {
    inner.check_open()?;
    let Some(before) = inner.catalog.layer(&id) else { return Ok(()) };
    let this = inner.clone();
    blocking(move || this.catalog.change_layer(&id, |_| Ok(None))).await?;
    let inner = inner.clone();
    tokio::spawn(async move { inner.collect_zip(before.code.sha256_hex.clone()).await });
    Ok(())
}

/// Sets or removes (`None`) a statement of a version's policy.
pub(super) async fn change_policy(
    inner: &Arc<Inner>,
    id: LayerId,
    name: String,
    statement: Option<LayerStatement>,
    expected_revision: Option<String>,
) -> Result<Arc<LayerVersion>, Refusal> {
    inner.check_open()?;
    let this = inner.clone();
    let change = move || {
        let missing = || Refusal::LayerNotFound(format!("Layer version {} does not exist.", this.layer_arn(&id)));
        let changed = this.catalog.change_layer(&id, |before| {
            let mut next = before.ok_or_else(missing)?.clone();
            if expected_revision.is_some_and(|expected| expected != next.policy.revision_id) {
                return Err(Refusal::PolicyRevisionMismatch);
            }
            let statements = &mut next.policy.statements;
            match statement {
                Some(_) if statements.contains_key(&name) => return Err(Refusal::StatementExists(name)),
                Some(statement) => drop(statements.insert(name, statement)),
                None if statements.remove(&name).is_none() => {
                    let text = format!("Statement {name} is not found in resource policy.");
                    return Err(Refusal::LayerNotFound(text));
                }
                None => {}
            }
            next.policy.revision_id = new_revision_id();
            Ok(Some(next))
        });
        changed?.ok_or_else(missing)
    };
    blocking(change).await
}

impl Inner {
    /// ARN of a version.
    pub(super) fn layer_arn(&self, id: &LayerId) -> String {
        format!("{}:{}", self.layer_arn_of(&id.name), id.version)
    }

    /// ARN of a layer.
    pub(super) fn layer_arn_of(&self, name: &str) -> String {
        let (region, account) = (&self.settings.region, &self.settings.account_id);
        format!("arn:aws:lambda:{region}:{account}:layer:{name}")
    }

    /// What a function's record has of the layers that are asked for. To be called while the catalog is changed, so that none of
    /// them goes in between.
    pub(super) fn resolve_layers(&self, wanted: &[LayerId]) -> Result<Vec<UsedLayer>, Refusal> {
        if wanted.len() > limits::LAYERS {
            return Err(Refusal::InvalidParameter(format!("Cannot reference more than {} layers.", limits::LAYERS)));
        }
        let mut layers = Vec::with_capacity(wanted.len());
        for (index, id) in wanted.iter().enumerate() {
            let arn = self.layer_arn(id);
            let Some(version) = self.catalog.layer(id) else {
                return Err(Refusal::InvalidParameter(format!("Layer version {arn} does not exist.")));
            };
            if let Some(other) = wanted[..index].iter().find(|other| other.name == id.name) {
                return Err(Refusal::InvalidParameter(format!(
                    "Two different versions of the same layer are not allowed to be referenced in the same function. {} and \
                     {arn} are versions of the same layer.",
                    self.layer_arn(other)
                )));
            }
            layers.push(UsedLayer { arn, code: version.code.clone() });
        }
        Ok(layers)
    }
}

/// Whether a package and its layers are small enough together.
pub(super) fn check_size(configuration: &Configuration, code: &Code) -> Result<(), Refusal> {
    let (limit, layers) = (limits::PACKAGE_UNZIPPED_BYTES, &configuration.layers);
    let total = code.unzipped_bytes + layers.iter().map(|layer| layer.code.unzipped_bytes).sum::<u64>();
    if total > limit {
        return Err(Refusal::InvalidParameter(format!(
            "Function code combined with layers exceeds the maximum allowed size of {limit} bytes. The actual size is {total} \
             bytes."
        )));
    }
    Ok(())
}
