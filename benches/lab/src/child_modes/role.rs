//! The roles of the processes of a soak. Each role has its own `argv[0]`.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Opens and closes connections, files and threads.
    Server,
    /// Forks children that write, and reaps them.
    Forker,
    /// The same, but ignores SIGCHLD.
    ChildIgnorer,
    /// Starts short-lived programs named [`Role::Started`].
    Starter,
    /// Such a program: [`super::write_loop`].
    Started,
    /// Starts and ends processes named [`Role::InNetns`].
    NetnsParent,
    /// Has its own network and pid namespaces.
    InNetns,
    /// Executes [`Role::Right`], which executes this one again.
    Left,
    /// See [`Role::Left`].
    Right,
    /// No process has it.
    Absent,
}

/// The roles that the soak itself starts, and the number of processes of each.
pub(crate) const STARTED: [(Role, u64); 6] = [
    (Role::Server, 12),
    (Role::Forker, FORKERS),
    (Role::ChildIgnorer, 1),
    (Role::Starter, 1),
    (Role::NetnsParent, 1),
    (Role::Left, 2),
];
/// The number of processes of [`Role::Forker`].
pub(crate) const FORKERS: u64 = 2;

/// All roles with the names of their images.
const NAMES: [(Role, &str); 10] = [
    (Role::Server, "server"),
    (Role::Forker, "forker"),
    (Role::ChildIgnorer, "child-ignorer"),
    (Role::Started, "started"),
    (Role::InNetns, "in-netns"),
    (Role::Left, "left"),
    (Role::Right, "right"),
    (Role::Absent, "absent"),
    (Role::Starter, "starter"),
    (Role::NetnsParent, "netns-parent"),
];

impl Role {
    /// The roles that are images of the config.
    pub(crate) fn images() -> impl Iterator<Item = Role> {
        NAMES[..8].iter().map(|&(role, _)| role)
    }

    fn index(self) -> usize {
        NAMES.iter().position(|&(role, _)| role == self).unwrap_or_default()
    }

    /// The name of the image.
    pub(crate) fn name(self) -> &'static str {
        NAMES[self.index()].1
    }

    /// The `argv[0]` of the processes in this soak.
    pub(crate) fn argv0(self, soak: u64) -> String {
        format!("soak{soak}-{}", self.name())
    }

    /// The regex of the image.
    pub(crate) fn regex(self, soak: u64) -> String {
        format!("^{} ", self.argv0(soak))
    }

    /// The role with this number in a command line.
    pub(crate) fn from_number(number: u64) -> Option<Role> {
        Some(NAMES.get(usize::try_from(number).ok()?)?.0)
    }

    /// The command of a process of this role as a child of this process.
    pub(crate) fn command(self, soak: u64, number: u64) -> Command {
        self.command_below(soak, number, std::process::id())
    }

    /// The same with another parent.
    pub(crate) fn command_below(self, soak: u64, number: u64, parent: u32) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(self.argv0(soak)).arg(super::WORKLOAD).arg(parent.to_string());
        command.args([self.index() as u64, soak, number].map(|field| field.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_number_round_trips() {
        for (role, _) in NAMES {
            let command = role.command(7, 1);
            let number = command.get_args().nth(2).unwrap().to_str().unwrap().parse().unwrap();
            assert_eq!(Role::from_number(number), Some(role));
        }
        assert_eq!(Role::from_number(99), None);
    }
}
