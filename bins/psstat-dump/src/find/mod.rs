//! Which processes hold a port, an address, a file, a unix socket, or an inode.
//!
//! One pass over the descriptors of all processes ([`scan`]), then the socket tables of each
//! network namespace in which a process has sockets ([`namespaces`]); the inodes of sockets join
//! the two. Image, name and user are read for the processes that were found only.

mod local_addresses;
mod namespaces;
mod paths;
mod render;
mod scan;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use psstat_proc_parse::Status;

use crate::process_report::{Files, ReadError};
use crate::selector::{self, Selector};
use crate::sockets::Socket;
use namespaces::{FoundSocket, Namespaces};
use paths::PathTarget;
pub(crate) use render::{Printed, as_csv, as_json, as_text, csv_heading};
use scan::{Held, Query};
pub(crate) use scan::{HeldBy, HeldFile};
pub(crate) use target::{End, Target};

/// Something that a process holds.
#[derive(Debug)]
pub(crate) struct Hit {
    /// The number of the argument.
    pub(crate) target: usize,
    /// `None`: no process that could be read holds the socket.
    pub(crate) pid: Option<u32>,
    /// The descriptor or link.
    pub(crate) held_by: Option<HeldBy>,
    pub(crate) object: Object,
}

/// The held object.
#[derive(Debug)]
pub(crate) enum Object {
    /// A socket with the inode of its namespace, if known, and the end that matches.
    Socket(Socket, Option<u64>, End),
    /// A socket of another protocol, by its inode.
    OtherSocket(u64),
    /// A file or a pipe.
    File(HeldFile),
}

/// A process that holds something. `None`: could not be read.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) uid: Option<u32>,
    /// `None` if its command line could not be read.
    pub(crate) images: Option<Vec<String>>,
}

/// The result.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) hits: Vec<Hit>,
    pub(crate) holders: BTreeMap<u32, Holder>,
    /// The number of sockets that match and that no process owns, by argument and state.
    pub(crate) unowned: BTreeMap<(usize, String), u64>,
    pub(crate) processes: usize,
    /// Processes whose descriptors could not be read.
    pub(crate) denied: usize,
    pub(crate) blocked: Vec<u32>,
    pub(crate) failed: usize,
    /// Tables of sockets that could not be read.
    pub(crate) unread_tables: usize,
    /// The network namespace of this program.
    pub(crate) own_namespace: Option<u64>,
}

/// Searches for these targets in all processes but this one. `only_listeners`: only sockets that
/// wait for connections or datagrams.
///
/// # Errors
/// When the processes cannot be listed.
pub(crate) fn find(
    proc: &Path,
    targets: &[Target],
    only_listeners: bool,
    selector: &mut Selector,
) -> std::io::Result<Findings> {
    let own = selector::self_pid(proc);
    let mut pids: Vec<u32> = psstat_support::procfs::pids(proc)?.collect();
    pids.retain(|pid| Some(*pid) != own);
    let query = query(targets, only_listeners);
    let (paths, needs_sockets) = (query.paths.clone(), query.sockets);
    let results = scan::scan(proc, &pids, query)?;
    let mut findings = Findings { processes: pids.len(), ..Findings::default() };
    let mut held: Vec<(u32, Held)> = Vec::with_capacity(pids.len());
    for (pid, result) in pids.into_iter().zip(results) {
        match result {
            Ok(of_process) => held.push((pid, of_process)),
            // It exited, or a capture has no copy.
            Err(ReadError::NotFound) => findings.processes -= 1,
            Err(ReadError::Denied) => findings.denied += 1,
            Err(ReadError::Blocked) => findings.blocked.push(pid),
            Err(ReadError::Failed(_)) => findings.failed += 1,
        }
    }
    if needs_sockets {
        let mut namespaces = Namespaces::new(proc, own, &held);
        let sockets = namespaces.search(targets, &paths, only_listeners);
        findings.unread_tables = namespaces.unread;
        findings.own_namespace = namespaces.own();
        findings.add_sockets(sockets, &held, targets, only_listeners);
    }
    for (pid, of_process) in held {
        findings.hits.extend(of_process.files.into_iter().map(|file| Hit {
            target: file.target,
            pid: Some(pid),
            held_by: Some(file.held_by),
            object: Object::File(file),
        }));
    }
    let found: Vec<u32> = findings.hits.iter().filter_map(|hit| hit.pid).collect();
    for pid in found {
        findings.holders.entry(pid).or_insert_with(|| holder(proc, pid, selector));
    }
    findings.sort();
    Ok(findings)
}

