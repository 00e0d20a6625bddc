//! Frames as bytes.
//!
//! A frame contains, in this order (numbers as in [`bytes`](super::bytes)):
//!
//! 1. the end of its window in nanoseconds since 1970, the length of the window (optional), and
//!    the bits of the time between the readings of counters, in seconds (optional);
//! 2. the [`Steps`] of all rows;
//! 3. [`health`](super::health), as differences to the previous frame;
//! 4. the numbers of the rows that are removed;
//! 5. the rows that are added: number, kind, identity;
//! 6. the rows with another identity: number, identity;
//! 7. for each row with a value that is not as predicted: its distance to the previous one, the set
//!    of such fields as bits, and the values minus their predictions, optional;
//! 8. the exits.
//!
//! In a key frame, all is relative to a frame without rows, in which all numbers are 0.

use std::collections::HashMap;

use super::bytes::{put, put_bytes, put_count, put_optional, put_signed};
use super::exits::{ExitStatus, MAX_SHORT_LIVED, ShortLived};
use super::fields::{self, FIELDS, Known, Steps, Values, unix_nanoseconds};
use super::health;
use crate::measure::Snapshot;
use crate::table::row::{CommName, ProcessId, Row};

/// The kind of a row.
pub(super) const TOTAL: u128 = 0;
pub(super) const IMAGE: u128 = 1;
pub(super) const PROCESS: u128 = 2;

/// The kind of the name in place of a command line.
pub(super) const NO_COMM: u128 = 0;
pub(super) const COMM_OF_PROCESS: u128 = 1;
pub(super) const COMM_OF_KERNEL_THREAD: u128 = 2;

/// Data about exits in addition to the rows.
#[derive(Debug, Default)]
pub(super) struct ExitReport {
    /// Status by pid of the processes that left the table.
    pub(super) statuses: HashMap<u32, ExitStatus>,
    pub(super) short_lived: Vec<ShortLived>,
    pub(super) are_reported: bool,
}

/// Encodes one frame after the other.
#[derive(Debug)]
pub(super) struct Encoder {
    known: Vec<Option<Known>>,
    slots: Vec<Option<Slot>>,
    images: HashMap<String, usize>,
    /// By pid and start time.
    processes: HashMap<(u32, u64), usize>,
    names: HashMap<String, usize>,
    health: Vec<i64>,
    frame: u64,
    values: Values,
}

