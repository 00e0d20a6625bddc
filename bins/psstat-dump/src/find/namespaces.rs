//! The sockets of each network namespace in which a process has sockets.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use super::local_addresses::LocalAddresses;
use super::paths::PathTarget;
use super::scan::Held;
use super::target::{End, Target, end_with_address};
use crate::process_report::{BootInfo, ByteOrder, Files, ReadError};
use crate::sockets::{self, Endpoint, INET_TABLES, Socket, States};

/// A socket that was searched for.
#[derive(Debug)]
pub(super) struct FoundSocket {
    pub(super) target: usize,
    pub(super) socket: Socket,
    pub(super) namespace: Option<u64>,
    pub(super) end: End,
}

/// The network namespaces, each with processes in it.
pub(super) struct Namespaces<'a> {
    proc: &'a Path,
    byte_order: ByteOrder,
    /// The namespace of this program and its process id; `None` for a capture.
    own: Option<(u64, u32)>,
    processes: BTreeMap<Option<u64>, Vec<u32>>,
    /// The number of tables that could not be read.
    pub(super) unread: usize,
}

impl<'a> Namespaces<'a> {
    pub(super) fn new(proc: &'a Path, own: Option<u32>, held: &[(u32, Held)]) -> Namespaces<'a> {
        let own_namespace = own.and_then(|pid| {
            let link = Files::open(proc, pid).ok()?.link("ns/net").ok()?;
            super::scan::namespace(&link)
        });
        let own = own_namespace.zip(own);
        let mut processes: BTreeMap<Option<u64>, Vec<u32>> = BTreeMap::new();
        for (pid, of_process) in held.iter().filter(|(_, held)| !held.sockets.is_empty()) {
            processes.entry(of_process.namespace).or_default().push(*pid);
        }
        if let Some((namespace, pid)) = own {
            processes.entry(Some(namespace)).or_default().insert(0, pid);
        }
        // Without a namespace, as on a kernel that has none, there is one for all.
        let byte_order = BootInfo::read(proc).byte_order;
        Namespaces { proc, byte_order, own, processes, unread: 0 }
    }

    /// The namespace of this program.
    pub(super) fn own(&self) -> Option<u64> {
        self.own.map(|(namespace, _)| namespace)
    }

    /// The sockets that match.
    pub(super) fn search(
        &mut self,
        targets: &[Target],
        paths: &[(usize, PathTarget)],
        only_listeners: bool,
    ) -> Vec<FoundSocket> {
        let only_listeners =
            only_listeners || targets.iter().all(|target| *target == Target::Listeners);
        let search = Search {
            targets,
            paths,
            states: if only_listeners { States::Listening } else { States::All },
            needs_inet: targets.iter().any(Target::can_be_inet),
            needs_unix: targets.iter().any(Target::can_be_unix),
        };
        let mut found = Vec::new();
        for (namespace, pids) in &self.processes {
            let is_own = namespace.is_some() && *namespace == self.own();
            let mut files = pids.iter().filter_map(|pid| Files::open(self.proc, *pid).ok());
            let Some(files) = files.next() else { continue };
            let place = Place { files, namespace: *namespace, is_own, byte_order: self.byte_order };
            self.unread += search.run(&place, &mut found);
        }
        found
    }
}

/// A namespace, with the files of a process in it.
struct Place {
    files: Files,
    namespace: Option<u64>,
    is_own: bool,
    byte_order: ByteOrder,
}

struct Search<'a> {
    targets: &'a [Target],
    paths: &'a [(usize, PathTarget)],
    states: States,
    needs_inet: bool,
    needs_unix: bool,
}

impl Search<'_> {
    /// Searches a namespace. Returns the number of tables that could not be read.
    fn run(&self, place: &Place, found: &mut Vec<FoundSocket>) -> usize {
        let addresses = OnceCell::new();
        let has_address =
            |ip| addresses.get_or_init(|| LocalAddresses::read(&place.files)).contain(ip);
        let mut add = |sockets: Vec<Socket>| {
            for socket in sockets {
                for target in 0..self.targets.len() {
                    if let Some(end) = self.end(target, &socket, &has_address) {
                        let namespace = place.namespace;
                        found.push(FoundSocket { target, socket: socket.clone(), namespace, end });
                    }
                }
            }
        };
        let mut unread = 0;
        for table in INET_TABLES.iter().filter(|_| self.needs_inet) {
            let Place { files, is_own, byte_order, .. } = place;
            match sockets::inet_sockets(files, table, self.states, *is_own, *byte_order) {
                Ok(sockets) => add(sockets),
                // This host has no IPv6, or the process has exited.
                Err(ReadError::NotFound) => {}
                Err(_) => unread += 1,
            }
        }
        if self.needs_unix {
            match sockets::unix_sockets(&place.files, place.is_own, |_| true) {
                Ok(mut sockets) => {
                    sockets.retain(|socket| self.states == States::All || socket.listens());
                    add(sockets);
                }
                Err(ReadError::NotFound) => {}
                Err(_) => unread += 1,
            }
        }
        unread
    }

    /// The end at which a socket matches a target.
    fn end(
        &self,
        number: usize,
        socket: &Socket,
        has_address: &dyn Fn(std::net::IpAddr) -> bool,
    ) -> Option<End> {
        let of_name = |matches: &dyn Fn(&[u8]) -> bool| {
            let matches = |end: &Endpoint| matches!(end, Endpoint::Path(name) if matches(name));
            match (matches(&socket.local), matches(&socket.remote)) {
                (true, _) if socket.listens() => Some(End::Listens),
                (true, _) => Some(End::Local),
                (false, true) => Some(End::Remote),
                (false, false) => None,
            }
        };
        match self.targets.get(number)? {
            Target::Address { ips, port } => end_with_address(socket, ips, *port, has_address),
            Target::Abstract(query) => of_name(&|name| name == query),
            Target::Inode(inode) => (*inode == socket.inode).then_some(End::Local),
            Target::Path(_) => {
                let (_, path) = self.paths.iter().find(|(target, _)| *target == number)?;
                of_name(&|name| path.has_name(name))
            }
            Target::Listeners => socket.listens().then_some(End::Listens),
        }
    }
}
