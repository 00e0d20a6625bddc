//! The location of the config file.

use std::path::{Path, PathBuf};

use psstat_matcher::host_config::HostClass;

use crate::args::ConfArgs;
use psstat_support::escape;

/// The file with the options of the collector, which its start script reads.
const DEFAULTS: &str = "/etc/default/psstat";
/// The expected owner of the config file if nothing else is set.
const OWNER: &str = "appsc";

/// Where the path of the config file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--conf` or its variable.
    Conf,
    /// `--class` or its variable.
    Class,
    /// The options of the collector in `/etc/default/psstat`.
    Defaults,
    /// The class of this host.
    Host,
}

/// The location of the config file, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The path.
    pub path: PathBuf,
    /// Where it comes from.
    pub origin: Origin,
}

impl Location {
    /// Whether the path is from an option or a variable, so that a missing file is an error.
    pub(crate) fn is_explicit(&self) -> bool {
        self.origin != Origin::Host
    }

    /// The path as safe text, with its origin if that is not an option.
    pub(crate) fn describe(&self) -> String {
        let path = display(&self.path);
        match self.origin {
            Origin::Defaults => format!("{path} (PSSTAT_CONF in {DEFAULTS})"),
            Origin::Conf | Origin::Class | Origin::Host => path,
        }
    }

    /// The options that select another file.
    pub(crate) fn options(&self) -> &'static str {
        match self.origin {
            Origin::Conf => "use --conf with another path",
            Origin::Class => "use another --class, or --conf with the path",
            Origin::Defaults => "use --conf with the path",
            Origin::Host => "use --conf with the path, or --class",
        }
    }
}

/// The config file of `--conf`, of `--class`, of the collector's options, or of this host's
/// class.
pub(crate) fn locate(args: &ConfArgs) -> Location {
    if let Some(path) = &args.conf {
        return Location { path: path.clone(), origin: Origin::Conf };
    }
    if let Some(class) = &args.class {
        return Location { path: class.config_path(), origin: Origin::Class };
    }
    if let Some(path) = collector_option("PSSTAT_CONF") {
        return Location { path: path.into(), origin: Origin::Defaults };
    }
    if let Some(class) = collector_option("PSSTAT_CLASS").and_then(|class| class.parse().ok()) {
        let class: HostClass = class;
        return Location { path: class.config_path(), origin: Origin::Defaults };
    }
    let host = rustix::system::uname();
    let class = HostClass::from_hostname(&host.nodename().to_string_lossy());
    Location { path: class.config_path(), origin: Origin::Host }
}

/// The expected owner of the config file: that of the option, of the collector's options, or the
/// default.
pub(crate) fn owner(option: Option<&str>) -> String {
    let of_collector = || collector_option("PSSTAT_CONF_OWNER");
    option.map(str::to_owned).or_else(of_collector).unwrap_or_else(|| OWNER.to_owned())
}

fn collector_option(name: &str) -> Option<String> {
    assigned(&std::fs::read_to_string(DEFAULTS).ok()?, name)
}

/// The value that a shell script of assignments gives a variable. Values with expansions are
/// unknown; as for the collector, an empty one is ignored.
fn assigned(script: &str, name: &str) -> Option<String> {
    let value = |line: &str| -> Option<Option<String>> {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let value = line.strip_prefix(name)?.strip_prefix('=')?;
        Some(unquoted(value).filter(|value| !value.is_empty()))
    };
    script.lines().filter_map(value).next_back().flatten()
}

/// The first word of a shell command without its quotes; `None` for an expansion.
fn unquoted(text: &str) -> Option<String> {
    let (mut word, mut quote) = (String::new(), None);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if character == open => quote = None,
            ('$' | '`', None | Some('"')) => return None,
            ('\\', None | Some('"')) => word.extend(characters.next()),
            (' ' | '\t' | ';' | '#', None) => break,
            _ => word.push(character),
        }
    }
    Some(word)
}

/// A path as safe text.
pub(crate) fn display(path: &Path) -> String {
    escape::bytes(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_of_a_shell_script() {
        for (script, want) in [
            ("PSSTAT_CONF=/etc/psstat.conf\n", Some("/etc/psstat.conf")),
            ("#PSSTAT_CONF=/a\nPSSTAT_CONF=/b # c\n", Some("/b")),
            ("  export PSSTAT_CONF='/a b'\n", Some("/a b")),
            ("PSSTAT_CONF=\"/a b\"/c\\ d; x\n", Some("/a b/c d")),
            ("PSSTAT_CONF=/a\nPSSTAT_CONF=/b\n", Some("/b")),
            ("PSSTAT_CONF=/a\nPSSTAT_CONF=\n", None),
            ("PSSTAT_CONF=$HOME/x\n", None),
            ("PSSTAT_CONF='$HOME/x'\n", Some("$HOME/x")),
            ("PSSTAT_CONF_OWNER=x\n", None),
            ("", None),
        ] {
            assert_eq!(assigned(script, "PSSTAT_CONF").as_deref(), want, "{script}");
        }
    }
}
