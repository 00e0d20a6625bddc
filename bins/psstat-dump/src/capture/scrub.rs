//! Redacts probable secrets in command lines.
//!
//! A secret is replaced by [`REDACTED`]; all other bytes are unchanged, so that
//! rules can be tested on the result. This is a heuristic that prefers to
//! redact too much: values with a name like a secret, passwords in URLs, the
//! password options of well-known programs, and long words of letters and
//! digits, such as keys and tokens.

mod words;

use psstat_proc_parse::{Cmdline, FdTarget};

use words::ArgScanner;

/// Replaces a secret.
pub(crate) const REDACTED: &str = "REDACTED";

/// Parts of the names of secrets.
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

/// Minimum length of a word of letters and digits that is treated as a key.
const KEY_LEN: usize = 32;
/// Prefixes of well-known keys, which can be shorter.
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

/// Redacts a command line in the format of `/proc/PID/cmdline`.
pub(crate) fn command_line(raw: &[u8]) -> Vec<u8> {
    // A title is a single text; its words are treated as arguments.
    let is_title = Cmdline::new(raw).args().skip(1).all(<[u8]>::is_empty);
    let is_end = |byte: &u8| *byte == 0 || (is_title && byte.is_ascii_whitespace());
    let mut words = ArgScanner::default();
    let mut redacted = Vec::new();
    for argument in raw.split_inclusive(is_end) {
        let (argument, end) = match argument.split_last() {
            Some((end, rest)) if is_end(end) => (rest, Some(*end)),
            _ => (argument, None),
        };
        redacted.extend(words.argument(argument));
        redacted.extend(end);
    }
    redacted
}

/// Redacts the target of a descriptor: a file name can contain a key or a
/// query. Targets that the kernel generates (`socket:[7]`) are unchanged.
pub(crate) fn link(target: &[u8]) -> Vec<u8> {
    match FdTarget::parse(target) {
        FdTarget::File { .. } | FdTarget::Memfd(_) => values(target),
        _ => target.to_vec(),
    }
}

/// Redacts the path in a row of `/proc/net/unix`, which follows the seventh
/// column.
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

/// Whether the name is that of a secret.
fn is_secret_name(name: &[u8]) -> bool {
    let name = lower(name);
    SECRET_NAMES.iter().any(|part| name.contains(part))
        || name.ends_with("key")
        || name.ends_with("-pw")
}

/// Redacts secrets that can be recognized within an argument.
fn values(argument: &[u8]) -> Vec<u8> {
    let argument = named_values(argument);
    let argument = passwords_in_urls(&argument);
    let argument = headers(&argument);
    keys(&argument)
}

/// Redacts values in `name=value` and `name:value` anywhere in an argument. If
/// the name is at the start, the value is the rest of the argument; otherwise
/// it ends at a separator.
fn named_values(argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = argument;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'=' | b':')) {
        let (before, value) = (rest.get(..at).unwrap_or_default(), rest.get(at + 1..));
        let value = value.unwrap_or_default();
        let is_part =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        // As in JSON, a name can be quoted, and a space can precede the value.
        let name = trimmed_end(before, b"\"' ");
        let start = name.iter().rposition(|byte| !is_part(byte)).map_or(0, |last| last + 1);
        let gap = value.iter().position(|byte| *byte != b' ').unwrap_or(0);
        let (gap, value) = value.split_at(gap);
        out.extend(rest.get(..=at).unwrap_or_default());
        out.extend(gap);
        if value.is_empty()
            || value.starts_with(b"//")
            || !is_secret_name(name.get(start..).unwrap_or_default())
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

/// The text without these bytes at its end.
fn trimmed_end<'a>(text: &'a [u8], bytes: &[u8]) -> &'a [u8] {
    let last = text.iter().rposition(|byte| !bytes.contains(byte));
    text.get(..last.map_or(0, |last| last + 1)).unwrap_or_default()
}

