//! The command line arguments, parsed without side effects.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _};
use psstat_matcher::host_config::HostClass;
use psstat_matcher::{ImageName, ImageTemplate};
use psstat_support::{conf_paths, escape};

use crate::examples;
use crate::exit::Error;
use crate::rule_arg::RuleArg;
use crate::spelling;
use crate::table::columns::COLUMNS;
pub use crate::terminal::Color;

/// Show resource usage of groups of processes.
///
/// Without a command: prints a table with one row per image. An image is a
/// group of processes: those that match the rules of one name in a config file
/// or, without a config file, those of one executable name. The values are
/// sums over its processes, measured over one second. psstat-dump excludes its
/// own process.
#[derive(Debug, clap::Parser)]
#[command(name = "psstat-dump", version, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub struct Args {
    /// Options of all commands.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// Which config file to use.
    #[command(flatten)]
    pub conf: ConfArgs,
    /// Options of the table.
    #[command(flatten)]
    pub table: TableArgs,
    /// The command; `None`: print the table.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Show everything known about a process
    ///
    /// By its id or by a name that only one process has. Identity, CPU, memory, I/O, limits and their usage, descriptors by kind
    /// with their targets, sockets by state with both endpoints. Exits 1 if
    /// none of the processes exists.
    Pid(PidArgs),
    /// Show which rules match a process and where, and why the others do not
    ///
    /// For a near miss, shows where regex and command line differ; otherwise
    /// the longest prefix of the regex that matches. With --rule: shows which
    /// processes the rules of an image match, and the closest near misses.
    /// Exits 1 if nothing matches.
    Explain(ExplainArgs),
    /// Show which processes hold a port, an address, a file, or a socket
    ///
    /// In every network namespace. One row per descriptor: image, process, user, number, state
    /// and queues. A directory stands for everything below it, a mount point for the whole file
    /// system. Exits 1 if nothing is found.
    Find(FindArgs),
    /// Show images live: bars, histories, processes, details
    ///
    /// Press ? for the keys.
    Top(TopArgs),
    /// Check which /proc files this user can read, and how to fix the rest
    ///
    /// Tries to read the files of all processes, and checks the kernel,
    /// hidepid, the pid namespace, limits, the config file and running
    /// collectors. Exits 1 if a check fails: values are missing, or will be.
    Doctor(DoctorArgs),
    /// Copy the /proc files that a bug report needs into an archive or a new directory
    ///
    /// Copies the processes of all images, or the selected ones, with the config file, the output
    /// of doctor, and versions. Probable
    /// secrets in command lines and in names of files and sockets are redacted,
    /// and socket tables contain only the rows of these processes. Every
    /// command accepts such a directory with --proc. Exits 1 if no process
    /// matches.
    Capture(CaptureArgs),
    /// Record the table every second, for --replay
    ///
    /// Writes what the table and `top` show, of images and processes, with the processes that
    /// started and exited and, where the kernel reports it, their exit status. The file is
    /// compressed and of bounded size, and can be read at any time, also after a crash. Runs until
    /// SIGTERM or ctrl-c; when it is started again with the same file, it continues the recording.
    Record(RecordArgs),
    /// Make one HTML page of a recording, with plots and tables
    ///
    /// CPU, memory, I/O, connections, starts and exits by image and of the processes with most of
    /// each. The page needs no network, so it can be attached to a report of an incident.
    Report(ReportArgs),
    /// Check a config file and show what its rules match on this host
    ///
    /// Prints each invalid line with the position and a suggestion, warnings,
    /// and the number of processes on this host. Exits 1 if a line is invalid
    /// or there is no rule.
    Check(CheckArgs),
}

/// Options of all commands.
#[derive(Debug, clap::Args)]
pub struct GlobalArgs {
    /// The procfs to read, or a capture of one
    #[arg(long, global = true, value_name = "DIR", default_value = "/proc", env = "PSSTAT_PROC")]
    pub proc: PathBuf,
    /// Show a recording of `psstat-dump record` in place of /proc: the table, pid, top
    #[arg(long, global = true, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// The time to show of a recording [default: the end; top: the start]
    ///
    /// `2026-01-31 23:59:59` or a part of it such as 23:59, in UTC unless an offset such as +02:00
    /// follows; @SECONDS after 1970; or `-10m` before the end.
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        requires = "replay",
        allow_hyphen_values = true
    )]
    pub at: Option<String>,
    /// Print JSON, one document per line
    #[arg(long, global = true, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV with a heading
    #[arg(long, global = true)]
    pub csv: bool,
    /// When to color output; NO_COLOR disables `auto`
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

