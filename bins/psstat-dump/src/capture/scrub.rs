//! Redacts command lines, file names and socket names.
//!
//! By default only parts that are known to be safe are kept (`safe`), and
//! the words that a rule needs to match; all others are replaced by [`REDACTED`].
//!
//! Before that, and with `--keep-arguments` alone, probable secrets are replaced,
//! and all other bytes are unchanged. This is a heuristic that prefers to redact
//! too much: values with a name like a secret, passwords in URLs, the password
//! options of well-known programs, and long words of letters and digits, such as
//! keys and tokens.

mod safe;
mod words;

use std::ops::Range;

use psstat_matcher::{Field, ProcessText, Rule, Rules};
use psstat_proc_parse::{Cgroup, CgroupPath, Cgroups, Cmdline, Container, FdTarget};

use words::ArgScanner;

/// Replaces a secret.
pub(crate) const REDACTED: &str = "REDACTED";

/// Parts of the names of secrets.
const SECRET_NAMES: [&str; 25] = [
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
    "creds",
    "jwt",
    "bearer",
    "signature",
    "webhook",
    "csrf",
    "otp",
    "psk",
    "community",
];
/// Names of secrets that are too short to be parts of names.
const SHORT_NAMES: [&str; 8] = ["pw", "pin", "sig", "sid", "dsn", "cred", "salt", "code"];

/// Minimum length of a word of letters and digits that is treated as a key.
const KEY_LEN: usize = 32;
/// Prefixes of well-known keys, which can be shorter.
const KEY_STARTS: [&str; 74] = [
    "AKIA",
    "ASIA",
    "AROA",
    "AIDA",
    "ABIA",
    "ACCA",
    "AGPA",
    "ANPA",
    "LTAI",
    "AIza",
    "GOCSPX-",
    "ya29.",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "glrt-",
    "glptt-",
    "glcbt-",
    "glft-",
    "glsoat-",
    "pypi-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xoxs-",
    "xoxr-",
    "xoxe-",
    "xoxe.",
    "xapp-",
    "dckr_pat_",
    "dop_v1_",
    "doo_v1_",
    "dor_v1_",
    "hvs.",
    "hvb.",
    "hvr.",
    "s.",
    "npm_",
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "pk_live_",
    "whsec_",
    "SG.",
    "eyJ",
    "rubygems_",
    "shpat_",
    "shpss_",
    "shpca_",
    "sq0atp-",
    "sq0csp-",
    "NRAK-",
    "PMAK-",
    "lin_api_",
    "figd_",
    "hf_",
    "dapi",
    "sntrys_",
    "phc_",
    "xkeysib-",
    "sbp_",
    "CFPAT-",
    "AccountKey",
    "dp.pt.",
    "glsa_",
    "tskey-",
    "pat-",
];

/// Digits of the id of a container.
const CONTAINER_ID_LEN: usize = 64;
/// The last user id that distributions give to accounts of the system (`SYS_UID_MAX`).
const MAX_SYSTEM_UID: u32 = 999;

/// Decides which parts of texts are kept.
#[derive(Debug, Default)]
pub(crate) struct Scrubber<'r> {
    /// Keep all arguments that do not look like secrets, not only safe ones.
    pub(crate) keep_arguments: bool,
    /// The rules by which the captured command lines have to be classified as the
    /// original ones.
    pub(crate) rules: &'r [&'r Rules],
}

