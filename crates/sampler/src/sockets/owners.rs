//! The sockets of all tracked processes, with the images that own each.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::ids::{NetnsId, Protocol, SocketInode};
use crate::image::ImageIndex;
use crate::shrink::{shrink_map, shrink_vec};

/// Hashes a number by one multiplication (Fibonacci hashing): 18,000 look-ups per cycle are a
/// considerable part of its cost, and the kernel assigns the inodes, so they are trusted.
#[derive(Default)]
pub(crate) struct InodeHasher(u64);

impl Hasher for InodeHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u32(&mut self, inode: u32) {
        self.write_u64(u64::from(inode));
    }

    fn write_u64(&mut self, inode: u64) {
        let product = inode.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // The map uses the low bits for the position and the high bits as a tag.
        self.0 = product ^ (product >> 32);
    }
}

type ByInode<T> = HashMap<SocketInode, T, BuildHasherDefault<InodeHasher>>;

/// The table of a protocol in a namespace.
pub(crate) type Table = (Protocol, NetnsId);

/// Sockets that are not in a table any more.
#[derive(Debug, Default)]
pub(crate) struct MissingSockets {
    pub(crate) count: usize,
    /// The tables that they were in.
    pub(crate) tables: Vec<Table>,
}

/// A row of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketRow {
    pub(crate) inode: SocketInode,
    pub(crate) protocol: Protocol,
    pub(crate) netns: NetnsId,
}

/// The rows of a cycle's tables that no tracked process owns: 4 bytes each, since they can be
/// most sockets of a machine.
#[derive(Debug, Default)]
pub(crate) struct UnownedSockets {
    inodes: Vec<SocketInode>,
    /// The position at which the rows of each table end.
    tables: Vec<(usize, Protocol, NetnsId)>,
}

impl UnownedSockets {
    pub(crate) fn clear(&mut self) {
        self.inodes.clear();
        self.tables.clear();
    }

    pub(crate) fn push(&mut self, found: SocketRow) {
        let SocketRow { inode, protocol, netns } = found;
        self.inodes.push(inode);
        let end = self.inodes.len();
        match self.tables.last_mut().filter(|(_, p, n)| (*p, *n) == (protocol, netns)) {
            Some(table) => table.0 = end,
            None => self.tables.push((end, protocol, netns)),
        }
    }

    /// After the tables of a cycle: releases memory that is no longer used.
    pub(crate) fn finish(&mut self) {
        shrink_vec(&mut self.inodes);
        shrink_vec(&mut self.tables);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = SocketRow> {
        let mut start = 0;
        self.tables.iter().flat_map(move |&(end, protocol, netns)| {
            let inodes = self.inodes.get(std::mem::replace(&mut start, end)..end);
            let inodes = inodes.unwrap_or_default().iter();
            inodes.map(move |&inode| SocketRow { inode, protocol, netns })
        })
    }
}

/// Sockets by inode.
#[derive(Debug, Default)]
pub(crate) struct SocketOwners {
    sockets: ByInode<Socket>,
    /// Further owners of the sockets that have more than one, sorted by group: a process can
    /// belong to thousands of images.
    extra: ByInode<Vec<Owner>>,
    /// The cycle whose tables are read or were read last.
    cycle: u32,
    /// How many sockets were ESTABLISHED in that cycle and are still held,
    found: usize,
    /// and how many in the cycle before it, but not in it.
    missing: usize,
}

#[derive(Clone, Copy, Debug)]
struct Socket {
    first: Owner,
    state: PackedState,
    /// The namespace whose table had it as ESTABLISHED.
    netns: NetnsId,
}

/// The cycle in which a socket was ESTABLISHED last, its protocol, and whether it has further
/// owners, in as few bytes as possible. 29 bits are left for the cycle: after 250 years
/// (of 15 s cycles), a socket may seem established for one cycle more.
#[derive(Clone, Copy, Debug)]
struct PackedState(u32);

impl PackedState {
    const SHARED: u32 = 4;
    /// A cycle that is never reached.
    const NEVER: PackedState = PackedState(u32::MAX << 3);

