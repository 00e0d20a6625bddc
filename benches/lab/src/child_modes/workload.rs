//! A process of a soak. It changes its state until its directory has a file `quiescent`, then
//! assumes the state of the quiescent phases until the file is removed.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

use super::kind::{Kind, When};
use super::reap;
use super::resource_holder::ResourceHolder;
use super::rng::Rng;
use super::role::Role;
use super::write_loop::{self, CALLS};
use crate::{Result, sys};

/// The file that makes the processes quiescent.
pub(crate) const QUIESCENT: &str = "quiescent";

/// Time per step.
const STEP: Duration = Duration::from_millis(250);

fn is_quiescent() -> bool {
    Path::new(QUIESCENT).exists()
}

/// Runs the mode: `[role, soak, number]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[role, soak, number] = fields else { return Err("wrong number of fields".into()) };
    match Role::from_number(role).ok_or("no such role")? {
        Role::Server => serve(number),
        Role::Forker => fork(number, Some(&record_name(number))),
        Role::ChildIgnorer => {
            sys::ignore_children()?;
            fork(number, None)
        }
        Role::Starter => start(soak, number),
        Role::NetnsParent => run_netns_parent(soak, number),
        Role::InNetns => run_in_netns(number),
        role @ (Role::Left | Role::Right) => alternate_exec(role, soak, number),
        Role::Started | Role::Absent => Err("this role has no workload".into()),
    }
}

fn serve(number: u64) -> Result<()> {
    let mut rng = Rng::new(number);
    let mut holder = ResourceHolder::new(number)?;
    loop {
        if is_quiescent() {
            holder.set_stable()?;
        } else {
            holder.change(&mut rng)?;
        }
        std::thread::sleep(STEP);
    }
}

/// Forks eight children per second that write and live up to 1.5 s. In the quiescent phases all
/// have exited, and the file `record`, if any, has what they and this process wrote.
fn fork(number: u64, record: Option<&str>) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(125);
    const CHILD_LIFETIMES_MS: [u64; 4] = [0, 50, 400, 1500];
    let (mut bytes, mut calls, mut was_quiescent) = (0, 0, false);
    for serial in number.. {
        while is_quiescent() {
            if !std::mem::replace(&mut was_quiescent, true) {
                while reap(WaitOptions::empty())? {}
                if let Some(record) = record {
                    // The record is a part of what this process writes.
                    (bytes, calls) = (bytes + RECORD_BYTES, calls + 1);
                    std::fs::write(record, format!("{bytes:020} {calls:020}\n"))?;
                }
            }
            std::thread::sleep(PAUSE);
        }
        was_quiescent = false;
        let lifetime = Duration::from_millis(CHILD_LIFETIMES_MS[(serial % 4) as usize]);
        let piece = write_loop::bytes(serial);
        if sys::fork()?.is_none() {
            let done = write_loop::write(When::Halves, lifetime, piece);
            std::process::exit(i32::from(done.is_err()));
        }
        (bytes, calls) = (bytes + CALLS * piece, calls + CALLS);
        while reap(WaitOptions::NOHANG)? {}
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The size of a record.
const RECORD_BYTES: u64 = 42;

/// The name of the record of a [`Role::Forker`].
pub(crate) fn record_name(number: u64) -> String {
    format!("forker-{number}")
}

/// Reads the bytes and the calls of a record.
pub(crate) fn read_record(path: &Path) -> Result<[u64; 2]> {
    let text = std::fs::read_to_string(path)?;
    let (bytes, calls) = text.trim().split_once(' ').ok_or("a record without two numbers")?;
    Ok([bytes.parse()?, calls.parse()?])
}

/// Starts three programs per second, some of them orphans.
fn start(soak: u64, number: u64) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(330);
    // Orphans are reparented to this process, whatever subreaper the machine has.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    for serial in number.. {
        while is_quiescent() {
            while reap(WaitOptions::empty())? {}
            std::thread::sleep(PAUSE);
        }
        let mut command = super::command(super::WRITE_LOOP);
        command.arg0(Role::Started.argv0(soak)).stdin(Stdio::null()).stdout(Stdio::null());
        let lifetime = Duration::from_millis([20, 700, 2500, 4000][(serial % 4) as usize]);
        let kind = if serial.is_multiple_of(5) { Kind::Orphan } else { Kind::Brief };
        let bytes = write_loop::bytes(serial);
        command.args(write_loop::arguments(kind, soak, lifetime, bytes)?).spawn()?;
        while reap(WaitOptions::NOHANG)? {}
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Keeps one to four processes in their own namespaces, and starts or ends one every two seconds.
fn run_netns_parent(soak: u64, number: u64) -> Result<()> {
    const PAUSE: Duration = Duration::from_secs(2);
    const STABLE: usize = 2;
    let mut rng = Rng::new(number);
    let mut children: Vec<Child> = Vec::new();
    let mut due = Instant::now();
    let mut serial = number;
    loop {
        let is_quiescent = is_quiescent();
        let target = if is_quiescent { STABLE } else { 1 + rng.below(4) as usize };
        if is_quiescent || Instant::now() >= due {
            due = Instant::now() + PAUSE;
            if children.len() > target {
                let mut oldest = children.remove(0);
                // It exits at the end of its stdin.
                oldest.stdin = None;
                oldest.wait()?;
            } else if children.len() < target {
                serial += 1;
                children.push(Role::InNetns.command(soak, serial % 200).spawn()?);
            }
        }
        std::thread::sleep(STEP);
    }
}

/// Enters new namespaces, and starts the first process of the new pid namespace, which holds
/// resources until the end of stdin.
fn run_in_netns(number: u64) -> Result<()> {
    sys::enter_namespaces()?;
    if sys::fork()?.is_none() {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        let mut holder = ResourceHolder::new(number)?;
        holder.set_stable()?;
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        drop(holder);
        std::process::exit(0);
    }
    while reap(WaitOptions::empty())? {}
    Ok(())
}

/// Executes the other role every ten seconds; [`Role::Left`] in the quiescent phases.
fn alternate_exec(role: Role, soak: u64, number: u64) -> Result<()> {
    const TIME: Duration = Duration::from_secs(10);
    let other = if role == Role::Left { Role::Right } else { Role::Left };
    let start = Instant::now();
    loop {
        let stays = if is_quiescent() { role == Role::Left } else { start.elapsed() < TIME };
        if !stays {
            // An exec does not change the parent.
            let parent = std::os::unix::process::parent_id();
            let mut command = other.command_below(soak, number, parent);
            return Err(command.stdin(Stdio::inherit()).exec().into());
        }
        std::thread::sleep(STEP);
    }
}
