//! Selects processes and groups them into images.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use psstat_matcher::{
    ImageName, ImageTable, ImageTemplate, MAX_IMAGES_PER_RULE, MatchCache, Rule, Rules,
};
use psstat_proc_parse::{Cmdline, Stat};
use psstat_sampler::{Candidate, ProcessFields};
use psstat_support::process_texts::ProcessTexts;
use psstat_support::procfs;

use crate::executable;
use crate::measure;
use crate::process_report::Files;
use crate::process_text::Fields;
use crate::table::row::{CommName, ProcessId};

/// The image of all selected processes. Its sums count a process or socket
/// that belongs to several images once. No other image has this name.
pub const TOTAL: &str = "";

/// The source of the images.
#[derive(Debug)]
pub enum Source {
    /// Executable names.
    Executable,
    /// The rules of config files.
    Conf {
        /// The paths that were given.
        paths: Vec<PathBuf>,
        /// Whether there are several files.
        has_several_files: bool,
        /// The rules.
        rules: Rules,
    },
    /// The arguments of `-e`.
    Regex(Rules),
}

impl Source {
    /// Whether there are several config files.
    pub(crate) fn has_several_files(&self) -> bool {
        matches!(self, Source::Conf { has_several_files: true, .. })
    }
}

/// The identity of a process when it was last classified.
#[derive(Clone, Debug, Default)]
struct Identity {
    ppid: u32,
    uid: Option<u32>,
    command_line: Vec<u8>,
    /// The name if there is no command line.
    comm: Option<CommName>,
}

/// Groups processes into images.
#[derive(Debug)]
pub struct Selector {
    source: Source,
    /// The selected images; empty: all.
    include: Vec<String>,
    /// Names of executables, in the order in which they were found.
    names: Vec<String>,
    known_names: HashSet<String>,
    /// The images of rules.
    rule_images: ImageTable,
    cache: MatchCache,
    /// This process and, for patterns, its callers.
    excluded: Vec<u32>,
    /// The only processes that are selected, with their start times, if known; `None`: all.
    followed: Option<Vec<(u32, Option<u64>)>>,
    proc: PathBuf,
    /// The texts of processes that rules are about.
    texts: ProcessTexts,
    /// Whether `proc` is a procfs, not a capture, in which files have other owners.
    is_procfs: bool,
    /// By pid.
    identities: HashMap<u32, Identity>,
}

impl Selector {
    /// Groups processes by `source`. If `include` is not empty, only these
    /// images exist, with or without processes. `proc` is the procfs of the
    /// processes. This process is excluded; the processes that run it (`sudo`,
    /// `sh -c`) are excluded for patterns, unless `ancestors` is set.
    pub fn new(source: Source, include: &[ImageName], proc: &Path, ancestors: bool) -> Selector {
        let mut excluded: Vec<u32> = self_pid(proc).into_iter().collect();
        if matches!(source, Source::Regex(_)) && !ancestors {
            excluded.extend(callers_of_self(proc));
        }
        let included: Vec<String> = include.iter().map(ToString::to_string).collect();
        let mut selector = Selector {
            source,
            include: included.clone(),
            names: Vec::new(),
            known_names: HashSet::new(),
            rule_images: ImageTable::new(MAX_IMAGES_PER_RULE),
            cache: MatchCache::default(),
            excluded,
            followed: None,
            proc: proc.to_owned(),
            is_procfs: procfs::is_procfs(proc).unwrap_or(false),
            texts: ProcessTexts::new(proc),
            identities: HashMap::new(),
        };
        match &selector.source {
            Source::Executable => {
                for name in &included {
                    selector.add_name(name);
                }
            }
            Source::Conf { rules, .. } | Source::Regex(rules) => {
                let (images, now) = (&mut selector.rule_images, Instant::now());
                let is_included = |name: &str| is_included(&included, name);
                images.set_rules_by(rules, now, is_included);
                selector.texts = measure::texts_of_rules(proc, rules);
                for name in include {
                    images.add(name, now);
                }
            }
        }
        selector
    }