impl GlobalArgs {
    /// The output format.
    pub fn format(&self) -> Format {
        match (self.json, self.csv) {
            (true, _) => Format::Json,
            (_, true) => Format::Csv,
            _ => Format::Text,
        }
    }
}

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Human-readable text.
    Text,
    /// One JSON document per line.
    Json,
    /// Comma-separated values with a heading.
    Csv,
}

/// Which config file to use.
#[derive(Debug, clap::Args)]
pub struct ConfArgs {
    /// The config file with the rules, or a directory of files `*.conf`
    ///
    /// Can be given several times; in the variable, the paths are separated by `:`.
    /// Default: PSSTAT_CONF of the collector's options in /etc/default/psstat, or
    /// /CLASS/shared/conf/psstat.conf if that exists.
    #[arg(long, global = true, value_name = "PATH", env = "PSSTAT_CONF")]
    pub conf: Vec<PathBuf>,
    /// Use the config file /NAME/shared/conf/psstat.conf
    ///
    /// Default: the host name up to its first dot, without trailing digits.
    #[arg(long, global = true, value_name = "NAME", env = "PSSTAT_CLASS")]
    pub class: Option<HostClass>,
}

/// Options of the table.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Table")]
pub struct TableArgs {
    /// Only these images (shown even if no process matches)
    #[arg(value_name = "IMAGE")]
    pub images: Vec<ImageName>,
    /// One row per process
    #[arg(short, long)]
    pub processes: bool,
    /// Only these processes, one row each, until they exit
    #[arg(long = "pid", value_name = "PID", value_delimiter = ',', value_parser = pid)]
    #[arg(conflicts_with_all = ["images", "regex"])]
    pub pids: Vec<u32>,
    /// Only processes whose command line matches, as the image NAME, or `match`
    ///
    /// In the syntax of Python's re, searched anywhere in the command line. Can
    /// be given several times, for one or several images. A name starts with a
    /// letter, a digit or an underscore, so `-Dapp=x` is a regex; write `app\=x`
    /// to search for the text `app=x`. `java/{app}=-Dapp=(?P<app>\w+)` makes an
    /// image of each value of the group.
    #[arg(short = 'e', long, value_name = "[NAME=]REGEX", conflicts_with = "images")]
    pub regex: Vec<RuleArg>,
    /// With -e, include the processes that run psstat-dump, such as sudo
    #[arg(long, requires = "regex")]
    pub ancestors: bool,
    /// Group by executable name, ignoring any config file
    #[arg(long, conflicts_with_all = ["regex"])]
    pub no_conf: bool,
    /// Add kernel threads: CPU usage and state, by the name in brackets
    #[arg(short, long, conflicts_with_all = ["images", "regex", "pids"])]
    pub kernel_threads: bool,
    /// Columns, separated by commas; see the list below
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Sort by this column: numbers in descending, text in ascending order
    #[arg(long, value_name = "COLUMN", default_value = "pcpu")]
    pub sort: String,
    /// Reverse the sort order
    #[arg(short, long)]
    pub reverse: bool,
    /// Print exact numbers instead of 1.5M
    #[arg(long)]
    pub exact: bool,
    /// Repeat every SECONDS; each table covers the whole interval
    ///
    /// Without it, each table covers one second, and there is one table unless
    /// --count is given. As text, several tables end with their average, also
    /// after ctrl-c.
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub interval: Option<Duration>,
    /// Number of tables [default with --interval: until interrupted]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// Arguments of `pid`.
#[derive(Debug, clap::Args)]
pub struct PidArgs {
    /// Process ids, or names of executables, processes or images
    ///
    /// A name must be that of a single process; otherwise the processes are listed. `--` before a
    /// name that starts with a hyphen.
    #[arg(value_name = "PID|NAME", required = true)]
    pub processes: Vec<String>,
    /// Print exact numbers instead of 1.5M
    #[arg(long)]
    pub exact: bool,
}

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Process ids
    #[arg(value_name = "PID", required_unless_present = "rule", conflicts_with = "rule")]
    #[arg(value_parser = pid)]
    pub pids: Vec<u32>,
    /// Match this image's rules against all processes; also rules that make the image of a group
    #[arg(long, value_name = "IMAGE")]
    pub rule: Option<ImageTemplate>,
    /// Use this regex instead of a config file, as the image NAME, or `match`
    #[arg(short = 'e', long = "regex", value_name = "[NAME=]REGEX")]
    pub patterns: Vec<RuleArg>,
    /// With -e and --rule, include the processes that run psstat-dump, such as sudo
    #[arg(long, requires = "patterns")]
    pub ancestors: bool,
}

