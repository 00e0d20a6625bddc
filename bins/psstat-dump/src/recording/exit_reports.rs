//! The exits of processes, as the kernel's process connector reports them (netlink,
//! `CONFIG_PROC_EVENTS`).
//!
//! The kernel reports to processes in the initial pid and user namespaces, with `CAP_NET_ADMIN` or
//! since Linux 6.6. Since then it can leave out all events except exits.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, sockopt};

use super::encode::ExitReport;
use super::exits::{ExitStatus, ShortLived};
use crate::measure::Snapshot;

/// The group, and the numbers of the connector in messages.
const CN_IDX_PROC: u32 = 1;
const CN_VAL_PROC: u32 = 1;
const PROC_CN_MCAST_LISTEN: u32 = 1;
const PROC_EVENT_NONE: u32 = 0;
const PROC_EVENT_EXIT: u32 = 0x8000_0000;
const NLMSG_DONE: u16 = 3;
/// `nlmsghdr`, then `cn_msg`.
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;
/// Bytes for events between two frames; the kernel needs about 1 KiB for each.
const BUFFER: usize = 8 << 20;
/// The parent of kernel threads.
const KTHREADD: u32 = 2;
/// Frames after which the report of an exit is no longer compared with the table.
const MAX_AGE: u8 = 3;

/// Receives reports.
#[derive(Debug)]
pub(super) struct ExitReports {
    socket: Option<OwnedFd>,
    /// Whether all processes have rows, so that one without a row was in no frame.
    has_all_processes: bool,
    /// By pid.
    reports: HashMap<u32, Report>,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    status: ExitStatus,
    parent: u32,
    /// Number of frames since it arrived.
    age: u8,
}

/// An event, or the response to a request.
enum Event {
    Response(u32),
    Exit { pid: u32, status: ExitStatus, parent: u32 },
}

impl ExitReports {
    /// Without reports.
    pub(super) fn none() -> ExitReports {
        ExitReports { socket: None, has_all_processes: false, reports: HashMap::new() }
    }

    /// Listens, if the kernel allows it. `has_all_processes` is whether the frames have all
    /// processes of the host.
    pub(super) fn listen(has_all_processes: bool) -> ExitReports {
        let socket = listen().ok().flatten();
        ExitReports { socket, has_all_processes, reports: HashMap::new() }
    }

    pub(super) fn are_reported(&self) -> bool {
        self.socket.is_some()
    }

    /// The reports of exits since the previous frame. `removed` are the processes that are
    /// not in this frame any more.
    pub(super) fn collect(&mut self, removed: &[u32], snapshot: &Snapshot) -> ExitReport {
        let Some(socket) = &self.socket else { return ExitReport::default() };
        let mut are_reported = true;
        let mut add = |event| {
            if let Event::Exit { pid, status, parent } = event {
                self.reports.insert(pid, Report { status, parent, age: 0 });
            }
        };
        if receive(socket, &mut add).is_err() {
            // The buffer was full.
            are_reported = false;
        }
        let missing = if are_reported { ExitStatus::Left } else { ExitStatus::Unknown };
        let status = |pid: &u32| (*pid, self.reports.remove(pid).map_or(missing, |one| one.status));
        let statuses = removed.iter().map(status).collect();
        let pids = snapshot.processes.iter().filter_map(|row| row.id.as_ref()).map(|id| id.pid);
        let pids: std::collections::HashSet<u32> = pids.collect();
        let mut short_lived = Vec::new();
        self.reports.retain(|pid, report| {
            report.age += 1;
            // One that exited after it was read is in the next frame's list.
            if pids.contains(pid) {
                return report.age < MAX_AGE;
            }
            let Report { status, parent, .. } = *report;
            if self.has_all_processes && parent != KTHREADD {
                short_lived.push(ShortLived { pid: *pid, parent, status });
            }
            false
        });
        short_lived.sort_unstable_by_key(|one| one.pid);
        ExitReport { statuses, short_lived, are_reported }
    }
}

fn listen() -> rustix::io::Result<Option<OwnedFd>> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::CONNECTOR),
    )?;
    if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    }
    rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, CN_IDX_PROC))?;
    // Kernels before 6.6 ignore a request with the kind of events.
    for request in [&[PROC_CN_MCAST_LISTEN, PROC_EVENT_EXIT][..], &[PROC_CN_MCAST_LISTEN]] {
        rustix::net::send(&socket, &message(request), SendFlags::empty())?;
        // The kernel responds before the call returns, if it allows this.
        let mut response = None;
        receive(&socket, &mut |event| {
            if let Event::Response(error) = event {
                response = Some(error);
            }
        })?;
        match response {
            Some(0) => return Ok(Some(socket)),
            Some(_) => return Ok(None),
            None => {}
        }
    }
    Ok(None)
}

fn message(request: &[u32]) -> Vec<u8> {
    let length = size_of_val(request);
    let total = NETLINK_HEADER + CONNECTOR_HEADER + length;
    let mut message = Vec::with_capacity(total);
    // Length, type, flags, sequence, port.
    message.extend_from_slice(&(total as u32).to_ne_bytes());
    message.extend_from_slice(&NLMSG_DONE.to_ne_bytes());
    message.extend_from_slice(&[0; 10]);
    // Index, value, sequence, acknowledgment, length, flags.
    message.extend_from_slice(&CN_IDX_PROC.to_ne_bytes());
    message.extend_from_slice(&CN_VAL_PROC.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&(length as u16).to_ne_bytes());
    message.extend_from_slice(&[0; 2]);
    request.iter().for_each(|word| message.extend_from_slice(&word.to_ne_bytes()));
    message
}

/// Receives all events that are there. An error means that some are lost.
fn receive(socket: &OwnedFd, each: &mut dyn FnMut(Event)) -> rustix::io::Result<()> {
    let mut buffer = [0; 1024];
    let mut result = Ok(());
    loop {
        match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((count, _)) => {
                let received = buffer.get(..count).unwrap_or_default();
                received.get(NETLINK_HEADER..).and_then(parse).into_iter().for_each(&mut *each);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return result,
            Err(Errno::NOBUFS) => result = Err(Errno::NOBUFS),
            Err(errno) => return Err(errno),
        }
    }
}

/// Parses a `cn_msg` with a `proc_event`.
fn parse(message: &[u8]) -> Option<Event> {
    let word = |at: usize| {
        let bytes = message.get(at..at + 4)?;
        bytes.try_into().ok().map(u32::from_ne_bytes)
    };
    if (word(0)?, word(4)?) != (CN_IDX_PROC, CN_VAL_PROC) {
        return None;
    }
    // After kind, CPU and time.
    let data = CONNECTOR_HEADER + 16;
    match word(CONNECTOR_HEADER)? {
        PROC_EVENT_NONE => Some(Event::Response(word(data)?)),
        PROC_EVENT_EXIT => {
            let (pid, process) = (word(data)?, word(data + 4)?);
            // Other threads; before Linux 4.18 there is no parent.
            let is_process = pid == process;
            let parent = word(data + 20).unwrap_or(0);
            let status = ExitStatus::of_wait(word(data + 8)?);
            is_process.then_some(Event::Exit { pid, status, parent })
        }
        _ => None,
    }
}