impl Scrubber<'_> {
    /// Redacts a command line in the format of `/proc/PID/cmdline`.
    pub(crate) fn command_line(&self, raw: &[u8]) -> Vec<u8> {
        let scrubbed = secrets(raw);
        if self.keep_arguments {
            return scrubbed;
        }
        let mut keep = safe::mask(&scrubbed);
        let mut redacted = with_mask(&scrubbed, &keep);
        let (original, text) = (joined(raw), joined(&scrubbed));
        for rule in self.rules_of(&[Field::CommandLine]) {
            let find = |text: &[u8]| rule.find(text).ok().flatten();
            if find(&original).is_none() || find(&joined(&redacted)).is_some() {
                continue;
            }
            // The parts that the rule needs, except those that look like secrets.
            let Some(span) = find(&text) else { continue };
            let parts = redacted_parts(&keep, span);
            let set = |keep: &mut [bool], part: &Range<usize>, value| {
                if let Some(part) = keep.get_mut(part.clone()) {
                    part.fill(value);
                }
            };
            parts.iter().for_each(|part| set(&mut keep, part, true));
            // Half of the parts, a quarter, …, as long as the rule matches without them.
            let mut groups = vec![&*parts];
            for _ in 0..MAX_TRIALS {
                let Some(group) = groups.pop() else { break };
                group.iter().for_each(|part| set(&mut keep, part, false));
                if find(&joined(&with_mask(&scrubbed, &keep))).is_none() {
                    group.iter().for_each(|part| set(&mut keep, part, true));
                    if group.len() > 1 {
                        let (one, other) = group.split_at(group.len() / 2);
                        groups.extend([one, other]);
                    }
                }
            }
            redacted = with_mask(&scrubbed, &keep);
        }
        redacted
    }

    fn rules_of(&self, fields: &'static [Field]) -> impl Iterator<Item = &Rule> {
        let rules = self.rules.iter().flat_map(|rules| rules.rules());
        rules.filter(|rule| fields.contains(&rule.field()))
    }

    /// Redacts the paths in the format of `/proc/PID/cgroup`. The ids of containers are kept, and
    /// all of the path that is matched if a rule matches it.
    pub(crate) fn cgroup(&self, text: &[u8]) -> Vec<u8> {
        let mut redacted = Vec::new();
        // A text in another format can be anything.
        let Ok(groups) = Cgroups::parse(text) else { return redacted };
        let matched = groups.path().filter(|&path| self.is_matched(CgroupPath(path)));
        for Cgroup { hierarchy, controllers, path, .. } in groups {
            redacted.extend_from_slice(format!("{hierarchy}:").as_bytes());
            redacted.extend_from_slice(controllers);
            redacted.push(b':');
            if matched == Some(path) {
                redacted.extend_from_slice(path);
            } else {
                redacted.extend(self.cgroup_path(path));
            }
            redacted.push(b'\n');
        }
        redacted
    }

    /// Whether a rule matches a path, or the unit or container in it.
    fn is_matched(&self, path: CgroupPath<'_>) -> bool {
        let container: Option<Vec<u8>> = path.container().map(|name| name.bytes().collect());
        let text = ProcessText {
            cgroup: Some(path.0),
            unit: path.unit(),
            container: container.as_deref(),
            ..ProcessText::default()
        };
        self.rules_of(&[Field::Cgroup, Field::Unit, Field::Container]).any(|rule| {
            text.get(rule.field()).is_some_and(|text| !matches!(rule.find(text), Ok(None)))
        })
    }

    fn cgroup_path(&self, path: &[u8]) -> Vec<u8> {
        let component = |component: &[u8]| {
            let container: Vec<u8> =
                CgroupPath(component).container().into_iter().flat_map(Container::bytes).collect();
            let id = component.windows(CONTAINER_ID_LEN).rposition(|part| part == container);
            let (before, rest) = component.split_at(id.unwrap_or(component.len()));
            let (id, after) = rest.split_at(rest.len().min(CONTAINER_ID_LEN));
            [&self.cgroup_name(before)[..], id, &self.cgroup_name(after)].concat()
        };
        let parts: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(component).collect();
        parts.join(&b'/')
    }

    /// Redacts the name of a control group, or a part of one.
    fn cgroup_name(&self, name: &[u8]) -> Vec<u8> {
        let scrubbed = values(name);
        let is_kept = self.keep_arguments || safe::is_cgroup_name(&scrubbed);
        if is_kept { scrubbed } else { REDACTED.into() }
    }

    /// Whether the name of a user is kept: those of system accounts, and those that rules match.
    pub(crate) fn keeps_user(&self, uid: u32, name: &[u8]) -> bool {
        self.keep_arguments
            || uid <= MAX_SYSTEM_UID
            || self.rules_of(&[Field::User]).any(|rule| !matches!(rule.find(name), Ok(None)))
    }

    /// Redacts the target of a descriptor: a file name can contain a key or a
    /// query. Targets that the kernel generates (`socket:[7]`) are unchanged.
    pub(crate) fn link(&self, target: &[u8]) -> Vec<u8> {
        match FdTarget::parse(target) {
            FdTarget::File { .. } | FdTarget::Memfd(_) => self.path(target),
            _ if target.starts_with(b"/") => self.path(target),
            _ => target.to_vec(),
        }
    }

    /// Redacts the path of a file or the name of a socket.
    pub(crate) fn path(&self, path: &[u8]) -> Vec<u8> {
        let scrubbed = values(path);
        if self.keep_arguments {
            return scrubbed;
        }
        // A line break or another control character can hide where a word begins.
        if path.iter().any(u8::is_ascii_control) {
            let first: &[u8] = if path.starts_with(b"/") { b"/" } else { b"" };
            return [first, REDACTED.as_bytes()].concat();
        }
        safe::path(&scrubbed)
    }
}

