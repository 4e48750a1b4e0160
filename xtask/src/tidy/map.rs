//! ARCHITECTURE.md names every place there is: crates, their modules, and
//! what stands in the root.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use cargo_metadata::Metadata;

use crate::cargo;

pub(super) fn check(metadata: &Metadata, tracked: &[String]) -> Result<Vec<String>> {
    let map = std::fs::read_to_string(cargo::root().join("ARCHITECTURE.md"))
        .context("read ARCHITECTURE.md")?;
    let mut places = BTreeSet::new();
    for name in tracked {
        // A file in the root, a folder in it, and each crate's modules.
        let mut parts = name.split('/');
        places.insert(parts.next().unwrap_or_default().to_owned());
        if let (Some("src"), Some(module), rest) = skip_to_src(name, metadata)
            && module != "lib.rs"
            && module != "main.rs"
        {
            let folder = rest.is_some();
            let stem = module.strip_suffix(".rs").filter(|_| !folder).unwrap_or(module);
            places.insert(stem.to_owned());
        }
    }
    let known: BTreeSet<_> =
        map.split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).collect();
    let named =
        |place: &str| known.contains(place) || known.contains(place.trim_start_matches('.'));
    Ok(places
        .iter()
        .filter(|place| !named(place))
        .map(|place| format!("ARCHITECTURE.md does not say what {place} is"))
        .collect())
}

/// `crates/x/src/module/file.rs` → ("src", "module", "file.rs"), for ours.
fn skip_to_src<'a>(
    name: &'a str,
    metadata: &Metadata,
) -> (Option<&'a str>, Option<&'a str>, Option<&'a str>) {
    let full = cargo::root().join(name);
    let inside = super::ours(metadata).find_map(|package| {
        let dir = package.manifest_path.parent()?;
        full.strip_prefix(dir.as_std_path()).ok().map(|rest| rest.to_string_lossy().len())
    });
    let mut parts = inside.map_or("", |len| &name[name.len() - len..]).split('/');
    (parts.next(), parts.next(), parts.next())
}
