//! Command lines without what looks secret.
//!
//! What is taken out becomes [`MARK`]; the rest stays byte for byte, so that
//! rules can be tried on it. It is a guess on the careful side: the value of
//! whatever is named like a secret, what stands in the place of a password in
//! a URL, the passwords of some well-known programs, and long words of
//! letters and digits mixed, as keys and tokens are.

mod words;

use psstat_proc_parse::{Cmdline, FdTarget};

use words::ArgScanner;

/// What stands where a secret was.
pub(crate) const REDACTED: &str = "SCRUBBED";

/// Parts of names that tell of a secret.
const SECRET_NAMES: [&str; 16] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "credential",
    "auth",
    "private",
    "accesskey",
    "access-key",
    "access_key",
    "passphrase",
    "session_id",
    "cookie",
];

/// The shortest word of letters and digits mixed that is taken for a key.
const KEY_LEN: usize = 32;
/// How words of well-known keys begin, the shorter ones included.
const KEY_STARTS: [&str; 16] = [
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "eyJ",
    "sk-",
    "sk_live_",
    "rk_live_",
    "AIza",
    "hvs.",
    "npm_",
];

/// The command line, as `/proc/PID/cmdline` has it, without what looks secret.
pub(crate) fn command_line(raw: &[u8]) -> Vec<u8> {
    // A title is one text; its words are what arguments are elsewhere.
    let is_title = Cmdline::new(raw).args().skip(1).all(<[u8]>::is_empty);
    let is_end = |byte: &u8| *byte == 0 || (is_title && byte.is_ascii_whitespace());
    let mut words = ArgScanner::default();
    let mut scrubbed = Vec::new();
    for argument in raw.split_inclusive(is_end) {
        let (argument, end) = match argument.split_last() {
            Some((end, rest)) if is_end(end) => (rest, Some(*end)),
            _ => (argument, None),
        };
        scrubbed.extend(words.argument(argument));
        scrubbed.extend(end);
    }
    scrubbed
}

/// What a descriptor is open on, without what looks secret: a file's name may
/// hold a key, or its query. What the kernel itself says (`socket:[7]`) stays.
pub(crate) fn link(target: &[u8]) -> Vec<u8> {
    match FdTarget::parse(target) {
        FdTarget::File { .. } | FdTarget::Memfd(_) => values(target),
        _ => target.to_vec(),
    }
}

/// A row of `/proc/net/unix` with its path scrubbed, which is the rest of it
/// behind the seventh column.
pub(crate) fn path_of_row(row: &[u8]) -> Vec<u8> {
    let mut starts = (1..row.len()).filter(|&at| {
        row.get(at - 1) == Some(&b' ') && row.get(at).is_some_and(|byte| *byte != b' ')
    });
    match starts.nth(6).and_then(|at| row.split_at_checked(at)) {
        Some((columns, path)) => {
            let end = path.len() - usize::from(path.ends_with(b"\n"));
            let (path, end) = path.split_at(end);
            [columns, &values(path), end].concat()
        }
        None => row.to_vec(),
    }
}

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_lowercase()
}

/// Whether it is named like a secret.
fn is_secret_name(name: &[u8]) -> bool {
    let name = lower(name);
    SECRET_NAMES.iter().any(|part| name.contains(part))
        || name.ends_with("key")
        || name.ends_with("-pw")
}

/// An argument without what looks secret by itself.
fn values(argument: &[u8]) -> Vec<u8> {
    let argument = named_values(argument);
    let argument = passwords_in_urls(&argument);
    let argument = headers(&argument);
    keys(&argument)
}

/// `name=value` and `name:value` anywhere in an argument. At its start the
/// value is all of the rest; elsewhere it ends where such values do.
fn named_values(argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = argument;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'=' | b':')) {
        let (before, value) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..));
        let value = value.unwrap_or_default();
        let is_part =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        // As in JSON, a name may be quoted, and a space may come before a value.
        let bare = trimmed_end(before, b"\"' ");
        let start = bare.iter().rposition(|byte| !is_part(byte)).map_or(0, |last| last + 1);
        let gap = value.iter().position(|byte| *byte != b' ').unwrap_or(0);
        let (gap, value) = value.split_at(gap);
        out.extend(rest.get(..=at).unwrap_or_default());
        out.extend(gap);
        if value.is_empty()
            || value.starts_with(b"//")
            || !is_secret_name(bare.get(start..).unwrap_or_default())
        {
            rest = value;
            continue;
        }
        out.extend_from_slice(REDACTED.as_bytes());
        let first = out.len() == at + 1 + gap.len() + REDACTED.len() && start == 0;
        let quote = value.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
        let end = match quote {
            _ if first => None,
            Some(quote) => value.iter().skip(1).position(|byte| *byte == quote).map(|at| at + 2),
            None => value.iter().position(|byte| b" \t\n;&,|\"'".contains(byte)),
        };
        rest = end.and_then(|end| value.get(end..)).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// A text without these bytes at its end.