/// Arguments of `find`.
#[derive(Debug, clap::Args)]
pub struct FindArgs {
    /// Ports, addresses, paths, names of unix sockets, inodes
    ///
    /// A port (`:8080`), an address with or without a port (`10.0.0.5:5432`, `[::1]:443`), a path,
    /// the name of an abstract unix socket (`@name`), or the inode of a socket, pipe or file. An
    /// address is that of either end of a connection. A socket that is bound to all addresses has
    /// each address of its host.
    #[arg(value_name = "WHAT", required_unless_present = "listen")]
    pub what: Vec<OsString>,
    /// Only sockets that wait for connections or datagrams; without WHAT, all of them
    #[arg(short, long)]
    pub listen: bool,
    /// Group by executable name, ignoring any config file
    #[arg(long)]
    pub no_conf: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Do not check the config file
    #[arg(long)]
    pub no_conf: bool,
    /// Expected owner of the config file, besides root and this user [default: appsc]
    #[arg(long, value_name = "USER", env = "PSSTAT_CONF_OWNER")]
    pub conf_owner: Option<String>,
    /// Size of the collector's ring for the starts and ends of processes, in KiB; 0: it has none
    /// [default: that in /etc/default/psstat, or 1024]
    #[arg(long, value_name = "KIB", env = "PSSTAT_BPF_RING")]
    pub bpf_ring: Option<String>,
}

/// Arguments of `capture`.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    /// Output: a file NAME.tar.gz, or a directory (created if missing; must be empty)
    #[arg(value_name = "PATH")]
    pub dir: PathBuf,
    /// Only processes of these images
    #[arg(value_name = "IMAGE", conflicts_with_all = ["patterns", "pids"])]
    pub images: Vec<ImageName>,
    /// Only processes whose command line matches
    #[arg(short = 'e', long = "regex", value_name = "[NAME=]REGEX")]
    pub patterns: Vec<RuleArg>,
    /// With -e, include the processes that run psstat-dump, such as sudo
    #[arg(long, requires = "patterns")]
    pub ancestors: bool,
    /// Only these processes
    #[arg(long = "pid", value_name = "PID", conflicts_with = "patterns")]
    #[arg(value_parser = pid, value_delimiter = ',')]
    pub pids: Vec<u32>,
    /// Group by executable name, ignoring any config file
    #[arg(long, conflicts_with = "patterns")]
    pub no_conf: bool,
    /// Keep arguments and names that do not look like secrets; by default only
    /// programs, options, paths, numbers and text that rules match are kept
    #[arg(long)]
    pub keep_arguments: bool,
}

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// Only these images
    #[arg(value_name = "IMAGE", conflicts_with = "patterns")]
    pub images: Vec<ImageName>,
    /// Only processes whose command line matches, as the image NAME, or `match`
    #[arg(short = 'e', long = "regex", value_name = "[NAME=]REGEX")]
    pub patterns: Vec<RuleArg>,
    /// With -e, include the processes that run psstat-dump, such as sudo
    #[arg(long, requires = "patterns")]
    pub ancestors: bool,
    /// Group by executable name, ignoring any config file
    #[arg(long, conflicts_with = "patterns")]
    pub no_conf: bool,
    /// Columns, separated by commas, the most important first; see `psstat-dump --help`
    ///
    /// Each of images, of processes, or of both. The key c chooses columns, too.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Length of a window [default: 1, or that of the settings]; the keys + and - change it
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub interval: Option<Duration>,
    /// Do not use the mouse, so that the terminal can select text with it
    #[arg(long)]
    pub no_mouse: bool,
    /// Never send signals: the key x has no effect
    #[arg(long)]
    pub no_signals: bool,
    /// Draw with ASCII characters, for a terminal without UTF-8
    #[arg(long)]
    pub ascii: bool,
}

