//! Config files of several paths, each a file or a directory of files, as if they
//! were one.
//!
//! The files of a directory are those whose names end in `.conf` and do not start
//! with a dot, in the order of their names by bytes. They must be regular files or
//! links to such.

use std::collections::{BinaryHeap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::conf::{Conf, MAX_RULES, Parser, of_file};
use crate::diagnostic::Severity;
use crate::file::{self, FileStamp, LoadError, unlinked};
use crate::ownership::{OwnerPolicy, OwnershipIssue};

/// Maximum number of files of a directory. Further files, in the order of the
/// names, are not used, which a diagnostic states.
pub const MAX_FILES: usize = 256;
/// Maximum length of all files together in bytes. If they are longer, the largest
/// are not used.
pub const MAX_TOTAL_LEN: usize = 8 << 20;

/// The rules of all files, and the state of each file.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct LoadedSources {
    /// The rules of all files in their order, and the diagnostics, each with the
    /// path of its file.
    pub conf: Conf,
    /// The paths in their order, each directory followed by its files.
    pub files: Vec<SourceFile>,
}

impl LoadedSources {
    /// Whether each file is used as it is, and there is at least one rule.
    pub fn is_current(&self) -> bool {
        !self.conf.rules.is_empty() && self.files.iter().all(SourceFile::is_current)
    }
}

/// The state of a config file or directory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceFile {
    /// Its path.
    pub path: Arc<Path>,
    /// Whether it is a file of a directory, and not a path that was given.
    pub is_entry: bool,
    /// Whether it is a directory that was given.
    pub is_directory: bool,
    /// The version that was read, or the last one that could be read.
    pub stamp: Option<FileStamp>,
    /// The issues with its owner and permissions.
    pub ownership: Vec<OwnershipIssue>,
    /// The reason why its current version is not used.
    pub error: Option<Arc<LoadError>>,
    /// Number of rules in use that come from it.
    pub rules: usize,
    /// Whether these rules are those of an earlier version, because the current
    /// one cannot be used.
    pub is_earlier: bool,
    /// Whether its state differs from that in the previous event of the watcher.
    pub has_changed: bool,
    /// Whether it was removed from its directory, together with its rules.
    pub is_removed: bool,
}

impl SourceFile {
    /// Whether the rules in use are those of its current version, none if it was
    /// removed. That is also
    /// the case for an entry of a directory without any rule at present and
    /// before: one that has only comments, or is not a regular file.
    pub fn is_current(&self) -> bool {
        let Some(error) = self.error.as_ref().filter(|_| !self.is_removed) else { return true };
        let has_no_rule = match &**error {
            LoadError::NotAFile => true,
            LoadError::NoRule(diagnostics) => diagnostics.is_empty(),
            _ => false,
        };
        self.is_entry && !self.is_earlier && has_no_rule
    }
}

/// Reads all files of these paths once, immediately.
///
/// A missing or unreadable file is part of the result.
pub fn load(
    paths: impl IntoIterator<Item = impl Into<PathBuf>>,
    owner: Option<&OwnerPolicy>,
) -> LoadedSources {
    let mut files = Vec::new();
    let paths = unique(paths);
    for path in &paths {
        let mut source = FileData::new(path, false);
        let names = match FileStamp::of_path(path) {
            Ok(stamp) if stamp.is_directory() => {
                let ownership = owner.map_or(Vec::new(), |owner| owner.check(&stamp));
                let is_strict = owner.is_some_and(OwnerPolicy::is_strict);
                let names = source.set_directory(list(path, &paths), stamp, ownership, is_strict);
                if !source.is_unlisted() {
                    source.set_empty(names.is_empty());
                }
                names
            }
            _ => {
                source.set_file(file::read(path), owner);
                Vec::new()
            }
        };
        files.push(source);
        for name in names {
            let path: Arc<Path> = path.join(name).into();
            let mut entry = FileData::new(&path, true);
            entry.set_file(file::read(&path), owner);
            files.push(entry);
        }
    }
    let mut files: Vec<&mut FileData> = files.iter_mut().collect();
    limit_total(&mut files);
    merge(&mut files, false)
}