/// A row in the previous frame.
#[derive(Debug)]
struct Slot {
    images: Vec<String>,
    id: Option<ProcessId>,
    values: Values,
    /// The last frame that had it.
    frame: u64,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder {
            known: fields::known(FIELDS.iter().map(|field| field.name)),
            slots: Vec::new(),
            images: HashMap::new(),
            processes: HashMap::new(),
            names: HashMap::new(),
            health: Vec::new(),
            frame: 0,
            values: Vec::new(),
        }
    }

    /// The processes of the previous frame that are not in this one.
    pub(super) fn removed(&self, snapshot: &Snapshot) -> Vec<u32> {
        let mut pids: HashMap<(u32, u64), ()> = HashMap::with_capacity(snapshot.processes.len());
        pids.extend(snapshot.processes.iter().filter_map(process_key).map(|key| (key, ())));
        self.processes.keys().filter(|key| !pids.contains_key(*key)).map(|(pid, _)| *pid).collect()
    }

    /// Appends a frame to `out`.
    pub(super) fn encode(
        &mut self,
        snapshot: &Snapshot,
        exits: &ExitReport,
        is_key: bool,
        out: &mut Vec<u8>,
    ) {
        self.frame += 1;
        let mut rows: Vec<(Option<usize>, &Row)> =
            Vec::with_capacity(1 + snapshot.images.len() + snapshot.processes.len());
        rows.push((self.slots.first().and_then(Option::as_ref).map(|_| 0), &snapshot.total));
        for row in &snapshot.images {
            let name = row.images.first().map_or("", String::as_str);
            rows.push((self.images.get(name).copied(), row));
        }
        for row in &snapshot.processes {
            let slot = process_key(row).and_then(|key| self.processes.get(&key).copied());
            rows.push((slot, row));
        }
        for slot in rows.iter().filter_map(|(slot, _)| *slot) {
            if let Some(Some(slot)) = self.slots.get_mut(slot) {
                slot.frame = self.frame;
            }
        }
        let is_removed =
            |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.frame != self.frame);
        let removed: Vec<usize> = (0..self.slots.len())
            .filter(|at| self.slots.get(*at).is_some_and(is_removed))
            .collect();
        let ended: Vec<Slot> =
            removed.iter().filter_map(|at| self.slots.get_mut(*at)?.take()).collect();
        if is_key {
            self.clear();
            rows.iter_mut().for_each(|(slot, _)| *slot = None);
        } else {
            self.forget(&ended);
        }

        put_signed(out, unix_nanoseconds(snapshot.time));
        let window = snapshot.window.map(|one| i64::try_from(one.as_nanos()).unwrap_or(i64::MAX));
        put_optional(out, window);
        put_optional(out, growth_seconds(snapshot).map(|seconds| seconds.to_bits() as i64));
        let steps = self.steps(&rows);
        put_signed(out, steps.age);
        put_signed(out, steps.started);
        let health = health::values(&snapshot.health);
        put_count(out, health.len());
        for (at, value) in health.iter().enumerate() {
            put_signed(out, value.wrapping_sub(self.health.get(at).copied().unwrap_or(0)));
        }
        self.health = health;
        if is_key {
            put_count(out, 0);
        } else {
            put_count(out, removed.len());
            removed.iter().for_each(|slot| put_count(out, *slot));
        }
        self.add_rows(&mut rows, out);
        self.change_identities(&rows, out);
        self.change_values(&mut rows, steps, out);
        self.add_exits(&ended, exits, out);
    }

    fn clear(&mut self) {
        self.slots.clear();
        self.images.clear();
        self.processes.clear();
        self.names.clear();
        self.health.clear();
    }

    fn forget(&mut self, ended: &[Slot]) {
        for slot in ended {
            match (&slot.id, slot.images.first()) {
                (Some(id), _) => {
                    self.processes.remove(&(id.pid, id.starttime));
                }
                (None, Some(name)) => {
                    self.images.remove(name);
                }
                (None, None) => {}
            }
        }
    }

    /// The steps from a process that is in both frames.
    fn steps(&self, rows: &[(Option<usize>, &Row)]) -> Steps {
        let step = |name: &str| {
            let at = FIELDS.iter().position(|field| field.name == name)?;
            let field = FIELDS.get(at)?;
            let mut processes = rows.iter().filter(|(_, row)| row.id.is_some());
            processes.find_map(|(slot, row)| {
                let before = self.slots.get((*slot)?)?.as_ref()?.values.get(at).copied()??;
                Some((field.get)(row)?.wrapping_sub(before))
            })
        };
        Steps { age: step("oldest").unwrap_or(0), started: step("started").unwrap_or(0) }
    }

    fn add_rows(&mut self, rows: &mut [(Option<usize>, &Row)], out: &mut Vec<u8>) {
        let mut free = 0;
        put_count(out, rows.iter().filter(|(slot, _)| slot.is_none()).count());
        for (slot, row) in rows.iter_mut().filter(|(slot, _)| slot.is_none()) {
            while self.slots.get(free).is_some_and(Option::is_some) {
                free += 1;
            }
            if free == self.slots.len() {
                self.slots.push(None);
            }
            *slot = Some(free);
            put_count(out, free);
            match (&row.id, row.images.first()) {
                (Some(id), _) => {
                    put(out, PROCESS);
                    put(out, u128::from(id.pid));
                    put(out, u128::from(id.starttime));
                    self.put_identity(id, &row.images, out);
                    self.processes.insert((id.pid, id.starttime), free);
                }
                (None, Some(name)) => {
                    put(out, IMAGE);
                    self.put_name(name, out);
                    self.images.insert(name.clone(), free);
                }
                (None, None) => put(out, TOTAL),
            }
            if let Some(place) = self.slots.get_mut(free) {
                *place = Some(Slot {
                    images: row.images.clone(),
                    id: row.id.clone(),
                    values: Vec::new(),
                    frame: self.frame,
                });
            }
        }
    }

    fn change_identities(&mut self, rows: &[(Option<usize>, &Row)], out: &mut Vec<u8>) {
        let mut changed: Vec<(usize, &Row, &ProcessId)> = Vec::new();
        for (slot, row) in rows {
            let (Some(at), Some(id)) = (*slot, &row.id) else { continue };
            let Some(Some(slot)) = self.slots.get_mut(at) else { continue };
            let Some(before) = &slot.id else { continue };
            if before.command_line != id.command_line
                || before.comm != id.comm
                || slot.images != row.images
            {
                slot.id = Some(id.clone());
                slot.images.clone_from(&row.images);
                changed.push((at, row, id));
            }
        }
        put_count(out, changed.len());
        for (at, row, id) in changed {
            put_count(out, at);
            self.put_identity(id, &row.images, out);
        }
    }

    fn change_values(
        &mut self,
        rows: &mut [(Option<usize>, &Row)],
        steps: Steps,
        out: &mut Vec<u8>,
    ) {
        rows.sort_unstable_by_key(|(slot, _)| *slot);
        let mut next = 0;
        let mut residuals = Vec::with_capacity(FIELDS.len());
        for (slot, row) in rows {
            let Some(at) = *slot else { continue };
            let Some(Some(slot)) = self.slots.get_mut(at) else { continue };
            fields::values(row, &mut self.values);
            let before = (!slot.values.is_empty()).then_some(&slot.values[..]);
            let mut set = 0_u128;
            residuals.clear();
            for (index, (known, value)) in self.known.iter().zip(&self.values).enumerate() {
                let known = known.as_ref();
                let predicted =
                    known.and_then(|known| known.predict(index, before, &self.values, steps));
                if *value != predicted {
                    set |= 1 << index;
                    let base = predicted.unwrap_or(0);
                    residuals.push(value.map(|value| value.wrapping_sub(base)));
                }
            }
            std::mem::swap(&mut slot.values, &mut self.values);
            if set != 0 {
                // Distances begin at 1: 0 ends the list.
                put_count(out, 1 + at - next);
                put(out, set);
                residuals.iter().for_each(|value| put_optional(out, *value));
                next = at + 1;
            }
        }
        put_count(out, 0);
    }

    fn add_exits(&mut self, ended: &[Slot], report: &ExitReport, out: &mut Vec<u8>) {
        put(out, u128::from(report.are_reported));
        let processes = || ended.iter().filter_map(|slot| Some((slot, slot.id.as_ref()?)));
        put_count(out, processes().count());
        for (slot, id) in processes() {
            let status = report.statuses.get(&id.pid).copied().unwrap_or(ExitStatus::Unknown);
            put(out, status.number());
            put(out, u128::from(id.pid));
            put(out, u128::from(id.starttime));
            put_optional(out, id.started.map(unix_nanoseconds));
            self.put_identity(id, &slot.images, out);
        }
        put_count(out, report.short_lived.len());
        let shown = report.short_lived.get(..MAX_SHORT_LIVED).unwrap_or(&report.short_lived);
        put_count(out, shown.len());
        for one in shown {
            put(out, u128::from(one.pid));
            put(out, u128::from(one.parent));
            put(out, one.status.number());
        }
    }

    fn put_identity(&mut self, id: &ProcessId, images: &[String], out: &mut Vec<u8>) {
        put_bytes(out, &id.command_line);
        match &id.comm {
            None => put(out, NO_COMM),
            Some(CommName::Process(name)) => {
                put(out, COMM_OF_PROCESS);
                put_bytes(out, name);
            }
            Some(CommName::KernelThread(name)) => {
                put(out, COMM_OF_KERNEL_THREAD);
                put_bytes(out, name);
            }
        }
        put_count(out, images.len());
        images.iter().for_each(|name| self.put_name(name, out));
    }

    /// The number of the name, and the name after its first number.
    fn put_name(&mut self, name: &str, out: &mut Vec<u8>) {
        if let Some(number) = self.names.get(name) {
            put_count(out, *number);
        } else {
            let number = self.names.len();
            put_count(out, number);
            put_bytes(out, name.as_bytes());
            self.names.insert(name.to_owned(), number);
        }
    }
}

fn process_key(row: &Row) -> Option<(u32, u64)> {
    row.id.as_ref().map(|id| (id.pid, id.starttime))
}

/// The time between the readings of counters, which is the same for all rows.
fn growth_seconds(snapshot: &Snapshot) -> Option<f64> {
    let rows = std::iter::once(&snapshot.total).chain(&snapshot.images).chain(&snapshot.processes);
    rows.map(|row| &row.growth).find_map(|growth| {
        let io = growth.io.map(|(_, seconds)| seconds);
        let cpu = growth.cpu.map(|(_, seconds)| seconds);
        let faults = growth.faults.map(|(_, seconds)| seconds);
        io.or(cpu).or(growth.switches.map(|(_, seconds)| seconds)).or(faults)
    })
}
