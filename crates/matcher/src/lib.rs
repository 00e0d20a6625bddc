//! Rules that select processes by their command line.
//!
//! A config file lists images and patterns of their command lines, in the
//! dialect of Python's `re`. This crate parses it, produces diagnostics, reloads
//! it when it changes, and determines the images that a command line belongs
//! to.
//!
//! ```
//! use psstat_matcher::{Conf, MatchCache};
//!
//! let conf = Conf::parse(b"fi/lrh  lrh.*fi/\nbad     x(?<name>y)\n");
//!
//! // The invalid line is reported; the valid one is used.
//! let text = conf.diagnostics[0].display("psstat.conf").to_string();
//! assert_eq!(text, "\
//! error: unknown extension (?<
//!  --> psstat.conf:2:10
//!   |
//! 2 | bad     x(?<name>y)
//!   |          ^^^
//!   = help: write `(?P<name>…)` for a named group, `(?<=…)` or `(?<!…)` for a look-behind");
//!
//! let mut cache = MatchCache::default();
//! let matches = conf.rules.matches(b"/opt/lrh -c /srv/fi/x.conf", &mut cache);
//! assert!(matches.map(|found| found.name).eq(["fi/lrh"]));
//! ```
//!
//! A [`Pattern`] is such a regex alone. [`ConfigWatcher`](watcher::ConfigWatcher) reloads a file, [`Rules::push`]
//! adds rules from code, [`CoverageCheck`] finds rules that match no process of
//! a host, or all of them.
//!
//! # Images from groups
//! An image name can contain named groups of the regex. [`ImageTable`] has the images that exist,
//! limits how many a rule makes, and ends those that are no longer used.
//!
//! ```
//! use psstat_matcher::{Conf, MatchCache};
//!
//! let conf = Conf::parse(br"java/{app} \bjava\b.*-Dapp=(?P<app>[\w.-]+)");
//! let mut cache = MatchCache::default();
//! let mut matches = conf.rules.matches(b"/bin/java -Dapp=shop -jar a.jar", &mut cache);
//! assert_eq!(matches.next().map(|found| found.name), Some("java/shop"));
//! ```
//!
//! # Meaning of a pattern
//! A pattern has the meaning of `re.search` in CPython 3.11 to 3.13 on the
//! command line decoded as UTF-8 with `surrogateescape`: each byte that is not
//! part of valid UTF-8 is one character, which `.` and `[^a]` match and `\w`,
//! `\d`, `\s` do not. `.` never matches a part of a character. A byte in the
//! pattern that is not UTF-8 matches that byte.
//!
//! `\w`, `\d`, `\s`, `\b` and case-insensitive matching use CPython's own
//! tables, of Unicode 14. A later Python differs only in the few hundred letters
//! that were assigned since.
//!
//! | Python | here |
//! |---|---|
//! | `$` | also before a newline at the end of the text |
//! | `\Z` `\A` `\b` `\B` | the same |
//! | `\<` `\>` `\/` `\-` | these characters |
//! | `[[a]`, `[a&&b]`, `[a--b]`, `[a~~b]` | literal characters, not set operations |
//! | `\012` `\x0a` `\u000a` `\N{EM DASH}` | the same; `\N` for common names |
//! | `{`, `a{,2}`, `a{x}` | a brace, 0 to 2, literal characters |
//! | `(?aimsux)`, `(?i-s:…)`, `(?#…)` | the same; flags of the whole pattern only at its start |
//! | `(?=…)` `(?!…)` `(?<=…)` `(?<!…)` `\1` `(?P=n)` `(?(1)a\|b)` `(?>…)` `a*+` | the same, with a step limit |
//! | patterns that `re.compile` rejects | rejected, with the reason, the column and a suggestion |
//!
//! The following are accepted by Python and rejected here: names in `\N{…}`
//! other than those of printable ASCII, Latin-1, the unaccented and modern accented
//! Greek letters (U+0391 to U+03C9), the Russian letters U+0410 to U+044F and
//! common punctuation (`docs/rules.md` has the list); group names beyond ASCII; group numbers in `(?(…)…)` that are not plain digits, such as
//! `(?( 1)a)`; the undocumented flag `t`; references to groups that CPython
//! itself loses in a possessive repeat with alternatives, with wrong results;
//! groups nested more than 100 deep; patterns of more than 64 KiB, or of more
//! than 20,000 characters with their repeats written out.
//!
//! CPython is the reference. `fixtures/python/judge.py` writes its results, and
//! the tests compare this crate with them: over CPython's own table
//! (`test/re_tests.py`, all 403 patterns agree) and over a table of 19,339
//! cases. Another test generates patterns and compares with the host's python3.
//! `cargo test -p psstat-matcher table -- --nocapture` prints the counts.
//!
//! # Features
//! `inotify` (default): changes of a config file are detected by events. Without
//! it, the file is polled every two seconds.
#![forbid(unsafe_code)]
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![deny(missing_docs)]

mod conf;
mod coverage;
mod diagnostic;
pub mod file;
pub mod host_config;
mod image;
mod image_table;
mod lint;
mod match_run;
pub mod ownership;
mod pattern;
mod pattern_error;
mod prefilter;
mod process_text;
mod python;
mod render;
mod repeated;
mod rule;
mod rules;
pub mod sources;
mod template;
mod user;
mod watch;
pub mod watcher;

pub use conf::Conf;
pub use coverage::CoverageCheck;
pub use diagnostic::{Diagnostic, Severity};
pub use image::{ImageName, ImageNameError};
pub use image_table::{ImageTable, MAX_IMAGES_PER_RULE, MAX_MADE_IMAGES};
pub use pattern::{Captures, Pattern, PatternCache};
pub use pattern_error::PatternError;
pub use process_text::{Field, ProcessText};
pub use python::StepLimit;
pub use rule::{MadeName, Rule, RuleMatch};
pub use rules::{ClassifyStats, Match, MatchCache, Matches, Rules};
pub use template::{ImageTemplate, ImageTemplateError};

/// The README's example, compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
