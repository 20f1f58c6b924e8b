//! `mayfly layer`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    bundle,
    client::{Client, Endpoint, encoded},
    requirements::Installer,
    table::Table,
};

/// Widest column: the longest ARN.
const ARN_CHARS_MAX: usize = 140;

/// Publish, list and delete layers.
#[derive(Args)]
pub(super) struct Layer {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Publish the next version of a layer, and print its ARN.
    Publish(Publish),
    /// List layers, or the versions of one.
    List(List),
    /// Delete versions of layers. Functions that use them keep them.
    Delete(Delete),
}

#[derive(Args)]
#[command(after_help = PUBLISH_EXAMPLES)]
struct Publish {
    /// Name of the layer
    name: String,
    /// Folder with what shall be in /opt (modules below python/), or a zip file
    #[arg(required_unless_present = "requirements")]
    source: Option<PathBuf>,
    /// List of packages that this host's pip installs into python/
    #[arg(long, value_name = "FILE")]
    requirements: Option<PathBuf>,
    /// Runtime that it is for; can be given several times [default: with --requirements, this host's python3.N]
    #[arg(long)]
    runtime: Vec<String>,
    /// What it is
    #[arg(long)]
    description: Option<String>,
    /// License of what is in it: an SPDX identifier, an address, or the text
    #[arg(long)]
    license: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

const PUBLISH_EXAMPLES: &str = "Examples:
  mayfly layer publish numpy --requirements requirements.txt
  mayfly layer publish shared layers/shared --description 'what all functions import'
  mayfly deploy app --layer \"$(mayfly layer publish shared layers/shared)\"";

#[derive(Args)]
struct List {
    /// Name of a layer, to list its versions
    name: Option<String>,
    /// Only versions that are for this runtime
    #[arg(long)]
    runtime: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Args)]
#[command(after_help = "Example:\n  mayfly layer delete numpy:1 arn:aws:lambda:us-east-1:000000000000:layer:numpy:2")]
struct Delete {
    /// NAME:VERSION, or ARNs of versions
    #[arg(required = true, value_name = "VERSION")]
    versions: Vec<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Layer {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        match self.action {
            Action::Publish(publish) => publish.run().await,
            Action::List(list) => list.run().await,
            Action::Delete(delete) => delete.run().await,
        }
    }
}

impl Publish {
    async fn run(self) -> Result<ExitCode, String> {
        let mut runtimes = self.runtime.clone();
        let packages = match &self.requirements {
            None => None,
            Some(list) => {
                let installer = Installer::find(runtimes.first().map(String::as_str))?;
                let folder = installer.install(list)?;
                if runtimes.is_empty() {
                    runtimes.push(installer.runtime);
                }
                Some(folder)
            }
        };
        let package = package(self.source.as_deref(), packages.as_ref().map(|folder| folder.path.as_path()))?;
        let mut members = Map::from_iter([("Content".to_owned(), json!({"ZipFile": STANDARD.encode(package)}))]);
        if !runtimes.is_empty() {
            members.insert("CompatibleRuntimes".into(), json!(runtimes));
        }
        for (name, value) in [("Description", self.description), ("LicenseInfo", self.license)] {
            members.extend(value.map(|text| (name.to_owned(), json!(text))));
        }
        let mut client = self.endpoint.client()?;
        let path = format!("/2018-10-31/layers/{}/versions", encoded(&self.name));
        let published = client.json(Method::POST, &path, Some(&Value::Object(members))).await?;
        println!("{}", published["LayerVersionArn"].as_str().unwrap_or_default());
        Ok(ExitCode::SUCCESS)
    }
}

/// The zip of a layer: a zip file as it is, or what is in a folder and the packages in another.
fn package(source: Option<&Path>, packages: Option<&Path>) -> Result<Vec<u8>, String> {
    match source {
        Some(file) if !file.is_dir() && packages.is_some() => {
            Err(format!("{} is no folder; --requirements adds packages to the content of a folder", file.display()))
        }
        Some(file) if !file.is_dir() => std::fs::read(file).map_err(|error| {
            format!("cannot read {} ({error}); give a folder with the layer's content, or a zip file", file.display())
        }),
        Some(folder) => {
            if packages.is_none() && !folder.join("python").is_dir() {
                eprintln!(
                    "mayfly: {} has no folder python/, so functions cannot import anything of it; its files will be in /opt",
                    folder.display()
                );
            }
            bundle::layer(Some(folder), packages)
        }
        None => bundle::layer(None, packages),
    }
}

impl List {
    async fn run(self) -> Result<ExitCode, String> {
        let mut client = self.endpoint.client()?;
        let (path, members) = match &self.name {
            None => ("/2018-10-31/layers".to_owned(), "Layers"),
            Some(name) => (format!("/2018-10-31/layers/{}/versions", encoded(name)), "LayerVersions"),
        };
        let filter = self.runtime.map(|name| format!("&CompatibleRuntime={}", encoded(&name))).unwrap_or_default();
        let mut table = Table::new(&["ARN", "RUNTIMES", "CREATED", "DESCRIPTION"]);
        let mut marker = String::new();
        loop {
            let page = client.json(Method::GET, &format!("{path}?Marker={marker}{filter}"), None).await?;
            for item in page[members].as_array().into_iter().flatten() {
                let version = item.get("LatestMatchingVersion").unwrap_or(item);
                let text = |key: &str| version[key].as_str().unwrap_or_default().to_owned();
                let runtimes = version["CompatibleRuntimes"].as_array().into_iter().flatten();
                let runtimes: Vec<_> = runtimes.filter_map(Value::as_str).collect();
                table.row([text("LayerVersionArn"), runtimes.join(", "), text("CreatedDate"), text("Description")]);
            }
            match &page["NextMarker"] {
                Value::String(next) if *next != marker => marker.clone_from(next),
                _ => break,
            }
        }
        print!("{}", table.render(ARN_CHARS_MAX));
        Ok(ExitCode::SUCCESS)
    }
}

impl Delete {
    async fn run(self) -> Result<ExitCode, String> {
        let mut client = self.endpoint.client()?;
        for text in &self.versions {
            let (layer, number) =
                text.rsplit_once(':').filter(|(_, number)| number.parse::<u64>().is_ok()).ok_or_else(|| {
                    format!("'{text}' names no version of a layer; give it as NAME:VERSION, or give its ARN")
                })?;
            delete(&mut client, layer, number).await?;
            println!("{text}: deleted");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Deletes a version, which must be there: Lambda itself says nothing of one that is not.
async fn delete(client: &mut Client, layer: &str, number: &str) -> Result<(), String> {
    let path = format!("/2018-10-31/layers/{}/versions/{number}", encoded(layer));
    client.json(Method::GET, &path, None).await?;
    client.json(Method::DELETE, &path, None).await.map(drop)
}
