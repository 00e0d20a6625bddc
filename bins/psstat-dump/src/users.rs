//! The names of users.

use std::path::Path;

use psstat_support::users::{self, UserNames};

/// The users of `/etc/passwd`, by id.
#[derive(Debug)]
pub(crate) struct Users(Option<UserNames>);

impl Users {
    /// Reads the file that belongs to a procfs. Users of a name service have no name.
    pub(crate) fn read(proc: &Path) -> Users {
        Users(UserNames::start(users::file_of(proc)).ok())
    }

    /// The name or, without one, the number.
    pub(crate) fn name(&self, uid: u32) -> Vec<u8> {
        let name = self.0.as_ref().and_then(|users| users.name(uid)).map(<[u8]>::to_vec);
        name.unwrap_or_else(|| uid.to_string().into_bytes())
    }
}
