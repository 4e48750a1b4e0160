//! Every crate that is built in has a licence that deny.toml allows.
//!
//! `cargo deny check` says the same and more; this needs no tool.

use anyhow::{Context, Result};
use cargo_metadata::Metadata;

use crate::cargo;

pub(super) fn check(metadata: &Metadata) -> Result<Vec<String>> {
    let allowed = allowed()?;
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let expression = package.license.as_deref().unwrap_or_default();
        if !satisfied(expression, &allowed) {
            let name = &package.name;
            findings.push(format!("{name}: licence \"{expression}\" is not allowed by deny.toml"));
        }
    }
    Ok(findings)
}

/// The strings of `allow = [ … ]` in deny.toml.
fn allowed() -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(cargo::root().join("deny.toml")).context("read deny.toml")?;
    let (_, list) = text.split_once("\nallow = [").context("deny.toml has no licence list")?;
    let (list, _) = list.split_once(']').context("deny.toml's licence list has no end")?;
    Ok(list.split('"').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Whether one of the alternatives has only allowed licences. Cargo's
/// expressions nest one deep at most: `(A OR B) AND C`.
fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let is_allowed = |name: &str| allowed.iter().any(|allowed| allowed == name.trim());
    let any = |text: &str| text.split(" OR ").flat_map(|part| part.split('/')).any(is_allowed);
    let outer = expression.replace(['(', ')'], "");
    if expression.contains('(') {
        return outer.split(" AND ").all(any);
    }
    outer
        .split(" OR ")
        .flat_map(|part| part.split('/'))
        .any(|all| all.split(" AND ").all(is_allowed))
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    #[test]
    fn reads_the_expressions_of_cargo() {
        let allowed = ["MIT", "ISC", "Apache-2.0"].map(str::to_owned);
        for (expression, fine) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("MIT AND ISC", true),
            ("MIT AND GPL-3.0", false),
            ("Apache-2.0 AND ISC OR GPL-3.0", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), fine, "{expression}");
        }
    }
}