    fn set_established(&mut self, cycle: u32, protocol: Protocol) {
        self.0 = (cycle << 3) | (self.0 & PackedState::SHARED) | protocol as u32;
    }

    fn is_established(self, cycle: u32) -> bool {
        self.0 >> 3 == (cycle << 3) >> 3
    }

    fn protocol(self) -> Protocol {
        match self.0 & 3 {
            0 => Protocol::Tcp,
            1 => Protocol::Udp,
            _ => Protocol::Unix,
        }
    }

    fn is_shared(self) -> bool {
        self.0 & PackedState::SHARED != 0
    }

    fn set_shared(&mut self, shared: bool) {
        self.0 = (self.0 & !PackedState::SHARED) | if shared { PackedState::SHARED } else { 0 };
    }
}

/// The processes of an image in a network namespace. The tables of a process show only the
/// sockets of its namespace, although it may hold one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) image: ImageIndex,
    pub(crate) netns: NetnsId,
}

/// A group and how many of its processes hold the socket.
#[derive(Clone, Copy, Debug)]
struct Owner {
    group: Group,
    processes: u32,
}

/// The position of a group among the owners, or the one at which it belongs.
fn position(owners: &[Owner], group: Group) -> Result<usize, usize> {
    // Those of a process are added in this order.
    if owners.last().is_some_and(|last| last.group < group) {
        return Err(owners.len());
    }
    owners.binary_search_by_key(&group, |owner| owner.group)
}

impl SocketOwners {
    /// A process of a group holds these sockets.
    pub(crate) fn add(&mut self, group: Group, inodes: &[SocketInode]) {
        for &inode in inodes {
            let owner = Owner { group, processes: 1 };
            let socket = self.sockets.entry(inode).or_insert(Socket {
                first: Owner { group, processes: 0 },
                state: PackedState::NEVER,
                netns: NetnsId::default(),
            });
            if socket.first.group == group {
                socket.first.processes += 1;
                continue;
            }
            socket.state.set_shared(true);
            let extra = self.extra.entry(inode).or_default();
            match position(extra, group) {
                Ok(at) => extra[at].processes += 1,
                Err(at) => extra.insert(at, owner),
            }
        }
    }

    /// A process of a group no longer holds these sockets.
    pub(crate) fn remove(&mut self, group: Group, inodes: &[SocketInode]) {
        for &inode in inodes {
            let Some(socket) = self.sockets.get_mut(&inode) else { continue };
            let mut empty = false;
            if socket.first.group == group {
                socket.first.processes = socket.first.processes.saturating_sub(1);
                empty = socket.first.processes == 0;
            }
            if socket.state.is_shared() {
                let extra = self.extra.entry(inode).or_default();
                if empty && let Some(next) = extra.pop() {
                    socket.first = next;
                    empty = false;
                } else if let Ok(at) = position(extra, group) {
                    extra[at].processes = extra[at].processes.saturating_sub(1);
                    if extra[at].processes == 0 {
                        extra.remove(at);
                    }
                }
                if extra.is_empty() {
                    self.extra.remove(&inode);
                    socket.state.set_shared(false);
                }
            }
            if empty {
                let state = socket.state;
                self.sockets.remove(&inode);
                if state.is_established(self.cycle) {
                    self.found -= 1;
                } else if state.is_established(self.cycle.saturating_sub(1)) {
                    self.missing -= 1;
                }
            }
        }
        shrink_map(&mut self.sockets);
        shrink_map(&mut self.extra);
    }

    /// Before the tables of a cycle are read.
    pub(crate) fn begin(&mut self, cycle: u32) {
        let follows = cycle.saturating_sub(1) == self.cycle;
        self.missing = if follows { self.found } else { 0 };
        self.found = 0;
        self.cycle = cycle;
    }

