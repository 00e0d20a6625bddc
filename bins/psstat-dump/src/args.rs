//! What was typed, free of side effects.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _};
use psstat_matcher::ImageName;
use psstat_matcher::host_config::HostClass;

use crate::columns::COLUMNS;
use crate::exit::Error;
use crate::terminal;

/// Ask a machine what the processes behind a name are doing.
///
/// Without a verb: a table, one row an image. An image is a group of
/// processes: those that a conf's rules give one name or, without a conf,
/// those of one executable name. The numbers are sums over its processes,
/// measured over one second. psstat-dump leaves itself out.
#[derive(Debug, clap::Parser)]
#[command(name = "psstat-dump", version, max_term_width = 100)]
#[command(subcommand_help_heading = "Verbs", subcommand_value_name = "VERB")]
#[command(disable_help_subcommand = true)]
pub struct Args {
    /// Options that every verb takes.
    #[command(flatten)]
    pub common: GlobalArgs,
    /// Which conf.
    #[command(flatten)]
    pub conf: ConfArgs,
    /// What the table is to be.
    #[command(flatten)]
    pub table: TableArgs,
    /// What to do; nothing: the table.
    #[command(subcommand)]
    pub verb: Option<Command>,
}

/// What to do other than the table.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Tell all that is known of a process
    ///
    /// Who it is, CPU, memory, io, limits and what is used of them,
    /// descriptors by kind with their targets, sockets by state with both
    /// ends. Exits 1 if there is none of these processes.
    Pid(PidArgs),
    /// Show which rules match a process and where, and why the others do not
    ///
    /// Of a rule that nearly matches it shows the one place where the regex and
    /// the command line differ; of others the longest beginning of the regex
    /// that matches by itself. With --rule: which processes the rules of an
    /// image match, and which come nearest. Exits 1 if nothing matches.
    Explain(ExplainArgs),
    /// Watch images live: bars, histories, processes, pages
    ///
    /// Press ? for what keys do.
    Top(TopArgs),
    /// Tell what this user can read here, and what to do about the rest
    ///
    /// Tries the files of all processes; looks at the kernel, hidepid, the pid
    /// namespace, limits, the conf and who collects. Exits 1 if something is
    /// bad: numbers are missing, or will be.
    Doctor(DoctorArgs),
    /// Copy the /proc files that a bug report needs into a new folder
    ///
    /// Of the processes of all images, or of those that are named. Command
    /// lines and names of files and sockets are scrubbed of what looks secret,
    /// and of socket tables only the rows of these processes are taken. Every verb runs on such a folder
    /// with --proc. Exits 1 if there is no such process.
    Capture(CaptureArgs),
    /// Say what is wrong with a conf, and what its rules match here
    ///
    /// Prints each bad line with the spot and what to write instead, warnings,
    /// and how many of this machine's processes each rule matches. Exits 1 if
    /// a line is bad or no rule is left.
    Check(CheckArgs),
}

/// Options that every verb takes.
#[derive(Debug, clap::Args)]
pub struct GlobalArgs {
    /// The procfs to read, or a copy of one
    #[arg(long, global = true, value_name = "DIR", default_value = "/proc", env = "PSSTAT_PROC")]
    pub proc: PathBuf,
    /// Print JSON: one document a line
    #[arg(long, global = true, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV with a heading
    #[arg(long, global = true)]
    pub csv: bool,
    /// Colour: on a terminal, always, or never; NO_COLOR turns `auto` off
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

impl GlobalArgs {
    /// The form of the output.
    pub fn format(&self) -> Format {
        match (self.json, self.csv) {
            (true, _) => Format::Json,
            (_, true) => Format::Csv,
            _ => Format::Text,
        }
    }
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON document a line.
    Json,
    /// Comma-separated, with a heading.
    Csv,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Also in a pipe.
    Always,
    /// Not at all.
    Never,
}

/// Which conf.
#[derive(Debug, clap::Args)]
pub struct ConfArgs {
    /// The conf with the rules
    ///
    /// Without it, /CLASS/shared/conf/psstat.conf where that exists.
    #[arg(long, global = true, value_name = "PATH", env = "PSSTAT_CONF")]
    pub conf: Option<PathBuf>,
    /// Take the conf /NAME/shared/conf/psstat.conf
    ///
    /// Without it, NAME is the host name up to its first dot, without trailing
    /// digits.
    #[arg(long, global = true, value_name = "NAME", env = "PSSTAT_CLASS")]
    pub class: Option<HostClass>,
}

/// What the table is to be.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Table")]
pub struct TableArgs {
    /// Only these images; one is shown even without a process
    #[arg(value_name = "IMAGE")]
    pub images: Vec<ImageName>,
    /// One row a process
    #[arg(short, long)]
    pub processes: bool,
    /// Only processes whose command line matches; they are the image `match`
    ///
    /// In the dialect of Python's re, searched anywhere in the command line.
    /// Given several times, one match is enough.
    #[arg(short = 'e', long, value_name = "REGEX", conflicts_with = "images")]
    pub regex: Vec<String>,
    /// Each executable name is an image, even if there is a conf
    #[arg(long, conflicts_with_all = ["regex"])]
    pub no_conf: bool,
    /// Columns, separated by commas; `--help` lists them
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Sort by this column: numbers from the largest, text from A to Z
    #[arg(long, value_name = "COLUMN", default_value = "pcpu")]
    pub sort: String,
    /// Sort the other way round
    #[arg(short, long)]
    pub reverse: bool,
    /// Every digit instead of 1.5M
    #[arg(long)]
    pub exact: bool,
    /// Repeat every so many seconds, each time measured over all of them
    ///
    /// Without it, the table is measured over one second, and repeated only if
    /// --count says so. As text, several tables end with their average, also
    /// after ctrl-c.
    #[arg(long, value_name = "SECONDS", value_parser = interval)]
    pub interval: Option<Duration>,
    /// How many tables; with --interval alone, until it is ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// What `pid` takes.
#[derive(Debug, clap::Args)]
pub struct PidArgs {
    /// Which processes
    #[arg(value_name = "PID", required = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// Every digit instead of 1.5M
    #[arg(long)]
    pub exact: bool,
}

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Which processes
    #[arg(value_name = "PID", required_unless_present = "rule", conflicts_with = "rule")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
    /// The rules of this image against all processes
    #[arg(long, value_name = "IMAGE")]
    pub rule: Option<ImageName>,
    /// This regex instead of a conf's rules; its image is `match`
    #[arg(short = 'e', long = "regex", value_name = "REGEX")]
    pub patterns: Vec<String>,
}

/// What `doctor` takes.
#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// To whom the conf should belong, beside root and this user
    #[arg(long, value_name = "USER", default_value = "appsc", env = "PSSTAT_CONF_OWNER")]
    pub conf_owner: String,
}

