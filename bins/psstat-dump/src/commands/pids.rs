//! Processes from the arguments: by id, or by name.

use std::path::Path;

use psstat_proc_parse::{Cmdline, Status};
use psstat_support::escape;

use crate::exit::Error;
use crate::process_report::{BootInfo, Files};
use crate::selector::{Selector, self_pid};
use crate::table::units;
use crate::{executable, spelling, terminal};

/// The processes of these ids. The id of a thread is replaced by that of its
/// process, with a message: the files of a thread mix its own values with those
/// of the process.
pub(super) fn processes(proc: &Path, ids: &[u32]) -> Vec<u32> {
    let mut pids = Vec::new();
    for &id in ids {
        let pid = process_of_thread(proc, id).unwrap_or(id);
        if pid != id {
            terminal::eprint_line(&format!("psstat-dump: {id} is a thread of process {pid}"));
        }
        if !pids.contains(&pid) {
            pids.push(pid);
        }
    }
    pids
}

fn process_of_thread(proc: &Path, id: u32) -> Option<u32> {
    let status = Files::open(proc, id).ok()?.read("status").ok()?;
    let tgid = Status::parse(&status).ok()?.tgid?;
    u32::try_from(tgid).ok().filter(|tgid| *tgid > 0)
}

fn id(word: &str) -> Option<u32> {
    word.parse().ok().filter(|pid| *pid > 0)
}

/// The ids of a recording, in which processes cannot be named.
///
/// # Errors
/// When one is not an id.
pub(super) fn ids(words: &[String]) -> Result<Vec<u32>, Error> {
    let not_an_id = |word: &str| {
        let word = escape::text(word);
        Error::Usage(format!("{word} is not a process id; `-p` lists those of a recording"))
    };
    words.iter().map(|word| id(word).ok_or_else(|| not_an_id(word))).collect()
}

/// A process that can be named.
struct Named {
    pid: u32,
    command_line: Vec<u8>,
    comm: Vec<u8>,
    age: Option<f64>,
}

/// The ids of the processes with these ids or names: of the executable, of the process (`comm`), or
/// of an image. Those that do not exist are reported.
///
/// # Errors
/// When a name is that of several processes: the error lists them.
pub(super) fn by_id_or_name(
    proc: &Path,
    selector: &mut Selector,
    words: &[String],
) -> Result<Vec<u32>, Error> {
    if let Some(ids) = words.iter().map(|word| id(word)).collect::<Option<Vec<u32>>>() {
        return Ok(processes(proc, &ids));
    }
    if let Some(number) =
        words.iter().find(|word| word.parse::<i128>().is_ok() && id(word).is_none())
    {
        return Err(Error::Usage(format!("{number} is not a process id")));
    }
    let all = named(proc);
    let mut ids = Vec::new();
    for word in words {
        if let Some(id) = id(word) {
            ids.push(id);
            continue;
        }
        let found: Vec<&Named> =
            all.iter().filter(|process| process.names(selector).contains(word)).collect();
        match found[..] {
            [only] => ids.push(only.pid),
            [] => {
                let word_shown = escape::text(word);
                let names: Vec<String> =
                    all.iter().flat_map(|process| process.names(selector)).collect();
                let help = spelling::nearest(word, names.iter().map(String::as_str))
                    .map(|name| format!("; did you mean `{}`?", escape::text(name)));
                terminal::eprint_line(&format!(
                    "psstat-dump: no process is named `{word_shown}`{}",
                    help.unwrap_or_default()
                ));
            }
            _ => return Err(Error::Usage(candidates(word, &found))),
        }
    }
    Ok(processes(proc, &ids))
}

/// The message for a name that several processes have.
fn candidates(word: &str, found: &[&Named]) -> String {
    const MAX_SHOWN: usize = 20;
    let word = escape::text(word);
    let mut text = format!(
        "{} processes are named `{word}`; choose one by its id, or use `psstat-dump -p {word}`:",
        found.len()
    );
    for process in found.iter().take(MAX_SHOWN) {
        let age = process.age.map_or("-".to_owned(), units::age);
        let command_line: Vec<u8> = Cmdline::new(&process.command_line).joined().collect();
        let command_line = escape::truncate(&escape::bytes(&command_line), 80);
        text.push_str(&format!("\n  {:>7}  {age:>8}  {command_line}", process.pid));
    }
    if found.len() > MAX_SHOWN {
        text.push_str(&format!("\n  and {} more", found.len() - MAX_SHOWN));
    }
    text
}

/// All processes but this one and kernel threads.
fn named(proc: &Path) -> Vec<Named> {
    let own = self_pid(proc);
    let pids: Vec<u32> = psstat_support::procfs::pids(proc).into_iter().flatten().collect();
    let boot = BootInfo::read(proc);
    let process = |pid: &u32| {
        let files = Files::open(proc, *pid).ok()?;
        let comm = files.read("comm").ok()?;
        let command_line = files.read("cmdline").unwrap_or_default();
        let is_kernel_thread = command_line.is_empty() && files.link("exe").is_err();
        let stat = files.read("stat").ok();
        let stat = stat.as_deref().and_then(|stat| psstat_proc_parse::Stat::parse(stat).ok());
        let age = stat.and_then(|stat| boot.age(stat.starttime.0));
        let comm = comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec();
        (!is_kernel_thread).then_some(Named { pid: *pid, command_line, comm, age })
    };
    pids.iter().filter(|pid| Some(**pid) != own).filter_map(process).collect()
}

impl Named {
    /// Its names: executable, process, images.
    fn names(&self, selector: &mut Selector) -> Vec<String> {
        let mut names = vec![
            executable::image(&self.command_line, || Some(self.comm.clone())),
            String::from_utf8_lossy(&self.comm).into_owned(),
        ];
        names.extend(selector.images_of(self.pid, &self.command_line));
        names
    }
}