/// The text that rules are matched with: arguments joined by spaces.
fn joined(raw: &[u8]) -> Vec<u8> {
    let end = raw.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text = raw.get(..end).unwrap_or_default();
    text.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect()
}

/// Maximum number of trials to find the parts of a command line that a rule needs;
/// parts that are not tried are kept.
const MAX_TRIALS: usize = 500;

/// The runs of bytes in a span that are not kept.
fn redacted_parts(keep: &[bool], span: Range<usize>) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for at in span.filter(|at| keep.get(*at) == Some(&false)) {
        match parts.last_mut() {
            Some(last) if last.end == at => last.end = at + 1,
            _ => parts.push(at..at + 1),
        }
    }
    parts
}

/// The text with [`REDACTED`] for each run of bytes that are not kept.
fn with_mask(text: &[u8], keep: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut before = true;
    for (&byte, &keep) in text.iter().zip(keep) {
        if keep {
            out.push(byte);
        } else if before {
            out.extend_from_slice(REDACTED.as_bytes());
        }
        before = keep;
    }
    out
}

/// Redacts the probable secrets of a command line.
fn secrets(raw: &[u8]) -> Vec<u8> {
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

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_lowercase()
}

/// Whether the name is that of a secret.
fn is_secret_name(name: &[u8]) -> bool {
    let name = lower(name);
    let last = name.rsplit(['-', '_', '.']).next().unwrap_or(&name);
    SECRET_NAMES.iter().any(|part| name.contains(part))
        || name.ends_with("key")
        || SHORT_NAMES.contains(&last)
}

/// Redacts secrets that can be recognized within an argument.
fn values(argument: &[u8]) -> Vec<u8> {
    let argument = pem_blocks(argument);
    let argument = sql_passwords(&argument);
    let argument = headers(&argument);
    let argument = named_values(&argument);
    let argument = passwords_in_urls(&argument);
    let argument = logins(&argument);
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
        let end = if first { value.len() } else { value_end(value) };
        rest = value.get(end..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The text without these bytes at its end.
fn trimmed_end<'a>(text: &'a [u8], bytes: &[u8]) -> &'a [u8] {
    let last = text.iter().rposition(|byte| !bytes.contains(byte));
    text.get(..last.map_or(0, |last| last + 1)).unwrap_or_default()
}

/// The end of a value, which can be quoted: `'a b'`, `$'a'`, `\"a\"`, `a\ b`.
fn value_end(value: &[u8]) -> usize {
    let open = value.iter().take_while(|byte| matches!(byte, b'$' | b'\\')).count();
    let escaped = value.get(..open).is_some_and(|open| open.contains(&b'\\'));
    if let Some(&quote @ (b'"' | b'\'')) = value.get(open) {
        let inner = value.get(open + 1..).unwrap_or_default();
        let mut before = 0;
        let close = inner.iter().position(|&byte| {
            let is_escape = std::mem::replace(&mut before, byte) == b'\\';
            byte == quote && is_escape == escaped
        });
        return close.map_or(value.len(), |close| open + close + 2);
    }
    let mut before = 0;
    let end = value.iter().position(|&byte| {
        let is_escaped = std::mem::replace(&mut before, byte) == b'\\';
        !is_escaped && b" \t\n;&,|\"'".contains(&byte)
    });
    end.unwrap_or(value.len())
}