/// What `capture` takes.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    /// The folder; it is made, or is there and empty
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Only processes of these images
    #[arg(value_name = "IMAGE", conflicts_with_all = ["patterns", "pids"])]
    pub images: Vec<ImageName>,
    /// Only processes whose command line matches
    #[arg(short = 'e', long = "regex", value_name = "REGEX")]
    pub patterns: Vec<String>,
    /// Only these processes
    #[arg(long = "pid", value_name = "PID", conflicts_with = "patterns")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..), value_delimiter = ',')]
    pub pids: Vec<u32>,
}

/// What `top` takes.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// Only these images
    #[arg(value_name = "IMAGE", conflicts_with = "patterns")]
    pub images: Vec<ImageName>,
    /// Only processes whose command line matches; they are the image `match`
    #[arg(short = 'e', long = "regex", value_name = "REGEX")]
    pub patterns: Vec<String>,
    /// Each executable name is an image, even if there is a conf
    #[arg(long, conflicts_with = "patterns")]
    pub no_conf: bool,
    /// How long a window is
    #[arg(long, value_name = "SECONDS", value_parser = interval, default_value = "1")]
    pub interval: Duration,
}

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The conf; without it, that of --conf or --class
    #[arg(value_name = "CONF")]
    pub path: Option<PathBuf>,
    /// To whom the conf should belong, beside root and this user
    #[arg(long, value_name = "USER", default_value = "appsc", env = "PSSTAT_CONF_OWNER")]
    pub conf_owner: String,
}

/// A length of time in seconds, with a fraction if need be.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    if (0.1..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not between 0.1 and 86400".to_owned())
    }
}

/// The program's definition, with all of its help.
pub fn command() -> clap::Command {
    let mut help = String::from("Columns (default ones are marked *):\n");
    let mut last = "";
    for column in COLUMNS.iter().filter(|column| column.key != "images") {
        if column.key == last {
            continue;
        }
        last = column.key;
        let mark = if column.shown { '*' } else { ' ' };
        // Writing to a String cannot fail.
        let _ = writeln!(help, "  {mark} {:<24} {}", column.key, column.description);
    }
    help.push_str(
        "\nA dash, null or nothing: the value could not be read by this user, or there is no\n\
         earlier reading to compare with. A sum is over the processes that could be read.\n\n\
         Exit status: 0; 1 nothing matched, or a bad line in a conf that is checked; 2 wrong use.\n\n\
         An image with the name of a verb is asked for behind `--`: psstat-dump -- check",
    );
    Args::command().after_long_help(help)
}

/// Understands the arguments, the first being the program's name.
///
/// # Errors
/// What is wrong with them. `--help` and `--version` come this way too, and
/// are printed already.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Args, Error> {
    let parsed = command().try_get_matches_from(arguments).and_then(|matches| {
        reject_table_options(&matches)?;
        Args::from_arg_matches(&matches)
    });
    parsed.map_err(|error| {
        if error.use_stderr() {
            return Error::Arguments(error);
        }
        match terminal::print(error.render().to_string().as_bytes()) {
            Ok(()) => Error::Arguments(error),
            Err(failed) => Error::Output(failed),
        }
    })
}

/// An option of the table before a verb would do nothing.
fn reject_table_options(matches: &ArgMatches) -> Result<(), clap::Error> {
    let Some(verb) = matches.subcommand_name() else { return Ok(()) };
    let table = TableArgs::augment_args(clap::Command::new("table"));
    let given = table.get_arguments().find(|argument| {
        let id = argument.get_id().as_str();
        matches.value_source(id) == Some(ValueSource::CommandLine)
    });
    let Some(given) = given else { return Ok(()) };
    let name = given.get_long().map_or("IMAGE".to_owned(), |long| format!("--{long}"));
    let message = format!("{name} is for the table and does not go with the verb `{verb}`");
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
            assert_eq!(args.common.proc, PathBuf::from("/x"));
            assert_eq!(args.common.format(), Format::Json);
            assert!(matches!(args.verb, Some(Command::Check(_))));
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
    fn intervals() {
        assert_eq!(interval("2.5"), Ok(Duration::from_millis(2500)));
        for bad in ["0", "0.05", "-1", "nan", "inf", "1e9", "", "x"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
