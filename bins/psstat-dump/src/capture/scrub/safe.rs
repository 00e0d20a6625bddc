//! The parts of a command line that are known to be safe: programs, option
//! names, paths, numbers, and words of a fixed vocabulary. Everything else can be
//! a secret, whatever it looks like.

use super::REDACTED;

/// Words that are kept: subcommands, roles of processes, usual values, and names
/// of well-known programs. Sorted.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "-", "add", "agent", "all", "always", "apache2", "api", "app", "apply", "apt", "apt-get",
    "archive", "async", "attach", "audit", "auto", "autovacuum", "awk", "background", "backup",
    "bash", "batch", "beam", "beat", "begin", "bin", "bind", "block", "boot", "broker", "build",
    "bundle", "bzip2", "cache", "cargo", "cat", "cd", "celery", "check", "checkpointer", "clean",
    "client", "clone", "cluster", "cmd", "collect", "collector", "command", "commit", "config",
    "connect", "connection", "consul", "consumer", "containerd", "control", "controller", "copy",
    "core", "create", "cron", "crond", "curl", "daemon", "daphne", "dash", "data", "database",
    "date", "db", "dbus-daemon", "debug", "default", "delete", "deploy", "describe", "detach",
    "dev", "development", "diff", "disable", "dispatch", "django", "do", "docker", "dockerd",
    "done", "down", "dump", "echo", "elasticsearch", "enable", "end", "env", "erl", "error",
    "etcd", "eval", "exec", "exit", "export", "exporter", "false", "fetch", "file", "find",
    "flask", "for", "force", "foreground", "format", "from", "frontend", "full", "gc", "get",
    "git", "go", "gradle", "grafana", "grep", "gunicorn", "gzip", "handler", "haproxy", "head",
    "health", "help", "history", "host", "http", "http2", "httpd", "https", "id", "idle", "if",
    "image", "import", "in", "index", "info", "init", "input", "insert", "install", "instance",
    "into", "ionice", "java", "job", "jobs", "json", "kafka", "keep", "kubectl", "kubelet",
    "launcher", "leader", "level", "list", "listen", "listener", "load", "local", "localhost",
    "lock", "log", "logger", "logical", "logs", "loop", "lrh", "main", "make", "manager",
    "mariadb", "mariadbd", "master", "maven", "max", "memcache", "memcached", "memory", "merge",
    "metrics", "migrate", "min", "mode", "module", "mongod", "monitor", "mount", "move", "multi",
    "mvn", "mysql", "mysqld", "mysqld_safe", "mysqldump", "name", "network", "new", "nginx",
    "nginx:", "nice", "no", "node", "nodejs", "nohup", "none", "normal", "notify", "npm", "null",
    "off", "on", "once", "only", "open", "openvpn", "output", "package", "pause", "perl", "php",
    "php-fpm", "php-fpm:", "ping", "pip", "pipe", "plugin", "podman", "poll", "pool", "port",
    "postgres", "postgres:", "prefork", "prepare", "process", "processor", "prod", "production",
    "prometheus", "protocol", "proxy", "psql", "publish", "pull", "puma", "push", "python",
    "python2", "python3", "query", "queue", "quit", "rabbitmq-server", "rails", "rake", "read",
    "reader", "ready", "rebuild", "receiver", "redis", "redis-cli", "redis-server", "refresh",
    "reload", "remote", "remove", "replica", "replication", "report", "request", "reset",
    "resolver", "restart", "restore", "resume", "retry", "rsync", "ruby", "run", "runner",
    "runserver", "save", "schedule", "scheduler", "script", "search", "sed", "select", "sender",
    "serve", "server", "service", "session", "set", "setup", "sh", "shard", "shell", "show",
    "shutdown", "sidekiq", "silent", "simple", "single", "sleep", "slow", "socket", "sort",
    "source", "spawn", "ssh", "sshd", "sshd:", "stage", "staging", "standalone", "standby",
    "start", "startup", "stat", "state", "static", "stats", "status", "stderr", "stdin", "stdout",
    "stop", "storage", "stream", "strict", "su", "sudo", "supervisor", "supervisord", "sync",
    "syslog", "system", "systemctl", "systemd", "table", "tail", "tar", "target", "task", "tasks",
    "tcp", "tee", "test", "then", "thread", "time", "timeout", "to", "tomcat", "top", "trace",
    "true", "tty", "type", "udp", "unicorn", "unix", "up", "update", "upgrade", "upload",
    "uvicorn", "uwsgi", "vacuum", "validate", "varnishd", "verbose", "verify", "version", "view",
    "volume", "w", "wait", "waiting", "walreceiver", "walsender", "walwriter", "warn", "warning",
    "watch", "watcher", "web", "wget", "where", "while", "with", "without", "work", "worker",
    "workers", "write", "writer", "xargs", "yarn", "yes", "zip", "zookeeper",
];