/// Arguments of `record`.
#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    /// The file; earlier parts of the recording are FILE.000001 and so on
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only these images
    #[arg(value_name = "IMAGE", conflicts_with = "patterns")]
    pub images: Vec<ImageName>,
    /// Only processes whose command line matches, as the image NAME, or `match`
    #[arg(short = 'e', long = "regex", value_name = "[NAME=]REGEX")]
    pub patterns: Vec<RuleArg>,
    /// With -e, include the processes that run psstat-dump, such as sudo
    #[arg(long, requires = "patterns")]
    pub ancestors: bool,
    /// Group by executable name, ignoring any config file
    #[arg(long, conflicts_with = "patterns")]
    pub no_conf: bool,
    /// Add kernel threads
    #[arg(short, long, conflicts_with_all = ["images", "patterns"])]
    pub kernel_threads: bool,
    /// Further columns to record, which cost a read per process: state, swap, vcsw, listen
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Time from one window to the next
    #[arg(long, value_name = "SECONDS", value_parser = interval, default_value = "1")]
    pub interval: Duration,
    /// Delete what is older, such as 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = keep)]
    pub keep: Option<Duration>,
    /// Maximum size of all files; the oldest parts are deleted
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "500M")]
    pub size: u64,
}

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The first window [default: that of the recording]; as --at
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: Option<String>,
    /// The last window [default: that of the recording]; as --at
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub to: Option<String>,
    /// Write the page to this file instead of stdout
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Config files, or directories of such [default: from --conf or --class]
    #[arg(value_name = "CONF")]
    pub paths: Vec<PathBuf>,
    /// Expected owner of the config file, besides root and this user [default: appsc]
    #[arg(long, value_name = "USER", env = "PSSTAT_CONF_OWNER")]
    pub conf_owner: Option<String>,
}

/// Parses a process id.
fn pid(text: &str) -> Result<u32, String> {
    let pid = text.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| match text.parse::<ImageName>() {
        Ok(image) => format!("not a process id; `psstat-dump -p {image}` lists those of an image"),
        Err(_) => "not a process id".to_owned(),
    })
}

/// The command that a text is probably meant to be; `None` if it is one.
pub fn similar_command(text: &str) -> Option<&'static str> {
    let names = ["pid", "explain", "find", "top", "doctor", "capture", "record", "report", "check"];
    spelling::nearest(text, names)
}

/// Parses the time to keep.
fn keep(text: &str) -> Result<Duration, String> {
    let keep = crate::time::parse_duration(text).filter(|keep| *keep >= Duration::from_secs(60));
    keep.ok_or_else(|| "not a time of a minute or more, such as 24h or 7d".to_owned())
}

/// Parses the maximum size.
fn size(text: &str) -> Result<u64, String> {
    const MIN: u64 = 1 << 20;
    let (number, unit) = match text.strip_suffix(['K', 'M', 'G', 'T']) {
        Some(number) => (number, text.get(number.len()..)),
        None => (text, None),
    };
    let shift = match unit {
        Some("K") => 10,
        Some("M") => 20,
        Some("G") => 30,
        Some("T") => 40,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes
        .filter(|bytes| *bytes >= MIN)
        .ok_or_else(|| "not a number of bytes from 1M on, such as 500M or 2G".to_owned())
}

/// Parses a duration in seconds, which can have a fraction.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not between 0.1 and 86400".to_owned())
    }
}

/// The definition of the command line, with the complete help.
pub fn command() -> clap::Command {
    let mut help = String::from("Columns (* marks the default ones):\n");
    let mut last = "";
    for column in COLUMNS.iter().filter(|column| column.key != "images") {
        if column.key == last {
            continue;
        }
        last = column.key;
        let mark = if column.is_default { '*' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = writeln!(help, "  {mark} {:<24} {}", column.key, column.description);
    }
    help.push_str(
        "\nA dash, null or an empty field means: the value could not be read by this user, or\n\
         there is no previous reading. A sum includes only the processes that could be read.\n\n\
         Exit status: 0 success; 1 nothing matched, or the checked config file has an invalid\n\
         line; 2 usage error.\n\n\
         To show an image with the name of a command, use `--`: psstat-dump -- check\n\n\
         Examples:\n",
    );
    help.push_str(examples::TABLE);
    let mut command = Args::command().after_long_help(help);
    let names: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names {
        let text = examples::of(&name);
        command = command.mut_subcommand(name, |command| command.after_help(text));
    }
    command
}

/// Parses the arguments, the first being the program's name.
///
/// # Errors
/// When they are invalid, and for `--help` and `--version`; see
/// [`Error::help`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, Error> {
    let arguments = with_help(arguments.into_iter().collect());
    let typo = mistyped_command(&arguments);
    let matches = command().try_get_matches_from(arguments).map_err(|error| match typo {
        // The arguments are those of the command.
        Some((text, command)) if error.use_stderr() => Error::Usage(format!(
            "`{text}` is not a command; did you mean `psstat-dump {command}`?"
        )),
        _ => Error::Arguments(error),
    })?;
    reject_table_options(&matches)?;
    let mut args = Args::from_arg_matches(&matches)?;
    if matches.value_source("conf") == Some(ValueSource::EnvVariable) {
        args.conf.conf = args.conf.conf.iter().flat_map(|list| conf_paths::split(list)).collect();
    }
    Ok(args)
}

