//! What the Debian package brings is whole.

use std::path::Path;

/// Pages of the repository that the package leaves out.
const FOR_CLONES: [&str; 4] =
    ["deny.toml", "CONTRIBUTING.md", "ARCHITECTURE.md", "benches/README.md"];

/// The pages were put beside CHANGELOG.md, and without README.md, and their links
/// led nowhere.
#[test]
fn the_links_of_the_pages_in_the_package_lead_somewhere() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let package = include_str!("../Cargo.toml");
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let page = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&page) else { continue };
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if link.is_empty() || link.contains("://") {
                continue;
            }
            assert!(root.join("docs").join(link).exists(), "{link} in {page:?}");
            // What only those need who have the repository is there.
            if link.strip_prefix("../").is_some_and(|file| FOR_CLONES.contains(&file)) {
                continue;
            }
            let brought = match link.strip_prefix("../") {
                Some(file) => {
                    package.contains(&format!("[\"../../{file}\", \"usr/share/doc/psstat/\""))
                }
                None => package.contains("[\"../../docs/*\", \"usr/share/doc/psstat/docs/\""),
            };
            assert!(brought, "{link} in {page:?}");
        }
    }
}