/// Options with one dash and more than four letters. Sorted.
#[rustfmt::skip]
const SINGLE_DASH: &[&str] = &[
    "-agentlib", "-atime", "-boot", "-classpath", "-client", "-config", "-copy", "-ctime",
    "-delete", "-depth", "-detached", "-enable", "-epmd", "-exec", "-extra", "-force", "-group",
    "-headless", "-heart", "-iname", "-input", "-javaagent", "-kernel", "-level", "-listen",
    "-loglevel", "-maxdepth", "-mindepth", "-mount", "-mtime", "-newer", "-nographic", "-noinput",
    "-noshell", "-output", "-perm", "-port", "-print", "-print0", "-progname", "-prune", "-quiet",
    "-root", "-server", "-sname", "-threads", "-timeout", "-verbose", "-version",
];

/// Extensions of file names that are kept.
#[rustfmt::skip]
const EXTENSIONS: &[&str] = &[
    "bin", "bz2", "cfg", "cnf", "conf", "config", "csv", "dat", "db", "ear", "exe", "gz", "html",
    "ini", "jar", "js", "json", "lock", "log", "lua", "mjs", "php", "pid", "pl", "properties",
    "py", "rb", "rules", "service", "sh", "so", "sock", "socket", "sql", "sqlite", "tar", "tcl",
    "tmp", "toml", "ts", "txt", "war", "xml", "xz", "yaml", "yml", "zip", "zst",
];

/// First parts of the names of Java classes and packages.
const DOMAINS: &[&str] = &[
    "akka", "app", "com", "de", "dev", "edu", "fr", "gov", "io", "jakarta", "java", "javax", "jdk",
    "kotlin", "net", "org", "scala", "sun", "uk",
];

/// Maximum number of nested `name=value`.
const MAX_DEPTH: usize = 4;

/// For each byte of a command line whether it is safe. Separators are.
pub(super) fn mask(raw: &[u8]) -> Vec<bool> {
    let mut keep = vec![true; raw.len()];
    let is_title = !raw.split(|byte| *byte == 0).skip(1).any(|argument| !argument.is_empty());
    let mut is_first = true;
    let mut at = 0;
    for argument in raw.split(|byte| *byte == 0) {
        let end = at + argument.len();
        if let Some(keep) = keep.get_mut(at..end)
            && !argument.is_empty()
        {
            let is_program = std::mem::take(&mut is_first);
            // `/opt/My App/app`.
            let is_whole_path = argument.starts_with(b"/") && is_path_text(argument, b" ");
            let whole = is_program && !is_title && is_whole_path;
            if !whole {
                words(argument, is_program, keep);
            }
        }
        at = end + 1;
    }
    keep
}

/// Marks the safe parts of an argument, word by word.
fn words(argument: &[u8], is_program: bool, keep: &mut [bool]) {
    let mut at = 0;
    for (index, word) in argument.split(u8::is_ascii_whitespace).enumerate() {
        let end = at + word.len();
        if let Some(keep) = keep.get_mut(at..end)
            && !(is_program && index == 0 && is_program_name(word))
        {
            keep.fill(false);
            bare_word(word, keep);
        }
        at = end + 1;
    }
}