    /// Selects these processes only, also those that are in no image, until they exit.
    pub fn follow(&mut self, pids: &[u32]) {
        let process = |&pid: &u32| (pid, start_time(&self.proc, pid));
        self.followed = Some(pids.iter().map(process).collect());
    }

    /// Whether a process is one of those that are followed, not another one with its pid.
    fn is_followed(&self, pid: u32) -> bool {
        self.followed.as_ref().is_some_and(|followed| {
            let start = followed.iter().find(|(other, _)| *other == pid).map(|(_, start)| *start);
            start.is_some_and(|start| {
                start.is_none() || start_time(&self.proc, pid).is_none_or(|now| start == Some(now))
            })
        })
    }

    /// The source of the images.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The files that the sampler has to read of each process for the rules.
    pub fn fields(&self) -> ProcessFields {
        self.texts.fields()
    }

    /// Takes over changes of the names of users. Returns whether all processes are to be classified
    /// again.
    pub fn update_users(&mut self) -> bool {
        self.texts.update_users()
    }

    /// All images so far, without the total.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        let of_rules = self.rule_images.active().map(ImageName::as_str);
        self.names.iter().map(String::as_str).chain(of_rules)
    }

    /// Ends the images that rules made and that have had no process for an hour. `has_processes`
    /// returns whether an image has any now. Gives their names.
    pub fn end_unused(&mut self, has_processes: impl Fn(&str) -> bool) -> Vec<String> {
        let mut ended = Vec::new();
        self.rule_images.end_unused(
            Instant::now(),
            |name| has_processes(name.as_str()),
            |name| ended.push(name.to_string()),
        );
        ended
    }

    /// The rules that exceeded their step limit on some command line, each with
    /// its image. Whether they match that command line is unknown.
    pub fn step_limited_rules(&self) -> Vec<(&str, &Rule)> {
        let (Source::Conf { rules, .. } | Source::Regex(rules)) = &self.source else {
            return Vec::new();
        };
        let limited = rules.rules().iter().filter(|rule| rule.step_limit_hits() > 0);
        let image =
            |rule: &Rule| rules.images().get(rule.image()).map_or("", ImageTemplate::as_str);
        limited.map(|rule| (image(rule), rule)).collect()
    }

    /// Calls `found` with the name of each image of a process, [`TOTAL`] at last, and records its
    /// identity.
    pub fn classify(&mut self, candidate: &Candidate<'_>, mut found: impl FnMut(&str)) {
        let is_followed = self.is_followed(candidate.pid);
        if self.excluded.contains(&candidate.pid) || (self.followed.is_some() && !is_followed) {
            return;
        }
        let mut is_selected = is_followed;
        match &self.source {
            Source::Executable => {
                let comm = || comm(&self.proc, candidate.pid);
                let name = executable::image(candidate.command_line, comm);
                if self.is_included(&name) {
                    self.add_name(&name);
                    found(&name);
                    is_selected = true;
                }
            }
            Source::Conf { rules, .. } | Source::Regex(rules) => {
                let (table, include, now) = (&mut self.rule_images, &self.include, Instant::now());
                for image in rules.matches(self.texts.of(candidate), &mut self.cache) {
                    if is_included(include, image.name)
                        && let Some(name) = table.image(rules, image, now)
                    {
                        found(name.as_str());
                        is_selected = true;
                    }
                }
            }
        }
        if is_selected {
            found(TOTAL);
            let has_arguments = !Cmdline::new(candidate.command_line).is_empty();
            let comm = (!has_arguments).then(|| comm(&self.proc, candidate.pid)).flatten();
            let comm = comm.map(CommName::Process);
            let uid = self.is_procfs.then(|| owner(&self.proc, candidate.pid)).flatten();
            let command_line = candidate.args_joined.to_vec();
            let identity = Identity { ppid: candidate.ppid, uid, command_line, comm };
            self.identities.insert(candidate.pid, identity);
        }
    }

    /// The names of the images of a process with this command line, as in `cmdline`.
    pub(crate) fn images_of(&mut self, pid: u32, command_line: &[u8]) -> Vec<String> {
        let args_joined: Vec<u8> = Cmdline::new(command_line).joined().collect();
        let needed = self.fields();
        let files = (needed != ProcessFields::NONE).then(|| Files::open(&self.proc, pid).ok());
        let fields = files.flatten().map(|files| Fields::read(&files, needed)).unwrap_or_default();
        let Fields { comm, uid, cgroup } = &fields;
        let (comm, uid, cgroup) = (comm.as_deref(), *uid, cgroup.as_deref());
        let mut candidate = Candidate::new(pid, command_line, &args_joined);
        (candidate.comm, candidate.uid, candidate.cgroup) = (comm, uid, cgroup);
        let mut images = Vec::new();
        self.classify(&candidate, |name| images.push(name.to_owned()));
        images.retain(|image| image != TOTAL);
        images
    }

    /// The identity of a selected process when it was last classified.
    pub fn identity(&self, pid: u32, starttime: u64) -> ProcessId {
        let Identity { ppid, uid, command_line, comm } =
            self.identities.get(&pid).cloned().unwrap_or_default();
        ProcessId { pid, ppid, starttime, command_line, comm, uid, ..ProcessId::default() }
    }

    /// Removes the identities of processes that no longer exist.
    pub fn retain(&mut self, exists: impl Fn(u32) -> bool) {
        self.identities.retain(|pid, _| exists(*pid));
    }

    fn is_included(&self, name: &str) -> bool {
        is_included(&self.include, name)
    }

    /// Adds the name of an executable if it is new.
    fn add_name(&mut self, name: &str) {
        if !self.known_names.contains(name) {
            self.names.push(name.to_owned());
            self.known_names.insert(name.to_owned());
        }
    }
}

