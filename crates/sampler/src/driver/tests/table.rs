//! Small histories as text.
//!
//! ```text
//! fork(1,2) write(2,10) cycle => 10 exit(2) wait(1) cycle*2 => 10
//! ```
//! Processes are numbers; 1 is init. `cycle` is a cycle of the driver (`cycle*N`: several),
//! or `open` and `close`; `=> 10` is the number of bytes that image `a` has then, and has
//! had after each of several cycles, `=> a:10,b:5` those of several images, `=> <=10` a
//! bound. A table that begins with `open files:` needs a driver that keeps files open; the counters
//! of one that begins with `first cycle:` begin with its first cycle. `@N` before a step lets it happen only after N more reads of the driver, once
//! the step with the previous `@` is done.
//!
//! | step | |
//! |---|---|
//! | `fork(PARENT,CHILD)` | of image `a`; more arguments: its images (`ab`, or `-` for none), `ignores` (SIGCHLD), `subreaper`, `reuse` (the lowest free pid) |
//! | `write(P,BYTES)` | |
//! | `exec(P,IMAGES)` | becomes another program |
//! | `exit(P)`, `exit_leader(P)` | |
//! | `wait(P)`, `wait(P,CHILD)` | for all zombies, or for one |
//! | `ignore(P)`, `unignore(P)` | SIGCHLD |
//! | `hide(P)`, `deny(P)`, `show(P)` | `io` fails, is denied, is readable |
//! | `block(P)`, `unblock(P)` | a read of the command line |
//! | `unlist(P)`, `list(P)` | the entry in `/proc` |
//! | `drop_caches()` | entries without open descriptors get other inodes |
//! | `tick()` | the next processes start in a later clock tick |

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::kernel::{Access, Action, INIT, Id, Images, Limits};
use super::model::Model;
use super::world::Abilities;

/// Runs a table with every way of reading.
pub(super) fn check(table: &str) {
    for bits in 0..8 {
        let abilities = Abilities {
            handles: bits & 1 == 0,
            cpu_clock: bits & 2 == 0,
            partial_listing: bits & 4 == 0,
            tick: 0,
            late_clock: false,
        };
        let table = match table.strip_prefix("open files:") {
            Some(_) if !abilities.handles => continue,
            Some(rest) => rest,
            None => table,
        };
        let (starts, table) = match table.strip_prefix("first cycle:") {
            Some(rest) => (&[Start::FirstCycle][..], rest),
            None => (&[Start::Process, Start::SecondCycle][..], table),
        };
        for &start in starts {
            if let Err(error) = run(table, abilities, start) {
                panic!("{error}\nin: {table}\nwith {abilities:?}, {start:?}");
            }
        }
    }
}

/// Runs a table for all values of its variables: `$i` and `$j` below these limits.
pub(super) fn check_all(limits: (u8, u8), table: &str) {
    for i in 0..limits.0.max(1) {
        for j in 0..limits.1.max(1) {
            check(&table.replace("$i", &i.to_string()).replace("$j", &j.to_string()));
        }
    }
}

enum Command {
    Step { after: Option<u8>, action: Action },
    Open,
    Close,
    Cycles(usize),
}

/// Where the counters of the driver begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With each process.
    Process,
    /// With the first cycle of the table.
    FirstCycle,
    /// With a cycle before the table: for that it is as if they began with each process.
    SecondCycle,
}

/// The maximum number of steps in a table other than writes.
const STEPS: i64 = 40;