/// A word without the quotes and operators of a shell around it, which are kept.
fn bare_word(word: &[u8], keep: &mut [bool]) {
    let is_open = |byte: &u8| b"([{<\"'`$!;&|\\>*:".contains(byte);
    let is_close = |byte: &u8| b")]}>\"'`;&|\\,:".contains(byte);
    let from = word.iter().take_while(|byte| is_open(byte)).count();
    let to = word.iter().rposition(|byte| !is_close(byte)).map_or(from, |last| last + 1).max(from);
    for (at, keep) in keep.iter_mut().enumerate() {
        *keep = at < from || at >= to;
    }
    if let (Some(bare), Some(keep)) = (word.get(from..to), keep.get_mut(from..to)) {
        match bare {
            [b'-' | b'+', ..] => option(bare, keep),
            _ => pieces(bare, keep, MAX_DEPTH),
        }
    }
}

/// An option: its name, and its value if that is safe.
fn option(word: &[u8], keep: &mut [bool]) {
    let end = word.iter().position(|byte| *byte == b'=').unwrap_or(word.len());
    let (name, value) = word.split_at(end);
    let known = |list: &[&str], name: &[u8]| {
        std::str::from_utf8(name).is_ok_and(|name| list.binary_search(&name).is_ok())
    };
    let is_name = match name {
        b"-" | b"--" | b"+" => true,
        [b'-', b'-', long @ ..] => is_identifier(long),
        // `-Dname=value`, `-XX:+Name`, `-Xmx4g`.
        [b'-', b'D', long @ ..] if value.len() > 1 => is_identifier(long),
        [b'-', b'X', b'X', b':', long @ ..] => is_identifier(long.trim_prefix_of(b"+-")),
        [b'-', b'X', b'm' | b's', b'x' | b's' | b'n', size @ ..] => is_number(size),
        [b'-' | b'+', letters @ ..] if letters.len() <= 4 => {
            letters.iter().all(u8::is_ascii_alphabetic)
        }
        _ if known(SINGLE_DASH, name) => true,
        // `-listen=:80`: a value that is a secret has no name in lower case before it.
        [b'-', long @ ..] if value.len() > 1 => {
            long.len() <= 24
                && long.iter().all(|byte| byte.is_ascii_lowercase() || b".-_".contains(byte))
        }
        _ => false,
    };
    if is_name {
        keep_range(keep, 0, end + usize::from(!value.is_empty()));
        if let (Some(value), Some(keep)) = (word.get(end + 1..), keep.get_mut(end + 1..)) {
            pieces(value, keep, MAX_DEPTH);
        }
        return;
    }
    // `-p8080`, `-I/usr/include`, `-agentlib:…`: the first letter, and a safe rest.
    let first = 2.min(word.len());
    keep_range(keep, 0, first);
    if let (Some(rest), Some(keep)) = (word.get(first..), keep.get_mut(first..))
        && (is_number(rest) || is_path(rest))
    {
        keep.fill(true);
    }
}