fn trimmed_end<'a>(text: &'a [u8], bytes: &[u8]) -> &'a [u8] {
    let last = text.iter().rposition(|byte| !bytes.contains(byte));
    text.get(..last.map_or(0, |last| last + 1)).unwrap_or_default()
}

/// `scheme://user:password@host`.
fn passwords_in_urls(argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = argument;
    while let Some(at) = rest.windows(3).position(|part| part == b"://") {
        let (scheme, behind) = rest.split_at(at + 3);
        out.extend_from_slice(scheme);
        let end = behind.iter().position(|byte| b"/?# \t\n\"'".contains(byte));
        let (authority, behind) = behind.split_at(end.unwrap_or(behind.len()));
        let host = authority.iter().rposition(|byte| *byte == b'@');
        let colon = authority.iter().position(|byte| *byte == b':');
        match (colon, host) {
            // A token stands where the user does: `https://TOKEN@host`.
            (None, Some(host)) if is_key(authority.get(..host).unwrap_or_default()) => {
                out.extend_from_slice(REDACTED.as_bytes());
                out.extend_from_slice(authority.get(host..).unwrap_or_default());
            }
            (Some(colon), Some(host)) if colon < host => {
                out.extend_from_slice(authority.get(..=colon).unwrap_or_default());
                out.extend_from_slice(REDACTED.as_bytes());
                out.extend_from_slice(authority.get(host..).unwrap_or_default());
            }
            _ => out.extend_from_slice(authority),
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out
}

/// What follows `Bearer` or `Basic`, as in a header.
fn headers(argument: &[u8]) -> Vec<u8> {
    let text = argument.to_ascii_lowercase();
    for word in [&b"bearer "[..], b"basic "] {
        if let Some(at) = text.windows(word.len()).position(|part| part == word) {
            let before = argument.get(..at + word.len()).unwrap_or_default();
            return [before, REDACTED.as_bytes()].concat();
        }
    }
    argument.to_vec()
}

/// Words that look like keys themselves.
fn keys(argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // A path is no key: `/` is part of one only in what a name is given.
    if let Some(at) = argument.iter().position(|byte| *byte == b'=')
        && argument.get(at + 1..).is_some_and(looks_like_token)
    {
        return [argument.get(..=at).unwrap_or_default(), REDACTED.as_bytes()].concat();
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+".contains(&byte);
    for word in argument.chunk_by(|one, other| is_part(*one) == is_part(*other)) {
        if is_key(word) {
            out.extend_from_slice(REDACTED.as_bytes());
        } else {
            out.extend_from_slice(word);
        }
    }
    out
}

fn is_key(word: &[u8]) -> bool {
    let known = KEY_STARTS.iter().any(|start| word.starts_with(start.as_bytes()));
    let has = |what: fn(&u8) -> bool| word.iter().any(what);
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    (known && word.len() >= 12 && is_mixed) || (word.len() >= KEY_LEN && is_mixed)
}

/// Whether it is base64 with slashes, as a key may be and a path is not: long,
/// of upper and lower case and digits, and no word between two slashes is one
/// of letters in lower case, as the folders of a path are.
fn looks_like_token(value: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let has = |what: fn(&u8) -> bool| value.iter().any(what);
    let mut words = value.split(|byte| *byte == b'/').filter(|word| word.len() > 1);
    value.len() >= KEY_LEN
        && value.iter().all(is_part)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && !words.any(|word| word.iter().all(u8::is_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(words: &str) -> String {
        let raw = words.replace('|', "\0");
        String::from_utf8(command_line(raw.as_bytes())).unwrap().replace('\0', "|")
    }

    #[test]
    fn secrets_are_redacted() {
        let cases = [
            ("app|--password=hunter2|x|", "app|--password=SCRUBBED|x|"),
            ("app|--password=a b c|x", "app|--password=SCRUBBED|x"),
            ("app|--db-password|hunter2|-v", "app|--db-password|SCRUBBED|-v"),
            ("app|-Dtoken=hunter2|Main", "app|-Dtoken=SCRUBBED|Main"),
            ("app|DB_PASS=hunter2", "app|DB_PASS=SCRUBBED"),
            ("sh|-c|run --secret='hunter 2' x", "sh|-c|run --secret=SCRUBBED x"),
            ("sh|-c|A=1 TOKEN=hunter2; go", "sh|-c|A=1 TOKEN=SCRUBBED; go"),
            ("app|postgres://me:hunter2@db:5432/x", "app|postgres://me:SCRUBBED@db:5432/x"),
            (
                "app|jdbc:x://db/y?user=a&password=hunter2&z=1",
                "app|jdbc:x://db/y?user=a&password=SCRUBBED&z=1",
            ),
            ("curl|-H|X-Auth-Token: hunter2", "curl|-H|X-Auth-Token: SCRUBBED"),
            ("curl|-H|Cookie; Bearer hunter2", "curl|-H|Cookie; Bearer SCRUBBED"),
            ("curl|-u|me:hunter2|http://x/", "curl|-u|SCRUBBED|http://x/"),
            ("/usr/bin/mysql|-phunter2|-h|db", "/usr/bin/mysql|-pSCRUBBED|-h|db"),
            ("app|ghp_16C7e42F292c6912E7", "app|SCRUBBED"),
            ("app|x=0123456789abcdef0123456789abcdef/y", "app|x=SCRUBBED/y"),
            ("title --password hunter2 on", "title --password SCRUBBED on"),
            ("app|--api-key|hunter2||", "app|--api-key|SCRUBBED||"),
            ("aws|AWS_SECRET_ACCESS_KEY=hunter2/x+y", "aws|AWS_SECRET_ACCESS_KEY=SCRUBBED"),
            ("aws|AKIAIOSFODNN7EXAMPLE", "aws|SCRUBBED"),
            ("aws|--access_key|hunter2", "aws|--access_key|SCRUBBED"),
            ("aws|k=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws|k=SCRUBBED"),
            ("app|Authorization: Bearer hunter2", "app|Authorization: SCRUBBED"),
            ("app|bearer hunter2 x", "app|bearer SCRUBBED"),
            ("app|aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==", "app|SCRUBBED=="),
            (
                "app|Server=db;User Id=me;Password=hunter2;Port=1",
                "app|Server=db;User Id=me;Password=SCRUBBED;Port=1",
            ),
            (
                "app|host=db user=me password=hunter2 dbname=x",
                "app|host=db user=me password=SCRUBBED dbname=x",
            ),
            (
                "sh|-c|curl -H 'X-Auth-Token: hunter2' http://h/",
                "sh|-c|curl -H 'X-Auth-Token: SCRUBBED' http://h/",
            ),
            ("app|redis://:hunter2@h:1/0", "app|redis://:SCRUBBED@h:1/0"),
            (
                "git|https://ghp_16C7e42F292c6912E7@github.com/x",
                "git|https://SCRUBBED@github.com/x",
            ),
            (
                "app|amqps://me:hun:ter2@h/v,amqps://me:hunter2@i/v",
                "app|amqps://me:SCRUBBED@h/v,amqps://me:SCRUBBED@i/v",
            ),
            ("sshpass|-phunter2|ssh|h", "sshpass|-pSCRUBBED|ssh|h"),
            (
                "env|GITHUB_TOKEN=hunter2|MYSQL_PWD=hunter2|go",
                "env|GITHUB_TOKEN=SCRUBBED|MYSQL_PWD=SCRUBBED|go",
            ),
            (
                "java|-Djavax.net.ssl.keyStorePassword=hunter2",
                "java|-Djavax.net.ssl.keyStorePassword=SCRUBBED",
            ),
            ("app|{\"password\": \"hunter2\", \"a\": 1}", "app|{\"password\": SCRUBBED, \"a\": 1}"),
        ];
        for (given, want) in cases {
            assert_eq!(scrubbed(given), want);
        }
    }

    /// Only `argv[0]` used to be taken for the program, and a script for one
    /// argument, so that whatever ran through a shell or sudo kept its secrets.
    #[test]
    fn nested_commands_are_scrubbed() {
        let cases = [
            (
                "/bin/sh|-c|mysqldump -u root -phunter2 shop | gzip",
                "/bin/sh|-c|mysqldump -u root -pSCRUBBED shop | gzip",
            ),
            ("sh|-c|app --password hunter2", "sh|-c|app --password SCRUBBED"),
            ("sh|-c|app --password hunter2; go on", "sh|-c|app --password SCRUBBED; go on"),
            ("sh|-c|app --password 'hunter 2' x", "sh|-c|app --password SCRUBBED x"),
            ("sh|-c|curl -u me:hunter2 https://x", "sh|-c|curl -u SCRUBBED https://x"),
            ("curl|-fsSu|me:hunter2|https://x", "curl|-fsSu|SCRUBBED|https://x"),
            ("curl|--user=me:hunter2|https://x", "curl|--user=SCRUBBED|https://x"),
            ("sudo|mysql|-phunter2", "sudo|mysql|-pSCRUBBED"),
            ("timeout|5|/usr/bin/mysql|-phunter2", "timeout|5|/usr/bin/mysql|-pSCRUBBED"),
            ("env|FOO=1|PGPASSWORD=x|psql", "env|FOO=1|PGPASSWORD=SCRUBBED|psql"),
            ("sh|-c|FOO=1 PGPASSWORD=x psql", "sh|-c|FOO=1 PGPASSWORD=SCRUBBED psql"),
            ("sshpass|-p|hunter2|mysql|-phunter3", "sshpass|-p|SCRUBBED|mysql|-pSCRUBBED"),
            ("sh|-c|x=$(mysql -phunter2); echo $x", "sh|-c|x=$(mysql -pSCRUBBED); echo $x"),
            ("sh|-c|mysql -u $(id -un) -phunter2", "sh|-c|mysql -u $(id -un) -pSCRUBBED"),
            ("sh|-c|mysql -p'hunter 2' shop", "sh|-c|mysql -pSCRUBBED shop"),
            (
                "bash|-c|ssh db \"mysql -phunter2 'shop'\" && date",
                "bash|-c|ssh db \"mysql -pSCRUBBED 'shop'\" && date",
            ),
            ("bash|-c|ssh db \\\"mysql -phunter2\\\"", "bash|-c|ssh db \\\"mysql -pSCRUBBED"),
            ("mysql|-e|select 1;|-phunter2", "mysql|-e|select 1;|-pSCRUBBED"),
            ("watch mysql -phunter2 ", "watch mysql -pSCRUBBED "),
            ("app|--auth|--password|hunter2|x", "app|--auth|SCRUBBED|SCRUBBED|x"),
            ("sh|-c|it isn't --password hunter2", "sh|-c|it isn't --password SCRUBBED"),
        ];
        for (given, want) in cases {
            assert_eq!(scrubbed(given), want);
        }
    }

    #[test]
    fn nested_quotes_are_bounded() {
        let quotes = "\"".repeat(50_000) + "'";
        let mirrored: String = quotes.chars().rev().collect();
        let given = format!("sh|-c|{quotes}mysql -phunter2 x{mirrored}");
        assert!(!scrubbed(&given).contains("hunter2"));
    }

    #[test]
    fn names_of_files_and_sockets_are_scrubbed_too() {
        let link = |text: &str| String::from_utf8(link(text.as_bytes())).unwrap();
        assert_eq!(link("/var/cache/get?token=hunter2&x=1"), "/var/cache/get?token=SCRUBBED&x=1");
        assert_eq!(link("/tmp/AKIAIOSFODNN7EXAMPLE (deleted)"), "/tmp/SCRUBBED (deleted)");
        for same in
            ["socket:[7]", "anon_inode:[eventpoll]", "/var/lib/app/data-2026.db", "/dev/null"]
        {
            assert_eq!(link(same), same);
        }
        let row = |path: &str| {
            format!("0000000000000000: 00000002 00000000 00010000 0001 01     7{path}\n")
        };
        let scrubbed = |path: &str| String::from_utf8(path_of_row(row(path).as_bytes())).unwrap();
        assert_eq!(scrubbed(" @token=hunter2"), row(" @token=SCRUBBED"));
        assert_eq!(scrubbed(" token=hunter2"), row(" token=SCRUBBED"));
        assert_eq!(scrubbed(" /run/docker.sock"), row(" /run/docker.sock"));
        assert_eq!(scrubbed(""), row(""));
    }

    #[test]
    fn the_rest_stays_byte_for_byte() {
        for same in [
            "/usr/sbin/nginx|-g|daemon off;|",
            "java|-Xmx4g|-cp|/a/lib.jar:/b/c.jar|com.example.Main|--port=8080|",
            "nginx: worker process|||",
            "postgres: 14/main: walwriter ",
            "app|--config=/etc/app.conf|http://host:80/a?b=c|user@host",
            "app|--password-file|/run/x|-v",
            "sh|-c|mysqladmin ping && mkdir -p /data; exec mysqld",
            "tar|-p|x",
            "auth-server: worker 1",
            "",
            "|||",
        ] {
            assert_eq!(scrubbed(same), same);
        }
        let raw = b"app\0\xff\xfe\x1b[31m\0";
        assert_eq!(command_line(raw), raw);
    }
}
