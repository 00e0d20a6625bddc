//! The texts of the members of images, as they were last classified.

use std::collections::HashMap;

use crate::classifier::Candidate;

/// The texts of all members, by pid.
#[derive(Debug, Default)]
pub(crate) struct MemberTexts {
    members: HashMap<u32, MemberText>,
}

/// The texts of a process.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberText {
    pub(crate) name: Vec<u8>,
    pub(crate) args_joined: Vec<u8>,
    pub(crate) uid: Option<u32>,
}

impl MemberTexts {
    /// Takes the texts of a process that was just classified. Allocates only if they are new or
    /// longer.
    pub(crate) fn update(&mut self, process: &Candidate<'_>, is_member: bool) {
        if !is_member {
            self.members.remove(&process.pid);
            return;
        }
        let text = self.members.entry(process.pid).or_default();
        for (to, from) in
            [(&mut text.name, process.name()), (&mut text.args_joined, process.args_joined)]
        {
            to.clear();
            to.extend_from_slice(from);
        }
        text.uid = process.uid;
    }

    pub(crate) fn get(&self, pid: u32) -> Option<&MemberText> {
        self.members.get(&pid)
    }

    /// Removes those of processes that are not members any more. `members`: how many there are.
    pub(crate) fn prune(&mut self, members: u64, is_member: impl Fn(u32) -> bool) {
        if self.members.len() as u64 > members {
            self.members.retain(|pid, _| is_member(*pid));
        }
    }
}
