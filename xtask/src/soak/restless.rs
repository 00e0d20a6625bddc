//! The life of a soak's process: it moves until its folder has a file `calm`,
//! then holds what it is to hold in a calm, and moves again when that is gone.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::WaitOptions;

use super::chance::Chance;
use super::holder::Holder;
use super::role::Role;
use crate::storm::child::{self, CALLS};
use crate::storm::kind::{Kind, When};
use crate::{Result, helpers, sys};

/// The file that makes a calm.
pub(crate) const CALM: &str = "calm";

/// Time from one move to the next.
const TURN: Duration = Duration::from_millis(250);

pub(crate) fn is_calm() -> bool {
    Path::new(CALM).exists()
}

/// The process's life: `[role, soak, number]`.
pub(crate) fn run(fields: &[u64]) -> Result<()> {
    let &[role, soak, number] = fields else { return Err("wrong number of fields".into()) };
    match Role::numbered(role).ok_or("no such role")? {
        Role::Server => serve(number),
        Role::Family => fork(number, Some(&format!("family-{number}"))),
        Role::Dropper => {
            sys::ignore_children()?;
            fork(number, None)
        }
        Role::Starter => start(soak, number),
        Role::Landlord => let_rooms(soak, number),
        Role::Boxed => live_boxed(number),
        role @ (Role::Left | Role::Right) => turn_coat(role, soak, number),
        Role::Started | Role::Nobody => Err("no role to play".into()),
    }
}

fn serve(number: u64) -> Result<()> {
    let mut chance = Chance::new(number);
    let mut holder = Holder::new(number)?;
    loop {
        if is_calm() {
            holder.calm()?;
        } else {
            holder.shift(&mut chance)?;
        }
        std::thread::sleep(TURN);
    }
}

/// Forks eight children a second that write and live up to 1.5 s. In a calm all
/// have ended, and what they and this process wrote stands in the file
/// `record`, if there is to be one.
fn fork(number: u64, record: Option<&str>) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(125);
    const LIVES: [u64; 4] = [0, 50, 400, 1500];
    let (mut bytes, mut calls, mut was_calm) = (0, 0, false);
    for serial in number.. {
        while is_calm() {
            if !std::mem::replace(&mut was_calm, true) {
                while reap(WaitOptions::empty())? {}
                if let Some(record) = record {
                    // Its own line is a part of what it writes.
                    (bytes, calls) = (bytes + RECORD, calls + 1);
                    std::fs::write(record, format!("{bytes:020} {calls:020}\n"))?;
                }
            }
            std::thread::sleep(PAUSE);
        }
        was_calm = false;
        let (life, piece) = (LIVES[(serial % 4) as usize], child::bytes(serial));
        if sys::fork()?.is_none() {
            let lived = child::live(When::Halves, Duration::from_millis(life), piece);
            std::process::exit(i32::from(lived.is_err()));
        }
        (bytes, calls) = (bytes + CALLS * piece, calls + CALLS);
        while reap(WaitOptions::NOHANG)? {}
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Bytes of a record.
const RECORD: u64 = 42;

/// What a record says: bytes and calls.
pub(crate) fn read_record(path: &Path) -> Result<[u64; 2]> {
    let text = std::fs::read_to_string(path)?;
    let (bytes, calls) = text.trim().split_once(' ').ok_or("a record without two numbers")?;
    Ok([bytes.parse()?, calls.parse()?])
}

/// Reaps whoever has ended; whether there was one.
fn reap(options: WaitOptions) -> Result<bool> {
    match rustix::process::wait(options) {
        Ok(Some(_)) => Ok(true),
        Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Starts three programs a second; some orphans among them.
fn start(soak: u64, number: u64) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(330);
    // Where an orphan goes, whatever else is on the machine.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    for serial in number.. {
        while is_calm() {
            while reap(WaitOptions::empty())? {}
            std::thread::sleep(PAUSE);
        }
        let mut command = helpers::command(helpers::CHILD);
        command.arg0(Role::Started.word(soak)).stdin(Stdio::null()).stdout(Stdio::null());
        let life = Duration::from_millis([20, 700, 2500, 4000][(serial % 4) as usize]);
        let kind = if serial.is_multiple_of(5) { Kind::Orphan } else { Kind::Brief };
        command.args(child::arguments(kind, soak, life, child::bytes(serial))?).spawn()?;
        while reap(WaitOptions::NOHANG)? {}
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Keeps one to four boxes, and moves somebody in or out every two seconds.
fn let_rooms(soak: u64, number: u64) -> Result<()> {
    const PAUSE: Duration = Duration::from_secs(2);
    const IN_A_CALM: usize = 2;
    let mut chance = Chance::new(number);
    let mut rooms: Vec<Child> = Vec::new();
    let mut due = Instant::now();
    let mut serial = number;
    loop {
        let calm = is_calm();
        let wanted = if calm { IN_A_CALM } else { 1 + chance.below(4) as usize };
        if calm || Instant::now() >= due {
            due = Instant::now() + PAUSE;
            if rooms.len() > wanted {
                let mut oldest = rooms.remove(0);
                // The end of its stdin is its end.
                oldest.stdin = None;
                oldest.wait()?;
            } else if rooms.len() < wanted {
                serial += 1;
                rooms.push(Role::Boxed.command(soak, serial % 200).spawn()?);
            }
        }
        std::thread::sleep(TURN);
    }
}

/// Moves into namespaces of its own, and starts the first process of the new pid
/// namespace, which holds something until stdin ends.
fn live_boxed(number: u64) -> Result<()> {
    sys::enter_namespaces()?;
    if sys::fork()?.is_none() {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        let mut holder = Holder::new(number)?;
        holder.calm()?;
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        drop(holder);
        std::process::exit(0);
    }
    while reap(WaitOptions::empty())? {}
    Ok(())
}

/// Becomes the other every ten seconds, and is [`Role::Left`] in a calm.
fn turn_coat(role: Role, soak: u64, number: u64) -> Result<()> {
    const STAY: Duration = Duration::from_secs(10);
    let other = if role == Role::Left { Role::Right } else { Role::Left };
    let born = Instant::now();
    loop {
        let calm = is_calm();
        let stays = if calm { role == Role::Left } else { born.elapsed() < STAY };
        if !stays {
            // It has the same parent after it.
            let parent = std::os::unix::process::parent_id();
            let mut command = other.command_below(soak, number, parent);
            return Err(command.stdin(Stdio::inherit()).exec().into());
        }
        std::thread::sleep(TURN);
    }
}