fn query(targets: &[Target], only_listeners: bool) -> Query {
    let mut query = Query::default();
    for (number, target) in targets.iter().enumerate() {
        query.sockets |= target.can_be_inet() || target.can_be_unix();
        match target {
            Target::Inode(inode) if !only_listeners => query.inodes.push((number, *inode)),
            Target::Path(path) => {
                let given = path.clone();
                // The server of a file system may not respond.
                let resolve = move || PathTarget::resolve(&given);
                let target = crate::blocking::read(0, "file system", resolve);
                query.paths.push((number, target.unwrap_or_else(|_| PathTarget::by_name(path))));
            }
            _ => {}
        }
    }
    query
}

impl Findings {
    /// One hit for each descriptor of a socket. Sockets of the tables without one are hits as well,
    /// except those that no process owns any more, such as TIME_WAIT.
    fn add_sockets(
        &mut self,
        sockets: Vec<FoundSocket>,
        held: &[(u32, Held)],
        targets: &[Target],
        only_listeners: bool,
    ) {
        let mut owners: HashMap<u64, Vec<(u32, u32)>> =
            sockets.iter().map(|found| (found.socket.inode, Vec::new())).collect();
        let inodes: HashMap<u64, usize> = targets
            .iter()
            .enumerate()
            .filter_map(|(number, target)| match target {
                Target::Inode(inode) if !only_listeners => Some((*inode, number)),
                _ => None,
            })
            .collect();
        for (pid, of_process) in held {
            for &(fd, inode) in &of_process.sockets {
                if let Some(owners) = owners.get_mut(&inode) {
                    owners.push((*pid, fd));
                } else if let Some(&target) = inodes.get(&inode) {
                    let object = Object::OtherSocket(inode);
                    let held_by = Some(HeldBy::Fd(fd));
                    self.hits.push(Hit { target, pid: Some(*pid), held_by, object });
                }
            }
        }
        for FoundSocket { target, socket, namespace, end } in sockets {
            if socket.inode == 0 {
                *self.unowned.entry((target, socket.state)).or_default() += 1;
                continue;
            }
            let owners = owners.get(&socket.inode).filter(|owners| !owners.is_empty());
            let unknown = owners.is_none().then_some((None, None));
            let known = owners.into_iter().flatten();
            let known = known.map(|(pid, fd)| (Some(*pid), Some(HeldBy::Fd(*fd))));
            for (pid, held_by) in known.chain(unknown) {
                let object = Object::Socket(socket.clone(), namespace, end);
                self.hits.push(Hit { target, pid, held_by, object });
            }
        }
    }

    /// By argument; listeners first; then by address or path, and by process.
    fn sort(&mut self) {
        self.hits.sort_by(|one, other| {
            let key = |hit: &Hit| (hit.target, matches!(hit.object, Object::File(_)));
            let object = || match (&one.object, &other.object) {
                (Object::Socket(one, _, end), Object::Socket(other, _, other_end)) => {
                    end.cmp(other_end).then_with(|| one.order().cmp(&other.order()))
                }
                (Object::File(one), Object::File(other)) => one.path.cmp(&other.path),
                _ => std::cmp::Ordering::Equal,
            };
            let holder = |hit: &Hit| (hit.pid.is_none(), hit.pid, hit.held_by);
            key(one)
                .cmp(&key(other))
                .then_with(object)
                .then_with(|| holder(one).cmp(&holder(other)))
        });
    }
}

/// Name, user and images of a process.
fn holder(proc: &Path, pid: u32, selector: &mut Selector) -> Holder {
    let Ok(files) = Files::open(proc, pid) else { return Holder::default() };
    let status = files.read("status").unwrap_or_default();
    let status = Status::parse(&status).ok();
    let command_line = files.read("cmdline").ok();
    let images = command_line.map(|command_line| selector.images_of(pid, &command_line));
    Holder {
        name: status.as_ref().and_then(|status| Some(status.name?.unescaped().collect())),
        uid: status.and_then(|status| Some(status.uid?.effective)),
        images,
    }
}