/// Redacts passwords in `scheme://user:password@host`. A password can contain
/// `/`, `#` and `?`, which end the host of a URL without one.
fn passwords_in_urls(argument: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = argument;
    while let Some(at) = rest.windows(3).position(|part| part == b"://") {
        let (scheme, after) = rest.split_at(at + 3);
        out.extend_from_slice(scheme);
        let next = after.windows(3).position(|part| part == b"://").unwrap_or(after.len());
        let end = after.iter().position(|byte| b" \t\n\"'".contains(byte));
        let (url, after) = after.split_at(end.unwrap_or(after.len()).min(next));
        let host = url.iter().rposition(|byte| *byte == b'@');
        let authority = url.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(url.len());
        let colon = url.iter().take(authority).position(|byte| *byte == b':');
        match (colon, host) {
            // A token instead of the user: `https://TOKEN@host`.
            (None, Some(host)) if is_key(url.get(..host).unwrap_or_default()) => {
                out.extend_from_slice(REDACTED.as_bytes());
                out.extend_from_slice(url.get(host..).unwrap_or_default());
            }
            (Some(colon), Some(host)) if colon < host => {
                // Several URLs: only the first password is between these two.
                let part = url.get(colon + 1..).unwrap_or_default();
                let comma = part.iter().position(|byte| *byte == b',');
                let first = part.iter().position(|byte| *byte == b'@');
                let host = match (comma, first) {
                    (Some(comma), Some(first)) if first < comma => colon + 1 + first,
                    _ => host,
                };
                out.extend_from_slice(url.get(..=colon).unwrap_or_default());
                out.extend_from_slice(REDACTED.as_bytes());
                out.extend_from_slice(url.get(host..).unwrap_or_default());
            }
            _ => out.extend_from_slice(url),
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    out
}

/// Redacts the word after `Bearer`, `Basic` and other schemes of a header.
fn headers(argument: &[u8]) -> Vec<u8> {
    const SCHEMES: [&[u8]; 6] =
        [b"bearer ", b"basic ", b"token ", b"apikey ", b"negotiate ", b"digest "];
    let text = argument.to_ascii_lowercase();
    let is_header = text.windows(5).any(|part| part == b"autho");
    let mut out = argument.to_vec();
    for scheme in SCHEMES {
        let always = matches!(scheme, b"bearer " | b"basic ");
        let text = out.to_ascii_lowercase();
        let Some(at) = text.windows(scheme.len()).position(|part| part == scheme) else { continue };
        if !always && !is_header {
            continue;
        }
        let from = at + scheme.len();
        let value = out.get(from..).unwrap_or_default();
        let end = value.iter().position(|byte| b"\"'\n".contains(byte)).unwrap_or(value.len());
        let rest = value.get(end..).unwrap_or_default();
        out = [out.get(..from).unwrap_or_default(), REDACTED.as_bytes(), rest].concat();
    }
    out
}

/// Redacts keys in PEM format.
fn pem_blocks(argument: &[u8]) -> Vec<u8> {
    let find = |text: &[u8], part: &[u8]| text.windows(part.len()).position(|one| one == part);
    let Some(begin) = find(argument, b"-----BEGIN") else { return argument.to_vec() };
    let (before, block) = argument.split_at(begin);
    let end = find(block, b"-----END").map(|at| {
        let last = block.get(at + 8..).unwrap_or_default();
        find(last, b"-----").map_or(block.len(), |to| at + 8 + to + 5)
    });
    let rest = block.get(end.unwrap_or(block.len())..).unwrap_or_default();
    [before, REDACTED.as_bytes(), rest].concat()
}

/// Redacts the password in a statement of SQL: `IDENTIFIED BY 'x'`,
/// `PASSWORD 'x'`, `PASSWORD('x')`.
fn sql_passwords(argument: &[u8]) -> Vec<u8> {
    const STARTS: [&[u8]; 4] = [b"identified by", b"password", b" as ", b" by "];
    let lower = argument.to_ascii_lowercase();
    let is_gap = |byte: &u8| b" \t=(\\".contains(byte);
    let is_identified = lower.windows(10).any(|part| part == b"identified");
    let mut out = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(text) = lower.get(at..).filter(|text| !text.is_empty()) {
        at += 1;
        let Some(start) = STARTS.iter().find(|start| text.starts_with(start)) else { continue };
        let after = at - 1 + start.len();
        let gap = argument.get(after..).unwrap_or_default();
        let gap = gap.iter().take_while(|byte| is_gap(byte)).count();
        let value = argument.get(after + gap..).unwrap_or_default();
        let is_quoted = matches!(value.first(), Some(b'\'' | b'"'));
        // `"password": "x"` of JSON is a named value.
        let is_secret = match *start {
            b"password" => is_quoted && gap > 0,
            b"identified by" => gap > 0 && !value.is_empty(),
            _ => is_quoted && is_identified,
        };
        if is_secret {
            out.extend_from_slice(argument.get(copied..after + gap).unwrap_or_default());
            out.extend_from_slice(REDACTED.as_bytes());
            copied = after + gap + value_end(value);
            at = copied;
        }
    }
    out.extend_from_slice(argument.get(copied..).unwrap_or_default());
    out
}

/// Redacts the password in `user:password@host` and `user/password@database`, word
/// by word.
fn logins(argument: &[u8]) -> Vec<u8> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
    let words = argument.split_inclusive(is_blank);
    words.flat_map(login).collect()
}

fn login(word: &[u8]) -> Vec<u8> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.$".contains(byte);
    // `--dsn=user:password@host`.
    let name = word.iter().take_while(|byte| is_name(byte)).count();
    let value = if word.get(name) == Some(&b'=') { name + 1 } else { 0 };
    let (before, login) = word.split_at(value);
    let user = login.iter().take_while(|byte| is_name(byte)).count();
    let host = login.iter().rposition(|byte| *byte == b'@');
    match (login.get(user), host) {
        (Some(b':' | b'/'), Some(host))
            if host > user + 1 && login.get(user + 1) != Some(&b'/') =>
        {
            let (kept, host) = (login.get(..=user), login.get(host..));
            [before, kept.unwrap_or_default(), REDACTED.as_bytes(), host.unwrap_or_default()]
                .concat()
        }
        _ => word.to_vec(),
    }
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
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+.".contains(&byte);
    for word in argument.chunk_by(|one, other| is_part(*one) == is_part(*other)) {
        if is_known_key(word) {
            out.extend_from_slice(REDACTED.as_bytes());
        } else {
            out.extend(long_keys(word));
        }
    }
    out
}

