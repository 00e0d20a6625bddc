//! The texts of processes that rules are matched against.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use psstat_matcher::{Field, ProcessText, Rules};
use psstat_proc_parse::{CgroupPath, Container};
use psstat_sampler::{Candidate, ProcessFields};

use crate::users::{self, UserNames};

/// Makes the texts of the fields that rules use.
#[derive(Debug)]
pub struct ProcessTexts {
    /// The files to read of each process.
    fields: ProcessFields,
    has_container: bool,
    users_file: PathBuf,
    users: Option<UserNames>,
    /// Buffers.
    number: Vec<u8>,
    container: Vec<u8>,
}

impl ProcessTexts {
    /// Those of the processes of this procfs, without rules yet.
    pub fn new(proc: &Path) -> ProcessTexts {
        ProcessTexts {
            fields: ProcessFields::NONE,
            has_container: false,
            users_file: users::file_of(proc),
            users: None,
            number: Vec::new(),
            container: Vec::new(),
        }
    }

    /// Sets the rules. If one is about the user, the names of users are read from now on.
    ///
    /// # Errors
    /// When the thread that reads these cannot be started. Then all users have numbers.
    pub fn set_rules(&mut self, rules: &Rules) -> io::Result<()> {
        self.has_container = rules.uses(Field::Container);
        self.fields.comm = rules.uses(Field::Comm);
        self.fields.user = rules.uses(Field::User);
        self.fields.cgroup =
            [Field::Cgroup, Field::Unit, Field::Container].iter().any(|field| rules.uses(*field));
        if !self.fields.user {
            self.users = None;
        } else if self.users.is_none() {
            self.users = Some(UserNames::start(self.users_file.clone())?);
        }
        Ok(())
    }

    /// The files to read of each process.
    pub fn fields(&self) -> ProcessFields {
        self.fields
    }

    /// Takes over changes of the names of users. Returns whether there were any: then the texts of
    /// all processes may be others.
    pub fn update_users(&mut self) -> bool {
        self.users.as_mut().is_some_and(UserNames::update)
    }

    /// The texts of a process.
    pub fn of<'a>(&'a mut self, process: &Candidate<'a>) -> ProcessText<'a> {
        let ProcessTexts { users, number, container, .. } = self;
        let mut text = ProcessText::from(process.args_joined);
        text.comm = process.comm;
        if let Some(uid) = process.uid {
            number.clear();
            text.user = match users.as_ref().and_then(|users| users.name(uid)) {
                Some(name) => Some(name),
                None => write!(number, "{uid}").is_ok().then_some(number),
            };
        }
        let path = process.cgroup.map(CgroupPath);
        text.cgroup = process.cgroup;
        text.unit = path.and_then(CgroupPath::unit);
        let found = path.filter(|_| self.has_container).and_then(CgroupPath::container);
        if let Some(found) = found {
            container.clear();
            container.extend(Container::bytes(found));
            text.container = Some(container);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use psstat_matcher::Conf;

    #[test]
    fn texts_of_the_fields_in_use() {
        let dir = std::env::temp_dir().join(format!("psstat-texts-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("etc")).unwrap();
        std::fs::write(dir.join("etc/passwd"), "web:x:33:33\n").unwrap();
        let mut texts = ProcessTexts::new(&dir);
        let process = |uid| {
            let mut process = Candidate::new(1, b"a\0b\0", b"a b");
            (process.comm, process.uid) = (Some(&b"a"[..]), Some(uid));
            process.cgroup = Some(b"/machine.slice/machine-x\\x2dy.scope/payload");
            process
        };
        assert_eq!(texts.fields(), ProcessFields::NONE);
        texts.set_rules(&Conf::parse(b"@user u .\n@container c .\n").rules).unwrap();
        assert_eq!(texts.fields(), ProcessFields { comm: false, user: true, cgroup: true });
        let text = texts.of(&process(33));
        assert_eq!((text.command_line, text.comm), (Some(&b"a b"[..]), Some(&b"a"[..])));
        assert_eq!(text.user, Some(&b"web"[..]));
        assert_eq!(text.cgroup, process(33).cgroup);
        assert_eq!(text.unit, Some(&b"machine-x\\x2dy.scope"[..]));
        assert_eq!(text.container, Some(&b"x-y"[..]));
        assert_eq!(texts.of(&process(34)).user, Some(&b"34"[..]));
        assert!(!texts.update_users());
        texts.set_rules(&Conf::parse(b"@unit u .\n@comm c .\n").rules).unwrap();
        assert_eq!(texts.fields(), ProcessFields { comm: true, user: false, cgroup: true });
        assert_eq!(texts.of(&process(33)).user, Some(&b"33"[..]));
        texts.set_rules(&Conf::parse(b"a .\n").rules).unwrap();
        assert_eq!(texts.fields(), ProcessFields::NONE);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
