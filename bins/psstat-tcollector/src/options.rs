//! Options: command line and environment, resolved to settings.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PossibleValuesParser, Resettable, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, ValueEnum};
use psstat_emit::metrics::{self, Group};
use psstat_emit::{Encoder, Format, Tag};
use psstat_matcher::MAX_IMAGES_PER_RULE;
use psstat_matcher::host_config::HostClass;
use psstat_support::{bpf_ring, conf_paths};

/// Prints the resource usage of each image of the config file: I/O, open file descriptors, threads,
/// established connections, CPU and memory, as proc.stat.ps.* points for tcollector.
///
/// tcollector starts collectors without arguments, so each option can also be set by an
/// environment variable; an empty variable is ignored. Points are written to stdout, log lines to
/// stderr.
#[derive(Clone, Debug, Parser)]
#[command(name = "psstat-tcollector", version, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 after SIGTERM or SIGINT, when stdout or its terminal is closed, and \
after --once and --cycles; 1 if --check found a bad line or no config file, --once found no \
config file with a rule, or --listen cannot use its address; 2 for invalid options. SIGHUP reloads the config file."
)]
pub struct Options {
    /// Config file: lines of `imagename regex`, or a directory with files `*.conf` of such lines
    /// (repeatable; separated by `:` in the environment variable) [default:
    /// /CLASS/shared/conf/psstat.conf]
    #[arg(long, value_name = "PATH", env = "PSSTAT_CONF")]
    pub conf: Vec<PathBuf>,

    /// Class in the default path of the config file [default: the host name up to its first dot,
    /// without trailing digits]
    #[arg(long, value_name = "NAME", env = "PSSTAT_CLASS")]
    pub class: Option<HostClass>,

    /// Expected owner of the config file (name or uid); root and the collector's own user are
    /// always accepted
    #[arg(long, value_name = "USER", env = "PSSTAT_CONF_OWNER", default_value = "appsc")]
    pub conf_owner: String,

    /// Refuse a config file with another owner or writable by others
    #[arg(long, env = "PSSTAT_STRICT_OWNER", value_parser = BoolishValueParser::new())]
    pub strict_owner: bool,

    /// Maximum number of images that a rule makes of `{GROUP}` in its image name; further ones are
    /// counted together as `other`
    #[arg(long, value_name = "N", env = "PSSTAT_MAX_IMAGES_PER_RULE")]
    #[arg(default_value_t = MAX_IMAGES_PER_RULE as u64)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub max_images_per_rule: u64,

    /// Seconds between cycles, 1 to 500 (tcollector kills collectors silent for 600 s). With 1, CPU
    /// usage is measured over slightly less than a second
    #[arg(long, value_name = "SECONDS", env = "PSSTAT_INTERVAL", default_value_t = 15)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=500))]
    pub interval: u64,

    /// Print one cycle and exit. Its I/O counters are the totals of the running processes since
    /// their start, not since the collector's: do not compute rates from them
    #[arg(long, env = "PSSTAT_ONCE", value_parser = BoolishValueParser::new())]
    pub once: bool,

    /// Print N cycles and exit
    #[arg(long, value_name = "N", env = "PSSTAT_CYCLES")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub cycles: Option<u64>,

    /// Output format: tcollector lines, JSON arrays (OpenTSDB /api/put), InfluxDB
    /// lines, or one exposition per cycle (openmetrics, prometheus)
    #[arg(long, value_enum, env = "PSSTAT_FORMAT", default_value_t = FormatName::Tcollector)]
    pub format: FormatName,

    /// Serve the last cycle by HTTP at /metrics, in both exposition formats. A port alone is one of
    /// the loopback interface
    #[arg(long, value_name = "[ADDR:]PORT", env = "PSSTAT_LISTEN", value_parser = listen_address)]
    pub listen: Option<SocketAddr>,

    /// Write each cycle to this file instead of stdout, under another name that is then renamed, so
    /// that a reader never finds a part of a cycle. SIGTERM and SIGINT remove the file
    #[arg(long, value_name = "FILE", env = "PSSTAT_OUTPUT")]
    pub output: Option<PathBuf>,

    /// Tag added to every point (repeatable; comma-separated in the environment variable). With
    /// json, host is added by default
    #[arg(long, value_name = "KEY=VALUE", env = "PSSTAT_TAG", value_delimiter = ',')]
    pub tag: Vec<Tag>,

    /// Unit of proc.stat.ps.mem
    #[arg(long, value_enum, env = "PSSTAT_MEM_UNIT", default_value_t = MemUnit::Bytes)]
    pub mem_unit: MemUnit,

    /// Groups of further metrics, which cost more per process (repeatable; comma-separated)
    #[arg(long, value_name = "GROUP", env = "PSSTAT_METRICS", value_delimiter = ',')]
    #[arg(value_parser = metric_group())]
    pub metrics: Vec<Group>,