/// The absolute paths, each once.
pub(crate) fn unique(paths: impl IntoIterator<Item = impl Into<PathBuf>>) -> Vec<Arc<Path>> {
    let mut seen = HashSet::new();
    let paths = paths.into_iter().map(|path| Arc::<Path>::from(path.into()));
    paths.filter(|path| seen.insert(Arc::clone(path))).collect()
}

/// Whether a name is that of a config file in a directory.
pub(crate) fn is_conf_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".conf") && !name.starts_with(b".")
}

/// The config files in a directory.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Their names in ascending order, at most [`MAX_FILES`].
    pub(crate) names: Vec<OsString>,
    /// Their number.
    pub(crate) count: usize,
}

/// Lists the config files in a directory, except those that are `given` as paths.
pub(crate) fn list(directory: &Path, given: &[Arc<Path>]) -> Result<Listing, LoadError> {
    let mut first: BinaryHeap<OsString> = BinaryHeap::with_capacity(MAX_FILES + 1);
    let mut count = 0;
    for entry in std::fs::read_dir(directory).map_err(LoadError::Unreadable)? {
        let name = entry.map_err(LoadError::Unreadable)?.file_name();
        let is_given = || {
            let is_same = |path: &Arc<Path>| {
                path.parent() == Some(directory) && path.file_name() == Some(&name)
            };
            given.iter().any(is_same)
        };
        if !is_conf_name(&name) || is_given() {
            continue;
        }
        count += 1;
        if first.len() < MAX_FILES {
            first.push(name);
        } else if first.peek().is_some_and(|last| *last > name) {
            first.pop();
            first.push(name);
        }
    }
    Ok(Listing { names: first.into_sorted_vec(), count })
}

/// A config file or directory, and the content whose rules are used.
#[derive(Debug)]
pub(crate) struct FileData {
    pub(crate) path: Arc<Path>,
    is_entry: bool,
    pub(crate) is_directory: bool,
    /// The content of the current version, if it can be used.
    current: Option<Arc<[u8]>>,
    /// The content whose rules are in use.
    pub(crate) in_use: Option<Arc<[u8]>>,
    stamp: Option<FileStamp>,
    ownership: Vec<OwnershipIssue>,
    error: Option<Arc<LoadError>>,
    rules: usize,
    /// Its state has changed since the last merge.
    pub(crate) has_changed: bool,
    /// Number of files of the directory.
    count: usize,
}

impl FileData {
    pub(crate) fn new(path: &Arc<Path>, is_entry: bool) -> Self {
        Self {
            path: Arc::clone(path),
            is_entry,
            is_directory: false,
            current: None,
            in_use: None,
            stamp: None,
            ownership: Vec::new(),
            error: None,
            rules: 0,
            has_changed: false,
            count: 0,
        }
    }

    /// Takes the result of a read.
    pub(crate) fn set_file(
        &mut self,
        result: Result<(Vec<u8>, FileStamp), LoadError>,
        owner: Option<&OwnerPolicy>,
    ) {
        match result {
            Ok((bytes, stamp)) => {
                let ownership = owner.map_or(Vec::new(), |owner| owner.check(&stamp));
                let is_strict = owner.is_some_and(OwnerPolicy::is_strict);
                self.set_content(bytes, stamp, ownership, is_strict);
            }
            Err(error) => self.set_error(error),
        }
    }

