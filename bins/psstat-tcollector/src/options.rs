//! The options: what was typed, and what it means on this machine.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, Resettable};
use clap::error::ErrorKind;
use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use psstat_emit::{Encoder, Format, Tag};
use psstat_matcher::host_config::HostClass;

/// Prints, for each image of the conf, what its processes do: io, open
/// descriptors, threads, established connections, CPU and memory, as
/// proc.stat.ps.* points for tcollector.
///
/// tcollector starts it without arguments, so each option can be given by an
/// environment variable too; one that is empty counts as none. Points go to stdout; log lines to
/// stderr.
#[derive(Clone, Debug, Parser)]
#[command(name = "psstat-tcollector", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 when told to end (SIGTERM, SIGINT, stdout closed) or after \
--once and --cycles; 1 when --check found a bad line or no conf; 2 for wrong options. \
SIGHUP reads the conf again."
)]
pub struct Options {
    /// The conf: lines of `imagename regex` [default: /CLASS/shared/conf/psstat.conf]
    #[arg(long, value_name = "PATH", env = "PSSTAT_CONF")]
    pub conf: Option<PathBuf>,

    /// The class in the conf's default path [default: the host's name up to its first dot, without
    /// trailing digits]
    #[arg(long, value_name = "NAME", env = "PSSTAT_CLASS")]
    pub class: Option<HostClass>,

    /// Whom the conf should belong to, by name or number; root and the collector's own user are
    /// right too
    #[arg(long, value_name = "USER", env = "PSSTAT_CONF_OWNER", default_value = "appsc")]
    pub conf_owner: String,

    /// Do not use a conf that belongs to somebody else or that others can write
    #[arg(long, env = "PSSTAT_STRICT_OWNER", value_parser = BoolishValueParser::new())]
    pub strict_owner: bool,

    /// Seconds from one cycle to the next, 1 to 500; tcollector kills a collector that is silent
    /// for 600. At 1, a cycle takes a little longer than that
    #[arg(long, value_name = "SECONDS", env = "PSSTAT_INTERVAL", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=500))]
    pub interval: u64,

    /// Print one cycle and exit
    #[arg(long, env = "PSSTAT_ONCE", value_parser = BoolishValueParser::new())]
    pub once: bool,

    /// Print so many cycles and exit
    #[arg(long, value_name = "N", env = "PSSTAT_CYCLES")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub cycles: Option<u64>,

    /// What to print: tcollector's lines, a JSON array a cycle for OpenTSDB's /api/put, or an
    /// OpenMetrics exposition a cycle
    #[arg(long, value_enum, env = "PSSTAT_FORMAT", default_value_t = FormatName::Tcollector)]
    pub format: FormatName,

    /// A tag for every point; may be repeated, in the variable separated by commas. With json, host
    /// is added unless it is given
    #[arg(long, value_name = "KEY=VALUE", env = "PSSTAT_TAG", value_delimiter = ',')]
    pub tag: Vec<Tag>,

    /// The unit of proc.stat.ps.mem
    #[arg(long, value_enum, env = "PSSTAT_MEM_UNIT", default_value_t = MemUnit::Bytes)]
    pub mem_unit: MemUnit,

    /// The procfs to read, or a folder with a capture of one [default: /proc]
    #[arg(long, value_name = "DIR", env = "PSSTAT_PROC")]
    pub proc: Option<PathBuf>,

    /// How many descriptors may be kept open, four a process; the rest is opened at each reading
    /// [default, and at most: what the hard limit allows]
    #[arg(long, value_name = "N", env = "PSSTAT_DESCRIPTORS")]
    pub descriptors: Option<usize>,

    /// Read the conf, print what is wrong with it to stderr, and exit with 0 or 1
    #[arg(long, env = "PSSTAT_CHECK", value_parser = BoolishValueParser::new())]
    pub check: bool,

    /// Log how the numbers are read and what each cycle costs
    #[arg(long, env = "PSSTAT_DEBUG", value_parser = BoolishValueParser::new())]
    pub debug: bool,
}

/// The formats by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// `metric timestamp value tag=value…`, a line a point
    Tcollector,
    /// An array a cycle, in one line
    Json,
    /// Text for a scraper or node_exporter's textfile collector
    Openmetrics,
}

/// Units of `proc.stat.ps.mem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MemUnit {
    /// Bytes
    Bytes,
    /// Pages of the machine, as the script of 2014 printed in its first version
    Pages,
}

