//! What the Debian package brings is whole.

use std::path::Path;

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
            // What only those need who have the repository is there.
            if link.is_empty() || link.contains("://") || link == "../deny.toml" {
                continue;
            }
            assert!(root.join("docs").join(link).exists(), "{link} in {page:?}");
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