    /// The table of a namespace has this socket as ESTABLISHED. True if a tracked process
    /// owns it.
    pub(crate) fn established(&mut self, found: SocketRow) -> bool {
        let Some(socket) = self.sockets.get_mut(&found.inode) else { return false };
        // The name of a unix socket can forge a row with the inode of a socket of another
        // protocol; the tables of the others contain no names.
        if found.protocol == Protocol::Unix
            && socket.state.is_established(self.cycle)
            && socket.state.protocol() != Protocol::Unix
            && socket.netns == found.netns
        {
            return true;
        }
        if !socket.state.is_established(self.cycle) {
            if socket.state.is_established(self.cycle.saturating_sub(1)) {
                self.missing -= 1;
            }
            self.found += 1;
        }
        socket.state.set_established(self.cycle, found.protocol);
        socket.netns = found.netns;
        true
    }

    /// Whether a socket was ESTABLISHED in the cycle before this one but not in this one.
    pub(crate) fn has_missing(&self) -> bool {
        self.missing > 0
    }

    /// The sockets that were ESTABLISHED in the cycle before this one, are still held and were
    /// not found in this one.
    pub(crate) fn missing(&self) -> MissingSockets {
        let mut missing = MissingSockets { count: self.missing, tables: Vec::new() };
        if missing.count == 0 {
            return missing;
        }
        let is_missing = |socket: &&Socket| self.was_established(socket.state);
        for socket in self.sockets.values().filter(is_missing) {
            let table = (socket.state.protocol(), socket.netns);
            if !missing.tables.contains(&table) {
                missing.tables.push(table);
            }
        }
        missing
    }

    /// Whether a socket is one of these.
    pub(crate) fn is_missing(&self, inode: SocketInode) -> bool {
        self.sockets.get(&inode).is_some_and(|socket| self.was_established(socket.state))
    }

    /// Whether a socket was ESTABLISHED in the cycle before this one for the
    /// last time.
    fn was_established(&self, state: PackedState) -> bool {
        state.is_established(self.cycle.saturating_sub(1))
    }

    /// The protocol of a socket that is ESTABLISHED in a namespace in this
    /// cycle.
    pub(crate) fn protocol(&self, inode: SocketInode, netns: NetnsId) -> Option<Protocol> {
        let socket = self.sockets.get(&inode)?;
        let established = socket.state.is_established(self.cycle) && socket.netns == netns;
        established.then(|| socket.state.protocol())
    }

    /// Calls `count` for each image that holds the socket of a row.
    pub(crate) fn count_owners(&self, row: SocketRow, mut count: impl FnMut(ImageIndex)) {
        let Some(socket) = self.sockets.get(&row.inode) else { return };
        let further = if socket.state.is_shared() { self.extra.get(&row.inode) } else { None };
        let owners = std::iter::once(&socket.first).chain(further.into_iter().flatten());
        for Owner { group, .. } in owners {
            if group.netns == row.netns {
                count(group.image);
            }
        }
    }

