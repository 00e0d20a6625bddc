//! The location of the config files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use psstat_matcher::Rule;
use psstat_matcher::file::LoadError;
use psstat_matcher::host_config::HostClass;
use psstat_matcher::ownership::OwnerPolicy;
use psstat_matcher::sources::{self, LoadedSources};

use crate::args::ConfArgs;
use psstat_support::{bpf_ring, conf_paths, escape};

/// The file with the options of the collector, which its start script reads.
const DEFAULTS: &str = "/etc/default/psstat";
/// The options in it with the paths of the config files, and with the class of the host.
const CONF: &str = "PSSTAT_CONF";
const CLASS: &str = "PSSTAT_CLASS";
const RING: &str = "PSSTAT_BPF_RING";
/// The expected owner of the config file if nothing else is set.
const OWNER: &str = "appsc";

/// Where the paths of the config files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `--conf` or its variable.
    Conf,
    /// `--class` or its variable.
    Class,
    /// This option of the collector in `/etc/default/psstat`.
    Defaults(&'static str),
    /// The class of this host.
    Host,
}

/// The location of the config files, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The paths of files, and of directories of such.
    pub paths: Vec<PathBuf>,
    /// Where they come from.
    pub origin: Origin,
}

impl Location {
    /// Whether the path is from an option or a variable, so that a missing file is an error.
    pub(crate) fn is_explicit(&self) -> bool {
        self.origin != Origin::Host
    }

    /// The paths as safe text, with their origin if that is not an option.
    pub(crate) fn describe(&self) -> String {
        let paths: Vec<String> = self.paths.iter().map(|path| display(path)).collect();
        let paths = paths.join(", ");
        match self.origin {
            Origin::Defaults(variable) => format!("{paths} ({variable} in {DEFAULTS})"),
            Origin::Conf | Origin::Class | Origin::Host => paths,
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// The reason why they give no rules, with the path, if one cannot be read. Otherwise the
    /// result contains the errors.
    pub(crate) fn load(&self, owner: Option<&OwnerPolicy>) -> Result<LoadedSources, Unreadable> {
        let sources = sources::load(&self.paths, owner);
        let unreadable = sources.files.iter().find_map(|file| {
            let error = file.error.clone()?;
            let is_read = matches!(*error, LoadError::NoRule(_) | LoadError::NoFile);
            (!is_read && !file.is_entry)
                .then(|| Unreadable { path: file.path.to_path_buf(), error })
        });
        match unreadable {
            Some(unreadable) if self.paths.len() == 1 => Err(unreadable),
            _ => Ok(sources),
        }
    }

    /// The options that select another file.
    pub(crate) fn options(&self) -> &'static str {
        match self.origin {
            Origin::Conf => "use --conf with another path",
            Origin::Class => "use another --class, or --conf with the path",
            Origin::Defaults(_) => "use --conf with the path",
            Origin::Host => "use --conf with the path, or --class",
        }
    }
}

/// The config files of `--conf`, of `--class`, of the collector's options, or of this host's
/// class.
pub(crate) fn locate(args: &ConfArgs) -> Location {
    if !args.conf.is_empty() {
        return Location { paths: args.conf.clone(), origin: Origin::Conf };
    }
    if let Some(class) = &args.class {
        return Location { paths: vec![class.config_path()], origin: Origin::Class };
    }
    let paths = collector_option(CONF).map(|list| conf_paths::split(Path::new(&list)));
    if let Some(paths) = paths.filter(|paths| !paths.is_empty()) {
        return Location { paths, origin: Origin::Defaults(CONF) };
    }
    if let Some(class) = collector_option(CLASS).and_then(|class| class.parse().ok()) {
        let class: HostClass = class;
        return Location { paths: vec![class.config_path()], origin: Origin::Defaults(CLASS) };
    }
    let host = rustix::system::uname();
    let class = HostClass::from_hostname(&host.nodename().to_string_lossy());
    Location { paths: vec![class.config_path()], origin: Origin::Host }
}

/// The expected owner of the config file: that of the option, of the collector's options, or the
/// default.
pub(crate) fn owner(option: Option<&str>) -> String {
    let of_collector = || collector_option("PSSTAT_CONF_OWNER");
    option.map(str::to_owned).or_else(of_collector).unwrap_or_else(|| OWNER.to_owned())
}

/// The size of the collector's ring for starts and ends of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RingSize {
    /// In KiB; `None` for the default.
    pub value: Option<String>,
    /// It is in the collector's options, not in those of this program.
    pub is_of_collector: bool,
}

impl RingSize {
    /// Its size in KiB; 0 for none.
    ///
    /// # Errors
    /// The collector does not accept it.
    pub(crate) fn kib(&self) -> Result<u32, String> {
        self.value.as_deref().map_or(Ok(bpf_ring::DEFAULT_KIB), bpf_ring::parse)
    }

    /// The option as text.
    pub(crate) fn describe(&self) -> String {
        let value = self.value.as_deref().unwrap_or_default();
        match self.is_of_collector {
            true => format!("{RING}={value} in {DEFAULTS}"),
            false => format!("--bpf-ring {value}"),
        }
    }
}

/// The size of the option or its variable, of the collector's options, or the default. As for the
/// collector, an empty variable is ignored.
pub(crate) fn ring_size(option: Option<&str>) -> RingSize {
    match option.filter(|value| !value.is_empty()) {
        Some(value) => RingSize { value: Some(value.to_owned()), is_of_collector: false },
        None => RingSize { value: collector_option(RING), is_of_collector: true },
    }
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

/// A path that was given and cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// The path.
    pub path: PathBuf,
    /// The reason.
    pub error: Arc<LoadError>,
}

impl Unreadable {
    /// Whether it does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        let missing = std::io::ErrorKind::NotFound;
        matches!(&*self.error, LoadError::Unreadable(error) if error.kind() == missing)
    }
}

/// The paths as one text, as in `PSSTAT_CONF`.
pub(crate) fn joined(paths: &[PathBuf]) -> PathBuf {
    let names: Vec<&OsStr> = paths.iter().map(|path| path.as_os_str()).collect();
    names.join(OsStr::new(":")).into()
}

/// The place of a rule: `line 7`, or `FILE:7` if there are several files. `None` for a rule
/// without a line.
pub(crate) fn place(rule: &Rule, has_several_files: bool) -> Option<String> {
    let line = rule.line()?;
    Some(match rule.path().filter(|_| has_several_files) {
        Some(path) => format!("{}:{line}", display(path)),
        None => format!("line {line}"),
    })
}

/// The file of a rule as a value; null if it has none.
pub(crate) fn file_of(rule: &Rule) -> serde_json::Value {
    rule.path().map(display).into()
}

/// A path as safe text.
pub(crate) fn display(path: &Path) -> String {
    escape::bytes(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of PSSTAT_CLASS was described as that of PSSTAT_CONF.
    #[test]
    fn path_is_described_with_its_variable() {
        for variable in [CONF, CLASS] {
            let location =
                Location { paths: vec!["/x".into()], origin: Origin::Defaults(variable) };
            assert_eq!(location.describe(), format!("/x ({variable} in {DEFAULTS})"));
        }
    }

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