    /// The procfs to read, or a directory with a capture of one [default: /proc]
    #[arg(long, value_name = "DIR", env = "PSSTAT_PROC")]
    pub proc: Option<PathBuf>,

    /// How the numbers of processes are read: by a BPF program at once, which needs Linux 5.19 and
    /// root or CAP_BPF and CAP_PERFMON to load, or from the files in /proc. auto is bpf where it
    /// works, and /proc with --once
    #[arg(long, value_enum, env = "PSSTAT_SOURCE", default_value_t = SourceName::Auto)]
    pub source: SourceName,

    /// Size of the ring in which BPF records the starts and ends of processes between two cycles, in
    /// KiB: 64 to 1048576, rounded up to a power of two. 0: they are not recorded
    #[arg(long, value_name = "KIB", env = "PSSTAT_BPF_RING")]
    #[arg(default_value_t = bpf_ring::DEFAULT_KIB, value_parser = bpf_ring::parse)]
    pub bpf_ring: u32,

    /// Maximum number of fds kept open (up to 4 per process); other files are reopened each cycle
    /// [default and maximum: from RLIMIT_NOFILE]
    #[arg(long, value_name = "N", env = "PSSTAT_DESCRIPTORS")]
    pub descriptors: Option<usize>,

    /// Check the config file, print diagnostics to stderr, and exit with 0 or 1
    #[arg(long, env = "PSSTAT_CHECK", value_parser = BoolishValueParser::new())]
    pub check: bool,

    /// Log only warnings and errors: for agents that take each line for an error
    #[arg(long, env = "PSSTAT_QUIET", value_parser = BoolishValueParser::new())]
    pub quiet: bool,

    /// Log the fast paths in use and the cost of each cycle
    #[arg(long, env = "PSSTAT_DEBUG", value_parser = BoolishValueParser::new())]
    pub debug: bool,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// `metric timestamp value tag=value…`, one line per point
    Tcollector,
    /// Lines, each an array of at most 50 points and 8,000 bytes: bodies for /api/put
    Json,
    /// InfluxDB's line protocol, for InfluxDB and Telegraf's execd
    Influx,
    /// One OpenMetrics 1.0 exposition per cycle. Its readers take one exposition, not a stream
    Openmetrics,
    /// One exposition per cycle in the Prometheus text format 0.0.4, for node_exporter's textfile
    /// collector. Its readers take one exposition, not a stream
    Prometheus,
}

/// The values of `--source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceName {
    /// BPF where it works, else /proc
    Auto,
    /// BPF; where it does not work, /proc, with a warning
    Bpf,
    /// The files in /proc
    Proc,
}

/// Units of `proc.stat.ps.mem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MemUnit {
    /// Bytes
    Bytes,
    /// Pages, as the first version of the script of 2014 printed
    Pages,
}

/// The resolved options.
#[derive(Debug)]
pub struct Settings {
    /// The config files, and directories of such.
    pub conf: Vec<PathBuf>,
    /// They were given by option or variable.
    pub conf_is_explicit: bool,
    /// Its expected owner, by name or uid.
    pub conf_owner: String,
    /// Reject a file with another owner.
    pub strict_owner: bool,
    /// Maximum number of images that a rule makes.
    pub max_images_per_rule: usize,
    /// Seconds between cycles.
    pub interval: u64,
    /// Print one cycle and exit.
    pub once: bool,
    /// The number of cycles to print; `None` for no limit.
    pub cycles: Option<u64>,
    /// The encoder of the points.
    pub encoder: Encoder,
    /// The address of the HTTP server, and the encoder of the Prometheus text format.
    pub listen: Option<(SocketAddr, Encoder)>,
    /// The file for the points; `None` for stdout.
    pub output: Option<PathBuf>,
    /// The unit of memory.
    pub mem_unit: MemUnit,
    /// The groups of further metrics.
    pub metrics: Vec<Group>,
    /// The procfs.
    pub proc: PathBuf,
    /// The procfs was given by option or variable.
    pub proc_is_explicit: bool,
    /// How processes are read.
    pub source: SourceName,
    /// The size of the ring for starts and ends of processes, in KiB; 0 for none.
    pub bpf_ring: u32,
    /// Maximum number of descriptors kept open; `None` for that of the limit.
    pub descriptors: Option<usize>,
    /// Only check the config file.
    pub check: bool,
    /// Log only issues.
    pub quiet: bool,
    /// Log details.
    pub debug: bool,
}

impl Options {
    /// The options in this process's arguments and environment. Exits if they are invalid.
    pub fn read() -> Options {
        let mut command = Options::command().mut_args(ignore_empty_env);
        let matches = command.get_matches_mut();
        let mut options = Options::from_arg_matches(&matches)
            .unwrap_or_else(|error| error.format(&mut command).exit());
        if matches.value_source("conf") == Some(ValueSource::EnvVariable) {
            options.conf = options.conf.iter().flat_map(|list| conf_paths::split(list)).collect();
        }
        options
    }

