//! Secrets that can be recognized by the preceding words: the value of
//! `--password`, and password options of well-known programs.

use super::{REDACTED, is_secret_name, lower, trimmed_end, values};

/// Programs with password options that have no telling name, and these options.
const PROGRAMS: [(&[&str], &[&str]); 17] = [
    (
        &[
            "mysql",
            "mysqladmin",
            "mysqlcheck",
            "mysqldump",
            "mysqlimport",
            "mysqlshow",
            "mariadb",
            "mariadb-admin",
            "mariadb-dump",
        ],
        &["-p"],
    ),
    (&["mongo", "mongodump", "mongorestore", "mongosh"], &["-p"]),
    (&["docker", "podman", "sshpass"], &["-p"]),
    (&["curl"], &["-u", "--user", "-U", "--proxy-user"]),
    (&["lftp"], &["-u"]),
    (&["ldapadd", "ldapmodify", "ldapsearch"], &["-w"]),
    (&["redis-cli"], &["-a"]),
    (&["smbclient"], &["-U"]),
    (&["sqlcmd"], &["-P"]),
    (&["openssl"], &["-k", "-K"]),
    (&["snmpwalk", "snmpget", "snmpset", "snmptrap"], &["-c", "-A", "-X"]),
    (&["ipmitool"], &["-P"]),
    (&["zip", "unzip"], &["-P"]),
    (&["7z", "7za", "rar", "unrar"], &["-p", "-hp"]),
    (&["useradd", "usermod"], &["-p"]),
    (&["az"], &["-p"]),
    (&["xfreerdp"], &["/p:"]),
];

/// The password options of the clients of MySQL, which can follow other letters.
const MYSQL_OPTIONS: &[&str] = &["-p"];

/// Words after which a password follows, as in a title or a command.
const WORDS_BEFORE: [&[u8]; 5] = [b"password", b"passwd", b"passphrase", b"token", b"secret"];

/// Maximum depth of nested scripts.
const MAX_QUOTE_DEPTH: usize = 4;

/// The state of the scan after the words so far.
#[derive(Default)]
pub(super) struct ArgScanner {
    /// The password options of the last known program, which is not always the
    /// first word: `sudo mysql`, `sh -c "… | mysql"`.
    options: &'static [&'static str],
    /// Whether the next word is a secret.
    is_secret_next: bool,
    /// The depth of nested scripts.
    depth: usize,
}

impl ArgScanner {
    /// Redacts an argument.
    pub(super) fn argument(&mut self, argument: &[u8]) -> Vec<u8> {
        if argument.is_empty() {
            return Vec::new();
        }
        if self.is_secret_next || !has_blanks(argument) {
            return values(&self.word(argument));
        }
        values(&self.text(argument))
    }