/// Redacts the parts between dots that look like keys.
fn long_keys(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in text.chunk_by(|one, other| (*one == b'.') == (*other == b'.')) {
        if is_key(word) {
            out.extend_from_slice(REDACTED.as_bytes());
        } else {
            out.extend_from_slice(word);
        }
    }
    out
}

fn is_key(word: &[u8]) -> bool {
    is_known_key(word) || (word.len() >= KEY_LEN && is_mixed(word))
}

fn is_known_key(word: &[u8]) -> bool {
    let known = KEY_STARTS.iter().any(|start| {
        // Short ones are also the start of names.
        let min = if start.len() > 2 { 12 } else { 20 };
        word.starts_with(start.as_bytes()) && word.len() >= min
    });
    known && is_mixed(word)
}

fn is_mixed(word: &[u8]) -> bool {
    word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic)
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
    use psstat_matcher::Conf;

    fn redacted(words: &str) -> String {
        let raw = words.replace('|', "\0");
        String::from_utf8(secrets(raw.as_bytes())).unwrap().replace('\0', "|")
    }

    const KEEP: Scrubber<'_> = Scrubber { keep_arguments: true, rules: &[] };

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

    /// Work that grows with the square of the length would take hours.
    #[test]
    fn long_arguments_take_linear_time() {
        for part in
            ["password ", "identified by ", " as 'x", "a://b ", "u:p@", "bearer ", "a=", "'\\"]
        {
            let raw = format!("app\0{}hunter2", part.repeat(20_000));
            assert!(!Scrubber::default().command_line(raw.as_bytes()).is_empty());
        }
    }

    #[test]
    fn file_and_socket_names_are_redacted() {
        let link = |text: &str| String::from_utf8(KEEP.link(text.as_bytes())).unwrap();
        assert_eq!(link("/var/cache/get?token=hunter2&x=1"), "/var/cache/get?token=REDACTED&x=1");
        assert_eq!(link("/tmp/AKIAIOSFODNN7EXAMPLE (deleted)"), "/tmp/REDACTED (deleted)");
        for same in
            ["socket:[7]", "anon_inode:[eventpoll]", "/var/lib/app/data-2026.db", "/dev/null"]
        {
            assert_eq!(link(same), same);
        }
        let redacted = |path: &str| String::from_utf8(KEEP.path(path.as_bytes())).unwrap();
        assert_eq!(redacted("@token=hunter2"), "@token=REDACTED");
        assert_eq!(redacted("token=hunter2"), "token=REDACTED");
        assert_eq!(redacted("/run/docker.sock"), "/run/docker.sock");
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn cgroups_and_users() {
        let id = "4f0c2e9a1b7d8e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f";
        let cgroup = |scrubber: &Scrubber<'_>, path: &str| {
            let text = format!("4:cpu,cpuacct:/\n0::{}\n", path.replace("ID", id));
            let redacted = String::from_utf8(scrubber.cgroup(text.as_bytes())).unwrap();
            let path = redacted.strip_prefix("4:cpu,cpuacct:/\n0::").unwrap();
            path.strip_suffix('\n').unwrap().replace(id, "ID")
        };
        for path in [
            "/",
            "/system.slice/nginx.service",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/x.scope",
            "/system.slice/docker-ID.scope",
            "/kubepods/burstable/ID/init",
            "/machine.slice/machine-a\\x2db.scope",
        ] {
            assert_eq!(cgroup(&Scrubber::default(), path), path);
            assert_eq!(cgroup(&KEEP, path), path);
        }
        let key = "/AKIAIOSFODNN7EXAMPLE/token=hunter2/docker-ID.scope";
        let redacted = "/REDACTED/token=REDACTED/docker-ID.scope";
        assert_eq!(cgroup(&KEEP, key), redacted);
        assert_eq!(cgroup(&Scrubber::default(), key), "/REDACTED/REDACTED/docker-ID.scope");
        // Text that a rule of the control group matches, but not one of the command line.
        let rules = |conf: &str| Conf::parse(conf.as_bytes()).rules;
        for (conf, expected) in [
            ("@cgroup x ^/AKIA", key),
            ("@container x ^4f0c", key),
            ("x AKIA", "/REDACTED/REDACTED/docker-ID.scope"),
        ] {
            let rules = rules(conf);
            let scrubber = Scrubber { keep_arguments: false, rules: &[&rules] };
            assert_eq!(cgroup(&scrubber, key), expected, "{conf}");
        }
        assert_eq!(Scrubber::default().cgroup(b"password\n"), b"");
        let rules = rules("@user x ^alice$\nx bob\n");
        let scrubber = Scrubber { keep_arguments: false, rules: &[&rules] };
        let kept = [(33, "www-data"), (1000, "alice"), (1001, "bob")]
            .map(|(uid, name)| scrubber.keeps_user(uid, name.as_bytes()));
        assert_eq!(kept, [true, true, false]);
        assert!(KEEP.keeps_user(1001, b"bob"));
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
        assert_eq!(secrets(raw), raw);
    }

    const CORPUS: &str = include_str!("../../../../fixtures/secrets/command-lines.txt");
    const SAFE: &str = include_str!("../../../../fixtures/secrets/safe.txt");

    /// The command lines of a corpus, without their marks, with their secret.
    fn corpus(text: &str) -> Vec<(Vec<u8>, String)> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let parsed = lines.map(|line| {
            let line = line.replace('·', "").replace("\\n", "\n").replace('|', "\0");
            let (before, rest) = line.split_once('«').unwrap_or((&line, ""));
            let (secret, after) = rest.split_once('»').unwrap_or_default();
            (format!("{before}{secret}{after}").into_bytes(), secret.to_owned())
        });
        parsed.collect()
    }

    /// The secrets of the corpus that survive, as command lines.
    fn survivors(scrubber: &Scrubber<'_>) -> Vec<String> {
        let survives = |(raw, secret): &(Vec<u8>, String)| {
            let redacted = String::from_utf8(scrubber.command_line(raw)).unwrap();
            redacted.contains(secret).then(|| redacted.replace('\0', "|"))
        };
        corpus(CORPUS).iter().filter_map(survives).collect()
    }

    /// 210 of 462 command lines with a secret used to keep it.
    #[test]
    fn no_secret_of_the_corpus_survives() {
        assert!(corpus(CORPUS).len() >= 500);
        assert!(corpus(CORPUS).iter().all(|(_, secret)| secret.len() >= 5));
        let survivors = survivors(&Scrubber::default());
        assert!(survivors.is_empty(), "{}: {survivors:#?}", survivors.len());
    }

    /// Secrets without a name or a known shape cannot be recognized. The page of
    /// psstat-dump states their number.
    #[test]
    fn secrets_that_survive_by_option_are_counted() {
        let survivors = survivors(&KEEP);
        let page = include_str!("../../../../docs/psstat-dump.md").replace('\n', " ");
        let want = format!("{} of {} secrets", survivors.len(), corpus(CORPUS).len());
        assert!(page.contains(&want), "{want}: {survivors:#?}");
    }

    #[test]
    fn safe_command_lines_are_kept() {
        let lines = corpus(SAFE);
        assert!(lines.len() >= 100, "{}", lines.len());
        let changed = lines.iter().filter_map(|(raw, _)| {
            let redacted = Scrubber::default().command_line(raw);
            (redacted != *raw).then(|| String::from_utf8(redacted).unwrap().replace('\0', "|"))
        });
        let changed: Vec<String> = changed.collect();
        assert!(changed.is_empty(), "{}: {changed:#?}", changed.len());
    }

    /// In any argument of any program, as a word of its own or as a value.
    #[test]
    fn unknown_words_do_not_survive_anywhere() {
        for secret in ["hunter2", "letmein", "Zm9vYmFyZg==", "p@ss/w0rd"] {
            for (raw, _) in corpus(SAFE) {
                let line = String::from_utf8(raw).unwrap();
                let arguments: Vec<&str> = line.split('\0').collect();
                for at in 1..=arguments.len() {
                    for form in
                        ["S", "-xS", "--option=S", "NAME=S", "-Dname=S", "a,S", "\"S\"", "x S"]
                    {
                        let argument = form.replace('S', secret);
                        let mut arguments = arguments.clone();
                        arguments.insert(at, &argument);
                        let raw = arguments.join("\0");
                        let redacted = Scrubber::default().command_line(raw.as_bytes());
                        let redacted = String::from_utf8(redacted).unwrap();
                        assert!(!redacted.contains(secret), "{redacted:?}");
                    }
                }
            }
        }
    }

    /// A capture has to show why a rule matches.
    #[test]
    fn text_that_rules_match_is_kept() {
        let mut rules = Rules::default();
        for pattern in ["strange-name$", "^java .*-Dapp=orders$", "other", "(?i)Ghp_fake"] {
            rules.push("x".parse().unwrap(), pattern).unwrap();
        }
        let rules = [&rules];
        let scrubber = Scrubber { keep_arguments: false, rules: &rules };
        let token = ["gh", "p_FAKE0fake1FAKE2fake"].concat();
        for (given, want) in [
            ("app|unknown|strange-name", "app|REDACTED|strange-name"),
            ("java|hunter2x|-Dx=y9y9|-Dapp=orders", "java|REDACTED|-Dx=REDACTED|-Dapp=orders"),
            (
                &*format!("java|{}-Dapp=orders", "hunter2x|".repeat(999)),
                &*format!("java|{}-Dapp=orders", "REDACTED|".repeat(999)),
            ),
            // A secret is not kept even if a rule matches it.
            (&*format!("app|{token}"), "app|REDACTED"),
        ] {
            let raw = given.replace('|', "\0");
            let redacted = String::from_utf8(scrubber.command_line(raw.as_bytes())).unwrap();
            assert_eq!(redacted.replace('\0', "|"), want);
        }
    }

    #[test]
    fn only_simple_names_of_files_are_kept() {
        let link =
            |text: &str| String::from_utf8(Scrubber::default().link(text.as_bytes())).unwrap();
        for same in ["/var/lib/app/data-2026.db", "/tmp/x (deleted)", "/dev/null", "socket:[7]"] {
            assert_eq!(link(same), same);
        }
        for (given, want) in [
            ("/var/tmp/sess_a1b2c3d4e5f6a7b8c9d0", "/var/tmp/REDACTED"),
            ("/srv/get?x=hunter2", "/srv/REDACTED"),
            ("/home/me/my notes/a (deleted)", "/home/me/REDACTED/a (deleted)"),
            ("/memfd:a=b (deleted)", "/memfd:a=REDACTED (deleted)"),
            ("/memfd:hunterword (deleted)", "/memfd:REDACTED (deleted)"),
            ("/memfd:cache (deleted)", "/memfd:cache (deleted)"),
            ("/tmp/x\ntoken/hunterword", "/REDACTED"),
        ] {
            assert_eq!(link(given), want);
        }
    }
}
