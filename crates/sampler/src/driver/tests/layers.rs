//! The direction of the data, reading → state → accounting, as the imports show it.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with the modules of this crate that its files may import.
const LAYERS: [(&str, &[&str]); 7] = [
    ("read", &["read", "capture", "executor", "ids", "options", "health", "shrink", "tcp_states"]),
    (
        "usage",
        &[
            "usage",
            "read",
            "health",
            "io_counters",
            "state_counts",
            "switches",
            "tcp_states",
            "cpu_time",
            "fault_counts",
        ],
    ),
    (
        "source.rs",
        &[
            "read",
            "usage",
            "classifier",
            "health",
            "ids",
            "io_counters",
            "lifetimes",
            "tcp_states",
            "cpu_time",
            "fault_counts",
        ],
    ),
    (
        "state",
        &[
            "state",
            "source",
            "usage",
            "read",
            "fields",
            "ids",
            "image",
            "shrink",
            "switches",
            "cpu_time",
            "lifetimes",
        ],
    ),
    ("classifier.rs", &["state", "source", "fields", "image", "io_counters", "shrink"]),
    (
        "accounting",
        &[
            "accounting",
            "state",
            "source",
            "usage",
            "read",
            "ids",
            "image",
            "io_counters",
            "lifetimes",
            "cpu_time",
            "fault_counts",
            "shrink",
        ],
    ),
    (
        "sockets",
        &[
            "sockets",
            "state",
            "source",
            "read",
            "ids",
            "image",
            "health",
            "shrink",
            "tcp_states",
            "cpu_time",
        ],
    ),
];

fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

#[test]
fn imports_follow_the_data() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (layer, allowed) in LAYERS {
        let mut imports = 0;
        for file in files(&src.join(layer)).into_iter().chain(
            // The macro of the table.
            (layer == "usage").then(|| src.join("usage.rs")),
        ) {
            let text = fs::read_to_string(&file).unwrap();
            for rest in text.split("crate::").skip(1) {
                let module: String =
                    rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                // `crate::Name` is a link to the public interface.
                if !module.is_empty() {
                    let file = file.display();
                    assert!(allowed.contains(&module.as_str()), "{file} imports {module}");
                    imports += 1;
                }
            }
        }
        assert!(imports > 0, "{layer}");
    }
}

/// The default methods of the traits are for sources that do not have a value: the source that
/// reads by BPF passes each of them on to the live one.
#[test]
fn bpf_source_has_every_method() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let methods = |path: &str| -> Vec<String> {
        let text = fs::read_to_string(source.join(path)).unwrap();
        let names = text.lines().filter_map(|line| {
            let line = line.strip_prefix("    ")?;
            let name = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))?;
            Some(name.split(['(', '<']).next()?.to_owned())
        });
        names.collect()
    };
    let (of_traits, of_bpf) = (methods("source.rs"), methods("bpf/source.rs"));
    let missing = of_traits.iter().filter(|name| !of_bpf.contains(name) && *name != "open_fds");
    assert_eq!(missing.collect::<Vec<_>>(), <[&String; 0]>::default());
    assert!(of_bpf.len() > 40);
}
