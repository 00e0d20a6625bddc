//! Bytes as frames: the reverse of [`encode`](super::encode).

use std::time::Duration;

use super::bytes::{Invalid, Reader};
use super::encode::{COMM_OF_KERNEL_THREAD, COMM_OF_PROCESS, IMAGE, PROCESS, TOTAL};
use super::exits::{Exit, ExitStatus, Exits, MAX_SHORT_LIVED, ShortLived};
use super::fields::{self, Known, Steps, Values, time_of};
use super::health;
use crate::measure::Snapshot;
use crate::table::row::{CommName, Growth, ProcessId, Row};

/// Maximum of rows, for files that are not what they seem.
const MAX_ROWS: usize = 1 << 19;
/// Maximum of fields: the bits of a set.
pub(super) const MAX_FIELDS: usize = 128;

/// Decodes one frame after the other.
#[derive(Debug)]
pub(super) struct Decoder {
    known: Vec<Option<Known>>,
    slots: Vec<Option<Slot>>,
    names: Vec<String>,
    health: Vec<i64>,
    time: i64,
    window: Option<i64>,
    seconds: Option<f64>,
    exits: Exits,
}

/// A row of the last frame.
#[derive(Debug)]
struct Slot {
    images: Vec<String>,
    id: Option<ProcessId>,
    values: Values,
}

impl Decoder {
    /// A decoder of frames with the fields of these names.
    pub(super) fn new(fields: &[String]) -> Decoder {
        let names = fields.iter().take(MAX_FIELDS).map(String::as_str);
        Decoder {
            known: fields::known(names),
            slots: Vec::new(),
            names: Vec::new(),
            health: Vec::new(),
            time: 0,
            window: None,
            seconds: None,
            exits: Exits::default(),
        }
    }

    /// Reads a frame. After an error, the next one must be a key frame.
    pub(super) fn decode(&mut self, frame: &[u8], is_key: bool) -> Result<(), Invalid> {
        if is_key {
            self.slots.clear();
            self.names.clear();
            self.health.clear();
        }
        let reader = &mut Reader(frame);
        self.time = reader.signed()?;
        self.window = reader.optional()?;
        self.seconds = reader.optional()?.map(|bits| f64::from_bits(bits as u64));
        let steps = Steps { age: reader.signed()?, started: reader.signed()? };
        let count = reader.count()?;
        self.health.resize(self.health.len().max(count), 0);
        for at in 0..count {
            let difference = reader.signed()?;
            if let Some(value) = self.health.get_mut(at) {
                *value = value.wrapping_add(difference);
            }
        }
        for _ in 0..reader.count()? {
            let slot = slot_number(reader)?;
            *self.slots.get_mut(slot).ok_or(Invalid)? = None;
        }
        for _ in 0..reader.count()? {
            self.add_row(reader)?;
        }
        for _ in 0..reader.count()? {
            let slot = slot_number(reader)?;
            let (command_line, comm, images) = self.identity(reader)?;
            let slot = self.slots.get_mut(slot).and_then(Option::as_mut).ok_or(Invalid)?;
            let id = slot.id.as_mut().ok_or(Invalid)?;
            (id.command_line, id.comm, slot.images) = (command_line, comm, images);
        }
        self.change_values(reader, steps)?;
        self.exits = self.exits(reader)?;
        Ok(())
    }

    fn add_row(&mut self, reader: &mut Reader<'_>) -> Result<(), Invalid> {
        let at = slot_number(reader)?;
        let (id, images) = match reader.number()? {
            TOTAL => (None, Vec::new()),
            IMAGE => (None, vec![self.name(reader)?]),
            PROCESS => {
                let (id, images) = self.process(reader, false)?;
                (Some(id), images)
            }
            _ => return Err(Invalid),
        };
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(at) {
            *place = Some(Slot { images, id, values: Vec::new() });
        }
        Ok(())
    }

    fn process(
        &mut self,
        reader: &mut Reader<'_>,
        has_start: bool,
    ) -> Result<(ProcessId, Vec<String>), Invalid> {
        let pid = u32::try_from(reader.number()?).map_err(|_| Invalid)?;
        let starttime = reader.unsigned()?;
        let started = if has_start { reader.optional()?.map(time_of) } else { None };
        let (command_line, comm, images) = self.identity(reader)?;
        let id = ProcessId { pid, starttime, started, command_line, comm, ..ProcessId::default() };
        Ok((id, images))
    }

    fn identity(&mut self, reader: &mut Reader<'_>) -> Result<Identity, Invalid> {
        let command_line = reader.bytes()?.to_vec();
        let comm = match reader.number()? {
            COMM_OF_PROCESS => Some(CommName::Process(reader.bytes()?.to_vec())),
            COMM_OF_KERNEL_THREAD => Some(CommName::KernelThread(reader.bytes()?.to_vec())),
            _ => None,
        };
        let mut images = Vec::new();
        for _ in 0..reader.count()? {
            images.push(self.name(reader)?);
        }
        Ok((command_line, comm, images))
    }

    fn name(&mut self, reader: &mut Reader<'_>) -> Result<String, Invalid> {
        let number = usize::try_from(reader.number()?).map_err(|_| Invalid)?;
        if number == self.names.len() {
            self.names.push(reader.text()?);
        }
        self.names.get(number).cloned().ok_or(Invalid)
    }