/// Values separated by commas, semicolons or ampersands.
fn pieces(text: &[u8], keep: &mut [bool], depth: usize) {
    let mut at = 0;
    let is_separator = |byte: &u8| b",;&".contains(byte);
    for piece in text.split(is_separator) {
        let end = at + piece.len();
        keep_range(keep, end, end + 1);
        if is_safe(piece) {
            keep_range(keep, at, end);
        } else if let Some(equals) = piece.iter().position(|byte| *byte == b'=') {
            let (name, value) = piece.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            if depth > 0 && !value.is_empty() && is_identifier(name) {
                keep_range(keep, at, at + equals + 1);
                if let Some(keep) = keep.get_mut(at + equals + 1..end) {
                    pieces(value, keep, depth - 1);
                }
            }
        } else if let Some(scheme) = piece.windows(3).position(|part| part == b"://")
            && piece.get(..scheme).is_some_and(|scheme| {
                scheme.len() <= 20 && scheme.iter().all(|b| b.is_ascii_lowercase() || *b == b'+')
            })
        {
            let rest = piece.get(scheme + 3..).unwrap_or_default();
            let host = rest.strip_prefix(b"localhost").unwrap_or(rest);
            let is_local =
                host.len() < rest.len() && matches!(host.first(), None | Some(b':' | b'/'));
            let host = host.strip_prefix(b":").unwrap_or(host);
            let is_known = host.is_empty() || is_number(host) || (rest == host && is_path(host));
            let end = if is_known && (is_local || rest == host) { end } else { at + scheme + 3 };
            keep_range(keep, at, end);
        }
        at = end + 1;
    }
}

fn keep_range(keep: &mut [bool], from: usize, to: usize) {
    let to = to.min(keep.len());
    if let Some(range) = keep.get_mut(from..to) {
        range.fill(true);
    }
}

/// Whether the text is known to be safe.
fn is_safe(text: &[u8]) -> bool {
    let Ok(word) = std::str::from_utf8(text) else { return false };
    text.is_empty()
        || word == REDACTED
        || WORDS.binary_search(&word).is_ok()
        || is_number(text)
        || is_path(text)
        || is_file(text)
        || is_class(text)
}

/// A number with a unit, an address of IPv4 with a port, or up to twelve digits
/// with punctuation: a version, a date, a range.
fn is_number(text: &[u8]) -> bool {
    const UNITS: &[&[u8]] = &[
        b"", b"%", b"B", b"G", b"GB", b"Gi", b"GiB", b"K", b"KB", b"Ki", b"KiB", b"M", b"MB",
        b"Mi", b"MiB", b"T", b"TB", b"d", b"g", b"h", b"k", b"kb", b"m", b"mb", b"min", b"ms",
        b"ns", b"s", b"t", b"us", b"w", b"x",
    ];
    let is_part = |byte: &u8| byte.is_ascii_digit() || b".:-/".contains(byte);
    let digits = text.iter().take_while(|byte| is_part(byte)).count();
    let (number, unit) = text.split_at(digits);
    let count = number.iter().filter(|byte| byte.is_ascii_digit()).count();
    let dots = number.iter().filter(|byte| **byte == b'.').count();
    count > 0 && (count <= 12 || (dots == 3 && count <= 17)) && UNITS.contains(&unit)
}

/// Names of options, settings and variables: words of letters with few digits.
fn is_identifier(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let digits = name.iter().filter(|byte| byte.is_ascii_digit()).count();
    matches!(name, [first, ..] if first.is_ascii_alphabetic() || *first == b'_')
        && name.len() <= 60
        && digits <= 2
        && name.iter().all(is_part)
        && !has_key(name)
}

/// The name of the program, as the first word of a title.
fn is_program_name(word: &[u8]) -> bool {
    is_path_text(word.strip_suffix(b":").unwrap_or(word), b"@") && word.len() <= 256
}

/// The characters of a path, without parts that look like keys.
fn is_path_text(text: &[u8], more: &[u8]) -> bool {
    let is_part =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+~-".contains(byte) || more.contains(byte);
    text.iter().all(is_part) && !has_key(text)
}

/// An absolute path, one that begins with a dot or a tilde, or several with colons.
fn is_path(text: &[u8]) -> bool {
    let is_one = |path: &[u8]| {
        // `/x1` can be a password; a file in the root directory has a simpler name.
        let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).count();
        let is_plain = |byte: &u8| byte.is_ascii_lowercase() || b"/._-".contains(byte);
        let starts = [&b"/"[..], b"./", b"../", b"~/"];
        (names > 1 || path.iter().all(is_plain))
            && (path == b"." || path == b".." || starts.iter().any(|s| path.starts_with(s)))
            && is_path_text(path, b"")
    };
    text.len() <= 4096 && text.split(|byte| *byte == b':').all(is_one)
}