fn is_included(include: &[String], name: &str) -> bool {
    include.is_empty() || include.iter().any(|included| included == name)
}

/// The owner of the directory of a process.
fn owner(proc: &Path, pid: u32) -> Option<u32> {
    Some(std::fs::metadata(proc.join(pid.to_string())).ok()?.uid())
}

/// The name that the kernel has for a process.
fn comm(proc: &Path, pid: u32) -> Option<Vec<u8>> {
    let comm = Files::open(proc, pid).ok()?.read("comm").ok()?;
    Some(comm.strip_suffix(b"\n").unwrap_or(&comm).to_vec())
}

/// The pid of this process in a procfs, which can be that of another pid
/// namespace. `None` for a capture.
pub(crate) fn self_pid(proc: &Path) -> Option<u32> {
    if !procfs::is_procfs(proc).unwrap_or(true) {
        return None;
    }
    std::fs::read_link(proc.join("self")).ok()?.to_str()?.parse().ok()
}

/// The processes that run this one, for patterns of the command line, which their command lines
/// contain as well.
pub(crate) fn callers_of_self(proc: &Path) -> Vec<u32> {
    self_pid(proc).map(|pid| callers(proc, pid)).unwrap_or_default()
}

/// The processes that run this one: `sudo`, `timeout`, `sh -c`. Their command
/// lines contain the arguments of this process. These are its ancestors up to the
/// first that leads a session, such as a shell or a service, unless that runs
/// this program as well.
fn callers(proc: &Path, self_pid: u32) -> Vec<u32> {
    const MAX_CALLERS: usize = 64;
    let mut callers = Vec::new();
    let mut next = parent_and_session(proc, self_pid).map(|(parent, _)| parent);
    while let Some(pid) = next.filter(|_| callers.len() < MAX_CALLERS) {
        let Some((parent, session)) = parent_and_session(proc, pid) else { break };
        if session == pid && !has_program_in_cmdline(proc, pid) {
            break;
        }
        callers.push(pid);
        next = Some(parent);
    }
    callers
}

fn start_time(proc: &Path, pid: u32) -> Option<u64> {
    let stat = Files::open(proc, pid).ok()?.read("stat").ok()?;
    Stat::parse(&stat).ok().map(|stat| stat.starttime.0)
}

