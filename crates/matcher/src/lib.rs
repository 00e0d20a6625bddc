//! Rules that pick processes by their command line.
//!
//! A conf file names images and the patterns of their command lines, in the
//! dialect of Python's `re`. This crate reads it, says what is wrong with it,
//! follows it while it changes, and tells which images a command line belongs
//! to.
//!
//! ```
//! use psstat_matcher::Conf;
//!
//! let conf = Conf::parse(b"fi/lrh  lrh.*fi/\nbad     x(?<name>y)\n");
//!
//! // The bad line is told; the good one counts.
//! let shown = conf.diagnostics[0].display("psstat.conf").to_string();
//! assert_eq!(shown, "\
//! error: unknown extension (?<
//!  --> psstat.conf:2:10
//!   |
//! 2 | bad     x(?<name>y)
//!   |          ^^^
//!   = help: write `(?P<name>…)` for a named group, `(?<=…)` or `(?<!…)` for a look-behind");
//!
//! let mut images = Vec::new();
//! conf.rules.classify(b"/opt/lrh -c /srv/fi/x.conf", &mut |image| {
//!     images.push(conf.rules.images()[image].as_str());
//! });
//! assert_eq!(images, ["fi/lrh"]);
//! ```
//!
//! [`LiveConf`](live::LiveConf) follows a file, [`Rules::push`] takes rules
//! from code, [`Survey`] finds rules that fit no process of a machine, or all.
//!
//! # What a pattern means
//! What `re.search` of CPython 3.11 to 3.13 makes of the command line, read as
//! UTF-8 with `surrogateescape`: text is characters, and each byte that is not
//! part of valid UTF-8 is one character, which `.` and `[^a]` match and `\w`,
//! `\d`, `\s` do not. `.` never matches half a character. A byte in the
//! pattern that is not UTF-8 matches that byte.
//!
//! `\w`, `\d`, `\s`, `\b` and ignoring case use CPython's own tables, of
//! Unicode 14. A later Python differs in the few hundred letters that were
//! assigned since, and in nothing else.
//!
//! | Python | here |
//! |---|---|
//! | `$` | also before a newline that ends the text |
//! | `\Z` `\A` `\b` `\B` | the same |
//! | `\<` `\>` `\/` `\-` | the characters |
//! | `[[a]`, `[a&&b]`, `[a--b]`, `[a~~b]` | the characters that stand there |
//! | `\012` `\x0a` `\u000a` `\N{EM DASH}` | the same; `\N` knows the common names |
//! | `{`, `a{,2}`, `a{x}` | a brace, 0 to 2, the characters |
//! | `(?aimsux)`, `(?i-s:…)`, `(?#…)` | the same; those of the whole pattern at its start only |
//! | `(?=…)` `(?!…)` `(?<=…)` `(?<!…)` `\1` `(?P=n)` `(?(1)a\|b)` `(?>…)` `a*+` | the same, with a step limit |
//! | what `re.compile` refuses | refused, with the reason, the column and a remedy |
//!
//! Python takes these, and they are refused: names in `\N{…}` beyond ASCII,
//! Latin-1, Greek, Cyrillic and common punctuation; group names beyond ASCII;
//! the undocumented flag `t`; references to groups that CPython itself loses
//! in a possessive repeat with alternatives, and answers wrongly; groups nested
//! more than 100 deep; patterns of more than 64 KiB, or of more than 20,000 characters with their repeats
//! written out.
//!
//! CPython is the judge: `fixtures/python/judge.py` writes its answers, which
//! the tests hold against this crate's, over CPython's own table
//! (`test/re_tests.py`: all 403 patterns right) and over one of 19,339
//! questions; another test generates patterns and asks the python3 of the
//! machine. `cargo test -p psstat-matcher table -- --nocapture` prints the
//! counts.
//!
//! # Features
//! `inotify`, on by default: changes of a conf are noticed by events. Without
//! it they are noticed by looking every two seconds.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![deny(missing_docs)]

mod conf;
mod coverage;
mod diagnostic;
pub mod file;
pub mod host_config;
mod image;
mod lint;
mod match_run;
pub mod ownership;
mod pattern_error;
mod prefilter;
mod python;
mod render;
mod rules;
mod text;
mod user;
mod watch;
pub mod watcher;

pub use conf::Conf;
pub use coverage::CoverageCheck;
pub use diagnostic::{Diagnostic, Severity};
pub use image::{ImageName, ImageNameError};
pub use pattern_error::PatternError;
pub use python::StepLimit;
pub use rules::{ClassifyStats, Rule, Rules};

/// The README's example, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