    /// Redacts words separated by blanks, as in a shell script or a title. After
    /// a text such as `-e "select 1;"` the options are again those of the
    /// program before it.
    fn text(&mut self, text: &[u8]) -> Vec<u8> {
        let before = self.options;
        self.depth += 1;
        let mut out = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at(word_end(rest));
            out.extend(self.word_of_text(word));
            let blanks = after.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let (blanks, after) = after.split_at(blanks);
            out.extend_from_slice(blanks);
            rest = after;
        }
        self.depth -= 1;
        if !before.is_empty() {
            self.options = before;
        }
        out
    }

    fn word_of_text(&mut self, word: &[u8]) -> Vec<u8> {
        let bare = trimmed_end(word, b";|&)`");
        let end = word.get(bare.len()..).unwrap_or_default();
        let mut out = match bare {
            // A script in a script: `ssh host "mysql -pSECRET"`.
            [open, inner @ .., close]
                if open == close
                    && is_quote(*open)
                    && has_blanks(inner)
                    && !self.is_secret_next
                    && self.depth < MAX_QUOTE_DEPTH =>
            {
                [&[*open][..], &self.text(inner), &[*close]].concat()
            }
            [] => Vec::new(),
            _ => self.word(bare),
        };
        if has_blanks(&out) && out == bare {
            // Blanks after an unmatched quote or in a partly quoted word.
            let pieces = bare.split_inclusive(u8::is_ascii_whitespace);
            out = pieces.flat_map(|piece| self.piece(piece)).collect();
        }
        out.extend_from_slice(end);
        if end.iter().any(|byte| b";|&".contains(byte)) {
            self.options = &[];
        }
        out
    }

    /// Redacts a word with a trailing blank.
    fn piece(&mut self, piece: &[u8]) -> Vec<u8> {
        let word = piece.trim_ascii_end();
        let blank = piece.get(word.len()..).unwrap_or_default();
        let word = if word.is_empty() { Vec::new() } else { self.word(word) };
        [&word, blank].concat()
    }

    fn word(&mut self, word: &[u8]) -> Vec<u8> {
        let quotes = word.iter().take_while(|byte| is_quote(**byte) || **byte == b'\\').count();
        let (quotes, bare) = word.split_at(quotes);
        // `PASSWORD = 'x'`.
        if self.is_secret_next && bare == b"=" {
            return word.to_vec();
        }
        if self.is_secret_next {
            // `--auth --password SECRET`: the first option has no value.
            self.is_secret_next = self.is_password_option(bare);
            return REDACTED.as_bytes().to_vec();
        }
        for option in self.options {
            // `-pSECRET`, `--user=SECRET`, `-fpSECRET`.
            let value = match bare.strip_prefix(option.as_bytes()) {
                Some(value) if option.starts_with("--") => value.strip_prefix(b"="),
                None if self.options == MYSQL_OPTIONS => after_cluster(bare),
                value => value,
            };
            if let Some(1..) = value.map(<[u8]>::len) {
                let kept = bare.len() - value.map_or(0, <[u8]>::len);
                return [quotes, bare.get(..kept).unwrap_or_default(), REDACTED.as_bytes()]
                    .concat();
            }
        }
        self.is_secret_next = self.is_password_option(bare);
        if let Some(options) = options_of(bare) {
            self.options = options;
        }
        word.to_vec()
    }

    /// Whether the word is an option with a secret as the next word.
    fn is_password_option(&self, word: &[u8]) -> bool {
        let is_known = |option: &&str| word == option.as_bytes() || is_cluster(word, option);
        // The value is the name of a password file.
        let is_file = lower(word).ends_with("file");
        self.options.iter().any(is_known)
            || WORDS_BEFORE.contains(&&*word.to_ascii_lowercase())
            || (word.starts_with(b"-") && !word.contains(&b'=') && !is_file && is_secret_name(word))
    }
}

/// The value in `-fpVALUE`: letters of options without values, then `p`.
fn after_cluster(word: &[u8]) -> Option<&[u8]> {
    const FLAGS: &[u8] = b"ABCEHNTXbcfinoqrstvw";
    let letters = word.strip_prefix(b"-")?;
    let flags = letters.iter().take_while(|byte| FLAGS.contains(byte)).count();
    letters.get(flags..)?.strip_prefix(b"p")
}

/// Whether the word combines several one-letter options and ends with this one:
/// `-sSu`.
fn is_cluster(word: &[u8], option: &str) -> bool {
    match (word, option.as_bytes()) {
        ([b'-', letters @ .., last], [b'-', letter]) => {
            last == letter && letters.len() < 5 && letters.iter().all(u8::is_ascii_alphabetic)
        }
        _ => false,
    }
}

/// The password options of the program that the word names: `/usr/bin/mysql`,
/// `$(mysql`.
fn options_of(word: &[u8]) -> Option<&'static [&'static str]> {
    let name = trimmed_end(word, b"'\"\\");
    let name = name.rsplit(|byte| b"/;|&(`'\"".contains(byte)).next()?;
    let is_known = |(names, _): &&(&[&str], _)| names.iter().any(|known| known.as_bytes() == name);
    PROGRAMS.iter().find(is_known).map(|(_, options)| *options)
}

/// The length of the first word, which ends at the first blank outside quotes.
fn word_end(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let after = text.get(at + 1..).unwrap_or_default();
        match after.iter().position(|other| *other == byte) {
            _ if byte.is_ascii_whitespace() => break,
            Some(between) if is_quote(byte) => at += between + 2,
            _ => at += 1,
        }
    }
    at
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(u8::is_ascii_whitespace)
}
