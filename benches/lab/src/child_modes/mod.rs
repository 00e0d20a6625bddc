//! The child programs of the experiments. This executable starts itself in one of these modes;
//! no child outlives the experiment that started it.

pub(crate) mod churn;
pub(crate) mod fork_exit;
pub(crate) mod histogram;
pub(crate) mod kind;
pub(crate) mod latency_target;
pub(crate) mod member;
pub(crate) mod netns_member;
pub(crate) mod resource_holder;
pub(crate) mod rng;
pub(crate) mod role;
pub(crate) mod sampler;
pub(crate) mod sleepers;
pub(crate) mod storm;
pub(crate) mod workload;
pub(crate) mod write_loop;

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode};

use rustix::process::WaitOptions;

use crate::Result;

/// A process of an observed population.
pub(crate) const MEMBER: &str = "member";
/// A process in a network namespace of its own.
pub(crate) const NETNS_MEMBER: &str = "netns-member";
/// Starts short-lived processes at a constant rate.
pub(crate) const CHURN: &str = "churn";
/// Forks copies that exit at once.
pub(crate) const FORK_EXIT: &str = "fork-exit";
/// Runs the sampler.
pub(crate) const SAMPLER: &str = "sampler";
/// Forks processes of one [`kind::Kind`].
pub(crate) const STORM: &str = "storm";
/// A process of a fork storm: writes known bytes and exits by itself, whatever its parent is.
pub(crate) const WRITE_LOOP: &str = "write-loop";
/// Forks a large population of sleeping processes.
pub(crate) const SLEEPERS: &str = "population";
/// A process of a soak.
pub(crate) const WORKLOAD: &str = "workload";
/// Times its own operations while it is observed.
pub(crate) const LATENCY_TARGET: &str = "latency-target";
/// Executes another program that must not outlive the experiment.
pub(crate) const EXEC_INTO: &str = "exec-into";

type Run = fn(&[u64]) -> Result<()>;

const MODES: [(&str, Run); 10] = [
    (MEMBER, member::run),
    (NETNS_MEMBER, netns_member::run),
    (CHURN, churn::run),
    (FORK_EXIT, fork_exit::run),
    (SAMPLER, sampler::run),
    (STORM, storm::run),
    (WRITE_LOOP, write_loop::run),
    (SLEEPERS, sleepers::run),
    (WORKLOAD, workload::run),
    (LATENCY_TARGET, latency_target::run),
];

/// Runs a child mode if the arguments select one: `MODE PARENT-PID ARGUMENTS`.
pub(crate) fn dispatch() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let mode = args.next()?.into_string().ok()?;
    let run = MODES.iter().find(|(name, _)| *name == mode).map(|(_, run)| run);
    if run.is_none() && mode != EXEC_INTO {
        return None;
    }
    let parent = args.next()?.into_string().ok()?;
    let bound = if mode == WRITE_LOOP { Ok(()) } else { exit_with_parent(&parent) };
    let done = bound.and_then(|()| {
        let Some(run) = run else {
            let program = args.next().ok_or("no program")?;
            return Err(Command::new(program).args(args).exec().into());
        };
        let fields = args.map(|arg| Ok(arg.into_string().map_err(|_| "not a number")?.parse()?));
        run(&fields.collect::<Result<Vec<u64>>>()?)
    });
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab {mode}: {error}");
            ExitCode::FAILURE
        }
    })
}

/// A command that runs one of the modes above.
pub(crate) fn command(mode: &str) -> Command {
    // Not current_exe(): a rebuild would leave a dangling path.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("lab").arg(mode).arg(std::process::id().to_string());
    command
}

/// The same command, run through [`EXEC_INTO`] so that it exits with the experiment.
pub(crate) fn bound(command: &Command) -> Command {
    let mut bound = self::command(EXEC_INTO);
    bound.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

/// Makes the kernel kill this process when its parent exits.
fn exit_with_parent(parent: &str) -> Result<()> {
    let parent = parent.parse::<i32>()?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    // The parent may have exited before the line above.
    if now == Some(parent) { Ok(()) } else { Err("the parent has exited".into()) }
}

/// Reaps one exited child; `false` if there is none.
///
/// # Errors
/// If the child did not exit with status 0.
pub(crate) fn reap(options: WaitOptions) -> Result<bool> {
    match rustix::process::wait(options) {
        Ok(Some((_, status))) if status.exit_status() == Some(0) => Ok(true),
        Ok(Some((pid, status))) => Err(format!("{pid} exited with {status:?}").into()),
        Ok(None) | Err(rustix::io::Errno::CHILD) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A child process that is killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct ChildGuard(pub(crate) Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
