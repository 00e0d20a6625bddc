//! The names of users.

use std::collections::HashMap;

/// The users of `/etc/passwd`, by id.
#[derive(Debug, Default)]
pub(crate) struct Users(HashMap<u32, Vec<u8>>);

impl Users {
    /// Reads the file. Users of a name service have no name.
    pub(crate) fn read() -> Users {
        Users::parse(&std::fs::read("/etc/passwd").unwrap_or_default())
    }

    fn parse(passwd: &[u8]) -> Users {
        let mut users = HashMap::new();
        for line in passwd.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else { continue };
            let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok());
            if let Some(uid) = uid.filter(|_| !name.is_empty()) {
                // The first name of an id, as for getpwuid(3).
                users.entry(uid).or_insert_with(|| name.to_vec());
            }
        }
        Users(users)
    }

    /// The name or, without one, the number.
    pub(crate) fn name(&self, uid: u32) -> Vec<u8> {
        self.0.get(&uid).cloned().unwrap_or_else(|| uid.to_string().into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let users =
            Users::parse(b"root:x:0:0::/root:/bin/sh\n\nbroken\ntoor:x:0:0\n:x:7:\nw:x:33:33");
        let name = |uid| String::from_utf8(users.name(uid)).unwrap();
        assert_eq!([name(0), name(33), name(7)], ["root", "w", "7"]);
    }
}
