//! ADR 0001 lists what the manifests declare, no more and no less.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A dependency, the folder of the package that declares it, and whether only for tests.
type Declaration = (String, String, bool);

/// Packages that are nothing but tests.
const TESTS: [&str; 2] = ["tests", "fuzz"];

/// Packages of this repository.
const OWN: [&str; 3] = ["protocol", "sandbox", "waterwall-proxy"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn members() -> Vec<String> {
    let workspace = read(&root().join("Cargo.toml"));
    let line = workspace.lines().find(|line| line.starts_with("members")).expect("members");
    line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn declared_in(manifest: &Path, package: &str) -> BTreeSet<Declaration> {
    let mut found = BTreeSet::new();
    let mut section = String::new();
    for line in read(manifest).lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            assert!(
                !section.starts_with("target.") && section != "build-dependencies",
                "{section}"
            );
        }
        let in_tests = match section.as_str() {
            "dependencies" => TESTS.contains(&package),
            "dev-dependencies" => true,
            _ => continue,
        };
        let Some((key, _)) = line.split_once('=') else { continue };
        let name = key.trim().trim_end_matches(".workspace").to_owned();
        let is_declared = found.contains(&(name.clone(), package.to_owned(), false));
        if !OWN.contains(&name.as_str()) && !is_declared {
            found.insert((name, package.to_owned(), in_tests));
        }
    }
    assert!(!found.is_empty(), "{package}");
    found
}

fn declared() -> BTreeSet<Declaration> {
    let mut all: BTreeSet<Declaration> = members()
        .iter()
        .flat_map(|member| declared_in(&root().join(member).join("Cargo.toml"), member))
        .collect();
    all.extend(declared_in(&root().join("tests/fuzz/Cargo.toml"), "fuzz"));
    all
}

fn listed() -> BTreeSet<Declaration> {
    let decision = read(&root().join("docs/adr/0001-dependencies.md"));
    let rows = decision.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.flat_map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, name, plain, in_tests, why, _] = cells[..] else { panic!("{row}") };
        assert!(!why.is_empty(), "{row}");
        [(plain, false), (in_tests, true)].map(|(packages, in_tests)| {
            let packages = packages.split(", ").filter(|package| !package.is_empty());
            packages.map(move |package| (name.to_owned(), package.to_owned(), in_tests))
        })
    })
    .flatten()
    .collect()
}

#[test]
fn every_direct_dependency_is_listed_where_it_is_declared() {
    let (declared, listed) = (declared(), listed());
    let unlisted: Vec<_> = declared.difference(&listed).collect();
    let undeclared: Vec<_> = listed.difference(&declared).collect();
    assert!(unlisted.is_empty() && undeclared.is_empty(), "{unlisted:#?} {undeclared:#?}");
}