    /// Takes the content of a version.
    pub(crate) fn set_content(
        &mut self,
        bytes: Vec<u8>,
        stamp: FileStamp,
        ownership: Vec<OwnershipIssue>,
        is_strict: bool,
    ) {
        self.is_directory = false;
        self.stamp = Some(stamp);
        self.has_changed = true;
        self.current = None;
        self.error = None;
        if is_strict && !ownership.is_empty() {
            self.error = Some(Arc::new(LoadError::Ownership(ownership.clone())));
        } else {
            self.current = Some(bytes.into());
        }
        self.ownership = ownership;
    }

    /// The current version cannot be used.
    pub(crate) fn set_error(&mut self, error: LoadError) {
        self.current = None;
        self.ownership.clear();
        self.error = Some(Arc::new(error));
        self.has_changed = true;
    }

    /// Takes the listing of a directory; returns the names of its files, none if
    /// they are not used.
    pub(crate) fn set_directory(
        &mut self,
        listing: Result<Listing, LoadError>,
        stamp: FileStamp,
        ownership: Vec<OwnershipIssue>,
        is_strict: bool,
    ) -> Vec<OsString> {
        self.is_directory = true;
        self.has_changed = true;
        self.stamp = Some(stamp);
        self.ownership = ownership;
        self.current = None;
        // `set_empty` resets it.
        self.error = self.error.take().filter(|error| matches!(**error, LoadError::NoFile));
        match listing {
            _ if is_strict && !self.ownership.is_empty() => {
                self.error = Some(Arc::new(LoadError::Ownership(self.ownership.clone())));
            }
            Ok(Listing { names, count }) => {
                self.count = count;
                return names;
            }
            Err(error) => self.error = Some(Arc::new(error)),
        }
        Vec::new()
    }

    /// Sets whether a directory has no files; returns whether that is new.
    pub(crate) fn set_empty(&mut self, is_empty: bool) -> bool {
        let is_new = is_empty != self.error.is_some();
        if is_new {
            self.error = is_empty.then(|| Arc::new(LoadError::NoFile));
            self.has_changed = true;
        }
        is_new
    }

    /// Whether the files of a directory cannot be determined.
    pub(crate) fn is_unlisted(&self) -> bool {
        self.error.as_ref().is_some_and(|error| !matches!(**error, LoadError::NoFile))
    }

    /// Its length if it is not used because all files together are too large.
    pub(crate) fn too_large_len(&self) -> Option<usize> {
        match self.error.as_deref() {
            Some(LoadError::TotalTooLarge(len)) => Some(*len),
            _ => None,
        }
    }

    pub(crate) fn is_not_responding(&self) -> bool {
        matches!(self.error.as_deref(), Some(LoadError::NotResponding))
    }

