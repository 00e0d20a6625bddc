//! What the processes of a soak do, each role under a name of its own.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::helpers;

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Connections, descriptors and threads that come and go.
    Server,
    /// Forks children that write, and reaps them.
    Family,
    /// The same, and ignores SIGCHLD.
    Dropper,
    /// Starts programs that live shortly under the name of [`Role::Started`].
    Starter,
    /// Such a program. It is [`storm::child`](crate::storm::child).
    Started,
    /// Starts processes of [`Role::Boxed`], and ends them.
    Landlord,
    /// Has a network and a pid namespace of its own.
    Boxed,
    /// Becomes [`Role::Right`] by exec, and that one becomes this again.
    Left,
    /// See [`Role::Left`].
    Right,
    /// Nobody ever is.
    Nobody,
}

/// The roles that the soak itself starts, and how many processes of each.
pub(crate) const CAST: [(Role, u64); 6] = [
    (Role::Server, 12),
    (Role::Family, 2),
    (Role::Dropper, 1),
    (Role::Starter, 1),
    (Role::Landlord, 1),
    (Role::Left, 2),
];

/// How many of a role the soak itself starts.
pub(crate) fn members(role: Role) -> u64 {
    CAST.iter().find(|(played, _)| *played == role).map_or(0, |&(_, count)| count)
}

impl Role {
    /// Those whose processes are an image.
    pub(crate) const IMAGES: [Role; 8] = [
        Role::Server,
        Role::Family,
        Role::Dropper,
        Role::Started,
        Role::Boxed,
        Role::Left,
        Role::Right,
        Role::Nobody,
    ];

    const ALL: [Role; 10] = [
        Role::Server,
        Role::Family,
        Role::Dropper,
        Role::Starter,
        Role::Started,
        Role::Landlord,
        Role::Boxed,
        Role::Left,
        Role::Right,
        Role::Nobody,
    ];

    /// The image's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Family => "family",
            Role::Dropper => "dropper",
            Role::Starter => "starter",
            Role::Started => "started",
            Role::Landlord => "landlord",
            Role::Boxed => "boxed",
            Role::Left => "left",
            Role::Right => "right",
            Role::Nobody => "nobody",
        }
    }

    /// What its processes are called in a soak of this number.
    pub(crate) fn word(self, soak: u64) -> String {
        format!("soak{soak}-{}", self.name())
    }

    /// The regex that finds them.
    pub(crate) fn regex(self, soak: u64) -> String {
        format!("^{} ", self.word(soak))
    }

    /// The role with this number in a command line.
    pub(crate) fn numbered(number: u64) -> Option<Role> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The command of a process of the role, which is the child of this one.
    /// `number` is its own among all.
    pub(crate) fn command(self, soak: u64, number: u64) -> Command {
        self.command_below(soak, number, std::process::id())
    }

    /// The same for one whose parent is another.
    pub(crate) fn command_below(self, soak: u64, number: u64, parent: u32) -> Command {
        let mut command = Command::new("/proc/self/exe");
        let role = Self::ALL.iter().position(|&role| role == self).unwrap_or_default() as u64;
        command.arg0(self.word(soak)).arg(helpers::RESTLESS).arg(parent.to_string());
        command.args([role, soak, number].map(|field| field.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::null());
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_tells_the_role() {
        for role in Role::ALL {
            let command = role.command(7, 1);
            let number = command.get_args().nth(2).unwrap().to_str().unwrap().parse().unwrap();
            assert_eq!(Role::numbered(number), Some(role));
        }
        assert_eq!(Role::numbered(99), None);
    }
}