fn run(table: &str, abilities: Abilities, start: Start) -> Result<(), String> {
    let limits = Limits { orphans: true, subreapers: true, ..Limits::default() };
    let mut model = Model::new(limits, abilities, true, Vec::new());
    if start != Start::Process {
        model = model.since_first_cycle();
    }
    if start == Start::SecondCycle {
        model.cycle()?;
    }
    // CPU time is readable where io is not.
    let is_cpu_readable = !["hide(", "deny("].iter().any(|step| table.contains(step));
    let mut parser = Parser::new(table);
    while let Some(command) = parser.command()? {
        let expected = parser.expectation()?;
        let cycles = match command {
            Command::Step { after: None, action } => {
                model.world.kernel.perform(&action);
                0
            }
            Command::Step { after: Some(reads), action } => {
                model.world.later(reads, action);
                0
            }
            Command::Open => {
                model.open();
                0
            }
            Command::Close => {
                model.close()?;
                1
            }
            Command::Cycles(count) => {
                model.cycle()?;
                count
            }
        };
        for cycle in 1..=cycles {
            for expected in &expected {
                let bytes = model.totals()[expected.image].rchar;
                if !expected.orders.contains(&bytes.cmp(&expected.bytes)) {
                    return Err(format!("has {bytes} instead of {expected:?}, cycle {cycle}"));
                }
                // Each byte takes one unit of both modes, everything else one unit.
                let cpu = model.cpu(expected.image);
                let most = STEPS + model.world.kernel.further_cpu;
                let allowed = 2 * expected.bytes..=2 * expected.bytes + most;
                let is_bound = expected.orders.len() > 1;
                if is_cpu_readable
                    && !allowed.contains(&cpu)
                    && !(is_bound && cpu < *allowed.start())
                {
                    return Err(format!("CPU {cpu} instead of {allowed:?}, cycle {cycle}"));
                }
            }
            if cycle < cycles {
                model.cycle()?;
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Expectation {
    image: usize,
    bytes: i64,
    /// How the bytes of the image may compare to that.
    orders: &'static [Ordering],
}

struct Parser<'a> {
    words: std::iter::Peekable<std::str::SplitWhitespace<'a>>,
    ids: BTreeMap<u32, Id>,
}

impl<'a> Parser<'a> {
    fn new(table: &'a str) -> Parser<'a> {
        let words = table.split_whitespace().peekable();
        Parser { words, ids: BTreeMap::from([(1, INIT)]) }
    }

    fn command(&mut self) -> Result<Option<Command>, String> {
        let Some(mut word) = self.words.next() else { return Ok(None) };
        let mut after = None;
        if let Some(reads) = word.strip_prefix('@') {
            after = Some(number(reads)?);
            word = self.words.next().ok_or("a step is missing")?;
        }
        Ok(Some(match word.split_once('*') {
            _ if word == "open" => Command::Open,
            _ if word == "close" => Command::Close,
            _ if word == "cycle" => Command::Cycles(1),
            Some(("cycle", count)) => Command::Cycles(number(count)?),
            _ => Command::Step { after, action: self.action(word)? },
        }))
    }

    fn expectation(&mut self) -> Result<Vec<Expectation>, String> {
        if self.words.next_if_eq(&"=>").is_none() {
            return Ok(Vec::new());
        }
        let word = self.words.next().ok_or("a number is missing")?;
        let one = |part: &str| {
            let (image, bytes) = part.split_once(':').unwrap_or(("a", part));
            let (bytes, orders): (&str, &[Ordering]) = match bytes.split_at_checked(2) {
                Some(("<=", bytes)) => (bytes, &[Ordering::Less, Ordering::Equal]),
                _ => (bytes, &[Ordering::Equal]),
            };
            let image = images(image)?.trailing_zeros() as usize;
            Ok(Expectation { image, bytes: number(bytes)?, orders })
        };
        word.split(',').map(one).collect()
    }

    fn id(&self, name: &str) -> Result<Id, String> {
        self.ids.get(&number(name)?).copied().ok_or_else(|| format!("no process {name}"))
    }

    fn action(&mut self, word: &str) -> Result<Action, String> {
        let (name, arguments) =
            word.strip_suffix(')').and_then(|word| word.split_once('(')).ok_or(word)?;
        let arguments: Vec<&str> = arguments.split(',').collect();
        match name {
            "drop_caches" => return Ok(Action::DropCaches { all: true }),
            "tick" => return Ok(Action::Tick),
            _ => {}
        }
        let id = self.id(arguments[0])?;
        let second = arguments.get(1).copied();
        let second = || second.ok_or(word);
        Ok(match name {
            "fork" => {
                self.ids.insert(number(second()?)?, self.ids.len());
                let flags = arguments.get(3..).unwrap_or_default();
                Action::Fork {
                    parent: id,
                    images: images(arguments.get(2).unwrap_or(&"a"))?,
                    ignores: flags.contains(&"ignores"),
                    subreaper: flags.contains(&"subreaper"),
                    reuses_pid: flags.contains(&"reuse"),
                }
            }
            "write" => Action::Write { id, amounts: [number(second()?)?; 7] },
            "exec" => Action::Move { id, images: images(second()?)?, exec: true },
            "exit" => Action::Exit { id },
            "exit_leader" => Action::ExitLeader { id },
            "wait" => {
                let child = second().ok().map(|child| self.id(child)).transpose()?;
                Action::Wait { parent: id, child }
            }
            "ignore" | "unignore" => Action::Ignore { id, ignores: name == "ignore" },
            "hide" => Action::SetAccess { id, access: Access::Failing },
            "deny" => Action::SetAccess { id, access: Access::Denied },
            "show" => Action::SetAccess { id, access: Access::Allowed },
            "block" | "unblock" => Action::Block { id, blocks: name == "block" },
            "unlist" | "list" => Action::Unlist { id, unlisted: name == "unlist" },
            _ => return Err(format!("no step {word}")),
        })
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is not a number"))
}

fn images(word: &str) -> Result<Images, String> {
    word.chars().filter(|&letter| letter != '-').try_fold(0, |images, letter| {
        let bit = "abc".find(letter).ok_or_else(|| format!("{word} is not a set of images"))?;
        Ok(images | (1 << bit))
    })
}