/// Redacts passwords in `scheme://user:password@host`.
fn passwords_in_urls(argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = argument;
    while let Some(at) = rest.windows(3).position(|part| part == b"://") {
        let (scheme, after) = rest.split_at(at + 3);
        out.extend_from_slice(scheme);
        let end = after.iter().position(|byte| b"/?# \t\n\"'".contains(byte));
        let (authority, after) = after.split_at(end.unwrap_or(after.len()));
        let host = authority.iter().rposition(|byte| *byte == b'@');
        let colon = authority.iter().position(|byte| *byte == b':');
        match (colon, host) {
            // A token instead of the user: `https://TOKEN@host`.
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
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

/// Redacts the text after `Bearer` or `Basic`, as in a header.
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

/// Redacts words that look like keys.
fn keys(argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // `/` is part of a key only in a named value, because of paths.
    if let Some(at) = argument.iter().position(|byte| *byte == b'=')
        && argument.get(at + 1..).is_some_and(is_base64_key)
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
    let has = |class: fn(&u8) -> bool| word.iter().any(class);
    let is_mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    (known && word.len() >= 12 && is_mixed) || (word.len() >= KEY_LEN && is_mixed)
}

/// Whether the value is a key in base64 with slashes and not a path: it is long,
/// has upper and lower case letters and digits, and no part between two slashes
/// consists of lower case letters only, as directory names do.
fn is_base64_key(value: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    let has = |class: fn(&u8) -> bool| value.iter().any(class);
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

    fn redacted(words: &str) -> String {
        let raw = words.replace('|', "\0");
        String::from_utf8(command_line(raw.as_bytes())).unwrap().replace('\0', "|")
    }

    #[test]
    fn secrets_are_redacted() {
        let cases = [
            ("app|--password=hunter2|x|", "app|--password=REDACTED|x|"),
            ("app|--password=a b c|x", "app|--password=REDACTED|x"),
            ("app|--db-password|hunter2|-v", "app|--db-password|REDACTED|-v"),
            ("app|-Dtoken=hunter2|Main", "app|-Dtoken=REDACTED|Main"),
            ("app|DB_PASS=hunter2", "app|DB_PASS=REDACTED"),
            ("sh|-c|run --secret='hunter 2' x", "sh|-c|run --secret=REDACTED x"),
            ("sh|-c|A=1 TOKEN=hunter2; go", "sh|-c|A=1 TOKEN=REDACTED; go"),
            ("app|postgres://me:hunter2@db:5432/x", "app|postgres://me:REDACTED@db:5432/x"),
            (
                "app|jdbc:x://db/y?user=a&password=hunter2&z=1",
                "app|jdbc:x://db/y?user=a&password=REDACTED&z=1",
            ),
            ("curl|-H|X-Auth-Token: hunter2", "curl|-H|X-Auth-Token: REDACTED"),
            ("curl|-H|Cookie; Bearer hunter2", "curl|-H|Cookie; Bearer REDACTED"),
            ("curl|-u|me:hunter2|http://x/", "curl|-u|REDACTED|http://x/"),
            ("/usr/bin/mysql|-phunter2|-h|db", "/usr/bin/mysql|-pREDACTED|-h|db"),
            ("app|ghp_16C7e42F292c6912E7", "app|REDACTED"),
            ("app|x=0123456789abcdef0123456789abcdef/y", "app|x=REDACTED/y"),
            ("title --password hunter2 on", "title --password REDACTED on"),
            ("app|--api-key|hunter2||", "app|--api-key|REDACTED||"),
            ("aws|AWS_SECRET_ACCESS_KEY=hunter2/x+y", "aws|AWS_SECRET_ACCESS_KEY=REDACTED"),
            ("aws|AKIAIOSFODNN7EXAMPLE", "aws|REDACTED"),
            ("aws|--access_key|hunter2", "aws|--access_key|REDACTED"),
            ("aws|k=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws|k=REDACTED"),
            ("app|Authorization: Bearer hunter2", "app|Authorization: REDACTED"),
            ("app|bearer hunter2 x", "app|bearer REDACTED"),
            ("app|aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==", "app|REDACTED=="),
            (
                "app|Server=db;User Id=me;Password=hunter2;Port=1",
                "app|Server=db;User Id=me;Password=REDACTED;Port=1",
            ),
            (
                "app|host=db user=me password=hunter2 dbname=x",
                "app|host=db user=me password=REDACTED dbname=x",
            ),
            (
                "sh|-c|curl -H 'X-Auth-Token: hunter2' http://h/",
                "sh|-c|curl -H 'X-Auth-Token: REDACTED' http://h/",
            ),
            ("app|redis://:hunter2@h:1/0", "app|redis://:REDACTED@h:1/0"),
            (
                "git|https://ghp_16C7e42F292c6912E7@github.com/x",
                "git|https://REDACTED@github.com/x",
            ),
            (
                "app|amqps://me:hun:ter2@h/v,amqps://me:hunter2@i/v",
                "app|amqps://me:REDACTED@h/v,amqps://me:REDACTED@i/v",
            ),
            ("sshpass|-phunter2|ssh|h", "sshpass|-pREDACTED|ssh|h"),
            (
                "env|GITHUB_TOKEN=hunter2|MYSQL_PWD=hunter2|go",
                "env|GITHUB_TOKEN=REDACTED|MYSQL_PWD=REDACTED|go",
            ),
            (
                "java|-Djavax.net.ssl.keyStorePassword=hunter2",
                "java|-Djavax.net.ssl.keyStorePassword=REDACTED",
            ),
            ("app|{\"password\": \"hunter2\", \"a\": 1}", "app|{\"password\": REDACTED, \"a\": 1}"),
        ];
        for (given, want) in cases {
            assert_eq!(redacted(given), want);
        }
    }

    /// Only `argv[0]` used to be recognized as the program, and a script was one
    /// argument, so commands run by a shell or sudo kept their secrets.
    #[test]
    fn nested_commands_are_redacted() {
        let cases = [
            (
                "/bin/sh|-c|mysqldump -u root -phunter2 shop | gzip",
                "/bin/sh|-c|mysqldump -u root -pREDACTED shop | gzip",
            ),
            ("sh|-c|app --password hunter2", "sh|-c|app --password REDACTED"),
            ("sh|-c|app --password hunter2; app x", "sh|-c|app --password REDACTED; app x"),
            ("sh|-c|app --password 'hunter 2' x", "sh|-c|app --password REDACTED x"),
            ("sh|-c|curl -u me:hunter2 https://x", "sh|-c|curl -u REDACTED https://x"),
            ("curl|-fsSu|me:hunter2|https://x", "curl|-fsSu|REDACTED|https://x"),
            ("curl|--user=me:hunter2|https://x", "curl|--user=REDACTED|https://x"),
            ("sudo|mysql|-phunter2", "sudo|mysql|-pREDACTED"),
            ("timeout|5|/usr/bin/mysql|-phunter2", "timeout|5|/usr/bin/mysql|-pREDACTED"),
            ("env|FOO=1|PGPASSWORD=x|psql", "env|FOO=1|PGPASSWORD=REDACTED|psql"),
            ("sh|-c|FOO=1 PGPASSWORD=x psql", "sh|-c|FOO=1 PGPASSWORD=REDACTED psql"),
            ("sshpass|-p|hunter2|mysql|-phunter3", "sshpass|-p|REDACTED|mysql|-pREDACTED"),
            ("sh|-c|x=$(mysql -phunter2); echo $x", "sh|-c|x=$(mysql -pREDACTED); echo $x"),
            ("sh|-c|mysql -u $(id -un) -phunter2", "sh|-c|mysql -u $(id -un) -pREDACTED"),
            ("sh|-c|mysql -p'hunter 2' shop", "sh|-c|mysql -pREDACTED shop"),
            (
                "bash|-c|ssh db \"mysql -phunter2 'shop'\" && date",
                "bash|-c|ssh db \"mysql -pREDACTED 'shop'\" && date",
            ),
            ("bash|-c|ssh db \\\"mysql -phunter2\\\"", "bash|-c|ssh db \\\"mysql -pREDACTED"),
            ("mysql|-e|select 1;|-phunter2", "mysql|-e|select 1;|-pREDACTED"),
            ("watch mysql -phunter2 ", "watch mysql -pREDACTED "),
            ("app|--auth|--password|hunter2|x", "app|--auth|REDACTED|REDACTED|x"),
            ("sh|-c|it isn't --password hunter2", "sh|-c|it isn't --password REDACTED"),
        ];
        for (given, want) in cases {
            assert_eq!(redacted(given), want);
        }
    }

    #[test]
    fn nested_quotes_are_bounded() {
        let quotes = "\"".repeat(50_000) + "'";
        let mirrored: String = quotes.chars().rev().collect();
        let given = format!("sh|-c|{quotes}mysql -phunter2 x{mirrored}");
        assert!(!redacted(&given).contains("hunter2"));
    }

    #[test]
    fn file_and_socket_names_are_redacted() {
        let link = |text: &str| String::from_utf8(link(text.as_bytes())).unwrap();
        assert_eq!(link("/var/cache/get?token=hunter2&x=1"), "/var/cache/get?token=REDACTED&x=1");
        assert_eq!(link("/tmp/AKIAIOSFODNN7EXAMPLE (deleted)"), "/tmp/REDACTED (deleted)");
        for same in
            ["socket:[7]", "anon_inode:[eventpoll]", "/var/lib/app/data-2026.db", "/dev/null"]
        {
            assert_eq!(link(same), same);
        }
        let row = |path: &str| {
            format!("0000000000000000: 00000002 00000000 00010000 0001 01     7{path}\n")
        };
        let redacted = |path: &str| String::from_utf8(path_of_row(row(path).as_bytes())).unwrap();
        assert_eq!(redacted(" @token=hunter2"), row(" @token=REDACTED"));
        assert_eq!(redacted(" token=hunter2"), row(" token=REDACTED"));
        assert_eq!(redacted(" /run/docker.sock"), row(" /run/docker.sock"));
        assert_eq!(redacted(""), row(""));
    }

    #[test]
    fn other_bytes_are_unchanged() {
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
            assert_eq!(redacted(same), same);
        }
        let raw = b"app\0\xff\xfe\x1b[31m\0";
        assert_eq!(command_line(raw), raw);
    }
}
