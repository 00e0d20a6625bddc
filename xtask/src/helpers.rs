//! What xtask is when it starts itself: the processes that a comparison is
//! made of. None of them outlives the xtask that started it.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::Result;
use crate::accuracy::crowd;
use crate::compare::{churn, flood, member, sample};
use crate::interfere::target;
use crate::soak::restless;
use crate::storm::{child, driver};

/// The verb of a process of the population.
pub(crate) const MEMBER: &str = "be-a-process";
/// The verb of the process that starts short ones.
pub(crate) const CHURN: &str = "start-short-processes";
/// The verb of a process that forks copies which end at once.
pub(crate) const FLOOD: &str = "fork-and-end";
/// The verb of a process that runs the sampler.
pub(crate) const SAMPLE: &str = "sample";
/// The verb of a process that forks others of known behaviour.
pub(crate) const DRIVER: &str = "raise-a-storm";
/// The verb of such a short process. It ends by itself, whoever its parent is
/// by then.
pub(crate) const CHILD: &str = "live-and-write";
/// The verb of a process that forks a crowd of sleeping ones.
pub(crate) const CROWD: &str = "make-a-crowd";
/// The verb of a process of a soak.
pub(crate) const RESTLESS: &str = "live-restlessly";
/// The verb of the process that an observer might disturb.
pub(crate) const TARGET: &str = "be-sensitive";
/// The verb that becomes another program, bound to xtask's life.
pub(crate) const BOUND: &str = "become";

/// Does a helper's work if this process was started as one: its first
/// arguments are the verb and the pid of xtask.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let verb = args.next()?.into_string().ok()?;
    if ![MEMBER, CHURN, FLOOD, SAMPLE, DRIVER, CHILD, CROWD, RESTLESS, TARGET, BOUND]
        .contains(&verb.as_str())
    {
        return None;
    }
    let parent = args.next().and_then(|pid| pid.into_string().ok());
    let bound = if verb == CHILD { Ok(()) } else { bind(parent) };
    let done = bound.and_then(|()| {
        if verb == BOUND {
            let program = args.next().ok_or("no program")?;
            return Err(Command::new(program).args(args).exec().into());
        }
        let numbers = args.map(|arg| Ok(arg.into_string().map_err(|_| "no number")?.parse()?));
        let numbers = numbers.collect::<Result<Vec<u64>>>()?;
        match verb.as_str() {
            MEMBER => member::live(&numbers),
            CHURN => churn::run(&numbers),
            FLOOD => flood::fork_on(&numbers),
            DRIVER => driver::run(&numbers),
            CHILD => child::run(&numbers),
            CROWD => crowd::run(&numbers),
            RESTLESS => restless::run(&numbers),
            TARGET => target::run(&numbers),
            _ => sample::run(&numbers),
        }
    });
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {verb}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// A command that runs one of the verbs above.
pub(crate) fn command(verb: &str) -> Command {
    // Not current_exe: the path would dangle after a rebuild.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("xtask").arg(verb).arg(std::process::id().to_string());
    command
}

/// Ends with the parent, however that ends.
fn bind(parent: Option<String>) -> Result<()> {
    let parent = parent.ok_or("no parent")?.parse::<i32>()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    // It may have ended before the line above.
    if now == Some(parent) { Ok(()) } else { Err("the parent is gone".into()) }
}
