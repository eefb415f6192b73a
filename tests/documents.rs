//! What the documents say exists.

use std::collections::BTreeSet;
use std::path::Path;

/// The documents, and the folder from which each one's links start.
const DOCUMENTS: [(&str, &str); 8] = [
    ("README.md", ""),
    ("CONTRIBUTING.md", ""),
    ("docs/experiments.md", "docs"),
    ("docs/gpu.md", "docs"),
    ("docs/performance.md", "docs"),
    ("docs/training.md", "docs"),
    ("models/README.md", "models"),
    ("assets/LICENCES.md", "assets"),
];

/// Paths in backticks begin with one of these.
const ROOTS: [&str; 10] =
    ["src/", "tests/", "benches/", "tools/", "docs/", "experiments/", "models/", "shaders/", "assets/", ".ci/"];

/// Paths in backticks that name a file or folder of the project. Commands, and names with a placeholder in capitals or a
/// wildcard, are none.
fn paths(text: &str) -> BTreeSet<&str> {
    let whole = |path: &&str| {
        let placeholder =
            path.split(['/', '.']).any(|part| part.len() > 1 && part.chars().all(|c| c.is_ascii_uppercase()));
        ROOTS.iter().any(|root| path.starts_with(root))
            && !path.contains([' ', '*', '…'])
            && (!placeholder || path.ends_with("README.md"))
    };
    text.split('`').skip(1).step_by(2).filter(whole).collect()
}

/// Targets of links within the project, without the part behind `#`.
fn links(text: &str) -> BTreeSet<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|t| !t.contains("://") && !t.starts_with('#')).filter_map(|t| t.split('#').next()).collect()
}

/// Headings as anchors of links: small letters, hyphens for spaces.
fn anchors(text: &str) -> BTreeSet<String> {
    let heading = |line: &str| {
        let letters = line.trim_start_matches('#').trim().to_lowercase();
        letters
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    text.lines().filter(|line| line.starts_with('#')).map(heading).collect()
}

/// Blocks of code hold backticks in threes and are no prose.
fn without_blocks(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn documents_name_only_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for (document, folder) in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        let prose = without_blocks(&text);
        let named = paths(&prose).into_iter().map(|path| root.join(path));
        for path in named.chain(links(&prose).into_iter().map(|target| root.join(folder).join(target))) {
            if !path.exists() {
                missing.push(format!("{document}: {}", path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

#[test]
fn links_to_headings_find_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (document, folder) in DOCUMENTS {
        let text = std::fs::read_to_string(root.join(document)).unwrap();
        for target in without_blocks(&text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, anchor)) = target.split_once('#').filter(|_| !target.contains("://")) else { continue };
            let path = if file.is_empty() { root.join(document) } else { root.join(folder).join(file) };
            let headings = anchors(&without_blocks(&std::fs::read_to_string(&path).unwrap()));
            assert!(headings.contains(anchor), "{document}: {target} is none of {headings:?}");
        }
    }
}

#[test]
fn paths_and_links_are_told_from_prose() {
    let text = "`src/lib.rs`, [x](docs/a.md#b), `models/NAME.toml`, `make demo`, `src/dataset/*.rs`, [y](https://z.org), `docs/`";
    assert_eq!(paths(text), BTreeSet::from(["src/lib.rs", "docs/"]));
    assert_eq!(links(text), BTreeSet::from(["docs/a.md"]));
    assert_eq!(anchors("# Checking the CUDA build\ntext"), BTreeSet::from(["checking-the-cuda-build".to_owned()]));
}