    fn change_values(&mut self, reader: &mut Reader<'_>, steps: Steps) -> Result<(), Invalid> {
        let mut next = 0_usize;
        let mut now: Values = Vec::new();
        // Rows that are not in the list have the predicted values.
        let mut listed = next_listed(reader, next)?;
        for at in 0..self.slots.len() {
            let set = match listed {
                Some(listed_at) if listed_at == at => reader.number()?,
                _ => 0,
            };
            let Some(slot) = self.slots.get_mut(at).and_then(Option::as_mut) else {
                if set != 0 {
                    return Err(Invalid);
                }
                continue;
            };
            let before = (!slot.values.is_empty()).then_some(&slot.values[..]);
            now.clear();
            for (index, known) in self.known.iter().enumerate() {
                let predicted = match known {
                    Some(known) => known.predict(index, before, &now, steps),
                    None => before.and_then(|before| before.get(index).copied().flatten()),
                };
                now.push(if set >> index & 1 == 0 {
                    predicted
                } else {
                    let residual = reader.optional()?;
                    residual.map(|value| value.wrapping_add(predicted.unwrap_or(0)))
                });
            }
            std::mem::swap(&mut slot.values, &mut now);
            if set != 0 {
                next = at + 1;
                listed = next_listed(reader, next)?;
            }
        }
        if listed.is_some() { Err(Invalid) } else { Ok(()) }
    }

    fn exits(&mut self, reader: &mut Reader<'_>) -> Result<Exits, Invalid> {
        let are_reported = reader.number()? != 0;
        let mut exits = Exits { are_reported, ..Exits::default() };
        for _ in 0..reader.count()? {
            let status = ExitStatus::of_number(reader.number()?);
            let (id, images) = self.process(reader, true)?;
            exits.exits.push(Exit { status, id, images });
        }
        exits.short_lived_count = reader.unsigned()?;
        for _ in 0..reader.count()?.min(MAX_SHORT_LIVED) {
            let mut pid = || u32::try_from(reader.number()?).map_err(|_| Invalid);
            let (pid, parent) = (pid()?, pid()?);
            let status = ExitStatus::of_number(reader.number()?);
            exits.short_lived.push(ShortLived { pid, parent, status });
        }
        Ok(exits)
    }

    /// The processes that ended before the last frame.
    pub(super) fn last_exits(&self) -> &Exits {
        &self.exits
    }

    /// The last frame, as it was measured. Rows are in another order.
    pub(super) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            time: time_of(self.time),
            window: self.window.map(|window| Duration::from_nanos(window as u64)),
            images: Vec::new(),
            processes: Vec::new(),
            total: empty(Vec::new(), None),
            health: health::health(&self.health),
        };
        for slot in self.slots.iter().flatten() {
            let row = self.row(slot);
            match (&slot.id, slot.images.is_empty()) {
                (Some(_), _) => snapshot.processes.push(row),
                (None, false) => snapshot.images.push(row),
                (None, true) => snapshot.total = row,
            }
        }
        snapshot
    }

    /// The row of a process in the last frame.
    pub(super) fn row_of(&self, pid: u32) -> Option<Row> {
        let is_process = |slot: &&Slot| slot.id.as_ref().is_some_and(|id| id.pid == pid);
        self.slots.iter().flatten().find(is_process).map(|slot| self.row(slot))
    }

    fn row(&self, slot: &Slot) -> Row {
        let mut row = empty(slot.images.clone(), slot.id.clone());
        for (known, value) in self.known.iter().zip(&slot.values) {
            if let (Some(known), Some(value)) = (known, value) {
                (known.field.set)(&mut row, *value);
            }
        }
        let seconds = self.seconds.unwrap_or(0.0);
        let Growth { io, cpu, switches, faults } = &mut row.growth;
        io.iter_mut().for_each(|(_, time)| *time = seconds);
        cpu.iter_mut().for_each(|(_, time)| *time = seconds);
        switches.iter_mut().chain(faults).for_each(|(_, time)| *time = seconds);
        row
    }
}

/// Command line, name in its place, images.
type Identity = (Vec<u8>, Option<CommName>, Vec<String>);

fn empty(images: Vec<String>, id: Option<ProcessId>) -> Row {
    Row { images, id, numbers: psstat_sampler::Usage::default(), growth: Growth::default() }
}

fn slot_number(reader: &mut Reader<'_>) -> Result<usize, Invalid> {
    let number = usize::try_from(reader.number()?).map_err(|_| Invalid)?;
    if number < MAX_ROWS { Ok(number) } else { Err(Invalid) }
}

/// The next row of the list of changed ones; `None` at its end.
fn next_listed(reader: &mut Reader<'_>, next: usize) -> Result<Option<usize>, Invalid> {
    let distance = usize::try_from(reader.number()?).map_err(|_| Invalid)?;
    let Some(distance) = distance.checked_sub(1) else { return Ok(None) };
    let at = next.checked_add(distance).filter(|at| *at < MAX_ROWS).ok_or(Invalid)?;
    Ok(Some(at))
}