    pub(crate) fn len(&self) -> usize {
        self.current.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// Whether its last version contains lines that other users cannot read.
    fn is_private(&self) -> bool {
        self.stamp.is_some_and(|stamp| stamp.mode & READABLE_BY_ALL == 0)
    }

    /// Its state. It has been removed if its rules are.
    pub(crate) fn state(&self, is_removed: bool) -> SourceFile {
        let is_current = match (&self.current, &self.in_use) {
            (Some(current), Some(in_use)) => Arc::ptr_eq(current, in_use),
            _ => false,
        };
        SourceFile {
            path: Arc::clone(&self.path),
            is_entry: self.is_entry,
            is_directory: self.is_directory,
            stamp: self.stamp,
            ownership: self.ownership.clone(),
            error: self.error.clone(),
            rules: self.rules,
            is_earlier: self.rules > 0 && !is_current,
            has_changed: self.has_changed,
            is_removed,
        }
    }
}

/// Read permission for users other than the owner and its group.
const READABLE_BY_ALL: u32 = 0o004;

/// Drops the contents of the largest files if all together are too large.
pub(crate) fn limit_total(files: &mut [&mut FileData]) {
    let total: usize = files.iter().map(|file| file.len()).sum();
    if total <= MAX_TOTAL_LEN {
        return;
    }
    let mut by_len: Vec<&mut &mut FileData> = files.iter_mut().collect();
    by_len.sort_by_key(|file| file.len());
    let mut total = 0;
    for file in by_len {
        let len = file.len();
        if total + len <= MAX_TOTAL_LEN {
            total += len;
        } else {
            file.set_error(LoadError::TotalTooLarge(len));
        }
    }
}

/// Parses the files as if they were one. A file whose current version has no valid
/// line, or cannot be read, is represented by its last version that could be used.
///
/// With `redact`, quotes of files that not all users can read are removed, because
/// the log may be readable to more users: a user who controls the path can link it
/// to any file.
pub(crate) fn merge(files: &mut [&mut FileData], redact: bool) -> LoadedSources {
    let quotas = rule_quotas(files);
    let is_only = files.iter().filter(|file| file.len() > 0 || file.in_use.is_some()).count() <= 1;
    let mut parser = Parser::default();
    for (file, quota) in files.iter_mut().zip(quotas) {
        parser.begin_file(Some(Arc::clone(&file.path)), quota, is_only);
        file.rules = 0;
        if file.is_directory && file.count > MAX_FILES {
            let message = format!(
                "the directory has {} files `*.conf`; only the first {MAX_FILES} are used",
                file.count
            );
            parser.report(of_file(Severity::Error, message, "join files"));
        }
        if let Some(current) = &file.current {
            if file.stamp.is_some_and(|stamp| stamp.nlink == 0) {
                parser.report(unlinked());
            }
            file.rules = parser.parse(current);
            if file.rules > 0 {
                file.in_use = Some(Arc::clone(current));
                file.error = None;
            } else {
                let diagnostics = parser.reported_in_file();
                file.error = Some(Arc::new(LoadError::NoRule(diagnostics)));
            }
        }
        if file.rules == 0
            && let Some(in_use) = &file.in_use
        {
            file.rules = parser.parse_earlier(in_use);
        }
    }
    let mut conf = parser.finish();
    let private: HashSet<&Arc<Path>> =
        files.iter().filter(|file| file.is_private()).map(|file| &file.path).collect();
    if redact && !private.is_empty() {
        for diagnostic in &mut conf.diagnostics {
            let is_private = diagnostic.path.as_ref().is_some_and(|path| private.contains(path));
            if is_private && diagnostic.line.is_some() {
                diagnostic.text.clear();
                diagnostic.help = "run `psstat-dump check` to see the line".to_owned();
            }
        }
    }
    let files = files.iter_mut().map(|file| {
        let state = file.state(false);
        file.has_changed = false;
        state
    });
    LoadedSources { files: files.collect(), conf }
}

/// The number of rules that each file can add. Files with fewer lines are served
/// first, so that one file cannot exhaust the limit.
fn rule_quotas(files: &[&mut FileData]) -> Vec<usize> {
    let lines: Vec<usize> = files
        .iter()
        .map(|file| {
            let text = file.current.as_ref().or(file.in_use.as_ref());
            text.map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count() + 1)
        })
        .collect();
    if lines.iter().sum::<usize>() <= MAX_RULES {
        return vec![MAX_RULES; files.len()];
    }
    let count_rules = |file: &FileData| {
        let text = file.current.as_ref().or(file.in_use.as_ref());
        let lines = text.into_iter().flat_map(|text| text.split(|byte| *byte == b'\n'));
        lines
            .filter(|line| {
                line.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| *b != b'#')
            })
            .count()
    };
    let counts: Vec<usize> = files.iter().map(|file| count_rules(file)).collect();
    let mut order: Vec<usize> = (0..files.len()).collect();
    let count = |index: usize| counts.get(index).copied().unwrap_or(0);
    order.sort_by_key(|&index| count(index));
    let mut quotas = vec![0; files.len()];
    let mut rest = MAX_RULES;
    for index in order {
        let quota = count(index).min(rest);
        rest -= quota;
        if let Some(slot) = quotas.get_mut(index) {
            *slot = quota;
        }
    }
    quotas
}