/// What the options mean on this machine.
#[derive(Debug)]
pub struct Settings {
    /// The conf's path.
    pub conf: PathBuf,
    /// Whom it should belong to, by name or number.
    pub conf_owner: String,
    /// Whether another owner makes it unusable.
    pub strict_owner: bool,
    /// Seconds from cycle to cycle.
    pub interval: u64,
    /// How many cycles to print; `None`: until told to end.
    pub cycles: Option<u64>,
    /// Writes the points.
    pub encoder: Encoder,
    /// The unit of memory.
    pub mem_unit: MemUnit,
    /// The procfs.
    pub proc: PathBuf,
    /// Somebody named it.
    pub proc_is_explicit: bool,
    /// Descriptors that may be kept; `None`: what the limit leaves.
    pub descriptors: Option<usize>,
    /// Only look at the conf.
    pub check: bool,
    /// Log more.
    pub debug: bool,
}

impl Options {
    /// Those of this process's arguments and environment. Wrong ones end it.
    pub fn read() -> Options {
        let mut command = Options::command().mut_args(ignore_empty_env);
        let read = Options::from_arg_matches(&command.get_matches_mut());
        read.unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// Works out what was left open and refuses what does not go together.
    ///
    /// # Errors
    /// A usage error, to be shown as clap shows its own.
    pub fn resolve(self) -> Result<Settings, clap::Error> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let usage = |kind, message: String| Options::command().error(kind, message);
        // Not left to clap, which takes PSSTAT_ONCE=false for the option given.
        if self.once && self.cycles.is_some() {
            let message = "--once and --cycles do not go together";
            return Err(usage(ErrorKind::ArgumentConflict, message.into()));
        }
        let conf = match (self.conf, self.class) {
            (Some(conf), _) => conf,
            (None, Some(class)) => class.config_path(),
            (None, None) => HostClass::from_hostname(&host).config_path(),
        };
        let format = match self.format {
            FormatName::Tcollector => Format::Tcollector,
            FormatName::Json => Format::Json,
            FormatName::Openmetrics => Format::OpenMetrics,
        };
        if format == Format::OpenMetrics && self.mem_unit == MemUnit::Pages {
            let message = "--mem-unit pages does not go with --format openmetrics, whose unit of memory is bytes";
            return Err(usage(ErrorKind::ArgumentConflict, message.into()));
        }
        let mut tags = self.tag;
        if format == Format::Json && !tags.iter().any(|tag| tag.key() == "host") {
            let tag = Tag::new("host", &host).map_err(|error| {
                let message = format!("the host's name is no tag ({error}); give --tag host=NAME");
                usage(ErrorKind::ValueValidation, message)
            })?;
            tags.insert(0, tag);
        }
        let encoder = Encoder::new(format, &tags)
            .map_err(|error| usage(ErrorKind::ValueValidation, format!("--tag: {error}")))?;
        Ok(Settings {
            conf,
            conf_owner: self.conf_owner,
            strict_owner: self.strict_owner,
            interval: self.interval,
            cycles: if self.once { Some(1) } else { self.cycles },
            encoder,
            mem_unit: self.mem_unit,
            proc_is_explicit: self.proc.is_some(),
            proc: self.proc.unwrap_or_else(|| "/proc".into()),
            descriptors: self.descriptors,
            check: self.check,
            debug: self.debug,
        })
    }
}

/// `PSSTAT_CYCLES=`, as a file of variables may have it, says nothing.
fn ignore_empty_env(arg: Arg) -> Arg {
    let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn every_option_has_its_variable() {
        for arg in Options::command().get_arguments() {
            let name = arg.get_id().as_str();
            if name != "help" && name != "version" {
                let expected = format!("PSSTAT_{}", name.to_uppercase());
                let env = arg.get_env().and_then(std::ffi::OsStr::to_str);
                assert_eq!(env, Some(expected.as_str()));
                // And both are on the page for operators.
                let row = format!("| `--{}", name.replace('_', "-"));
                let page = include_str!("../../../docs/install.md");
                let is_row = |line: &str| {
                    let rest = line.strip_prefix(&row);
                    rest.is_some_and(|rest| rest.starts_with([' ', '`']))
                        && line.contains(&format!("| `{expected}` |"))
                };
                assert!(page.lines().any(is_row), "{row}");
            }
        }
    }
}