/// The first argument, and the command that it is probably meant to be.
fn mistyped_command(arguments: &[OsString]) -> Option<(String, &'static str)> {
    let text = arguments.get(1)?.to_str()?;
    Some((escape::text(text), similar_command(text)?))
}

/// Replaces `help` as the first argument, and `help COMMAND`, by the option `--help`.
fn with_help(mut arguments: Vec<OsString>) -> Vec<OsString> {
    match arguments.as_mut_slice() {
        [_, word] if word == "help" => *word = "--help".into(),
        [_, word, command] if word == "help" => {
            *word = std::mem::replace(command, "--help".into());
        }
        _ => {}
    }
    arguments
}

/// Rejects options of the table before a command, where they have no effect.
fn reject_table_options(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some(name) = matches.subcommand_name() else { return Ok(()) };
    let table = TableArgs::augment_args(clap::Command::new("table"));
    let given = table.get_arguments().find(|argument| {
        let id = argument.get_id().as_str();
        matches.value_source(id) == Some(ValueSource::CommandLine)
    });
    let Some(given) = given else { return Ok(()) };
    let option = given.get_long().map_or("IMAGE".to_owned(), |long| format!("--{long}"));
    let message = format!("{option} applies to the table and cannot be used with `{name}`");
    Err(command().error(clap::error::ErrorKind::ArgumentConflict, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Args, Error> {
        parse(std::iter::once("psstat-dump").chain(words.split(' ')).map(OsString::from))
    }

    #[test]
    fn definitions_are_sound() {
        command().debug_assert();
    }

    #[test]
    fn global_options_are_accepted_anywhere() {
        for words in ["--proc /x check --json", "check --proc /x --json"] {
            let args = parsed(words).unwrap();
            assert_eq!(args.global.proc, PathBuf::from("/x"));
            assert_eq!(args.global.format(), Format::Json);
            assert!(matches!(args.command, Some(Command::Check(_))));
        }
    }

    #[test]
    fn ineffective_options_are_rejected() {
        for words in ["-p check", "--sort rss check", "-e x check", "-e x nginx"] {
            assert!(parsed(words).is_err(), "{words}");
        }
        for words in ["-- check", "check check", "nginx check"] {
            let args = parsed(words);
            let images = args.map(|args| args.table.images.len()).unwrap_or_default();
            let want = ["-- check", "nginx check"].iter().position(|w| *w == words);
            assert_eq!(images, want.map_or(0, |at| at + 1), "{words}");
        }
    }

    #[test]
    fn typing_errors() {
        let commands: Vec<String> =
            command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for (text, want) in [
            ("tpo", Some("top")),
            ("to", Some("top")),
            ("topp", Some("top")),
            ("tip", Some("top")),
            ("dotcor", Some("doctor")),
            ("TOP", Some("top")),
            ("Check", Some("check")),
            ("TPO", Some("top")),
            ("top", None),
            ("t", None),
            ("pot", None),
            ("stop-x", None),
            ("", None),
        ] {
            assert_eq!(similar_command(text), want, "{text}");
            assert!(want.is_none_or(|name| commands.iter().any(|command| command == name)));
        }
        let similar = |name: &String| similar_command(&format!("{name}x"));
        let found: Vec<_> = commands.iter().filter_map(similar).collect();
        assert_eq!(found, commands, "a command is missing");
    }

    /// It was the name of an image.
    #[test]
    fn help_without_dashes() {
        for (words, want) in [("help", "Without a command"), ("help pid", "Process ids")] {
            let help = parsed(words).unwrap_err().help().unwrap();
            assert!(help.contains(want), "{words}: {help}");
        }
        assert_eq!(parsed("-- help").unwrap().table.images.len(), 1);
    }

    #[test]
    fn intervals() {
        assert_eq!(interval("2.5"), Ok(Duration::from_millis(2500)));
        for bad in ["0", "0.05", "-1", "nan", "inf", "1e9", "", "x"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