/// The name of a file with a usual extension.
fn is_file(text: &[u8]) -> bool {
    let extension = text.iter().rposition(|byte| *byte == b'.');
    let extension = extension.and_then(|dot| text.get(dot + 1..)).unwrap_or_default();
    std::str::from_utf8(extension).is_ok_and(|name| EXTENSIONS.binary_search(&name).is_ok())
        && text.len() <= 100
        && is_path_text(text, b"")
}

/// The name of a Java class or package.
fn is_class(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'.');
    let first = parts.next().and_then(|first| std::str::from_utf8(first).ok());
    let is_name = |part: &[u8]| {
        matches!(part, [first, rest @ ..] if first.is_ascii_alphabetic()
            && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(byte)))
    };
    first.is_some_and(|first| DOMAINS.contains(&first))
        && text.iter().filter(|byte| **byte == b'.').count() >= 2
        && text.len() <= 120
        && parts.all(is_name)
        && !has_key(text)
}

/// Whether a text contains something like a random key: letters and digits mixed.
pub(super) fn has_key(text: &[u8]) -> bool {
    text.split(|byte| !byte.is_ascii_alphanumeric()).any(|run| {
        let count = |class: fn(&u8) -> bool| run.iter().filter(|byte| class(byte)).count();
        let digits = count(u8::is_ascii_digit);
        let (upper, lower) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
        // Changes between letters and digits: names with a number at the end have one.
        let changes = run.windows(2).filter(|pair| match pair {
            [one, other] => one.is_ascii_digit() != other.is_ascii_digit(),
            _ => false,
        });
        let changes = changes.count();
        (run.len() >= 16 && digits >= 3 && upper + lower >= 3)
            || (run.len() >= 10 && digits > 0 && upper > 1 && lower > 1 && changes > 2)
            || run.len() > 60
    })
}

/// A path of a descriptor or a socket, in which each part that is not simple is
/// replaced. A name that is not a path is treated like an argument.
pub(super) fn path(target: &[u8]) -> Vec<u8> {
    const DELETED: &[u8] = b" (deleted)";
    let bare = target.strip_suffix(DELETED).unwrap_or(target);
    let suffix = target.get(bare.len()..).unwrap_or_default();
    let (prefix, bare) = match bare {
        [b'@', rest @ ..] => (&b"@"[..], rest),
        _ => match bare.strip_prefix(b"/memfd:") {
            Some(rest) => (&b"/memfd:"[..], rest),
            None => (&b""[..], bare),
        },
    };
    let mut out = prefix.to_vec();
    if !bare.contains(&b'/') {
        let mut keep = vec![true; bare.len()];
        words(bare, false, &mut keep);
        out.extend(super::with_mask(bare, &keep));
        return [&out, suffix].concat();
    }
    for part in bare.split_inclusive(|byte| *byte == b'/') {
        let name = part.strip_suffix(b"/").unwrap_or(part);
        let end = part.get(name.len()..).unwrap_or_default();
        out.extend_from_slice(if is_path_text(name, b"") { name } else { REDACTED.as_bytes() });
        out.extend_from_slice(end);
    }
    [&out, suffix].concat()
}

/// Whether the name of a control group, or a part of one, is known to be safe.
pub(super) fn is_cgroup_name(name: &[u8]) -> bool {
    is_path_text(name, b"@:\\")
}

/// Removes one of these bytes at the start.
trait TrimPrefix {
    fn trim_prefix_of(&self, bytes: &[u8]) -> &[u8];
}

impl TrimPrefix for [u8] {
    fn trim_prefix_of(&self, bytes: &[u8]) -> &[u8] {
        match self {
            [first, rest @ ..] if bytes.contains(first) => rest,
            all => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [WORDS, SINGLE_DASH, EXTENSIONS] {
            assert!(list.is_sorted_by(|one, other| one < other), "{list:?}");
        }
    }
}