    /// Resolves defaults and rejects conflicting options.
    ///
    /// # Errors
    /// A usage error in clap's format.
    pub fn resolve(self) -> Result<Settings, clap::Error> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let usage = |kind, message: String| Options::command().error(kind, message);
        // Not by clap, which would treat PSSTAT_ONCE=false as the option.
        if self.once && self.cycles.is_some() {
            let message = "--once cannot be used with --cycles";
            return Err(usage(ErrorKind::ArgumentConflict, message.into()));
        }
        let conf_is_explicit = !self.conf.is_empty();
        if self.listen.is_some() && (self.output.is_some() || self.once || self.cycles.is_some()) {
            let message = "--listen cannot be used with --output, --once and --cycles";
            return Err(usage(ErrorKind::ArgumentConflict, message.into()));
        }
        if self.listen.is_some() && self.format != FormatName::Tcollector {
            let message = "--listen cannot be used with --format: each request names its format";
            return Err(usage(ErrorKind::ArgumentConflict, message.into()));
        }
        let conf = match self.class {
            _ if conf_is_explicit => self.conf,
            Some(class) => vec![class.config_path()],
            None => vec![HostClass::from_hostname(&host).config_path()],
        };
        let format = match self.format {
            FormatName::Tcollector if self.listen.is_some() => Format::OpenMetrics,
            FormatName::Tcollector => Format::Tcollector,
            FormatName::Json => Format::Json,
            FormatName::Influx => Format::Influx,
            FormatName::Openmetrics => Format::OpenMetrics,
            FormatName::Prometheus => Format::Prometheus,
        };
        if format.is_exposition() && self.mem_unit == MemUnit::Pages {
            let message = format!(
                "--mem-unit pages cannot be used with the format {format}, which reports bytes"
            );
            return Err(usage(ErrorKind::ArgumentConflict, message));
        }
        let mut tags = self.tag;
        if format == Format::Json && !tags.iter().any(|tag| tag.key() == "host") {
            let tag = Tag::new("host", &host).map_err(|error| {
                let message = format!(
                    "the host name is not a valid tag value ({error}); use --tag host=NAME"
                );
                usage(ErrorKind::ValueValidation, message)
            })?;
            tags.insert(0, tag);
        }
        let new_encoder = |format| {
            Encoder::new(format, metrics::TABLE, &tags)
                .map(|encoder| encoder.with_build_info("psstat", env!("CARGO_PKG_VERSION")))
                .map_err(|error| usage(ErrorKind::ValueValidation, format!("--tag: {error}")))
        };
        let encoder = new_encoder(format)?;
        let listen = match self.listen {
            Some(address) => Some((address, new_encoder(Format::Prometheus)?)),
            None => None,
        };
        Ok(Settings {
            conf,
            conf_is_explicit,
            conf_owner: self.conf_owner,
            strict_owner: self.strict_owner,
            max_images_per_rule: usize::try_from(self.max_images_per_rule).unwrap_or(usize::MAX),
            interval: self.interval,
            once: self.once,
            cycles: if self.once { Some(1) } else { self.cycles },
            encoder,
            listen,
            output: self.output,
            mem_unit: self.mem_unit,
            metrics: self.metrics,
            proc_is_explicit: self.proc.is_some(),
            proc: self.proc.unwrap_or_else(|| "/proc".into()),
            source: match self.source {
                // Loading costs more than one cycle.
                SourceName::Auto if self.once => SourceName::Proc,
                source => source,
            },
            bpf_ring: self.bpf_ring,
            descriptors: self.descriptors,
            check: self.check,
            quiet: self.quiet,
            debug: self.debug,
        })
    }
}

/// The name of a group.
fn metric_group() -> impl TypedValueParser<Value = Group> {
    let names = Group::ALL.iter().map(|group| group.as_str());
    PossibleValuesParser::new(names)
        .try_map(|name| Group::from_name(&name).ok_or_else(|| format!("no group {name}")))
}

/// `ADDR:PORT`, or `PORT` of the loopback interface.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match port.parse() {
        Ok(port) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        Err(_) => text
            .parse()
            .map_err(|_| "expected PORT or ADDR:PORT, such as 9256 or [::]:9256".to_owned()),
    }
}

/// Ignores empty variables such as `PSSTAT_CYCLES=`, which a file of variables may contain.
fn ignore_empty_env(arg: Arg) -> Arg {
    let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_valid() {
        Options::command().debug_assert();
    }

    #[test]
    fn options_have_documented_variables() {
        for arg in Options::command().get_arguments() {
            let name = arg.get_id().as_str();
            if name != "help" && name != "version" {
                let expected = format!("PSSTAT_{}", name.to_uppercase());
                let env = arg.get_env().and_then(std::ffi::OsStr::to_str);
                assert_eq!(env, Some(expected.as_str()));
                // Both are documented for operators.
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