fn parent_and_session(proc: &Path, pid: u32) -> Option<(u32, u32)> {
    let stat = Files::open(proc, pid).ok()?.read("stat").ok()?;
    let stat = Stat::parse(&stat).ok()?;
    Some((u32::try_from(stat.ppid).ok()?, u32::try_from(stat.session).ok()?))
}

fn has_program_in_cmdline(proc: &Path, pid: u32) -> bool {
    let program = env!("CARGO_PKG_NAME").as_bytes();
    let cmdline = Files::open(proc, pid).and_then(|files| files.read("cmdline"));
    cmdline.unwrap_or_default().windows(program.len()).any(|part| part == program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule_arg;

    fn new(source: Source, include: &[ImageName]) -> Selector {
        Selector::new(source, include, Path::new("/nowhere"), false)
    }

    fn candidate<'a>(pid: u32, command_line: &'a [u8], text: &'a [u8]) -> Candidate<'a> {
        Candidate::new(pid, command_line, text)
    }

    fn images_of(selector: &mut Selector, pid: u32, words: &str) -> Vec<String> {
        let raw = words.replace(' ', "\0") + "\0";
        let mut images = Vec::new();
        let candidate = candidate(pid, raw.as_bytes(), words.as_bytes());
        selector.classify(&candidate, |name| images.push(name.to_owned()));
        let (total, rest): (Vec<_>, Vec<_>) = images.into_iter().partition(|name| name == TOTAL);
        assert_eq!(total.len(), usize::from(!rest.is_empty()));
        rest
    }

    #[test]
    fn groups_by_executable() {
        let mut selector = new(Source::Executable, &[]);
        selector.excluded = vec![7];
        assert_eq!(images_of(&mut selector, 1, "/bin/cat x"), ["cat"]);
        assert_eq!(images_of(&mut selector, 2, "dog"), ["dog"]);
        assert_eq!(images_of(&mut selector, 3, "cat"), ["cat"]);
        assert!(images_of(&mut selector, 7, "cat").is_empty());
        assert_eq!(selector.images().count(), 2);
        assert_eq!(selector.identity(1, 5).command_line, b"/bin/cat x");
        selector.retain(|pid| pid != 1);
        assert_eq!(selector.identity(1, 5).command_line, b"");
    }

    #[test]
    fn selects_images() {
        let include = ["dog".parse().unwrap(), "bird".parse().unwrap()];
        let mut selector = new(Source::Executable, &include);
        assert!(images_of(&mut selector, 1, "cat").is_empty());
        assert_eq!(images_of(&mut selector, 2, "dog"), ["dog"]);
        assert_eq!(selector.images().collect::<Vec<_>>(), ["dog", "bird"]);
    }

    #[test]
    fn groups_by_rules() {
        let conf = psstat_matcher::Conf::parse(b"c cat\nanimal cat|dog\nb bird\n");
        let source = || Source::Conf {
            paths: vec![PathBuf::from("x")],
            has_several_files: false,
            rules: psstat_matcher::Conf::parse(b"c cat\nanimal cat|dog\nb bird\n").rules,
        };
        assert_eq!(conf.diagnostics, []);
        let mut all = new(source(), &[]);
        assert_eq!(images_of(&mut all, 1, "a cat"), ["c", "animal"]);
        assert_eq!(all.images().count(), 3);
        let include = ["animal".parse().unwrap(), "none".parse().unwrap()];
        let mut some = new(source(), &include);
        assert_eq!(images_of(&mut some, 1, "a cat"), ["animal"]);
        assert!(images_of(&mut some, 1, "bird").is_empty());
        assert_eq!(some.images().collect::<Vec<_>>(), ["animal", "none"]);
    }

    #[test]
    fn groups_by_patterns() {
        let args = ["^x", "n=z", "y$"].map(|text| text.parse().unwrap());
        let mut selector = new(Source::Regex(rule_arg::rules(&args).unwrap()), &[]);
        assert_eq!(images_of(&mut selector, 1, "x y"), ["match"]);
        assert_eq!(images_of(&mut selector, 2, "z y"), ["match", "n"]);
        assert!(images_of(&mut selector, 3, "a").is_empty());
    }
}