    /// Calls `count` for each image and each distinct socket that it holds and
    /// that is ESTABLISHED in this cycle, with the table that has it. In an
    /// image and a namespace there is one owner, so none is counted twice.
    pub(crate) fn count(&self, mut count: impl FnMut(ImageIndex, Table)) {
        for (inode, socket) in &self.sockets {
            if !socket.state.is_established(self.cycle) {
                continue;
            }
            let further = if socket.state.is_shared() { self.extra.get(inode) } else { None };
            let owners = std::iter::once(&socket.first).chain(further.into_iter().flatten());
            for Owner { group, .. } in owners {
                if group.netns == socket.netns {
                    count(group.image, (socket.state.protocol(), socket.netns));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn group(image: u32, netns: u32) -> Group {
        Group { image: ImageIndex(image), netns: NetnsId(netns) }
    }

    fn found(inode: SocketInode, netns: u32) -> SocketRow {
        SocketRow { inode, protocol: Protocol::Tcp, netns: NetnsId(netns) }
    }

    proptest! {
        /// Against a count of owners for each socket, image and namespace.
        #[test]
        fn owners_are_counted(
            steps in proptest::collection::vec((0u32..4, 0u32..2, 0u32..6, any::<bool>()), 0..80)
        ) {
            let mut owners = SocketOwners::default();
            let mut plain: BTreeMap<(u32, u32, u32), u32> = BTreeMap::new();
            for (cycle, (image, netns, inode, add)) in (1..).zip(steps) {
                let held = plain.entry((inode, image, netns)).or_default();
                if add {
                    owners.add(group(image, netns), &[inode]);
                    *held += 1;
                } else if *held > 0 {
                    owners.remove(group(image, netns), &[inode]);
                    *held -= 1;
                }
                owners.begin(cycle);
                for inode in 0..6 {
                    let ours = plain.iter().any(|(&(i, ..), &n)| i == inode && n > 0);
                    prop_assert_eq!(owners.established(found(inode, 1)), ours);
                }
                let mut counted: BTreeMap<u32, usize> = BTreeMap::new();
                owners.count(|image, _| *counted.entry(image.0).or_default() += 1);
                let mut expected: BTreeMap<u32, usize> = BTreeMap::new();
                for (&(_, image, netns), &n) in &plain {
                    if n > 0 && netns == 1 {
                        *expected.entry(image).or_default() += 1;
                    }
                }
                prop_assert_eq!(counted, expected);
            }
        }
    }

    proptest! {
        /// The number of missing sockets, which is updated with each row, against counting them.
        #[test]
        fn missing_sockets_are_counted(
            steps in proptest::collection::vec((0u32..8, 0u32..6), 0..200)
        ) {
            let mut owners = SocketOwners::default();
            let (mut held, mut now, mut before) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let mut cycle = 0;
            for (step, inode) in steps {
                match step {
                    0 | 1 => if held.insert(inode) {
                        owners.add(group(0, 1), &[inode]);
                    },
                    2 => if held.remove(&inode) {
                        owners.remove(group(0, 1), &[inode]);
                        now.remove(&inode);
                        before.remove(&inode);
                    },
                    3 => {
                        // Sometimes a cycle is skipped.
                        let skipped = u32::from(inode == 0);
                        cycle += 1 + skipped;
                        owners.begin(cycle);
                        before = std::mem::take(&mut now);
                        if skipped > 0 {
                            before.clear();
                        }
                    }
                    _ => if cycle > 0 && owners.established(found(inode, 1)) {
                        now.insert(inode);
                    },
                }
                let missing: BTreeSet<u32> = before.difference(&now).copied().collect();
                prop_assert_eq!(owners.has_missing(), !missing.is_empty());
                prop_assert_eq!(owners.missing().count, missing.len());
                prop_assert!(missing.iter().all(|&inode| owners.is_missing(inode)));
            }
        }
    }

    #[test]
    fn missing_socket_is_reported_once() {
        let mut owners = SocketOwners::default();
        owners.add(group(0, 1), &[7, 8]);
        owners.begin(4);
        owners.established(found(7, 1));
        owners.established(found(8, 1));
        owners.begin(5);
        owners.established(found(8, 1));
        assert!(owners.has_missing() && owners.is_missing(7) && !owners.is_missing(8));
        let missing = owners.missing();
        assert_eq!((missing.count, missing.tables), (1, vec![(Protocol::Tcp, NetnsId(1))]));
        owners.begin(6);
        owners.established(found(8, 1));
        assert!(!owners.has_missing());
        assert_eq!(owners.protocol(8, NetnsId(1)), Some(Protocol::Tcp));
        assert_eq!(owners.protocol(8, NetnsId(2)), None);
        assert_eq!(owners.protocol(7, NetnsId(1)), None);
    }

    #[test]
    fn unowned_sockets_keep_order() {
        let rows = [(1, Protocol::Tcp, 1), (2, Protocol::Tcp, 1), (3, Protocol::Tcp, 2)];
        let rows = rows.into_iter().chain([(4, Protocol::Unix, 2), (1, Protocol::Tcp, 1)]);
        let mut unowned = UnownedSockets::default();
        for round in 0..2 {
            unowned.clear();
            for (inode, protocol, netns) in rows.clone().skip(round) {
                unowned.push(SocketRow { inode, protocol, netns: NetnsId(netns) });
            }
            let again = unowned.iter().map(|row| (row.inode, row.protocol, row.netns.0));
            assert!(again.eq(rows.clone().skip(round)));
        }
    }

    #[test]
    fn socket_takes_24_bytes() {
        assert_eq!(size_of::<(SocketInode, Socket)>(), 24);
    }
}
